"""The user time-out option: telling the peer how long data may stay unacknowledged.  RFC 5482.

Off by default (`TcpConfig.user_timeout_option`), as Linux has nothing of it.  A connection advertises its time-out on
the SYN and whenever the user sets another (§3.1), and adopts what both ends want (§3.1.1) unless its user has set one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.config import SECOND

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.wire.tcp_options import TcpOptions

_DEFAULT_NS = 300 * SECOND
"""What is advertised where the user has set nothing: RFC 9293 §3.9.1's five minutes."""
_MINUTES = 1 << 15
_MINUTE_NS = 60 * SECOND


def encode(timeout_ns: int) -> int:
    """The option's 16 bits: seconds, or minutes where seconds do not fit.  RFC 5482 §3."""
    seconds = max(timeout_ns // SECOND, 1)
    return seconds if seconds < _MINUTES else _MINUTES | min(timeout_ns // _MINUTE_NS, _MINUTES - 1)


def decode(value: int) -> int:
    """The nanoseconds that the 16 bits tell; 0 is not to be used (RFC 5482 §3.3)."""
    return (value & _MINUTES - 1) * (_MINUTE_NS if value & _MINUTES else SECOND)


def advertised(connection: Connection) -> int | None:
    """What we tell the peer; None where the option is not used."""
    if not connection.tcp.config.user_timeout_option:
        return None
    return encode(connection.options.user_timeout_ns or _DEFAULT_NS)


def take(connection: Connection, options: TcpOptions) -> None:
    """The peer advertises: adopt the larger of both time-outs, within limits.  RFC 5482 §3.1.1."""
    value, config = options.user_timeout, connection.tcp.config
    if value is None or not config.user_timeout_option or not decode(value):
        return
    wanted = max(decode(value), connection.options.user_timeout_ns or _DEFAULT_NS, config.user_timeout_least_ns)
    connection.options.adopted_user_timeout_ns = min(wanted, config.user_timeout_most_ns)


def in_force(connection: Connection) -> int:
    """The time-out that counts: the user's, else the adopted one, else none (0).  RFC 5482 §3.1 (CHANGEABLE)."""
    return connection.options.user_timeout_ns or connection.options.adopted_user_timeout_ns
