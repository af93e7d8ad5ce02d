"""Numbers on packets that must tell an observer nothing: the identification and the flow label.

RFC 6864 (IPv4 ID), RFC 7739 §5.3 (fragment identification), RFC 6437 (flow label).
"""

from __future__ import annotations

from array import array

from ustack.entropy import Entropy
from ustack.native import lib

_KEY_BYTES = 16
_COUNTERS = 1024
_FLOW_LABEL_MASK = 0xFFFFF


class Identifications:
    """Identifications that do not repeat for one source, destination and protocol until the field has wrapped.

    RFC 7739 §5.3: a keyed hash of the three gives the start, and picks one of the counters to go on by.  Two flows
    that share a counter leave gaps for each other but never repeat, and neither start nor pace of one shows in the
    other's.
    """

    def __init__(self, entropy: Entropy) -> None:
        self._key = entropy.take(_KEY_BYTES)
        self._counters: array[int] | None = None

    def take(self, source: bytes, destination: bytes, protocol: int) -> int:
        """The next one, 32 bits as IPv6 has them; IPv4 takes the low 16."""
        if self._counters is None:
            self._counters = array("L", bytes(_COUNTERS * array("L").itemsize))
        data = b"".join((source, destination, bytes((protocol,))))
        start: int = lib.siphash(self._key, data, len(data))
        place = start >> 32 & (_COUNTERS - 1)
        count = self._counters[place]
        self._counters[place] = count + 1 & 0xFFFFFFFF
        return start + count & 0xFFFFFFFF


class FlowLabels:
    """Flow labels of packets sent: uniform, the same for all packets of a flow, not to be guessed.  RFC 6437 §3."""

    def __init__(self, entropy: Entropy) -> None:
        self._key = entropy.take(_KEY_BYTES)

    def label(self, source: bytes, destination: bytes, protocol: int, source_port: int, destination_port: int) -> int:
        """The label of a flow, never 0 (which means none)."""
        ports = source_port << 16 | destination_port
        data = b"".join((source, destination, bytes((protocol,)), ports.to_bytes(4, "big")))
        hashed: int = lib.siphash(self._key, data, len(data))
        return hashed & _FLOW_LABEL_MASK or 1
