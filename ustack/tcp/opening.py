"""What both kinds of open share: a TCB for a flow, the start of the synchronized states.

RFC 9293 §3.10.1, RFC 6928 (initial window).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Any

from ustack import errors
from ustack.constants import IPPROTO_TCP
from ustack.endpoint import WRITABLE
from ustack.native import ffi, lib
from ustack.tcp import (
    ack_sample,
    controller_choice,
    path_search,
    receive_buffer,
    segment_size,
    send_buffer,
    sequence,
    source_route,
    time_wait,
    timeouts,
)
from ustack.tcp.authentication import guard

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment


def _new_tcb() -> Any:
    """A zeroed TCB that is freed with its buffers when nothing in Python refers to it."""
    tcb = lib.tcb_new()
    if tcb == ffi.NULL:
        raise errors.error(errno.ENOMEM)
    return ffi.gc(tcb, lib.tcb_free)


def create_tcb(
    connection: Connection,
    local: bytes,
    local_port: int,
    remote: bytes,
    remote_port: int,
    now: int,
    previous_nxt: int | None = None,
) -> None:
    """Give the connection its TCB and route.  Raises the OSError of the route, or ENOMEM.

    `previous_nxt` is SND.NXT of an incarnation in TIME-WAIT that this one replaces.
    """
    tcp = connection.tcp
    connection.path.route = tcp.ip.route(source_route.first_hop(connection) or remote, local)
    connection.path.route_generation = tcp.ip.routes.generation
    connection.interface = connection.path.route.interface
    tcb = _new_tcb()
    tcb.version = 4 if len(local) == 4 else 6
    tcb.local_address[0 : len(local)] = local
    tcb.remote_address[0 : len(remote)] = remote
    tcb.local_port, tcb.remote_port = local_port, remote_port
    tcb.interface = connection.interface.index
    connection.local_address, connection.local_port = local, local_port
    connection.remote_address, connection.remote_port = remote, remote_port
    connection.tcb = tcb
    connection.opened = True
    source_route.open_by(connection)
    tcp.apply_ip_options(connection, now)
    config = tcp.config
    chosen = tcp.isn.choose(local, local_port, remote, remote_port, now)
    begin_at(tcb, time_wait.initial_sequence_number(chosen, previous_nxt))
    tcb.ts_offset = tcp.isn.timestamp_offset(local, local_port, remote, remote_port)
    tcb.advmss = tcp.receive_mss(connection)
    receive_buffer.open_buffer(connection)
    tcb.rto_ns = config.rto_initial_ns
    tcb.reordering = config.reordering
    tcb.rack.reo_wnd_steps = 1
    tcb.last_received_ns = tcb.waits_since_ns = now
    connection.guard = guard.guard_for(connection.options.authentication, remote)
    signed = connection.guard is not None
    tcb.no_offload = signed
    tcb.slow_path_reasons = lib.SLOW_STATE | (0 if tcp.fast_path and not signed else lib.SLOW_DISABLED)


def begin_at(tcb: Any, iss: int) -> None:
    """Set the initial sequence number and what is derived from it."""
    tcb.iss = tcb.snd_una = tcb.snd_nxt = tcb.snd_up = tcb.recovery_point = tcb.snd_sml = iss
    tcb.snd_ring_seq = sequence.add(iss, 1)


def register(connection: Connection) -> None:
    """Give the connection, which has a TCB, its place in the flow table.  Raises ENOBUFS."""
    tcp, tcb = connection.tcp, connection.tcb
    local, remote = connection.local_address, connection.remote_address
    assert local is not None, "a connection with a TCB has a local address"
    assert remote is not None, "a connection with a TCB has a remote address"
    tcb.handle = tcp.flows.handle_of(connection)
    tcp.flows.insert(
        IPPROTO_TCP, local, connection.local_port, remote, connection.remote_port, connection, lib.FLOW_TCP, tcb
    )
    tcp.connections[connection] = None
    tcp.unopened.discard(connection)


def establish(connection: Connection, segment: Segment, now: int) -> None:
    """Both SYNs are acknowledged: SND.WND, the controller, the first RTT sample, keep-alive."""
    _acknowledge_syn(connection, segment, now)
    if connection.congestion is None:
        start_transfer(connection, now)
    connection.raise_event(WRITABLE)


def _acknowledge_syn(connection: Connection, segment: Segment, now: int) -> None:
    """SND.UNA and SND.WND, and what else the acknowledgment of our SYN tells; it may cover data sent with it."""
    tcb = connection.tcb
    tcb.snd_wnd = tcb.snd_max_wnd = segment.window
    tcb.snd_wl1, tcb.snd_wl2 = segment.seq, segment.ack
    lib.tcb_acknowledge(tcb, segment.ack, False, 0, now)
    tcb.last_sent_ns = tcb.last_data_received_ns = tcb.last_ack_received_ns = now
    tcb.bytes_acked = 1 if connection.listener is None else 0
    tcb.snd_up = tcb.snd_sml = segment.ack
    tcb.last_ack_sent = tcb.rcv_nxt
    ack_sample.flush(connection, now)
    if tcb.retransmissions:
        tcb.backoff = 0
        tcb.rto_ns = max(tcb.rto_ns, connection.tcp.config.rto_after_syn_loss_ns)


def start_transfer(connection: Connection, now: int) -> None:
    """Data may flow: the buffers, the sizes of segments, the controller, keep-alive."""
    receive_buffer.establish(connection, now)
    segment_size.size_segments(connection, now)
    controller_choice.start(connection, _initial_window(connection), now)
    path_search.begin(connection, now)
    connection.sending.pushed_seq = connection.tcb.snd_una
    send_buffer.grow(connection)
    timeouts.start_keepalive(connection, now)


def _initial_window(connection: Connection) -> int:
    """Segments: RFC 6928 §2; one if the SYN had to be sent again more than once.

    # DEVIATION RFC 6928 §2, RFC 5681 §3.1: as Linux, whatever the segments' size, and a first loss of the SYN is
    forgiven.
    """
    if connection.tcb.retransmissions > 1:
        return 1
    return connection.route_metrics.initcwnd or connection.tcp.config.initial_window_segments
