"""Reassembly rule by rule: overlap, duplicates, limits, time, ECN."""

import itertools

import pytest

from tests.support.ip_host import (
    HOST,
    PEER,
    SECOND,
    Host,
    SentIcmp,
    any_packet,
    fragment,
    fragment4,
    fragment6,
    ipv4_packet,
)
from tests.support.requirement import requirement
from ustack.address import parse_address
from ustack.drops import DropReason
from ustack.wire import ipv4, ipv6

VERSIONS = pytest.mark.parametrize("version", [4, 6])
DATA = bytes(range(64))


@requirement("RFC791", "3.2/reassembly")
def test_a_whole_ipv4_datagram_looks_as_if_it_had_come_in_one_piece() -> None:
    host = Host()
    fields = {"ttl": 9, "traffic_class": 0x28}
    assert host.receive(fragment4(0, DATA[:24], True, options=b"\x94\x04\x00\x00", **fields)) is None
    packet = host.whole(fragment4(24, DATA[24:], False, ttl=200))
    assert bytes(packet.payload) == DATA
    assert packet.reassembled
    assert packet.unicast
    assert not packet.trusted
    header = ipv4.parse(bytes(packet.header) + DATA)
    assert (header.total_length, header.is_fragment, header.identification) == (24 + 64, False, 7)
    assert (packet.ttl, packet.traffic_class, packet.options) == (9, 0x28, b"\x94\x04\x00\x00")
    assert host.layer.statistics.datagrams_reassembled == 1


@requirement("RFC8200", "4.5/reassembly")
def test_a_whole_ipv6_datagram_looks_as_if_it_had_come_in_one_piece() -> None:
    host = Host()
    assert host.receive(fragment6(24, DATA[24:], False, next_header=99, hop_limit=200)) is None
    packet = host.whole(fragment6(0, DATA[:24], True, hop_limit=9, flow_label=5, traffic_class=0x28))
    assert bytes(packet.payload) == DATA
    assert (packet.protocol, packet.ttl, packet.flow_label, packet.traffic_class) == (17, 9, 5, 0x28)
    header = ipv6.parse(bytes(packet.header) + DATA)
    assert (len(packet.header), header.payload_length, header.next_header) == (40, 64, 17)


@requirement("RFC8200", "4.5/reassembly")
def test_headers_in_front_of_the_fragment_header_are_the_first_fragments() -> None:
    """RFC 8200 §4.5: those of other fragments, and their next header, do not count."""
    host = Host()
    options = bytes((44, 0, 1, 4, 0, 0, 0, 0))
    assert host.receive(fragment6(24, DATA[24:], False, next_header=6)) is None
    packet = host.whole(fragment6(0, DATA[:24], True, before=options, first_header=60))
    assert bytes(packet.header[40:]) == bytes((17, 0, 1, 4, 0, 0, 0, 0))
    assert packet.header[6] == 60
    assert (packet.protocol, bytes(packet.payload)) == (17, DATA)


def test_headers_behind_the_fragment_header_are_read_once_the_datagram_is_whole() -> None:
    host = Host()
    body = bytes((17, 0, 1, 4, 0, 0, 0, 0)) + DATA
    assert host.receive(fragment6(0, body[:32], True, next_header=60)) is None
    packet = host.whole(fragment6(32, body[32:], False, next_header=60))
    assert (packet.protocol, bytes(packet.payload), len(packet.header)) == (17, DATA, 48)


@requirement("RFC791", "3.2/reassembly")
@VERSIONS
def test_every_order_of_the_fragments_will_do(version: int) -> None:
    pieces = [(0, DATA[:16], True), (16, DATA[16:40], True), (40, DATA[40:48], True), (48, DATA[48:], False)]
    for order in itertools.permutations(pieces):
        host = Host()
        for piece in order[:-1]:
            assert host.receive(fragment(version, *piece)) is None
        assert bytes(host.whole(fragment(version, *order[-1])).payload) == DATA
        assert (len(host.layer.reassembly), host.layer.reassembly.charged) == (0, 0)


