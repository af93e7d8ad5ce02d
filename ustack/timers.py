"""Deadlines of many owners in one queue, lazily: an owner has at most one live entry, and moving it later is free.

An owner keeps its own deadlines as data and says only the earliest one here.  A deadline that moves later leaves the
old entry where it is: when that comes up, the owner is asked again.  Times are monotonic nanoseconds.
"""

from __future__ import annotations

import heapq
from typing import Protocol

_SPARE_ENTRIES = 64


class Timed(Protocol):
    """Something with deadlines."""

    timer_entry_ns: int
    """When this owner's live entry in the queue comes up; 0 where it has none.  Written by `TimerQueue` only."""

    def earliest_deadline(self) -> int:
        """The earliest of its deadlines, or 0 for none."""
        ...

    def expire(self, now: int) -> None:
        """Do what is due at `now`."""
        ...


class TimerQueue:
    """The deadlines of all owners, earliest first; equal ones in the order they were set."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Timed]] = []
        self._count = 0
        self._live = 0

    def update(self, owner: Timed) -> None:
        """Note that `owner`'s deadlines have changed."""
        deadline = owner.earliest_deadline()
        if deadline and (not owner.timer_entry_ns or deadline < owner.timer_entry_ns):
            self._live += not owner.timer_entry_ns
            owner.timer_entry_ns = deadline
            self._count += 1
            heapq.heappush(self._heap, (deadline, self._count, owner))
            if len(self._heap) > 2 * self._live + _SPARE_ENTRIES:
                self._drop_dead_entries()

    def forget(self, owner: Timed) -> None:
        """`owner` has no deadlines any more, and may be gone."""
        self._live -= bool(owner.timer_entry_ns)
        owner.timer_entry_ns = 0

    def _drop_dead_entries(self) -> None:
        """Keep one entry an owner: a deadline that moves to and fro must not fill the queue."""
        live: dict[int, tuple[int, int, Timed]] = {}
        for entry in self._heap:
            if entry[2].timer_entry_ns == entry[0]:
                live.setdefault(id(entry[2]), entry)
        self._heap = list(live.values())
        heapq.heapify(self._heap)

    def next_deadline(self) -> int | None:
        """When `advance` is next wanted: at the latest the earliest deadline, perhaps earlier."""
        return self._heap[0][0] if self._heap else None

    def advance(self, now: int) -> None:
        """Expire every owner whose deadline is at or before `now`, in the order of the deadlines."""
        while self._heap and self._heap[0][0] <= now:
            deadline, _, owner = heapq.heappop(self._heap)
            if owner.timer_entry_ns != deadline:
                continue
            self.forget(owner)
            due = owner.earliest_deadline()
            if due and due <= now:
                owner.expire(now)
            self.update(owner)

    def __len__(self) -> int:
        return len(self._heap)
