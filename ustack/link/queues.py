"""Queue disciplines of a bottleneck: what waits, what goes next, what is dropped or marked.

`FifoQueue` drops at its tail.  `CoDelQueue` (RFC 8289) and `DualPi2Queue` (RFC 9332, appendix A) keep the delay short
and mark packets of ECN-capable transports instead of dropping them (RFC 3168 §5).  They hold frames and know no rate:
`Bottleneck` in `impairment` serves them.
"""

from __future__ import annotations

from array import array
from collections import deque
from math import isqrt
from typing import TYPE_CHECKING

from ustack.config import MILLISECOND, SECOND
from ustack.link.frame import Frame
from ustack.wire import checksum

if TYPE_CHECKING:
    from random import Random

NOT_ECT, ECT_1, ECT_0, CE = 0, 1, 2, 3
"""The ECN field's codepoints.  RFC 3168 §5."""

Waiting = tuple[int, Frame]
"""When a frame has come, and the frame."""


def codepoint(frame: Frame) -> int:
    """The ECN field of a packet."""
    packet = frame.packet
    return packet[1] & 3 if packet[0] >> 4 == 4 else packet[1] >> 4 & 3


def mark(frame: Frame) -> None:
    """Set Congestion Experienced, with IPv4's header checksum made right again (RFC 1624)."""
    packet = bytearray(frame.packet)
    if packet[0] >> 4 == 4:
        before = int.from_bytes(packet[0:2], "big")
        sum_before = int.from_bytes(packet[10:12], "big")
        packet[1] |= CE
        packet[10:12] = checksum.update(sum_before, before, before | CE).to_bytes(2, "big")
    else:
        packet[1] |= CE << 4
    frame.packet = bytes(packet)


class QueueDiscipline:
    """A bounded queue.  A subclass says in `choose` what leaves next."""

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.bytes = 0
        self.dropped = 0
        self.marked = 0
        self.delays_ns = array("q")
        """How long each packet that has left has waited."""

    def enqueue(self, frame: Frame, now: int) -> bool:
        """Take a frame at the tail, or drop it for want of room."""
        if self.bytes + len(frame.packet) > self.limit_bytes and self.bytes:
            self.dropped += 1
            return False
        self.bytes += len(frame.packet)
        self.append((now, frame))
        return True

    def dequeue(self, now: int) -> Frame | None:
        """The frame that leaves at `now`; None if nothing is left to leave."""
        chosen = self.choose(now)
        if chosen is None:
            return None
        self.delays_ns.append(now - chosen[0])
        return chosen[1]

    def append(self, waiting: Waiting) -> None:
        """Put a frame where it waits."""
        raise NotImplementedError

    def choose(self, now: int) -> Waiting | None:
        """Take out what leaves at `now`."""
        raise NotImplementedError

    def take_from(self, queue: deque[Waiting]) -> Waiting | None:
        """The first of a queue, whose bytes wait no more."""
        if not queue:
            return None
        waiting = queue.popleft()
        self.bytes -= len(waiting[1].packet)
        return waiting

    def mark_or_drop(self, frame: Frame) -> bool:
        """Tell of congestion: mark what is ECN-capable (True), drop what is not (False)."""
        if codepoint(frame) == NOT_ECT:
            self.dropped += 1
            return False
        mark(frame)
        self.marked += 1
        return True


class FifoQueue(QueueDiscipline):
    """First in, first out; the tail is dropped."""

    def __init__(self, limit_bytes: int, random: Random | None = None) -> None:
        super().__init__(limit_bytes)
        self._queue: deque[Waiting] = deque()

    def append(self, waiting: Waiting) -> None:
        """As `QueueDiscipline`."""
        self._queue.append(waiting)

    def choose(self, now: int) -> Waiting | None:
        """As `QueueDiscipline`."""
        return self.take_from(self._queue)


