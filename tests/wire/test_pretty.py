"""Packets for people: lines and trees as they are promised."""

from typing import Any

import pytest

from ustack.address import parse_address
from ustack.wire import icmpv4, icmpv6, igmp, ipv4, ipv6, ipv6_ext, mld, tcp, tcp_options, udp
from ustack.wire.group_record import GroupRecord
from ustack.wire.pretty import pretty, pretty_tree
from ustack.wire.tcp_options import TcpOptions

A, B = parse_address("10.9.0.1"), parse_address("10.9.0.2")
A6, B6 = parse_address("fd09::1"), parse_address("fd09::2")
GROUP, GROUP6 = parse_address("224.0.0.22"), parse_address("ff02::16")


def ip4(protocol: int, data: bytes, **fields: Any) -> bytes:
    return ipv4.build(A, B, protocol, len(data), **fields) + data


def ip6(protocol: int, data: bytes) -> bytes:
    return ipv6.build(A6, B6, protocol, len(data)) + data


def segment(
    flags: int, payload: bytes = b"", seq: int = 1, ack: int = 0, urgent: int = 0, options: bytes = b""
) -> bytes:
    header = tcp.build(
        40000, 80, seq, ack, flags, 64240, urgent_pointer=urgent, options=options, payload=payload, pseudo=(A, B)
    )
    return ip4(6, header + payload)


def icmp6(message_type: int, code: int, packet: bytes, parameter: int = 0) -> bytes:
    return ip6(58, icmpv6.build_error(A6, B6, message_type, code, packet, parameter))


SYN_OPTIONS = tcp_options.build(TcpOptions(mss=1460, window_scale=7, sack_permitted=True, timestamps=(1, 0)))
ALL_OPTIONS = tcp_options.build(
    TcpOptions(sack_blocks=((1, 2), (3, 4)), user_timeout=0x8005, fast_open_cookie=b"1234", unknown=((254, b"x"),))
)
MD5_OPTIONS = tcp_options.build(TcpOptions(md5=bytes(16), fast_open_cookie=b"", user_timeout=30))
UDP = udp.build(A, B, 53, 99, b"hello") + b"hello"
UDP6 = udp.build(A6, B6, 53, 99, b"hello") + b"hello"
TCP_ENDS = "IP 10.9.0.1:40000 > 10.9.0.2:80: "
RECORD6 = GroupRecord(4, GROUP6)

