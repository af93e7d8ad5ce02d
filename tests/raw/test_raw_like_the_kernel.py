"""Raw sockets over the loopback: each scenario ends on our sockets as it ends on the kernel's.

The kernel's need CAP_NET_RAW.  Protocols 253 and 254 are for experiments (RFC 3692).
"""

from __future__ import annotations

import socket as stdlib
import struct
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.referee import Net, on_kernel, on_ustack, polled, raised

Scenario = Callable[[Net], Any]
SCENARIOS: list[Scenario] = []
EXPERIMENT, OTHER = 253, 254
IPV6_HDRINCL, IPV6_CHECKSUM, IP_RECVERR, MSG_ERRQUEUE = 36, 7, 11, 0x2000
LOCAL = ("127.0.0.1", 0)
LOCAL6 = ("::1", 0)


def kernel_refuses() -> bool:
    try:
        stdlib.socket(stdlib.AF_INET, stdlib.SOCK_RAW, EXPERIMENT).close()
    except PermissionError:
        return True
    return False


pytestmark = pytest.mark.skipif(kernel_refuses(), reason="the kernel's raw sockets, the referee, need CAP_NET_RAW")


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.__name__)
def test_a_raw_socket_behaves_as_the_kernels(case: Scenario) -> None:
    assert on_ustack(case) == on_kernel(case)


def raw(net: Net, protocol: int, family: int = stdlib.AF_INET) -> Any:
    made = net.socket(family, net.SOCK_RAW, protocol)
    made.settimeout(5)
    return made


def quiet(made: Any) -> Any:
    """Whether nothing is there to be received."""
    made.setblocking(False)
    outcome = raised(made.recv, 1000)
    made.settimeout(5)
    return outcome


@scenario
def names(net: Net) -> Any:
    made = raw(net, EXPERIMENT)
    seen = [made.getsockname(), raised(made.getpeername), polled(made)]
    made.bind(("127.0.0.1", 77))
    seen.append(made.getsockname())
    seen.append(raised(made.bind, ("127.0.0.2", 0)))
    seen.append(raised(made.bind, ("192.0.2.1", 0)))
    seen.append(made.getsockname())
    made.connect(("127.0.0.3", 9))
    return (*seen, made.getsockname(), made.getpeername(), raised(made.bind, ("127.0.0.1", 0)))


@scenario
def names_over_ipv6(net: Net) -> Any:
    made = raw(net, EXPERIMENT, stdlib.AF_INET6)
    return made.getsockname(), raised(made.bind, ("::ffff:127.0.0.1", 0)), raised(made.bind, LOCAL6), made.getsockname()


@scenario
def what_is_received(net: Net) -> Any:
    first, second, other = raw(net, EXPERIMENT), raw(net, EXPERIMENT), raw(net, OTHER)
    first.sendto(b"payload", LOCAL)
    packet, source = first.recvfrom(100)
    packet6 = raw(net, EXPERIMENT, stdlib.AF_INET6)
    packet6.sendto(b"payload", LOCAL6)
    without_header, source6 = packet6.recvfrom(100)
    return (
        packet[:2], packet[8:10], packet[12:], source, second.recv(100)[20:], quiet(other), without_header, source6,
    )  # fmt: skip


@scenario
def filters_by_address(net: Net) -> Any:
    bound, connected, sender = raw(net, EXPERIMENT), raw(net, EXPERIMENT), raw(net, EXPERIMENT)
    bound.bind(("127.0.0.2", 0))
    connected.connect(("127.0.0.3", 0))
    sender.bind(("127.0.0.3", 0))
    sender.sendto(b"to 2", ("127.0.0.2", 0))
    sender.sendto(b"to 1", LOCAL)
    return bound.recv(100)[20:], quiet(bound), connected.recv(100)[20:], quiet(connected)


