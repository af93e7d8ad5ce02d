"""The doors of the stack itself."""

from __future__ import annotations

import errno

from tests.support.raising import raises_errno
from ustack.address import LOOPBACK_IPV4
from ustack.config import StackConfig
from ustack.constants import AF_INET, SOCK_DGRAM, SOCK_STREAM
from ustack.entropy import SeededEntropy
from ustack.stack import Stack


def limited_stack(limit: int) -> Stack:
    return Stack(StackConfig(endpoints_limit=limit), entropy=SeededEntropy(1))


def test_sockets_beyond_the_limit_give_emfile_until_one_is_closed() -> None:
    stack = limited_stack(3)
    sockets = [stack.open(AF_INET, kind, 0) for kind in (SOCK_STREAM, SOCK_STREAM, SOCK_DGRAM)]
    with raises_errno(errno.EMFILE):
        stack.open(AF_INET, SOCK_STREAM, 0)
    sockets[0].close(0)
    stack.open(AF_INET, SOCK_STREAM, 0)


def test_a_socket_counts_once_when_it_listens_and_no_more_when_it_is_closed() -> None:
    stack = limited_stack(2)
    listener = stack.open(AF_INET, SOCK_STREAM, 0).listen(1)
    stack.open(AF_INET, SOCK_DGRAM, 0)
    with raises_errno(errno.EMFILE):
        stack.open(AF_INET, SOCK_STREAM, 0)
    listener.close(0)
    stack.open(AF_INET, SOCK_STREAM, 0)


def test_a_stopped_stack_gives_enetdown() -> None:
    stack = limited_stack(10)
    endpoint = stack.open(AF_INET, SOCK_DGRAM, 0)
    stack.stop(0)
    assert endpoint.take_error() == errno.ENETDOWN
    with raises_errno(errno.ENETDOWN):
        stack.open(AF_INET, SOCK_DGRAM, 0)


def test_advance_is_wanted_at_once_while_packets_to_ourselves_wait() -> None:
    stack = limited_stack(10)
    receiver, sender = stack.open(AF_INET, SOCK_DGRAM, 0), stack.open(AF_INET, SOCK_DGRAM, 0)
    receiver.bind(LOOPBACK_IPV4, 5000)
    sender.send(b"x", 0, (LOOPBACK_IPV4, 5000), 1)
    assert stack.next_deadline() == 0
    stack.advance(1)
    assert stack.next_deadline() is None
    assert receiver.receive_into(bytearray(10), 0, 1)[0] == 1
