"""The way down: headers, fragmentation, DF, identification, loopback and a full burst."""

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.ip_host import HOST, HOST4, HOST6, PEER, PEER4, PEER6, Host, ipv4_packet, ipv6_packet
from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.scapy_oracle import inet, inet6
from ustack.address import parse_address
from ustack.ip.fragment import copied_options
from ustack.native import lib
from ustack.wire import ipv4, ipv6, ipv6_ext

VERSIONS = pytest.mark.parametrize("version", [4, 6])


def send(host: Host, payload: bytes, version: int = 4, protocol: int = 17, **fields: object) -> list[bytes]:
    host.layer.send(HOST[version], PEER[version], protocol, payload, host.now, **fields)  # type: ignore[arg-type]
    return host.sent()


@given(st.binary(max_size=1480), st.integers(1, 255), st.integers(0, 255), st.integers(0, 255))
def test_an_ipv4_datagram_is_what_scapy_would_send(payload: bytes, ttl: int, traffic_class: int, protocol: int) -> None:
    packets = send(Host(), payload, 4, protocol, ttl=ttl, traffic_class=traffic_class)
    expected = inet.IP(
        src="10.9.0.2",
        dst="10.9.0.1",
        ttl=ttl,
        tos=traffic_class,
        proto=protocol,
        id=0,
        flags="DF",
        len=20 + len(payload),
    )
    assert packets == [bytes(expected) + payload]


@given(
    st.binary(max_size=1460), st.integers(1, 255), st.integers(0, 255), st.integers(0, 0xFFFFF), st.integers(61, 134)
)
def test_an_ipv6_datagram_is_what_scapy_would_send(
    payload: bytes, ttl: int, traffic_class: int, flow_label: int, protocol: int
) -> None:
    packets = send(Host(), payload, 6, protocol, ttl=ttl, traffic_class=traffic_class, flow_label=flow_label)
    expected = inet6.IPv6(src="fd00::2", dst="fd00::1", hlim=ttl, tc=traffic_class, fl=flow_label, nh=protocol)
    expected.plen = len(payload)
    assert packets == [bytes(expected) + payload]


@requirement("RFC1122", "3.2.1.7")
@requirement("RFC791", "3.1/ttl")
@VERSIONS
def test_the_time_to_live_is_the_configured_one_unless_it_is_given(version: int) -> None:
    host = Host(ttl=99)
    place = 8 if version == 4 else 7
    assert send(host, b"x", version)[0][place] == 99
    assert send(host, b"x", version, ttl=1)[0][place] == 1


@VERSIONS
def test_a_datagram_of_exactly_the_mtu_is_not_cut(version: int) -> None:
    room = 1480 if version == 4 else 1460
    assert [len(packet) for packet in send(Host(), bytes(room), version)] == [1500]
    assert len(send(Host(), bytes(room + 1), version)) == 2


@requirement("RFC791", "3.1/flags")
@VERSIONS
def test_a_datagram_that_must_not_be_cut_is_refused_when_it_is_too_long(version: int) -> None:
    host, room = Host(), 1480 if version == 4 else 1460
    assert len(send(host, bytes(room), version, dont_fragment=True)) == 1
    with raises_errno(errno.EMSGSIZE):
        send(host, bytes(room + 1), version, dont_fragment=True)
    host.layer.path_mtu.learn(PEER[version], 1400, host.now)
    with raises_errno(errno.EMSGSIZE):
        send(host, bytes(room), version, dont_fragment=True)
    assert host.sent() == []


def test_df_is_set_where_the_path_is_to_be_discovered_and_not_on_fragments() -> None:
    """RFC 1191 §3, and Linux's IP_PMTUDISC_ DO, WANT and DONT."""
    host = Host()
    assert ipv4.parse(send(host, b"x", dont_fragment=True)[0]).dont_fragment
    assert ipv4.parse(send(host, b"x")[0]).dont_fragment
    assert not ipv4.parse(send(host, b"x", discover_path_mtu=False)[0]).dont_fragment
    assert not any(ipv4.parse(packet).dont_fragment for packet in send(host, bytes(3000)))


def test_an_atomic_datagram_has_identification_zero_and_any_other_a_fresh_one() -> None:
    """RFC 6864 §4.1, §4.3."""
    host = Host()
    assert [ipv4.parse(send(host, b"x")[0]).identification for _ in range(3)] == [0, 0, 0]
    others = [ipv4.parse(send(host, b"x", discover_path_mtu=False)[0]).identification for _ in range(100)]
    fragmented = [{ipv4.parse(packet).identification for packet in send(host, bytes(3000))} for _ in range(100)]
    assert all(len(each) == 1 for each in fragmented), "fragments of one datagram share it"
    assert len({*others, *(min(each) for each in fragmented)}) == 200


