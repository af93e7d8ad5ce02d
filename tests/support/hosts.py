"""Two hosts of a lab joined by a pipe, with both families."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ustack.sim.lab import Host, Lab

SERVER, CLIENT = "10.0.0.1", "10.0.0.2"
SERVER6, CLIENT6 = "fd00::1", "fd00::2"


@contextlib.contextmanager
def two_hosts(*, seed: int = 0, offload: int = 0, fast_path: bool = True) -> Iterator[tuple[Lab, Host, Host]]:
    """The lab, the server 10.0.0.1 = fd00::1 and the client 10.0.0.2 = fd00::2."""
    with Lab(seed) as lab:
        server = lab.host("server", fast_path=fast_path)
        client = lab.host("client", fast_path=fast_path)
        lab.wire(
            server,
            client,
            [f"{SERVER}/24", f"{SERVER6}/64"],
            [f"{CLIENT}/24", f"{CLIENT6}/64"],
            offload=offload,
        )
        yield lab, server, client
