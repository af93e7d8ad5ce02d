"""A bottleneck for a congestion controller alone: no stack, no segments, only numbers of packets in virtual time.

One FIFO of `buffer` packets and `rate` packets a second, `rtt_ns` of propagation, losses and marks as told.  The sender
is greedy; it learns of a loss when the packet's ACK would have come, and ordinary controllers go to `ssthresh` at once.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from ustack.tcp.congestion import CWR, OPEN, RECOVERY, AckSample, CongestionController, LossSample
from ustack.tcp.congestion.delivery_rate import Delivered, Transmitted, sample

SECOND = 1_000_000_000
MSS = 1448
_MASK = (1 << 32) - 1


def never(number: int) -> bool:
    """No packet is."""
    return False


@dataclass
class _Packet:
    number: int
    sent_ns: int
    transmitted: Transmitted
    lost: bool
    marked: bool


class NumberPath:
    """Drives one controller; `run` goes on for so much virtual time."""

    def __init__(
        self,
        controller: CongestionController,
        *,
        rtt_ns: int,
        rate: int = 10_000_000,
        buffer: int = 1 << 30,
        is_lost: Callable[[int], bool] = never,
        mark_above: int = 1 << 30,
        has_ecn: bool = False,
    ) -> None:
        self.controller = controller
        self.rtt_ns, self.rate, self.buffer, self.mark_above = rtt_ns, rate, buffer, mark_above
        self.is_lost = is_lost
        self.has_ecn = has_ecn
        self.window = 1 << 30
        """What the peer's window allows in flight."""
        self.now = SECOND
        self.sent = self.delivered = self.delivered_ce = self.lost = self.in_flight = self.round_trips = 0
        self.queue_max = 0
        self.recovery_point = -1
        self.state = OPEN
        self.min_rtt_ns = self.srtt_ns = 0
        self._acked_to = 0
        self._first_sent_ns = self._delivered_ns = self.now
        self._busy_until = self.now
        self._next_send_ns = self.now
        self._events: list[tuple[int, int, _Packet]] = []
        controller.on_start(self.ack_sample(0, 0))

    def run(self, duration_ns: int) -> None:
        """Go on for `duration_ns`."""
        end = self.now + duration_ns
        while self.now < end:
            self._send()
            wake = self._next_send_ns if self._has_room() else 1 << 62
            due = min(self._events[0][0] if self._events else wake, wake)
            self.now = max(self.now, due)
            while self._events and self._events[0][0] <= self.now:
                self._arrive(heapq.heappop(self._events)[2])

    def ack_sample(self, delivered: int, rtt_ns: int, marked: int = 0) -> AckSample:
        """The numbers now."""
        return AckSample(
            now=self.now,
            mss=MSS,
            acked_packets=delivered,
            delivered_packets=delivered,
            prior_in_flight=self.in_flight + delivered,
            in_flight=self.in_flight,
            rtt_ns=rtt_ns,
            srtt_ns=self.srtt_ns,
            min_rtt_ns=self.min_rtt_ns,
            is_cwnd_limited=True,
            is_peer_limited=self.window < self.controller.cwnd,
            snd_una=self._acked_to & _MASK,
            snd_nxt=self.sent & _MASK,
            delivered=self.delivered,
            delivered_ce=self.delivered_ce,
            delivered_ce_packets=marked,
            state=self.state,
            pacing_rate=self.controller.pacing_rate,
            is_paced=self.controller.needs_pacing,
            has_ecn=self.has_ecn,
            has_accurate_ecn=self.has_ecn,
        )

    def loss_sample(self) -> LossSample:
        """The numbers now."""
        return LossSample(now=self.now, mss=MSS, in_flight=self.in_flight, snd_nxt=self.sent & _MASK, state=self.state)

    def _has_room(self) -> bool:
        return self.in_flight < min(self.controller.cwnd, self.window)

    def _send(self) -> None:
        while self._has_room() and self.now >= self._next_send_ns:
            if not self.in_flight:
                self._first_sent_ns = self._delivered_ns = self.now
            self._transmit()
            if self.controller.needs_pacing and self.controller.pacing_rate:
                self._next_send_ns = self.now + MSS * SECOND // self.controller.pacing_rate

    def _transmit(self) -> None:
        self.in_flight += 1
        transmitted = Transmitted(
            delivered=self.delivered,
            delivered_ns=self._delivered_ns,
            first_sent_ns=self._first_sent_ns,
            sent_ns=self.now,
            tx_in_flight=self.in_flight,
            lost=self.lost,
            delivered_ce=self.delivered_ce,
        )
        queue = max(self._busy_until - self.now, 0) * self.rate // SECOND
        self.queue_max = max(self.queue_max, queue)
        lost = queue >= self.buffer or self.is_lost(self.sent)
        arrival = max(self._busy_until, self.now)
        if not lost:
            self._busy_until = arrival + SECOND // self.rate
        packet = _Packet(self.sent, self.now, transmitted, lost, self.has_ecn and queue > self.mark_above)
        heapq.heappush(self._events, (arrival + SECOND // self.rate + self.rtt_ns, self.sent, packet))
        self.sent += 1

    def _arrive(self, packet: _Packet) -> None:
        self.in_flight -= 1
        self._acked_to = packet.number + 1
        if packet.lost:
            self._lose(packet)
            return
        if self.state != OPEN and packet.number >= self.recovery_point:
            self.state = OPEN
            self.controller.on_recovered(self.loss_sample())
        self._deliver(packet)
        if packet.marked and self.state == OPEN:
            self._reduce(CWR, self.controller.on_ecn)

    def _lose(self, packet: _Packet) -> None:
        self.lost += 1
        if self.state != RECOVERY and packet.number >= self.recovery_point:
            self._reduce(RECOVERY, self.controller.on_loss)
        if self.controller.controls_recovery:
            told = self.ack_sample(0, 0)
            told.lost_packets = 1
            self.controller.on_ack(told)

    def _reduce(self, state: int, how: Callable[[LossSample], None]) -> None:
        how(self.loss_sample())
        if not self.controller.controls_recovery:
            self.controller.cwnd = self.controller.ssthresh
        self.state = state
        self.recovery_point = self.sent

    def _deliver(self, packet: _Packet) -> None:
        rtt_ns = self.now - packet.sent_ns
        self.srtt_ns = (7 * self.srtt_ns + rtt_ns) // 8 if self.srtt_ns else rtt_ns
        self.min_rtt_ns = min(self.min_rtt_ns or rtt_ns, rtt_ns)
        self.delivered += 1
        self.delivered_ce += packet.marked
        self._first_sent_ns, self._delivered_ns = packet.sent_ns, self.now
        told = self.ack_sample(1, rtt_ns, int(packet.marked))
        total = Delivered(self.now, self.delivered, self.lost, self.delivered_ce, self.min_rtt_ns)
        told.rate = sample(packet.transmitted, total)
        self.controller.observe(told)
        if self.controller.controls_recovery or self.state != RECOVERY:
            self.controller.on_ack(told)
