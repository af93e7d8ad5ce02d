"""Socket options: values, encodings, ranges and errors are the kernel's."""

from __future__ import annotations

import socket as stdlib
import struct

import pytest

from tests.support.raising import raises_errno
from tests.support.referee import Net, on_kernel, on_ustack, raised
from ustack.api import options, options_socket, options_tcp

INT = struct.Struct("i")
SOCKET, IP, IPV6, TCP = stdlib.SOL_SOCKET, stdlib.IPPROTO_IP, stdlib.IPPROTO_IPV6, stdlib.IPPROTO_TCP
VALUES = (-2, -1, 0, 1, 2, 3, 4, 63, 64, 87, 88, 127, 128, 255, 256, 536, 32767, 32768, 70000, 2**31 - 1)

# Every option that can be set to numbers, on each family; what the kernel's own defaults are is not compared.
NUMBERS = [
    (SOCKET, stdlib.SO_REUSEADDR),
    (SOCKET, stdlib.SO_REUSEPORT),
    (SOCKET, stdlib.SO_BROADCAST),
    (SOCKET, stdlib.SO_KEEPALIVE),
    (SOCKET, stdlib.SO_OOBINLINE),
    (SOCKET, stdlib.SO_DONTROUTE),
    (SOCKET, stdlib.SO_INCOMING_CPU),
    (SOCKET, options_socket.SO_ZEROCOPY),
    (SOCKET, options_socket.SO_TIMESTAMP),
    (SOCKET, options_socket.SO_TIMESTAMPNS),
    (SOCKET, options_socket.SO_TIMESTAMPING),
    (IP, stdlib.IP_TTL),
    (IP, stdlib.IP_TOS),
    (IP, stdlib.IP_MULTICAST_LOOP),
    (IP, stdlib.IP_MULTICAST_TTL),
    (IP, stdlib.IP_RECVTOS),
    (IP, options.IP_RECVTTL),
    (IP, options.IP_PKTINFO),
    (IP, options.IP_RECVERR),
    (IP, options.IP_FREEBIND),
    (IPV6, stdlib.IPV6_UNICAST_HOPS),
    (IPV6, stdlib.IPV6_TCLASS),
    (IPV6, stdlib.IPV6_MULTICAST_HOPS),
    (IPV6, stdlib.IPV6_MULTICAST_LOOP),
    (IPV6, stdlib.IPV6_RECVTCLASS),
    (IPV6, stdlib.IPV6_RECVHOPLIMIT),
    (IPV6, stdlib.IPV6_RECVPKTINFO),
    (IPV6, options.IPV6_RECVERR),
    (IPV6, options.IPV6_FREEBIND),
    (IPV6, stdlib.IPV6_V6ONLY),
    (TCP, stdlib.TCP_NODELAY),
    (TCP, stdlib.TCP_CORK),
    (TCP, stdlib.TCP_KEEPIDLE),
    (TCP, stdlib.TCP_KEEPINTVL),
    (TCP, stdlib.TCP_KEEPCNT),
    (TCP, stdlib.TCP_SYNCNT),
    (TCP, stdlib.TCP_USER_TIMEOUT),
    (TCP, stdlib.TCP_MAXSEG),
    (TCP, stdlib.TCP_LINGER2),
    (TCP, stdlib.TCP_DEFER_ACCEPT),
    (TCP, stdlib.TCP_WINDOW_CLAMP),
    (TCP, stdlib.TCP_NOTSENT_LOWAT),
    (TCP, options_tcp.TCP_INQ),
    (TCP, options_tcp.TCP_THIN_DUPACK),
]


def put_and_get(level: int, name: int, family: int, kind: int):
    def case(net: Net):
        made = net.socket(family, kind)
        results = []
        for value in VALUES:
            failure = raised(made.setsockopt, level, name, value)
            results.append((value, failure, made.getsockopt(level, name) if failure == "nothing" else None))
        return results

    return case


