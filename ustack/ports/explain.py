"""`explain`: the choice of a packet's socket told step by step, for traces and for those who learn about ports."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ustack.address import format_endpoint
from ustack.constants import IPPROTO_SCTP, IPPROTO_TCP, IPPROTO_UDP
from ustack.endpoint import Endpoint
from ustack.ports.binding import DUAL, LISTENING_PROTOCOLS, Binding, Place, places_open_to

if TYPE_CHECKING:
    from ustack.flow import FlowTable
    from ustack.ports.table import PortTable

CANDIDATES_SHOWN = 32
"""The most candidates of one place in an explanation."""

PROTOCOL_NAMES = {IPPROTO_TCP: "TCP", IPPROTO_UDP: "UDP", IPPROTO_SCTP: "SCTP"}

EXACT_FLOW = "exact flow"
CONNECTED = "connected"
BOUND_ADDRESS = "bound address"
WILDCARD = "wildcard"
DUAL_WILDCARD = "dual-mode wildcard"

SCORES = {EXACT_FLOW: 5, CONNECTED: 4, BOUND_ADDRESS: 3, WILDCARD: 2, DUAL_WILDCARD: 1}
"""The rules in order: a candidate of a higher score wins whatever the others are."""


@dataclass(slots=True)
class Candidate:
    """One socket that was considered, or one rule by which there was none (then `endpoint` is None)."""

    rule: str
    matched: bool
    why: str
    endpoint: Endpoint | None = None
    binding: Binding | None = field(default=None, repr=False)

    @property
    def score(self) -> int:
        """The rank of its rule."""
        return SCORES[self.rule]

    def __str__(self) -> str:
        return f"{self.score} {self.rule}: {self.why}"


@dataclass(slots=True)
class Explanation:
    """Why a packet goes where it goes: every candidate in order of the rules, and the one that wins, if any does."""

    protocol: int
    local: bytes
    local_port: int
    remote: bytes
    remote_port: int
    candidates: list[Candidate] = field(default_factory=list)
    winner: Candidate | None = None
    verdict: str = ""

    @property
    def packet(self) -> str:
        """The packet in words: `TCP 10.0.0.1:40000 → 10.0.0.2:80`."""
        name = PROTOCOL_NAMES.get(self.protocol, f"protocol {self.protocol}")
        remote = format_endpoint(self.remote, self.remote_port)
        return f"{name} {remote} → {format_endpoint(self.local, self.local_port)}"

    def lines(self) -> list[str]:
        """All of it as text: the packet, one line a candidate (→ marks the winner), the verdict."""
        marked = (f"{'→' if candidate is self.winner else ' '} {candidate}" for candidate in self.candidates)
        return [self.packet, *marked, self.verdict]


def explain(
    table: PortTable,
    flows: FlowTable | None,
    protocol: int,
    local: bytes,
    local_port: int,
    remote: bytes,
    remote_port: int,
) -> Explanation:
    """The explanation of `FlowTable.find` and then `PortTable.lookup` for one packet."""
    explanation = Explanation(protocol, local, local_port, remote, remote_port)
    if protocol == IPPROTO_TCP and not (local_port and remote_port):
        explanation.verdict = "refused: TCP port 0 (RFC 6335 §6)"
        return explanation
    flow = (protocol, local, local_port, remote, remote_port)
    exact = _exact_flow(flows.find(*flow) if flows else None)
    winner = table.winner(*flow)
    explanation.candidates = [exact, *_connected(table, flow, winner), *_unconnected(table, flow, winner)]
    explanation.winner = exact if exact.matched else _candidate_of(winner, explanation.candidates)
    explanation.verdict = _verdict(explanation.winner, explanation.candidates)
    return explanation


def _exact_flow(owner: Endpoint | None) -> Candidate:
    why = "the flow table has this flow" if owner else "the flow table has no such flow"
    return Candidate(EXACT_FLOW, owner is not None, why, owner)


def _connected(
    table: PortTable, flow: tuple[int, bytes, int, bytes, int], winner: Binding | None
) -> Iterator[Candidate]:
    protocol, _, _, remote, remote_port = flow
    if protocol in LISTENING_PROTOCOLS:
        return
    text = format_endpoint(remote, remote_port)
    place = table.connected(*flow)
    if place is None:
        yield Candidate(CONNECTED, False, f"no socket is connected to {text}")
        return
    yield from _of_place(CONNECTED, place, f"is connected to {text}", winner if winner and winner.remote else None)


def _unconnected(
    table: PortTable, flow: tuple[int, bytes, int, bytes, int], winner: Binding | None
) -> Iterator[Candidate]:
    protocol, local, local_port, _, _ = flow
    for rank in places_open_to(local):
        rule = BOUND_ADDRESS if rank == (local,) else DUAL_WILDCARD if rank == (DUAL,) else WILDCARD
        text = f"[::]:{local_port} for both versions" if rank == (DUAL,) else format_endpoint(rank[0], local_port)
        found = [(name, place) for name in rank if (place := table.place(protocol, local_port, name))]
        found.sort(key=lambda pair: -pair[1].age)
        if not found:
            yield Candidate(rule, False, f"no socket holds {text}")
        for name, place in found:
            here = winner if winner and not winner.remote and winner.place == name else None
            yield from _of_place(rule, place, f"holds {text}", here)


def _of_place(rule: str, place: Place, fact: str, winner: Binding | None) -> Iterator[Candidate]:
    """The candidates of one place, newest first, and lines that count those not shown."""
    shown = place.candidates(CANDIDATES_SHOWN)
    if winner and winner not in shown:
        shown.append(winner)
    for binding in shown:
        yield Candidate(rule, True, fact + _order(binding, place), binding.endpoint, binding)
    if place.offered > len(shown):
        yield Candidate(rule, True, f"{fact}: {place.offered - len(shown)} older ones, not shown")
    if place.total > place.offered:
        yield Candidate(rule, False, f"{fact}: {place.total - place.offered} that are connected or do not listen")


def _order(binding: Binding, place: Place) -> str:
    if binding.group_index >= 0 and place.group:
        return f", number {binding.group_index + 1} of {len(place.group)} in its SO_REUSEPORT group"
    return ", the newest here" if binding is place.newest and binding.older else ""


def _candidate_of(winner: Binding | None, candidates: list[Candidate]) -> Candidate | None:
    return next((candidate for candidate in candidates if winner and candidate.binding is winner), None)


def _verdict(winner: Candidate | None, candidates: list[Candidate]) -> str:
    if winner is None:
        return "nobody takes it"
    rivals = [candidate for candidate in candidates if candidate.matched and candidate is not winner]
    if not rivals:
        return f"{winner.rule} wins: the only candidate"
    if all(rival.score < winner.score for rival in rivals):
        return f"{winner.rule} wins: it goes before {rivals[0].rule}"
    if winner.binding and winner.binding.group_index >= 0:
        return f"{winner.rule} wins: the keyed hash of the flow falls to this member of the group"
    return f"{winner.rule} wins: the newest of its rank"
