"""A stack at one moment, as plain values that JSON can hold: what `ustack ss` and `ustack drops` show.

Times are nanoseconds, sizes bytes.  A snapshot is taken with the stack's lock held and changes nothing.
"""

from __future__ import annotations

from typing import Any, TypedDict

from ustack.address import format_address, is_unspecified
from ustack.constants import AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from ustack.datagram.endpoint import DatagramEndpoint
from ustack.drops import DropCounters, DropReason
from ustack.endpoint import Endpoint
from ustack.ip.interface import Interface
from ustack.link.device import OFFLOAD_NAMES
from ustack.native import lib
from ustack.stack import Stack
from ustack.tcp.connection import Connection
from ustack.tcp.listener import Listener
from ustack.tcp.state import State

TIMER_NAMES = {
    lib.TIMER_RETRANSMIT: "retransmit",
    lib.TIMER_DELAYED_ACK: "delayed ack",
    lib.TIMER_KEEPALIVE: "keepalive",
    lib.TIMER_STATE: "state",
    lib.TIMER_PACING: "pacing",
}
RETRANSMIT_NAMES = {
    lib.RETRANSMIT_RTO: "retransmission",
    lib.RETRANSMIT_PERSIST: "persist",
    lib.RETRANSMIT_TLP: "tail loss probe",
    lib.RETRANSMIT_REORDERING: "reordering",
}
RECOVERY_NAMES = {
    lib.CA_OPEN: "none",
    lib.CA_DISORDER: "disorder",
    lib.CA_CWR: "window reduced",
    lib.CA_RECOVERY: "fast recovery",
    lib.CA_LOSS: "after a time-out",
}


class TimerRow(TypedDict):
    """A timer that runs."""

    name: str
    due_in_ns: int


class TcpRow(TypedDict):
    """What a TCB says of a connection."""

    congestion_control: str
    cwnd: int
    ssthresh: int
    flight: int
    srtt_ns: int
    rttvar_ns: int
    rto_ns: int
    snd_mss: int
    snd_wnd: int
    rcv_wnd: int
    delivered: int
    bytes_received: int
    retransmissions: int
    bytes_retransmitted: int
    recovery: str
    out_of_order_ranges: int
    timestamps: bool
    sack: bool
    fast_path: bool


class SocketRow(TypedDict):
    """One endpoint.  Of a listener the queues count connections: those to accept, and the backlog."""

    protocol: str
    family: str
    state: str
    receive_queue: int
    send_queue: int
    local_address: str
    local_port: int
    remote_address: str
    remote_port: int
    timers: list[TimerRow]
    tcp: TcpRow | None


class DropRow(TypedDict):
    """How often packets ended for one reason."""

    reason: str
    count: int
    what: str
    clause: str


class InterfaceRow(TypedDict):
    """One interface."""

    index: int
    name: str
    up: bool
    mtu: int
    addresses: list[str]
    offload: list[str]


class Snapshot(TypedDict):
    """One moment of a stack."""

    now_ns: int
    fast_path: bool
    interfaces: list[InterfaceRow]
    sockets: list[SocketRow]
    drops: list[DropRow]


def snapshot(stack: Stack, now: int) -> Snapshot:
    """Everything that is shown of a stack."""
    return {
        "now_ns": now,
        "fast_path": stack.fast_path,
        "interfaces": [interface_row(interface) for interface in stack.ip.interfaces],
        "sockets": [socket_row(endpoint, now) for endpoint in stack.endpoints],
        "drops": drop_rows(stack.counters),
    }


def drop_rows(counters: DropCounters) -> list[DropRow]:
    """The reasons that have ended packets, most frequent first."""
    return [_drop_row(reason, count) for reason, count in counters.most_common() if count]


def _drop_row(reason: DropReason, count: int) -> DropRow:
    return {"reason": reason.name, "count": count, "what": reason.what, "clause": reason.clause}


def interface_row(interface: Interface) -> InterfaceRow:
    """One interface."""
    return {
        "index": interface.index,
        "name": interface.name,
        "up": interface.up,
        "mtu": interface.mtu,
        "addresses": [f"{format_address(each.address)}/{each.prefix_length}" for each in interface.addresses],
        "offload": [name for bit, name in OFFLOAD_NAMES.items() if interface.offload & bit],
    }


