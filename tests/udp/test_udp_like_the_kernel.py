"""UDP sockets over the loopback: each scenario ends on our sockets as it ends on the kernel's."""

from __future__ import annotations

import socket as stdlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.referee import Net, on_kernel, on_ustack, polled, raised

Scenario = Callable[[Net], Any]
SCENARIOS: list[Scenario] = []
IP_RECVTTL, IP_PKTINFO, IP_RECVERR, IPV6_RECVERR, MSG_ERRQUEUE = 12, 8, 11, 25, 0x2000


def scenario(function: Scenario) -> Scenario:
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.__name__)
def test_a_datagram_socket_behaves_as_the_kernels(case: Scenario) -> None:
    assert on_ustack(case) == on_kernel(case)


def bound(net: Net, address: str = "127.0.0.1", only: bool = False) -> Any:
    made = net.udp(stdlib.AF_INET6 if ":" in address else stdlib.AF_INET)
    if ":" in address:
        made.setsockopt(net.IPPROTO_IPV6, net.IPV6_V6ONLY, only)
    made.settimeout(5)
    made.bind((address, 0))
    return made


@scenario
def calls_on_a_fresh_socket(net: Net) -> Any:
    fresh = net.udp()
    fresh.setblocking(False)
    return (
        fresh.getsockname(),
        raised(fresh.getpeername),
        raised(fresh.recv, 10),
        raised(fresh.send, b"x"),
        raised(fresh.listen),
        raised(fresh.accept),
        polled(fresh),
        fresh.getsockname()[1] > 0,
    )


@scenario
def question_and_answer(net: Net) -> Any:
    server, client = bound(net), bound(net)
    client.sendto(b"question", server.getsockname())
    question, source = server.recvfrom(100)
    server.sendto(b"answer", source)
    return question, source == client.getsockname(), client.recvfrom(100) == (b"answer", server.getsockname())


@scenario
def question_and_answer_over_ipv6(net: Net) -> Any:
    server, client = bound(net, "::1"), bound(net, "::1")
    client.sendto(b"question", server.getsockname())
    question, source = server.recvfrom(100)
    server.sendto(b"answer", source)
    return question, source == client.getsockname(), client.recv(100)


@scenario
def ipv4_through_a_dual_mode_socket(net: Net) -> Any:
    server, client = bound(net, "::"), bound(net)
    client.sendto(b"question", ("127.0.0.1", server.getsockname()[1]))
    question, source = server.recvfrom(100)
    server.sendto(b"answer", source)
    return question, source[0], client.recv(100)


@scenario
def truncation_and_flags(net: Net) -> Any:
    connected, receiver = net.udp_pair()
    for _ in range(5):
        connected.send(b"0123456789")
    connected.send(b"")
    buffer = bytearray(4)
    return (
        receiver.recv(4, net.MSG_PEEK),
        receiver.recv_into(buffer, 4, net.MSG_TRUNC),
        bytes(buffer),
        receiver.recvmsg(4)[2] & net.MSG_TRUNC,
        receiver.recvmsg(100)[0::2],
        receiver.recvfrom(0)[0],
        receiver.recv(100),
        receiver.recv(100),
    )


@scenario
def sizes(net: Net) -> Any:
    server, server6 = bound(net), bound(net, "::1")
    client, client6 = net.udp(), net.udp(stdlib.AF_INET6)
    return (
        client.sendto(bytes(65507), server.getsockname()),
        len(server.recv(70000)),
        raised(client.sendto, bytes(65508), server.getsockname()),
        raised(client.sendto, bytes(70000), server.getsockname()),
        client6.sendto(bytes(65527), server6.getsockname()[:2]),
        len(server6.recv(70000)),
        raised(client6.sendto, bytes(65528), server6.getsockname()[:2]),
    )


@scenario
def ports_that_are_zero(net: Net) -> Any:
    client = net.udp()
    outcome = raised(client.sendto, b"x", ("127.0.0.1", 0)), raised(client.sendto, bytes(70000), ("127.0.0.1", 0))
    client.connect(("127.0.0.1", 0))
    return outcome, client.getsockname()[0]


