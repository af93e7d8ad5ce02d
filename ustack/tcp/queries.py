"""How much waits where, as Linux's ioctl(2) requests count it, and the control messages of recvmsg().  tcp(7)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ustack.constants import IP_TOS, IPPROTO_IP, IPPROTO_IPV6, IPPROTO_TCP, IPV6_TCLASS
from ustack.tcp import notices, receive_queue, sequence
from ustack.tcp.state import CLOSED, SYN_RECEIVED, SYN_SENT, TIME_WAIT

if TYPE_CHECKING:
    from ustack.endpoint import ControlMessage
    from ustack.tcp.connection import Connection

TCP_CM_INQ = 36
_INT = struct.Struct("=i")
_UNSYNCHRONIZED = (SYN_SENT, SYN_RECEIVED)


def readable(connection: Connection) -> int:
    """SIOCINQ: bytes that can be read, up to urgent data; a FIN is none."""
    tcb = connection.tcb
    if tcb.state in _UNSYNCHRONIZED:
        return 0
    length = int(tcb.rcv_ring.length)
    if connection.urgent_seq < 0 or connection.options.out_of_band_inline:
        return length
    return min(length, sequence.distance(receive_queue.first_unread(tcb), connection.urgent_seq))


def unacknowledged(connection: Connection) -> int:
    """SIOCOUTQ: what was written and is not acknowledged; a FIN counts as one."""
    tcb = connection.tcb
    if tcb.state in (*_UNSYNCHRONIZED, CLOSED, TIME_WAIT):
        return 0
    fin = connection.fin_queued and not (tcb.fin_sent and tcb.snd_una == tcb.snd_nxt)
    return int(tcb.snd_ring.length) + fin


def unsent(connection: Connection) -> int:
    """SIOCOUTQNSD: what was written and not sent yet; a FIN counts as one."""
    tcb = connection.tcb
    if tcb.fin_sent:
        return 0
    in_flight = (tcb.snd_nxt - tcb.snd_una) % (1 << 32)
    return max(unacknowledged(connection) - int(in_flight), 0)


def control_messages(connection: Connection) -> list[ControlMessage]:
    """What recvmsg() tells beside the data, or beside the entry of the error queue, that it gave last."""
    kept = connection.notices
    if kept is not None and kept.control is not None:
        messages, kept.control = kept.control, None
        return messages
    messages = notices.of_read_data(connection)
    if connection.options.receive_traffic_class:
        messages.append(_traffic_class(connection.tcb))
    if connection.options.report_queue:
        messages.append((IPPROTO_TCP, TCP_CM_INQ, _INT.pack(_queue_hint(connection))))
    return messages


def _traffic_class(tcb: Any) -> ControlMessage:
    """IP_TOS or IPV6_TCLASS of the latest segment (MAY-9); Linux tells it for datagrams only."""
    value: int = tcb.received_traffic_class
    if tcb.version == 4:
        return IPPROTO_IP, IP_TOS, bytes((value,))
    return IPPROTO_IPV6, IPV6_TCLASS, _INT.pack(value)


def _queue_hint(connection: Connection) -> int:
    """TCP_INQ: what is left to read; the end of the stream counts as one, so that the user comes back for it."""
    return int(connection.tcb.rcv_ring.length) + int(connection.tcb.fin_received)
