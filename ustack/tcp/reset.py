"""Answers of a host without a connection: RST for what nobody waits for.  RFC 9293 §3.5.3, §3.10.7.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.drops import Drop, DropReason
from ustack.tcp.authentication import guard
from ustack.tcp.segment import Segment
from ustack.wire import tcp as wire_tcp
from ustack.wire.tcp import ACK, RST

if TYPE_CHECKING:
    from ustack.tcp.protocol import TcpProtocol


def answer_closed(tcp: TcpProtocol, segment: Segment, now: int) -> None:
    """A segment for no connection: always ends in a Drop, with a RST sent unless it is one itself."""
    if segment.flags & RST:
        raise Drop(DropReason.TCP_RST_WITHOUT_CONNECTION)
    send_reset(tcp, segment, now)
    raise Drop(DropReason.TCP_NO_CONNECTION)


def send_reset(tcp: TcpProtocol, segment: Segment, now: int) -> None:
    """Make the RST acceptable to the sender of `segment`.  RFC 9293 §3.5.3, group 1."""
    if segment.flags & ACK:
        seq, ack, flags = segment.ack, 0, RST
    else:
        seq, ack, flags = 0, segment.end, RST | ACK
    signer, tcb = tcp.guard_of(segment)
    if signer is not None and tcb is None and not signer.can_sign_alone():
        signer = None
    header = wire_tcp.build(
        segment.local_port,
        segment.remote_port,
        seq=seq,
        ack=ack,
        flags=flags,
        window=0,
        options=b"" if signer is None else signer.option(),
        pseudo=(segment.local, segment.remote),
    )
    if signer is not None:
        header = guard.sign_header(signer, tcb, segment.local, segment.remote, header)
    tcp.send_unconnected(segment, header, now)
