"""Long random walks of a state machine: what Hypothesis' short ones seldom reach, the same for the same seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any


def near(random: Random, limit: int) -> int:
    """A number from 0 on that is small, anything below the limit, or right at it: a little less or more."""
    spread = random.choice((8, limit, 0))
    return random.randrange(spread) if spread > 0 else max(0, limit + random.randint(-2, 2))


def walk(
    machine: Any, moves: Sequence[Callable[[Random], None]], check: Callable[[], None], steps: int, seed: int
) -> None:
    """Make `steps` moves by chance, checking after each, then tear the machine down."""
    random = Random(seed)
    try:
        for _ in range(steps):
            random.choice(moves)(random)
            check()
    finally:
        machine.teardown()