@requirement("RFC8200", "4.5/overlap")
@VERSIONS
def test_an_exact_duplicate_is_ignored(version: int) -> None:
    host = Host()
    host.receive(fragment(version, 0, DATA[:24], True))
    assert host.drops(fragment(version, 0, DATA[:24], True)) is DropReason.FRAGMENT_DUPLICATE
    assert bytes(host.whole(fragment(version, 24, DATA[24:], False)).payload) == DATA


@VERSIONS
def test_a_duplicate_of_the_last_fragment_is_ignored(version: int) -> None:
    host = Host()
    host.receive(fragment(version, 24, DATA[24:], False))
    assert host.drops(fragment(version, 24, DATA[24:], False)) is DropReason.FRAGMENT_DUPLICATE
    assert bytes(host.whole(fragment(version, 0, DATA[:24], True)).payload) == DATA


OVERLAPS = {
    "begins inside an earlier one": (8, DATA[8:32], True),
    "ends inside a later one": (32, DATA[32:48], True),
    "covers an earlier one": (0, DATA[:32], True),
    "lies inside an earlier one": (8, DATA[8:16], True),
    "has the place of an earlier one but not its bytes": (0, bytes(24), True),
    "has the place of the last but says there is more": (40, DATA[40:64], True),
    "goes beyond the end": (64, bytes(8), True),
    "ends elsewhere than the last": (64, bytes(8), False),
    "ends before what is there": (24, DATA[24:32], False),
}


@requirement("RFC8200", "4.5/overlap")
@VERSIONS
@pytest.mark.parametrize("name", OVERLAPS)
def test_any_other_overlap_ends_the_whole_datagram_silently(version: int, name: str) -> None:
    """RFC 5722 §4 and RFC 8200 §4.5; for IPv4 as Linux does."""
    host = Host()
    host.receive(fragment(version, 0, DATA[:24], True))
    host.receive(fragment(version, 40, DATA[40:], False))
    assert host.drops(fragment(version, *OVERLAPS[name])) is DropReason.FRAGMENT_OVERLAP
    assert host.layer.counters[DropReason.FRAGMENT_OVERLAP] == 2, "those that were held count as dropped too"
    host.now += 100 * SECOND
    host.layer.advance(host.now)
    assert host.sent() == [], "no ICMP error, not even when the time is over"
    assert host.layer.reassembly.charged == 0


@requirement("RFC8200", "4.5/overlap")
def test_fragments_of_an_overlapped_ipv6_datagram_are_discarded_until_its_time_is_over() -> None:
    """RFC 5722 §4: "including those not yet received"."""
    host = Host()
    host.receive(fragment6(0, DATA[:24], True))
    assert host.drops(fragment6(16, DATA[16:40], True)) is DropReason.FRAGMENT_OVERLAP
    for piece in ((0, DATA[:24], True), (24, DATA[24:], False)):
        assert host.drops(fragment6(*piece)) is DropReason.FRAGMENT_OVERLAP
    host.now += 31 * SECOND
    host.layer.advance(host.now)
    host.receive(fragment6(0, DATA[:24], True))
    assert bytes(host.whole(fragment6(24, DATA[24:], False)).payload) == DATA


def test_after_an_overlap_the_16_bit_identification_of_ipv4_may_be_used_again_at_once() -> None:
    host = Host()
    host.receive(fragment4(0, DATA[:24], True))
    assert host.drops(fragment4(16, DATA[16:40], True)) is DropReason.FRAGMENT_OVERLAP
    host.receive(fragment4(0, DATA[:24], True))
    assert bytes(host.whole(fragment4(24, DATA[24:], False)).payload) == DATA


