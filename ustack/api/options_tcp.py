"""The options of IPPROTO_TCP.  tcp(7)."""

from __future__ import annotations

import errno
import socket as stdlib
import sys
from collections.abc import Callable
from typing import Any

from ustack import errors
from ustack.api import options_authentication, options_fast_open
from ustack.api.option_kinds import (
    INT,
    MILLISECOND,
    SECOND,
    Option,
    Target,
    constant,
    flag,
    integer,
    number,
    ranged,
    switch,
)
from ustack.tcp import timestamps

TCP_MSS_DEFAULT = 536
TCP_THIN_DUPACK, TCP_TIMESTAMP, TCP_CC_INFO, TCP_INQ = 17, 24, 26, 36
_CLAMP_MIN = 1152
"""Half of the least receive buffer."""
_FIN_WAIT_2_MOST = 120 * SECOND
_SYN_ACK_WAIT, _SYN_ACK_WAIT_MOST = 1, 120
"""Seconds before the first retransmission of a SYN-ACK, and at most between two."""
_SYN_ACKS_MOST = 255


def _tcp_default(name: str, unit: int = 1) -> Callable[[Target], int]:
    return lambda target: getattr(target.driver.stack.config.tcp, name) // unit


def _read_max_segment(target: Target) -> int:
    """What a segment of an open connection carries now, else what the user has asked for."""
    tcb = _tcb(target)
    if tcb is not None and tcb.state:
        return int(tcb.snd_mss) or TCP_MSS_DEFAULT
    return target.endpoint.options.max_segment or TCP_MSS_DEFAULT


def _tcb(target: Target) -> Any:
    """The TCB of a connection, of a listener None."""
    return getattr(target.endpoint, "tcb", None)


def _write_max_segment(target: Target, value: int) -> None:
    if value and not 88 <= value <= 32767:
        raise errors.error(errno.EINVAL)
    target.change("max_segment", value)


def _read_congestion(target: Target) -> bytes:
    name = target.endpoint.options.congestion_control or target.driver.stack.config.tcp.congestion_control
    return name.encode().ljust(16, b"\0")


def _read_linger2(target: Target) -> int:
    linger = target.endpoint.options.linger2_ns
    if linger is None:
        linger = target.driver.stack.config.tcp.fin_wait_2_timeout_ns
    return -1 if linger < 0 else linger // SECOND


def _write_linger2(target: Target, value: int) -> None:
    """TCP_LINGER2 in seconds: 0 is the stack's default, less than 0 no FIN-WAIT-2 at all."""
    if value < 0:
        target.change("linger2_ns", -1)
    else:
        target.change("linger2_ns", min(value * SECOND, _FIN_WAIT_2_MOST) if value else None)


def _syn_ack_times() -> list[int]:
    """Seconds after which each retransmission of a SYN-ACK is due, one after the other."""
    times, wait = [0], _SYN_ACK_WAIT
    while len(times) <= _SYN_ACKS_MOST:
        times.append(times[-1] + wait)
        wait = min(2 * wait, _SYN_ACK_WAIT_MOST)
    return times


_SYN_ACK_TIMES = _syn_ack_times()


def _write_defer_accept(target: Target, value: int) -> None:
    """TCP_DEFER_ACCEPT in seconds is kept as so many retransmissions of the SYN-ACK."""
    count = next((index for index, time in enumerate(_SYN_ACK_TIMES) if time >= value), _SYN_ACKS_MOST)
    target.change("defer_accept", count)


def _read_quick_ack(target: Target) -> int:
    """Whether ACKs do not wait for data to ride along with."""
    tcb = getattr(target.endpoint, "tcb", None)
    if tcb is None or not tcb.state:
        return int(target.endpoint.options.quick_ack != 0)
    return int(not tcb.ack_pingpong)


def _read_window_clamp(target: Target) -> int:
    """What it is now: it follows the size of segments, as in Linux."""
    tcb = getattr(target.endpoint, "tcb", None)
    return int(tcb.rcv_window_clamp if tcb is not None and tcb.state else target.endpoint.options.window_clamp)


