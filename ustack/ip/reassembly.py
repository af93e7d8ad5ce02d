"""Reassembly of fragments, within bounds.  RFC 791 §3.2, RFC 8200 §4.5, RFC 5722 (overlap), RFC 3168 §5.3 (ECN).

Both versions have the same rules: an exact duplicate of a fragment is ignored, any other overlap ends the datagram,
silently. When memory runs short the oldest incomplete datagram goes, of the same source if that one has its fill; a
flood of fragments thus keeps out those whose rest is late, never those whose fragments come together.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from dataclasses import dataclass, field

from ustack.config import IpConfig
from ustack.drops import Drop, DropCounters, DropReason
from ustack.ip.interface import Interface
from ustack.wire import Buffer

FRAGMENT_OVERHEAD = 128
"""What holding a fragment costs besides its bytes, so that tiny ones are not cheap."""
DATAGRAM_OVERHEAD = 512
_NOT_ECT = 0
_CE = 3
_IPV6_SOURCE_BYTES = 8
"""A host may have all of a /64, so limits count that as one source."""

Key = tuple[bytes, bytes, int, int]
"""Source, destination, protocol (0 for IPv6) and identification.  RFC 791 §3.2, RFC 8200 §4.5."""


@dataclass(slots=True)
class Fragment:
    """One fragment, its length checked against the rules of its version."""

    interface: Interface
    key: Key
    start: int
    more: bool
    header: Buffer
    """The packet up to the data, as received."""
    data: Buffer
    ecn: int

    @property
    def end(self) -> int:
        """The offset behind its last byte."""
        return self.start + len(self.data)

    @property
    def cost(self) -> int:
        """The memory that holding it takes."""
        return len(self.data) + FRAGMENT_OVERHEAD + (0 if self.start else len(self.header))


@dataclass(slots=True)
class Whole:
    """A datagram whose fragments are all there."""

    header: bytes
    """Of the first fragment, as received."""
    data: bytes
    ecn: int


@dataclass(slots=True, eq=False)
class Incomplete:
    """What is held of one datagram."""

    interface: Interface
    key: Key
    deadline_ns: int
    starts: list[int] = field(default_factory=list)
    """Offsets of the pieces, ascending."""
    pieces: list[bytes] = field(default_factory=list)
    received: int = 0
    total: int | None = None
    """Length of the whole, once the last fragment is here."""
    header: bytes = b""
    """The first fragment's, once it is here."""
    ecn_seen: int = 0
    """Bit n is set if a fragment had ECN field n."""
    first_ecn: int = 0
    charged: int = 0
    abandoned: bool = False
    """Fragments overlapped: what is still to come is discarded too."""

    @property
    def first_fragment(self) -> bytes:
        """The fragment at offset 0 as it was received; empty if it was not."""
        return self.header + self.pieces[0] if self.header else b""

    def holds(self, fragment: Fragment, position: int) -> bool:
        """Whether the same fragment, byte for byte, is at `position`."""
        if position == len(self.starts) or self.starts[position] != fragment.start:
            return False
        return self.pieces[position] == fragment.data and fragment.more == (fragment.end != self.total)

    def contradicts(self, fragment: Fragment, position: int) -> bool:
        """Whether the fragment overlaps one that is here, or says otherwise where the datagram ends."""
        start, end = fragment.start, fragment.end
        if position and self.starts[position - 1] + len(self.pieces[position - 1]) > start:
            return True
        if position < len(self.starts) and (end > self.starts[position] or not fragment.more):
            return True
        return self.total is not None and (end >= self.total if fragment.more else end != self.total)

    def insert(self, fragment: Fragment, position: int) -> None:
        """Keep a copy of the fragment."""
        self.starts.insert(position, fragment.start)
        self.pieces.insert(position, bytes(fragment.data))
        self.received += len(fragment.data)
        self.ecn_seen |= 1 << fragment.ecn
        if not fragment.start:
            self.header = bytes(fragment.header)
            self.first_ecn = fragment.ecn
        if not fragment.more:
            self.total = fragment.end


@dataclass(slots=True)
class _Source:
    """What is held of one source."""

    incomplete: OrderedDict[Key, Incomplete] = field(default_factory=OrderedDict)
    charged: int = 0


