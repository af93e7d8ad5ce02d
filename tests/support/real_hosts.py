"""Two hosts on the real clock, joined by a pipe: for what must be tried with threads and descriptors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import ustack
from tests.support.hosts import CLIENT, CLIENT6, SERVER, SERVER6
from ustack.link.pipe import PipeEnd, pipe
from ustack.runtime.thread_driver import ThreadDriver


@contextlib.contextmanager
def real_hosts(offload: int = 0) -> Iterator[tuple[ThreadDriver, ThreadDriver]]:
    """The server and the client, with the addresses of `two_hosts`."""
    ends = pipe(1500, offload, descriptors=True)
    with ustack.new_driver() as server, ustack.new_driver() as client:
        server.attach(ends[0], [f"{SERVER}/24", f"{SERVER6}/64"])
        client.attach(ends[1], [f"{CLIENT}/24", f"{CLIENT6}/64"])
        yield server, client


def device_of(driver: ThreadDriver) -> PipeEnd:
    """The driver's end of the pipe."""
    (link,) = driver._links.values()
    assert isinstance(link.device, PipeEnd)
    return link.device