LINES = [
    (segment(tcp.SYN, options=SYN_OPTIONS), TCP_ENDS + "Flags [S], seq 1, win 64240, "
     "options [mss 1460,sackOK,TS val 1 ecr 0,wscale 7], length 0"),
    (segment(tcp.ACK, ack=7), TCP_ENDS + "Flags [.], ack 7, win 64240, length 0"),
    (segment(tcp.PSH | tcp.ACK, b"data", ack=7), TCP_ENDS + "Flags [P.], seq 1:5, ack 7, win 64240, length 4"),
    (segment(tcp.PSH | tcp.ACK, b"data", seq=2**32 - 1),
     TCP_ENDS + "Flags [P.], seq 4294967295:3, ack 0, win 64240, length 4"),
    (segment(tcp.FIN | tcp.URG | tcp.ECE | tcp.CWR, urgent=3),
     TCP_ENDS + "Flags [FUEW], seq 1, win 64240, urg 3, length 0"),
    (segment(0), TCP_ENDS + "Flags [none], win 64240, length 0"),
    (segment(tcp.ACK, options=ALL_OPTIONS), TCP_ENDS + "Flags [.], ack 0, win 64240, "
     "options [sack 1:2 3:4,tfo 31323334,user timeout 5 minutes,option 254 78], length 0"),
    (segment(tcp.ACK, options=MD5_OPTIONS), TCP_ENDS + "Flags [.], ack 0, win 64240, "
     f"options [tfo cookiereq,user timeout 30 seconds,md5 {'0' * 32}], length 0"),
    (segment(tcp.ACK, options=b"\x02\x00\x00\x00"), TCP_ENDS + "Flags [.], ack 0, win 64240, options [02000000], "
     "length 0 [TCP: TCP option has an illegal length (option 2 of length 0, 4 bytes left)]"),
    (ip4(17, UDP), "IP 10.9.0.1:53 > 10.9.0.2:99: UDP, length 5"),
    (ip6(17, UDP6), "IP6 [fd09::1]:53 > [fd09::2]:99: UDP, length 5"),
    (ip6(0, ipv6_ext.build_hop_by_hop(60, [(5, bytes(2))]) + ipv6_ext.build_destination_options(17, []) + UDP6),
     "IP6 [fd09::1]:53 > [fd09::2]:99: Hop-by-hop options, Destination options, UDP, length 5"),
    (ip4(1, icmpv4.build_echo_request(1, 2, bytes(56))),
     "IP 10.9.0.1 > 10.9.0.2: ICMP echo request, id 1, seq 2, length 56"),
    (ip4(1, icmpv4.build_destination_unreachable(3, ip4(17, UDP))), "IP 10.9.0.1 > 10.9.0.2: "
     "ICMP destination unreachable, port, about IP 10.9.0.1:53 > 10.9.0.2:99: UDP, length 5"),
    (ip4(1, icmpv4.build_destination_unreachable(4, segment(tcp.SYN)[:28], 1400)), "IP 10.9.0.1 > 10.9.0.2: "
     f"ICMP destination unreachable, fragmentation needed, mtu 1400, about {TCP_ENDS}TCP, cut to 8 bytes"),
    (ip4(1, icmpv4.build_parameter_problem(0, 21, ip4(99, b""))),
     "IP 10.9.0.1 > 10.9.0.2: ICMP parameter problem, pointer, pointer 21, "
     "about IP 10.9.0.1 > 10.9.0.2: protocol 99, length 0"),
    (ip4(1, icmpv4.build(5, 1, A, ip4(17, UDP)[:20])), "IP 10.9.0.1 > 10.9.0.2: ICMP redirect, host, "
     "gateway 10.9.0.1, about IP 10.9.0.1 > 10.9.0.2: UDP, cut to 0 bytes"),
    (ip4(1, icmpv4.build(77, 5)), "IP 10.9.0.1 > 10.9.0.2: ICMP 77, 5, length 0"),
    (ip4(1, icmpv4.build(3, 99, body=b"\x00")),
     "IP 10.9.0.1 > 10.9.0.2: ICMP destination unreachable, 99, about 1 bytes 00"),
    (icmp6(2, 0, ip6(17, UDP6), 1280), "IP6 fd09::1 > fd09::2: ICMPv6 packet too big, mtu 1280, "
     "about IP6 [fd09::1]:53 > [fd09::2]:99: UDP, length 5"),
    (icmp6(4, 2, ip6(17, UDP6), 48), "IP6 fd09::1 > fd09::2: ICMPv6 parameter problem, unrecognized option, "
     "pointer 48, about IP6 [fd09::1]:53 > [fd09::2]:99: UDP, length 5"),
    (ip6(58, icmpv6.build_echo_reply(A6, B6, 1, 2)), "IP6 fd09::1 > fd09::2: ICMPv6 echo reply, id 1, seq 2, length 0"),
    (ip4(17, UDP + bytes(3), more_fragments=True, identification=7),
     "IP 10.9.0.1:53 > 10.9.0.2:99: UDP, length 5, frag 7@0+"),
    (ip4(17, bytes(16), fragment_offset=1480, identification=7),
     "IP 10.9.0.1 > 10.9.0.2: UDP, length 16, frag 7@1480"),
    (ip6(44, ipv6_ext.build_fragment(17, 1480, True, 77) + bytes(8)),
     "IP6 fd09::1 > fd09::2: UDP, length 8, frag 77@1480+"),
    (ip6(44, ipv6_ext.build_fragment(17, 0, False, 77) + UDP6),
     "IP6 [fd09::1]:53 > [fd09::2]:99: UDP, length 5, frag 77@0"),
    (ip4(2, igmp.build(igmp.MembershipReportV3((GroupRecord(4, GROUP, (A,)),)))),
     "IP 10.9.0.1 > 10.9.0.2: IGMP membership report v3, groups 224.0.0.22"),
    (ip4(2, igmp.build(igmp.MembershipQuery(2, 100, GROUP))),
     "IP 10.9.0.1 > 10.9.0.2: IGMP membership query v2, group 224.0.0.22"),
    (ip4(2, igmp.build(igmp.MembershipReport(1, GROUP))),
     "IP 10.9.0.1 > 10.9.0.2: IGMP membership report v1, group 224.0.0.22"),
    (ip4(2, igmp.build(igmp.LeaveGroup(GROUP))), "IP 10.9.0.1 > 10.9.0.2: IGMP leave group, group 224.0.0.22"),
    (ip6(58, mld.build(A6, B6, mld.ListenerQuery(1, 0, GROUP6))),
     "IP6 fd09::1 > fd09::2: MLD listener query v1, group ff02::16"),
    (ip6(58, mld.build(A6, B6, mld.ListenerReport(GROUP6))),
     "IP6 fd09::1 > fd09::2: MLD listener report v1, group ff02::16"),
    (ip6(58, mld.build(A6, B6, mld.ListenerDone(GROUP6))), "IP6 fd09::1 > fd09::2: MLD listener done, group ff02::16"),
    (ip6(58, mld.build(A6, B6, mld.ListenerReportV2((RECORD6, RECORD6)))),
     "IP6 fd09::1 > fd09::2: MLD listener report v2, groups ff02::16 ff02::16"),
    (ip4(132, b"abc"), "IP 10.9.0.1 > 10.9.0.2: SCTP, length 3"),
    (ip4(58, b"abc"), "IP 10.9.0.1 > 10.9.0.2: ICMPv6, length 3"),
    (ip6(59, b""), "IP6 fd09::1 > fd09::2: no next header, length 0"),
    (b"", "0 bytes [Data: version is neither 4 nor 6]"),
    (b"\x45", "1 bytes 45 [IPv4: packet is shorter than its headers say (1 bytes of an IPv4 header)]"),
    (b"\x99" * 30, f"30 bytes {'99' * 20}… [Data: version is neither 4 nor 6]"),
]  # fmt: skip


