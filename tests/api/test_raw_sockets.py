"""Raw sockets through the socket interface."""

from __future__ import annotations

import pytest

from tests.support.hosts import CLIENT, CLIENT6, SERVER, SERVER6, two_hosts
from tests.support.raising import raises_errno
from ustack import socket, use
from ustack.api.options import ICMP_FILTER, ICMPV6_FILTER, IPV6_HDRINCL
from ustack.wire import icmpv4, icmpv6

ECHO = b"\x12\x34\x00\x01"


def ping(address: str) -> tuple[bytes, str]:
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as made:
        made.settimeout(1)
        made.sendto(icmpv4.build(8, 0, ECHO, b"payload"), (address, 0))
        data, source = made.recvfrom(2000)
        return data, source[0]


def test_an_ipv4_raw_socket_pings_and_receives_with_the_ip_header():
    with two_hosts() as (_, _, client), use(client):
        data, source = ping(SERVER)
    assert source == SERVER
    assert data[0] == 0x45
    assert data[20] == 0
    assert data[24:] == ECHO + b"payload"


def test_an_ipv6_raw_socket_pings_and_receives_without_the_ip_header():
    with two_hosts() as (_, _, client), use(client), socket.socket(socket.AF_INET6, 0, socket.IPPROTO_ICMPV6) as made:
        made.settimeout(1)
        made.bind((CLIENT6, 0))
        source, destination = (socket.inet_pton(socket.AF_INET6, text) for text in (CLIENT6, SERVER6))
        made.sendto(icmpv6.build(source, destination, 128, 0, ECHO, b"payload"), (SERVER6, 0))
        data, sender = made.recvfrom(2000)
    assert sender[0] == SERVER6
    assert data[0] == 129
    assert data[4:] == ECHO + b"payload"


def test_raw_options_belong_to_raw_sockets():
    with two_hosts() as (_, _, client), use(client):
        with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as made:
            assert made.type == socket.SOCK_RAW
            made.setsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL, 1)
            assert made.getsockopt(socket.IPPROTO_IP, socket.IP_HDRINCL) == 1
            made.setsockopt(255, ICMP_FILTER, 1 << 8)
            assert made.getsockopt(255, ICMP_FILTER) == 1 << 8
            with raises_errno(22):
                made.setsockopt(255, ICMP_FILTER, b"")
        with socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as made:
            made.setsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, bytes(31) + b"\x01")
            assert made.getsockopt(socket.IPPROTO_ICMPV6, ICMPV6_FILTER, 32) == bytes(31) + b"\x01"
            assert made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_CHECKSUM) == 2
            made.setsockopt(socket.IPPROTO_IPV6, IPV6_HDRINCL, 1)
        with socket.socket() as stream, raises_errno(92):
            stream.setsockopt(255, ICMP_FILTER, 1)


def test_a_finished_packet_goes_out_as_it_is():
    with two_hosts() as (_, server, client):
        with use(server):
            receiving = socket.socket(socket.AF_INET, socket.SOCK_RAW, 200)
        with use(client):
            sending = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
        with receiving, sending:
            header = bytes.fromhex("45000000000000002ac80000") + socket.inet_aton(CLIENT) + socket.inet_aton(SERVER)
            assert sending.sendto(header + b"body", (SERVER, 0)) == 24
            receiving.settimeout(1)
            packet, source = receiving.recvfrom(100)
            assert source == (CLIENT, 0)
            assert (packet[8], packet[9], packet[20:]) == (0x2A, 200, b"body")
            with pytest.raises(TimeoutError):
                receiving.recv(100)
