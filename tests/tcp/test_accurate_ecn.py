"""Accurate ECN: the handshake, and the counters both ways.  RFC 9768."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.stream import drain, read, write
from ustack.config import StackConfig, TcpConfig
from ustack.native import lib
from ustack.sim.peer import Peer, Sent
from ustack.tcp.connection import Connection
from ustack.wire.tcp_options import ACCURATE_ECN_0, ACCURATE_ECN_1, AccurateEcn

NOT_ECT, ECT_1, ECT_0, CE = range(4)
STREAM = bytes(range(256)) * 200
FIRST = AccurateEcn(ACCURATE_ECN_0, (1, 0, 1))


def peer_with(version: int, **tcp: Any) -> Peer:
    """A peer of a stack that has Accurate ECN, with these settings of TCP."""
    return Peer(version, StackConfig(tcp=TcpConfig(**{"ecn": 3, **tcp})))


def codepoint(sent: Sent) -> int:
    """The ECN codepoint of a packet."""
    return sent.traffic_class & 3


def told(sent: Sent) -> tuple[int, ...] | None:
    """The byte counters of the option in a segment, which is always of order 1: ECT(1), CE, ECT(0)."""
    option = sent.options.accurate_ecn
    assert option is None or option.kind == ACCURATE_ECN_1
    return None if option is None else option.counters


def feedback(e0b: int, ceb: int, e1b: int) -> AccurateEcn:
    """An option of order 0 for bytes that have arrived."""
    return AccurateEcn(ACCURATE_ECN_0, (e0b + 1, ceb, e1b + 1))


def accepted(peer: Peer, option: AccurateEcn | None = FIRST, mark: int = ECT_0, mss: int = 1050) -> Connection:
    """A connection that the peer has opened with Accurate ECN, its third ACK marked so."""
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=mss, sack_permitted=True)
    peer.expect("SW.", 0, 1)
    peer.inject("W.", 1, 1, traffic_class=mark, accurate_ecn=option)
    connection = listener.accept()
    assert isinstance(connection, Connection)
    peer.expect_nothing()
    return connection


def connected(peer: Peer, option: AccurateEcn | None = FIRST, mark: int = NOT_ECT, mss: int = 1460) -> Connection:
    """A connection that the stack has opened with Accurate ECN; the <SYN,ACK> was marked so."""
    connection = peer.connect()
    assert codepoint(peer.expect("SEWA", 0)) == NOT_ECT
    peer.inject("SW.", 0, 1, mss=mss, sack_permitted=True, accurate_ecn=option, traffic_class=mark)
    return connection


# The handshake.


@pytest.mark.parametrize(("mark", "flags"), [(NOT_ECT, "SW."), (ECT_1, "SEW."), (ECT_0, "SA."), (CE, "SWA.")])
def test_a_syn_ack_tells_the_codepoint_of_the_syn(version: int, mark: int, flags: str) -> None:
    peer = peer_with(version)
    peer.listen()
    peer.inject("SEWA", 0, mss=1460, sack_permitted=True, window_scale=8, traffic_class=mark)
    answer = peer.expect(flags, 0, 1)
    assert codepoint(answer) == NOT_ECT
    assert told(answer) == (1, 0, 1)


@pytest.mark.parametrize("asked", [1, 2, 4, 5, 6])
def test_flags_without_a_meaning_ask_for_it_too(version: int, asked: int) -> None:
    peer = peer_with(version)
    peer.listen()
    peer.inject(f"S{asked}", 0)
    peer.expect("SW.", 0, 1)


@pytest.mark.parametrize(("ecn", "flags"), [(0, "S."), (1, "SE."), (2, "SE."), (3, "SW."), (4, "SW."), (5, "SW.")])
def test_the_configuration_says_what_a_passive_open_grants(version: int, ecn: int, flags: str) -> None:
    peer = peer_with(version, ecn=ecn)
    peer.listen()
    peer.inject("SEWA", 0)
    peer.expect(flags, 0, 1)


@pytest.mark.parametrize("ecn", [3, 4, 5])
def test_a_peer_that_asks_for_the_classic_feedback_gets_that(version: int, ecn: int) -> None:
    peer = peer_with(version, ecn=ecn)
    peer.listen()
    peer.inject("SEW", 0)
    peer.expect("SE.", 0, 1)


@pytest.mark.parametrize(("mark", "flags"), [(NOT_ECT, "W."), (ECT_1, "EW."), (ECT_0, "A."), (CE, "WA.")])
def test_the_first_ack_tells_the_codepoint_of_the_syn_ack(version: int, mark: int, flags: str) -> None:
    peer = peer_with(version)
    connected(peer, mark=mark)
    third = peer.expect(flags, 1, 1)
    assert codepoint(third) == ECT_0
    assert told(third) == (1, 0, 1)


@pytest.mark.parametrize("flags", ["S.", "SEWA."])
def test_an_answer_that_is_none_or_an_echo_of_our_flags_means_no_ecn(version: int, flags: str) -> None:
    peer = peer_with(version)
    connection = peer.connect()
    peer.expect("SEWA", 0)
    peer.inject(flags, 0, 1, mss=1460)
    assert codepoint(peer.expect(".", 1, 1)) == NOT_ECT
    assert connection.tcb.ecn_mode == lib.ECN_NONE


def test_a_peer_that_only_knows_the_classic_feedback_gets_that(version: int) -> None:
    peer = peer_with(version)
    connection = peer.connect()
    peer.expect("SEWA", 0)
    peer.inject("SE.", 0, 1, mss=1460)
    assert codepoint(peer.expect(".", 1, 1)) == NOT_ECT
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("P.", 1, 1)) == ECT_0
    assert connection.tcb.ecn_mode == lib.ECN_CLASSIC


def test_a_syn_that_got_lost_twice_is_sent_without_flags(version: int) -> None:
    peer = peer_with(version)
    peer.connect()
    peer.advance(8000)
    assert [each.flags for each in drain(peer)][:4] == ["SEWA", "SEWA", "S", "S"]


def test_a_syn_ack_is_sent_again_without_the_option_then_without_the_flags(version: int) -> None:
    peer = peer_with(version)
    peer.listen()
    peer.inject("SEWA", 0, mss=1460, sack_permitted=True, window_scale=8)
    assert told(peer.expect("SW.", 0, 1)) == (1, 0, 1)
    peer.advance(1000)
    assert told(peer.expect("SW.", 0, 1)) is None
    peer.advance(2000)
    assert told(peer.expect("S.", 0, 1)) is None
    peer.advance(4000)
    assert told(peer.expect("S.", 0, 1)) is None


def test_after_a_syn_without_flags_nothing_is_ecn_capable_but_feedback_goes_on(version: int) -> None:
    peer = peer_with(version)
    listener = peer.listen()
    peer.inject("SEWA", 0, sack_permitted=True, traffic_class=ECT_0)
    peer.expect("SA.", 0, 1)
    peer.advance(100)
    peer.inject("S", 0, sack_permitted=True)
    assert told(peer.expect("SW.", 0, 1)) is None
    peer.inject("W.", 1, 1, accurate_ecn=FIRST)
    connection = listener.accept()
    write(peer, connection, STREAM[:100])
    data = peer.expect("P5.", 1, 1)
    assert (codepoint(data), told(data)) == (NOT_ECT, (1, 0, 1))


def test_a_syn_without_flags_first_means_no_ecn(version: int) -> None:
    peer = peer_with(version)
    peer.listen()
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject("SEWA", 0, traffic_class=ECT_0)
    peer.expect("S.", 0, 1)


def test_a_third_ack_with_bleached_flags_stops_ecn_capable_packets(version: int) -> None:
    peer = peer_with(version)
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=1050, sack_permitted=True)
    peer.expect("SW.", 0, 1)
    peer.inject(".", 1, 1, traffic_class=ECT_0, accurate_ecn=FIRST)
    write(peer, listener.accept(), STREAM[:1000])
    assert codepoint(peer.expect("EAP.", 1, 1)) == NOT_ECT


@pytest.mark.parametrize(("flags", "capable"), [("W.", True), ("A.", False), ("EW.", False), ("WA.", False)])
def test_a_third_ack_that_tells_the_impossible_shows_a_network_that_meddles(
    version: int, flags: str, capable: bool
) -> None:
    peer = peer_with(version)
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=1050)
    peer.expect("SW.", 0, 1)
    peer.inject(flags, 1, 1, traffic_class=ECT_0)
    connection = listener.accept()
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("EAP.", 1, 1)) == (ECT_0 if capable else NOT_ECT)
    assert connection.tcb.delivered_ce == 0


def test_without_the_check_a_marked_syn_ack_counts(version: int) -> None:
    peer = peer_with(version, ecn_fallback=False)
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=1050)
    peer.expect("SW.", 0, 1)
    peer.inject("WA.", 1, 1, traffic_class=ECT_0)
    connection = listener.accept()
    assert connection.tcb.delivered_ce == 1
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("EAP.", 1, 1)) == ECT_0


def test_a_marked_third_ack_counts_as_received(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer, mark=CE)
    write(peer, connection, STREAM[:1000])
    assert told(peer.expect("6P.", 1, 1)) == (1, 0, 1)


def test_a_syn_ack_that_comes_again_is_answered_by_its_own_codepoint(version: int) -> None:
    peer = peer_with(version)
    connected(peer)
    peer.expect("W.", 1, 1)
    peer.advance(600)
    peer.inject("S.", 0, 1, mss=1460, traffic_class=ECT_0)
    assert told(peer.expect("A.", 1, 1)) == (1, 0, 1)


def test_both_sides_may_open_at_once(version: int) -> None:
    peer = peer_with(version)
    connection = peer.connect()
    peer.expect("SEWA", 0)
    peer.inject("SEWA", 0, mss=1460, sack_permitted=True, traffic_class=ECT_0)
    assert told(peer.expect("SA.", 0, 1)) == (1, 0, 1)
    peer.inject("W.", 1, 1, traffic_class=ECT_0)
    write(peer, connection, STREAM[:100])
    assert codepoint(peer.expect("5P.", 1, 1)) == ECT_0


# What we tell.


def test_marks_are_counted_modulo_eight_and_bytes_by_codepoint(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    expected = [(CE, 6, (1, 1000, 1)), (ECT_0, 6, (1, 1000, 1001)), (CE, 7, (1, 2000, 1001)),
                (ECT_1, 7, (1001, 2000, 1001)), (CE, 0, (1001, 3000, 1001))]  # fmt: skip
    for index, (mark, count, counters) in enumerate(expected):
        peer.advance(50)
        peer.inject("5P.", 1 + 1000 * index, 1, bytes(1000), traffic_class=mark, accurate_ecn=FIRST)
        answer = peer.expect(f"{count}.", 1, 1001 + 1000 * index)
        assert (codepoint(answer), told(answer)) == (ECT_0, counters)
        assert len(read(peer, connection)) == 1000


def test_all_packets_are_ecn_capable_retransmissions_too(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("5P.", 1, 1)) == ECT_0
    peer.advance(1500)
    again = drain(peer)
    assert again
    assert {codepoint(each) for each in again} == {ECT_0}


def test_pure_acks_with_a_mark_count_but_are_not_answered(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    write(peer, connection, STREAM[:1000])
    peer.expect("5P.", 1, 1)
    peer.inject("5.", 1, 1001, traffic_class=CE)
    peer.expect_nothing()
    write(peer, connection, STREAM[:1000])
    assert told(peer.expect("6P.", 1001, 1)) == (1, 0, 1)


@pytest.mark.parametrize(("mode", "with_option"), [(0, False), (1, True), (2, True)])
def test_the_option_may_be_left_out_or_seldom(version: int, mode: int, with_option: bool) -> None:
    peer = peer_with(version, ecn_option=mode, ecn_option_beacon=0)
    connection = accepted(peer, mark=NOT_ECT)
    for _ in range(4):
        write(peer, connection, STREAM[:100])
        latest = peer.sent.popleft()
        peer.advance(10)
        peer.inject("5.", 1, latest.seq + 100)
    assert (told(latest) is not None) == (mode == 2)
    peer.inject("5P.", 1, 401, bytes(100), traffic_class=CE)
    assert (told(peer.sent.popleft()) is not None) == with_option


def test_the_option_is_not_sent_to_a_peer_that_does_not_send_it(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer, option=None)
    write(peer, connection, STREAM[:1000])
    assert told(peer.expect("5P.", 1, 1)) is None
    peer.inject("5.", 1, 1001, accurate_ecn=feedback(1000, 0, 0))
    write(peer, connection, STREAM[:1000])
    assert told(peer.expect("5P.", 1001, 1)) == (1, 0, 1)


def test_the_option_takes_the_place_of_padding_and_of_the_third_block(version: int) -> None:
    peer = peer_with(version)
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=1050, sack_permitted=True, timestamps=(1, 0), window_scale=8)
    stamp = peer.expect("SW.", 0, 1).options.timestamps
    assert stamp is not None
    peer.inject("W.", 1, 1, traffic_class=ECT_0, timestamps=(2, stamp[0]), accurate_ecn=FIRST)
    assert listener.accept_queue
    layouts = []
    for index, (start, mark) in enumerate([(1001, ECT_1), (3001, ECT_1), (5001, CE), (7001, ECT_0)]):
        peer.inject("5P.", start, 1, bytes(1000), traffic_class=mark, timestamps=(3 + index, stamp[0]))
        answer = drain(peer)[-1]
        layouts.append((len(told(answer) or ()), len(answer.options.sack_blocks)))
    assert layouts == [(3, 1), (2, 2), (2, 2), (0, 3)]


def test_acks_whose_option_gets_them_lost_are_sent_without(version: int) -> None:
    peer = peer_with(version)
    accepted(peer)
    told_again = []
    for _ in range(4):
        peer.advance(300)
        peer.inject("5P.", 1, 1, bytes(1000), traffic_class=ECT_0, accurate_ecn=FIRST)
        told_again.append(told(drain(peer)[-1]) is not None)
    assert told_again == [True, True, False, False]


# What we are told.


def test_marks_and_bytes_that_the_peer_tells_are_counted(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    tcb = connection.tcb
    steps = [(6, (0, 1000, 0), 1), (6, (1000, 1000, 0), 1), (7, (1000, 2000, 0), 2), (7, (1000, 2000, 1000), 2),
             (0, (1000, 3000, 1000), 3)]  # fmt: skip
    for index, (count, counters, marks) in enumerate(steps):
        write(peer, connection, STREAM[:1000])
        peer.expect("5P.", 1 + 1000 * index)
        peer.advance(50)
        peer.inject(f"{count}.", 1, 1001 + 1000 * index, traffic_class=ECT_0, accurate_ecn=feedback(*counters))
        assert tcb.delivered_ce == marks
        assert list(tcb.delivered_ecn_bytes) == [counters[2], counters[0], counters[1]]


def test_a_mark_reduces_the_window_without_cwr(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    write(peer, connection, STREAM[:10_000])
    drain(peer)
    peer.inject("6.", 1, 1039, traffic_class=ECT_0)
    assert connection.tcb.ca_state == lib.CA_CWR
    peer.inject("6.", 1, 10_001, traffic_class=ECT_0)
    write(peer, connection, STREAM[:1000])
    assert drain(peer)[0].flags.count("W") == 0


def test_an_ack_that_tells_nothing_new_tells_no_marks(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    write(peer, connection, STREAM[:1000])
    peer.expect("5P.")
    peer.inject("6.", 1, 1, traffic_class=ECT_0, accurate_ecn=feedback(0, 1000, 0))
    assert connection.tcb.delivered_ce == 0
    assert list(connection.tcb.delivered_ecn_bytes) == [0, 0, 0]


@pytest.mark.parametrize(("later", "marks"), [(2, 0), (3, 1)])
def test_a_timestamp_that_advances_makes_it_new(version: int, later: int, marks: int) -> None:
    peer = peer_with(version)
    listener = peer.listen()
    peer.inject("SEWA", 0, mss=1050, sack_permitted=True, timestamps=(1, 0))
    stamp = peer.expect("SW.", 0, 1).options.timestamps
    assert stamp is not None
    peer.inject("W.", 1, 1, traffic_class=ECT_0, timestamps=(2, stamp[0]))
    connection = listener.accept()
    write(peer, connection, STREAM[:1000])
    drain(peer)
    peer.inject("6.", 1, 1, traffic_class=ECT_0, timestamps=(later, stamp[0]))
    assert connection.tcb.delivered_ce == marks


def test_a_first_large_ack_without_the_option_is_taken_for_thinned_acks(version: int) -> None:
    peer = peer_with(version, ecn_option=0)
    connection = accepted(peer, option=None, mss=1460)
    write(peer, connection, STREAM[:14_600])
    drain(peer)
    peer.inject("5.", 1, 14_601, traffic_class=ECT_0)
    assert connection.tcb.delivered_ce == 0


def test_a_later_large_ack_without_the_option_is_taken_for_the_worst(version: int) -> None:
    peer = peer_with(version, ecn_option=0)
    connection = accepted(peer, option=None, mss=1460)
    write(peer, connection, STREAM[:14_600])
    drain(peer)
    peer.inject("5.", 1, 1461, traffic_class=ECT_0)
    peer.inject("5.", 1, 14_601, traffic_class=ECT_0)
    assert connection.tcb.delivered_ce == 8


def test_the_option_tells_whether_the_counter_has_wrapped(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer, mss=1460)
    peer.stack.config.tcp.ecn_option = 0
    write(peer, connection, STREAM[:14_600])
    drain(peer)
    peer.inject("5.", 1, 1460, traffic_class=ECT_0, accurate_ecn=feedback(1460, 0, 0))
    peer.inject("5.", 1, 14_601, traffic_class=ECT_0, accurate_ecn=feedback(14_600, 0, 0))
    assert connection.tcb.delivered_ce == 0
    assert connection.tcb.delivered_ecn_bytes[ECT_0 - 1] == 14_600


@pytest.mark.parametrize("counters", [(0, 0, 1), (1, 0, 0), (0,)])
def test_an_option_that_was_zeroed_on_its_way_is_ignored(version: int, counters: tuple[int, ...]) -> None:
    peer = peer_with(version)
    connection = accepted(peer, option=AccurateEcn(ACCURATE_ECN_0, counters))
    write(peer, connection, STREAM[:1000])
    drain(peer)
    peer.inject("5.", 1, 1001, traffic_class=ECT_0, accurate_ecn=feedback(1000, 0, 0))
    assert list(connection.tcb.delivered_ecn_bytes) == [0, 0, 0]


def test_without_the_option_bytes_count_for_the_codepoint_that_it_told_of_last(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer)
    for index, option in enumerate((feedback(1000, 0, 0), None, None)):
        write(peer, connection, STREAM[:1000])
        drain(peer)
        peer.inject("5.", 1, 1001 + 1000 * index, traffic_class=ECT_0, accurate_ecn=option)
    assert list(connection.tcb.delivered_ecn_bytes) == [0, 3000, 0]


def test_bytes_that_were_sacked_count_once(version: int) -> None:
    peer = peer_with(version)
    connection = accepted(peer, mss=1012)
    write(peer, connection, STREAM[:1000])
    peer.inject("5.", 1, 1001, traffic_class=ECT_0, accurate_ecn=feedback(1000, 0, 0))
    write(peer, connection, STREAM[:4000])
    first = peer.stack_isn or 0
    for ack, sacked_from, delivered in ((1001, 4001, 2000), (1001, 3001, 3000), (5001, 0, 5000)):
        drain(peer)
        blocks = ((first + sacked_from & 0xFFFFFFFF, first + 5001 & 0xFFFFFFFF),) if sacked_from else ()
        peer.inject("5.", 1, ack, traffic_class=ECT_0, sack_blocks=blocks)
        assert list(connection.tcb.delivered_ecn_bytes) == [0, delivered, 0]


def test_random_feedback_breaks_nothing(version: int) -> None:
    """A peer that lies about marks and bytes harms nobody but itself."""
    peer = peer_with(version)
    connection = accepted(peer)
    acknowledged, state = 1, 12345
    for _ in range(200):
        state = (state * 1103515245 + 12345) % (1 << 31)
        if connection.tcb.snd_ring.length < 10_000:
            write(peer, connection, STREAM[:5000])
        peer.advance(20)
        acknowledged = max([acknowledged, *(each.seq + len(each.payload) for each in drain(peer))])
        option = AccurateEcn(172 + 2 * (state >> 20 & 1), tuple(state * factor % (1 << 24) for factor in (1, 7, 13)))
        peer.inject(f"{state >> 8 & 7}.", 1, acknowledged, traffic_class=state >> 12 & 3, accurate_ecn=option)
    assert connection.tcb.state == lib.TCP_ESTABLISHED
    assert acknowledged > 50_000


def test_a_controller_of_the_l4s_kind_sends_ect_1_and_counts_marks(version: int) -> None:
    """RFC 9331 §4.1."""
    peer = peer_with(version, ecn=0, congestion_control="prague")
    connection = peer.connect()
    assert codepoint(peer.expect("SEWA", 0)) == ECT_1
    peer.inject("SEW.", 0, 1, mss=1460, sack_permitted=True, accurate_ecn=FIRST)
    assert codepoint(peer.expect("W.", 1, 1)) == ECT_1
    write(peer, connection, STREAM[:1000])
    assert codepoint(peer.expect("5P.", 1, 1)) == ECT_1
    peer.inject("6.", 1, 1001, traffic_class=ECT_1, accurate_ecn=feedback(0, 1000, 0))
    assert connection.tcb.delivered_ce == 1
