"""IPv4 source routes of connections.  RFC 9293 §3.9.2.1, RFC 791 §3.1."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stream import drain, dropped, set_option, write
from ustack.address import parse_address
from ustack.config import IpConfig, StackConfig
from ustack.constants import IPPROTO_TCP
from ustack.drops import DropReason
from ustack.native import lib
from ustack.sim.peer import Peer, Sent
from ustack.tcp.connection import Connection
from ustack.wire import ipv4, tcp
from ustack.wire.checksum import SUM_OF_VALID_DATA, pseudo_header_sum, sum_words

FIRST, SECOND, THIRD = (parse_address(f"10.0.0.{last}") for last in (11, 12, 13))
LOOSE = ipv4.OPTION_LOOSE_SOURCE_ROUTE


def route(*hops: bytes, kind: int = LOOSE, pointer: int = 4) -> bytes:
    """A source route option of these addresses, padded."""
    option = ipv4.build_option(kind, bytes((pointer,)) + b"".join(hops))
    return option + bytes(-len(option) % 4)


def travelled(*hops: bytes) -> bytes:
    """The option of a packet that has come by these routers."""
    return route(*hops, pointer=4 + 4 * len(hops))


def peer_with_routes(accept: bool = True) -> Peer:
    """A peer of a stack that takes source routes; its device computes checksums, so that the test can check them."""
    return Peer(4, StackConfig(ip=IpConfig(accept_source_route=accept)), offload=lib.OFFLOAD_CHECKSUM)


def arrive(peer: Peer, options: bytes, flags: str, seq: int, ack: int = 0, payload: bytes = b"") -> None:
    """Let a segment arrive whose packet has these IP options."""
    segment = peer.segment(flags, seq, ack, payload)[20:]
    header = ipv4.build(peer.remote, peer.local, IPPROTO_TCP, len(segment), options=options)
    peer.arrive([header + segment])


def way_of(peer: Peer, sent: Sent) -> tuple[bytes, bytes]:
    """Where a packet goes first, and its IP options; the checksum must be that of the peer's address."""
    header = ipv4.parse(sent.frame)
    content = sent.frame[header.header_length :]
    pseudo = pseudo_header_sum(peer.local, peer.remote, IPPROTO_TCP, len(content))
    assert sum_words(content[:16] + bytes(2) + content[18:], pseudo) != SUM_OF_VALID_DATA
    assert int.from_bytes(content[16:18], "big") == pseudo
    return header.destination, header.options


@requirement("RFC9293", "MUST-51")
@pytest.mark.parametrize("kind", sorted(ipv4.SOURCE_ROUTES))
def test_an_active_open_takes_the_route_that_the_user_gives(kind: int) -> None:
    peer = peer_with_routes()
    connection = peer.socket()
    set_option(peer, connection, "ip_options", route(FIRST, SECOND, kind=kind))
    connection.bind(bytes(4), peer.local_port)
    with raises_errno(errno.EINPROGRESS):
        connection.connect(peer.remote, peer.port, peer.now)
    peer.collect()
    expected = FIRST, route(SECOND, peer.remote, kind=kind)
    assert way_of(peer, peer.expect("S", 0)) == expected
    peer.inject("S.", 0, 1, mss=1460)
    assert way_of(peer, peer.expect(".", 1, 1)) == expected
    write(peer, connection, bytes(4000))
    data = drain(peer)
    assert {way_of(peer, each) for each in data} == {expected}
    assert max(len(each.frame) for each in data) == 1500


@requirement("RFC9293", "MUST-53")
def test_a_passive_open_answers_by_the_way_back_on_all_segments() -> None:
    peer = peer_with_routes()
    listener = peer.listen()
    arrive(peer, travelled(FIRST, SECOND), "S", 0)
    expected = SECOND, route(FIRST, peer.remote)
    assert way_of(peer, peer.expect("S.", 0, 1)) == expected
    peer.inject(".", 1, 1)
    connection = listener.accept()
    assert isinstance(connection, Connection)
    write(peer, connection, b"data")
    assert way_of(peer, peer.expect("P.", 1, 1)) == expected


@requirement("RFC9293", "SHLD-24")
def test_a_route_that_comes_later_overrides_the_earlier_one() -> None:
    peer = peer_with_routes()
    listener = peer.listen()
    arrive(peer, travelled(FIRST, SECOND), "S", 0)
    peer.expect("S.", 0, 1)
    arrive(peer, travelled(THIRD), ".", 1, 1)
    connection = listener.accept()
    write(peer, connection, b"data")
    assert way_of(peer, peer.expect("P.", 1, 1)) == (THIRD, route(peer.remote))


@requirement("RFC9293", "MUST-52")
def test_the_users_route_goes_before_one_that_arrives() -> None:
    peer = peer_with_routes()
    endpoint = peer.socket()
    set_option(peer, endpoint, "ip_options", route(THIRD))
    endpoint.bind(peer.local, peer.local_port)
    endpoint.listen(1)
    arrive(peer, travelled(FIRST, SECOND), "S", 0)
    assert way_of(peer, peer.expect("S.", 0, 1)) == (THIRD, route(peer.remote))


def test_a_segment_that_is_not_acceptable_changes_no_route() -> None:
    peer = peer_with_routes()
    listener = peer.listen()
    peer.inject("S", 0)
    peer.expect("S.", 0, 1)
    peer.inject(".", 1, 1)
    arrive(peer, travelled(FIRST), ".", 1 << 20, 1)
    drain(peer)
    write(peer, listener.accept(), b"data")
    assert way_of(peer, peer.expect("P.", 1, 1)) == (peer.remote, b"")


def test_without_the_switch_packets_with_a_source_route_are_dropped() -> None:
    peer = peer_with_routes(accept=False)
    peer.listen()
    with dropped(peer, DropReason.IP_SOURCE_ROUTE):
        arrive(peer, travelled(FIRST), "S", 0)
    peer.expect_nothing()


def test_a_host_does_not_pass_packets_on() -> None:
    peer = peer_with_routes()
    peer.listen()
    with dropped(peer, DropReason.IP_SOURCE_ROUTE):
        arrive(peer, route(FIRST, SECOND), "S", 0)


@pytest.mark.parametrize(
    "options",
    [
        b"\x83\x03\x04",  # no router
        b"\x83\x07\x08\x0a\x00\x00\x01",  # passed already
        b"\x83\x06\x04\x0a\x00\x00",  # half an address
        b"\x07\x07\x04\x0a\x00\x00\x01",  # record route
        route(FIRST)[:7] + b"\x01" + route(SECOND),
        route(*[FIRST] * 10),  # longer than a header
    ],
)
def test_what_is_no_source_route_is_refused(options: bytes) -> None:
    peer = peer_with_routes()
    with raises_errno(errno.EINVAL):
        set_option(peer, peer.socket(), "ip_options", options)


def test_the_checksum_covers_the_last_destination_where_the_stack_computes_it() -> None:
    peer = Peer(4, StackConfig(ip=IpConfig(accept_source_route=True)))
    peer.listen()
    segment = peer.segment("S", 0)[20:]
    packet = ipv4.build(peer.remote, peer.local, IPPROTO_TCP, len(segment), options=travelled(FIRST)) + segment
    peer.burst.clear()
    peer.burst.append(packet)
    peer.stack.receive(peer.interface, peer.burst, peer.now)
    peer.stack.transmit(peer.now)
    frame = bytes(peer.interface.outgoing.frame(0))
    header = ipv4.parse(frame)
    assert header.destination == FIRST
    tcp.verify(memoryview(frame)[header.header_length :], peer.local, peer.remote)
