"""UDP sockets over the loopback: each scenario ends on our sockets as it ends on the kernel's."""

from __future__ import annotations

import pytest

from tests.support.referee import Net, on_kernel, on_ustack, polled, raised

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.__name__)
def test_a_datagram_socket_behaves_as_the_kernels(case):
    assert on_ustack(case) == on_kernel(case)


@scenario
def calls_on_a_fresh_socket(net: Net):
    fresh = net.udp()
    fresh.setblocking(False)
    return (
        fresh.getsockname(),
        raised(fresh.getpeername),
        raised(fresh.recv, 10),
        raised(fresh.send, b"x"),
        raised(fresh.listen),
        raised(fresh.accept),
        raised(fresh.shutdown, net.SHUT_RDWR),
    )


@scenario
def polling_a_fresh_socket(net: Net):
    return polled(net.udp()), polled(net.udp(net.AF_INET6))


@scenario
def a_datagram_there_and_back(net: Net):
    connected, bound = net.udp_pair()
    connected.send(b"question")
    data, source = bound.recvfrom(100)
    bound.sendto(b"answer", source)
    return data, source == connected.getsockname(), connected.recv(100), connected.getpeername() == bound.getsockname()


@scenario
def a_datagram_there_and_back_over_ipv6(net: Net):
    connected, bound = net.udp_pair("::1")
    connected.send(b"question")
    data, source = bound.recvfrom(100)
    bound.sendto(b"answer", source)
    return data, source == connected.getsockname(), connected.recv(100), source[2:]


@scenario
def an_ipv4_datagram_to_a_dual_mode_socket(net: Net):
    dual, sender = net.udp(net.AF_INET6), net.udp()
    dual.bind(("::", 0))
    sender.sendto(b"x", ("127.0.0.1", dual.getsockname()[1]))
    data, source = dual.recvfrom(10)
    dual.sendto(b"y", source)
    return data, source[0], source[2:], sender.recvfrom(10)[0]


@scenario
def an_ipv6_only_socket_sends_no_ipv4(net: Net):
    only = net.udp(net.AF_INET6)
    only.setsockopt(net.IPPROTO_IPV6, net.IPV6_V6ONLY, 1)
    return raised(only.sendto, b"x", ("::ffff:127.0.0.1", 9)), raised(only.connect, ("::ffff:127.0.0.1", 9))


@scenario
def a_datagram_longer_than_the_buffer_is_cut(net: Net):
    connected, bound = net.udp_pair()
    for _ in range(4):
        connected.send(b"0123456789")
    buffer = bytearray(3)
    return (
        bound.recv(4),
        bound.recv_into(buffer),
        bound.recv_into(buffer, 0, net.MSG_TRUNC),
        bound.recvmsg(2)[:3],
        bytes(buffer),
    )


@scenario
def a_message_in_several_buffers(net: Net):
    connected, bound = net.udp_pair()
    sent = connected.sendmsg([b"01", b"", bytearray(b"2345")]), connected.sendmsg([])
    first, second = bytearray(4), bytearray(4)
    count, ancillary, flags, source = bound.recvmsg_into([first, second])
    return sent, count, ancillary, flags, source == connected.getsockname(), bytes(first), bytes(second), bound.recv(9)


@scenario
def empty_datagrams_are_datagrams(net: Net):
    connected, bound = net.udp_pair()
    connected.send(b"")
    return polled(bound), bound.recv(10), polled(bound)


@scenario
def peeking_takes_nothing(net: Net):
    connected, bound = net.udp_pair()
    connected.send(b"abc")
    connected.send(b"def")
    return bound.recv(2, net.MSG_PEEK), bound.recv(10), bound.recv(10)


@scenario
def nothing_to_receive(net: Net):
    connected, bound = net.udp_pair()
    bound.settimeout(0.001)
    connected.setblocking(False)
    return raised(bound.recvfrom, 10), raised(connected.recv, 10), raised(connected.recv, 1, net.MSG_OOB)


@scenario
def nobody_is_bound(net: Net):
    connected, bound = net.udp_pair()
    bound.close()
    connected.send(b"lost")
    return polled(connected) & {"IN", "ERR"} != set(), raised(connected.recv, 10), polled(connected)


@scenario
def an_error_is_told_once_by_the_option(net: Net):
    connected, bound = net.udp_pair()
    bound.close()
    connected.send(b"lost")
    return [connected.getsockopt(net.SOL_SOCKET, net.SO_ERROR) for _ in range(2)], connected.send(b"again")


@scenario
def an_unconnected_socket_hears_of_no_error(net: Net):
    _, bound = net.udp_pair()
    address = bound.getsockname()
    bound.close()
    sender = net.udp()
    return sender.sendto(b"lost", address), sender.sendto(b"lost again", address), polled(sender)


@scenario
def a_connected_socket_hears_only_its_peer(net: Net):
    connected, bound = net.udp_pair()
    stranger = net.udp()
    stranger.sendto(b"psst", connected.getsockname())
    bound.sendto(b"hello", connected.getsockname())
    connected.setblocking(False)
    return connected.recv(10), raised(connected.recv, 10)


