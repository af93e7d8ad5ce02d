"""Hypothesis strategies of addresses, options and whole valid packets, built with the project's own builders."""

from __future__ import annotations

from hypothesis import strategies as st

from ustack.wire import icmpv4, icmpv6, igmp, ipv4, ipv6, ipv6_ext, mld, tcp, tcp_options, udp
from ustack.wire.group_record import GroupRecord
from ustack.wire.tcp_options import AccurateEcn, TcpOptions

OCTET = st.integers(0, 2**8 - 1)
WORD = st.integers(0, 2**16 - 1)
LONG = st.integers(0, 2**32 - 1)
IPV4_ADDRESS = st.binary(min_size=4, max_size=4)
IPV6_ADDRESS = st.binary(min_size=16, max_size=16)
PAYLOAD = st.binary(max_size=40)
ADDRESS_PAIR = st.one_of(st.tuples(IPV4_ADDRESS, IPV4_ADDRESS), st.tuples(IPV6_ADDRESS, IPV6_ADDRESS))

KNOWN_TCP_OPTIONS = {0, 1, 2, 3, 4, 5, 8, 19, 28, 29, 34, 172, 174, 254}
UNKNOWN_TCP_OPTION = st.tuples(OCTET.filter(lambda kind: kind not in KNOWN_TCP_OPTIONS), st.binary(max_size=6))
ACCURATE_ECN = st.builds(
    AccurateEcn, st.sampled_from((172, 174)), st.lists(st.integers(0, 2**24 - 1), max_size=3).map(tuple)
)
TCP_OPTIONS = st.builds(
    TcpOptions,
    mss=st.none() | WORD,
    window_scale=st.none() | OCTET,
    sack_permitted=st.booleans(),
    sack_blocks=st.lists(st.tuples(LONG, LONG), max_size=4).map(tuple),
    timestamps=st.none() | st.tuples(LONG, LONG),
    fast_open_cookie=st.none()
    | st.sampled_from((0, 4, 6, 8, 10, 12, 14, 16)).flatmap(lambda size: st.binary(min_size=size, max_size=size)),
    user_timeout=st.none() | WORD,
    md5=st.none() | st.binary(min_size=16, max_size=16),
    authentication=st.none() | st.binary(min_size=2, max_size=18),
    accurate_ecn=st.none() | ACCURATE_ECN,
    unknown=st.lists(UNKNOWN_TCP_OPTION, max_size=3).map(tuple),
)
FITTING_TCP_OPTIONS = TCP_OPTIONS.filter(lambda options: len(tcp_options.build(options)) <= 40)

IPV4_OPTIONS = (
    st.lists(
        st.one_of(
            st.just(b"\x01"),
            st.just(b"\x94\x04\x00\x00"),
            st.integers(1, 4).map(lambda hops: bytes((7, 3 + 4 * hops, 4)) + bytes(4 * hops)),
            st.integers(1, 4).map(lambda stamps: bytes((68, 4 + 4 * stamps, 5, 0)) + bytes(4 * stamps)),
            st.binary(max_size=6).map(lambda data: ipv4.build_option(130, data)),
        ),
        max_size=4,
    )
    .map(b"".join)
    .filter(lambda options: len(options) <= 40)
)

IPV6_OPTIONS = st.lists(
    st.one_of(
        st.just((ipv6_ext.OPTION_PAD1, b"")),
        st.tuples(st.just(ipv6_ext.OPTION_PADN), st.integers(0, 5).map(bytes)),
        st.tuples(st.just(ipv6_ext.OPTION_ROUTER_ALERT), st.binary(min_size=2, max_size=2)),
        st.tuples(st.integers(2, 0x3F).filter(lambda kind: kind != 5), st.binary(max_size=12)),
    ),
    max_size=4,
)


def group_records(address: st.SearchStrategy[bytes]) -> st.SearchStrategy[tuple[GroupRecord, ...]]:
    auxiliary = st.integers(0, 2).flatmap(lambda words: st.binary(min_size=4 * words, max_size=4 * words))
    record = st.builds(GroupRecord, OCTET, address, st.lists(address, max_size=3).map(tuple), auxiliary)
    return st.lists(record, max_size=4).map(tuple)


IGMP_MESSAGES = st.one_of(
    st.builds(igmp.MembershipQuery, st.just(1), st.just(0), IPV4_ADDRESS),
    st.builds(igmp.MembershipQuery, st.just(2), st.integers(1, 255), IPV4_ADDRESS),
    st.builds(
        igmp.MembershipQuery, st.just(3), OCTET, IPV4_ADDRESS, st.booleans(), st.integers(0, 7), OCTET,
        st.lists(IPV4_ADDRESS, max_size=5).map(tuple),
    ),
    st.builds(igmp.MembershipReport, st.integers(1, 2), IPV4_ADDRESS),
    st.builds(igmp.LeaveGroup, IPV4_ADDRESS),
    st.builds(igmp.MembershipReportV3, group_records(IPV4_ADDRESS)),
)  # fmt: skip
MLD_MESSAGES = st.one_of(
    st.builds(mld.ListenerQuery, st.just(1), WORD, IPV6_ADDRESS),
    st.builds(
        mld.ListenerQuery, st.just(2), WORD, IPV6_ADDRESS, st.booleans(), st.integers(0, 7), OCTET,
        st.lists(IPV6_ADDRESS, max_size=5).map(tuple),
    ),
    st.builds(mld.ListenerReport, IPV6_ADDRESS),
    st.builds(mld.ListenerDone, IPV6_ADDRESS),
    st.builds(mld.ListenerReportV2, group_records(IPV6_ADDRESS)),
)  # fmt: skip


