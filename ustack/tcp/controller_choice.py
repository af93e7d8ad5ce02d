"""Which congestion controller a connection has: as it is established, and when the user picks another one.

TCP_CONGESTION on a listener is inherited by what it accepts.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ustack import errors
from ustack.tcp import ack_sample, congestion, pacing

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection


def check(name: str | None) -> None:
    """Raises ENOENT for a name that no controller has."""
    if name is not None and name not in congestion.CONTROLLERS:
        raise errors.error(errno.ENOENT)


def start(connection: Connection, initial_window: int, now: int) -> None:
    """Give a connection that is established now its controller."""
    config = connection.tcp.config
    name = connection.controller_name
    connection.tcb.cwnd_checked_ns = now
    _put_to_work(connection, congestion.create(name, initial_window, config), now)


def change(connection: Connection, now: int) -> None:
    """Put another controller in the place of the present one, which hands its window on."""
    name = connection.options.congestion_control
    check(name)
    present = connection.congestion
    if present is None or name is None or present.name == name:
        return
    successor = congestion.create(name, present.initial_window, connection.tcp.config)
    successor.cwnd, successor.ssthresh = present.cwnd, present.ssthresh
    _put_to_work(connection, successor, now)


def _put_to_work(connection: Connection, controller: congestion.CongestionController, now: int) -> None:
    connection.congestion = controller
    connection.tcb.paced_until_ns = 0
    controller.on_start(ack_sample.numbers(connection, now))
    ack_sample.publish(connection)
    pacing.update(connection)
