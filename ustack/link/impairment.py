"""`Impairment`: a middleware that makes a device's wire a bad one, the same way again for the same seed.

Each direction is a bottleneck with a bounded queue, behind it a line that loses, corrupts and duplicates packets, and
behind that a path that delays and reorders them.  All act on single packets: super-segments are cut before.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from ustack.burst import Burst
from ustack.config import MILLISECOND, SECOND
from ustack.link.device import GONE, Device, Middleware
from ustack.link.frame import Frame, adapt
from ustack.link.queues import DISCIPLINES, QueueDiscipline
from ustack.native import lib


@dataclass(frozen=True, slots=True)
class ImpairmentProfile:
    """What befalls the packets of one direction.  Probabilities are from 0 to 1."""

    loss: float = 0.0
    loss_burst: float = 1.0
    """The mean number of packets lost in a row.  1 is independent loss; above, a chain of two states (Gilbert's)."""
    corruption: float = 0.0
    """A packet gets some bits of one of its 16-bit words flipped: its checksums no longer hold."""
    duplication: float = 0.0
    """A packet arrives twice; each of the two has its own delay."""
    reordering: float = 0.0
    """A packet is held back by up to `reordering_ns`, so that later ones overtake it."""
    reordering_ns: int = 5 * MILLISECOND
    delay_ns: int = 0
    jitter_ns: int = 0
    """A delay of 0 to this is added to each packet's; it alone reorders nothing."""
    rate_bits_per_s: int | None = None
    """The bottleneck's rate, IP header and payload; None is none."""
    queue_bytes: int = 256 * 1024
    """What may wait for the bottleneck: packets that find no room are dropped."""
    discipline: str | None = None
    """A queue discipline of `queues.DISCIPLINES` that is served at the rate; None is a plain queue without records."""
    held_bytes: int = 64 << 20
    """What may be held in all, queued and delayed: a bound on memory only."""

    def __post_init__(self) -> None:
        for name in ("loss", "corruption", "duplication", "reordering"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability from 0 to 1, not {getattr(self, name)}")
        for name in ("reordering_ns", "delay_ns", "jitter_ns", "queue_bytes", "held_bytes"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is negative")
        if self.rate_bits_per_s is not None and self.rate_bits_per_s <= 0:
            raise ValueError("rate_bits_per_s must be above 0")
        if self.loss_burst < 1:
            raise ValueError("loss_burst is a number of packets from 1")
        if self.discipline is not None and (self.discipline not in DISCIPLINES or self.rate_bits_per_s is None):
            raise ValueError(f"discipline is one of {', '.join(DISCIPLINES)}, and needs a rate")


PERFECT = ImpairmentProfile()
"""Nothing happens to any packet."""


@dataclass(slots=True)
class ImpairmentCounters:
    """Packets of one direction.

    taken + duplicated = released + lost + queue_full + held_full + malformed + those held now.
    """

    taken: int = 0
    released: int = 0
    lost: int = 0
    corrupted: int = 0
    duplicated: int = 0
    reordered: int = 0
    queue_full: int = 0
    held_full: int = 0
    malformed: int = 0
    """Frames whose offload metadata did not fit them."""


class ImpairedPath:
    """One direction: `take` packets now, `release` them when their time has come."""

    def __init__(self, profile: ImpairmentProfile, random: Random) -> None:
        self.profile = profile
        self.counters = ImpairmentCounters()
        self._random = random
        self._held: list[tuple[int, int, Frame]] = []
        self._held_bytes = 0
        self._serial = 0
        self._bottleneck_free_ns = 0
        self._last_release_ns = 0
        self._losing = False

    def __len__(self) -> int:
        """Packets held now."""
        return len(self._held)

    def next_deadline(self) -> int | None:
        """When the first packet held is to be released."""
        return self._held[0][0] if self._held else None

    def take(self, burst: Burst, now: int) -> None:
        """Let everything that is to befall a burst's packets befall them."""
        for index in range(len(burst)):
            packets = list(adapt(burst, index, lib.OFFLOAD_CHECKSUM))
            if not packets:
                self.counters.taken += 1
                self.counters.malformed += 1
            for packet in packets:
                self._take_packet(packet, now)

    def _take_packet(self, frame: Frame, now: int) -> None:
        counters = self.counters
        counters.taken += 1
        departure = self._pass_bottleneck(len(frame.packet), now)
        if departure is None:
            counters.queue_full += 1
            return
        self._pass_line(frame, departure)

    def _pass_line(self, frame: Frame, departure: int) -> None:
        """Lose, corrupt, duplicate and hold a packet that has left the bottleneck."""
        counters, profile = self.counters, self.profile
        if profile.loss and self._is_lost():
            counters.lost += 1
            return
        if self._happens(profile.corruption):
            counters.corrupted += 1
            frame = corrupt(frame, self._random)
        self._hold(frame, departure)
        if self._happens(profile.duplication):
            counters.duplicated += 1
            self._hold(frame, departure)

    def _is_lost(self) -> bool:
        """Independent loss, or the Gilbert chain: in its bad state every packet is lost."""
        loss, burst = self.profile.loss, self.profile.loss_burst
        if burst == 1:
            return self._happens(loss)
        leaves, enters = 1 / burst, min(loss / (burst * (1 - loss)), 1.0) if loss < 1 else 1.0
        self._losing = not self._happens(leaves) if self._losing else self._happens(enters)
        return self._losing

    def _happens(self, probability: float) -> bool:
        return probability > 0 and self._random.random() < probability

    def _pass_bottleneck(self, length: int, now: int) -> int | None:
        """When a packet has left the bottleneck; None if its queue is full.  An idle one takes any packet."""
        rate = self.profile.rate_bits_per_s
        if rate is None:
            return now
        waiting_bytes = max(0, self._bottleneck_free_ns - now) * rate // (8 * SECOND)
        if waiting_bytes and waiting_bytes + length > self.profile.queue_bytes:
            return None
        self._bottleneck_free_ns = max(now, self._bottleneck_free_ns) + length * 8 * SECOND // rate
        return self._bottleneck_free_ns

    def _hold(self, frame: Frame, departure: int) -> None:
        """Hold a packet that leaves the line at `departure` until it arrives."""
        if self._held_bytes + len(frame.packet) > self.profile.held_bytes:
            self.counters.held_full += 1
            return
        self._held_bytes += len(frame.packet)
        self._serial += 1
        heapq.heappush(self._held, (self._arrival(departure), self._serial, frame))

    def _arrival(self, departure: int) -> int:
        profile, random = self.profile, self._random
        arrival = departure + profile.delay_ns
        if profile.jitter_ns:
            arrival += random.randint(0, profile.jitter_ns)
        if self._happens(profile.reordering):
            self.counters.reordered += 1
            return arrival + random.randint(0, profile.reordering_ns)
        self._last_release_ns = max(arrival, self._last_release_ns)
        return self._last_release_ns

    def release(self, burst: Burst, now: int) -> int:
        """Append the packets whose time has come, as far as there is room; returns how many."""
        before = self.counters.released
        while self._held and self._held[0][0] <= now and self._held[0][2].put(burst):
            _, _, frame = heapq.heappop(self._held)
            self._held_bytes -= len(frame.packet)
            self.counters.released += 1
        return self.counters.released - before


class QueuedPath(ImpairedPath):
    """A direction whose bottleneck has a queue discipline.

    What leaves when is worked out when somebody looks, at the exact times: nothing between departure and arrival can
    be seen from outside.
    """

    def __init__(self, profile: ImpairmentProfile, random: Random) -> None:
        super().__init__(profile, random)
        assert profile.discipline is not None, "the path was chosen for its discipline"
        self.queue: QueueDiscipline = DISCIPLINES[profile.discipline](profile.queue_bytes, random)
        self._queued = 0

    def __len__(self) -> int:
        """Packets queued or held now."""
        return self._queued + len(self._held)

    def next_deadline(self) -> int | None:
        """When the first packet held is to be released, or the first one queued may be at the earliest."""
        held = super().next_deadline()
        if not self._queued:
            return held
        earliest = self._bottleneck_free_ns + self.profile.delay_ns
        return earliest if held is None else min(held, earliest)

    def release(self, burst: Burst, now: int) -> int:
        """As `ImpairedPath.release`."""
        self._serve(now)
        return super().release(burst, now)

    def _take_packet(self, frame: Frame, now: int) -> None:
        self._serve(now)
        self.counters.taken += 1
        if not self.queue.enqueue(frame, now):
            self.counters.queue_full += 1
            return
        self._queued += 1
        if self._queued == 1:
            self._bottleneck_free_ns = max(self._bottleneck_free_ns, now)
            self._serve(now)

    def _serve(self, now: int) -> None:
        """Let leave what has its turn by `now`."""
        rate = self.profile.rate_bits_per_s
        assert rate is not None, "a queue is served at a rate"
        while self._queued and self._bottleneck_free_ns <= now:
            dropped = self.queue.dropped
            frame = self.queue.dequeue(self._bottleneck_free_ns)
            dropped = self.queue.dropped - dropped
            self.counters.queue_full += dropped
            self._queued -= dropped
            if frame is None:
                return
            self._queued -= 1
            self._bottleneck_free_ns += len(frame.packet) * 8 * SECOND // rate
            self._pass_line(frame, self._bottleneck_free_ns)


def path(profile: ImpairmentProfile, random: Random) -> ImpairedPath:
    """One direction with a profile."""
    return ImpairedPath(profile, random) if profile.discipline is None else QueuedPath(profile, random)


_BURSTS_PER_READ = 64


class Impairment(Middleware):
    """A device whose packets suffer: `outbound` those that are written to it, `inbound` those that are read.

    `next_deadline` tells when held packets are due, and `read` must be called then, also for outbound ones.  A
    direction with the profile PERFECT is passed through as it is.
    """

    def __init__(
        self,
        device: Device,
        seed: int | str,
        outbound: ImpairmentProfile = PERFECT,
        inbound: ImpairmentProfile = PERFECT,
    ) -> None:
        super().__init__(device)
        self.outbound = path(outbound, Random(f"{seed} outbound"))
        self.inbound = path(inbound, Random(f"{seed} inbound"))
        self._outgoing = Burst()
        self._arrived = Burst()

    def read(self, burst: Burst, now: int) -> int:
        """As `Device.read`; it also sends the outbound packets that are due.

        When the wrapped device is gone, what is still on its way arrives first.
        """
        self._send_due(now)
        if self.inbound.profile == PERFECT:
            return self.device.read(burst, now)
        try:
            self._take_arrived(now)
        except OSError as failure:
            if failure.errno not in GONE or not len(self.inbound):
                raise
        return self.inbound.release(burst, now)

    def _take_arrived(self, now: int) -> None:
        """Take what the wrapped device has, but not for ever."""
        for _ in range(_BURSTS_PER_READ):
            self._arrived.clear()
            if not self.device.read(self._arrived, now):
                return
            self.inbound.take(self._arrived, now)

    def write(self, burst: Burst, now: int) -> int:
        """As `Device.write`: all are taken."""
        if self.outbound.profile == PERFECT:
            return self.device.write(burst, now)
        self.outbound.take(burst, now)
        self._send_due(now)
        return len(burst)

    def _send_due(self, now: int) -> None:
        """Write the outbound packets that are due; what the device does not take now stays for the next time."""
        while self.outbound.release(self._outgoing, now) or len(self._outgoing):
            taken = self.device.write(self._outgoing, now)
            self._outgoing.drop(taken)
            if not taken:
                return

    def next_deadline(self) -> int | None:
        """When the first held packet of either direction is due, or the wrapped device's if that is earlier."""
        return min(self._deadlines(), default=None)

    def _deadlines(self) -> Iterator[int]:
        for deadline in (self.outbound.next_deadline(), self.inbound.next_deadline(), self.device.next_deadline()):
            if deadline is not None:
                yield deadline


_UNCOVERED_IPV6_BYTES = 8
"""Most of the IPv6 header's first eight bytes has no checksum over it: no receiver could know it to be wrong."""


def corrupt(frame: Frame, random: Random) -> Frame:
    """A copy of a packet with some bits of one 16-bit word flipped, but never all, and nobody's word for its checksum.

    The Internet checksum detects every such change of what it covers: the sum changes by something that is not 0 modulo
    65535 (RFC 1071 §1).  IPv6's extension headers, and UDP over IPv4 without checksum, have none.
    """
    packet = bytearray(frame.completed())
    first = _UNCOVERED_IPV6_BYTES if packet and packet[0] >> 4 == 6 else 0
    words = (len(packet) - first) // 2
    if words > 0:
        position = first + 2 * random.randrange(words)
        flipped = random.randrange(1, 0xFFFF)
        packet[position] ^= flipped >> 8
        packet[position + 1] ^= flipped & 0xFF
    return Frame(bytes(packet))
