"""ICMP errors about our segments.  RFC 9293 §3.9.2.2 (MUST-54, MUST-56), RFC 5927, RFC 1191, RFC 8201."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ustack.constants import IPPROTO_TCP
from ustack.drops import Drop, DropReason
from ustack.endpoint import ERROR
from ustack.tcp import notices, path_mtu, sequence
from ustack.tcp.connection import Connection
from ustack.tcp.fast_open import client as fast_open_client
from ustack.tcp.state import SYN_RECEIVED, SYN_SENT
from ustack.wire import icmpv4, icmpv6

if TYPE_CHECKING:
    from ustack.ip.icmp import IcmpError
    from ustack.tcp.protocol import TcpProtocol

_UNREACHABLE_IPV4 = icmpv4.IcmpType.DESTINATION_UNREACHABLE
_UNREACHABLE_IPV6 = icmpv6.Icmpv6Type.DESTINATION_UNREACHABLE
_SEQ = struct.Struct(">4xI")


def error_arrives(tcp: TcpProtocol, error: IcmpError, now: int) -> None:
    """Find the connection, and check that the quoted segment is in flight now: else anybody could send this.

    RFC 5927 §4.1.
    """
    quoted = error.quoted
    connection = tcp.flows.find(
        IPPROTO_TCP, quoted.source, quoted.source_port, quoted.destination, quoted.destination_port
    )
    if not isinstance(connection, Connection) or len(quoted.transport) < _SEQ.size:
        raise Drop(DropReason.ICMP_QUOTE)
    seq = _SEQ.unpack_from(quoted.transport)[0]
    tcb = connection.tcb
    if not (sequence.le(tcb.snd_una, seq) and sequence.lt(seq, tcb.snd_nxt)):
        raise Drop(DropReason.ICMP_QUOTE, "the quoted sequence number is not in flight")
    if error.mtu is not None:
        path_mtu.packet_too_big(connection, error.mtu, now)
        fast_open_client.resend_at_once(connection, now)
    elif _ends_open(connection, error):
        if connection.options.receive_errors:
            notices.icmp_error(connection, error)
        connection.fail(error.errno)
    else:
        _soft_error(connection, error.errno)


def _ends_open(connection: Connection, error: IcmpError) -> bool:
    """Whether the error ends a handshake.  Where no user has the connection yet, a soft error does too, as in Linux."""
    if connection.fast_open.server is not None and not connection.fast_open.server.accepted:
        return True
    if connection.tcb.state not in (SYN_SENT, SYN_RECEIVED) or connection.fast_open.server is not None:
        return False
    return connection.listener is not None or _is_hard(error)


def _is_hard(error: IcmpError) -> bool:
    """Whether an open should not wait any longer.  A parameter problem is soft for TCP: MUST-56."""
    unreachable = _UNREACHABLE_IPV4 if error.version == 4 else _UNREACHABLE_IPV6
    return error.hard and error.type == unreachable


def _soft_error(connection: Connection, number: int) -> None:
    """Kept as the reason of a later time-out (SHLD-25); reported at once only if the user asked (MUST-47).

    # DEVIATION RFC 1122 §4.2.3.9 (SHLD-26): a hard error does not abort a synchronized connection: RFC 5927 §5.2.
    """
    connection.soft_error = number
    if connection.options.receive_errors:
        connection.error = number
        connection.raise_event(ERROR)