@pytest.mark.parametrize("family", [stdlib.AF_INET, stdlib.AF_INET6], ids=["v4", "v6"])
@pytest.mark.parametrize(("level", "name"), NUMBERS)
def test_a_number_is_taken_refused_and_shown_as_by_the_kernel(level, name, family):
    case = put_and_get(level, name, family, stdlib.SOCK_STREAM)
    assert on_ustack(case) == on_kernel(case)


@pytest.mark.parametrize("name", [stdlib.SO_RCVBUF, stdlib.SO_SNDBUF])
def test_buffer_sizes_are_doubled_and_have_the_kernels_least_size(name):
    def case(net: Net):
        made = net.tcp()
        shown = []
        for value in (0, 1, 1000, 2000, 5000, 50_000, 200_000):
            made.setsockopt(SOCKET, name, value)
            shown.append(made.getsockopt(SOCKET, name))
        return shown

    assert on_ustack(case) == on_kernel(case)


def test_no_buffer_is_larger_than_the_limit():
    def case(net: Net):
        made = net.tcp()
        made.setsockopt(SOCKET, stdlib.SO_RCVBUF, 2**31 - 1)
        return made.getsockopt(SOCKET, stdlib.SO_RCVBUF)

    assert on_ustack(case) == 2 * options.BUFFER_MAX


@pytest.mark.parametrize(("level", "name"), [(IP, stdlib.IP_TOS), (IP, stdlib.IP_TTL)])
def test_the_ip_level_takes_single_bytes(level, name):
    def case(net: Net):
        made = net.tcp()
        made.setsockopt(level, name, b"\x20")
        return made.getsockopt(level, name), made.getsockopt(level, name, 1)

    assert on_ustack(case) == on_kernel(case)


def test_encodings_and_lengths_are_the_kernels():
    def case(net: Net):
        made = net.tcp()
        made.setsockopt(SOCKET, net.SO_LINGER, struct.pack("ii", 1, 7))
        made.setsockopt(SOCKET, net.SO_RCVTIMEO, struct.pack("ll", 2, 500_000))
        return (
            made.getsockopt(SOCKET, net.SO_LINGER, 8),
            made.getsockopt(SOCKET, net.SO_LINGER),
            made.getsockopt(SOCKET, net.SO_LINGER, 3),
            made.getsockopt(SOCKET, net.SO_RCVTIMEO, 16),
            made.getsockopt(SOCKET, net.SO_KEEPALIVE, 100),
            made.getsockopt(SOCKET, net.SO_KEEPALIVE, 2),
            raised(made.getsockopt, SOCKET, net.SO_TYPE, -1),
            raised(made.getsockopt, SOCKET, net.SO_TYPE, 1025),
            raised(made.setsockopt, SOCKET, net.SO_LINGER, 1),
            raised(made.setsockopt, SOCKET, net.SO_LINGER, b"short"),
            raised(made.setsockopt, SOCKET, net.SO_RCVTIMEO, b"short"),
            raised(made.setsockopt, SOCKET, net.SO_RCVTIMEO, struct.pack("ll", 0, 1_000_000)),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, b"abc"),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, b""),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, 1 << 31),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, -(1 << 31) - 1),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, "text"),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, 1.5),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, None),
            raised(made.setsockopt, SOCKET, net.SO_KEEPALIVE, 1, 4),
        )

    assert on_ustack(case) == on_kernel(case)


def test_what_a_socket_is_can_be_read_and_not_set():
    def case(net: Net):
        made = net.tcp(net.AF_INET6)
        read_only = (net.SO_TYPE, net.SO_DOMAIN, net.SO_PROTOCOL, net.SO_ERROR, net.SO_ACCEPTCONN)
        before = [made.getsockopt(SOCKET, name) for name in read_only]
        refused = [raised(made.setsockopt, SOCKET, name, 1) for name in read_only]
        made.listen()
        return before, refused, made.getsockopt(SOCKET, net.SO_ACCEPTCONN)

    assert on_ustack(case) == on_kernel(case)


