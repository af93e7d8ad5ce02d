"""Whatever comes from the device: nothing raises, every discard is counted, and both paths agree."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.stack_host import HOST, PEER, StackHost, all_taken, datagram, packet
from ustack.burst import Burst
from ustack.constants import IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_UDP
from ustack.native import lib
from ustack.wire import icmpv4, icmpv6

VERSIONS = st.sampled_from([4, 6])
PORTS = st.sampled_from([0, 53, 54, 9000, 65535])


@st.composite
def damaged_datagrams(draw: st.DrawFn) -> bytes:
    """A datagram for one of the sockets, with some bytes of its transport changed or cut off."""
    version = draw(VERSIONS)
    whole = datagram(version, draw(st.binary(max_size=40)), draw(PORTS), draw(PORTS))
    start = 20 if version == 4 else 40
    transport = bytearray(whole[start:])
    for index, value in draw(st.lists(st.tuples(st.integers(0, 47), st.integers(0, 255)), max_size=3)):
        if index < len(transport):
            transport[index] = value
    return packet(version, bytes(transport[: draw(st.integers(0, 48))]), IPPROTO_UDP)


@st.composite
def icmp_errors(draw: st.DrawFn) -> bytes:
    """An error that quotes a datagram which one of the sockets might have sent, or some of it, or anything."""
    version = draw(VERSIONS)
    own = datagram(
        version,
        b"data",
        draw(PORTS),
        draw(PORTS),
        source=HOST[version],
        destination=draw(st.sampled_from(PEERS[version])),
    )
    quote = draw(st.one_of(st.just(own), st.integers(0, 48).map(lambda size: own[:size]), st.binary(max_size=60)))
    kind, code, rest = draw(st.integers(0, 20)), draw(st.integers(0, 20)), draw(st.binary(min_size=4, max_size=4))
    if version == 4:
        return packet(4, icmpv4.build(kind, code, rest, quote), IPPROTO_ICMP)
    return packet(6, icmpv6.build(PEER[6], HOST[6], kind, code, rest, quote), IPPROTO_ICMPV6)


PEERS = {version: [PEER[version], HOST[version]] for version in (4, 6)}
PACKETS = st.lists(st.one_of(damaged_datagrams(), icmp_errors()), min_size=1, max_size=8)


def host_with_sockets(fast_path: bool) -> tuple[StackHost, list[object]]:
    host = StackHost(fast_path=fast_path)
    sockets = [
        host.udp(6, port=53, reuse_address=True),
        host.udp(4, HOST[4], 53, reuse_address=True, receive_errors=True),
        host.udp(4, port=54),
        host.udp(6, HOST[6], 54, ipv6_only=True),
    ]
    for version, endpoint in ((4, sockets[2]), (6, sockets[3])):
        endpoint.connect(PEER[version], 9000, host.now)
    return host, sockets


@given(PACKETS)
def test_both_paths_take_hostile_packets_alike_and_raise_nothing(packets: list[bytes]) -> None:
    outcomes = []
    for fast_path in (True, False):
        host, sockets = host_with_sockets(fast_path)
        for _ in range(2):
            host.receive(*packets)
        errors = [endpoint.take_error() for endpoint in sockets]
        kept = [len(endpoint.kept_errors) for endpoint in sockets]
        outcomes.append((host.drops(), errors, kept, [all_taken(endpoint) for endpoint in sockets]))
    assert outcomes[0] == outcomes[1]


@given(PACKETS)
def test_raw_sockets_take_hostile_packets_without_raising(packets: list[bytes]) -> None:
    host = StackHost()
    sockets = [
        host.raw(IPPROTO_UDP, receive_errors=True),
        host.raw(IPPROTO_UDP, 6, receive_errors=True, checksum_offset=6),
        host.raw(IPPROTO_ICMP, icmp_filter=0xF0),
        host.raw(IPPROTO_ICMPV6, 6, icmpv6_filter=1 << 129),
    ]
    host.receive(*packets)
    for endpoint in sockets:
        endpoint.take_error()
        assert len(all_taken(endpoint)) <= len(packets)


@given(st.integers(0, 2**16 - 1), st.sampled_from([0, lib.FRAME_DATA_VALID]), st.binary(max_size=50))
def test_nonsense_of_the_device_about_segmentation_harms_nobody(gso_size: int, flags: int, payload: bytes) -> None:
    host = StackHost(fast_path=True)
    endpoint = host.udp(port=53)
    burst = Burst()
    for _ in range(2):
        assert burst.append(datagram(4, payload))
        frame = burst.cdata.frames[len(burst) - 1]
        frame.flags, frame.gso_type, frame.gso_size = flags, lib.GSO_UDP_L4, gso_size
    host.receive_burst(burst)
    assert b"".join(all_taken(endpoint)) in (b"", payload, payload * 2)