@pytest.mark.parametrize(("packet", "line"), LINES, ids=range(len(LINES)))
def test_a_packet_is_one_line(packet: bytes, line: str) -> None:
    assert pretty(packet) == line


@pytest.mark.parametrize(
    ("packet", "problem"),
    [
        (ip4(17, UDP)[:-1], "[IPv4: IP total or payload length does not fit the packet"),
        (b"\x45" + ip4(17, UDP)[1:8] + b"\x09" + ip4(17, UDP)[9:], "[IPv4: IPv4 header checksum is wrong"),
        (ip4(17, UDP, options=b"\x94\x00\x00\x00"), "[IPv4: IPv4 option is malformed"),
        (ip4(17, UDP[:-1] + b"0"), "[UDP: UDP checksum is wrong"),
        (ip4(17, UDP[:-1]), "[UDP: UDP length does not fit the packet"),
        (ip4(17, UDP[:5]), "[UDP: packet is shorter than its headers say"),
        (ip4(17, UDP[:3]), "[UDP: packet is shorter than its headers say"),
        (segment(tcp.ACK)[:-1] + b"1", "[TCP: TCP checksum is wrong"),
        (ip4(6, bytes(20)), "[TCP: TCP data offset is under 20 bytes"),
        (ip4(1, bytes(7)), "[ICMP: ICMP message is too short"),
        (ip4(1, b"\x08" + bytes(7)), "[ICMP: ICMP checksum is wrong"),
        (ip4(2, bytes(7)), "[IGMP: IGMP message has a length"),
        (ip4(2, bytes(8)), "[IGMP: IGMP checksum is wrong"),
        (ip6(17, UDP6)[:-1], "[IPv6: IP total or payload length does not fit the packet"),
        (ip6(58, bytes(8)), "[ICMPv6: ICMP checksum is wrong"),
        (ip6(58, bytes(7)), "[ICMPv6: ICMP message is too short"),
        (ip6(58, icmpv6.build(A6, B6, 130, 0, body=bytes(17))), "[MLD: MLD message has a length"),
        (ip6(60, ipv6_ext.build_destination_options(17, [(0x80, b"")]) + UDP6), "[IPv6: unknown IPv6 option asks"),
        (ip6(43, ipv6_ext.build_routing(17, 0, 1, bytes(20)) + UDP6), "[IPv6: type 0 routing header"),
        (ip6(60, bytes(5)), "[IPv6: packet is shorter than its headers say"),
        (b"\x60" + bytes(20), "[IPv6: packet is shorter than its headers say"),
    ],
)
def test_what_a_receiver_would_drop_is_marked_with_the_reason(packet: bytes, problem: str) -> None:
    assert problem in pretty(packet)
    assert any(problem.partition(": ")[2] in line for line in pretty_tree(packet))