@requirement("RFC791", "3.2/reassembly")
@VERSIONS
def test_fragments_of_different_datagrams_are_kept_apart(version: int) -> None:
    host = Host()
    other = parse_address("10.9.0.9" if version == 4 else "fd00::9")
    host.receive(fragment(version, 0, DATA[:24], True, 1))
    host.receive(fragment(version, 0, b"B" * 24, True, 2))
    host.receive(fragment(version, 0, b"C" * 24, True, 1, source=other))
    assert bytes(host.whole(fragment(version, 24, b"C", False, 1, source=other)).payload) == b"C" * 25
    assert bytes(host.whole(fragment(version, 24, b"B", False, 2)).payload) == b"B" * 25
    assert bytes(host.whole(fragment(version, 24, DATA[24:], False, 1)).payload) == DATA


def test_ipv4_datagrams_of_different_protocols_are_kept_apart() -> None:
    host = Host()
    host.receive(fragment4(0, DATA[:24], True, protocol=17))
    assert host.receive(fragment4(24, DATA[24:], False, protocol=6)) is None
    assert len(host.layer.reassembly) == 2


@pytest.mark.parametrize("length", [1, 7, 9, 15])
def test_an_ipv4_fragment_whose_length_is_no_multiple_of_8_is_dropped_unless_it_is_the_last(length: int) -> None:
    host = Host()
    assert host.drops(fragment4(0, bytes(length), True)) is DropReason.FRAGMENT_LENGTH
    assert host.receive(fragment4(8, bytes(length), False)) is None
    assert host.sent() == []


@requirement("RFC8200", "4.5/length")
def test_an_ipv6_fragment_whose_length_is_no_multiple_of_8_is_reported_at_the_payload_length() -> None:
    """RFC 8200 §4.5: parameter problem, code 0; for any fragment, the first or not."""
    host = Host()
    for offset in (0, 64):
        packet = fragment6(offset, bytes(15), True)
        assert host.drops(packet) is DropReason.FRAGMENT_LENGTH
        error = SentIcmp(host.only())
        assert (error.type, error.code, error.pointer, error.body) == (4, 0, 4, packet)


@VERSIONS
@pytest.mark.parametrize("more", [True, False])
def test_a_fragment_without_data_is_dropped(version: int, more: bool) -> None:
    assert Host().drops(fragment(version, 8, b"", more)) is DropReason.FRAGMENT_LENGTH


def test_an_ipv4_fragment_that_ends_beyond_65535_bytes_is_dropped() -> None:
    """The "ping of death"."""
    host = Host()
    assert host.receive(fragment4(65512, bytes(3), False)) is None
    assert host.drops(fragment4(65512, bytes(4), False)) is DropReason.FRAGMENT_TOO_BIG
    assert host.drops(fragment4(65528, bytes(8), True)) is DropReason.FRAGMENT_TOO_BIG


@requirement("RFC8200", "4.5/length")
def test_an_ipv6_fragment_that_ends_beyond_65535_bytes_is_reported_at_its_offset() -> None:
    """RFC 8200 §4.5: parameter problem, code 0, pointing to the fragment offset."""
    host = Host()
    assert host.receive(fragment6(65528, bytes(7), False)) is None
    packet = fragment6(65528, bytes(8), False, identification=8)
    assert host.drops(packet) is DropReason.FRAGMENT_TOO_BIG
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer, error.body) == (4, 0, 42, packet)


@VERSIONS
def test_a_datagram_that_the_first_fragments_header_makes_too_long_is_dropped(version: int) -> None:
    """The other fragments had fewer options or extension headers."""
    host = Host()
    top = 65512 if version == 4 else 65528
    for offset in range(1448, top, 1448):
        host.receive(fragment(version, offset, bytes(min(1448, top - offset)), True))
    host.receive(fragment(version, top, bytes(3), False))
    if version == 4:
        first = fragment4(0, bytes(1448), True, options=bytes((1, 1, 1, 1)))
    else:
        first = fragment6(0, bytes(1448), True, before=bytes((44, 0, 1, 4, 0, 0, 0, 0)), first_header=60)
    assert host.drops(first) is DropReason.FRAGMENT_TOO_BIG
    assert host.layer.reassembly.charged == 0


