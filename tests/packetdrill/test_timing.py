"""When events happen: bases, tolerance, ranges, blocking calls."""

from __future__ import annotations

from tests.packetdrill.writing import LISTEN, SERVER, fails, passes
from ustack.packetdrill.settings import exact, for_version


def test_the_first_event_is_at_zero() -> None:
    fails("1 `true`", "first event should be at time 0", 1)
    fails("* > . 1:1(0)", "first event should be at time 0")


def test_absolute_times_do_not_run_backwards() -> None:
    fails("0 `true`\n2 `true`\n1 `true`", "time goes backward in script from 2.000000 to 1.000000", 3)


def test_a_relative_time_counts_from_when_the_event_before_has_ended() -> None:
    """The SYN-ACK is sent again after a second: the time after it is the packet's, not the script's."""
    passes(
        LISTEN
        + """
        +0 < S 0:0(0) win 1000 <mss 1000>
        +0 > S. 0:0(0) ack 1 <...>
        +1.1 > S. 0:0(0) ack 1 <...>
        2 > S. 0:0(0) ack 1 <...>
        """.replace("2 > S", "+2 > S"),
    )


def test_consecutive_inbound_packets_chain_on_the_times_of_the_script() -> None:
    passes(SERVER + "+.1 < . 1:1(0) ack 1 win 100\n+.1 < . 1:1(0) ack 1 win 100\n.3 `true`")


def test_a_packet_may_be_late_or_early_by_four_milliseconds() -> None:
    passes(LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n+.004 > S. 0:0(0) ack 1 <...>")
    verdict = fails(LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n+.005 > S. 0:0(0) ack 1 <...>", "timing error", 6)
    assert "expected outbound packet at 0.005000 sec but happened at 0.000000 sec" in verdict.reason


def test_a_longer_wait_is_granted_an_eighth_of_itself() -> None:
    text = LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n+{} > S. 0:0(0) ack 1 <...>"
    passes(text.format("1.12"))
    fails(text.format("1.15"), "timing error")


def test_a_tolerance_of_zero_is_exact() -> None:
    text = LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n+{} > S. 0:0(0) ack 1 <...>"
    passes(text.format("1"), settings=exact(for_version(4), 0))
    fails(text.format("1.000001"), "timing error", settings=exact(for_version(4), 0))


def test_a_range_is_widened_by_the_tolerance_at_both_ends() -> None:
    text = LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n+{} > S. 0:0(0) ack 1 <...>"
    passes(text.format("0.5~+1.5"))
    passes(text.format("0.5~+0.95"))
    fails(text.format("0.2~+0.9"), "timing error: expected outbound packet at 0.200000~0.900000 sec")


def test_a_star_is_any_time() -> None:
    passes(LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n* > S. 0:0(0) ack 1 <...>\n* > S. 0:0(0) ack 1 <...>")


def test_a_packet_that_never_comes_is_waited_for_two_seconds() -> None:
    verdict = fails(SERVER + "+.5 > . 1:1(0) ack 1", "Timed out waiting for packet", 10)
    assert verdict.expected == ". 1:1(0) ack 1"


def test_the_tolerance_of_a_script_is_its_own() -> None:
    late = LISTEN + "+0 < S 0:0(0) win 1000 <mss 1000>\n+.01 > S. 0:0(0) ack 1 <...>"
    passes("--tolerance_usecs=20000\n" + late)
    fails("--tolerance_usecs=1000\n" + late, "timing error")
    fails("--tolerance_usecs=20000\n" + late, "timing error", settings=exact(for_version(4), 0))


def test_a_blocking_call_runs_beside_the_script() -> None:
    passes(SERVER + "+0...0.2 read(4, ..., 100) = 100\n+.1 `true`\n+.1 < . 1:101(100) ack 1 win 32792\n")


def test_a_blocking_call_returns_when_the_script_says() -> None:
    text = SERVER + "+0...0.3 read(4, ..., 100) = 100\n+.2 < . 1:101(100) ack 1 win 32792\n"
    verdict = fails(text, "timing error: expected system call return at 0.400000 sec but happened at 0.300000", 10)
    assert verdict.reason.startswith("runtime error in read call")


def test_the_next_call_waits_for_the_blocking_one() -> None:
    passes(SERVER + "+0...0.2 read(4, ..., 100) = 100\n+.2 < P. 1:101(100) ack 1 win 32792\n+0 close(4) = 0")


def test_a_call_that_blocks_at_the_end_is_an_error() -> None:
    reason = "exiting while a blocking system call is in progress"
    fails(SERVER + "+0...0.2 read(4, ..., 100) = 100", f"runtime error in read call: {reason}", 10)


def test_two_blocking_calls_at_once_are_an_error() -> None:
    text = SERVER + "+0...9 read(4, ..., 100) = 100\n+0...9 read(4, ..., 100) = 100"
    fails(text, "blocking system call while another blocking system call is already in progress", 11)


def test_a_call_that_should_not_block_must_not_block_for_ever() -> None:
    fails(SERVER + "+0 read(4, ..., 100) = 100", "runtime error in read call: it blocks for ever", 10)
