"""What the fast path must leave to Python, beyond what verify mode compares."""

from __future__ import annotations

from ustack.constants import AF_INET, IPPROTO_TCP, SOCK_STREAM
from ustack.drops import DropReason
from ustack.sim.peer import Peer
from ustack.tcp.connection import Connection
from ustack.wire import ipv4, tcp


def connect_to_ourselves(peer: Peer) -> tuple[Connection, Connection]:
    """A connection of the stack to its own address, over the loopback."""
    listener = peer.listen()
    client = peer.stack.open(AF_INET, SOCK_STREAM, IPPROTO_TCP)
    assert isinstance(client, Connection)
    try:
        client.connect(peer.local, peer.local_port, peer.now)
    except BlockingIOError:
        peer.stack.transmit(peer.now)
    server = listener.accept()
    assert isinstance(server, Connection)
    return client, server


def test_a_forged_segment_from_the_device_does_not_reach_a_connection_over_the_loopback() -> None:
    peer = Peer()
    client, server = connect_to_ourselves(peer)
    client.send(b"x", 0, None, peer.now)
    peer.stack.transmit(peer.now)
    before = server.receive_into(bytearray(10), 0, peer.now)[0]
    tcb = client.tcb
    header = tcp.build(
        tcb.local_port, tcb.remote_port, tcb.snd_nxt, tcb.rcv_nxt, tcp.ACK | tcp.PSH, 500, payload=b"forged",
        options=b"\x01\x01\x08\x0a" + (server.tcb.ts_recent + 1).to_bytes(4, "big") + bytes(4),
        pseudo=(peer.local, peer.local),
    )  # fmt: skip
    packet = ipv4.build(peer.local, peer.local, IPPROTO_TCP, len(header) + 6) + header + b"forged"
    peer.arrive([packet])
    assert before == 1
    assert peer.stack.counters[DropReason.MARTIAN_SOURCE] == 1
    assert not server.readiness() & 1


def test_segments_of_a_connection_over_the_loopback_take_the_fast_path() -> None:
    peer = Peer()
    client, server = connect_to_ourselves(peer)
    client.options.no_delay = True
    received = 0
    for _ in range(20):
        client.send(bytes(1000), 0, None, peer.now)
        peer.stack.transmit(peer.now)
        received += server.receive_into(bytearray(2000), 0, peer.now)[0]
    assert received == 20_000
    assert peer.stack.statistics().fast_tcp > 10
