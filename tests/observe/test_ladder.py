"""The ladder: packets as arrows between two hosts, with what became of each."""

from hypothesis import given
from hypothesis import strategies as st

from ustack.address import parse_address
from ustack.constants import IPPROTO_ICMP, IPPROTO_TCP, IPPROTO_UDP
from ustack.drops import DropReason
from ustack.observe.ladder import Ladder, ladders
from ustack.trace import Verdict
from ustack.wire import icmpv4, ipv4, tcp, udp

KERNEL, STACK, OTHER = (parse_address(f"10.9.0.{host}") for host in (1, 2, 3))
MILLISECOND = 1_000_000


def packet(source: bytes, destination: bytes, protocol: int, payload: bytes) -> bytes:
    return ipv4.build(source, destination, protocol, len(payload)) + payload


def segment(outbound: bool, flags: int, seq: int, ack: int = 0, data: bytes = b"") -> bytes:
    source, destination = (STACK, KERNEL) if outbound else (KERNEL, STACK)
    ports = (80, 40112) if outbound else (40112, 80)
    header = tcp.build(*ports, seq, ack, flags, 64240, payload=data, pseudo=(source, destination))
    return packet(source, destination, IPPROTO_TCP, header + data)


def datagram(source: bytes = KERNEL, destination: bytes = STACK, data: bytes = b"hello") -> bytes:
    header = udp.build(source, destination, 5000, 9999, data)
    return packet(source, destination, IPPROTO_UDP, header + data)


def verdict(
    at: int, data: bytes, *, outbound: bool = False, drop: DropReason | None = None, comment: str = ""
) -> Verdict:
    return Verdict(at * MILLISECOND, "tun0", outbound, data, drop, comment)


def lines_of(*verdicts: Verdict) -> list[str]:
    (ladder,) = ladders(verdicts)
    return ladder.lines(80)


def test_a_handshake_shows_flags_and_relative_numbers_in_both_directions() -> None:
    lines = lines_of(
        verdict(1000, segment(False, tcp.SYN, 4_000_000_000)),
        verdict(1001, segment(True, tcp.SYN | tcp.ACK, 77, 4_000_000_001), outbound=True),
        verdict(1002, segment(False, tcp.ACK, 4_000_000_001, 78)),
    )
    assert lines[0].split() == ["10.9.0.1", "10.9.0.2"]
    assert lines[1].startswith("    0.000 ms  40112 ─ SYN ─")
    assert lines[1].endswith("─▶ 80")
    assert lines[2].startswith("    1.000 ms  40112 ◀─")
    assert lines[2].endswith("─ SYN ACK ack 1 ─ 80")
    assert lines[3].startswith("    2.000 ms  40112 ─ ACK ack 1 ─")


def test_sequence_numbers_of_data_are_relative_and_wrap() -> None:
    lines = lines_of(
        verdict(0, segment(False, tcp.SYN, 2**32 - 1)), verdict(1, segment(False, tcp.PSH | tcp.ACK, 0, 5, b"GET"))
    )
    assert "PSH ACK seq 1:4 ack 0" in lines[2]


def test_all_arrows_have_the_same_length() -> None:
    lines = lines_of(
        verdict(0, segment(False, tcp.SYN, 1)),
        verdict(1, segment(True, tcp.RST | tcp.ACK, 0, 2), outbound=True),
        verdict(2, datagram()),
    )
    assert {len(line.rstrip("0123456789")) for line in lines[1:]} == {len(lines[1].rstrip("0123456789"))}


def test_a_dropped_packet_has_a_cross_and_its_reason_with_the_clause() -> None:
    lines = lines_of(verdict(0, datagram(), drop=DropReason.UDP_NO_PORT, comment="UDP_NO_PORT: …"))
    assert "UDP, 5 bytes" in lines[1]
    assert "✕ 9999" in lines[1]
    assert lines[2].strip() == ("dropped, UDP_NO_PORT: no socket is bound to the destination port (RFC 1122 §4.1.3.1)")


def test_a_delivered_packet_has_the_last_word_of_its_explanation() -> None:
    lines = lines_of(verdict(0, datagram(), comment="UDP a → b; 5 exact flow: none; wildcard wins: the only candidate"))
    assert lines[2].strip() == "wildcard wins: the only candidate"


def test_messages_without_ports_show_what_they_are() -> None:
    answer = packet(STACK, KERNEL, IPPROTO_ICMP, icmpv4.build_destination_unreachable(3, datagram()))
    (line,) = lines_of(verdict(0, answer, outbound=True))[1:]
    assert "ICMP destination unreachable, port" in line
    assert "10.9.0" not in line


def test_each_pair_of_hosts_has_a_ladder_of_its_own_in_order_of_appearance() -> None:
    found = ladders(
        [verdict(0, datagram(OTHER)), verdict(1, datagram()), verdict(2, datagram(STACK, OTHER), outbound=True)]
    )
    assert [(ladder.remote, ladder.local, len(ladder.rungs)) for ladder in found] == [
        (OTHER, STACK, 2),
        (KERNEL, STACK, 1),
    ]


def test_an_empty_ladder_is_a_line_of_names() -> None:
    assert len(Ladder(KERNEL, STACK).lines()) == 1


@given(st.binary(max_size=120), st.booleans())
def test_no_bytes_break_it(data: bytes, outbound: bool) -> None:
    for ladder in ladders(
        [verdict(0, data, outbound=outbound), verdict(1, b"\x45" + data), verdict(2, b"\x60" + data)]
    ):
        ladder.lines(60)
