"""Reassembly under any fragmentation, order, duplication and overlap, against a reference that is slow and obvious."""

import itertools
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.ip_host import HOST, PEER, SECOND, Host, fragment
from tests.support.requirement import requirement
from tests.support.scapy_oracle import inet, inet6
from ustack.config import IpConfig
from ustack.drops import Drop, DropReason
from ustack.ip.fragment import fragment_ipv4, fragment_ipv6
from ustack.ip.packet import Packet

VERSION = st.sampled_from((4, 6))


@st.composite
def cuttings(draw: Any) -> tuple[bytes, list[tuple[int, bytes, bool]]]:
    """A payload, and fragments that carry it."""
    blocks = draw(st.integers(4, 40))
    payload = draw(st.binary(min_size=8 * blocks + 1, max_size=8 * blocks + 8))
    cuts = sorted(draw(st.sets(st.integers(3, blocks), min_size=1, max_size=12)))
    edges = [0, *(8 * cut for cut in cuts), len(payload)]
    pieces = [
        (start, payload[start:end], end < len(payload)) for start, end in itertools.pairwise(edges) if start < end
    ]
    return payload, pieces


def received(host: Host, packet: bytes) -> Packet | DropReason | None:
    try:
        return host.receive(packet)
    except Drop as drop:
        return drop.reason


@given(VERSION, cuttings(), st.data())
def test_any_cutting_in_any_order_with_any_duplicates_gives_the_payload_once(
    version: int, cutting: tuple[bytes, list[tuple[int, bytes, bool]]], data: Any
) -> None:
    payload, pieces = cutting
    extra = data.draw(st.lists(st.sampled_from(pieces), max_size=5))
    order = data.draw(st.permutations(pieces + extra))
    host = Host()
    seen: set[tuple[int, bytes, bool]] = set()
    wholes = []
    for piece in order:
        result = received(host, fragment(version, *piece))
        if isinstance(result, Packet):
            wholes.append(bytes(result.payload))
            seen.clear()
        else:
            assert result is (DropReason.FRAGMENT_DUPLICATE if piece in seen else None)
            seen.add(piece)
    assert wholes[0] == payload
    assert set(wholes) == {payload}
    host.layer.advance(host.now + 60 * SECOND)
    assert (len(host.layer.reassembly), host.layer.reassembly.charged) == (0, 0)


class Reference:
    """RFC 815's hole list turned round: which byte came from which fragment.  One datagram."""

    def __init__(self) -> None:
        self.fragments: list[tuple[int, bytes, bool]] = []

    def add(self, start: int, data: bytes, more: bool) -> bytes | DropReason | None:
        if (start, data, more) in self.fragments:
            return DropReason.FRAGMENT_DUPLICATE
        self.fragments.append((start, data, more))
        covered: dict[int, int] = {}
        for begin, piece, _ in self.fragments:
            for position, byte in enumerate(piece, begin):
                if position in covered:
                    return DropReason.FRAGMENT_OVERLAP
                covered[position] = byte
        ends = {begin + len(piece) for begin, piece, other in self.fragments if not other}
        continuing = [begin + len(piece) for begin, piece, other in self.fragments if other]
        if (
            len(ends) > 1
            or any(end >= total for end in continuing for total in ends)
            or (ends and max(covered) >= max(ends))
        ):
            return DropReason.FRAGMENT_OVERLAP
        if ends and len(covered) == max(ends):
            return bytes(covered[position] for position in range(len(covered)))
        return None


PIECES = st.lists(
    st.tuples(st.integers(0, 12), st.integers(1, 6), st.booleans(), st.integers(0, 1)), min_size=1, max_size=14
)


@given(VERSION, PIECES)
@settings(max_examples=300)
def test_any_fragments_whatever_fare_as_the_reference_says(
    version: int, drawn: list[tuple[int, int, bool, int]]
) -> None:
    host, reference, given_up = Host(), Reference(), False
    for start, blocks, more, filler in drawn:
        if not start and not more:
            continue  # no fragment, or an atomic one
        data = bytes((filler,)) * (8 * (blocks if start else max(blocks, 3)))
        expected: bytes | DropReason | None
        expected = DropReason.FRAGMENT_OVERLAP if given_up else reference.add(8 * start, data, more)
        result = received(host, fragment(version, 8 * start, data, more))
        assert (bytes(result.payload) if isinstance(result, Packet) else result) == expected
        if expected is DropReason.FRAGMENT_OVERLAP:
            given_up, reference = version == 6, Reference()
        elif isinstance(expected, bytes):
            reference = Reference()
    host.layer.advance(host.now + 60 * SECOND)
    assert (len(host.layer.reassembly), host.layer.reassembly.charged) == (0, 0)