def _write_window_clamp(target: Target, value: int) -> None:
    """TCP_WINDOW_CLAMP: 0 takes it back, only before the connection is open."""
    tcb = _tcb(target)
    if not value and tcb is not None and tcb.state:
        raise errors.error(errno.EINVAL)
    target.change("window_clamp", max(value, _CLAMP_MIN) if value else 0)


def _write_unsent_low_water(target: Target, value: int) -> None:
    target.change("notsent_lowat", value & 0xFFFFFFFF)


def _read_unsent_low_water(target: Target) -> bytes:
    return target.endpoint.options.notsent_lowat.to_bytes(INT.size, sys.byteorder)


def _write_thin_dupack(target: Target, value: int) -> None:
    """Linux knows the option and has no use for it any more."""
    if value not in (0, 1):
        raise errors.error(errno.EINVAL)


def _read_timestamp(target: Target) -> bytes:
    """TCP_TIMESTAMP: what a segment sent now would say."""
    tcb = _tcb(target)
    value = timestamps.value(tcb, target.driver.now()) if tcb is not None else 0
    return value.to_bytes(INT.size, sys.byteorder)


def _refuse(target: Target, value: bytes) -> None:
    raise errors.error(errno.EPERM)


def _write_congestion(target: Target, value: bytes) -> None:
    name = value[:15].partition(b"\0")[0]
    if not name:
        raise errors.error(errno.EINVAL)
    target.change("congestion_control", name.decode("ascii", "replace"))


def _read_info(target: Target) -> bytes:
    return bytes(getattr(target.endpoint, "tcp_info")(target.driver.now()))  # noqa: B009  # TCP endpoints have it


def _read_congestion_info(target: Target) -> bytes:
    controller = getattr(target.endpoint, "congestion", None)
    return b"" if controller is None else bytes(controller.info())


TABLE = (
    {
        stdlib.TCP_NODELAY: flag("no_delay"),
        stdlib.TCP_CORK: flag("cork"),
        stdlib.TCP_QUICKACK: number(_read_quick_ack, lambda target, value: target.change("quick_ack", value)),
        stdlib.TCP_MAXSEG: number(_read_max_segment, _write_max_segment),
        stdlib.TCP_KEEPIDLE: ranged(
            "keepalive_time_ns", 1, 32767, _tcp_default("keepalive_time_ns", SECOND), unit=SECOND
        ),
        stdlib.TCP_KEEPINTVL: ranged(
            "keepalive_interval_ns", 1, 32767, _tcp_default("keepalive_interval_ns", SECOND), unit=SECOND
        ),
        stdlib.TCP_KEEPCNT: ranged("keepalive_probes", 1, 127, _tcp_default("keepalive_probes")),
        stdlib.TCP_SYNCNT: ranged("syn_retries", 1, 127, _tcp_default("syn_retries")),
        stdlib.TCP_USER_TIMEOUT: ranged("user_timeout_ns", 0, (1 << 31) - 1, constant(0), unit=MILLISECOND),
        stdlib.TCP_INFO: Option(_read_info, None),
        TCP_CC_INFO: Option(_read_congestion_info, None),
        stdlib.TCP_CONGESTION: Option(_read_congestion, _write_congestion),
        TCP_INQ: switch("report_queue"),
        stdlib.TCP_LINGER2: number(_read_linger2, _write_linger2),
        stdlib.TCP_DEFER_ACCEPT: number(
            lambda target: _SYN_ACK_TIMES[target.endpoint.options.defer_accept], _write_defer_accept
        ),
        stdlib.TCP_WINDOW_CLAMP: number(_read_window_clamp, _write_window_clamp),
        stdlib.TCP_NOTSENT_LOWAT: Option(
            _read_unsent_low_water, lambda target, value: _write_unsent_low_water(target, integer(value))
        ),
        TCP_THIN_DUPACK: number(constant(0), _write_thin_dupack),
        TCP_TIMESTAMP: Option(_read_timestamp, _refuse),
    }
    | options_fast_open.TABLE
    | options_authentication.TABLE
)
