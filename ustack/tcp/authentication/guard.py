"""What stands between a connection and the network where segments are signed.

A guard is asked for the place of its option, which comes first of all, and then given every frame that was built.
Frames are signed here one by one, so the device may not cut them: the TCB says so to C.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from ustack.constants import IPPROTO_TCP
from ustack.drops import Drop, DropReason
from ustack.native import lib
from ustack.tcp.authentication.authentication_option import OptionGuard
from ustack.tcp.authentication.md5 import Md5Guard
from ustack.wire import tcp as wire_tcp
from ustack.wire.checksum import internet_checksum, pseudo_header_sum

if TYPE_CHECKING:
    from ustack.burst import Burst
    from ustack.tcp.authentication.keys import KeyRing
    from ustack.tcp.segment import Segment


class Guard(Protocol):
    """One connection's way of signing."""

    def option(self) -> bytes:
        """The option with its signature still zero, whole 32-bit words."""
        ...

    def allows_timestamps(self) -> bool:
        """Whether a SYN has room for timestamps too."""
        ...

    def can_sign_alone(self) -> bool:
        """Whether it can sign for no connection."""
        ...

    def choose(self, ring: KeyRing) -> None:
        """The user has changed the keys of an open connection."""
        ...

    def sign(self, tcb: Any, source: bytes, destination: bytes, transport: memoryview) -> None:
        """Fill in the signature of a segment that is to leave."""
        ...

    def verify(self, tcb: Any, segment: Segment) -> None:
        """Raise Drop unless the peer has signed the segment."""
        ...


def guard_for(ring: KeyRing | None, remote: bytes) -> Guard | None:
    """The guard of a connection with a peer, if there is a key for it."""
    if ring is None:
        return None
    if ring.masters_for(remote):
        return OptionGuard(ring, remote)
    key = ring.md5_key(remote)
    return None if key is None else Md5Guard(key)


def check(guard: Guard | None, ring: KeyRing | None, tcb: Any, segment: Segment) -> None:
    """Whether a segment may pass: signed as agreed, or not at all where nothing is agreed.  RFC 5925 §7.5.

    `tcb` is None for the SYN that opens a connection.
    """
    if guard is not None:
        guard.verify(tcb, segment)
    elif segment.options.md5 is not None or segment.options.authentication is not None:
        raise Drop(DropReason.TCP_SIGNATURE_UNEXPECTED)
    elif ring is not None and ring.required:
        raise Drop(DropReason.TCP_SIGNATURE_MISSING)


def sign_frames(guard: Guard, tcb: Any, outgoing: Burst, first: int) -> None:
    """Sign the frames of the burst from index `first` on, and complete their checksums."""
    at, address = (12, 4) if tcb.version == 4 else (8, 16)
    for index in range(first, len(outgoing)):
        frame = outgoing.frame(index)
        ip_bytes = (frame[0] & 0xF) << 2 if tcb.version == 4 else 40
        source, destination = bytes(frame[at : at + address]), bytes(frame[at + address : at + 2 * address])
        transport = frame[ip_bytes:]
        guard.sign(tcb, source, destination, transport)
        if not outgoing.cdata.frames[index].flags & lib.FRAME_NEEDS_CHECKSUM:
            _complete_checksum(transport, source, destination)


def sign_header(guard: Guard, tcb: Any, source: bytes, destination: bytes, header: bytes) -> bytes:
    """A whole segment without payload, signed."""
    signed = bytearray(header)
    with memoryview(signed) as transport:
        guard.sign(tcb, source, destination, transport)
        _complete_checksum(transport, source, destination)
    return bytes(signed)


def _complete_checksum(transport: memoryview, source: bytes, destination: bytes) -> None:
    place = wire_tcp.CHECKSUM_OFFSET
    transport[place : place + 2] = bytes(2)
    total = pseudo_header_sum(source, destination, IPPROTO_TCP, len(transport))
    transport[place : place + 2] = internet_checksum(transport, total).to_bytes(2, "big")