@st.composite
def transports(draw: st.DrawFn, source: bytes, destination: bytes) -> tuple[int, bytes]:
    """A protocol and a valid message of it between two addresses."""
    payload = draw(PAYLOAD)
    ports = draw(WORD), draw(WORD)
    kind = draw(st.sampled_from(("tcp", "udp", "echo", "error", "group", "other")))
    if kind == "tcp":
        options = tcp_options.build(draw(FITTING_TCP_OPTIONS))
        header = tcp.build(
            *ports, draw(LONG), draw(LONG), draw(OCTET), draw(WORD),
            options=options, payload=payload, pseudo=(source, destination),
        )  # fmt: skip
        return 6, header + payload
    if kind == "udp":
        return 17, udp.build(source, destination, *ports, payload) + payload
    if kind == "other":
        return draw(st.sampled_from((50, 59, 132, 253))), payload
    if len(source) == 4:
        return _message_ipv4(draw, kind, payload)
    return _message_ipv6(draw, kind, payload, source, destination)


def _message_ipv4(draw: st.DrawFn, kind: str, payload: bytes) -> tuple[int, bytes]:
    if kind == "group":
        return 2, igmp.build(draw(IGMP_MESSAGES))
    if kind == "echo":
        return 1, icmpv4.build_echo_request(draw(WORD), draw(WORD), payload)
    addresses = draw(IPV4_ADDRESS), draw(IPV4_ADDRESS)
    quoted = ipv4.build(*addresses, draw(st.sampled_from((1, 6, 17, 99))), len(payload)) + payload
    return 1, icmpv4.build(draw(st.sampled_from((3, 4, 5, 11, 12))), draw(OCTET), bytes(4), quoted)


def _message_ipv6(draw: st.DrawFn, kind: str, payload: bytes, source: bytes, destination: bytes) -> tuple[int, bytes]:
    if kind == "group":
        return 58, mld.build(source, destination, draw(MLD_MESSAGES))
    if kind == "echo":
        return 58, icmpv6.build_echo_reply(source, destination, draw(WORD), draw(WORD), payload)
    addresses = draw(IPV6_ADDRESS), draw(IPV6_ADDRESS)
    quoted = ipv6.build(*addresses, draw(st.sampled_from((0, 6, 17, 44, 58, 60))), len(payload)) + payload
    return 58, icmpv6.build_error(source, destination, draw(st.integers(0, 5)), draw(OCTET), quoted, draw(LONG))


@st.composite
def ipv4_packets(draw: st.DrawFn) -> bytes:
    """A valid IPv4 packet, perhaps a fragment."""
    source, destination = draw(IPV4_ADDRESS), draw(IPV4_ADDRESS)
    protocol, data = draw(transports(source, destination))
    header = ipv4.build(
        source, destination, protocol, len(data), ttl=draw(OCTET), traffic_class=draw(OCTET), identification=draw(WORD),
        dont_fragment=draw(st.booleans()), more_fragments=draw(st.booleans()),
        fragment_offset=8 * draw(st.one_of(st.just(0), st.integers(0, 0x1FFF))), options=draw(IPV4_OPTIONS),
    )  # fmt: skip
    return header + data


@st.composite
def extension_headers(draw: st.DrawFn, protocol: int) -> tuple[int, bytes]:
    """Extension headers that a receiver accepts before `protocol`: what the IPv6 header names, and their bytes."""
    chain = b""
    for kind in reversed(draw(st.lists(st.sampled_from((43, 44, 60)), max_size=3))):
        chain = _extension(draw, kind, protocol) + chain
        protocol = kind
    if draw(st.booleans()):
        return 0, ipv6_ext.build_hop_by_hop(protocol, draw(IPV6_OPTIONS)) + chain
    return protocol, chain


def _extension(draw: st.DrawFn, kind: int, next_header: int) -> bytes:
    if kind == 43:
        return ipv6_ext.build_routing(next_header, draw(OCTET), 0, bytes(4 + 8 * draw(st.integers(0, 3))))
    if kind == 60:
        return ipv6_ext.build_destination_options(next_header, draw(IPV6_OPTIONS))
    offset = 8 * draw(st.one_of(st.just(0), st.integers(0, 0x1FFF)))
    return ipv6_ext.build_fragment(next_header, offset, draw(st.booleans()), draw(LONG))


@st.composite
def ipv6_packets(draw: st.DrawFn) -> bytes:
    """A valid IPv6 packet, perhaps with extension headers."""
    source, destination = draw(IPV6_ADDRESS), draw(IPV6_ADDRESS)
    protocol, data = draw(transports(source, destination))
    next_header, chain = draw(extension_headers(protocol))
    header = ipv6.build(
        source, destination, next_header, len(chain) + len(data), hop_limit=draw(OCTET), traffic_class=draw(OCTET),
        flow_label=draw(st.integers(0, 2**20 - 1)),
    )  # fmt: skip
    return header + chain + data


PACKETS = st.one_of(ipv4_packets(), ipv6_packets())


@st.composite
def mutated_packets(draw: st.DrawFn) -> bytes:
    """A valid packet with a few bytes changed, perhaps cut or lengthened."""
    packet = bytearray(draw(PACKETS))
    for _ in range(draw(st.integers(0, 4))):
        packet[draw(st.integers(0, len(packet) - 1))] = draw(OCTET)
    end = draw(st.integers(0, len(packet)))
    change = draw(st.sampled_from(("cut", "lengthen", "keep")))
    if change == "cut":
        return bytes(packet[:end])
    return bytes(packet) + (draw(PAYLOAD) if change == "lengthen" else b"")
