"""IP_HDRINCL and IPV6_HDRINCL: what is filled in, what is left alone, and what is refused."""

from __future__ import annotations

import contextlib
import errno
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stack_host import HOST, PEER, StackHost
from ustack.address import parse_address
from ustack.constants import IPPROTO_RAW
from ustack.raw.header_included import complete_ipv4, complete_ipv6
from ustack.wire import ipv4, ipv6

SPOOFED = parse_address("192.0.2.9")


def header4(**fields: Any) -> bytes:
    """An IPv4 header with zeros where the stack fills in."""
    version, words, total = fields.get("version", 4), fields.get("words", 5), fields.get("total", 0)
    return struct.pack(
        "!BBHHHBBH4s4s",
        version << 4 | words, fields.get("tos", 0), total, fields.get("identification", 0), fields.get("fragment", 0),
        fields.get("ttl", 64), fields.get("protocol", 200), fields.get("checksum", 0),
        fields.get("source", bytes(4)), fields.get("destination", PEER[4]),
    )  # fmt: skip


def header6(**fields: Any) -> bytes:
    return struct.pack(
        "!IHBB16s16s",
        fields.get("version", 6) << 28 | fields.get("label", 0), fields.get("length", 0), 200, 64,
        fields.get("source", bytes(16)), fields.get("destination", PEER[6]),
    )  # fmt: skip


def sent(packet: bytes, version: int = 4) -> bytes:
    host = StackHost()
    endpoint = host.raw(IPPROTO_RAW, version)
    assert endpoint.send(packet, 0, (PEER[version], 0), host.now) == len(packet)
    return host.only()


def test_ipproto_raw_implies_header_included() -> None:
    host = StackHost()
    assert host.raw(IPPROTO_RAW).options.header_included
    assert host.raw(IPPROTO_RAW, 6).options.header_included
    assert not host.raw(200).options.header_included


def test_zero_fields_are_filled_in() -> None:
    packet = sent(header4() + b"payload")
    header = ipv4.parse(packet)
    assert header.total_length == len(packet) == 27
    assert header.source == HOST[4]
    assert header.identification
    assert packet[20:] == b"payload"


@requirement("RFC1122", "3.4")
def test_what_the_user_wrote_stays() -> None:
    fields = {"source": SPOOFED, "identification": 7, "tos": 0x13, "ttl": 0, "protocol": 6, "fragment": 0x8123}
    header = ipv4.parse(sent(header4(**fields) + b"payload"))
    assert (header.source, header.identification, header.traffic_class) == (SPOOFED, 7, 0x13)
    assert (header.ttl, header.protocol, header.fragment_offset) == (0, 6, 0x123 * 8)


def test_checksum_and_total_length_are_always_ours() -> None:
    header = ipv4.parse(sent(header4(total=9, checksum=0x1234) + b"payload"))
    assert header.total_length == 27


def test_options_are_the_users_affair() -> None:
    packet = sent(header4(words=6) + b"\x07\xff\x00\x00" + b"payload")
    assert ipv4.parse(packet).options == b"\x07\xff\x00\x00"


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x45",
        header4()[:19],
        header4(words=4) + b"payload",
        header4(words=0) + b"payload",
        header4(words=7) + b"only 8 b"[:7],
        header4(version=6) + b"payload",
        header4(version=0) + b"payload",
    ],
)
def test_a_malformed_ipv4_header_is_invalid_and_nothing_is_sent(packet: bytes) -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_RAW)
    with raises_errno(errno.EINVAL):
        endpoint.send(packet, 0, (PEER[4], 0), host.now)
    assert host.sent() == []


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x60",
        header6()[:39],
        header6(version=4) + b"payload",
        header6(length=8) + b"payload",
        header6(length=6) + b"payload",
    ],
)
def test_a_malformed_ipv6_header_is_invalid_and_nothing_is_sent(packet: bytes) -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_RAW, 6)
    with raises_errno(errno.EINVAL):
        endpoint.send(packet, 0, (PEER[6], 0), host.now)
    assert host.sent() == []


def test_ipv6_source_and_payload_length_are_filled_in_where_zero() -> None:
    header = ipv6.parse(sent(header6(label=0x12345) + b"payload", 6))
    assert (header.source, header.payload_length, header.flow_label) == (HOST[6], 7, 0x12345)
    other = parse_address("2001:db8::9")
    header = ipv6.parse(sent(header6(source=other, length=7) + b"payload", 6))
    assert (header.source, header.payload_length) == (other, 7)


def test_a_packet_over_the_mtu_is_too_long_and_never_fragmented() -> None:
    host = StackHost()
    for version, header in ((4, header4()), (6, header6())):
        endpoint = host.raw(IPPROTO_RAW, version)
        with raises_errno(errno.EMSGSIZE):
            endpoint.send(header + bytes(1501 - len(header)), 0, (PEER[version], 0), host.now)
        with raises_errno(errno.EMSGSIZE):
            endpoint.send(header + bytes(65536 - len(header)), 0, (PEER[version], 0), host.now)
        assert host.sent() == []
        endpoint.send(header + bytes(1500 - len(header)), 0, (PEER[version], 0), host.now)
        assert len(host.only()) == 1500


def test_any_protocols_socket_may_include_the_header_and_ipproto_raw_may_leave_it_out() -> None:
    host = StackHost()
    endpoint = host.raw(200, header_included=True)
    endpoint.send(header4(protocol=201) + b"payload", 0, (PEER[4], 0), host.now)
    assert ipv4.parse(host.only()).protocol == 201
    plain = host.raw(IPPROTO_RAW, 6, header_included=False)
    plain.send(b"payload", 0, (PEER[6], 77), host.now)
    assert ipv6.parse(host.only()).next_header == 77


def test_a_header_can_be_sent_on_a_connected_socket() -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_RAW)
    with raises_errno(errno.EDESTADDRREQ):
        endpoint.send(header4(), 0, None, host.now)
    endpoint.connect(PEER[4], 0, host.now)
    endpoint.send(header4(), 0, None, host.now)
    assert len(host.only()) == 20


@given(st.binary(max_size=100))
def test_whatever_is_not_refused_can_be_parsed(data: bytes) -> None:
    for complete, parse in (
        (lambda: complete_ipv4(data, HOST[4], lambda *_: 1), ipv4.parse),
        (lambda: complete_ipv6(data, HOST[6]), ipv6.parse),
    ):
        with contextlib.suppress(OSError):
            packet = complete()
            parse(packet)
            assert len(packet) == len(data)


@given(st.binary(max_size=60), st.integers(5, 15))
def test_a_completed_header_is_complete_again_unchanged(payload: bytes, words: int) -> None:
    packet = header4(words=words) + bytes(4 * words - 20) + payload
    once = complete_ipv4(packet, HOST[4], lambda *_: 0x1234)
    assert complete_ipv4(once, HOST[4], lambda *_: 0x4321) == once