@scenario
def the_wrong_ip_version(net: Net) -> Any:
    port = bound(net).getsockname()[1]
    port6 = bound(net, "::1").getsockname()[1]
    mapped = ("::ffff:127.0.0.1", port)
    outcomes = []
    for make, destination in [
        (lambda: bound(net, "::1"), mapped),
        (lambda: bound(net, "::", True), mapped),
        (lambda: bound(net, "::ffff:127.0.0.1"), ("::1", port6)),
        (lambda: bound(net, "::"), mapped),
    ]:
        outcomes += [raised(make().sendto, b"x", destination), raised(make().connect, destination)]
    only = net.udp(stdlib.AF_INET6)
    only.setsockopt(net.IPPROTO_IPV6, net.IPV6_V6ONLY, 1)
    return outcomes, raised(only.bind, ("::ffff:127.0.0.1", 0))


@scenario
def binding(net: Net) -> Any:
    twice, connected, sent = bound(net), net.udp(), net.udp()
    connected.connect(twice.getsockname())
    sent.sendto(b"x", twice.getsockname())
    return (
        raised(twice.bind, ("127.0.0.1", 0)),
        raised(connected.bind, ("127.0.0.1", 0)),
        raised(sent.bind, ("127.0.0.1", 0)),
        sent.getsockname()[0],
        raised(net.udp().bind, ("192.0.2.1", 0)),
        raised(net.udp().bind, ("224.0.0.251", 0)),
        raised(net.udp().bind, ("127.7.7.7", 0)),
        raised(net.udp().bind, twice.getsockname()),
    )


@scenario
def names_while_connected(net: Net) -> Any:
    server = bound(net)
    wildcard, own = net.udp(), bound(net, "127.0.0.5")
    wildcard.connect(server.getsockname())
    own.connect(("0.0.0.0", server.getsockname()[1]))
    fresh = net.udp()
    fresh.connect(("0.0.0.0", 9))
    return (
        wildcard.getpeername() == server.getsockname(),
        wildcard.getsockname()[0],
        own.getpeername()[0],
        fresh.getsockname()[0],
        fresh.getpeername(),
    )


@scenario
def a_connected_socket_hears_its_peer_alone(net: Net) -> Any:
    connected, server = net.udp_pair()
    connected.setblocking(False)
    stranger = net.udp()
    stranger.sendto(b"stranger", connected.getsockname())
    server.sendto(b"peer", connected.getsockname())
    return connected.recv(10), raised(connected.recv, 10)


@scenario
def a_connected_socket_sends_elsewhere(net: Net) -> Any:
    connected, _ = net.udp_pair()
    other = bound(net)
    connected.sendto(b"elsewhere", other.getsockname())
    return other.recv(10)


@scenario
def nobody_listens_to_a_connected_socket(net: Net) -> Any:
    connected, server = net.udp_pair()
    server.close()
    connected.send(b"1")
    seen = "OUT" in polled(connected), connected.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
    connected.send(b"2")
    refused = raised(connected.recv, 10)
    connected.send(b"3")
    return seen, refused, raised(connected.send, b"4"), connected.send(b"5")


@scenario
def nobody_listens_to_an_unconnected_socket(net: Net) -> Any:
    client, server = net.udp(), bound(net)
    address = server.getsockname()
    server.close()
    client.setblocking(False)
    client.sendto(b"1", address)
    return raised(client.recv, 10), polled(client), client.sendto(b"2", address)


@scenario
def extended_errors(net: Net) -> Any:
    outcomes: list[Any] = []
    for address, level, option in (("127.0.0.1", 0, IP_RECVERR), ("::1", 41, IPV6_RECVERR)):
        client, server = bound(net, address), bound(net, address)
        closed = server.getsockname()[:2]
        server.close()
        client.setsockopt(level, option, 1)
        client.setblocking(False)
        client.sendto(b"payload", closed)
        data, ancillary, flags, source = client.recvmsg(3, 1000, MSG_ERRQUEUE)
        outcomes += [data, ancillary, flags, source[0], source[1] == closed[1]]
        outcomes += [raised(client.recv, 9), raised(client.recvmsg, 9, 1000, MSG_ERRQUEUE)]
        client.sendto(b"payload", closed)
        outcomes += [raised(client.recv, 9), client.recvmsg(99, 1000, MSG_ERRQUEUE)[0]]
    return outcomes


