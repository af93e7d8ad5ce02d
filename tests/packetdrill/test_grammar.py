"""What the grammar makes of scripts, and where and how it says that a script is malformed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.packetdrill import grammar, notation
from ustack.packetdrill.problems import Malformed, Unsupported
from ustack.packetdrill.script import (
    INBOUND,
    OUTBOUND,
    Apply,
    Array,
    Call,
    Code,
    Command,
    Either,
    Event,
    Field,
    IcmpSpec,
    Name,
    PacketSpec,
    Structure,
    TcpSpec,
    Time,
    TimeKind,
    TosCheck,
    UdpSpec,
)
from ustack.wire import tcp

SECOND = 1_000_000_000


def only_event(text: str, **defines: str) -> Event:
    events = grammar.parse(text, defines=defines).events
    assert len(events) == 1
    return events[0]


def segment_of(text: str) -> TcpSpec:
    action = only_event(f"0 {text}").action
    assert isinstance(action, PacketSpec)
    assert isinstance(action.transport, TcpSpec)
    return action.transport


def call_of(text: str) -> Call:
    action = only_event(f"0 {text}").action
    assert isinstance(action, Call)
    return action


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("0", Time(TimeKind.ABSOLUTE, 0)),
        ("1.5", Time(TimeKind.ABSOLUTE, 3 * SECOND // 2)),
        ("+.01", Time(TimeKind.RELATIVE, SECOND // 100)),
        ("+0.1~+0.2", Time(TimeKind.RELATIVE, SECOND // 10, SECOND // 5)),
        ("1 ~ 2", Time(TimeKind.ABSOLUTE, SECOND, 2 * SECOND)),
        ("*", Time(TimeKind.ANY)),
        ("+0.000000001", Time(TimeKind.RELATIVE, 1)),
    ],
)
def test_times_are_absolute_relative_ranges_or_any(text: str, time: Time) -> None:
    assert only_event(f"{text} > . 1:1(0) ack 1").time == time


@pytest.mark.parametrize("text", ["+0...0.25 read(3, ..., 10) = 5", "+0 ... 0.25 read(3, ..., 10) = 5"])
def test_a_blocking_call_has_an_end(text: str) -> None:
    event = only_event(text)
    assert isinstance(event.action, Call)
    assert event.action.end == SECOND // 4


@pytest.mark.parametrize(
    ("text", "flags", "by_ace"),
    [
        ("S", tcp.SYN, False),
        ("S.", tcp.SYN | tcp.ACK, False),
        ("FP.", tcp.FIN | tcp.PSH | tcp.ACK, False),
        (".", tcp.ACK, False),
        ("-", 0, False),
        ("SEW", tcp.SYN | tcp.ECE | tcp.CWR, False),
        ("SEWA", tcp.SYN | tcp.ECE | tcp.CWR | tcp.AE, False),
        (".5", tcp.ACK | tcp.AE | tcp.ECE, True),
        ("P.3", tcp.ACK | tcp.PSH | tcp.CWR | tcp.ECE, True),
        (".0", tcp.ACK, False),
        ("U.", tcp.URG | tcp.ACK, False),
    ],
)
def test_flags_are_letters_and_a_number_for_those_of_ecn(text: str, flags: int, by_ace: bool) -> None:
    segment = segment_of(f"> {text} 1:1(0) ack 1")
    assert (segment.flags, segment.by_ace) == (flags, by_ace)


@pytest.mark.parametrize(
    ("text", "wire"),
    [
        ("<mss 1460>", "020405b4"),
        ("<mss 1000,sackOK,nop,nop>", "020403e804020101"),
        ("<nop,nop,TS val 1 ecr 2>", "0101080a0000000100000002"),
        ("<nop,wscale 7>", "01030307"),
        ("<nop,nop,sack 1:2 3:4>", "01010512" + "00000001000000020000000300000004"),
        ("<FO>", None),
        ("<FO,nop,nop>", "22020101"),
        ("<FO 1122334455667788,nop,nop>", "220a1122334455667788" + "0101"),
        ("<FOEXP abcd,nop,nop>", "fe06f989abcd" + "0101"),
        ("<md5 000102030405060708090a0b0c0d0e0f,nop,nop>", "1312000102030405060708090a0b0c0d0e0f0101"),
        ("<ECN e0b 1 ceb 2 e1b 3,nop>", "ac0b000001000002000003" + "01"),
        ("<ECN e1b 1,nop,nop,nop>", "ae05000001" + "010101"),
        ("<ECN,nop,nop>", "ac020101"),
        ("<eol,eol,eol,eol>", "00000000"),
        ("<uto 5>", "1c040005"),
    ],
)
def test_options_are_bytes_in_the_order_of_the_script(text: str, wire: str | None) -> None:
    if wire is None:
        with pytest.raises(Malformed, match="whole 32-bit words"):
            segment_of(f"> . 1:1(0) ack 1 {text}")
    else:
        options = segment_of(f"> . 1:1(0) ack 1 {text}").options
        assert options is not None
        assert options.hex() == wire


def test_three_dots_are_any_options_of_an_outbound_segment() -> None:
    assert segment_of("> . 1:1(0) ack 1 <...>").options is None


def test_a_segment_may_have_window_urgent_pointer_and_ports() -> None:
    segment = segment_of("< 1234 > 80 U. 1:11(10) ack 2 win 100 urg 10")
    assert (segment.ports, segment.window, segment.urgent_pointer) == ((1234, 80), 100, 10)


def test_sequence_numbers_wrap() -> None:
    assert segment_of("> . 4294967295:9(10) ack 1").seq == 0xFFFFFFFF


@pytest.mark.parametrize(
    ("text", "check", "value"),
    [
        ("[ect0]", TosCheck.ECN, 2),
        ("[noecn]", TosCheck.ECN, 0),
        ("(ce)", TosCheck.ECN, 3),
        ("[ect01]", TosCheck.ECT, 0),
        ("[tos 0x10]", TosCheck.ALL, 0x10),
        ("[tos 0x10, flowlabel 0x2]", TosCheck.ALL, 0x10),
        ("[flowlabel 0x2]", TosCheck.NONE, 0),
        ("[ttl 5]", TosCheck.NONE, 0),
    ],
)
def test_the_ip_header_is_in_brackets(text: str, check: TosCheck, value: int) -> None:
    action = only_event(f"0 > {text} . 1:1(0) ack 1").action
    assert isinstance(action, PacketSpec)
    assert (action.ip.check, action.ip.traffic_class) == (check, value)
    assert action.ip.flow_label == (2 if "flowlabel" in text else 0)
    assert action.ip.ttl == (5 if "ttl" in text else 0)


@pytest.mark.parametrize(
    ("text", "spec"),
    [
        ("icmp unreachable", IcmpSpec("unreachable")),
        (
            "icmp unreachable frag_needed mtu 1200 [1:1461(1460)]",
            IcmpSpec("unreachable", "frag_needed", 1200, 0, TcpSpec(0, 1, 1460)),
        ),
        (
            "[1:1461(1460)] icmp unreachable frag_needed mtu 1200",
            IcmpSpec("unreachable", "frag_needed", 1200, 0, TcpSpec(0, 1, 1460)),
        ),
        ("icmp packet_too_big mtu 1280", IcmpSpec("packet_too_big", None, 1280)),
        (
            "icmp unreachable port_unreachable [udp (10)]",
            IcmpSpec("unreachable", "port_unreachable", quoted=UdpSpec(10)),
        ),
        ("icmp echo_request id 5", IcmpSpec("echo_request", identifier=5)),
        ("udp (1000)", UdpSpec(1000)),
        ("udp 1 > 2 (1000)", UdpSpec(1000, (1, 2))),
    ],
)
def test_other_packets_are_udp_datagrams_and_icmp_messages(text: str, spec: object) -> None:
    action = only_event(f"0 < {text}").action
    assert isinstance(action, PacketSpec)
    assert action.transport == spec


def test_arguments_are_numbers_names_strings_arrays_and_structures() -> None:
    call = call_of('f(..., -1, 0x10, A|B, "a\\n" "\\x01", [1], {..., 10}, {a=1, b(2)=[3]}, g("x")) = 0')
    assert call.arguments == (
        ..., -1, 16, Either(Name("A"), Name("B")), b"a\n\x01", Array((1,)), Structure((..., 10)),
        Structure((Field("a", 1), Field("b", Array((3,)), 2))), Apply("g", (b"x",)),
    )  # fmt: skip


def test_a_result_has_an_errno_and_a_note() -> None:
    call = call_of("read(3, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)")
    assert (call.result, call.error) == (-1, "EAGAIN")
    assert call_of("fcntl(3, F_GETFL) = 0x2 (flags O_RDWR)").result == 2
    assert call_of("fcntl(3, F_GETFL) = O_RDWR|O_NONBLOCK (flags, both)").result == Either(
        Name("O_RDWR"), Name("O_NONBLOCK")
    )


def test_comments_are_those_of_c_and_of_freebsd() -> None:
    text = "// one\n/* two\n lines */ 0 `true # no comment of ours` # three\n+0 `true` // four"
    script = grammar.parse(text)
    assert [event.action for event in script.events] == [Command("true # no comment of ours"), Command("true")]


def test_commands_around_the_events_have_no_time() -> None:
    script = grammar.parse("--mss=1000\n--define=A=B\n`first`\n0 %{ code }%\n`last`")
    assert script.options == [("mss", "1000"), ("define", "A=B")]
    assert (script.init, script.cleanup) == (Command("first"), Command("last"))
    assert script.events[0].action == Code("code")


def test_words_are_replaced_by_what_they_are_defined_as() -> None:
    assert call_of("f(A) = 0").arguments == (Name("A"),)
    text = "0 f(A, B, C) = 0"
    action = grammar.parse(text, defines={"A": "7", "B": '"x"', "C": "D"}).events[0].action
    assert isinstance(action, Call)
    assert action.arguments == (7, b"x", Name("D"))


def test_an_option_of_the_script_defines_words_too() -> None:
    action = grammar.parse("--define=A=7\n0 f(A) = 0").events[0].action
    assert isinstance(action, Call)
    assert action.arguments == (7,)


def test_an_event_has_the_line_of_its_time() -> None:
    script = grammar.parse("\n0 `a\nb\nc`\n+0\n  `d`\n")
    assert [event.line for event in script.events] == [2, 5]


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        ("", 1, 1, "expected an event, found the end of the script"),
        ("x", 1, 1, "expected the time of an event, found 'x'"),
        ("0 = 3", 1, 3, "expected a packet, a system call, a command or code, found '='"),
        ("0 > . 1:2(0) ack 1", 1, 7, "expected 1:1(0), found 1:2(0)"),
        ("0 > Q. 1:1(0) ack 1", 1, 5, "expected TCP flags of FSRPEWAU. or a number to 7, found 'Q.'"),
        ("0 > E.1 1:1(0) ack 1", 1, 5, "one way to tell the ECN flags, found 'E.1'"),
        ("0 < . 1:1(0) ack 1", 1, 19, "expected 'win' (every inbound segment says its window), found the end"),
        ("0 < . 1:1(0) ack 1 win 70000", 1, 24, "expected a window from 0 to 65535, found 70000"),
        ("0 < . 1:1(0) ack 1 win 1 <...>", 1, 26, "found <...> (which is for outbound segments only)"),
        ("0 > . 1:1(0) ack 1 <mss>", 1, 24, "expected an MSS, found '>'"),
        ("0 > . 1:1(0) ack 1 <bad 1>", 1, 21, "expected a TCP option, found 'bad'"),
        ("0 > . 1:1(0) ack 1 <mss 1 nop>", 1, 27, "expected ',' or '>', found 'nop'"),
        ("0 > . 1:1(0) ack 1 <FO xyz>", 1, 24, "expected a cookie of hexadecimal digits, found 'xyz'"),
        ("0 > [ect9] . 1:1(0)", 1, 6, "expected noecn, ect0, ect1, ce, tos, ttl, flowlabel or ']'"),
        ("0 read(3, ..., 10 = 5", 1, 19, "expected ',' or ')', found '='"),
        ("0 read(3, ..., 10)", 1, 19, "expected '=', found the end of the script"),
        ("0 read(3 = 1", 1, 10, "expected ',' or ')'"),
        ("0 read() = 1 EAGAIN (never", 1, 27, "expected ')', found the end of the script"),
        ("0 `never", 1, 3, "a command begins here and has no end"),
        ('0 f("never) = 0', 1, 5, "a string begins here and has no end"),
        ("0 %{ never", 1, 3, "a code begins here and has no end"),
        ("/* never", 1, 1, "a comment begins here and has no end"),
        ('0 f("\\q") = 0', 1, 5, "expected an escape such as \\n or \\x00, found \\q"),
        ("+-1 `x`", 1, 2, "expected a time that is not negative, found -1"),
        ("+2~+1 > . 1:1(0)", 1, 1, "expected a range of time that does not run backwards"),
        ("* `x`", 1, 1, "expected one time, found * (which is for outbound packets only)"),
        ("0~1 `x`", 1, 1, "expected one time, found a range"),
        ("1...0.5 read() = 1", 1, 2, "expected a time not before the call's begin"),
        ("0 `a`\n\n  `b`\n0 `c`", 4, 1, "expected the time of an event, found '0'"),
        ("--mss=", 1, 7, "expected the value of --mss"),
        ("0 > udp 1000", 1, 9, "expected '(', found '1000'"),
        ("0 < icmp 5", 1, 10, "expected an ICMP type, found '5'"),
    ],
)
def test_malformed_scripts_are_told_by_line_column_and_what_was_expected(
    text: str, line: int, column: int, message: str
) -> None:
    with pytest.raises(Malformed) as caught:
        grammar.parse(text, "some.pkt")
    assert message in caught.value.message
    assert (caught.value.line, caught.value.column) == (line, column)
    assert str(caught.value).startswith(f"some.pkt:{line}:{column}: ")


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("0 > ipv4 1.2.3.4 > 5.6.7.8: . 1:1(0)", "tunnels"),
        ("0 > gre: . 1:1(0)", "tunnels"),
        ("0 > mpls (label 1, tc 0, ttl 0): . 1:1(0)", "MPLS labels"),
        ("0 > sctp: DATA", "SCTP packets"),
        ("0 > encap psp spi 1 . 1:1(0)", "PSP packets"),
        ("0 f(1.5) = 0", "decimal numbers"),
    ],
)
def test_what_the_language_has_and_the_runner_has_not_is_unsupported(text: str, what: str) -> None:
    with pytest.raises(Unsupported, match=what):
        grammar.parse(text)


@given(st.text(max_size=200))
def test_no_text_raises_anything_but_that_it_is_malformed(text: str) -> None:
    try:
        grammar.parse(text)
    except (Malformed, Unsupported):
        return


_TOKENS = st.sampled_from(
    [
        *("0", "+0", "+.1", "*", "~", "...", "<", ">", "S.", ".", "1:1(0)", "ack 1", "win 1", "<mss 1>", "icmp", "udp"),
        *("(1)", "read(", ")", "= 0", "= -1 EAGAIN", "[1]", "{", "}", "`x`", "%{ x }%", "--mss=1", "[ect0]", "urg"),
        *("sack 1:2", ","),
    ]
)


@given(st.lists(_TOKENS, max_size=12).map(" ".join))
def test_no_order_of_tokens_raises_anything_but_that_it_is_malformed(text: str) -> None:
    try:
        grammar.parse(text)
    except (Malformed, Unsupported):
        return


_U32 = st.integers(0, 0xFFFFFFFF)
_OPTIONS = st.sampled_from(
    ["", "<mss 1460>", "<nop,nop,TS val 5 ecr 6>", "<mss 1000,sackOK,nop,nop,nop,wscale 8>", "<nop,nop,sack 1:2 3:4>",
     "<FO abcd,nop,nop,nop,nop>", "<ECN e1b 1 ceb 2 e0b 3,nop>"]
)  # fmt: skip


@given(
    flags=st.sampled_from(["S", "S.", ".", "P.", "F.", "FP.", "R", "R.", "-", "SEW", "E.", "SEWA"]),
    seq=_U32, length=st.integers(0, 0xFFFF), ack=_U32, window=st.integers(0, 0xFFFF), options=_OPTIONS,
)  # fmt: skip
def test_a_segment_in_notation_reads_as_itself(
    flags: str, seq: int, length: int, ack: int, window: int, options: str
) -> None:
    acknowledged = f" ack {ack}" if "." in flags else ""
    text = f"{flags} {seq}:{(seq + length) % 2**32}({length}){acknowledged} win {window} {options}"
    segment = segment_of(f"> {text}")
    action = only_event(f"0 < {text}").action
    assert isinstance(action, PacketSpec)
    assert (segment.seq, segment.length, segment.window) == (seq, length, window)
    again = segment_of(f"> {notation.format_spec(PacketSpec(INBOUND, action.ip, segment))}")
    assert again == segment
    assert OUTBOUND == ">"
