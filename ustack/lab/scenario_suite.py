"""The scenarios whose outcomes docs/scenarios.md shows: single flows over many paths, and pairs through many queues."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ustack.config import MILLISECOND
from ustack.lab.scenario import Outcome, Scenario

MEGABIT = 1_000_000
CONTROLLERS = ("cubic", "reno", "bbr", "dctcp", "prague")
RATES = (10 * MEGABIT, 100 * MEGABIT, 1000 * MEGABIT)
ROUND_TRIPS = (1 * MILLISECOND, 20 * MILLISECOND, 100 * MILLISECOND)
LOSSES = ((0.0, 1.0), (0.001, 1.0), (0.01, 1.0), (0.05, 1.0), (0.001, 4.0), (0.01, 4.0), (0.05, 4.0))
"""Probability, and mean length of a run of losses."""
PACKETS = 8000
PAIRS = (
    ("cubic", "cubic"), ("reno", "reno"), ("bbr", "bbr"), ("dctcp", "dctcp"), ("prague", "prague"),
    ("cubic", "reno"), ("cubic", "bbr"), ("cubic", "dctcp"), ("cubic", "prague"),
)  # fmt: skip
DISCIPLINES = ("fifo", "codel", "dualpi2")
PAIR_PACKETS = 24_000


def single_flows() -> Iterator[Scenario]:
    """Each controller over each path."""
    for rate in RATES:
        for round_trip in ROUND_TRIPS:
            for loss, burst in LOSSES:
                for controller in CONTROLLERS:
                    yield Scenario((controller,), rate, round_trip, loss, burst, packets=PACKETS)


def pairs() -> Iterator[Scenario]:
    """Two flows that share a bottleneck."""
    for discipline in DISCIPLINES:
        for pair in PAIRS:
            yield Scenario(pair, 50 * MEGABIT, 20 * MILLISECOND, discipline=discipline, packets=PAIR_PACKETS)


def row(scenario: Scenario, outcome: Outcome) -> str:
    """One line of the tables in docs/scenarios.md."""
    delay = outcome.queue_delay_p99_ns / MILLISECOND
    cells = [f"{scenario.rate_bits_per_s // MEGABIT} Mbit/s", f"{scenario.round_trip_ns // MILLISECOND} ms"]
    counts = [str(outcome.retransmissions), str(outcome.spurious), f"{delay:.1f} ms"]
    if len(scenario.controllers) == 1:
        share = outcome.goodput_bits_per_s / scenario.rate_bits_per_s
        cells += [_loss(scenario), scenario.controllers[0], f"{share:.1%}", *counts]
    else:
        shares = " + ".join(f"{flow.goodput_bits_per_s / scenario.rate_bits_per_s:.1%}" for flow in outcome.flows)
        marked = f"{outcome.marked}/{outcome.dropped}"
        cells = [
            scenario.discipline,
            " + ".join(scenario.controllers),
            shares,
            f"{outcome.fairness:.3f}",
            marked,
            *counts,
        ]
    return f"| {' | '.join(cells)} |"


def _loss(scenario: Scenario) -> str:
    if not scenario.loss:
        return "none"
    return f"{scenario.loss:.1%} {'random' if scenario.loss_burst == 1 else 'in bursts'}"


def page(singles: Iterable[str], couples: Iterable[str]) -> str:
    """The text of docs/scenarios.md around its rows."""
    return "\n".join((_INTRODUCTION, _SINGLE_HEAD, *singles, _PAIR_HEAD, *couples, ""))


_INTRODUCTION = f"""# Simulated transfers

What becomes of bulk transfers in the simulator: deterministic, so these tables change only when the behaviour of the
stack does. `tools/scenarios` writes them, `tools/scenarios --check` says whether they still hold, and a test checks
some of the rows.

The link carries packets of 1500 bytes; headers and timestamps take 3.5 % of it, so 96.5 % is the most that goodput
can be. A flow sends for {PACKETS} packets' time and ten round trips, slow start included. The queue holds one
bandwidth-delay product, 20 packets at least. *Spurious* are segments that arrived twice; the delay is what 99 % of
the packets waited at most in the queue. Bursts of loss have a mean length of 4 packets. DCTCP and Prague meet a queue
that marks only in the second table.

## One flow
"""
_SINGLE_HEAD = """| rate | round trip | loss | controller | goodput | sent again | spurious | queueing, p99 |
|-|-|-|-|-|-|-|-|"""
_PAIR_HEAD = """
## Two flows through one bottleneck

50 Mbit/s, 20 ms. Fairness is Jain's index: 1 is equal shares, 0.5 all for one.

| queue | controllers | goodput | fairness | marked/dropped | sent again | spurious | queueing, p99 |
|-|-|-|-|-|-|-|-|"""
