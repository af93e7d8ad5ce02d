"""What is compared of an outbound packet, and what is not."""

from __future__ import annotations

import pytest

from tests.packetdrill.writing import LISTEN, SERVER, fails, passes, unsupported
from ustack.packetdrill.settings import for_version

SYN = LISTEN + "+0 < S 0:0(0) win 32792 <mss 1000,sackOK,TS val 100 ecr 0,nop,wscale 7>\n"
STAMPED = SYN + "+0 > S. 0:0(0) ack 1 <...>\n".replace("<...>", "<mss 1460,sackOK,TS val 700 ecr 100,nop,wscale {}>")


def scale() -> str:
    """The window scale that the stack offers: it follows from its buffer."""
    for shift in range(15):
        text = (
            LISTEN
            + f"+0 < S 0:0(0) win 1000 <mss 1000,nop,wscale 1>\n+0 > S. 0:0(0) ack 1 <mss 1460,nop,wscale {shift}>"
        )
        try:
            passes(text)
        except AssertionError:
            continue
        return str(shift)
    raise AssertionError("the stack offers no window scale")


@pytest.mark.parametrize("version", [4, 6])
def test_a_whole_connection_passes(version: int) -> None:
    passes(
        SERVER
        + """
        +0 write(4, ..., 100) = 100
        +0 > P. 1:101(100) ack 1
        +.1 < . 1:1(0) ack 101 win 32792
        +0 close(4) = 0
        +0 > F. 101:101(0) ack 1
        +.1 < F. 1:1(0) ack 102 win 32792
        +0 > . 102:102(0) ack 2
        """,
        settings=for_version(version),
    )


@pytest.mark.parametrize(
    ("expected", "reason"),
    [
        ("S. 0:0(0) ack 2 <...>", "live packet field tcp_ack_seq: expected: 2 (0x2) vs actual: 1 (0x1)"),
        ("S 0:0(0) <...>", "live packet field tcp_ack"),
        ("SP. 0:0(0) ack 1 <...>", "live packet field tcp_psh: expected: 1"),
        ("S.1 0:0(0) ack 1 <...>", "live packet field tcp_ace: expected: 1 (0x1) vs actual: 0 (0x0)"),
        ("SE. 0:0(0) ack 1 <...>", "live packet field tcp_ece"),
        ("SA. 0:0(0) ack 1 <...>", "live packet field tcp_ae"),
        ("S. 0:0(0) ack 1 win 1 <...>", "live packet field tcp_window: expected: 1 (0x1)"),
        ("S. 0:0(0) ack 1 urg 5 <...>", "live packet field tcp_urg_ptr"),
        ("S. 0:0(0) ack 1", "live packet field tcp_data_offset"),
        ("S. 0:0(0) ack 1 <mss 1400>", "bad value in outbound TCP option (kind=2): expected: 0578 actual: 05b4"),
        ("S. 0:0(0) ack 1 <nop,nop,sackOK>", "bad outbound TCP options"),
        ("[ect0] S. 0:0(0) ack 1 <...>", "live packet field ip_ecn: expected: 2"),
        ("[ect01] S. 0:0(0) ack 1 <...>", "live packet field ip_ecn: expected: 0x1 or 0x2 vs actual: 0x0"),
        ("[tos 0x4] S. 0:0(0) ack 1 <...>", "live packet field tos: expected: 4"),
        ("[ttl 9] S. 0:0(0) ack 1 <...>", "live packet field ttl: expected: 9"),
        ("udp (0)", "expected: UDP header vs actual: TCP header"),
    ],
)
def test_a_field_that_differs_is_told(expected: str, reason: str) -> None:
    fails(LISTEN + f"+0 < S 0:0(0) win 32792 <mss 1000>\n+0 > {expected}", reason, 6)


def test_expected_and_actual_packet_and_the_exchange_are_told() -> None:
    verdict = fails(SERVER + "+0 write(4, ..., 10) = 10\n+0 > P. 2:12(10) ack 1", "tcp_seq: expected: 2", 11)
    assert verdict.expected == "P. 2:12(10) ack 1"
    assert "0.100000 P. 1:11(10) ack 1" in verdict.actual[0]
    text = verdict.explain()
    assert "test.pkt:11: fail (IPv4): live packet field tcp_seq" in text
    assert "0.000000 < S 0:0(0) win 32792 <mss 1000>" in text
    assert "0.000000 > S. 0:0(0) ack 1" in text


def test_segments_are_joined_to_the_length_of_the_script() -> None:
    text = SERVER + "+0 `ethtool -K tun0 tso off gso off`\n+0 write(4, ..., 2000) = 2000\n"
    passes(text + "+0 > P. 1:2001(2000) ack 1")
    passes(text + "+0 > . 1:1001(1000) ack 1\n+0 > P. 1001:2001(1000) ack 1")
    fails(text + "+0 > P. 1:1501(1500) ack 1", "live packet payload: expected 1500 bytes vs actual 2000 bytes", 12)
    fails("--strict_segments\n" + text + "+0 > P. 1:2001(2000) ack 1", "expected 2000 bytes vs actual 1000 bytes", 13)


def test_a_joined_packet_has_the_flags_of_the_last_segment() -> None:
    text = SERVER + "+0 `ethtool -K tun0 tso off gso off`\n+0 write(4, ..., 2000) = 2000\n"
    fails(text + "+0 > . 1:2001(2000) ack 1", "live packet field tcp_psh: expected: 0")


