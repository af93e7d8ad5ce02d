"""Challenge ACKs, and the limits on answers to segments that nobody should have sent.  RFC 5961 §3 to §5, §7."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ustack.config import SECOND
from ustack.tcp import accecn, output, quick_ack, selective_acks, sequence
from ustack.wire.tcp import SYN

if TYPE_CHECKING:
    from ustack.tcp.connection import Connection
    from ustack.tcp.segment import Segment


class ChallengeLimit:
    """At most so many challenge ACKs a second for the whole stack.

    The count is per stack, which alone would be a side channel (CVE-2016-5696): it is therefore large, and each
    connection has a limit of its own besides.
    """

    def __init__(self, per_second: int) -> None:
        self._per_second = per_second
        self._second = -1
        self._sent = 0

    def allows(self, now: int) -> bool:
        """Whether one more may be sent at `now`; if so it is counted."""
        second = now // SECOND
        if second != self._second:
            self._second, self._sent = second, 0
        self._sent += 1
        return self._sent <= self._per_second


def send_challenge_ack(connection: Connection, now: int) -> None:
    """<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>, within the limits.  RFC 5961 §7."""
    if may_answer(connection, now) and connection.tcp.challenge_limit.allows(now):
        output.send_ack(connection, now)


def answer_unacceptable(connection: Connection, segment: Segment, now: int) -> None:
    """An ACK for an unacceptable segment.

    A SYN gets a challenge ACK (RFC 5961 §4.2); empty segments are answered seldom, so that two ends never play
    ping-pong.  Data that come again mean that our ACKs are lost: RFC 2883 §4 tells so, and quick mode helps.
    """
    if segment.flags & SYN:
        if segment.seq == connection.tcb.irs:
            accecn.syn_in_window(connection, segment)
        send_challenge_ack(connection, now)
        return
    if not segment.length and not may_answer(connection, now):
        return
    tcb = connection.tcb
    if segment.length and sequence.lt(segment.seq, tcb.rcv_nxt):
        quick_ack.enter(tcb)
        end = tcb.rcv_nxt if sequence.gt(segment.end, tcb.rcv_nxt) else segment.end
        selective_acks.duplicate(connection, segment.seq, end)
    output.send_ack(connection, now)


def may_answer(connection: Connection, now: int) -> bool:
    """Whether it is long enough since the last answer to something that nobody should have sent."""
    if now - connection.last_challenge_ns < connection.tcp.config.invalid_ratelimit_ns:
        return False
    connection.last_challenge_ns = now
    return True