@requirement("RFC8200", "4.5/sending")
def test_every_fragmented_ipv6_datagram_has_its_own_identification() -> None:
    host = Host()
    seen = []
    for _ in range(100):
        chains = [ipv6_ext.walk(packet, packet[6]) for packet in send(host, bytes(3000), 6)]
        assert len({chain.fragment.identification for chain in chains if chain.fragment}) == 1
        assert chains[0].fragment is not None
        seen.append(chains[0].fragment.identification)
    assert len(set(seen)) == 100
    assert host.layer.statistics.datagrams_fragmented == 100


@requirement("RFC791", "3.2/fragmentation")
def test_the_first_fragment_has_all_options_and_the_others_the_copied_ones() -> None:
    """RFC 791 §3.1: bit 7 of the type."""
    options = bytes((7, 7, 4, 0, 0, 0, 0)) + bytes((148, 4, 0, 0)) + b"\x01"
    packets = send(Host(), bytes(range(256)) * 12, options=options)
    headers = [ipv4.parse(packet) for packet in packets]
    assert headers[0].options == options
    assert {header.options for header in headers[1:]} == {bytes((148, 4, 0, 0))}
    assert all(len(packet) <= 1500 for packet in packets)
    peer = Host()
    own = parse_address("10.9.0.1")
    peer.layer.remove_address(peer.tun, next(each for each in peer.tun.addresses if each.address == HOST4))
    peer.layer.add_address(peer.tun, peer.tun.addresses[0].parse("10.9.0.1/24"))
    results = [peer.receive(packet) for packet in packets]
    assert results[-1] is not None
    assert (results[-1].destination, bytes(results[-1].payload)) == (own, bytes(range(256)) * 12)
    assert results[-1].options == options


@requirement("RFC791", "3.1/padding")
def test_options_that_need_padding_get_it_in_every_fragment() -> None:
    assert copied_options(bytes((130, 5, 1, 2, 3, 7, 3, 4))) == bytes((130, 5, 1, 2, 3))
    packets = send(Host(), bytes(3000), options=bytes((130, 5, 1, 2, 3)))
    assert {ipv4.parse(packet).options for packet in packets} == {bytes((130, 5, 1, 2, 3, 0, 0, 0))}


def test_ipv4_options_are_refused_for_ipv6() -> None:
    with raises_errno(errno.EINVAL):
        send(Host(), b"x", 6, options=b"\x01")


@requirement("RFC791", "3.1/total-length")
@VERSIONS
def test_the_longest_datagram_can_be_sent_and_no_longer_one(version: int) -> None:
    host = Host()
    longest = 65515 if version == 4 else 65535
    packets = send(host, bytes(longest), version)
    assert sum(len(packet) - (20 if version == 4 else 48) for packet in packets) == longest
    for dont_fragment in (False, True):
        with raises_errno(errno.EMSGSIZE):
            send(host, bytes(longest + 1), version, dont_fragment=dont_fragment)


@pytest.mark.parametrize("mtu", [68, 69, 75, 76, 296])
def test_the_smallest_mtu_of_ipv4_will_do_even_with_all_options(mtu: int) -> None:
    host = Host()
    low = host.add("low", mtu, "192.168.7.1/24")
    options = bytes((0x82, 40)) + bytes(38)
    host.layer.send(
        parse_address("192.168.7.1"), parse_address("192.168.7.2"), 17, bytes(range(100)), 0, options=options
    )
    packets = host.sent(low)
    assert max(map(len, packets)) <= mtu
    whole = inet.defragment([inet.IP(packet) for packet in packets])
    assert bytes(whole[0].payload) == bytes(range(100))


@VERSIONS
def test_a_datagram_is_put_into_the_burst_with_all_its_fragments_or_not_at_all(version: int) -> None:
    host = Host()
    payload = bytes(60_000)
    sent = 0
    with raises_errno(errno.ENOBUFS):
        while True:
            host.layer.send(HOST[version], PEER[version], 17, payload, host.now)
            sent += 1
    fragments = 41 if version == 4 else 42
    assert sent == lib.BURST_FRAMES // fragments
    assert len(host.tun.outgoing) == sent * fragments
    assert host.layer.statistics.datagrams_refused == 1
    host.tun.outgoing.clear()
    host.layer.send(HOST[version], PEER[version], 17, payload, host.now)


@VERSIONS
def test_a_single_packet_that_does_not_fit_the_burst_is_refused(version: int) -> None:
    host = Host()
    while host.tun.outgoing.append(bytes(100)):
        pass
    with raises_errno(errno.ENOBUFS):
        host.layer.send(HOST[version], PEER[version], 17, b"x", host.now)
    assert host.layer.statistics.datagrams_refused == 1


