"""TCP sockets over the loopback: each scenario ends on our sockets as it ends on the kernel's."""

from __future__ import annotations

import errno
import socket as stdlib

import pytest

from tests.support.referee import Net, on_kernel, on_ustack, polled, raised

SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.__name__)
def test_a_stream_behaves_as_the_kernels(case):
    assert on_ustack(case) == on_kernel(case)


@scenario
def calls_on_a_fresh_socket(net: Net):
    fresh = net.tcp()
    return (
        fresh.getsockname(),
        raised(fresh.getpeername),
        raised(fresh.recv, 10),
        raised(fresh.send, b"x"),
        raised(fresh.accept),
        polled(fresh),
        raised(fresh.shutdown, net.SHUT_RDWR),
        raised(fresh.shutdown, 7),
    )


@scenario
def calls_on_a_closed_socket(net: Net):
    closed = net.tcp()
    closed.close()
    closed.close()
    return (
        closed.fileno(),
        raised(closed.getsockname),
        raised(closed.getpeername),
        raised(closed.recv, 10),
        raised(closed.recv_into, bytearray(1)),
        raised(closed.send, b"x"),
        raised(closed.sendall, b"x"),
        raised(closed.accept),
        raised(closed.listen),
        raised(closed.bind, ("127.0.0.1", 0)),
        raised(closed.connect, ("127.0.0.1", 1)),
        raised(closed.shutdown, net.SHUT_RDWR),
        raised(closed.getsockopt, net.SOL_SOCKET, net.SO_TYPE),
        raised(closed.setsockopt, net.SOL_SOCKET, net.SO_REUSEADDR, 1),
        closed.family,
        closed.type,
        raised(closed.dup),
    )


@scenario
def a_whole_conversation(net: Net):
    client, server = net.pair()
    client.sendall(b"question")
    question = server.recv(100)
    server.sendall(b"answer")
    server.shutdown(net.SHUT_WR)
    answer = client.recv(100), client.recv(100)
    client.sendall(b"thanks")
    client.close()
    return question, answer, server.recv(3), server.recv(100), server.recv(100)


@scenario
def names_of_both_ends(net: Net):
    client, server = net.pair()
    return client.getpeername() == server.getsockname(), server.getpeername() == client.getsockname()


@scenario
def names_of_both_ends_over_ipv6(net: Net):
    client, server = net.pair("::1")
    return client.getpeername() == server.getsockname(), server.getsockname()[0], server.getsockname()[2:]


@scenario
def ipv4_reaches_a_dual_mode_listener_with_a_mapped_address(net: Net):
    listener = net.tcp(net.AF_INET6)
    listener.bind(("::", 0))
    listener.listen()
    client = net.tcp()
    client.connect(("127.0.0.1", listener.getsockname()[1]))
    accepted, peer = listener.accept()
    with accepted:
        return peer[0], accepted.getsockname()[0], accepted.family, peer[1] == client.getsockname()[1]


@scenario
def an_ipv6_socket_reaches_ipv4_by_a_mapped_address(net: Net):
    listener = net.listener()
    client = net.tcp(net.AF_INET6)
    client.connect(("::ffff:127.0.0.1", listener.getsockname()[1]))
    return client.getpeername()[0], client.getsockname()[0]


@scenario
def an_ipv6_only_socket_refuses_mapped_addresses(net: Net):
    client = net.tcp(net.AF_INET6)
    client.setsockopt(net.IPPROTO_IPV6, net.IPV6_V6ONLY, 1)
    return raised(client.connect, ("::ffff:127.0.0.1", 1)), raised(client.bind, ("::ffff:127.0.0.1", 0))


@scenario
def nobody_listens(net: Net):
    unused = net.listener()
    address = unused.getsockname()
    unused.close()
    client, other = net.tcp(), net.tcp()
    return raised(client.connect, address), other.connect_ex(address), polled(other)


@scenario
def trying_again_until_somebody_listens(net: Net):
    server = net.listener()
    address = server.getsockname()
    server.close()
    client = net.tcp()
    client.bind(("127.0.0.1", 0))
    polled(client)
    tries = [client.connect_ex(address), client.connect_ex(address)]
    server = net.tcp()
    server.setsockopt(net.SOL_SOCKET, net.SO_REUSEADDR, 1)
    server.bind(address)
    server.listen()
    tries.append(client.connect_ex(address))
    return tries, client.getpeername() == address, client.getsockname()[0], polled(client)


