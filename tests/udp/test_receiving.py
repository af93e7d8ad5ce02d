"""Datagrams on their way in: checks, the socket that gets them, queues, and what the user's calls give."""

from __future__ import annotations

import errno

import pytest

from tests.support.frames import append_partial
from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stack_host import HOST, PEER, StackHost, all_taken, datagram, packet, taken
from ustack.address import ANY_IPV6, map_ipv4, parse_address
from ustack.burst import Burst
from ustack.config import StackConfig, UdpConfig
from ustack.constants import MSG_DONTWAIT, MSG_PEEK, MSG_TRUNC, SHUT_RD, SHUT_RDWR
from ustack.drops import DropReason
from ustack.endpoint import HANGUP, READ_HANGUP, READABLE, WRITABLE
from ustack.native import lib
from ustack.wire import icmpv4, icmpv6, udp

VERSIONS = pytest.mark.parametrize("version", [4, 6])
PATHS = pytest.mark.parametrize("fast_path", [False, True], ids=["slow", "fast"])
BROADCAST = parse_address("10.9.0.255")
ALL_HOSTS = parse_address("224.0.0.1")
ALL_NODES = parse_address("ff02::1")


@requirement("RFC768", "user-interface")
@requirement("RFC768", "fields/destination-port")
@VERSIONS
@PATHS
def test_datagrams_come_out_whole_in_order_and_with_their_source(version: int, fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(version, port=53)
    payloads = [b"first", b"", bytes(1400), b"last"]
    host.receive(*(datagram(version, payload) for payload in payloads))
    buffer = bytearray(2000)
    for payload in payloads:
        count, source, flags = endpoint.receive_into(memoryview(buffer), 0, host.now)
        assert (bytes(buffer[:count]), source, flags) == (payload, (PEER[version], 9000), 0)
    with raises_errno(errno.EAGAIN):
        endpoint.receive_into(memoryview(buffer), 0, host.now)


@VERSIONS
@PATHS
def test_a_short_buffer_gets_the_start_and_the_rest_is_gone(version: int, fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(version, port=53)
    host.receive(datagram(version, b"0123456789"), datagram(version, b"next"))
    buffer = bytearray(4)
    assert endpoint.receive_into(memoryview(buffer), 0, host.now)[::2] == (4, MSG_TRUNC)
    assert buffer == b"0123"
    assert taken(endpoint) == b"next"


def test_msg_trunc_gives_the_whole_length_and_msg_peek_leaves_the_datagram() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    host.receive(datagram(4, b"0123456789"))
    buffer = bytearray(4)
    source = PEER[4], 9000
    assert endpoint.receive_into(memoryview(buffer), MSG_PEEK | MSG_TRUNC, host.now) == (10, source, MSG_TRUNC)
    assert endpoint.receive_into(memoryview(buffer), MSG_PEEK, host.now) == (4, source, MSG_TRUNC)
    assert endpoint.receive_into(memoryview(bytearray(0)), MSG_PEEK, host.now) == (0, source, MSG_TRUNC)
    assert taken(endpoint, flags=MSG_DONTWAIT) == b"0123456789"


def test_an_empty_buffer_takes_an_empty_datagram_without_truncation() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    host.receive(datagram(4, b""))
    assert endpoint.receive_into(memoryview(bytearray(0)), 0, host.now) == (0, (PEER[4], 9000), 0)


# Checks.


@requirement("RFC1122", "4.1.3.4")
@requirement("RFC768", "fields/checksum")
@VERSIONS
@PATHS
def test_a_wrong_checksum_is_a_drop(version: int, fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(version, port=53)
    host.receive(datagram(version, b"flow is known now"))
    good = datagram(version, b"payload")
    host.receive(good[:-1] + b"x")
    assert host.drops() == {DropReason.UDP_CHECKSUM: 1}
    assert all_taken(endpoint) == [b"flow is known now"]


@requirement("RFC8200", "8.1")
@requirement("RFC768", "fields/checksum-zero")
@PATHS
def test_over_ipv4_no_checksum_is_fine_and_over_ipv6_it_is_a_drop(fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    ipv4, ipv6 = host.udp(4, port=53), host.udp(6, port=53, ipv6_only=True)
    for version in (4, 6):
        host.receive(datagram(version, b"with"), datagram(version, b"without", checksum=False))
    assert all_taken(ipv4) == [b"with", b"without"]
    assert all_taken(ipv6) == [b"with"]
    assert host.drops() == {DropReason.UDP_NO_CHECKSUM: 1}


@requirement("RFC768", "fields/length")
@VERSIONS
@pytest.mark.parametrize("length", [0, 7, 21, 65535])
def test_a_length_that_does_not_fit_is_a_drop(version: int, length: int) -> None:
    host = StackHost()
    host.udp(version, port=53)
    header = udp.build(PEER[version], HOST[version], 9000, 53, b"payload")
    bad = header[:4] + length.to_bytes(2, "big") + header[6:] + b"payload"
    host.receive(packet(version, bad, 17))
    assert host.drops() == {DropReason.UDP_LENGTH: 1}
    assert host.sent() == []


@VERSIONS
def test_a_header_that_is_cut_is_a_drop(version: int) -> None:
    host = StackHost()
    host.udp(version, port=53)
    for size in range(8):
        host.receive(packet(version, bytes(size), 17))
    assert host.drops() == {DropReason.TRUNCATED: 8}


@requirement("RFC768", "fields/length")
@VERSIONS
def test_bytes_beyond_the_udp_length_are_not_data(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version, port=53)
    header = udp.build(PEER[version], HOST[version], 9000, 53, b"payload")
    host.receive(packet(version, header + b"payload" + b"padding", 17))
    assert taken(endpoint) == b"payload"


def test_a_checksum_that_the_device_vouches_for_is_not_looked_at() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    burst = Burst()
    append_partial(burst, datagram(4, b"partial checksum"))
    host.receive_burst(burst)
    assert taken(endpoint) == b"partial checksum"


# Who gets it.


@requirement("RFC1122", "4.1.3.1")
@requirement("RFC1122", "3.2.2.1")
@requirement("RFC768", "fields/destination-port")
@VERSIONS
def test_nobody_at_the_port_is_a_port_unreachable_and_a_drop(version: int) -> None:
    host = StackHost()
    host.udp(version, port=53)
    received = datagram(version, b"for nobody", port=54)
    host.receive(received)
    assert host.drops() == {DropReason.UDP_NO_PORT: 1}
    answer = host.only()
    if version == 4:
        message = icmpv4.parse(answer[20:])
        assert (message.type, message.code) == (3, 3)
    else:
        message = icmpv6.parse(answer[40:], HOST[6], PEER[6])
        assert (message.type, message.code) == (1, 4)
    assert bytes(message.quoted_packet) == received


@pytest.mark.parametrize("destination", [BROADCAST, ALL_HOSTS, ALL_NODES])
def test_nobody_is_told_that_a_broadcast_or_multicast_found_no_socket(destination: bytes) -> None:
    host = StackHost()
    host.receive(datagram(4 if len(destination) == 4 else 6, b"?", destination=destination))
    assert host.drops() == {DropReason.UDP_NO_PORT: 1}
    assert host.sent() == []


def test_a_broadcast_is_copied_to_every_socket_that_matches() -> None:
    host = StackHost()
    sharing = {"reuse_address": True}
    everybody = [
        host.udp(4, port=53, **sharing),
        host.udp(6, port=53, **sharing),
        host.udp(4, BROADCAST, 53, **sharing),
    ]
    unicast = host.udp(4, HOST[4], 53, **sharing)
    ipv6_only = host.udp(6, port=53, ipv6_only=True, **sharing)
    host.receive(datagram(4, b"to all", destination=BROADCAST))
    assert [all_taken(endpoint) for endpoint in everybody] == [[b"to all"]] * 3
    assert all_taken(unicast) == all_taken(ipv6_only) == []
    assert {endpoint for endpoint, _ in host.events()} == set(everybody)


def test_a_multicast_reaches_a_socket_connected_to_its_source_only_from_there() -> None:
    host = StackHost()
    endpoint = host.udp(4, ALL_HOSTS, 53)
    endpoint.connect(PEER[4], 9000, host.now)
    host.receive(
        datagram(4, b"from the peer", destination=ALL_HOSTS),
        datagram(4, b"from another port", destination=ALL_HOSTS, peer_port=9001),
    )
    assert all_taken(endpoint) == [b"from the peer"]


def test_a_full_queue_among_several_costs_only_its_own_copy() -> None:
    host = StackHost()
    full = host.udp(4, port=53, reuse_address=True, receive_buffer=100)
    roomy = host.udp(4, port=53, reuse_address=True)
    host.receive(datagram(4, bytes(60), destination=BROADCAST), datagram(4, bytes(61), destination=BROADCAST))
    assert [len(payload) for payload in all_taken(full)] == [60]
    assert [len(payload) for payload in all_taken(roomy)] == [60, 61]
    assert host.drops() == {DropReason.UDP_QUEUE_FULL: 1}


def test_when_every_copy_is_refused_each_counts_once() -> None:
    host = StackHost()
    for _ in range(3):
        host.udp(4, port=53, reuse_address=True, receive_buffer=10)
    host.receive(datagram(4, b"1", destination=BROADCAST), datagram(4, b"2", destination=BROADCAST))
    assert host.drops() == {DropReason.UDP_QUEUE_FULL: 3}


def test_a_dual_mode_socket_receives_both_versions() -> None:
    host = StackHost()
    endpoint = host.udp(6, port=53)
    host.receive(datagram(4, b"four"), datagram(6, b"six"))
    buffer = memoryview(bytearray(10))
    assert endpoint.receive_into(buffer, 0, host.now)[1] == (PEER[4], 9000)
    assert endpoint.receive_into(buffer, 0, host.now)[1] == (PEER[6], 9000)


@PATHS
def test_a_connected_socket_hears_only_its_remote_endpoint(fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(port=53)
    endpoint.connect(PEER[4], 9000, host.now)
    other = parse_address("10.9.0.77")
    host.receive(
        datagram(4, b"yes"), datagram(4, b"port", peer_port=1), datagram(4, b"host", source=other), datagram(4, b"yes")
    )
    assert all_taken(endpoint) == [b"yes", b"yes"]
    assert host.drops() == {DropReason.UDP_NO_PORT: 2}


@requirement("RFC768", "fields/source-port")
def test_a_datagram_from_port_zero_arrives_but_cannot_be_answered() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    host.receive(datagram(4, b"no reply port", peer_port=0))
    _, source, _ = endpoint.receive_into(memoryview(bytearray(99)), 0, host.now)
    assert source == (PEER[4], 0)
    with raises_errno(errno.EINVAL):
        endpoint.send(b"reply", 0, source, host.now)
    assert host.sent() == []


def test_a_datagram_to_port_zero_finds_nobody() -> None:
    host = StackHost()
    host.udp(port=53)
    host.receive(datagram(4, b"?", port=0))
    assert host.drops() == {DropReason.UDP_NO_PORT: 1}


# Segmentation offload.


@VERSIONS
@PATHS
def test_a_super_datagram_comes_out_as_the_single_ones(version: int, fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(version, port=53)
    burst = Burst()
    for _ in range(2):
        assert burst.append(datagram(version, b"a" * 1000 + b"b" * 1000 + b"c" * 17))
        frame = burst.cdata.frames[len(burst) - 1]
        frame.flags, frame.gso_type, frame.gso_size = lib.FRAME_DATA_VALID, lib.GSO_UDP_L4, 1000
    host.receive_burst(burst)
    assert all_taken(endpoint) == [b"a" * 1000, b"b" * 1000, b"c" * 17] * 2
    assert host.drops() == {}


def test_of_a_super_datagram_each_part_that_finds_no_room_counts() -> None:
    host = StackHost()
    endpoint = host.udp(port=53, receive_buffer=400)
    burst = Burst()
    assert burst.append(datagram(4, bytes(1000)))
    frame = burst.cdata.frames[0]
    frame.flags, frame.gso_type, frame.gso_size = lib.FRAME_DATA_VALID, lib.GSO_UDP_L4, 100
    host.receive_burst(burst)
    came = len(all_taken(endpoint))
    assert 0 < came < 10
    assert host.drops() == {DropReason.UDP_QUEUE_FULL: 10 - came}


# Queues.


@PATHS
def test_a_full_queue_drops_and_counts_what_comes_then(fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(port=53, receive_buffer=5000)
    host.receive(*(datagram(4, bytes([number]) * 900) for number in range(20)))
    came = all_taken(endpoint)
    assert [payload[0] for payload in came] == list(range(len(came)))
    assert 3 < len(came) < 7
    assert host.drops() == {DropReason.UDP_QUEUE_FULL: 20 - len(came)}
    host.receive(datagram(4, b"room again"))
    assert all_taken(endpoint) == [b"room again"]


@PATHS
def test_empty_datagrams_cannot_fill_memory(fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path, config=StackConfig(udp=UdpConfig(receive_buffer=4096)))
    endpoint = host.udp(port=53)
    for _ in range(10):
        host.receive(*[datagram(4, b"")] * 100)
    assert len(all_taken(endpoint)) < 100
    assert sum(host.drops().values()) > 900


def test_a_larger_buffer_counts_from_then_on_and_the_default_returns() -> None:
    host = StackHost(config=StackConfig(udp=UdpConfig(receive_buffer=1000)))
    endpoint = host.udp(port=53)
    host.receive(datagram(4, bytes(800)), datagram(4, bytes(800)))
    endpoint.options.receive_buffer = 10_000
    endpoint.option_changed("receive_buffer", host.now)
    host.receive(datagram(4, bytes(800)))
    assert len(all_taken(endpoint)) == 2
    endpoint.options.receive_buffer = None
    endpoint.option_changed("receive_buffer", host.now)
    host.receive(datagram(4, bytes(800)), datagram(4, bytes(800)))
    assert len(all_taken(endpoint)) == 1


# Readiness and events.


@PATHS
def test_a_datagram_makes_its_socket_readable_and_says_so(fast_path: bool) -> None:
    host = StackHost(fast_path=fast_path)
    endpoint = host.udp(port=53)
    assert endpoint.readiness() == WRITABLE
    for _ in range(2):
        host.receive(datagram(4, b"x"))
        assert host.events() == [(endpoint, READABLE)]
        assert endpoint.readiness() == READABLE | WRITABLE
        taken(endpoint)
        assert endpoint.readiness() == WRITABLE


def test_a_socket_that_nobody_observes_makes_no_events() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    endpoint.observer = None
    host.receive(datagram(4, b"x"))
    assert host.events() == []
    assert taken(endpoint) == b"x"


def test_after_shutdown_of_receiving_the_queue_is_read_out_and_then_ends() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    endpoint.connect(PEER[4], 9000, host.now)
    host.receive(datagram(4, b"before"))
    endpoint.shutdown(SHUT_RD, host.now)
    host.receive(datagram(4, b"after"))
    assert endpoint.readiness() == READABLE | WRITABLE | READ_HANGUP
    assert [taken(endpoint), taken(endpoint)] == [b"before", b"after"]
    assert endpoint.receive_into(memoryview(bytearray(1)), 0, host.now) == (0, None, 0)
    endpoint.shutdown(SHUT_RDWR, host.now)
    assert endpoint.readiness() == READABLE | WRITABLE | READ_HANGUP | HANGUP


def test_shutdown_needs_a_connection_and_a_direction_but_works_all_the_same() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    with raises_errno(errno.EINVAL):
        endpoint.shutdown(3, host.now)
    with raises_errno(errno.ENOTCONN):
        endpoint.shutdown(SHUT_RD, host.now)
    assert endpoint.readiness() & READ_HANGUP


# Control messages.


def control(version: int, socket_version: int, destination: bytes | None = None) -> list[tuple[int, int, bytes]]:
    host = StackHost()
    endpoint = host.udp(socket_version, port=53, receive_ttl=True, receive_traffic_class=True, receive_packet_info=True)
    limit = {"ttl": 33} if version == 4 else {"hop_limit": 33}
    fields = {"destination": destination} if destination else {}
    host.receive(datagram(version, b"data", traffic_class=0xB8, **limit, **fields))  # type: ignore[arg-type]
    count, source, flags, ancillary = endpoint.receive_message(memoryview(bytearray(9)), 0, host.now)
    assert (count, source, flags) == (4, (PEER[version], 9000), 0)
    assert ancillary == endpoint.ancillary()
    found: list[tuple[int, int, bytes]] = ancillary
    return found


@requirement("RFC1122", "4.1.3.5")
@requirement("RFC1122", "3.4")
@requirement("RFC1122", "3.2.1.6")
@requirement("RFC768", "ip-interface")
def test_an_ipv4_socket_is_told_ttl_tos_and_destination() -> None:
    info = b"\x02\0\0\0" + HOST[4] + HOST[4]
    assert control(4, 4) == [(0, 8, info), (0, 2, b"\x21\0\0\0"), (0, 1, b"\xb8")]


def test_a_broadcasts_packet_info_names_our_own_address_too() -> None:
    info = b"\x02\0\0\0" + HOST[4] + BROADCAST
    assert control(4, 4, BROADCAST)[0] == (0, 8, info)


@requirement("RFC8200", "7")
def test_an_ipv6_socket_is_told_hop_limit_traffic_class_and_destination() -> None:
    info = HOST[6] + b"\x02\0\0\0"
    assert control(6, 6) == [(41, 50, info), (41, 52, b"\x21\0\0\0"), (41, 67, b"\xb8\0\0\0")]


def test_a_dual_mode_socket_is_told_of_ipv4_with_a_mapped_destination() -> None:
    info = map_ipv4(HOST[4]) + b"\x02\0\0\0"
    assert control(4, 6) == [(41, 50, info), (0, 2, b"\x21\0\0\0"), (0, 1, b"\xb8")]


def test_packet_info_of_an_interface_that_is_gone_has_no_own_address() -> None:
    host = StackHost()
    endpoint = host.udp(4, port=53, receive_packet_info=True)
    host.receive(datagram(4, b"x"))
    host.stack.ip.remove_interface(host.tun)
    taken(endpoint)
    assert endpoint.ancillary() == [(0, 8, b"\x02\0\0\0" + bytes(4) + HOST[4])]


def test_without_options_and_without_a_datagram_there_are_no_control_messages() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    assert endpoint.ancillary() == []
    host.receive(datagram(4, b"x"))
    assert endpoint.receive_message(memoryview(bytearray(9)), 0, host.now)[3] == []


@pytest.mark.parametrize("when", ["before", "after"])
def test_close_frees_the_port_and_forgets_what_is_queued(when: str) -> None:
    host = StackHost(fast_path=True)
    endpoint = host.udp(port=53)
    host.receive(datagram(4, b"x"))
    if when == "after":
        taken(endpoint)
    endpoint.close(host.now)
    endpoint.close(host.now)
    host.receive(datagram(4, b"y"))
    assert host.drops() == {DropReason.UDP_NO_PORT: 1}
    assert len(host.stack.flows) == 0
    assert endpoint not in host.stack.udp.endpoints
    assert host.udp(6, ANY_IPV6, 53).local_port == 53