class Reassembly:
    """All incomplete datagrams of a host; `charged` is the memory they take, at most `reassembly_limit_bytes`."""

    def __init__(self, config: IpConfig, counters: DropCounters) -> None:
        self._config = config
        self._counters = counters
        self._incomplete: OrderedDict[Key, Incomplete] = OrderedDict()
        self._sources: dict[bytes, _Source] = {}
        self.charged = 0

    def __len__(self) -> int:
        return len(self._incomplete)

    def add(self, fragment: Fragment, now: int) -> Whole | None:
        """Take a fragment; the whole datagram if it was the last one missing.  Raises Drop for one that is not kept."""
        incomplete = self._incomplete.get(fragment.key)
        if incomplete is None:
            # DEVIATION RFC 1122 §3.3.2, RFC 8200 §4.5: 30 s by default, as Linux has for IPv4, not 60.
            incomplete = Incomplete(fragment.interface, fragment.key, now + self._config.reassembly_timeout_ns)
        position = bisect_left(incomplete.starts, fragment.start)
        self._check_consistent(incomplete, fragment, position)
        self._make_room(incomplete, fragment)
        self._hold(incomplete, fragment, position)
        if incomplete.received != incomplete.total:
            return None
        self._remove(incomplete)
        return _assemble(incomplete)

    def next_deadline(self) -> int | None:
        """When `expire` is next wanted."""
        return next(iter(self._incomplete.values())).deadline_ns if self._incomplete else None

    def expire(self, now: int) -> list[Incomplete]:
        """Forget what has waited long enough, and return it."""
        expired: list[Incomplete] = []
        while self._incomplete:
            oldest = next(iter(self._incomplete.values()))
            if oldest.deadline_ns > now:
                break
            self._discard(oldest, DropReason.FRAGMENT_TIMEOUT)
            expired.append(oldest)
        return expired

    def _check_consistent(self, incomplete: Incomplete, fragment: Fragment, position: int) -> None:
        """Raise for a duplicate, and for a fragment that does not go with the others: that ends the datagram."""
        if incomplete.abandoned:
            raise Drop(DropReason.FRAGMENT_OVERLAP, "of a datagram that was given up")
        if incomplete.holds(fragment, position):
            raise Drop(DropReason.FRAGMENT_DUPLICATE)
        if incomplete.contradicts(fragment, position):
            self._abandon(incomplete)
            raise Drop(DropReason.FRAGMENT_OVERLAP)

    def _abandon(self, incomplete: Incomplete) -> None:
        """Discard all fragments of a datagram; for IPv6 those to come too, until its time is over (RFC 5722 §4)."""
        self._discard(incomplete, DropReason.FRAGMENT_OVERLAP)
        if len(incomplete.key[0]) == 16:
            grave = Incomplete(incomplete.interface, incomplete.key, incomplete.deadline_ns, abandoned=True)
            self._charge(grave, DATAGRAM_OVERHEAD)

    def _make_room(self, incomplete: Incomplete, fragment: Fragment) -> None:
        """Discard older datagrams until the fragment fits the limits; raise Drop if that does not help."""
        config = self._config
        if len(incomplete.pieces) >= config.reassembly_limit_fragments:
            self._discard(incomplete, DropReason.FRAGMENT_LIMIT_DATAGRAM)
            raise Drop(DropReason.FRAGMENT_LIMIT_DATAGRAM)
        cost = fragment.cost + (0 if incomplete.charged else DATAGRAM_OVERHEAD)
        source = self._sources.get(_source_of(fragment.key)) or _Source()
        while source.charged + cost > config.reassembly_limit_source_bytes:
            self._evict(source.incomplete, incomplete, DropReason.FRAGMENT_LIMIT_SOURCE)
        while self.charged + cost > config.reassembly_limit_bytes:
            self._evict(self._incomplete, incomplete, DropReason.FRAGMENT_LIMIT_TOTAL)

    def _evict(self, among: OrderedDict[Key, Incomplete], spared: Incomplete, reason: DropReason) -> None:
        """Discard the oldest datagram but `spared`; where there is no other, discard that and raise Drop."""
        victim = next((each for each in among.values() if each is not spared), spared)
        self._discard(victim, reason)
        if victim is spared:
            raise Drop(reason, "the datagram alone is over the limit")

    def _hold(self, incomplete: Incomplete, fragment: Fragment, position: int) -> None:
        self._charge(incomplete, fragment.cost + (0 if incomplete.charged else DATAGRAM_OVERHEAD))
        incomplete.insert(fragment, position)

    def _charge(self, incomplete: Incomplete, cost: int) -> None:
        """Count memory against the datagram, its source and the whole, all of which know the datagram from now on."""
        self._incomplete.setdefault(incomplete.key, incomplete)
        source = self._sources.setdefault(_source_of(incomplete.key), _Source())
        source.incomplete.setdefault(incomplete.key, incomplete)
        incomplete.charged += cost
        source.charged += cost
        self.charged += cost

    def _discard(self, incomplete: Incomplete, reason: DropReason) -> None:
        """Forget a datagram and count its fragments as dropped."""
        if incomplete.pieces:
            self._counters[reason] += len(incomplete.pieces)
        self._remove(incomplete)

    def _remove(self, incomplete: Incomplete) -> None:
        """Forget a datagram, which may not be known yet."""
        if self._incomplete.pop(incomplete.key, None) is None:
            return
        name = _source_of(incomplete.key)
        source = self._sources[name]
        del source.incomplete[incomplete.key]
        source.charged -= incomplete.charged
        self.charged -= incomplete.charged
        if not source.incomplete:
            del self._sources[name]


def _source_of(key: Key) -> bytes:
    return key[0] if len(key[0]) == 4 else key[0][:_IPV6_SOURCE_BYTES]


def _assemble(incomplete: Incomplete) -> Whole:
    """Join the pieces.  Raises Drop if their ECN fields do not go together."""
    return Whole(incomplete.header, b"".join(incomplete.pieces), _merge_ecn(incomplete))


def _merge_ecn(incomplete: Incomplete) -> int:
    """The ECN field of the whole: CE if one fragment has it; Not-ECT goes with nothing else.  RFC 3168 §5.3."""
    seen = incomplete.ecn_seen
    if seen & 1 << _NOT_ECT and seen != 1 << _NOT_ECT:
        raise Drop(DropReason.FRAGMENT_ECN)
    return _CE if seen & 1 << _CE else incomplete.first_ecn
