"""Initial sequence numbers: a 4 µs clock plus a keyed hash of the connection's identity.  RFC 6528, RFC 9293 §3.4.1."""

from __future__ import annotations

import struct

from ustack.native import lib
from ustack.tcp import sequence

_TICK_NS = 4000


class InitialSequenceNumbers:
    """ISN = M + F(local, local port, remote, remote port, secret)  (MUST-8, MUST-9, SHLD-1)."""

    def __init__(self, secret: bytes) -> None:
        assert len(secret) == 16, "the secret is a SipHash key"
        self._secret = secret

    def choose(self, local: bytes, local_port: int, remote: bytes, remote_port: int, now: int) -> int:
        """The ISN for a connection that is opened at `now`."""
        return sequence.add(self._hash(b"I", local, local_port, remote, remote_port), now // _TICK_NS)

    def timestamp_offset(self, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
        """What is added to the timestamp clock of this connection, so that it tells nothing.  RFC 7323 §7.1."""
        return self._hash(b"T", local, local_port, remote, remote_port)

    def _hash(self, label: bytes, local: bytes, local_port: int, remote: bytes, remote_port: int) -> int:
        identity = b"".join((label, local, remote, struct.pack(">HH", local_port, remote_port)))
        digest: int = lib.siphash(self._secret, identity, len(identity))
        return digest & sequence.MASK
