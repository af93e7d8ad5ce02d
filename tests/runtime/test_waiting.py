"""Observers: who is woken by which events."""

from __future__ import annotations

import pytest

from ustack.endpoint import ERROR, HANGUP, PRIORITY, READ_HANGUP, READABLE, WRITABLE, Endpoint
from ustack.runtime.clock import SECOND, after, monotonic
from ustack.runtime.entropy import SystemEntropy
from ustack.runtime.waiting import Observer, Waiter, observe


def observed() -> Observer:
    return observe(Endpoint(2, 1, 6))


@pytest.mark.parametrize(
    ("wanted", "event", "woken"),
    [
        (READABLE, READABLE, True),
        (READABLE, WRITABLE, False),
        (WRITABLE, READABLE | WRITABLE, True),
        (WRITABLE, PRIORITY | READ_HANGUP, False),
        (READABLE, ERROR, True),
        (READABLE, HANGUP, True),
        (0, READABLE | WRITABLE | PRIORITY, False),
        (0, HANGUP, True),
    ],
)
def test_a_waiter_is_woken_by_what_it_wants_and_by_errors_and_ends(wanted, event, woken):
    observer, waiter = observed(), Waiter()
    observer.waiters.append((wanted, waiter))
    observer.changed(event)
    assert waiter.woken == woken
    assert (observer.waiters == []) == woken


def test_a_waiter_is_roused_once():
    observer, waiter, roused = observed(), Waiter(), []
    waiter.rouse = lambda: roused.append(1)
    observer.waiters += [(READABLE, waiter), (WRITABLE, waiter)]
    observer.changed(READABLE)
    observer.wake_all()
    assert roused == [1]
    assert observer.waiters == []


def test_all_waiters_for_the_same_thing_are_woken():
    observer = observed()
    waiters = [Waiter() for _ in range(3)]
    observer.waiters += [(READABLE, waiter) for waiter in waiters]
    observer.changed(READABLE)
    assert all(waiter.woken for waiter in waiters)


def test_watchers_and_the_mirror_see_every_change():
    observer, seen = observed(), []

    class Watcher:
        def changed(self, source):
            seen.append(source)

        def happened(self, source, bits):
            seen.append((source, bits))

    observer.watchers.append(Watcher())
    observer.mirror = Watcher()
    observer.changed(0)
    observer.changed(READABLE)
    assert seen == [observer, (observer, 0), observer, (observer, READABLE)]


def test_an_endpoint_has_one_observer():
    endpoint = Endpoint(2, 1, 6)
    assert observe(endpoint) is observe(endpoint)
    assert observe(endpoint).endpoint is endpoint


def test_a_deadline_is_so_many_seconds_away_or_never():
    assert after(5, None) is None
    assert after(5, 0) == 5
    assert after(5, 2.5) == 5 + 5 * SECOND // 2
    assert monotonic() <= monotonic()


def test_the_systems_entropy_gives_as_many_bytes_as_asked_and_no_byte_twice():
    entropy = SystemEntropy()
    taken = [entropy.take(size) for size in (0, 1, 16, 500, 600, 16, 5000)]
    assert [len(piece) for piece in taken] == [0, 1, 16, 500, 600, 16, 5000]
    assert len({piece for piece in taken if len(piece) >= 16}) == 5
