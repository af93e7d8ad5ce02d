"""What follows when the user changes an option of a connection or listener."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import TYPE_CHECKING

from ustack import errors
from ustack.native import lib
from ustack.tcp import ack_sample, congestion, output, timeouts
from ustack.tcp.state import is_synchronized

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def apply(connection: Connection, name: str, now: int) -> None:
    """Act on `options.<name>`, which has its new value.  An OSError refuses it."""
    action = _ACTIONS.get(name)
    if action is not None:
        action(connection, now)


def check_congestion_control(name: str | None) -> None:
    """Raises ENOENT for a name that no controller has."""
    if name is not None and name not in congestion.CONTROLLERS:
        raise errors.error(errno.ENOENT)


def _ip_options(connection: Connection, now: int) -> None:
    """MUST-48, MUST-49, SHLD-21: DSCP and TTL count from the next segment on."""
    if connection.opened and connection.tcb.state:
        connection.tcp.apply_ip_options(connection, now)


def _sharing(connection: Connection, now: int) -> None:
    if connection.binding is not None:
        connection.tcp.ports.refresh(connection.binding)


def _send_rest(connection: Connection, now: int) -> None:
    """What Nagle or a cork held back may leave now."""
    if connection.options.no_delay or not connection.options.cork:
        output.output(connection, now)


def _keepalive(connection: Connection, now: int) -> None:
    if not is_synchronized(connection.tcb.state):
        return
    if connection.options.keepalive:
        timeouts.start_keepalive(connection, now)
    else:
        connection.tcb.deadline_ns[lib.TIMER_KEEPALIVE] = 0


def _receive_buffer(connection: Connection, now: int) -> None:
    if connection.tcb.state:
        connection.tcb.rcv_limit = connection.receive_limit


def _congestion_control(connection: Connection, now: int) -> None:
    """Put another controller in the place of the present one, which hands its window on."""
    check_congestion_control(connection.options.congestion_control)
    present = connection.congestion
    name = connection.options.congestion_control
    if present is None or name is None or present.name == name:
        return
    successor = congestion.create(name, present.initial_window)
    successor.cwnd, successor.ssthresh = present.cwnd, present.ssthresh
    connection.congestion = successor
    ack_sample.publish(connection)


def _quick_ack(connection: Connection, now: int) -> None:
    if connection.options.quick_ack and connection.tcb.ack_pending_bytes:
        output.send_ack(connection, now)


_ACTIONS: dict[str, Callable[[Connection, int], None]] = {
    "ttl": _ip_options,
    "traffic_class": _ip_options,
    "path_mtu_discovery": _ip_options,
    "reuse_address": _sharing,
    "reuse_port": _sharing,
    "no_delay": _send_rest,
    "cork": _send_rest,
    "keepalive": _keepalive,
    "keepalive_time_ns": _keepalive,
    "receive_buffer": _receive_buffer,
    "congestion_control": _congestion_control,
    "quick_ack": _quick_ack,
}