@requirement("RFC1122", "3.2.1.4")
def test_the_greatest_datagram_of_ipv4_is_put_together() -> None:
    host, whole = Host(), bytes(range(256)) * 256
    payload = whole[:65515]
    for offset in range(1480, 65515, 1480):
        more = offset + 1480 < 65515
        assert host.receive(fragment4(offset, payload[offset : offset + 1480], more)) is None
    assert bytes(host.whole(fragment4(0, payload[:1480], True)).payload) == payload


@requirement("RFC8200", "4.5/atomic")
@pytest.mark.parametrize("nested", [False, True])
def test_an_atomic_fragment_is_taken_by_itself(nested: bool) -> None:
    """RFC 6946 §4: even where fragments of the same identification are waiting."""
    host = Host()
    if nested:
        host.receive(fragment6(24, DATA[24:], False))
    packet = host.whole(fragment6(0, b"atomic, of any length", False))
    assert bytes(packet.payload) == b"atomic, of any length"
    assert packet.protocol == 17
    assert not packet.reassembled
    assert len(packet.header) == 48
    assert len(host.layer.reassembly) == nested


def test_a_fragmented_datagram_that_holds_a_fragment_header_is_dropped() -> None:
    """RFC 8200 §4.1 has it once at most; nothing may make the host reassemble without end."""
    host = Host()
    inner = bytes((17, 0, 0, 0, 0, 0, 0, 9)) + DATA
    host.receive(fragment6(0, inner[:48], True, next_header=44))
    assert host.drops(fragment6(48, inner[48:], False, next_header=44)) is DropReason.IPV6_EXTENSION
    inner = bytes((17, 0, 0, 1, 0, 0, 0, 9)) + DATA
    host.receive(fragment6(0, inner[:48], True, next_header=44))
    assert host.drops(fragment6(48, inner[48:], False, next_header=44)) is DropReason.IPV6_EXTENSION
    assert len(host.layer.reassembly) == 0


@requirement("RFC8200", "4.5/chain")
@pytest.mark.parametrize(
    ("next_header", "data", "complete"),
    [
        (17, bytes(8), True), (6, bytes(16), False), (6, bytes(24), True), (58, bytes(8), True), (99, bytes(8), True),
        (60, bytes((17, 0, 1, 4, 0, 0, 0, 0)), False),
        (60, bytes((17, 0, 1, 4, 0, 0, 0, 0)) + bytes(8), True),
        (60, bytes((17, 9, 1, 4, 0, 0, 0, 0)) + bytes(8), False),
        (60, bytes((60, 0, 1, 4, 0, 0, 0, 0)) * 2, False),
    ],
)  # fmt: skip
def test_a_first_fragment_must_hold_the_whole_header_chain(next_header: int, data: bytes, complete: bool) -> None:
    """RFC 7112 §5: parameter problem, code 3, pointer 0."""
    host = Host()
    packet = fragment6(0, data, True, next_header=next_header)
    if complete:
        assert host.receive(packet) is None
        return
    assert host.drops(packet) is DropReason.FRAGMENT_HEADER_CHAIN
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.pointer, error.body) == (4, 3, 0, packet)


@requirement("RFC8200", "4.5/timeout")
@requirement("RFC1122", "3.3.2")
@requirement("RFC791", "3.2/reassembly-timeout")
@VERSIONS
def test_when_time_is_over_the_source_is_told_with_the_first_fragment(version: int) -> None:
    """RFC 792, RFC 1122 §3.3.2, RFC 4443 §3.3: time exceeded, code 1."""
    host = Host()
    first = fragment(version, 0, DATA[:24], True)
    host.receive(first)
    deadline = host.now + 30 * SECOND
    host.receive(fragment(version, 32, DATA[32:40], True))
    assert host.layer.next_deadline() == deadline
    host.layer.advance(deadline - 1)
    assert host.sent() == []
    host.layer.advance(deadline)
    error = SentIcmp(host.only())
    assert (error.type, error.code, error.rest) == (11 if version == 4 else 3, 1, bytes(4))
    assert (error.source, error.destination) == (HOST[version], PEER[version])
    assert error.body == first
    assert host.layer.counters[DropReason.FRAGMENT_TIMEOUT] == 2
    assert host.layer.next_deadline() is None
    assert (len(host.layer.reassembly), host.layer.reassembly.charged) == (0, 0)


