"""Datagrams on their way out, and the names of sockets: bind, connect, disconnect."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stack_host import HOST, PEER, StackHost, all_taken, datagram
from ustack.address import ANY_IPV4, ANY_IPV6, BROADCAST_IPV4, LOOPBACK_IPV4, LOOPBACK_IPV6, parse_address
from ustack.config import StackConfig
from ustack.constants import MSG_DONTWAIT, MSG_OOB, SHUT_WR
from ustack.endpoint import WRITABLE
from ustack.wire import ipv4, ipv6, udp

VERSIONS = pytest.mark.parametrize("version", [4, 6])
ANY = {4: ANY_IPV4, 6: ANY_IPV6}
LOOPBACK = {4: LOOPBACK_IPV4, 6: LOOPBACK_IPV6}
LARGEST = {4: 65507, 6: 65527}
DIRECTED = parse_address("10.9.0.255")
GROUP = parse_address("239.1.2.3")


def parts(packet: bytes) -> tuple[bytes, int, bytes, int, bytes]:
    """Source address and port, destination address and port, and payload, of a packet whose checksums are right."""
    header = ipv4.parse(packet) if packet[0] >> 4 == 4 else ipv6.parse(packet)
    transport = packet[20:] if packet[0] >> 4 == 4 else packet[40:]
    found = udp.parse(transport)
    udp.verify(transport, header.source, header.destination)
    return header.source, found.source_port, header.destination, found.destination_port, transport[8:]


@requirement("RFC768", "fields/checksum")
@VERSIONS
@pytest.mark.parametrize("payload", [b"", b"x", b"payload", bytes(1400)])
def test_a_datagram_leaves_with_right_addresses_ports_and_checksum(version: int, payload: bytes) -> None:
    host = StackHost()
    endpoint = host.udp(version, port=53)
    assert endpoint.send(payload, 0, (PEER[version], 9000), host.now) == len(payload)
    assert parts(host.only()) == (HOST[version], 53, PEER[version], 9000, payload)


@VERSIONS
def test_any_contiguous_buffer_can_be_sent(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version, port=53)
    for data in (bytearray(b"abcd"), memoryview(b"abcd"), memoryview(b"abcd").cast("I")):
        assert endpoint.send(data, MSG_DONTWAIT, (PEER[version], 9000), host.now) == 4
        assert parts(host.only())[4] == b"abcd"


@requirement("RFC768", "fields/checksum-zero")
@VERSIONS
def test_a_computed_checksum_of_zero_is_sent_as_all_ones(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version, port=53)
    for value in range(65536):
        payload = value.to_bytes(2, "big")
        header = udp.build(HOST[version], PEER[version], 53, 9000, payload)
        if header[6:] == b"\xff\xff":
            break
    endpoint.send(payload, 0, (PEER[version], 9000), host.now)
    assert host.only()[-4:-2] == b"\xff\xff"


@requirement("RFC1122", "4.1.3.4")
@requirement("RFC768", "fields/checksum-zero")
def test_so_no_check_leaves_the_checksum_out_over_ipv4_only() -> None:
    host = StackHost()
    for version in (4, 6):
        endpoint = host.udp(version, no_checksum=True)
        endpoint.send(b"data", 0, (PEER[version], 9000), host.now)
        assert (host.only()[-6:-4] == b"\0\0") == (version == 4)


@requirement("RFC768", "user-interface")
@VERSIONS
def test_the_first_send_binds_an_ephemeral_port_for_good(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    assert (endpoint.local_address, endpoint.local_port) == (None, 0)
    endpoint.send(b"1", 0, (PEER[version], 9000), host.now)
    port = endpoint.local_port
    endpoint.send(b"2", 0, (PEER[version], 9001), host.now)
    assert [parts(packet)[1] for packet in host.sent()] == [port, port]
    assert port >= 1024
    assert endpoint.local_address == ANY[version]
    host.receive(datagram(version, b"reply", port=port))
    assert all_taken(endpoint) == [b"reply"]
    with raises_errno(errno.EINVAL):
        endpoint.bind(ANY[version], 53)


def test_when_no_ephemeral_port_is_left_the_send_says_try_again() -> None:
    host = StackHost(config=StackConfig(ephemeral_ports=(2000, 2001)))
    first, _, third = host.udp(port=2000), host.udp(port=2001), host.udp()
    with raises_errno(errno.EAGAIN):
        third.send(b"x", 0, (PEER[4], 9), host.now)
    with raises_errno(errno.EAGAIN):
        third.connect(PEER[4], 9, host.now)
    with raises_errno(errno.EADDRINUSE):
        third.bind(ANY_IPV4, 0)
    first.close(host.now)
    assert third.send(b"x", 0, (PEER[4], 9), host.now) == 1
    assert third.local_port == 2000


# What is refused.


@VERSIONS
def test_destination_port_zero_is_invalid(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    with raises_errno(errno.EINVAL):
        endpoint.send(b"x", 0, (PEER[version], 0), host.now)
    endpoint.connect(PEER[version], 0, host.now)
    with raises_errno(errno.EINVAL):
        endpoint.send(b"x", 0, None, host.now)
    assert host.sent() == []


@VERSIONS
def test_what_is_longer_than_any_packet_is_too_long(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    for size in (LARGEST[version] + 1, 65536, 1 << 20):
        with raises_errno(errno.EMSGSIZE):
            endpoint.send(bytes(size), 0, (PEER[version], 9), host.now)
    assert host.sent() == []
    assert endpoint.send(bytes(LARGEST[version]), 0, (PEER[version], 9), host.now) == LARGEST[version]
    assert len(host.sent()) > 40


def test_sending_without_a_destination_needs_a_connection() -> None:
    host = StackHost()
    endpoint = host.udp()
    with raises_errno(errno.EDESTADDRREQ):
        endpoint.send(b"x", 0, None, host.now)


def test_there_is_no_urgent_data() -> None:
    host = StackHost()
    with raises_errno(errno.EOPNOTSUPP):
        host.udp().send(b"x", MSG_OOB, (PEER[4], 9), host.now)


@pytest.mark.parametrize("address", [DIRECTED, BROADCAST_IPV4])
def test_broadcast_needs_permission(address: bytes) -> None:
    host = StackHost()
    endpoint = host.udp()
    with raises_errno(errno.EACCES):
        endpoint.send(b"x", 0, (address, 9), host.now)
    with raises_errno(errno.EACCES):
        endpoint.connect(address, 9, host.now)
    assert endpoint.remote_address is None
    endpoint.options.broadcast = True
    endpoint.send(b"x", 0, (address, 9), host.now)
    endpoint.connect(address, 9, host.now)
    endpoint.send(b"x", 0, None, host.now)
    assert [parts(packet)[2] for packet in host.sent()] == [address, address]


def test_the_wrong_ip_version_is_refused_as_linux_does() -> None:
    host = StackHost()
    cases = [
        (host.udp(4), PEER[6], errno.EAFNOSUPPORT),
        (host.udp(6, ipv6_only=True), PEER[4], errno.ENETUNREACH),
        (host.udp(6, HOST[6]), PEER[4], errno.ENETUNREACH),
        (host.udp(6, HOST[4]), PEER[6], errno.EAFNOSUPPORT),
    ]
    for endpoint, destination, number in cases:
        with raises_errno(number):
            endpoint.send(b"x", 0, (destination, 9), host.now)
        with raises_errno(number):
            endpoint.connect(destination, 9, host.now)
    assert host.sent() == []


@VERSIONS
def test_a_destination_without_a_route_is_unreachable(version: int) -> None:
    host = StackHost()
    far = parse_address("192.0.2.1" if version == 4 else "2001:db8::1")
    endpoint = host.udp(version)
    with raises_errno(errno.ENETUNREACH):
        endpoint.send(b"x", 0, (far, 9), host.now)
    with raises_errno(errno.ENETUNREACH):
        endpoint.connect(far, 9, host.now)


def test_after_shutdown_of_sending_the_pipe_is_broken() -> None:
    host = StackHost()
    endpoint = host.udp()
    endpoint.connect(PEER[4], 9, host.now)
    endpoint.shutdown(SHUT_WR, host.now)
    for destination in (None, (PEER[4], 9)):
        with raises_errno(errno.EPIPE):
            endpoint.send(b"x", 0, destination, host.now)


def test_a_failed_send_leaves_nothing_behind_but_the_port() -> None:
    host = StackHost()
    endpoint = host.udp()
    with raises_errno(errno.EINVAL):
        endpoint.send(b"x", 0, (PEER[4], 0), host.now)
    assert endpoint.local_port
    assert endpoint.send(b"x", 0, (PEER[4], 1), host.now) == 1


# Options.


@requirement("RFC8200", "7")
@requirement("RFC1122", "3.2.1.6")
@requirement("RFC768", "ip-interface")
@VERSIONS
def test_options_show_in_the_ip_header(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version, ttl=7, traffic_class=0xB8)
    endpoint.send(b"x", 0, (PEER[version], 9), host.now)
    packet = host.only()
    if version == 4:
        header = ipv4.parse(packet)
        assert (header.ttl, header.traffic_class, header.dont_fragment) == (7, 0xB8, True)
    else:
        header6 = ipv6.parse(packet)
        assert (header6.hop_limit, header6.traffic_class) == (7, 0xB8)
        assert header6.flow_label


def test_ipv6_flow_labels_are_of_the_flow_or_of_the_user() -> None:
    host = StackHost()
    endpoint = host.udp(6, port=53)
    for port in (9, 9, 10):
        endpoint.send(b"x", 0, (PEER[6], port), host.now)
    labels = [ipv6.parse(packet).flow_label for packet in host.sent()]
    assert labels[0] == labels[1] != labels[2]
    endpoint.options.flow_label = 0x12345
    endpoint.send(b"x", 0, (PEER[6], 9), host.now)
    assert ipv6.parse(host.only()).flow_label == 0x12345


def test_without_path_mtu_discovery_packets_may_be_fragmented_on_their_way() -> None:
    host = StackHost()
    host.udp(path_mtu_discovery=False).send(b"x", 0, (PEER[4], 9), host.now)
    assert not ipv4.parse(host.only()).dont_fragment


def test_multicast_goes_one_hop_unless_told_otherwise() -> None:
    host = StackHost()
    endpoint = host.udp(ttl=99)
    endpoint.send(b"x", 0, (GROUP, 9), host.now)
    endpoint.options.multicast_ttl = 5
    endpoint.send(b"x", 0, (GROUP, 9), host.now)
    assert [ipv4.parse(packet).ttl for packet in host.sent()] == [1, 5]
    endpoint.options.multicast_ttl = 0
    assert endpoint.send(b"x", 0, (GROUP, 9), host.now) == 1
    assert host.sent() == []


@requirement("RFC1122", "3.3.3")
@VERSIONS
def test_a_long_datagram_is_fragmented(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.send(bytes(5000), 0, (PEER[version], 9), host.now)
    packets = host.sent()
    assert len(packets) == 4
    assert all(len(packet) <= 1500 for packet in packets)


# A device that takes nothing.


def test_while_the_device_takes_nothing_the_sender_waits_and_is_told_when_it_goes_on() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    with raises_errno(errno.EAGAIN):
        for _ in range(10_000):
            endpoint.send(bytes(1000), 0, (PEER[4], 9), host.now)
    assert not endpoint.readiness() & WRITABLE
    host.stack.udp.resume()
    assert host.events() == []
    host.tun.outgoing.clear()
    assert endpoint.readiness() & WRITABLE
    host.stack.udp.resume()
    assert host.events() == [(endpoint, WRITABLE)]
    assert endpoint.send(b"x", 0, (PEER[4], 9), host.now) == 1


def test_what_never_fits_the_device_is_no_reason_to_wait() -> None:
    host = StackHost()
    host.tun.set_mtu(100)
    endpoint = host.udp()
    with raises_errno(errno.ENOBUFS):
        endpoint.send(bytes(60_000), 0, (PEER[4], 9), host.now)
    assert endpoint.readiness() == WRITABLE


def test_closing_a_sender_that_waits_forgets_it() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    with raises_errno(errno.EAGAIN):
        for _ in range(10_000):
            endpoint.send(bytes(1000), 0, (PEER[4], 9), host.now)
    endpoint.close(host.now)
    host.tun.outgoing.clear()
    host.stack.udp.resume()
    assert host.events() == []


# Names.


@VERSIONS
def test_only_addresses_of_this_host_groups_and_broadcasts_can_be_bound(version: int) -> None:
    host = StackHost()
    strangers = {4: "192.0.2.1", 6: "2001:db8::1"}
    groups = {4: ["224.0.0.251", "255.255.255.255", "10.9.0.255", "127.9.9.9"], 6: ["ff02::fb"]}
    with raises_errno(errno.EADDRNOTAVAIL):
        host.udp(version, parse_address(strangers[version]))
    for text in groups[version]:
        assert host.udp(version, parse_address(text)).local_address == parse_address(text)


def test_an_ipv4_address_cannot_be_bound_by_an_ipv6_only_socket_nor_the_other_way() -> None:
    host = StackHost()
    with raises_errno(errno.EINVAL):
        host.udp(6, HOST[4], ipv6_only=True)
    with raises_errno(errno.EAFNOSUPPORT):
        host.udp(4, HOST[6])
    assert host.udp(6, HOST[4]).local_address == HOST[4]


def test_a_socket_is_bound_once() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    with raises_errno(errno.EINVAL):
        endpoint.bind(HOST[4], 54)
    with raises_errno(errno.EADDRINUSE):
        host.udp(port=53)


def test_sharing_set_after_binding_counts_for_the_next_to_bind() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    endpoint.options.reuse_address = True
    endpoint.option_changed("reuse_address", host.now)
    assert host.udp(port=53, reuse_address=True).local_port == 53


def test_a_group_cannot_be_a_source() -> None:
    host = StackHost()
    endpoint = host.udp(4, parse_address("224.0.0.251"), 53)
    endpoint.send(b"x", 0, (PEER[4], 9), host.now)
    endpoint.connect(PEER[4], 9, host.now)
    endpoint.send(b"x", 0, None, host.now)
    assert [parts(packet)[0] for packet in host.sent()] == [HOST[4], HOST[4]]
    assert endpoint.local_address == parse_address("224.0.0.251")


@VERSIONS
def test_connecting_fixes_both_ends_and_disconnecting_gives_back_what_was_picked(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.connect(PEER[version], 9000, host.now)
    assert (endpoint.remote_address, endpoint.remote_port) == (PEER[version], 9000)
    assert endpoint.local_address == HOST[version]
    assert endpoint.local_port
    endpoint.send(b"x", 0, None, host.now)
    assert parts(host.only())[2:4] == (PEER[version], 9000)
    endpoint.disconnect(host.now)
    assert (endpoint.remote_address, endpoint.remote_port) == (None, 0)
    assert (endpoint.local_address, endpoint.local_port) == (None, 0)
    assert host.stack.ports.is_free(17, ANY[version], 53)
    endpoint.bind(ANY[version], 53)


@pytest.mark.parametrize(
    ("address", "port", "after"),
    [
        (ANY_IPV4, 53, (ANY_IPV4, True)),
        (ANY_IPV4, 0, (None, False)),
        (HOST[4], 53, (HOST[4], True)),
        (HOST[4], 0, (HOST[4], False)),
    ],
)
def test_disconnecting_keeps_what_was_bound(address: bytes, port: int, after: tuple[bytes | None, bool]) -> None:
    host = StackHost()
    endpoint = host.udp(4, address, port)
    endpoint.connect(PEER[4], 9, host.now)
    assert endpoint.local_address == HOST[4]
    endpoint.disconnect(host.now)
    assert (endpoint.local_address, bool(endpoint.local_port)) == after
    if port:
        host.receive(datagram(4, b"from anywhere", peer_port=1234))
        assert all_taken(endpoint) == [b"from anywhere"]


def test_disconnecting_a_fresh_socket_does_nothing() -> None:
    host = StackHost()
    endpoint = host.udp()
    endpoint.disconnect(host.now)
    assert endpoint.local_port == 0


def test_a_disconnected_dual_mode_socket_hears_both_versions_again() -> None:
    host = StackHost()
    endpoint = host.udp(6, port=53)
    endpoint.connect(PEER[4], 9000, host.now)
    assert endpoint.local_address == HOST[4]
    endpoint.disconnect(host.now)
    host.receive(datagram(6, b"six"), datagram(4, b"four"))
    assert all_taken(endpoint) == [b"six", b"four"]


def test_connecting_again_changes_the_remote_endpoint_alone() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    endpoint.connect(PEER[4], 9000, host.now)
    endpoint.connect(PEER[4], 9001, host.now)
    host.receive(datagram(4, b"old", peer_port=9000), datagram(4, b"new", peer_port=9001))
    assert all_taken(endpoint) == [b"new"]
    assert endpoint.local_port == 53


def test_a_connected_socket_may_send_elsewhere() -> None:
    host = StackHost()
    endpoint = host.udp()
    endpoint.connect(PEER[4], 9000, host.now)
    elsewhere = parse_address("10.9.0.77")
    endpoint.send(b"x", 0, (elsewhere, 7), host.now)
    assert parts(host.only())[2:4] == (elsewhere, 7)


@VERSIONS
def test_the_unspecified_destination_is_this_host(version: int) -> None:
    host = StackHost()
    receiver = host.udp(version, port=53)
    sender = host.udp(version)
    sender.send(b"to myself", 0, (ANY[version], 53), host.now)
    assert host.sent() == []
    assert all_taken(receiver) == [b"to myself"]
    sender.connect(ANY[version], 53, host.now)
    assert sender.remote_address == sender.local_address == LOOPBACK[version]
    bound = host.udp(version, HOST[version])
    bound.connect(ANY[version], 53, host.now)
    assert bound.remote_address == HOST[version]


@VERSIONS
def test_sockets_of_one_stack_talk_over_the_loopback(version: int) -> None:
    host = StackHost(fast_path=True)
    first, second = host.udp(version, LOOPBACK[version], 1), host.udp(version, LOOPBACK[version], 2)
    for _ in range(3):
        first.send(b"question", 0, (LOOPBACK[version], 2), host.now)
        assert host.sent() == []
        assert all_taken(second) == [b"question"]
        second.send(b"answer", 0, (LOOPBACK[version], 1), host.now)
        assert host.sent() == []
        assert all_taken(first) == [b"answer"]