def test_options_of_another_family_protocol_or_level_are_unknown():
    def case(net: Net):
        inet = net.tcp()
        return (
            raised(inet.getsockopt, SOCKET, 9999),
            raised(inet.setsockopt, SOCKET, 9999, 1),
            raised(inet.setsockopt, TCP, 9999, 1),
            raised(inet.getsockopt, TCP, 9999),
            raised(inet.setsockopt, IP, 9999, 1),
            raised(inet.setsockopt, IP, net.IP_HDRINCL, 1),
        )

    assert on_ustack(case) == on_kernel(case)


def test_ipv6_options_of_an_ipv4_socket_are_unknown():
    def case(net: Net):
        return raised(net.tcp().setsockopt, IPV6, net.IPV6_V6ONLY, 1)

    assert on_ustack(case)[1] == 92


def test_ipv4_options_of_an_ipv6_socket_are_for_its_ipv4_side():
    def case(net: Net):
        made = net.tcp(net.AF_INET6)
        made.setsockopt(IP, net.IP_TTL, 9)
        return made.getsockopt(IP, net.IP_TTL)

    assert on_ustack(case) == on_kernel(case)


def test_ipv6_only_cannot_change_once_bound():
    def case(net: Net):
        made = net.tcp(net.AF_INET6)
        made.bind(("::1", 0))
        return raised(made.setsockopt, IPV6, net.IPV6_V6ONLY, 1)

    assert on_ustack(case) == on_kernel(case)


def test_the_congestion_controller_is_named_and_must_exist():
    def case(net: Net):
        made = net.tcp()
        made.setsockopt(TCP, net.TCP_CONGESTION, b"reno")
        return (
            made.getsockopt(TCP, net.TCP_CONGESTION, 16),
            raised(made.setsockopt, TCP, net.TCP_CONGESTION, b"nonesuch"),
            made.getsockopt(TCP, net.TCP_CONGESTION, 16),
            raised(made.setsockopt, TCP, net.TCP_CONGESTION, b""),
        )

    assert on_ustack(case) == on_kernel(case)


def test_the_segment_size_has_the_kernels_limits():
    def case(net: Net):
        made = net.tcp()
        return [(value, raised(made.setsockopt, TCP, net.TCP_MAXSEG, value)) for value in (-1, 1, 87, 88, 1460, 32768)]

    assert on_ustack(case) == on_kernel(case)


def test_a_connection_shows_its_segment_size():
    def case(net: Net):
        client, _ = net.pair()
        return client.getsockopt(TCP, net.TCP_MAXSEG) > 536

    assert on_ustack(case)


def test_accepted_sockets_inherit_the_listeners_options():
    def case(net: Net):
        listener = net.tcp()
        listener.setsockopt(TCP, net.TCP_NODELAY, 1)
        listener.setsockopt(SOCKET, net.SO_KEEPALIVE, 1)
        listener.setsockopt(IP, net.IP_TTL, 33)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        client = net.tcp()
        client.connect(listener.getsockname())
        accepted = net.keep(listener.accept()[0])
        return (
            accepted.getsockopt(TCP, net.TCP_NODELAY),
            accepted.getsockopt(SOCKET, net.SO_KEEPALIVE),
            accepted.getsockopt(IP, net.IP_TTL),
        )

    assert on_ustack(case) == on_kernel(case)


def test_what_an_endpoint_refuses_is_undone():
    def case(net: Net):
        made = net.tcp()
        with raises_errno(2):
            made.setsockopt(TCP, net.TCP_CONGESTION, b"nonesuch")
        return made._endpoint.options.congestion_control

    assert on_ustack(case) is None


def test_the_error_option_gives_an_error_once():
    def case(net: Net):
        unused = net.listener()
        address = unused.getsockname()
        unused.close()
        client = net.tcp()
        client.setblocking(False)
        client.connect_ex(address)
        return [client.getsockopt(SOCKET, net.SO_ERROR) for _ in range(2)]

    assert on_ustack(case) == on_kernel(case)