@scenario
def trying_again_without_blocking(net: Net):
    server = net.listener()
    address = server.getsockname()
    server.close()
    client = net.tcp()
    client.setblocking(False)
    return [client.connect_ex(address) for _ in range(6)]


@scenario
def a_refused_connection_seen_by_polling(net: Net):
    unused = net.listener()
    address = unused.getsockname()
    unused.close()
    client = net.tcp()
    client.setblocking(False)
    begun = client.connect_ex(address)
    before = polled(client)
    pending = client.getsockopt(net.SOL_SOCKET, net.SO_ERROR), client.getsockopt(net.SOL_SOCKET, net.SO_ERROR)
    return begun, before, pending, polled(client)


@scenario
def a_non_blocking_connection(net: Net):
    listener = net.listener()
    client = net.tcp()
    client.setblocking(False)
    begun = client.connect_ex(listener.getsockname())
    shown = polled(client), polled(listener)
    accepted = net.keep(listener.accept()[0])
    return begun, shown, client.connect_ex(listener.getsockname()), polled(accepted), accepted.gettimeout()


@scenario
def non_blocking_calls_that_would_block(net: Net):
    client, server = net.pair()
    listener = net.listener()
    for each in (client, server, listener):
        each.setblocking(False)
    return (
        raised(client.recv, 1),
        raised(client.recv_into, bytearray(1)),
        raised(client.recvfrom, 1),
        raised(client.recvmsg, 1),
        raised(listener.accept),
        raised(client.recv, 1, net.MSG_PEEK),
        client.getblocking(),
        client.gettimeout(),
    )


@scenario
def a_call_with_msg_dontwait_does_not_block(net: Net):
    client, _ = net.pair()
    client.setblocking(True)
    return raised(client.recv, 1, net.MSG_DONTWAIT)


@scenario
def a_short_time_out(net: Net):
    client, _ = net.pair()
    listener = net.listener()
    for each in (client, listener):
        each.settimeout(0.001)
    return raised(client.recv, 1), raised(listener.accept), str(client.gettimeout())


@scenario
def a_receive_time_limit_of_the_socket_itself(net: Net):
    client, _ = net.pair()
    client.setblocking(True)
    client.setsockopt(net.SOL_SOCKET, net.SO_RCVTIMEO, (0).to_bytes(8, "little") + (1000).to_bytes(8, "little"))
    return raised(client.recv, 1)


@scenario
def sending_after_our_own_shutdown(net: Net):
    client, server = net.pair()
    client.shutdown(net.SHUT_WR)
    return raised(client.send, b"x"), raised(client.sendall, b"x"), server.recv(1), polled(client)


@scenario
def reading_after_our_own_shutdown(net: Net):
    client, server = net.pair()
    server.send(b"abc")
    client.shutdown(net.SHUT_RD)
    return client.recv(100), client.recv(100)


@scenario
def shutting_down_twice(net: Net):
    client, _ = net.pair()
    client.shutdown(net.SHUT_WR)
    client.shutdown(net.SHUT_WR)
    return polled(client)


@scenario
def every_state_of_closing_seen_by_polling(net: Net):
    client, server = net.pair()
    states = [polled(client), polled(server)]
    server.send(b"data")
    states.append(polled(client))
    client.recv(2)
    states.append(polled(client))
    client.recv(2)
    states.append(polled(client))
    server.shutdown(net.SHUT_WR)
    states.append(polled(client))
    states.append(client.recv(1))
    states.append(polled(client))
    client.shutdown(net.SHUT_WR)
    states.append(polled(client))
    states.append(polled(server))
    return states


@scenario
def a_reset_after_unread_data(net: Net):
    client, server = net.pair()
    client.send(b"never read")
    server.close()
    return polled(client), raised(client.recv, 10), client.recv(10), raised(client.send, b"x"), polled(client)