def test_pieces_must_be_equal_but_for_the_last() -> None:
    text = SERVER + "+0 setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0\n"
    writes = "".join(f"+0 write(4, ..., {size}) = {size}\n" for size in (100, 50, 100))
    fails(text + writes + "+0 > P. 1:251(250) ack 1", "fragment payload: expected 100 bytes vs actual 50 bytes")


def test_sequence_numbers_of_a_syn_are_absolute_and_all_others_relative() -> None:
    passes(
        LISTEN
        + """
        +0 < S 5000:5000(0) win 32792 <mss 1000>
        +0 > S. 7000:7000(0) ack 5001 <...>
        +.1 < . 1:1(0) ack 1 win 32792
        +0 accept(3, ..., ...) = 4
        +0 < . 1:101(100) ack 1 win 32792
        +0 read(4, ..., 100) = 100
        * > . 1:1(0) ack 101
        """
    )


def test_sack_blocks_are_translated() -> None:
    passes(
        SYN
        + f"""
        +0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale {scale()}>
        +.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 200 ecr 700>
        +0 accept(3, ..., ...) = 4
        +0 < . 1001:2001(1000) ack 1 win 1000 <nop,nop,TS val 200 ecr 700>
        +0 > . 1:1(0) ack 1 <nop,nop,TS val 800 ecr 200,nop,nop,sack 1001:2001>
        """
    )


def test_a_timestamp_is_compared_only_with_a_tick() -> None:
    text = SYN + f"+0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale {scale()}>\n"
    text += "+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 200 ecr 700>\n+0 accept(3, ..., ...) = 4\n"
    text += "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1 <nop,nop,TS val {} ecr 99>"
    passes(text.format(9999))
    passes("--tcp_ts_tick_usecs=1000\n" + text.format(800))
    fails("--tcp_ts_tick_usecs=1000\n" + text.format(900), "bad outbound TCP timestamp value")


def test_an_echo_must_have_been_sent_by_the_stack_in_the_script() -> None:
    text = SYN + f"+0 > S. 0:0(0) ack 1 <mss 1460,sackOK,TS val 700 ecr 100,nop,wscale {scale()}>\n"
    text += "+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 200 ecr 701>"
    fails(text, "unable to infer live TS ecr for script TS ecr 701", 7)
    passes("--tcp_ts_ecr_scaled\n" + text)


def test_packets_of_other_sockets_are_passed_over() -> None:
    """What the first connection has sent is not the second one's."""
    second = "+0 < S 0:0(0) win 32792 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n"
    reusable = "+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 5\n+0 setsockopt(5, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0\n"
    first = SERVER.replace("+0 bind", "+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0\n+0 bind")
    again = reusable + "+0 bind(5, ..., ...) = 0\n+0 listen(5, 1) = 0\n"
    passes(first + "+0 write(4, ..., 10) = 10\n+0 close(3) = 0\n" + again + second)


def test_what_is_left_over_is_an_error_when_strict() -> None:
    text = SERVER + "+0 write(4, ..., 10) = 10"
    passes(text)
    verdict = fails(text, "a packet that the script does not expect", strict=True)
    assert "P. 1:11(10) ack 1" in verdict.actual[0]
    passes(text + "\n+0 > P. 1:11(10) ack 1", strict=True)


def test_failures_of_packets_can_be_declared_harmless() -> None:
    passes("--non_fatal=packet\n" + LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 7 <...>")


def test_ports_of_the_script_go_to_the_wire() -> None:
    """A segment to a port that nobody has is answered with a reset, from a flow that is not under test."""
    fails(SERVER + "+0 < 1234 > 4321 . 1:1(0) ack 1 win 100\n+0 > R 1:1(0)", "Timed out waiting for packet")


def test_icmp_reaches_the_socket_that_it_quotes() -> None:
    passes(
        """
        0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
        +0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
        +0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
        +0 > S 0:0(0) <...>
        +.1 < icmp unreachable port_unreachable [0:0(0)]
        +0 getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0
        """
    )


def test_an_icmp_name_of_the_other_version_fails() -> None:
    fails(SERVER + "+0 < icmp packet_too_big mtu 1280 [1:1(0)]", "bad ICMP type packet_too_big")


@pytest.mark.parametrize("version", [4, 6])
def test_datagrams_go_both_ways(version: int) -> None:
    passes(
        """
        0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3
        +0 bind(3, ..., ...) = 0
        +0 connect(3, ..., ...) = 0
        +0 write(3, ..., 100) = 100
        +0 > udp (100)
        +.1 < udp (50)
        +0 read(3, ..., 1000) = 50
        """,
        settings=for_version(version),
    )


def test_unknown_options_of_a_script_are_unsupported() -> None:
    unsupported("--psp_udp_port=1000\n0 `true`", "the option --psp_udp_port is not supported")
    unsupported("--ip_version=ipv6\n0 `true`", "the script is for ipv6")
    passes("--local_ip=fd00::1\n0 `true`")
    unsupported("--mtu=x\n0 `true`", "--mtu=x is not understood")


def test_addresses_mtu_and_ports_can_be_the_script_s() -> None:
    options = "--local_ip=10.1.2.3\n--remote_ip=10.9.9.9\n--mtu=1000\n--bind_port=77\n--ip_version=ipv4\n"
    passes(options + LISTEN + "+0 < S 0:0(0) win 1 <mss 1000>\n+0 > S. 0:0(0) ack 1 <mss 960>")


def test_ipv4_can_be_spoken_by_ipv6_sockets() -> None:
    passes('--ip_version="ipv4-mapped-ipv6"\n' + SERVER)