@scenario
def what_cannot_be_sent(net: Net) -> Any:
    made, made6 = raw(net, EXPERIMENT), raw(net, EXPERIMENT, stdlib.AF_INET6)
    return (
        raised(made.send, b"x"),
        raised(made.sendto, bytes(65516), LOCAL),
        raised(made.sendto, bytes(70000), LOCAL),
        raised(made.sendto, b"x", net.MSG_OOB, LOCAL),
        raised(made6.sendto, b"x", ("::1", OTHER)),
        raised(made6.sendto, b"x", ("::1", 300)),
        raised(raw(net, net.IPPROTO_ICMP).sendto, b"x", LOCAL),
        raised(raw(net, net.IPPROTO_ICMPV6, stdlib.AF_INET6).sendto, b"", LOCAL6),
        made6.sendto(b"x", ("::1", EXPERIMENT)),
        raised(made.shutdown, net.SHUT_RDWR),
    )


def header(
    *, version: int = 4, words: int = 5, total: int = 0, identification: int = 0, source: str = "0.0.0.0", ttl: int = 64
) -> bytes:
    addresses = stdlib.inet_aton(source), stdlib.inet_aton("127.0.0.1")
    return struct.pack(
        "!BBHHHBBH4s4s", version << 4 | words, 0, total, identification, 0, ttl, EXPERIMENT, 0, *addresses
    )


@scenario
def a_header_that_the_user_wrote(net: Net) -> Any:
    sender, receiver = raw(net, net.IPPROTO_RAW), raw(net, EXPERIMENT)
    seen: list[Any] = [sender.getsockopt(net.IPPROTO_IP, net.IP_HDRINCL), sender.getsockname()]
    for packet in (
        header() + b"abc",
        header(identification=7, source="127.0.0.9") + b"abc",
        header(total=9, identification=7) + b"abc",
        header(words=6, identification=7) + b"\1\1\1\0",
        header(ttl=0, identification=7) + b"abc",
    ):
        seen.append(sender.sendto(packet, LOCAL))
        received, source = receiver.recvfrom(100)
        if packet[4:6] == b"\0\0":
            seen.append(received[4:6] != b"\0\0")
            received = received[:4] + received[6:10] + received[12:]
        seen += [received, source]
    return seen


@scenario
def a_header_that_no_receiver_could_parse(net: Net) -> Any:
    sender, receiver = raw(net, net.IPPROTO_RAW), raw(net, EXPERIMENT)
    packets = [b"", header()[:19], header(words=4) + b"abc", header(words=6)]
    return [raised(sender.sendto, packet, LOCAL) for packet in packets], quiet(receiver)


@scenario
def an_ipv6_header_that_the_user_wrote(net: Net) -> Any:
    sender = raw(net, net.IPPROTO_RAW, stdlib.AF_INET6)
    receiver = raw(net, EXPERIMENT, stdlib.AF_INET6)
    local = stdlib.inet_pton(stdlib.AF_INET6, "::1")
    packet = struct.pack("!IHBB16s16s", 6 << 28, 3, EXPERIMENT, 64, local, local) + b"abc"
    return (
        sender.getsockopt(net.IPPROTO_IPV6, IPV6_HDRINCL),
        sender.sendto(packet, LOCAL6),
        receiver.recvfrom(100),
        raised(sender.sendto, packet[:39], LOCAL6),
    )


@scenario
def a_ping_and_its_reply(net: Net) -> Any:
    icmp = raw(net, net.IPPROTO_ICMPV6, stdlib.AF_INET6)
    icmp.sendto(b"\x80\0\0\0\0\1\0\1hello", LOCAL6)
    request, reply = icmp.recvfrom(100), icmp.recvfrom(100)
    icmp4 = raw(net, net.IPPROTO_ICMP)
    message = b"\x08\0" + (0xFFFF - 0x0800 - 1 - 1).to_bytes(2, "big") + b"\0\1\0\1"
    icmp4.sendto(message, LOCAL)
    return request, reply, icmp4.recv(100)[20:], icmp4.recv(100)[20:]


@scenario
def the_icmp_error_that_a_raw_udp_datagram_causes(net: Net) -> Any:
    probe = net.udp()
    probe.bind(LOCAL)
    closed = probe.getsockname()[1]
    probe.close()
    made = raw(net, net.IPPROTO_UDP)
    made.connect(("127.0.0.1", 0))
    made.send(struct.pack("!HHHH", 7777, closed, 8, 0))
    return raised(made.recv, 100), made.recv(100)[20:22], quiet(made)