@requirement("RFC1122", "3.3.2")
@VERSIONS
def test_without_the_first_fragment_nobody_is_told(version: int) -> None:
    host = Host()
    host.receive(fragment(version, 8, DATA[:24], True))
    host.layer.advance(host.now + 31 * SECOND)
    assert host.sent() == []
    assert host.layer.counters[DropReason.FRAGMENT_TIMEOUT] == 1


@requirement("RFC1122", "3.3.2")
@VERSIONS
def test_the_time_counts_from_the_first_arrival_and_is_not_renewed(version: int) -> None:
    host = Host()
    begin = host.now
    host.receive(fragment(version, 0, DATA[:8], True))
    for offset in range(8, 64, 8):
        host.now += 4 * SECOND
        host.receive(fragment(version, offset, DATA[offset : offset + 8], True))
    assert host.layer.next_deadline() == begin + 30 * SECOND
    host.layer.advance(begin + 30 * SECOND)
    assert host.receive(fragment(version, 64, b"late", False)) is None


def test_nobody_is_told_of_a_broadcast_that_did_not_come_whole() -> None:
    host = Host()
    host.receive(fragment4(0, DATA[:24], True, destination=b"\xff" * 4))
    host.layer.advance(host.now + 31 * SECOND)
    assert host.sent() == []


NOT_ECT, ECT_1, ECT_0, CE = range(4)


@VERSIONS
@pytest.mark.parametrize(
    ("marks", "merged"),
    [
        ((NOT_ECT, NOT_ECT), NOT_ECT), ((ECT_0, ECT_0), ECT_0), ((ECT_1, ECT_1), ECT_1), ((ECT_0, CE), CE),
        ((CE, ECT_1), CE), ((CE, CE), CE), ((ECT_1, ECT_0), ECT_1), ((ECT_0, ECT_1), ECT_0),
        ((NOT_ECT, CE), None), ((CE, NOT_ECT), None), ((NOT_ECT, ECT_0), None), ((ECT_1, NOT_ECT), None),
    ],
)  # fmt: skip
@pytest.mark.parametrize("reverse", [False, True])
def test_congestion_experienced_survives_reassembly(
    version: int, marks: tuple[int, int], merged: int | None, reverse: bool
) -> None:
    """RFC 3168 §5.3; Not-ECT beside anything else ends the datagram, as in Linux."""
    host = Host()
    pieces = [
        fragment(version, 0, DATA[:24], True, traffic_class=0xB8 | marks[0]),
        fragment(version, 24, DATA[24:], False, traffic_class=0xB8 | marks[1]),
    ]
    early, late = reversed(pieces) if reverse else pieces
    host.receive(early)
    if merged is None:
        assert host.drops(late) is DropReason.FRAGMENT_ECN
        assert host.layer.reassembly.charged == 0
        return
    packet = host.whole(late)
    assert packet.traffic_class == 0xB8 | merged
    field = packet.header[1] if version == 4 else int.from_bytes(packet.header[:2], "big") >> 4 & 0xFF
    assert field == 0xB8 | merged, "and in the header that raw sockets see"


@VERSIONS
def test_one_datagram_may_have_so_many_fragments(version: int) -> None:
    host = Host(reassembly_limit_fragments=4)
    for offset in range(0, 64, 16):
        host.receive(fragment(version, offset, DATA[:8], True))
    assert host.drops(fragment(version, 64, b"end", False)) is DropReason.FRAGMENT_LIMIT_DATAGRAM
    assert host.layer.counters[DropReason.FRAGMENT_LIMIT_DATAGRAM] == 4
    assert host.layer.reassembly.charged == 0