@scenario
def connecting_again_changes_the_peer(net: Net):
    connected, bound = net.udp_pair()
    other = net.udp()
    other.bind(("127.0.0.1", 0))
    connected.connect(other.getsockname())
    connected.send(b"x")
    bound.setblocking(False)
    return other.recv(10), raised(bound.recv, 10)


@scenario
def a_connected_socket_may_still_send_elsewhere(net: Net):
    connected, _ = net.udp_pair()
    other = net.udp()
    other.bind(("127.0.0.1", 0))
    connected.sendto(b"x", other.getsockname())
    return other.recv(10)


@scenario
def wrong_destinations(net: Net):
    made = net.udp()
    return (
        raised(made.sendto, b"x", ("127.0.0.1", 0)),
        raised(made.sendto, b"x", ("127.0.0.1", 65536)),
        raised(made.sendto, b"x", ("127.0.0.1",)),
        raised(made.sendto, b"x", 5, "address"),
        raised(made.sendto, b"x", "flags", ("127.0.0.1", 9)),
        raised(made.sendto, "text", ("127.0.0.1", 9)),
        raised(made.sendto),
        raised(made.sendto, b"x", 0, ("127.0.0.1", 9), 0),
        raised(made.sendmsg, [b"x"]),
        raised(made.sendmsg, [b"x"], [], 0, ("127.0.0.1", 0)),
        raised(made.sendmsg, b"x"),
        raised(made.sendmsg, 5),
    )


@scenario
def a_datagram_that_is_too_long(net: Net):
    connected, _ = net.udp_pair()
    return raised(connected.send, bytes(65508)), connected.send(bytes(65507))


@scenario
def shutting_down(net: Net):
    connected, bound = net.udp_pair()
    connected.shutdown(net.SHUT_WR)
    refused = raised(connected.send, b"x")
    bound.sendto(b"y", connected.getsockname())
    data = connected.recv(10)
    connected.shutdown(net.SHUT_RD)
    connected.setblocking(True)
    return refused, data, connected.recv(10), raised(bound.shutdown, net.SHUT_RD)


@scenario
def binding(net: Net):
    first, second = net.udp(), net.udp()
    first.bind(("127.0.0.1", 0))
    return (
        raised(first.bind, ("127.0.0.1", 0)),
        raised(second.bind, first.getsockname()),
        raised(second.bind, ("192.0.2.1", 0)),
        raised(second.bind, ("::1", 0)),
    )


@scenario
def sending_binds_to_a_free_port(net: Net):
    made = net.udp()
    made.sendto(b"x", ("127.0.0.1", 9))
    return made.getsockname()[0], made.getsockname()[1] > 0, raised(made.bind, ("127.0.0.1", 0))


@scenario
def shared_ports(net: Net):
    first, second, third = net.udp(), net.udp(), net.udp()
    for made in (first, second):
        made.setsockopt(net.SOL_SOCKET, net.SO_REUSEPORT, 1)
    first.bind(("127.0.0.1", 0))
    return raised(second.bind, first.getsockname()), raised(third.bind, first.getsockname())


@scenario
def polling_through_a_conversation(net: Net):
    connected, bound = net.udp_pair()
    states = [polled(connected), polled(bound)]
    connected.send(b"x")
    states.append(polled(bound))
    connected.send(b"y")
    bound.recv(10)
    states.append(polled(bound))
    bound.recv(10)
    states.append(polled(bound))
    return states


@scenario
def control_messages(net: Net):
    connected, bound = net.udp_pair()
    bound.setsockopt(net.IPPROTO_IP, net.IP_RECVTOS, 1)
    bound.setsockopt(net.IPPROTO_IP, 12, 1)
    connected.setsockopt(net.IPPROTO_IP, net.IP_TTL, 77)
    connected.setsockopt(net.IPPROTO_IP, net.IP_TOS, 0x28)
    connected.send(b"x")
    connected.send(b"y")
    connected.send(b"z")
    whole = sorted(bound.recvmsg(10, 1000)[1])
    one = bound.recvmsg(10, net.CMSG_SPACE(4))
    return whole, len(one[1]), one[2] & net.MSG_CTRUNC, bound.recvmsg(10)[1:3]


@scenario
def packet_information(net: Net):
    connected, bound = net.udp_pair("::1")
    bound.setsockopt(net.IPPROTO_IPV6, net.IPV6_RECVPKTINFO, 1)
    connected.send(b"x")
    ((level, kind, data),) = bound.recvmsg(10, 1000)[1]
    return level, kind, data[:16]


@scenario
def a_datagram_has_no_time_out_for_sending(net: Net):
    connected, bound = net.udp_pair()
    connected.settimeout(0.5)
    connected.sendall(b"whole")
    return bound.recv(10)


@scenario
def receiving_a_huge_amount_of_room(net: Net):
    connected, bound = net.udp_pair()
    connected.send(bytes(60_000))
    return len(bound.recv(10_000_000))


@scenario
def asking_for_no_bytes_takes_nothing(net: Net):
    connected, bound = net.udp_pair()
    connected.send(b"whole")
    return bound.recv(0), bound.recv_into(bytearray()), bound.recv(10)


@scenario
def a_peer_without_a_port_is_none(net: Net):
    made = net.udp()
    made.connect(("127.0.0.1", 0))
    return raised(made.getpeername), "raddr" in repr(made)