def test_fragments_are_not_blamed_for_checksums_over_the_whole() -> None:
    cut = udp.build(A, B, 53, 99, bytes(100)) + bytes(8)
    assert "[" not in pretty(ip4(17, cut, more_fragments=True))


def test_a_fragment_of_igmp_is_only_named() -> None:
    cut = igmp.build(igmp.LeaveGroup(GROUP))
    assert pretty(ip4(2, cut, more_fragments=True)) == "IP 10.9.0.1 > 10.9.0.2: IGMP, length 8, frag 0@0+"


def test_the_tree_has_a_line_for_every_field() -> None:
    packet = segment(tcp.PSH | tcp.ACK, b"hello\n", ack=9, options=SYN_OPTIONS)
    packet = ip4(6, packet[20:], options=b"\x94\x04\x00\x00", dont_fragment=True)
    lines = pretty_tree(packet)
    assert [line for line in lines if not line.startswith(" ")] == ["IPv4, 24 bytes", "TCP, 40 bytes", "Data, 6 bytes"]
    for line in (
        "    dont fragment: yes", "    protocol: 6 (TCP)", "    source: 10.9.0.1", "    option: router alert 0000",
        "    traffic class: 0x00", "    ttl: 64", "    source port: 40000", "    seq: 1", "    ack: 9",
        "    flags: 0x18 [P.]", "    window: 64240", "    option: mss 1460", "    option: TS val 1 ecr 0",
        "    0000  68 65 6c 6c 6f 0a                                hello.",
    ):  # fmt: skip
        assert line in lines


def test_the_tree_of_an_icmp_error_has_the_quoted_packet_indented() -> None:
    lines = pretty_tree(ip4(1, icmpv4.build_destination_unreachable(4, ip4(17, UDP), 1400)))
    assert "    type: 3 (destination unreachable)" in lines
    assert "    code: 4 (fragmentation needed)" in lines
    assert "    mtu: 1400" in lines
    about = lines.index("    about:")
    assert lines[about + 1] == "        IPv4, 20 bytes"
    assert "            source port: 53" in lines[about:]


def test_the_tree_of_extension_headers_has_their_options() -> None:
    chain = ipv6_ext.build_hop_by_hop(43, [(5, b"\x00\x01"), (0x1E, b"abc")])
    chain += ipv6_ext.build_routing(44, 4, 0, bytes(4)) + ipv6_ext.build_fragment(60, 0, False, 5)
    chain += bytes((17, 0, 0x1E, 9)) + bytes(4)
    lines = pretty_tree(ip6(0, chain + UDP6))
    for line in (
        "Hop-by-hop options, 16 bytes", "    next header: 43 (Routing)", "    option: router alert 0001",
        "    option: 0x1e 616263", "    option: PadN 000000", "Routing, 8 bytes", "    routing type: 4",
        "    segments left: 0", "Fragment, 8 bytes", "    identification: 5", "    more fragments: no",
        "    options: option 30 is longer than its header",
    ):  # fmt: skip
        assert line in lines


def test_the_tree_of_group_messages_has_their_records_and_sources() -> None:
    report = pretty_tree(ip4(2, igmp.build(igmp.MembershipReportV3((GroupRecord(4, GROUP, (A, B)),)))))
    assert "    record: change to exclude mode, group 224.0.0.22, sources 10.9.0.1, 10.9.0.2" in report
    query = pretty_tree(ip6(58, mld.build(A6, B6, mld.ListenerQuery(2, 7, GROUP6, True, 2, 125, (A6,)))))
    for line in ("    message: listener query v2", "    group: ff02::16", "    suppress: yes", "    sources: fd09::1"):
        assert line in query


def test_long_data_is_shown_in_part() -> None:
    lines = pretty_tree(ip4(253, bytes(300)))
    assert lines[-1] == "    … 44 bytes more"
    assert lines[-2].startswith("    00f0  00 00")


def test_malformed_tcp_and_ip_options_are_shown_in_hexadecimal() -> None:
    assert "    options: 02000000" in pretty_tree(segment(tcp.ACK, options=b"\x02\x00\x00\x00"))
    assert "    options: 94000000" in pretty_tree(ip4(17, UDP, options=b"\x94\x00\x00\x00"))
