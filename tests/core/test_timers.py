"""The queue of deadlines, against the deadlines themselves."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from ustack.timers import TimerQueue


class Owner:
    """Something with one deadline, that notes when it expired."""

    def __init__(self) -> None:
        self.timer_entry_ns = 0
        self.deadline = 0
        self.expired: list[int] = []

    def earliest_deadline(self) -> int:
        return self.deadline

    def expire(self, now: int) -> None:
        self.expired.append(now)
        self.deadline = 0


def test_owners_expire_in_the_order_of_their_deadlines() -> None:
    queue, order = TimerQueue(), []

    class Noting(Owner):
        def expire(self, now: int) -> None:
            order.append(self.deadline)
            super().expire(now)

    for deadline in (30, 10, 20, 10):
        owner = Noting()
        owner.deadline = deadline
        queue.update(owner)
    assert queue.next_deadline() == 10
    queue.advance(20)
    assert order == [10, 10, 20]
    assert queue.next_deadline() == 30


def test_a_deadline_that_moves_later_is_kept() -> None:
    queue, owner = TimerQueue(), Owner()
    owner.deadline = 10
    queue.update(owner)
    owner.deadline = 50
    queue.update(owner)
    queue.advance(49)
    assert owner.expired == []
    queue.advance(50)
    assert owner.expired == [50]


def test_a_forgotten_owner_never_expires() -> None:
    queue, owner = TimerQueue(), Owner()
    owner.deadline = 10
    queue.update(owner)
    queue.forget(owner)
    queue.forget(owner)
    owner.deadline = 0
    queue.advance(100)
    assert owner.expired == []
    assert queue.next_deadline() is None


def test_a_deadline_that_moves_to_and_fro_takes_bounded_room() -> None:
    queue, owner = TimerQueue(), Owner()
    for now in range(1, 10_000):
        owner.deadline = 1_000_000
        queue.update(owner)
        owner.deadline = now
        queue.update(owner)
        queue.advance(now)
        assert len(queue) <= 66


@given(st.integers(0, 1 << 32))
def test_nothing_expires_early_late_or_twice(seed: int) -> None:
    chance, queue = Random(seed), TimerQueue()
    owners = [Owner() for _ in range(5)]
    now = 0
    for _ in range(200):
        owner = chance.choice(owners)
        owner.deadline = chance.choice((0, now + chance.randrange(1, 50), now + chance.randrange(1, 5000)))
        queue.update(owner)
        if chance.random() < 0.5:
            now += chance.randrange(40)
            due = [each for each in owners if each.deadline and each.deadline <= now]
            counts = [len(each.expired) for each in owners]
            queue.advance(now)
            for each, before in zip(owners, counts, strict=True):
                assert len(each.expired) - before == (each in due)
            pending = [each.deadline for each in owners if each.deadline]
            upcoming = queue.next_deadline()
            assert not pending or (upcoming is not None and upcoming <= min(pending))
    assert len(queue) <= 2 * len(owners) + 65