def socket_row(endpoint: Endpoint, now: int) -> SocketRow:
    """One endpoint."""
    receive_queue, send_queue = _queues(endpoint)
    return {
        "protocol": _protocol_name(endpoint.protocol),
        "family": "IPv6" if endpoint.family == AF_INET6 else "IPv4",
        "state": _state(endpoint),
        "receive_queue": receive_queue,
        "send_queue": send_queue,
        "local_address": _address(endpoint.local_address),
        "local_port": endpoint.local_port,
        "remote_address": _address(endpoint.remote_address),
        "remote_port": endpoint.remote_port,
        "timers": _timers(endpoint.tcb, now) if isinstance(endpoint, Connection) else [],
        "tcp": _tcp_row(endpoint) if isinstance(endpoint, Connection) else None,
    }


def _protocol_name(protocol: int) -> str:
    return {IPPROTO_TCP: "tcp", IPPROTO_UDP: "udp"}.get(protocol, f"raw {protocol}")


def _address(address: bytes | None) -> str:
    return "*" if address is None or is_unspecified(address) else format_address(address)


def _state(endpoint: Endpoint) -> str:
    """The RFC's name of a connection's state; for others what is known of their ends."""
    if isinstance(endpoint, Listener):
        return State.LISTEN.name
    if isinstance(endpoint, Connection):
        return State(endpoint.tcb.state).name
    if endpoint.remote_address is not None:
        return "connected"
    return "unconnected"


def _queues(endpoint: Endpoint) -> tuple[int, int]:
    """What waits to be read, and what waits to be acknowledged."""
    if isinstance(endpoint, Listener):
        return len(endpoint.accept_queue), endpoint.backlog
    if isinstance(endpoint, Connection):
        return endpoint.tcb.rcv_ring.length, endpoint.tcb.snd_ring.length
    if isinstance(endpoint, DatagramEndpoint):
        return endpoint.queue.cdata.ring.length, 0
    return 0, 0


def _timers(tcb: Any, now: int) -> list[TimerRow]:
    rows: list[TimerRow] = []
    for timer in TIMER_NAMES:
        deadline = tcb.deadline_ns[timer]
        if deadline:
            rows.append({"name": _timer_name(tcb, timer), "due_in_ns": deadline - now})
    return rows


def _timer_name(tcb: Any, timer: int) -> str:
    """What a timer is for now: some serve several purposes."""
    if timer == lib.TIMER_RETRANSMIT:
        return RETRANSMIT_NAMES.get(tcb.retransmit_kind, TIMER_NAMES[timer])
    if timer == lib.TIMER_STATE:
        return State(tcb.state).name.lower().replace("_", "-")
    return TIMER_NAMES[timer]


def _tcp_row(connection: Connection) -> TcpRow:
    tcb = connection.tcb
    return {
        "congestion_control": connection.congestion.name if connection.congestion is not None else "",
        "cwnd": tcb.cwnd_packets,
        "ssthresh": tcb.ssthresh_packets,
        "flight": (tcb.snd_nxt - tcb.snd_una) % (1 << 32),
        "srtt_ns": tcb.srtt_ns,
        "rttvar_ns": tcb.rttvar_ns,
        "rto_ns": tcb.rto_ns,
        "snd_mss": tcb.snd_mss,
        "snd_wnd": tcb.snd_wnd,
        "rcv_wnd": tcb.rcv_wnd,
        "delivered": tcb.bytes_acked,
        "bytes_received": tcb.bytes_received,
        "retransmissions": tcb.retransmissions,
        "bytes_retransmitted": tcb.bytes_retransmitted,
        "recovery": RECOVERY_NAMES[tcb.ca_state],
        "out_of_order_ranges": tcb.out_of_order.count,
        "timestamps": bool(tcb.timestamps),
        "sack": bool(tcb.sack_permitted),
        "fast_path": not tcb.slow_path_reasons,
    }