@scenario
def a_reset_by_lingering_for_no_time(net: Net):
    client, server = net.pair()
    server.setsockopt(net.SOL_SOCKET, net.SO_LINGER, (1).to_bytes(4, "little") + bytes(4))
    server.close()
    return polled(client), client.getsockopt(net.SOL_SOCKET, net.SO_ERROR), polled(client), client.recv(1)


@scenario
def peeking_takes_nothing(net: Net):
    client, server = net.pair()
    server.send(b"abcdef")
    return client.recv(3, net.MSG_PEEK), client.recv(100, net.MSG_PEEK), client.recv(2), client.recv(100)


@scenario
def waiting_for_all_fills_the_buffer(net: Net):
    client, server = net.pair()
    server.send(b"abc")
    server.send(b"def")
    server.shutdown(net.SHUT_WR)
    return client.recv(5, net.MSG_WAITALL), client.recv(5, net.MSG_WAITALL)


@scenario
def receiving_into_buffers(net: Net):
    client, server = net.pair()
    server.sendall(b"0123456789" * 2)
    first, second = bytearray(4), bytearray(8)
    counts = client.recv_into(first), client.recv_into(memoryview(second)[2:], 3)
    from_into = client.recvfrom_into(first, 2)
    scattered = client.recvmsg_into([memoryview(second)[:1], first])
    return counts, bytes(first), bytes(second), from_into, scattered


@scenario
def receiving_into_wrong_buffers(net: Net):
    client, server = net.pair()
    server.send(b"x")
    return (
        raised(client.recv_into, b"constant"),
        raised(client.recv_into, bytearray(2), 3),
        raised(client.recv_into, bytearray(2), -1),
        raised(client.recv, -1),
        raised(client.recv, "1"),
        raised(client.recvfrom, -1),
        raised(client.recvmsg, -1),
        raised(client.recvmsg, 1, -1),
        raised(client.recv_into, "text"),
    )


@scenario
def receiving_with_a_source_from_a_stream(net: Net):
    client, server = net.pair()
    server.send(b"abcd")
    return client.recvfrom(2), client.recvmsg(2)


@scenario
def sending_wrong_things(net: Net):
    client, _ = net.pair()
    return (
        raised(client.send, "text"),
        raised(client.sendall, "text"),
        raised(client.send, 5),
        raised(client.sendmsg, ["text"]),
        raised(client.send, b"x", "flags"),
        raised(client.send),
        raised(client.sendto, b"x"),
        raised(client.sendto, b"x", "address"),
        raised(client.send, memoryview(b"abcd")[::2]),
    )


@scenario
def sending_many_kinds_of_buffers(net: Net):
    import array

    client, server = net.pair()
    counts = (
        client.send(bytearray(b"ab")),
        client.send(memoryview(b"cd")),
        client.send(array.array("H", [0x6665])),
        client.sendmsg([b"g", bytearray(b"h"), memoryview(b"i")]),
        client.sendto(b"j", server.getsockname()),
        client.send(b""),
    )
    return counts, server.recv(100, net.MSG_WAITALL | net.MSG_DONTWAIT)


@scenario
def an_unconnected_stream_sends_to_nobody(net: Net):
    return raised(net.tcp().sendto, b"x", ("127.0.0.1", 9))


@scenario
def urgent_data(net: Net):
    client, server = net.pair()
    client.send(b"ab")
    client.send(b"c!", net.MSG_OOB)
    client.send(b"de")
    server.setblocking(True)
    urgent = server.recv(1, net.MSG_OOB)
    return urgent, server.recv(10), server.recv(10), raised(server.recv, 1, net.MSG_OOB)


@scenario
def urgent_data_in_line(net: Net):
    client, server = net.pair()
    server.setblocking(True)
    server.setsockopt(net.SOL_SOCKET, net.SO_OOBINLINE, 1)
    client.send(b"ab")
    client.send(b"!", net.MSG_OOB)
    client.send(b"cd")
    return server.recv(10), server.recv(10), raised(server.recv, 1, net.MSG_OOB)


@scenario
def no_urgent_data(net: Net):
    client, _ = net.pair()
    client.setblocking(True)
    without_limit = raised(client.recv, 1, net.MSG_OOB)
    client.settimeout(0.001)
    return without_limit, raised(client.recv, 1, net.MSG_OOB)


