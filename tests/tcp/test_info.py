"""TCP_INFO: every field is true, and stands where Linux's `struct tcp_info` has it."""

from __future__ import annotations

import socket as stdlib
from typing import Any

import pytest

from tests.support.stream import connected, established, read, shut, write
from ustack.sim.peer import Peer
from ustack.tcp import info

ESTABLISHED, SYN_SENT, FIN_WAIT_1, FIN_WAIT_2, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN = 1, 2, 4, 5, 7, 8, 9, 10
"""`tcpi_state`, as Linux counts."""


def told(peer: Peer, endpoint: Any) -> dict[str, int]:
    """The fields of TCP_INFO now."""
    return info.decode(endpoint.tcp_info(peer.now))


def kernel_info(sock: stdlib.socket) -> dict[str, int]:
    """The kernel's; fields that it does not have are zero."""
    value = sock.getsockopt(stdlib.IPPROTO_TCP, stdlib.TCP_INFO, 512)
    return info.decode(value[: info.SIZE].ljust(info.SIZE, b"\0"))


def test_the_structure_is_as_long_as_linux_6_18_has_it() -> None:
    assert info.SIZE == 280


def test_an_unopened_socket_tells_what_the_kernel_tells(peer: Peer) -> None:
    ours = told(peer, peer.socket())
    with stdlib.socket() as sock:
        kernels = kernel_info(sock)
    for name in ("state", "snd_mss", "rttvar", "rto", "snd_cwnd", "snd_ssthresh", "reordering", "min_rtt", "rtt"):
        assert ours[name] == kernels[name], name
    assert ours["pacing_rate"] == kernels["pacing_rate"] == ours["max_pacing_rate"]
    assert ours["delivery_rate_app_limited"] == kernels["delivery_rate_app_limited"] == 1


def test_a_listener_tells_its_queue_and_its_backlog(peer: Peer) -> None:
    listener = peer.listen(5)
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    found = told(peer, listener)
    assert (found["state"], found["unacked"], found["sacked"]) == (LISTEN, 1, 5)


def test_a_handshake_and_a_request_are_counted_as_the_kernel_counts_them(peer: Peer) -> None:
    connection = connected(peer, mss=1000)
    write(peer, connection, bytes(700))
    peer.expect("P.", 1, 1)
    peer.inject("P.", 1, 701, bytes(300))
    read(peer, connection)
    with stdlib.create_server(("127.0.0.1", 0)) as listener, stdlib.socket() as client:
        client.connect(listener.getsockname())
        served, _ = listener.accept()
        with served:
            client.sendall(bytes(700))
            assert len(served.recv(700, stdlib.MSG_WAITALL)) == 700
            served.sendall(bytes(300))
            assert len(client.recv(300, stdlib.MSG_WAITALL)) == 300
            kernels = kernel_info(client)
    ours = told(peer, connection)
    for name in ("state", "bytes_acked", "bytes_received", "bytes_sent", "data_segs_in", "data_segs_out", "unacked"):
        assert ours[name] == kernels[name], name
    assert (ours["segs_out"], ours["segs_in"]) == (4, 2)


@pytest.mark.parametrize("fast_path", [True, False])
def test_super_segments_count_as_the_segments_they_are(version: int, fast_path: bool) -> None:
    peer = Peer(version, fast_path=fast_path, offload=0)
    connection = established(peer, mss=1000)
    before = told(peer, connection)
    peer.inject("P.", 1, 1, bytes(2500), gso_size=1000)
    after = told(peer, connection)
    assert after["segs_in"] - before["segs_in"] == after["data_segs_in"] - before["data_segs_in"] == 3


def test_the_options_that_were_agreed_are_told(peer: Peer) -> None:
    connection = established(peer, mss=1000, sack_permitted=True, window_scale=7)
    found = told(peer, connection)
    assert found["options"] == info.OPT_SACK | info.OPT_WSCALE
    assert (found["snd_wscale"], found["rcv_wscale"]) == (7, connection.tcb.rcv_wscale)


def test_times_count_from_the_last_data_and_the_last_acknowledgment_of_each_side(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    peer.advance(50)
    write(peer, connection, bytes(10))
    peer.advance(30)
    peer.inject(".", 1, 11)
    peer.advance(20)
    found = told(peer, connection)
    assert (found["last_data_sent"], found["last_ack_recv"], found["last_data_recv"]) == (50, 20, 100)


def test_the_round_trip_time_is_told_in_microseconds(peer: Peer) -> None:
    found = told(peer, established(peer, round_trip=80))
    assert (found["rtt"], found["rttvar"]) == (80_000, 40_000)
    assert found["rto"] == 280_000


def test_time_is_charged_to_the_peers_window_while_it_is_closed(peer: Peer) -> None:
    connection = established(peer, mss=1000, window=0)
    assert told(peer, connection)["rwnd_limited"] == 0
    write(peer, connection, bytes(1000))
    peer.advance(100)
    assert told(peer, connection)["rwnd_limited"] == 100_000
    peer.inject(".", 1, 1, window=2000)
    peer.advance(30)
    peer.inject(".", 1, 1001, window=2000)
    peer.advance(500)
    found = told(peer, connection)
    assert (found["rwnd_limited"], found["busy_time"]) == (100_000, 130_000)


def test_time_outs_are_counted_one_by_one_in_rows_and_in_time(peer: Peer) -> None:
    connection = established(peer, mss=1000, round_trip=100)
    write(peer, connection, bytes(1000))
    peer.advance(1000)
    found = told(peer, connection)
    assert (found["total_rto"], found["total_rto_recoveries"], found["total_retrans"]) == (2, 1, 2)
    assert (found["retransmits"], found["backoff"], found["bytes_retrans"]) == (2, 2, 2000)
    peer.inject(".", 1, 1001)
    closed = told(peer, connection)["total_rto_time"]
    assert closed == 1000 - 300
    peer.advance(1000)
    assert told(peer, connection)["total_rto_time"] == closed


def test_bytes_out_of_order_count_as_received_only_once_the_gap_is_filled(peer: Peer) -> None:
    connection = established(peer, mss=1000)
    peer.inject(".", 1001, 1, bytes(1000))
    found = told(peer, connection)
    assert (found["rcv_ooopack"], found["bytes_received"], found["data_segs_in"]) == (1, 0, 1)
    peer.inject(".", 1, 1, bytes(1000))
    assert told(peer, connection)["bytes_received"] == 2000


def test_the_states_are_numbered_as_linux_numbers_them(peer: Peer) -> None:
    connection = peer.connect()
    assert told(peer, connection)["state"] == SYN_SENT
    peer.inject("S.", 0, 1)
    assert told(peer, connection)["state"] == ESTABLISHED
    shut(peer, connection, stdlib.SHUT_WR)
    assert told(peer, connection)["state"] == FIN_WAIT_1
    peer.inject(".", 1, 2)
    assert told(peer, connection)["state"] == FIN_WAIT_2
    peer.inject("F.", 1, 2)
    assert told(peer, connection)["state"] == CLOSE


def test_the_closing_side_that_comes_second_passes_close_wait_and_last_ack(peer: Peer) -> None:
    connection = established(peer)
    peer.inject("F.", 1, 1)
    assert told(peer, connection)["state"] == CLOSE_WAIT
    shut(peer, connection, stdlib.SHUT_WR)
    assert told(peer, connection)["state"] == LAST_ACK
