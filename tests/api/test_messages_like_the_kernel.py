"""recvmsg(), sendmsg() and ioctl(): flags and control messages are the kernel's."""

from __future__ import annotations

import fcntl
import select
import socket as stdlib
import struct
import termios
import threading

import pytest

from tests.support.referee import Net, on_kernel, on_ustack, raised
from ustack.api import options_socket, options_tcp

ERRQUEUE, ZEROCOPY, WAITALL, PEEK, DONTWAIT = 0x2000, 0x400_0000, 0x100, 0x2, 0x40
OUTQ, OUTQNSD, ATMARK = 0x5411, 0x894B, 0x8905
SCM_TIMESTAMPING = 37
TX_SOFTWARE, SOFTWARE, OPT_ID, TX_SCHED, TX_ACK, OPT_TSONLY, OPT_STATS = (1 << bit for bit in (1, 4, 7, 8, 9, 11, 12))
TTL = 26
SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["v4", "v6"])
@pytest.mark.parametrize("case", SCENARIOS, ids=lambda case: case.__name__)
def test_messages_are_those_of_the_kernel(case, host):
    assert on_ustack(lambda net: case(net, host)) == on_kernel(lambda net: case(net, host))


def asked(made, request: int) -> int:
    """The number that an ioctl tells."""
    if hasattr(made, "ioctl"):
        return made.ioctl(request)
    return struct.unpack("i", fcntl.ioctl(made.fileno(), request, bytes(4)))[0]


def entry(made, flags: int = 0) -> tuple:
    """One entry of the error queue; the times of stamps are not compared."""
    data, messages, message_flags, address = made.recvmsg(0, 512, ERRQUEUE | DONTWAIT | flags)
    shown = [(level, kind, len(value) if kind == SCM_TIMESTAMPING else value) for level, kind, value in messages]
    return data, shown, message_flags, address