@scenario
def binding(net: Net):
    first, second = net.tcp(), net.tcp()
    first.bind(("127.0.0.1", 0))
    taken = first.getsockname()
    first.listen()
    return (
        raised(first.bind, ("127.0.0.1", 0)),
        raised(second.bind, taken),
        raised(second.bind, ("192.0.2.1", 0)),
        raised(second.bind, "127.0.0.1"),
        raised(second.bind, ("127.0.0.1",)),
        raised(second.bind, ("127.0.0.1", "http")),
        raised(second.bind, ("127.0.0.1", 65536)),
        raised(second.bind, ("127.0.0.1", -1)),
        raised(second.bind, (5, 80)),
        raised(second.bind, (None, 80)),
        raised(second.bind, ("127.0.0.1", 0, 0)),
    )


@scenario
def addresses_of_the_wrong_family(net: Net):
    inet, inet6 = net.tcp(), net.tcp(net.AF_INET6)
    return (
        raised(inet.bind, ("::1", 0)),
        raised(inet6.bind, ("127.0.0.1", 0)),
        raised(inet6.bind, ("::1",)),
        raised(inet6.bind, ("::1", 0, 0, 0, 0)),
        raised(inet6.bind, ("::1", 0, 1 << 20)),
        raised(inet6.bind, ("<broadcast>", 0)),
    )


@scenario
def many_ways_to_write_the_loopback(net: Net):
    names = []
    for host in ("127.0.0.1", "localhost", "127.1", "0x7f000001", b"127.0.0.1", bytearray(b"127.0.0.1")):
        made = net.tcp()
        made.bind((host, 0))
        names.append(made.getsockname()[0])
    return names


@scenario
def the_wildcard_address(net: Net):
    made, made6 = net.tcp(), net.tcp(net.AF_INET6)
    made.bind(("", 0))
    made6.bind(("", 0))
    return made.getsockname()[0], made6.getsockname()[0], made6.getsockname()[2:]


@scenario
def connecting_to_the_wildcard_is_connecting_to_ourselves(net: Net):
    listener = net.listener("127.0.0.1")
    client = net.tcp()
    client.connect(("0.0.0.0", listener.getsockname()[1]))
    return client.getpeername()[0]


@scenario
def connecting_twice(net: Net):
    client, server = net.pair()
    return raised(client.connect, server.getsockname()), client.connect_ex(server.getsockname())


@scenario
def listening_in_the_wrong_state(net: Net):
    client, _ = net.pair()
    listener = net.listener()
    listener.listen(1)
    return (
        raised(client.listen),
        raised(listener.connect, ("127.0.0.1", 1)),
        raised(listener.recv, 1),
        raised(listener.send, b"x"),
        raised(listener.listen, "many"),
        polled(listener),
    )


@scenario
def listening_without_binding_takes_a_free_port(net: Net):
    listener = net.tcp()
    listener.listen(-1)
    client = net.tcp()
    client.connect(("127.0.0.1", listener.getsockname()[1]))
    return polled(listener), listener.getsockname()[1] > 0


@scenario
def time_outs_that_are_none(net: Net):
    made = net.tcp()
    return (
        raised(made.settimeout, -1),
        raised(made.settimeout, "1"),
        raised(made.settimeout, b"1"),
        raised(made.settimeout, 1 << 70),
        raised(made.settimeout, float("nan")),
        raised(made.settimeout, []),
        made.settimeout(1),
        made.gettimeout(),
        made.timeout,
        made.setblocking(False),
        made.timeout,
        made.getblocking(),
        made.settimeout(None),
        made.getblocking(),
    )


@scenario
def a_file_over_a_socket(net: Net):
    client, server = net.pair()
    with client.makefile("rw", newline="\n") as text:
        text.write("line one\nline two\n")
        text.flush()
    received = server.recv(100)
    server.sendall(b"first\nsecond\nrest")
    server.shutdown(net.SHUT_WR)
    with client.makefile("rb") as reading:
        lines = reading.readline(), reading.readline(), reading.read()
    return received, lines


