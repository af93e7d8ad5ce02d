"""`explain`: the candidates in order, the winner, and words that a learner can follow."""

from __future__ import annotations

import pytest

from tests.support.endpoints import bare_endpoint
from ustack.address import ANY_IPV4, ANY_IPV6
from ustack.constants import AF_INET6, IPPROTO_TCP, IPPROTO_UDP
from ustack.entropy import SeededEntropy
from ustack.flow import FlowTable
from ustack.ports import Explanation, PortTable
from ustack.ports.explain import CANDIDATES_SHOWN

LOCAL = bytes((10, 0, 0, 1))
REMOTE = bytes((10, 0, 0, 2))


@pytest.fixture
def table() -> PortTable:
    return PortTable(SeededEntropy(7), (1024, 65535))


def rules(explanation: Explanation) -> list[tuple[str, bool]]:
    return [(candidate.rule, candidate.matched) for candidate in explanation.candidates]


def test_every_rule_is_told_in_order_even_when_nobody_matches(table: PortTable) -> None:
    explanation = table.explain(IPPROTO_UDP, LOCAL, 53, REMOTE, 9)
    assert rules(explanation) == [
        ("exact flow", False),
        ("connected", False),
        ("bound address", False),
        ("wildcard", False),
        ("dual-mode wildcard", False),
    ]
    assert [candidate.score for candidate in explanation.candidates] == [5, 4, 3, 2, 1]
    assert explanation.winner is None
    assert explanation.verdict == "nobody takes it"
    assert all(candidate.endpoint is None for candidate in explanation.candidates)


def test_a_packet_of_a_known_flow_goes_to_its_connection(table: PortTable) -> None:
    flows = FlowTable(bytes(16))
    listener = table.bind(bare_endpoint(), IPPROTO_TCP, ANY_IPV4, 80)
    table.listen(listener)
    child = bare_endpoint()
    table.share(listener, child, LOCAL)
    flows.insert(IPPROTO_TCP, LOCAL, 80, REMOTE, 9, child)
    explanation = table.explain(IPPROTO_TCP, LOCAL, 80, REMOTE, 9, flows)
    assert explanation.winner is explanation.candidates[0]
    assert explanation.winner.endpoint is child
    assert explanation.lines() == [
        "TCP 10.0.0.2:9 → 10.0.0.1:80",
        "→ 5 exact flow: the flow table has this flow",
        "  3 bound address: holds 10.0.0.1:80: 1 that are connected or do not listen",
        "  2 wildcard: holds 0.0.0.0:80",
        "  1 dual-mode wildcard: no socket holds [::]:80 for both versions",
        "exact flow wins: it goes before wildcard",
    ]


def test_the_bound_address_is_said_to_go_before_the_wildcard(table: PortTable) -> None:
    wildcard = table.bind(bare_endpoint(AF_INET6, reuse_address=True), IPPROTO_UDP, ANY_IPV6, 53)
    bound = table.bind(bare_endpoint(reuse_address=True), IPPROTO_UDP, LOCAL, 53)
    explanation = table.explain(IPPROTO_UDP, LOCAL, 53, REMOTE, 9)
    assert explanation.winner is not None
    assert explanation.winner.endpoint is bound.endpoint
    assert explanation.candidates[-1].endpoint is wildcard.endpoint
    assert explanation.verdict == "bound address wins: it goes before dual-mode wildcard"


def test_a_connected_socket_is_named_by_its_remote(table: PortTable) -> None:
    binding = table.bind(bare_endpoint(), IPPROTO_UDP, LOCAL, 53)
    table.connect(binding, REMOTE, 9)
    explanation = table.explain(IPPROTO_UDP, LOCAL, 53, REMOTE, 9)
    assert str(explanation.winner) == "4 connected: is connected to 10.0.0.2:9"
    assert explanation.verdict == "connected wins: the only candidate"


def test_the_newest_of_equals_is_called_so(table: PortTable) -> None:
    bindings = [table.bind(bare_endpoint(reuse_address=True), IPPROTO_UDP, LOCAL, 53) for _ in range(3)]
    explanation = table.explain(IPPROTO_UDP, LOCAL, 53, REMOTE, 9)
    assert explanation.winner is not None
    assert explanation.winner.endpoint is bindings[-1].endpoint
    assert explanation.winner.why == "holds 10.0.0.1:53, the newest here"
    assert explanation.verdict == "bound address wins: the newest of its rank"


def test_the_choice_within_a_group_is_told_by_number(table: PortTable) -> None:
    for _ in range(3):
        table.bind(bare_endpoint(reuse_port=True), IPPROTO_UDP, LOCAL, 53)
    explanation = table.explain(IPPROTO_UDP, LOCAL, 53, REMOTE, 9)
    assert explanation.winner is not None
    assert "of 3 in its SO_REUSEPORT group" in explanation.winner.why
    assert "keyed hash" in explanation.verdict


def test_a_large_group_is_cut_but_never_loses_its_winner(table: PortTable) -> None:
    for _ in range(500):
        table.bind(bare_endpoint(reuse_port=True), IPPROTO_UDP, LOCAL, 53)
    for port in range(50):
        explanation = table.explain(IPPROTO_UDP, LOCAL, 53, REMOTE, port)
        assert explanation.winner is not None
        assert explanation.winner.endpoint is table.lookup(IPPROTO_UDP, LOCAL, 53, REMOTE, port)
        assert len(explanation.candidates) <= CANDIDATES_SHOWN + 7
        assert any("not shown" in candidate.why for candidate in explanation.candidates)


def test_tcp_port_zero_has_no_candidates_and_a_reason(table: PortTable) -> None:
    explanation = table.explain(IPPROTO_TCP, LOCAL, 0, REMOTE, 9)
    assert explanation.candidates == []
    assert explanation.verdict == "refused: TCP port 0 (RFC 6335 §6)"


def test_an_unknown_protocol_is_told_by_number_and_ipv6_in_brackets(table: PortTable) -> None:
    explanation = table.explain(200, bytes(15) + b"\x01", 1, bytes(15) + b"\x02", 2)
    assert explanation.packet == "protocol 200 [::2]:2 → [::1]:1"
    assert [rule for rule, _ in rules(explanation)] == ["exact flow", "connected", "bound address", "wildcard"]
