"""Socket addresses: what is taken, what is refused, and what is shown."""

from __future__ import annotations

import errno
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.raising import raises_errno
from ustack.address import ANY_IPV4, ANY_IPV6, map_ipv4, unmap
from ustack.api import addresses
from ustack.endpoint import Endpoint

INET, INET6 = socket.AF_INET, socket.AF_INET6
packed4 = st.binary(min_size=4, max_size=4)
packed6 = st.binary(min_size=16, max_size=16)
ports = st.integers(0, 65535)


@given(packed4, ports)
def test_an_ipv4_address_survives_its_presentation(address, port):
    shown = addresses.present(INET, address, port)
    assert shown == (socket.inet_ntoa(address), port)
    assert addresses.parse(INET, shown, "bind") == (address, port)


@given(packed6 | packed4, ports)
def test_an_ipv6_address_survives_its_presentation(address, port):
    shown = addresses.present(INET6, address, port)
    assert shown == (socket.inet_ntop(INET6, map_ipv4(address)), port, 0, 0)
    assert addresses.parse(INET6, shown, "bind") == (unmap(address), port)


anything = st.recursive(
    st.none() | st.integers(-3, 1 << 40) | st.floats() | st.just("127.0.0.1") | st.just("::1") | st.just(b"127.0.0.1"),
    lambda inner: st.lists(inner, max_size=5).map(tuple) | st.lists(inner, max_size=2),
    max_leaves=6,
)


def outcome(function, *arguments):
    try:
        function(*arguments)
    except Exception as problem:
        return type(problem)
    return None


@given(st.sampled_from([INET, INET6]), anything)
def test_what_is_no_address_is_refused_as_by_the_kernels_sockets(family, address):
    ours = outcome(addresses.parse, family, address, "connect")
    with socket.socket(family, socket.SOCK_DGRAM) as reference:
        theirs = outcome(reference.connect, address)
    if theirs is not None and issubclass(theirs, OSError) and theirs is not socket.gaierror:
        theirs = None  # the address was understood, and then the kernel could not connect to it
    assert ours == theirs


@pytest.mark.parametrize(
    ("family", "address", "message"),
    [
        (INET, "127.0.0.1", r"connect\(\): AF_INET address must be tuple, not str"),
        (INET6, 5, r"connect\(\): AF_INET6 address must be tuple, not int"),
        (INET, ("127.0.0.1", 1, 2), r"AF_INET address must be a pair \(host, port\)"),
        (INET6, ("::1",), r"AF_INET6 address must be a tuple \(host, port\[, flowinfo\[, scopeid\]\]\)"),
        (INET, ("127.0.0.1", 1 << 16), r"connect\(\): port must be 0-65535\."),
        (INET6, ("::1", 1, 1 << 20), r"connect\(\): flowinfo must be 0-1048575\."),
        (INET, (None, 1), r"str, bytes or bytearray expected, not NoneType"),
    ],
)
def test_messages_are_pythons(family, address, message):
    with pytest.raises((TypeError, OverflowError), match=f"^{message}$"):
        addresses.parse(family, address, "connect")
    with (
        socket.socket(family, socket.SOCK_DGRAM) as reference,
        pytest.raises((TypeError, OverflowError), match=message),
    ):
        reference.connect(address)


@pytest.mark.parametrize(
    ("family", "host", "address"),
    [
        (INET, "", ANY_IPV4),
        (INET6, "", ANY_IPV6),
        (INET, "<broadcast>", b"\xff" * 4),
        (INET, "255.255.255.255", b"\xff" * 4),
        (INET, "localhost", b"\x7f\0\0\x01"),
        (INET, "127.1", b"\x7f\0\0\x01"),
        (INET6, "::ffff:10.1.2.3", b"\x0a\x01\x02\x03"),
        (INET6, "::", ANY_IPV6),
        (INET6, "fe80::1%lo", b"\xfe\x80" + bytes(13) + b"\x01"),
    ],
)
def test_hosts_that_need_no_name_service(family, host, address):
    assert addresses.parse(family, (host, 7), "connect") == (address, 7)


def test_a_broadcast_is_ipv4():
    with pytest.raises(OSError, match="address family mismatched"):
        addresses.parse(INET6, ("<broadcast>", 7), "connect")


def test_an_endpoint_that_is_not_bound_shows_the_wildcard_and_has_no_peer():
    assert addresses.local(Endpoint(INET, 1, 6)) == ("0.0.0.0", 0)
    assert addresses.local(Endpoint(INET6, 1, 6)) == ("::", 0, 0, 0)
    with raises_errno(errno.ENOTCONN):
        addresses.remote(Endpoint(INET, 1, 6))


def test_an_ipv6_only_socket_takes_no_ipv4_address():
    endpoint = Endpoint(INET6, 1, 6)
    addresses.check_mode(endpoint, bytes(4), errno.EINVAL)
    endpoint.options.ipv6_only = True
    addresses.check_mode(endpoint, bytes(16), errno.EINVAL)
    with raises_errno(errno.EINVAL):
        addresses.check_mode(endpoint, bytes(4), errno.EINVAL)
