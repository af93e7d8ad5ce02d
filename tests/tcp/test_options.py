"""Options of segments, known and unknown, well formed and not.  RFC 9293 §3.1, §3.2."""

from __future__ import annotations

import pytest

from tests.support.requirement import requirement
from tests.support.stream import drain, dropped, established, read, state_of, write
from ustack.config import StackConfig, TcpConfig
from ustack.drops import DropReason
from ustack.sim.peer import Peer
from ustack.tcp.state import State
from ustack.wire import tcp_options
from ustack.wire.tcp_options import TcpOptions

MSS_1000 = b"\x02\x04\x03\xe8"


def largest_segment(peer: Peer, raw_options: bytes) -> int:
    """The payload of a full segment after a SYN with these options."""
    listener = peer.listen()
    peer.inject("S", 0, raw_options=raw_options)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    write(peer, listener.accept(), bytes(5000))
    return max(len(each.payload) for each in drain(peer))


@requirement("RFC9293", "MUST-4")
@requirement("RFC9293", "MUST-64")
@pytest.mark.parametrize(
    "options",
    [
        MSS_1000,
        b"\x01" + MSS_1000 + b"\x01\x01\x01",
        b"\x01\x01" + MSS_1000 + b"\x00\x00",
        b"\x01\x01\x01" + MSS_1000 + b"\x00",
        b"\x01" * 36 + MSS_1000,
        MSS_1000 + b"\x00\x02\x04\x05",
    ],
)
def test_an_option_may_begin_at_any_byte(peer: Peer, options: bytes) -> None:
    assert largest_segment(peer, options) == 1000


@requirement("RFC9293", "MUST-69")
def test_what_follows_the_end_of_the_list_is_not_looked_at(peer: Peer) -> None:
    assert largest_segment(peer, b"\x00\x00\x00\x00" + MSS_1000) in (536, 1220)


@requirement("RFC9293", "MUST-6")
@requirement("RFC9293", "MUST-68")
def test_unknown_options_are_skipped_by_their_length(peer: Peer) -> None:
    assert largest_segment(peer, b"\xfd\x06abcd" + b"\x4a\x02" + b"\xfe\x04xy" + MSS_1000) == 1000


@requirement("RFC9293", "MUST-5")
@pytest.mark.parametrize(
    "options",
    [
        b"\x01\x01\x01\x01",
        b"\x00\x00\x00\x00",
        MSS_1000,
        b"\x03\x03\x0e\x00",
        b"\x04\x02\x01\x01",
        b"\xfd\x08abcdef",
        tcp_options.build(TcpOptions(sack_blocks=((1, 2), (5, 6)))),
        tcp_options.build(TcpOptions(user_timeout=7)),
        tcp_options.build(TcpOptions(fast_open_cookie=bytes(8))),
        b"\x01" * 40,
    ],
)
def test_options_are_accepted_in_any_segment(peer: Peer, options: bytes) -> None:
    connection = established(peer, mss=1400)
    peer.inject("P.", 1, 1, b"data", raw_options=options)
    assert read(peer, connection) == b"data"
    assert connection.tcb.peer_mss == 1400
    assert connection.tcb.snd_wscale == 0
    assert not connection.tcb.sack_permitted


@requirement("RFC9293", "MUST-7")
@pytest.mark.parametrize(
    "options",
    [
        b"\x02\x00\x00\x00",
        b"\x02\x01\x00\x00",
        b"\x02\x03\x00\x00",
        b"\x02\x05\x00\x00\x00\x00\x00\x00",
        b"\x01\x01\x01\x02",
        b"\x02\x04\x05",
        b"\xfd\x00\x00\x00",
        b"\xfd\x01\x00\x00",
        b"\xfd\x28\x00\x00",
        b"\x01\x01\x01\xfd",
        b"\x05\x0b" + bytes(10),
        b"\x08\x09" + bytes(10),
    ],
)
@pytest.mark.parametrize("flags", ["S", "P."])
def test_an_illegal_length_ends_the_segment_and_nothing_else(peer: Peer, options: bytes, flags: str) -> None:
    connection = established(peer)
    padded = options + bytes(-len(options) % 4)
    if len(options) % 4 and options[0] == 2:
        padded = b"\x01" * (-len(options) % 4) + options
    with dropped(peer, DropReason.TCP_OPTION_LENGTH):
        peer.inject(flags, 1, 1, b"data", raw_options=padded)
    peer.expect_nothing()
    assert state_of(connection) == State.ESTABLISHED
    peer.inject("P.", 1, 1, b"fine")
    assert read(peer, connection) == b"fine"


@requirement("RFC9293", "MUST-65")
def test_mss_window_scale_and_sack_permitted_are_sent_in_syns_only(peer: Peer) -> None:
    connection = established(peer, mss=1400, window_scale=3, sack_permitted=True, timestamps=(1, 0))
    write(peer, connection, bytes(3000))
    peer.inject(".", 2, 1, b"x", timestamps=(1, 0))
    connection.abort(peer.now)
    peer.collect()
    for segment in drain(peer):
        assert segment.options.mss is None
        assert segment.options.window_scale is None
        assert not segment.options.sack_permitted


def test_of_an_option_that_comes_twice_the_last_counts(peer: Peer) -> None:
    assert largest_segment(peer, b"\x02\x04\x05\x00" + MSS_1000) == 1000


@requirement("RFC7323", "2.3")
@pytest.mark.parametrize(("shift", "scale"), [(0, 0), (7, 7), (14, 14), (15, 14), (255, 14)])
def test_a_window_scale_over_14_is_taken_as_14(peer: Peer, shift: int, scale: int) -> None:
    listener = peer.listen()
    peer.inject("S", 0, window_scale=shift, window=1000)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1, window=3)
    assert listener.accept().tcb.snd_wnd == 3 << scale


@requirement("RFC7323", "2.3")
@pytest.mark.parametrize(
    ("most", "shift"), [(1 << 20, 7), (6_291_456, 7), (15 << 20, 8), (32 << 20, 10), (1 << 30, 14)]
)
def test_the_scale_leaves_room_for_the_largest_buffer(version: int, most: int, shift: int) -> None:
    peer = Peer(version, StackConfig(tcp=TcpConfig(rmem=(4096, 131_072, most))))
    peer.listen()
    peer.inject("S", 0, window_scale=0)
    assert peer.expect("S.", 0, 1).options.window_scale == shift


@pytest.mark.parametrize(("limit", "shift"), [(2304, 0), (100_000, 0), (131_072, 1), (1 << 20, 4)])
def test_a_buffer_that_the_user_has_chosen_is_scaled_for_itself(peer: Peer, limit: int, shift: int) -> None:
    endpoint = peer.socket()
    endpoint.options.receive_buffer = limit
    endpoint.bind(peer.local, peer.local_port)
    endpoint.listen(1)
    peer.inject("S", 0, window_scale=0)
    assert peer.expect("S.", 0, 1).options.window_scale == shift
