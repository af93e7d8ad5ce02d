"""Paths that swallow data on a SYN, or what comes after it.  RFC 7413 §4.1.3.1 and §7.1.

A middlebox near the client spoils every server, so the whole stack stops sending data on SYNs for a while, and twice as
long each time it happens again.  Off by default, as in Linux: `TcpConfig.fastopen_blackhole_timeout_ns`.
"""

from __future__ import annotations

from ustack.config import TcpConfig

_DOUBLINGS_MAX = 6


class BlackHoleDetector:
    """Whether data may go on SYNs now."""

    def __init__(self, config: TcpConfig) -> None:
        self._config = config
        self._times = 0
        self._noticed_ns = 0

    def notice(self, now: int) -> None:
        """A connection that began with Fast Open has met what looks like such a path."""
        if self._config.fastopen_blackhole_timeout_ns:
            self._times += 1
            self._noticed_ns = now

    def clear(self) -> None:
        """A connection that began with Fast Open has carried data."""
        self._times = 0

    def forbids(self, now: int) -> bool:
        """Whether data must not leave on a SYN now."""
        timeout = self._config.fastopen_blackhole_timeout_ns
        if not self._times or not timeout:
            return False
        return now < self._noticed_ns + (timeout << min(self._times - 1, _DOUBLINGS_MAX))
