"""What follows when the user changes an option of a connection or listener."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ustack.endpoint import READABLE
from ustack.native import lib
from ustack.tcp import (
    controller_choice,
    delayed_ack,
    flight,
    notices,
    output,
    pacing,
    receive_buffer,
    send_buffer,
    source_route,
    timeouts,
    user_timeout_option,
)
from ustack.tcp import options as tcp_options
from ustack.tcp.state import is_synchronized
from ustack.wire import tcp_options as wire_options
from ustack.wire.tcp import ACK

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def apply(connection: Connection, name: str, now: int) -> None:
    """Act on `options.<name>`, which has its new value.  An OSError refuses it."""
    action = _ACTIONS.get(name)
    if action is not None:
        action(connection, now)


def _ip_options(connection: Connection, now: int) -> None:
    """MUST-48, MUST-49, SHLD-21: DSCP and TTL count from the next segment on."""
    if connection.opened and connection.tcb.state:
        connection.tcp.apply_ip_options(connection, now)


def _sharing(connection: Connection, now: int) -> None:
    if connection.binding is not None:
        connection.tcp.ports.refresh(connection.binding)


def _no_delay(connection: Connection, now: int) -> None:
    """TCP_NODELAY sends what is unsent now, even through a cork."""
    if connection.options.no_delay:
        connection.sending.released = True
        output.output(connection, now)


def _cork(connection: Connection, now: int) -> None:
    """What the cork held back leaves when it is pulled, as far as Nagle lets it."""
    if not connection.options.cork:
        connection.sending.released |= connection.options.no_delay
        output.output(connection, now)


def _send_buffer(connection: Connection, now: int) -> None:
    """Whoever waits for room looks again."""
    connection.sending.wants_room = True
    send_buffer.acknowledged(connection, flight.packets_in_flight(connection.tcb))


def _keepalive(connection: Connection, now: int) -> None:
    if not is_synchronized(connection.tcb.state):
        return
    if connection.options.keepalive:
        timeouts.start_keepalive(connection, now)
    else:
        connection.tcb.deadline_ns[lib.TIMER_KEEPALIVE] = 0


def _receive_buffer(connection: Connection, now: int) -> None:
    tcb = connection.tcb
    if tcb.state:
        tcb.rcv_buffer = connection.receive_limit
        tcb.rcv_buffer_locked = connection.options.receive_buffer is not None


def _window_clamp(connection: Connection, now: int) -> None:
    if connection.tcb.state:
        receive_buffer.set_window_clamp(connection.tcb, connection.options.window_clamp)


def _receive_low_water(connection: Connection, now: int) -> None:
    """The buffer must be able to hold so much; and what is there may be enough now."""
    tcb, wanted = connection.tcb, connection.options.receive_low_water
    if not tcb.state:
        return
    memory = receive_buffer.memory_from_window(tcb, wanted)
    if not tcb.rcv_buffer_locked and memory > tcb.rcv_buffer:
        tcb.rcv_buffer = memory
        receive_buffer.set_window_clamp(tcb, wanted)
    connection.raise_event(READABLE)


def _quick_ack(connection: Connection, now: int) -> None:
    if connection.tcb.state:
        delayed_ack.set_quick_ack(connection, connection.options.quick_ack or 0, now)


def _user_timeout(connection: Connection, now: int) -> None:
    """Tell the peer, if it shall know.  RFC 5482 §3.1."""
    value = user_timeout_option.advertised(connection)
    if value is None or not is_synchronized(connection.tcb.state) or not connection.may_send():
        return
    options = tcp_options.data_options(connection, now) + wire_options.build_user_timeout(value)
    if len(options) <= wire_options.MAXIMUM_OPTIONS_LENGTH:
        output.transmit(connection, connection.tcb.snd_nxt, ACK, 0, options)


def _keys(connection: Connection, now: int) -> None:
    """Keys for an open connection may be changed, but not whether it has any.  RFC 5925 §7.5.1."""
    if connection.guard is not None:
        connection.guard.choose(connection.options.authentication)


_ACTIONS: dict[str, Callable[[Connection, int], None]] = {
    "ttl": _ip_options,
    "traffic_class": _ip_options,
    "path_mtu_discovery": _ip_options,
    "reuse_address": _sharing,
    "reuse_port": _sharing,
    "no_delay": _no_delay,
    "cork": _cork,
    "send_buffer": _send_buffer,
    "notsent_lowat": _send_buffer,
    "keepalive": _keepalive,
    "keepalive_time_ns": _keepalive,
    "receive_buffer": _receive_buffer,
    "ip_options": lambda connection, now: source_route.check(connection.options.ip_options),
    "congestion_control": controller_choice.change,
    "max_pacing_rate": pacing.limit_changed,
    "authentication": _keys,
    "user_timeout_ns": _user_timeout,
    "quick_ack": _quick_ack,
    "timestamping": notices.timestamping_changed,
    "receive_timestamp": notices.receive_timestamp_changed,
    "window_clamp": _window_clamp,
    "receive_low_water": _receive_low_water,
}
