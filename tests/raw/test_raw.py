"""Raw sockets: what they receive, what they send, and what they are told."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stack_host import (
    HOST,
    PEER,
    StackHost,
    all_taken,
    datagram,
    icmp_error_about,
    packet,
    port_unreachable,
    taken,
    too_big,
)
from ustack.address import ANY_IPV4, LOOPBACK_IPV4, LOOPBACK_IPV6, parse_address
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_RAW, IPPROTO_UDP, MSG_ERRQUEUE, MSG_OOB, MSG_TRUNC
from ustack.drops import DropReason
from ustack.endpoint import READABLE, WRITABLE
from ustack.wire import icmpv4, icmpv6, ipv4, ipv6
from ustack.wire.checksum import SUM_OF_VALID_DATA, pseudo_header_sum, sum_words

VERSIONS = pytest.mark.parametrize("version", [4, 6])
STRANGER = {4: parse_address("10.9.0.77"), 6: parse_address("fd00::77")}
BROADCAST = parse_address("10.9.0.255")
PROTOCOL = 200


def echo_request(version: int, body: bytes = b"ping") -> bytes:
    if version == 4:
        return packet(4, icmpv4.build(8, 0, b"\0\1\0\2", body), IPPROTO_ICMP)
    return packet(6, icmpv6.build(PEER[6], HOST[6], 128, 0, b"\0\1\0\2", body), IPPROTO_ICMPV6)


# Receiving.


def test_ipv4_sockets_receive_the_ip_header_and_ipv6_sockets_do_not() -> None:
    host = StackHost()
    ipv4_socket, ipv6_socket = host.raw(PROTOCOL), host.raw(PROTOCOL, 6)
    packets = {version: packet(version, b"payload", PROTOCOL) for version in (4, 6)}
    host.receive(packets[4], packets[6])
    buffer = bytearray(100)
    count, source, flags = ipv4_socket.receive_into(memoryview(buffer), 0, host.now)
    assert (bytes(buffer[:count]), source, flags) == (packets[4], (PEER[4], 0), 0)
    count, source, flags = ipv6_socket.receive_into(memoryview(buffer), 0, host.now)
    assert (bytes(buffer[:count]), source, flags) == (b"payload", (PEER[6], 0), 0)


@requirement("RFC791", "3.1/protocol")
@VERSIONS
def test_only_packets_of_the_protocol_come(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    other = packet(version, b"payload", PROTOCOL + 1)
    host.receive(other)
    assert all_taken(endpoint) == []
    assert host.drops() == {DropReason.UNKNOWN_PROTOCOL: 1}


@VERSIONS
def test_a_protocol_with_a_raw_socket_is_not_unreachable(version: int) -> None:
    host = StackHost()
    host.raw(PROTOCOL, version)
    host.receive(packet(version, b"payload", PROTOCOL))
    assert host.drops() == {}
    assert host.sent() == []


@VERSIONS
def test_a_socket_whose_filters_refuse_leaves_the_protocol_unreachable(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    endpoint.connect(STRANGER[version], 0, host.now)
    host.receive(packet(version, b"payload", PROTOCOL))
    assert host.drops() == {DropReason.UNKNOWN_PROTOCOL: 1}


@VERSIONS
def test_every_socket_gets_a_copy_and_the_stack_handles_the_packet_too(version: int) -> None:
    host = StackHost()
    protocol = IPPROTO_ICMP if version == 4 else IPPROTO_ICMPV6
    sockets = [host.raw(protocol, version) for _ in range(3)]
    request = echo_request(version)
    host.receive(request)
    for endpoint in sockets:
        assert all_taken(endpoint) == [request if version == 4 else request[40:]]
    reply = host.only()
    assert reply[20 if version == 4 else 40] in (0, 129)


def test_a_raw_udp_socket_sees_what_udp_sockets_get_and_what_nobody_gets() -> None:
    host = StackHost(fast_path=True)
    endpoint, receiver = host.raw(IPPROTO_UDP), host.udp(port=53)
    packets = [datagram(4, b"1"), datagram(4, b"2"), datagram(4, b"3", port=54)]
    host.receive(*packets)
    assert all_taken(endpoint) == packets
    assert all_taken(receiver) == [b"1", b"2"]


def test_opening_a_raw_socket_ends_what_the_fast_path_would_hide_from_it() -> None:
    host = StackHost(fast_path=True)
    receiver = host.udp(port=53)
    host.receive(datagram(4, b"1"), datagram(4, b"2"))
    endpoint = host.raw(IPPROTO_UDP)
    host.receive(datagram(4, b"3"))
    assert all_taken(endpoint) == [datagram(4, b"3")]
    assert all_taken(receiver) == [b"1", b"2", b"3"]


def test_broadcasts_are_received_too() -> None:
    host = StackHost()
    endpoint, bound = host.raw(PROTOCOL), host.raw(PROTOCOL)
    bound.bind(HOST[4], 0)
    host.receive(packet(4, b"x", PROTOCOL, destination=BROADCAST))
    assert len(all_taken(endpoint)) == 1
    assert all_taken(bound) == []


@VERSIONS
def test_binding_and_connecting_filter_by_address(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    endpoint.bind(HOST[version], 7)
    assert endpoint.local_port == PROTOCOL
    host.receive(packet(version, b"1", PROTOCOL))
    endpoint.connect(PEER[version], 9, host.now)
    host.receive(packet(version, b"2", PROTOCOL), packet(version, b"3", PROTOCOL, source=STRANGER[version]))
    endpoint.disconnect(host.now)
    host.receive(packet(version, b"4", PROTOCOL, source=STRANGER[version]))
    assert [payload[-1:] for payload in all_taken(endpoint)] == [b"1", b"2", b"4"]
    assert (endpoint.local_address, endpoint.remote_address) == (HOST[version], None)


@VERSIONS
def test_connecting_picks_the_local_address_and_disconnecting_gives_it_back(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    endpoint.connect(PEER[version], 9, host.now)
    assert (endpoint.local_address, endpoint.remote_address, endpoint.remote_port) == (HOST[version], PEER[version], 9)
    with raises_errno(errno.EINVAL):
        endpoint.bind(HOST[version], 0)
    endpoint.disconnect(host.now)
    assert endpoint.local_address is None
    endpoint.bind(HOST[version], 0)
    endpoint.bind(bytes(len(HOST[version])), 0)
    assert endpoint.local_address is None


@VERSIONS
def test_only_local_addresses_groups_and_broadcasts_can_be_bound(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    with raises_errno(errno.EADDRNOTAVAIL):
        endpoint.bind(STRANGER[version], 0)
    with raises_errno(errno.EADDRNOTAVAIL if version == 6 else errno.EAFNOSUPPORT):
        endpoint.bind(HOST[10 - version], 0)
    endpoint.bind(parse_address("224.0.0.1" if version == 4 else "ff02::1"), 0)
    endpoint.send(b"from a unicast address", 0, (PEER[version], 0), host.now)
    assert HOST[version] in host.only()[:40]


def test_an_ipproto_raw_socket_receives_nothing() -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_RAW)
    host.receive(packet(4, b"x", IPPROTO_RAW), packet(4, b"x", PROTOCOL))
    assert all_taken(endpoint) == []
    assert host.drops() == {DropReason.UNKNOWN_PROTOCOL: 2}


@VERSIONS
def test_a_full_queue_costs_its_own_socket_a_counted_drop(version: int) -> None:
    host = StackHost()
    full, roomy = host.raw(PROTOCOL, version, receive_buffer=200), host.raw(PROTOCOL, version)
    host.receive(*[packet(version, bytes(100), PROTOCOL)] * 5)
    assert len(all_taken(full)) == 1
    assert len(all_taken(roomy)) == 5
    assert host.drops() == {DropReason.RAW_QUEUE_FULL: 4}


def test_a_reassembled_packet_comes_as_one() -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL)
    whole = bytes(range(200)) * 8
    for offset in (0, 800):
        part = whole[offset : offset + 800]
        host.receive(packet(4, part, PROTOCOL, identification=7, fragment_offset=offset, more_fragments=offset == 0))
    (received,) = all_taken(endpoint)
    assert received[20:] == whole
    assert ipv4.parse(received).total_length == 1620


def test_events_readiness_truncation_and_close() -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL)
    assert endpoint.readiness() == WRITABLE
    host.receive(packet(4, b"payload", PROTOCOL))
    assert host.events() == [(endpoint, READABLE)]
    buffer = memoryview(bytearray(5))
    assert endpoint.receive_into(buffer, MSG_TRUNC, host.now) == (27, (PEER[4], 0), MSG_TRUNC)
    endpoint.close(host.now)
    endpoint.close(host.now)
    host.receive(packet(4, b"payload", PROTOCOL))
    assert host.drops() == {DropReason.UNKNOWN_PROTOCOL: 1}
    assert not host.stack.raw.endpoints


# Filters and checksums.


def messages(version: int, *kinds: int) -> list[bytes]:
    if version == 4:
        return [packet(4, icmpv4.build(kind, 0, bytes(4), b"body"), IPPROTO_ICMP) for kind in kinds]
    return [packet(6, icmpv6.build(PEER[6], HOST[6], kind, 0, bytes(4), b"body"), IPPROTO_ICMPV6) for kind in kinds]


def test_icmp_filter_blocks_the_types_whose_bits_are_set() -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_ICMP, icmp_filter=1 << 8 | 1 << 13)
    host.receive(*messages(4, 0, 8, 13, 14, 40), packet(4, b"", IPPROTO_ICMP))
    assert [received[20] for received in all_taken(endpoint)] == [0, 14, 40]


def test_icmpv6_filter_blocks_the_types_whose_bits_are_set() -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_ICMPV6, 6, icmpv6_filter=1 << 128 | 1 << 255 | 1)
    host.receive(*messages(6, 128, 129, 255, 200))
    assert [received[0] for received in all_taken(endpoint)] == [129, 200]


def test_filters_are_for_sockets_of_icmp_alone() -> None:
    host = StackHost()
    for name, endpoint in [
        ("icmp_filter", host.raw(PROTOCOL)),
        ("icmp_filter", host.raw(IPPROTO_ICMP, 6)),
        ("icmpv6_filter", host.raw(IPPROTO_ICMP)),
        ("icmpv6_filter", host.raw(PROTOCOL, 6)),
    ]:
        with raises_errno(errno.EOPNOTSUPP):
            endpoint.option_changed(name, host.now)


def test_icmpv6_gets_its_checksum_and_a_wrong_one_is_not_delivered() -> None:
    host = StackHost()
    endpoint = host.raw(IPPROTO_ICMPV6, 6)
    endpoint.send(b"\x80\0\xff\xff\0\1\0\2body", 0, (PEER[6], 0), host.now)
    sent = host.only()
    icmpv6.parse(sent[40:], HOST[6], PEER[6])
    good = echo_request(6)
    host.receive(good[:-1] + b"x", good)
    assert all_taken(endpoint) == [good[40:]]
    assert host.drops() == {DropReason.RAW_CHECKSUM: 1, DropReason.ICMP_CHECKSUM: 1}


def test_ipv6_checksum_is_computed_and_checked_at_its_offset() -> None:
    host = StackHost()
    checking, careless = host.raw(PROTOCOL, 6, checksum_offset=4), host.raw(PROTOCOL, 6)
    checking.send(b"abcd\0\0efg", 0, (PEER[6], 0), host.now)
    payload = host.only()[40:]
    assert (payload[:4], payload[6:]) == (b"abcd", b"efg")
    pseudo = pseudo_header_sum(HOST[6], PEER[6], PROTOCOL, len(payload))
    assert sum_words(payload, pseudo) == SUM_OF_VALID_DATA
    host.receive(packet(6, payload, PROTOCOL), packet(6, payload[:-1] + b"x", PROTOCOL))
    assert all_taken(checking) == [payload]
    assert len(all_taken(careless)) == 2
    for short in (b"", b"abcd", b"abcde"):
        with raises_errno(errno.EINVAL):
            checking.send(short, 0, (PEER[6], 0), host.now)


@pytest.mark.parametrize(("protocol", "offset"), [(PROTOCOL, 3), (PROTOCOL, -2), (IPPROTO_ICMPV6, 2)])
def test_a_checksum_offset_that_is_odd_negative_or_icmpv6s_is_invalid(protocol: int, offset: int) -> None:
    host = StackHost()
    with raises_errno(errno.EINVAL):
        host.raw(protocol, 6, checksum_offset=offset)


# Sending without a header.


@VERSIONS
def test_the_stack_builds_the_ip_header(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version, ttl=9, traffic_class=0x20)
    assert endpoint.send(bytearray(b"payload"), 0, (PEER[version], 0), host.now) == 7
    sent = host.only()
    if version == 4:
        header = ipv4.parse(sent)
        assert (header.source, header.destination) == (HOST[4], PEER[4])
        assert (header.protocol, header.ttl, header.traffic_class) == (PROTOCOL, 9, 0x20)
    else:
        header6 = ipv6.parse(sent)
        assert (header6.source, header6.destination) == (HOST[6], PEER[6])
        assert (header6.next_header, header6.hop_limit, header6.traffic_class) == (PROTOCOL, 9, 0x20)
    assert sent.endswith(b"payload")


@VERSIONS
def test_a_connected_socket_needs_no_destination_and_others_do(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    with raises_errno(errno.EDESTADDRREQ):
        endpoint.send(b"x", 0, None, host.now)
    endpoint.connect(PEER[version], 0, host.now)
    assert endpoint.send(b"x", 0, None, host.now) == 1


def test_what_cannot_be_sent() -> None:
    host = StackHost()
    ipv4_socket, ipv6_socket = host.raw(PROTOCOL), host.raw(PROTOCOL, 6)
    refused: list[tuple[Any, bytes, int, tuple[bytes, int], int]] = [
        (ipv4_socket, bytes(65516), 0, (PEER[4], 0), errno.EMSGSIZE),
        (ipv4_socket, bytes(70000), 0, (PEER[4], 0), errno.EMSGSIZE),
        (ipv6_socket, bytes(65536), 0, (PEER[6], 0), errno.EMSGSIZE),
        (ipv4_socket, b"x", MSG_OOB, (PEER[4], 0), errno.EOPNOTSUPP),
        (ipv4_socket, b"x", 0, (BROADCAST, 0), errno.EACCES),
        (ipv4_socket, b"x", 0, (PEER[6], 0), errno.EAFNOSUPPORT),
        (ipv6_socket, b"x", 0, (PEER[4], 0), errno.ENETUNREACH),
        (ipv6_socket, b"x", 0, (PEER[6], PROTOCOL + 1), errno.EINVAL),
        (ipv6_socket, b"x", 0, (PEER[6], 300), errno.EINVAL),
        (host.raw(IPPROTO_ICMP), b"x", 0, (PEER[4], 0), errno.EFAULT),
        (host.raw(IPPROTO_ICMPV6, 6), b"", 0, (PEER[6], 0), errno.EFAULT),
    ]
    for endpoint, data, flags, destination, number in refused:
        with raises_errno(number):
            endpoint.send(data, flags, destination, host.now)
    assert host.sent() == []
    assert ipv6_socket.send(b"x", 0, (PEER[6], PROTOCOL), host.now) == 1


@VERSIONS
def test_a_ping_of_the_own_host_comes_back_over_the_loopback(version: int) -> None:
    host = StackHost()
    protocol, address = (IPPROTO_ICMP, LOOPBACK_IPV4) if version == 4 else (IPPROTO_ICMPV6, LOOPBACK_IPV6)
    endpoint = host.raw(protocol, version)
    message = icmpv4.build(8, 0, b"\0\1\0\2", b"ping") if version == 4 else b"\x80\0\0\0\0\1\0\2ping"
    endpoint.send(message, 0, (address, 0), host.now)
    assert host.sent() == []
    kinds = [received[20 if version == 4 else 0] for received in all_taken(endpoint)]
    assert kinds == ([8, 0] if version == 4 else [128, 129])


def test_while_the_device_takes_nothing_a_raw_sender_waits() -> None:
    host = StackHost()
    plain, with_header = host.raw(PROTOCOL), host.raw(IPPROTO_RAW)
    with raises_errno(errno.EAGAIN):
        for _ in range(10_000):
            plain.send(bytes(1000), 0, (PEER[4], 0), host.now)
    with raises_errno(errno.EAGAIN):
        with_header.send(ipv4.build(HOST[4], PEER[4], PROTOCOL, 1000) + bytes(1000), 0, (PEER[4], 0), host.now)
    assert not plain.readiness() & WRITABLE
    host.tun.outgoing.clear()
    host.stack.raw.resume()
    assert host.events() == [(plain, WRITABLE), (with_header, WRITABLE)]


# Errors.


@VERSIONS
def test_a_connected_socket_hears_hard_errors_and_others_none(version: int) -> None:
    host = StackHost()
    connected, unconnected, elsewhere = (host.raw(PROTOCOL, version) for _ in range(3))
    connected.connect(PEER[version], 0, host.now)
    elsewhere.connect(STRANGER[version], 0, host.now)
    connected.send(b"question", 0, None, host.now)
    host.receive(port_unreachable(host.only()))
    with raises_errno(errno.ECONNREFUSED):
        taken(connected)
    assert unconnected.take_error() == elsewhere.take_error() == 0


@VERSIONS
def test_with_receive_errors_the_error_is_kept_with_the_payload(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version, receive_errors=True)
    endpoint.send(b"question", 0, (PEER[version], 0), host.now)
    kind, code = (11, 0) if version == 4 else (3, 0)
    host.receive(icmp_error_about(host.only(), kind, code))
    assert endpoint.take_error() == errno.EHOSTUNREACH
    buffer = bytearray(99)
    count, source, flags, ancillary = endpoint.receive_message(memoryview(buffer), MSG_ERRQUEUE, host.now)
    assert (bytes(buffer[:count]), source, flags) == (b"question", (PEER[version], 0), MSG_ERRQUEUE)
    assert [message[:2] for message in ancillary] == [(0, 11) if version == 4 else (41, 25)]


@VERSIONS
def test_too_big_teaches_the_path_mtu_and_only_ipv4_calls_it_hard(version: int) -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL, version)
    endpoint.connect(PEER[version], 0, host.now)
    endpoint.send(bytes(1400), 0, None, host.now)
    host.receive(too_big(host.only(), 1300))
    assert host.stack.ip.mtu_for(PEER[version], host.now) == 1300
    assert endpoint.take_error() == (errno.EMSGSIZE if version == 4 else 0)


def test_a_raw_udp_socket_does_not_teach_the_path_mtu_of_udp() -> None:
    host = StackHost()
    host.raw(IPPROTO_UDP)
    endpoint = host.udp(port=53)
    endpoint.send(bytes(1400), 0, (PEER[4], 9), host.now)
    sent = host.only()
    endpoint.close(host.now)
    host.receive(too_big(sent, 1300))
    assert host.stack.ip.mtu_for(PEER[4], host.now) == 1500


def test_the_wildcard_is_this_host() -> None:
    host = StackHost()
    endpoint = host.raw(PROTOCOL)
    endpoint.send(b"to myself", 0, (ANY_IPV4, 0), host.now)
    assert host.sent() == []
    assert [received[20:] for received in all_taken(endpoint)] == [b"to myself"]