@scenario
def a_socket_lives_as_long_as_its_files(net: Net):
    client, server = net.pair()
    reading = client.makefile("rb")
    client.close()
    server.sendall(b"still here")
    server.shutdown(net.SHUT_WR)
    data = reading.read()
    reading.close()
    return data, raised(client.recv, 1)


@scenario
def a_file_that_times_out_stays_unusable(net: Net):
    client, _ = net.pair()
    client.settimeout(0.001)
    with client.makefile("rb", buffering=0) as reading:
        return raised(reading.read, 1), raised(reading.read, 1)


@scenario
def sending_a_file(net: Net):
    import tempfile

    client, server = net.pair()
    with tempfile.TemporaryFile() as file:
        file.write(b"0123456789" * 1000)
        sent = client.sendfile(file, 5, 100), file.tell()
    return sent, len(server.recv(1000, net.MSG_WAITALL | net.MSG_DONTWAIT))


@scenario
def a_duplicate_keeps_the_connection_open(net: Net):
    client, server = net.pair()
    twin = net.keep(client.dup())
    client.close()
    twin.send(b"still here")
    received = server.recv(100)
    twin.close()
    return received, server.recv(100)


@scenario
def a_duplicate_becomes_a_listener_too(net: Net):
    first = net.tcp()
    second = net.keep(first.dup())
    second.bind(("127.0.0.1", 0))
    first.listen()
    client = net.tcp()
    client.connect(second.getsockname())
    accepted, peer = second.accept()
    accepted.close()
    return peer == client.getsockname(), first.getsockopt(net.SOL_SOCKET, net.SO_ACCEPTCONN)


@scenario
def a_socket_from_a_descriptor(net: Net):
    client, server = net.pair()
    second = net.keep(net.fromfd(client.fileno(), client.family, client.type))
    second.sendall(b"from the second")
    received = server.recv(100)
    second.close()
    server.sendall(b"to the first")
    return received, client.recv(100)


@scenario
def the_descriptor_says_whether_calls_block(net: Net):
    import os

    made = net.tcp()
    shown = []
    for timeout in (None, 0.0, 5, None):
        made.settimeout(timeout)
        shown.append(os.get_blocking(made.fileno()))
    made.setblocking(False)
    return shown, os.get_blocking(made.fileno())


@scenario
def numbers_that_fit_no_int(net: Net):
    made = net.tcp()
    return raised(made.shutdown, 1 << 31), raised(made.listen, 1 << 31), raised(made.setblocking, 1 << 32)


@scenario
def flags_in_the_type(net: Net):
    made = net.socket(net.AF_INET, net.SOCK_STREAM | net.SOCK_NONBLOCK | net.SOCK_CLOEXEC)
    return made.type, made.gettimeout(), made.get_inheritable()


@scenario
def a_socket_is_a_context_manager(net: Net):
    with net.tcp() as made:
        number = made.fileno()
    return number >= 0, made.fileno(), "[closed]" in repr(made)


@scenario
def a_socket_cannot_be_pickled(net: Net):
    import pickle

    return raised(pickle.dumps, net.tcp())


@scenario
def the_backlog_is_a_limit_but_not_exact(net: Net):
    listener = net.listener(backlog=3)
    clients = [net.tcp() for _ in range(3)]
    for client in clients:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
    return [net.keep(listener.accept()[0]).fileno() >= 0 for _ in clients]


@scenario
def closing_a_listener_resets_what_it_has_not_accepted(net: Net):
    listener = net.listener()
    client = net.tcp()
    client.settimeout(5)
    client.connect(listener.getsockname())
    listener.close()
    return raised(client.recv, 1), polled(client)


def test_errors_carry_their_winsock_name():
    def refused(net: Net):
        unused = net.listener()
        address = unused.getsockname()
        unused.close()
        try:
            net.tcp().connect(address)
        except OSError as problem:
            return problem.errno, problem.winsock
        return None

    assert on_ustack(refused) == (errno.ECONNREFUSED, "WSAECONNREFUSED")


def test_a_socket_is_an_instance_of_pythons_own_class():
    assert on_ustack(lambda net: isinstance(net.tcp(), stdlib.socket))
