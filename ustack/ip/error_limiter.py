"""How many ICMP errors this host sends.  RFC 1812 §4.3.2.8, RFC 4443 §2.4 (f)."""

from __future__ import annotations

from collections import OrderedDict

from ustack.config import SECOND, IpConfig
from ustack.entropy import Entropy

_DESTINATIONS = 1024
"""Destinations whose own rate is remembered; the one longest without an error goes first."""


class ErrorLimiter:
    """Token buckets for errors: one for all, and one for each destination of late.

    An error takes one or two of the common tokens, at random: a prober who counts the errors that others' packets use
    up, as "SAD DNS" did (CVE-2020-25705), counts noise.  So the rates are upper bounds.
    """

    def __init__(self, config: IpConfig, entropy: Entropy) -> None:
        self._config = config
        self._entropy = entropy
        self._tokens = float(config.icmp_errors_burst)
        self._filled_ns = 0
        self._destinations: OrderedDict[bytes, tuple[float, int]] = OrderedDict()

    def allow(self, destination: bytes, now: int) -> bool:
        """Whether an error may go to `destination` now; if so it is counted as sent."""
        config = self._config
        rate, burst = config.icmp_errors_per_second, config.icmp_errors_burst
        tokens = _refill(self._tokens, now - self._filled_ns, rate, burst)
        rate = config.icmp_errors_per_destination_per_second
        own, filled_ns = self._destinations.get(destination, (float(rate), now))
        own = _refill(own, now - filled_ns, rate, rate)
        if own < 1 or tokens < 1:
            return False
        self._tokens = max(0.0, tokens - 1 - self._entropy.take(1)[0] % 2)
        self._filled_ns = now
        self._destinations[destination] = (own - 1, now)
        self._destinations.move_to_end(destination)
        if len(self._destinations) > _DESTINATIONS:
            self._destinations.popitem(last=False)
        return True


def _refill(tokens: float, elapsed_ns: int, rate: int, most: int) -> float:
    return min(float(most), tokens + elapsed_ns * rate / SECOND)