def attributes(value: bytes) -> list:
    """Number and length of each netlink attribute."""
    found, place = [], 0
    while place < len(value):
        length, number = struct.unpack_from("=HH", value, place)
        found.append((number, length))
        place += -(-length // 4) * 4
    return found


def entries(made) -> list:
    """All entries of the error queue."""
    made.setblocking(False)
    found = []
    while True:
        try:
            found.append(entry(made))
        except BlockingIOError:
            return found


@scenario
def completions_of_sends_without_copy(net: Net, host: str):
    client, server = net.pair(host)
    client.setsockopt(net.SOL_SOCKET, options_socket.SO_ZEROCOPY, 1)
    client.setblocking(False)
    before = raised(entry, client)
    for _ in range(3):
        client.send(bytes(1000), ZEROCOPY)
        server.recv(1000, WAITALL)
    server.send(b"x")
    client.setblocking(True)
    client.recv(1)
    client.setblocking(False)
    return before, entry(client, PEEK), entries(client), raised(entry, client)


@scenario
def stamps_of_what_was_sent(net: Net, host: str):
    client, server = net.pair(host)
    wanted = TX_SOFTWARE | TX_SCHED | TX_ACK | SOFTWARE | OPT_ID | OPT_TSONLY
    client.setsockopt(net.SOL_SOCKET, options_socket.SO_TIMESTAMPING, wanted)
    client.send(bytes(100))
    server.recv(100, WAITALL)
    server.send(b"x")
    client.recv(1)
    return sorted(entries(client)), client.getsockopt(net.SOL_SOCKET, options_socket.SO_TIMESTAMPING)


@scenario
def stamps_for_one_call(net: Net, host: str):
    client, server = net.pair(host)
    client.setsockopt(net.SOL_SOCKET, options_socket.SO_TIMESTAMPING, SOFTWARE | OPT_ID | OPT_TSONLY)
    client.send(bytes(100))
    message = (net.SOL_SOCKET, options_socket.SO_TIMESTAMPING, struct.pack("I", TX_ACK))
    client.sendmsg([bytes(60), b"", bytes(40)], [message])
    server.recv(200, WAITALL)
    server.send(b"x")
    client.recv(1)
    return entries(client)


@scenario
def statistics_beside_stamps(net: Net, host: str):
    client, server = net.pair(host)
    wanted = TX_SOFTWARE | TX_ACK | SOFTWARE | OPT_ID | OPT_TSONLY | OPT_STATS
    client.setsockopt(net.SOL_SOCKET, options_socket.SO_TIMESTAMPING, wanted)
    client.send(bytes(100))
    server.recv(100, WAITALL)
    server.send(b"x")
    client.recv(1)
    client.setblocking(False)
    found = []
    for _ in range(2):
        _, messages, flags, _ = client.recvmsg(0, 1024, ERRQUEUE)
        told = {number: length for number, length in attributes(messages[1][2]) if number != TTL}
        found.append((list(told.items()), flags, [(level, kind) for level, kind, _ in messages]))
    return found


@scenario
def control_messages_without_meaning(net: Net, host: str):
    client, _ = net.pair(host)
    return (
        raised(client.sendmsg, [b"x"], [(net.SOL_SOCKET, 200, b"1234")]),
        raised(client.sendmsg, [b"x"], [(net.SOL_SOCKET, options_socket.SO_TIMESTAMPING, b"1")]),
        raised(client.sendmsg, [b"x"], [(net.SOL_SOCKET, options_socket.SO_TIMESTAMPING, struct.pack("I", SOFTWARE))]),
        client.sendmsg([b"x"], [(200, 200, b"1234")]),
        client.sendmsg([b"", b""]),
        client.sendmsg([b"", b""], [], ZEROCOPY),
        client.sendmsg([]),
    )


@scenario
def how_much_waits(net: Net, host: str):
    client, server = net.pair(host)
    listener = net.listener(host)
    client.send(bytes(1000))
    server.recv(1, PEEK)
    full = asked(server, termios.FIONREAD)
    server.recv(300)
    rest = asked(server, termios.FIONREAD)
    client.send(b"12345", net.MSG_OOB)
    server.recv(695, WAITALL)
    before = asked(server, termios.FIONREAD)
    server.recv(100)
    at_mark = asked(server, termios.FIONREAD), asked(server, ATMARK)
    client.shutdown(net.SHUT_WR)
    return (
        full,
        rest,
        before,
        at_mark,
        server.recv(10),
        asked(server, termios.FIONREAD),
        asked(net.tcp(), termios.FIONREAD),
        asked(net.tcp(), OUTQ),
        *[raised(asked, listener, request) for request in (termios.FIONREAD, OUTQ, OUTQNSD)],
    )


@scenario
def the_queue_beside_the_data(net: Net, host: str):
    client, server = net.pair(host)
    server.setsockopt(net.IPPROTO_TCP, options_tcp.TCP_INQ, 1)
    client.send(bytes(1000))
    client.shutdown(net.SHUT_WR)
    server.recv(1000, PEEK | WAITALL)
    poller = select.poll()
    poller.register(server, select.POLLRDHUP)
    poller.poll(2000)
    return [server.recvmsg(size, 64) for size in (300, 0, 700, 10)], server.recvmsg(10, 0), server.recv(10)


@scenario
def reading_nothing(net: Net, host: str):
    client, server = net.pair(host)
    server.setblocking(False)
    empty = raised(server.recvmsg, 0), raised(server.recvmsg, 0, 0, WAITALL), raised(server.recvmsg, 0, 0, PEEK)
    client.send(b"x", net.MSG_OOB)
    return empty, server.recvmsg(0), server.recvmsg(0, 0, net.MSG_OOB), raised(server.recv, 1, net.MSG_OOB)


@scenario
def urgent_marks(net: Net, host: str):
    client, server = net.pair(host)
    client.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
    server.setblocking(False)
    client.send(b"12345", net.MSG_OOB)
    to_the_mark = server.recv(50, WAITALL), asked(server, ATMARK)
    passed = raised(server.recv, 1), asked(server, ATMARK)
    client.send(b"678")
    return to_the_mark, passed, asked(server, termios.FIONREAD), server.recv(50, WAITALL)


@scenario
def the_end_comes_before_an_error(net: Net, host: str):
    client, server = net.pair(host)
    client.shutdown(net.SHUT_RDWR)
    end = server.recv(1)
    server.send(b"data that nobody wants")
    select.select([server], [], [], 0.05)
    return end, server.recv(1), raised(server.send, b"x"), server.recv(1), raised(server.send, b"x")


@scenario
def an_error_after_some_bytes_waits_for_the_next_call(net: Net, host: str):
    client, server = net.pair(host)
    client.send(b"some")
    client.setsockopt(net.SOL_SOCKET, net.SO_LINGER, struct.pack("ii", 1, 0))
    server.recv(4, PEEK | WAITALL)
    client.close()
    return server.recv(10, WAITALL), raised(server.recv, 10), server.recv(10)


@scenario
def peeking_waits_for_as_much_as_it_wants_to_see(net: Net, host: str):
    client, server = net.pair(host)
    server.settimeout(None)
    client.send(bytes(10))
    if net.module is stdlib:
        threading.Timer(0.05, client.send, [bytes(10)]).start()
    else:
        client.send(bytes(10))
    seen = len(server.recv(20, PEEK | WAITALL))
    client.shutdown(net.SHUT_WR)
    return seen, len(server.recv(30, PEEK | WAITALL)), len(server.recv(30, WAITALL))


@scenario
def so_many_bytes_make_a_stream_readable(net: Net, host: str):
    client, server = net.pair(host)
    server.setsockopt(net.SOL_SOCKET, net.SO_RCVLOWAT, 100)
    client.send(bytes(50))
    server.setblocking(False)
    while asked(server, termios.FIONREAD) < 50:
        pass
    few = select.select([server], [], [], 0)[0]
    taken = len(server.recv(20))
    server.setblocking(True)
    short = len(server.recv(10))
    client.send(bytes(80))
    many = bool(select.select([server], [], [], 2)[0])
    client.shutdown(net.SHUT_WR)
    rest = len(server.recv(1000))
    return few, taken, short, many, rest, bool(select.select([server], [], [], 2)[0]), server.recv(10)


@scenario
def more_data_are_a_new_edge(net: Net, host: str):
    client, server = net.pair(host)
    client.setsockopt(net.IPPROTO_TCP, net.TCP_NODELAY, 1)
    with select.epoll() as poller:
        poller.register(server, select.EPOLLIN | select.EPOLLET)
        found = []
        for _ in range(3):
            client.send(b"x")
            found.append([bits for _, bits in poller.poll(0.2)])
            found.append([bits for _, bits in poller.poll(0)])
        server.recv(1)
        found.append([bits for _, bits in poller.poll(0)])
        poller.modify(server, select.EPOLLIN | select.EPOLLONESHOT)
        found.append([bits for _, bits in poller.poll(0)])
        found.append([bits for _, bits in poller.poll(0)])
    return found