ATTACK = st.lists(
    st.tuples(
        st.integers(1, 4), st.integers(0, 3), st.integers(0, 40), st.integers(1, 40), st.booleans(), st.integers(0, 9)
    ),
    max_size=80,
)


@given(VERSION, ATTACK)
@settings(max_examples=150)
def test_limits_are_never_exceeded_and_every_fragment_is_accounted_for(
    version: int, attack: list[tuple[int, int, int, int, bool, int]]
) -> None:
    config = {"reassembly_limit_bytes": 6_000, "reassembly_limit_source_bytes": 3_000, "reassembly_limit_fragments": 5}
    host = Host(**config)
    reassembly = host.layer.reassembly
    for source, identification, start, blocks, more, wait in attack:
        host.now += wait * SECOND
        host.layer.advance(host.now)
        address = PEER[version][:3] + bytes((source,)) + PEER[version][4:]
        packet = fragment(version, 8 * start, bytes(8 * blocks), more, identification, source=address)
        received(host, packet)
        assert reassembly.charged <= 6_000
        held = [source_state.charged for source_state in reassembly._sources.values()]
        assert sum(held) == reassembly.charged
        assert max(held, default=0) <= 3_000
        assert all(len(each.pieces) <= 5 for each in reassembly._incomplete.values())
    host.layer.advance(host.now + 60 * SECOND)
    assert (len(reassembly), reassembly.charged, reassembly._sources) == (0, 0, {})
    assert reassembly.next_deadline() is None


@requirement("RFC791", "3.2/fragmentation")
@given(st.binary(min_size=1, max_size=6000), st.integers(68, 1500), st.integers(0, 65535))
def test_our_ipv4_fragments_are_reassembled_by_scapy_and_by_ourselves(
    payload: bytes, mtu: int, identification: int
) -> None:
    packets = fragment_ipv4(PEER[4], HOST[4], 17, payload, mtu, identification=identification, ttl=7, traffic_class=4)
    assert all(len(packet) <= mtu for packet in packets)
    whole = inet.defragment([inet.IP(packet) for packet in packets])
    assert len(whole) == 1
    assert (bytes(whole[0].payload), whole[0].id, whole[0].ttl, whole[0].tos) == (payload, identification, 7, 4)
    host = Host()
    results = [host.receive(packet) for packet in packets]
    assert results[-1] is not None
    assert bytes(results[-1].payload) == payload


@requirement("RFC8200", "4.5/sending")
@given(st.binary(min_size=1400, max_size=6000), st.integers(1280, 1500), st.integers(0, 2**32 - 1))
def test_our_ipv6_fragments_are_reassembled_by_scapy_and_by_ourselves(
    payload: bytes, mtu: int, identification: int
) -> None:
    packets = fragment_ipv6(PEER[6], HOST[6], 99, payload, mtu, identification=identification, flow_label=3)
    assert all(len(packet) <= mtu for packet in packets)
    whole = inet6.defragment6([inet6.IPv6(packet) for packet in packets])
    assert bytes(whole)[40:] == payload
    host = Host()
    results = [host.receive(packet) for packet in packets]
    assert results[-1] is not None
    assert (bytes(results[-1].payload), results[-1].flow_label) == (payload, 3)


@given(st.binary(min_size=100, max_size=3000))
def test_scapys_fragments_are_reassembled_by_ourselves(payload: bytes) -> None:
    host = Host()
    packet = inet.IP(src="10.9.0.1", dst="10.9.0.2", proto=99, id=77) / payload
    results = [host.receive(bytes(piece)) for piece in inet.fragment(packet, fragsize=256)]
    assert results[-1] is not None
    assert bytes(results[-1].payload) == payload
    packet6 = inet6.IPv6(src="fd00::1", dst="fd00::2") / inet6.IPv6ExtHdrFragment(nh=99, id=5) / (payload + bytes(1500))
    results = [host.receive(bytes(piece)) for piece in inet6.fragment6(packet6, 1280)]
    assert results[-1] is not None
    assert bytes(results[-1].payload) == payload + bytes(1500)


def test_thousands_of_datagrams_that_never_come_whole_cost_no_more_than_the_limit() -> None:
    host = Host()
    packets = [fragment(4, 0, bytes(64), True, number) for number in range(3000)]
    for packet in packets:
        host.receive(packet)
    assert host.layer.reassembly.charged <= IpConfig().reassembly_limit_source_bytes