@scenario
def shutdown_of_connected_sockets(net: Net) -> Any:
    outcomes: list[Any] = []
    for how in (net.SHUT_RD, net.SHUT_WR, net.SHUT_RDWR):
        connected, server = net.udp_pair()
        server.sendto(b"before", connected.getsockname())
        outcomes.append(raised(connected.shutdown, how))
        server.sendto(b"after", connected.getsockname())
        outcomes += [raised(connected.send, b"x"), connected.recv(10), connected.recv(10), polled(connected)]
    return outcomes


@scenario
def shutdown_of_unconnected_sockets(net: Net) -> Any:
    outcomes: list[Any] = []
    for how in (net.SHUT_RD, net.SHUT_WR, net.SHUT_RDWR):
        client, server = bound(net), bound(net)
        outcomes.append(raised(client.shutdown, how))
        server.sendto(b"after", client.getsockname())
        outcomes += [raised(client.sendto, b"x", server.getsockname()), client.recv(10), polled(client)]
    return outcomes


@scenario
def flags_of_sending(net: Net) -> Any:
    connected, server = net.udp_pair()
    return raised(connected.send, b"x", net.MSG_OOB), connected.send(b"y", net.MSG_DONTWAIT), server.recv(9)


@scenario
def control_messages_over_ipv4(net: Net) -> Any:
    receiver, sender = bound(net), bound(net)
    for option in (net.IP_RECVTOS, IP_RECVTTL, IP_PKTINFO):
        receiver.setsockopt(net.IPPROTO_IP, option, 1)
    sender.setsockopt(net.IPPROTO_IP, net.IP_TOS, 0x28)
    sender.setsockopt(net.IPPROTO_IP, net.IP_TTL, 17)
    sender.sendto(b"data", receiver.getsockname())
    data, ancillary, flags, _ = receiver.recvmsg(100, 1000)
    sender.sendto(b"data", receiver.getsockname())
    return data, ancillary, flags, receiver.recvmsg(100, 0)[1:3]


@scenario
def control_messages_over_ipv6(net: Net) -> Any:
    receiver, sender = bound(net, "::1"), bound(net, "::1")
    for option in (net.IPV6_RECVTCLASS, net.IPV6_RECVHOPLIMIT, net.IPV6_RECVPKTINFO):
        receiver.setsockopt(net.IPPROTO_IPV6, option, 1)
    sender.setsockopt(net.IPPROTO_IPV6, net.IPV6_TCLASS, 0x28)
    sender.setsockopt(net.IPPROTO_IPV6, net.IPV6_UNICAST_HOPS, 17)
    sender.sendto(b"data", receiver.getsockname()[:2])
    return receiver.recvmsg(100, 1000)[:3]


@scenario
def the_newest_of_sharing_sockets_wins(net: Net) -> Any:
    sharing = []
    port = 0
    for _ in range(3):
        made = net.udp()
        made.setsockopt(net.SOL_SOCKET, net.SO_REUSEADDR, 1)
        made.bind(("127.0.0.1", port))
        made.setblocking(False)
        port = made.getsockname()[1]
        sharing.append(made)
    sender = net.udp()
    outcome = []
    while sharing:
        sender.sendto(b"x", ("127.0.0.1", port))
        outcome.append([raised(made.recv, 9) for made in sharing])
        sharing.pop().close()
    return outcome


@scenario
def a_connected_socket_wins_over_a_newer_bound_one(net: Net) -> Any:
    sender = bound(net)
    connected, newer = net.udp(), net.udp()
    for made in (connected, newer):
        made.setsockopt(net.SOL_SOCKET, net.SO_REUSEADDR, 1)
        made.setblocking(False)
    connected.bind(("127.0.0.1", 0))
    connected.connect(sender.getsockname())
    newer.bind(connected.getsockname())
    sender.sendto(b"1", newer.getsockname())
    bound(net).sendto(b"2", newer.getsockname())
    return connected.recv(9), newer.recv(9), raised(connected.recv, 9), raised(newer.recv, 9)


@scenario
def a_full_queue_keeps_the_first(net: Net) -> Any:
    connected, receiver = net.udp_pair()
    receiver.setsockopt(net.SOL_SOCKET, net.SO_RCVBUF, 2304)
    receiver.setblocking(False)
    for number in range(200):
        connected.send(bytes([number]) * 500)
    got = []
    while raised(receiver.recv, 1, net.MSG_PEEK) == "nothing":
        got.append(receiver.recv(1000)[0])
    return got == list(range(len(got))), 0 < len(got) < 20
