"""The rest of the driver's thread: for a tick, or until it is ended; and whom it believes."""

from __future__ import annotations

import threading

from ustack.runtime.stand_by import PENALTY_MAX, StandBy


def rest(stand_by: StandBy, *, pumping: bool, pumped: bool) -> None:
    stand_by.wait()
    stand_by.rested(pumping, pumped)


def test_a_caller_who_comes_back_is_expected_further():
    stand_by = StandBy()
    stand_by.expect()
    for _ in range(3):
        rest(stand_by, pumping=False, pumped=True)
        assert stand_by.expected


def test_a_caller_who_does_not_come_back_is_expected_no_more():
    stand_by = StandBy()
    stand_by.expect()
    rest(stand_by, pumping=False, pumped=False)
    assert not stand_by.expected


def test_each_disappointment_makes_the_next_trial_rarer():
    stand_by = StandBy()
    trials = []
    for _ in range(9):
        refused = 0
        stand_by.expect()
        while not stand_by.expected:
            refused += 1
            stand_by.expect()
        trials.append(refused)
        rest(stand_by, pumping=False, pumped=False)
    assert trials == [0, 1, 3, 7, 15, 31, 63, PENALTY_MAX, PENALTY_MAX]


def test_one_success_makes_good_for_all_disappointments():
    stand_by = StandBy()
    for _ in range(5):
        stand_by.expected = True
        rest(stand_by, pumping=False, pumped=False)
    stand_by.expected = True
    rest(stand_by, pumping=False, pumped=True)
    rest(stand_by, pumping=False, pumped=False)
    stand_by.expect()
    assert not stand_by.expected
    stand_by.expect()
    assert stand_by.expected


def test_a_rest_is_deep_while_the_same_caller_pumps_and_ends_when_he_says_so():
    stand_by = StandBy()
    rest(stand_by, pumping=True, pumped=False)
    assert stand_by.deep
    resting = threading.Thread(target=stand_by.wait)
    resting.start()
    stand_by.end()
    resting.join(20)
    assert not resting.is_alive()
    stand_by.rested(pumping=False, pumped=True)
    assert not stand_by.deep
    assert not stand_by.expected


def test_an_end_before_the_rest_is_not_lost_and_counts_once():
    stand_by = StandBy()
    stand_by.expect()
    stand_by.end()
    stand_by.end()
    stand_by.deep = True
    rest(stand_by, pumping=True, pumped=False)
    assert not stand_by.deep
    rest(stand_by, pumping=True, pumped=False)
    assert stand_by.deep


def test_an_end_that_came_after_the_tick_is_no_end_of_the_next_rest():
    stand_by = StandBy()
    stand_by.wait()
    stand_by.end()
    stand_by.rested(pumping=True, pumped=False)
    rest(stand_by, pumping=True, pumped=False)
    assert stand_by.deep
