"""The log of verdicts."""

from ustack.observe.trace_log import TraceLog
from ustack.trace import Verdict


def verdict(now: int) -> Verdict:
    return Verdict(now, "tun0", False, b"\x45", None, "")


def test_only_the_newest_verdicts_are_kept() -> None:
    log = TraceLog(entries=3)
    for now in range(5):
        log.record(verdict(now))
    assert [each.now for each in log.verdicts()] == [2, 3, 4]


def test_a_capture_adds_what_leaves_and_not_what_arrives_which_has_verdicts() -> None:
    log = TraceLog()
    log.packet(1, "tun0", True, b"out")
    log.packet(2, "tun0", False, b"in")
    assert log.verdicts() == [Verdict(1, "tun0", True, b"out", None, "")]


def test_the_list_is_a_copy() -> None:
    log = TraceLog()
    log.verdicts().append(verdict(1))
    assert log.verdicts() == []