@VERSIONS
def test_one_source_fills_its_share_only_and_its_oldest_datagram_goes_first(version: int) -> None:
    host = Host(reassembly_limit_source_bytes=8_000)
    other = parse_address("10.9.0.9" if version == 4 else "fd09::9")
    host.receive(fragment(version, 0, DATA, True, 999, source=other))
    for identification in range(1, 20):
        host.receive(fragment(version, 0, bytes(1000), True, identification))
    counters = host.layer.counters
    held = 19 - counters[DropReason.FRAGMENT_LIMIT_SOURCE]
    assert 3 <= held <= 5
    assert bytes(host.whole(fragment(version, 1000, b"!", False, 19)).payload) == bytes(1000) + b"!", "the newest lives"
    assert bytes(host.whole(fragment(version, 64, b"!", False, 999, source=other)).payload) == DATA + b"!"
    assert host.receive(fragment(version, 1000, b"!", False, 1)) is None, "the oldest is gone"


def test_all_addresses_of_one_ipv6_network_are_one_source() -> None:
    """A host may use a whole /64."""
    host = Host(reassembly_limit_source_bytes=8_000)
    for number in range(20):
        host.receive(fragment6(0, bytes(1000), True, source=parse_address(f"2001:db8::{number + 1:x}")))
    assert host.layer.counters[DropReason.FRAGMENT_LIMIT_SOURCE] >= 15
    assert host.layer.reassembly.charged <= 8_000


@VERSIONS
def test_all_sources_together_are_limited_and_the_oldest_datagram_goes_first(version: int) -> None:
    host = Host(reassembly_limit_bytes=20_000)
    prefix = parse_address("10.9.0.0")[:3] if version == 4 else parse_address("2001:db8::")[:6]
    for number in range(10, 110):
        source = prefix + bytes((number,)) + (bytes(9) if version == 6 else b"")
        host.receive(fragment(version, 0, bytes(1000), True, 5, source=source))
        assert host.layer.reassembly.charged <= 20_000
    assert host.layer.counters[DropReason.FRAGMENT_LIMIT_TOTAL] >= 85
    assert bytes(host.whole(fragment(version, 1000, b"!", False, 5, source=source)).payload) == bytes(1000) + b"!"


@VERSIONS
def test_a_datagram_that_is_over_the_limit_by_itself_is_dropped(version: int) -> None:
    for config, reason in (
        ({"reassembly_limit_source_bytes": 3_000}, DropReason.FRAGMENT_LIMIT_SOURCE),
        ({"reassembly_limit_bytes": 3_000}, DropReason.FRAGMENT_LIMIT_TOTAL),
    ):
        host = Host(**config)
        host.receive(fragment(version, 0, bytes(1000), True))
        host.receive(fragment(version, 1000, bytes(1000), True))
        assert host.drops(fragment(version, 2000, bytes(1000), True)) is reason
        assert host.layer.reassembly.charged == 0


@VERSIONS
def test_not_even_a_first_fragment_is_held_over_a_limit(version: int) -> None:
    for config, reason in (
        ({"reassembly_limit_source_bytes": 600}, DropReason.FRAGMENT_LIMIT_SOURCE),
        ({"reassembly_limit_bytes": 600}, DropReason.FRAGMENT_LIMIT_TOTAL),
    ):
        host = Host(**config)
        assert host.drops(fragment(version, 0, bytes(1000), True)) is reason
        assert (len(host.layer.reassembly), host.layer.reassembly.charged) == (0, 0)


def test_tiny_fragments_are_charged_for_more_than_their_bytes() -> None:
    host = Host()
    for number in range(100):
        host.receive(fragment4(8 + 16 * number, bytes(8), True))
    assert host.layer.reassembly.charged > 100 * 128


@VERSIONS
def test_a_whole_datagram_and_a_fragment_do_not_meet(version: int) -> None:
    host = Host()
    host.receive(fragment(version, 0, DATA[:24], True))
    assert bytes(host.whole(any_packet(version, b"whole")).payload) == b"whole"


def test_df_on_a_fragment_does_not_matter() -> None:
    host = Host()
    host.receive(ipv4_packet(DATA[:24], more_fragments=True, dont_fragment=True, identification=1))
    assert bytes(host.whole(ipv4_packet(DATA[24:], fragment_offset=24, identification=1)).payload) == DATA