class CoDelQueue(QueueDiscipline):
    """Controlled delay: drop at the head while packets have waited above `TARGET_NS` for an interval.

    RFC 8289 §5.
    """

    TARGET_NS = 5 * MILLISECOND
    INTERVAL_NS = 100 * MILLISECOND
    LEAST_BYTES = 1500
    """With less than a packet waiting there is no standing queue."""

    def __init__(self, limit_bytes: int, random: Random | None = None) -> None:
        super().__init__(limit_bytes)
        self._queue: deque[Waiting] = deque()
        self._first_above_ns = 0
        self._drop_next_ns = 0
        self._count = 0
        self._last_count = 0
        self._dropping = False

    def append(self, waiting: Waiting) -> None:
        """As `QueueDiscipline`."""
        self._queue.append(waiting)

    def choose(self, now: int) -> Waiting | None:
        """RFC 8289 §5.5: `_take` decides whether the delay has stood too long, this how often to act upon it."""
        waiting, above = self._take(now)
        if not above:
            self._dropping = False
        elif not self._dropping:
            waiting = self._begin_dropping(waiting, now)
        while waiting is not None and self._dropping and now >= self._drop_next_ns:
            self._count += 1
            self._drop_next_ns += self._interval()
            if self.mark_or_drop(waiting[1]):
                return waiting
            waiting, above = self._take(now)
            self._dropping = above
        return waiting

    def _begin_dropping(self, waiting: Waiting | None, now: int) -> Waiting | None:
        """Act once, and go on at the rate that controlled the last standing queue if that was not long ago."""
        if waiting is not None and not self.mark_or_drop(waiting[1]):
            waiting, _ = self._take(now)
        self._dropping = True
        recent = now - self._drop_next_ns < 16 * self.INTERVAL_NS
        self._count = max(self._count - self._last_count, 1) if recent else 1
        self._last_count = self._count
        self._drop_next_ns = now + self._interval()
        return waiting

    def _interval(self) -> int:
        """The control law: INTERVAL / sqrt(count)."""
        return self.INTERVAL_NS * 1024 // isqrt(self._count << 20)

    def _take(self, now: int) -> tuple[Waiting | None, bool]:
        """The head, and whether the delay has been above the target for an interval."""
        waiting = self.take_from(self._queue)
        if waiting is None or now - waiting[0] < self.TARGET_NS or self.bytes <= self.LEAST_BYTES:
            self._first_above_ns = 0
            return waiting, False
        if not self._first_above_ns:
            self._first_above_ns = now + self.INTERVAL_NS
            return waiting, False
        return waiting, now >= self._first_above_ns


class DualPi2Queue(QueueDiscipline):
    """Two coupled queues: one of low latency for scalable senders (ECT(1)), PI2 for others.  RFC 9332, appendix A."""

    TARGET_NS = 15 * MILLISECOND
    UPDATE_NS = 16 * MILLISECOND
    ALPHA_HZ = 0.16
    BETA_HZ = 3.2
    COUPLING = 2.0
    STEP_NS = MILLISECOND
    """The delay from which on every packet of the low-latency queue is marked."""
    CLASSIC_SHARE = 16
    """The classic queue gets at least one turn in so many."""

    def __init__(self, limit_bytes: int, random: Random) -> None:
        super().__init__(limit_bytes)
        self._random = random
        self._classic: deque[Waiting] = deque()
        self._low: deque[Waiting] = deque()
        self._probability = 0.0
        self._previous_delay_ns = 0
        self._next_update_ns = 0
        self._turns = 0

    def append(self, waiting: Waiting) -> None:
        """ECT(1) and CE go to the low-latency queue.  RFC 9332 §2.3."""
        queue = self._low if codepoint(waiting[1]) in (ECT_1, CE) else self._classic
        queue.append(waiting)

    def choose(self, now: int) -> Waiting | None:
        """As `QueueDiscipline`."""
        self._update(now)
        while self._low or self._classic:
            if self._low and (not self._classic or self._is_turn_of_low()):
                waiting = self.take_from(self._low)
                assert waiting is not None, "the queue has a frame"
                return self._mark_low(waiting, now)
            waiting = self.take_from(self._classic)
            assert waiting is not None, "the queue has a frame"
            if self._random.random() >= self._probability**2 or self.mark_or_drop(waiting[1]):
                return waiting
        return None

    def _is_turn_of_low(self) -> bool:
        """Weighted round robin.  RFC 9332 §4.1."""
        self._turns += 1
        return bool(self._turns % self.CLASSIC_SHARE)

    def _mark_low(self, waiting: Waiting, now: int) -> Waiting:
        native = 1.0 if now - waiting[0] >= self.STEP_NS and self._low else 0.0
        if self._random.random() < max(native, min(self.COUPLING * self._probability, 1.0)):
            mark(waiting[1])
            self.marked += 1
        return waiting

    def _update(self, now: int) -> None:
        """The proportional-integral controller of the classic queue's delay, every UPDATE_NS."""
        if self._next_update_ns <= now - SECOND:
            self._next_update_ns = now
        while self._next_update_ns <= now:
            self._next_update_ns += self.UPDATE_NS
            delay = max((now - queue[0][0] for queue in (self._classic, self._low) if queue), default=0)
            error = (delay - self.TARGET_NS) / SECOND
            growth = (delay - self._previous_delay_ns) / SECOND
            self._probability += self.ALPHA_HZ * error + self.BETA_HZ * growth
            self._probability = min(max(self._probability, 0.0), 1.0)
            self._previous_delay_ns = delay


DISCIPLINES: dict[str, type[FifoQueue] | type[CoDelQueue] | type[DualPi2Queue]] = {
    "fifo": FifoQueue,
    "codel": CoDelQueue,
    "dualpi2": DualPi2Queue,
}
"""By the name that an `ImpairmentProfile` takes."""
