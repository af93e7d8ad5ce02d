"""ICMP errors about datagrams: which socket hears of which, and how."""

from __future__ import annotations

import errno

import pytest

from tests.support.raising import raises_errno
from tests.support.requirement import requirement
from tests.support.stack_host import (
    HOST,
    PEER,
    StackHost,
    all_taken,
    datagram,
    icmp_error_about,
    packet,
    port_unreachable,
    taken,
    too_big,
)
from ustack.address import parse_address
from ustack.constants import MSG_ERRQUEUE, MSG_PEEK, MSG_TRUNC
from ustack.datagram.error_queue import ERRORS_KEPT
from ustack.drops import DropReason
from ustack.endpoint import ERROR, READABLE, WRITABLE
from ustack.wire import icmpv4

VERSIONS = pytest.mark.parametrize("version", [4, 6])
ROUTER = {4: parse_address("10.9.0.3"), 6: parse_address("fd00::3")}


def sent_datagram(host: StackHost, endpoint: object, version: int, payload: bytes = b"question") -> bytes:
    """What the endpoint's datagram to the peer's port 9000 looks like on the wire."""
    endpoint.send(payload, 0, (PEER[version], 9000), host.now)  # type: ignore[attr-defined]
    return host.only()


@requirement("RFC1122", "3.2.2.1")
@VERSIONS
def test_a_connected_socket_hears_that_the_port_is_unreachable_once(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.connect(PEER[version], 9000, host.now)
    host.events()
    host.receive(port_unreachable(sent_datagram(host, endpoint, version)))
    assert host.events() == [(endpoint, READABLE | WRITABLE | ERROR)]
    assert endpoint.readiness() == READABLE | WRITABLE | ERROR
    with raises_errno(errno.ECONNREFUSED):
        taken(endpoint)
    with raises_errno(errno.EAGAIN):
        taken(endpoint)
    assert endpoint.readiness() == WRITABLE


@VERSIONS
def test_a_pending_error_is_raised_by_the_next_send_which_sends_nothing(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.connect(PEER[version], 9000, host.now)
    host.receive(port_unreachable(sent_datagram(host, endpoint, version)))
    with raises_errno(errno.ECONNREFUSED):
        endpoint.send(b"again", 0, None, host.now)
    assert host.sent() == []
    assert endpoint.send(b"again", 0, None, host.now) == 5


def test_a_pending_error_goes_before_data_and_so_error_takes_it() -> None:
    host = StackHost()
    endpoint = host.udp()
    endpoint.connect(PEER[4], 9000, host.now)
    request = sent_datagram(host, endpoint, 4)
    host.receive(datagram(4, b"data", port=endpoint.local_port), port_unreachable(request))
    with raises_errno(errno.ECONNREFUSED):
        taken(endpoint)
    assert taken(endpoint) == b"data"
    host.receive(port_unreachable(request))
    assert endpoint.take_error() == errno.ECONNREFUSED
    assert endpoint.take_error() == 0


@VERSIONS
def test_an_unconnected_socket_hears_errors_only_with_receive_errors(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    request = sent_datagram(host, endpoint, version)
    host.receive(port_unreachable(request))
    assert endpoint.readiness() == WRITABLE
    endpoint.options.receive_errors = True
    host.receive(port_unreachable(request))
    with raises_errno(errno.ECONNREFUSED):
        taken(endpoint)


@pytest.mark.parametrize(
    ("version", "kind", "code", "number"),
    [
        (4, 3, 2, errno.ENOPROTOOPT),
        (4, 3, 9, errno.ENETUNREACH),
        (4, 3, 10, errno.EHOSTUNREACH),
        (4, 3, 13, errno.EHOSTUNREACH),
        (4, 12, 0, errno.EPROTO),
        (6, 1, 1, errno.EACCES),
        (6, 1, 5, errno.EACCES),
        (6, 4, 1, errno.EPROTO),
    ],
)
def test_hard_errors_reach_a_connected_socket(version: int, kind: int, code: int, number: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.connect(PEER[version], 9000, host.now)
    host.receive(icmp_error_about(sent_datagram(host, endpoint, version), kind, code, reporter=ROUTER[version]))
    assert endpoint.take_error() == number


@pytest.mark.parametrize(
    ("version", "kind", "code"), [(4, 3, 0), (4, 3, 1), (4, 11, 0), (6, 1, 0), (6, 1, 3), (6, 3, 0)]
)
def test_soft_errors_reach_nobody_without_receive_errors(version: int, kind: int, code: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.connect(PEER[version], 9000, host.now)
    error = icmp_error_about(sent_datagram(host, endpoint, version), kind, code, reporter=ROUTER[version])
    host.receive(error)
    assert endpoint.take_error() == 0
    endpoint.options.receive_errors = True
    host.receive(error)
    assert endpoint.take_error() in (errno.ENETUNREACH, errno.EHOSTUNREACH)


@VERSIONS
def test_an_error_about_another_sockets_datagram_is_a_drop(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version, port=53)
    request = sent_datagram(host, endpoint, version)
    endpoint.close(host.now)
    host.drops()
    host.receive(port_unreachable(request))
    assert host.drops() == {DropReason.ICMP_QUOTE: 1}


@VERSIONS
def test_an_error_about_a_datagram_to_somebody_else_does_not_reach_a_connected_socket(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version, port=53)
    request = sent_datagram(host, endpoint, version)
    endpoint.connect(PEER[version], 9001, host.now)
    host.receive(port_unreachable(request))
    assert endpoint.take_error() == 0
    assert host.drops() == {DropReason.ICMP_QUOTE: 1}


# Path MTU.


@VERSIONS
def test_too_big_is_emsgsize_for_a_connected_socket_and_later_datagrams_are_fragmented(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(version)
    endpoint.connect(PEER[version], 9000, host.now)
    host.receive(too_big(sent_datagram(host, endpoint, version, bytes(1400)), 1300))
    with raises_errno(errno.EMSGSIZE):
        endpoint.send(bytes(1400), 0, None, host.now)
    endpoint.send(bytes(1400), 0, None, host.now)
    assert sorted(len(packet) <= 1300 for packet in host.sent()) == [True, True]


def test_a_socket_without_path_mtu_discovery_learns_but_hears_nothing() -> None:
    host = StackHost()
    endpoint = host.udp(path_mtu_discovery=False, receive_errors=True)
    endpoint.connect(PEER[4], 9000, host.now)
    host.receive(too_big(sent_datagram(host, endpoint, 4, bytes(1400)), 1300))
    assert endpoint.take_error() == 0
    assert host.stack.ip.mtu_for(PEER[4], host.now) == 1300


def test_a_forged_too_big_for_no_socket_changes_no_path() -> None:
    host = StackHost()
    endpoint = host.udp(port=53)
    request = sent_datagram(host, endpoint, 4, bytes(1400))
    endpoint.close(host.now)
    host.receive(too_big(request, 1300))
    assert host.stack.ip.mtu_for(PEER[4], host.now) == 1500


# MSG_ERRQUEUE.


def read_error(endpoint: object, size: int = 100, flags: int = 0) -> tuple[bytes, object, int, list[object]]:
    buffer = bytearray(size)
    count, source, message_flags, ancillary = endpoint.receive_message(  # type: ignore[attr-defined]
        memoryview(buffer), MSG_ERRQUEUE | flags, 0
    )
    return bytes(buffer[:count]), source, message_flags, ancillary


@requirement("RFC1122", "4.1.3.3")
def test_a_kept_error_has_the_payload_the_destination_and_who_reported_it() -> None:
    host = StackHost()
    endpoint = host.udp(4, receive_errors=True)
    request = sent_datagram(host, endpoint, 4)
    host.receive(icmp_error_about(request, 11, 0, reporter=ROUTER[4]))
    extended = bytes((errno.EHOSTUNREACH, 0, 0, 0, 2, 11, 0, 0)) + bytes(8)
    offender = b"\x02\0\0\0" + ROUTER[4] + bytes(8)
    expected = (b"question", (PEER[4], 9000), MSG_ERRQUEUE, [(0, 11, extended + offender)])
    assert endpoint.readiness() & ERROR
    assert read_error(endpoint, flags=MSG_PEEK) == expected
    assert endpoint.error == errno.EHOSTUNREACH
    assert read_error(endpoint) == expected
    assert endpoint.error == 0
    assert endpoint.readiness() == WRITABLE
    with raises_errno(errno.EAGAIN):
        read_error(endpoint)


@pytest.mark.parametrize("version", [4, 6])
def test_an_ipv6_socket_gets_its_kind_of_control_message_for_both_versions(version: int) -> None:
    host = StackHost()
    endpoint = host.udp(6, receive_errors=True)
    host.receive(too_big(sent_datagram(host, endpoint, version, bytes(1400)), 1300))
    payload, source, flags, ancillary = read_error(endpoint, 10)
    assert (payload, source, flags) == (bytes(10), (PEER[version], 9000), MSG_ERRQUEUE | MSG_TRUNC)
    ((level, kind, data),) = ancillary  # type: ignore[misc]
    mapped = bytes(10) + b"\xff\xff" if version == 4 else b""
    assert (level, kind) == (41, 25)
    assert data[:4] == bytes((errno.EMSGSIZE, 0, 0, 0))
    assert data[8:12] == (1300).to_bytes(4, "little")
    assert data[16:] == b"\x0a\0\0\0\0\0\0\0" + mapped + PEER[version] + bytes(4)


def test_the_next_kept_error_is_pending_when_one_is_read() -> None:
    host = StackHost()
    endpoint = host.udp(4, receive_errors=True)
    request = sent_datagram(host, endpoint, 4)
    host.receive(port_unreachable(request), icmp_error_about(request, 3, 1))
    assert endpoint.take_error() == errno.EHOSTUNREACH
    read_error(endpoint)
    assert endpoint.error == errno.EHOSTUNREACH
    read_error(endpoint)
    assert endpoint.error == 0


def test_kept_errors_are_bounded_and_go_when_they_are_not_wanted_any_longer() -> None:
    host = StackHost()
    endpoint = host.udp(4, receive_errors=True)
    request = sent_datagram(host, endpoint, 4)
    host.receive(*[port_unreachable(request)] * (ERRORS_KEPT + 9))
    assert len(endpoint.kept_errors) == ERRORS_KEPT
    endpoint.options.receive_errors = False
    endpoint.option_changed("receive_errors", host.now)
    assert len(endpoint.kept_errors) == 0


def test_a_datagram_read_after_an_error_has_its_own_control_messages() -> None:
    host = StackHost()
    endpoint = host.udp(4, receive_errors=True, receive_ttl=True)
    request = sent_datagram(host, endpoint, 4)
    host.receive(port_unreachable(request), datagram(4, b"data", port=endpoint.local_port))
    read_error(endpoint)
    assert taken(endpoint) == b"data"
    assert endpoint.ancillary() == [(0, 2, b"\x40\0\0\0")]


# The stack.


def test_an_error_that_quotes_too_little_or_nonsense_harms_nobody() -> None:
    host = StackHost()
    endpoint = host.udp(4, port=53)
    endpoint.connect(PEER[4], 9000, host.now)
    request = sent_datagram(host, endpoint, 4)
    for size in range(1, len(request)):
        host.receive(icmp_error_about(request[:size], 3, 3))
    endpoint.take_error()
    for quote in (b"", bytes(200), b"\x45" + bytes(100), b"\x60" + bytes(100)):
        host.receive(packet(4, icmpv4.build(3, 3, bytes(4), quote), 1))
    assert endpoint.take_error() == 0
    assert all_taken(endpoint) == []


def test_a_socket_that_hears_of_its_own_host_is_refused_over_the_loopback() -> None:
    host = StackHost()
    endpoint = host.udp(4)
    endpoint.connect(HOST[4], 7, host.now)
    endpoint.send(b"anybody?", 0, None, host.now)
    assert host.sent() == []
    assert endpoint.take_error() == errno.ECONNREFUSED


def test_a_stopped_stack_fails_every_socket() -> None:
    host = StackHost()
    endpoint = host.udp(4, port=53)
    host.stack.stop(host.now)
    with raises_errno(errno.ENETDOWN):
        taken(endpoint)
