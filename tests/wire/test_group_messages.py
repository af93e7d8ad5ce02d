"""IGMP and MLD: versions told apart, times as codes, lengths that do not fit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dropping import outcome_of
from tests.support.wire_strategies import IGMP_MESSAGES, IPV6_ADDRESS, MLD_MESSAGES, PAYLOAD
from ustack.drops import Drop, DropReason
from ustack.wire import icmpv6, igmp, mld
from ustack.wire.checksum import internet_checksum
from ustack.wire.group_record import GroupRecord, RecordType, decode_time
from ustack.wire.icmpv6 import IcmpMessage, Icmpv6Type

GROUP4, GROUP6 = bytes((224, 0, 0, 22)), b"\xff\x02" + bytes(14)
A, B = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
SOURCE, DESTINATION = bytes(15) + b"\x01", bytes(15) + b"\x02"


def with_checksum(data: bytes) -> bytes:
    data = data[:2] + bytes(2) + data[4:]
    return data[:2] + internet_checksum(data).to_bytes(2, "big") + data[4:]


def igmp_reason(data: bytes) -> DropReason:
    with pytest.raises(Drop) as caught:
        igmp.parse(memoryview(data))
    assert caught.value.detail
    return caught.value.reason


def mld_message(message_type: int, body: bytes, rest: bytes = bytes(4)) -> IcmpMessage:
    return icmpv6.parse(icmpv6.build(SOURCE, DESTINATION, message_type, 0, rest, body), SOURCE, DESTINATION)


def mld_reason(message: IcmpMessage) -> DropReason:
    with pytest.raises(Drop) as caught:
        mld.parse(message)
    assert caught.value.detail
    return caught.value.reason


@pytest.mark.parametrize(
    ("code", "mantissa_bits", "time"),
    [
        (0, 4, 0), (127, 4, 127), (128, 4, 128), (0x8F, 4, 248), (0x90, 4, 256), (0xFF, 4, 31744),
        (32767, 12, 32767), (32768, 12, 32768), (0xFFFF, 12, 8387584),
    ],
)  # fmt: skip
def test_times_are_decoded_as_floating_point(code: int, mantissa_bits: int, time: int) -> None:
    assert decode_time(code, mantissa_bits) == time


class TestIgmp:
    @given(IGMP_MESSAGES)
    def test_parsing_gives_back_what_was_built(self, message: igmp.IgmpMessage) -> None:
        assert igmp.parse(memoryview(igmp.build(message))) == message

    @pytest.mark.parametrize(
        ("query", "time"),
        [
            (igmp.MembershipQuery(1, 0, GROUP4), 100),
            (igmp.MembershipQuery(2, 200, GROUP4), 200),
            (igmp.MembershipQuery(3, 0x8F, GROUP4), 248),
        ],
    )
    def test_the_response_time_is_read_by_the_version(self, query: igmp.MembershipQuery, time: int) -> None:
        parsed = igmp.parse(igmp.build(query))
        assert isinstance(parsed, igmp.MembershipQuery)
        assert parsed.version == query.version
        assert parsed.max_response_time == time

    def test_a_query_of_version_3_has_its_fields_where_the_rfc_puts_them(self) -> None:
        wire = with_checksum(bytes.fromhex("11640000" + GROUP4.hex() + "fa9f0002") + A + B)
        assert igmp.parse(wire) == igmp.MembershipQuery(3, 100, GROUP4, True, 2, 0x9F, (A, B))
        query = igmp.parse(wire)
        assert isinstance(query, igmp.MembershipQuery)
        assert query.query_interval == 0x1F << 4

    @pytest.mark.parametrize("length", [9, 10, 11])
    def test_a_query_between_the_versions_is_ignored(self, length: int) -> None:
        assert igmp_reason(with_checksum((b"\x11" + bytes(20))[:length])) is DropReason.IGMP_MALFORMED

    @pytest.mark.parametrize("length", [0, 7])
    def test_less_than_a_header_is_malformed(self, length: int) -> None:
        assert igmp_reason(bytes(length)) is DropReason.IGMP_MALFORMED

    def test_a_wrong_checksum_is_noticed(self) -> None:
        data = bytearray(igmp.build(igmp.LeaveGroup(GROUP4)))
        data[7] ^= 1
        assert igmp_reason(bytes(data)) is DropReason.IGMP_CHECKSUM

    @pytest.mark.parametrize("message_type", [0, 0x13, 0x14, 0x30, 0xFF])
    def test_another_type_is_unknown(self, message_type: int) -> None:
        assert igmp_reason(with_checksum(bytes((message_type,)) + bytes(7))) is DropReason.IGMP_UNKNOWN_TYPE

    def test_more_sources_or_records_than_there_are_is_malformed(self) -> None:
        query = igmp.build(igmp.MembershipQuery(3, 1, GROUP4, sources=(A, B)))
        assert igmp_reason(with_checksum(query[:-1])) is DropReason.IGMP_MALFORMED
        record = GroupRecord(RecordType.MODE_IS_INCLUDE, GROUP4, (A,), b"aux!")
        report = igmp.build(igmp.MembershipReportV3((record, record)))
        for end in range(8, len(report)):
            assert igmp_reason(with_checksum(report[:end])) is DropReason.IGMP_MALFORMED

    def test_bytes_after_what_is_described_are_let_be(self) -> None:
        for message in (igmp.MembershipReport(2, GROUP4), igmp.MembershipReportV3((GroupRecord(4, GROUP4),))):
            assert igmp.parse(with_checksum(igmp.build(message) + b"more")) == message


class TestMld:
    @given(IPV6_ADDRESS, IPV6_ADDRESS, MLD_MESSAGES)
    def test_parsing_gives_back_what_was_built(self, source: bytes, destination: bytes, built: mld.MldMessage) -> None:
        data = mld.build(source, destination, built)
        assert mld.parse(icmpv6.parse(memoryview(data), source, destination)) == built

    def test_the_response_delay_is_read_by_the_version(self) -> None:
        first = mld.parse(mld_message(Icmpv6Type.MULTICAST_LISTENER_QUERY, GROUP6, b"\x8f\xff\x00\x00"))
        second = mld.parse(mld_message(Icmpv6Type.MULTICAST_LISTENER_QUERY, GROUP6 + b"\x0a\x8f\0\0", b"\x8f\xff\0\0"))
        assert isinstance(first, mld.ListenerQuery)
        assert isinstance(second, mld.ListenerQuery)
        assert (first.version, first.max_response_time) == (1, 0x8FFF)
        assert (second.version, second.max_response_time) == (2, 0x1FFF << 3)
        assert (second.suppress, second.robustness, second.query_interval) == (True, 2, 248)

    @pytest.mark.parametrize("length", [17, 18, 19])
    def test_a_query_between_the_versions_is_malformed(self, length: int) -> None:
        message = mld_message(Icmpv6Type.MULTICAST_LISTENER_QUERY, bytes(length))
        assert mld_reason(message) is DropReason.MLD_MALFORMED

    @pytest.mark.parametrize("message_type", [130, 131, 132])
    @pytest.mark.parametrize("length", [0, 15])
    def test_a_cut_address_is_malformed(self, message_type: int, length: int) -> None:
        assert mld_reason(mld_message(message_type, bytes(length))) is DropReason.MLD_MALFORMED

    def test_more_sources_or_records_than_there_are_is_malformed(self) -> None:
        query = mld_message(Icmpv6Type.MULTICAST_LISTENER_QUERY, GROUP6 + b"\0\0\0\x02" + bytes(31))
        assert mld_reason(query) is DropReason.MLD_MALFORMED
        report = mld_message(Icmpv6Type.MULTICAST_LISTENER_REPORT_V2, bytes(20), b"\0\0\xff\xff")
        assert mld_reason(report) is DropReason.MLD_MALFORMED

    @pytest.mark.parametrize("message_type", [1, 128, 135, 255])
    def test_another_type_is_not_of_mld(self, message_type: int) -> None:
        assert mld_reason(mld_message(message_type, b"")) is DropReason.ICMP_UNKNOWN_TYPE

    @given(st.sampled_from((130, 131, 132, 143)), st.binary(min_size=4, max_size=4), PAYLOAD)
    def test_any_body_is_a_message_or_malformed(self, message_type: int, rest: bytes, body: bytes) -> None:
        outcome = outcome_of(mld.parse, mld_message(message_type, body, rest))
        assert not isinstance(outcome, Drop) or outcome.reason is DropReason.MLD_MALFORMED