def test_a_full_arena_refuses_fragments_before_the_last_frame_is_taken() -> None:
    host = Host(mtu=65535)
    for _ in range(15):
        host.layer.send(HOST4, PEER4, 17, bytes(65000), host.now)
    host.layer.send(HOST4, PEER4, 17, bytes(20000), host.now)
    host.tun.set_mtu(30000)
    with raises_errno(errno.ENOBUFS):
        host.layer.send(HOST4, PEER4, 17, bytes(65515), host.now)
    assert len(host.tun.outgoing) == 16


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "10.9.0.2", "::1", "fd00::2"])
def test_what_is_sent_to_a_local_address_comes_back_by_the_loopback_interface(address: str) -> None:
    host = Host()
    local = parse_address(address)
    host.layer.send(host.layer.select_source(local), local, 17, bytes(30_000), host.now)
    assert host.sent() == []
    packet = host.whole(host.only(host.layer.loopback), host.layer.loopback)
    assert (packet.destination, len(packet.payload), packet.unicast) == (local, 30_000, True)


def test_the_longest_ipv6_datagram_passes_loopback_in_fragments() -> None:
    host = Host()
    host.layer.send(HOST6, HOST6, 17, bytes(65535), host.now)
    results = [host.receive(packet, host.layer.loopback) for packet in host.sent(host.layer.loopback)]
    assert [result is None for result in results] == [True, False]
    assert results[-1] is not None
    assert len(results[-1].payload) == 65535


@pytest.mark.parametrize("address", ["255.255.255.255", "10.9.0.255"])
def test_a_broadcast_is_heard_by_the_host_itself(address: str) -> None:
    """RFC 1122 §3.3.6, as Linux does."""
    host = Host()
    host.layer.send(HOST4, parse_address(address), 17, b"all", host.now)
    outside, inside = host.only(), host.only(host.layer.loopback)
    assert outside == inside
    assert not host.whole(inside, host.layer.loopback).unicast


def test_a_broadcast_leaves_even_if_the_loopback_interface_is_full() -> None:
    host = Host()
    while host.layer.loopback.outgoing.append(bytes(100)):
        pass
    host.layer.send(HOST4, b"\xff" * 4, 17, b"all", host.now)
    assert len(host.sent()) == 1


@VERSIONS
def test_a_finished_packet_is_sent_as_it_is(version: int) -> None:
    host = Host()
    if version == 4:
        packet = ipv4_packet(b"raw", 99, source=parse_address("1.2.3.4"), destination=PEER4, identification=77, ttl=3)
    else:
        packet = ipv6_packet(b"raw", 99, source=parse_address("2001:db8::5"), destination=PEER6, flow_label=77)
    host.layer.send_raw(packet, host.now)
    assert host.only() == packet


@VERSIONS
def test_a_finished_packet_to_a_local_address_goes_by_loopback(version: int) -> None:
    host = Host()
    packet = (ipv4_packet if version == 4 else ipv6_packet)(b"raw", 99)
    host.layer.send_raw(packet, host.now)
    assert host.only(host.layer.loopback) == packet


@pytest.mark.parametrize(
    "packet",
    [
        b"", b"\x45", bytes(20), bytes(60), ipv4_packet()[:-1], b"\x60" + bytes(38), ipv6_packet()[:-1],
        ipv4_packet()[:8] + b"\x01" + ipv4_packet()[9:], b"\x51" + ipv4_packet()[1:], b"\x46" + ipv4_packet()[1:],
    ],
)  # fmt: skip
def test_a_malformed_finished_packet_is_einval_and_nothing_is_sent(packet: bytes) -> None:
    host = Host()
    with raises_errno(errno.EINVAL):
        host.layer.send_raw(packet, host.now)
    assert host.sent() == []
    assert host.sent(host.layer.loopback) == []


@VERSIONS
def test_a_finished_packet_is_never_cut(version: int) -> None:
    host = Host()
    build = ipv4_packet if version == 4 else ipv6_packet
    with raises_errno(errno.EMSGSIZE):
        host.layer.send_raw(build(bytes(1481 if version == 4 else 1461), destination=PEER[version]), host.now)
    with raises_errno(errno.ENETUNREACH):
        stranger = parse_address("8.8.8.8" if version == 4 else "2001:db8::1")
        host.layer.send_raw(build(b"x", destination=stranger), host.now)


@VERSIONS
def test_any_contiguous_buffer_is_a_payload(version: int) -> None:
    head = 20 if version == 4 else 40
    for payload in (b"bytes", bytearray(b"bytes"), memoryview(b"..bytes")[2:]):
        host = Host()
        host.layer.send(HOST[version], PEER[version], 17, payload, host.now)
        assert host.only()[head:] == b"bytes"


def test_an_ipv6_payload_length_is_what_was_sent() -> None:
    packets = send(Host(), bytes(4000), 6)
    assert [ipv6.parse(packet).payload_length + 40 for packet in packets] == [len(packet) for packet in packets]
