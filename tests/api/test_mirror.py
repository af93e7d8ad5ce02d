"""The mirrored descriptor: what select, poll and epoll say is what the endpoint's readiness says, in every state."""

from __future__ import annotations

import os
import select
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.api.readiness import Mirror
from ustack.endpoint import ERROR, HANGUP, PRIORITY, READ_HANGUP, READABLE, WRITABLE

POLL_BITS = {
    READABLE: select.POLLIN,
    WRITABLE: select.POLLOUT,
    PRIORITY: select.POLLPRI,
    ERROR: select.POLLERR,
    READ_HANGUP: select.POLLRDHUP,
    HANGUP: select.POLLHUP,
}
ALL = select.POLLIN | select.POLLOUT | select.POLLPRI | select.POLLRDHUP
CLOSED = READABLE | WRITABLE | READ_HANGUP | HANGUP
UNOPENED = WRITABLE | HANGUP

live = st.sampled_from([0, READABLE, WRITABLE, READABLE | WRITABLE])
urgent = st.sampled_from([READABLE | PRIORITY, READABLE | PRIORITY | WRITABLE])
half_closed = st.sampled_from([READABLE | READ_HANGUP, READABLE | READ_HANGUP | WRITABLE])


@st.composite
def lives(draw):
    """The states of a socket in an order that a connection can have."""
    states = draw(st.sampled_from([[], [UNOPENED]]))
    states = states + draw(st.lists(live | urgent, min_size=1, max_size=12))
    if states[-1] & PRIORITY:
        states.append(states[-1] | READ_HANGUP)
    states = states + draw(st.lists(half_closed, max_size=4))
    return states + draw(st.sampled_from([[], [CLOSED], [CLOSED | ERROR], [CLOSED | ERROR, CLOSED]]))


def polled(descriptor: int) -> int:
    poller = select.poll()
    poller.register(descriptor, ALL)
    found = poller.poll(0)
    return found[0][1] if found else 0


def epolled(descriptor: int) -> int:
    with select.epoll() as poller:
        poller.register(descriptor, ALL)
        found = poller.poll(0)
    return found[0][1] if found else 0


def selected(descriptor: int) -> tuple[bool, bool, bool]:
    return tuple(bool(ready) for ready in select.select([descriptor], [descriptor], [descriptor], 0))


def expected(bits: int) -> int:
    return sum(flag for bit, flag in POLL_BITS.items() if bits & bit)


def check(mirror: Mirror, bits: int) -> None:
    wanted = expected(bits)
    assert polled(mirror.fileno()) == wanted
    assert epolled(mirror.fileno()) == wanted
    readable = bits & (READABLE | ERROR) or (bits & HANGUP)
    assert selected(mirror.fileno()) == (bool(readable), bool(bits & (WRITABLE | ERROR)), bool(bits & PRIORITY))


@given(lives())
def test_select_poll_and_epoll_agree_with_the_readiness_through_a_whole_life(states):
    mirror = Mirror(states[0])
    try:
        number = mirror.fileno()
        for bits in states:
            mirror.show(bits)
            check(mirror, bits)
            assert mirror.fileno() == number
    finally:
        mirror.close()


@given(lives())
def test_an_epoll_that_registered_the_descriptor_at_first_sees_every_later_state(states):
    mirror = Mirror(states[0])
    try:
        with select.epoll() as poller:
            poller.register(mirror.fileno(), ALL)
            for bits in states:
                mirror.show(bits)
                found = poller.poll(0)
                assert (found[0][1] if found else 0) == expected(bits)
    finally:
        mirror.close()


@pytest.mark.parametrize("bits", [WRITABLE, WRITABLE | READABLE])
def test_an_error_that_passes_shows_as_readable(bits):
    mirror = Mirror(WRITABLE)
    mirror.show(bits | ERROR)
    check(mirror, bits | READABLE)
    mirror.show(bits)
    check(mirror, bits)
    mirror.close()


@pytest.mark.parametrize("state", [WRITABLE, READABLE | PRIORITY, READABLE | READ_HANGUP, CLOSED, CLOSED | ERROR])
@pytest.mark.parametrize("detached", [False, True])
def test_a_mirror_given_away_has_two_empty_ends_that_carry_bytes(state, detached):
    mirror = Mirror(WRITABLE)
    number = mirror.let_go() if detached else mirror.fileno()
    mirror.show(state)
    near, far = mirror.surrender()
    assert near.fileno() == number
    near.send(b"up")
    far.send(b"down")
    assert far.recv(100) == b"up"
    assert near.recv(100) == b"down"
    near.close()
    far.close()


def test_a_descriptor_that_was_let_go_shows_what_happens_until_the_user_closes_it():
    mirror = Mirror(0)
    number = mirror.let_go()
    mirror.show(READABLE)
    assert polled(number) == expected(READABLE)
    os.close(number)
    with open(os.devnull, "rb") as innocent:
        assert innocent.fileno() == number
        for bits in (WRITABLE, 0, READABLE, CLOSED | ERROR):
            mirror.show(bits)
        mirror.close()
        assert innocent.read() == b""


def test_a_descriptor_taken_back_is_closed_with_the_mirror():
    mirror = Mirror(0)
    number = mirror.let_go()
    mirror.detached = False
    mirror.close()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)


@pytest.mark.parametrize("last", [WRITABLE, CLOSED])
def test_bytes_that_are_written_to_the_descriptor_are_complained_of(last):
    def end() -> None:
        mirror.show(last)
        mirror.close()

    mirror = Mirror(WRITABLE)
    os.write(mirror.fileno(), b"lost")
    with pytest.warns(RuntimeWarning, match="bytes were written to the descriptor of a socket: they are lost"):
        end()


def test_a_renewed_mirror_takes_hangup_back():
    mirror = Mirror(UNOPENED)
    number = mirror.fileno()
    mirror.show(CLOSED | ERROR)
    mirror.renew(UNOPENED)
    check(mirror, UNOPENED)
    mirror.show(0)
    check(mirror, 0)
    assert mirror.fileno() == number
    mirror.close()


def test_a_default_time_out_does_not_reach_the_pair(request):
    request.addfinalizer(lambda: socket.setdefaulttimeout(None))
    socket.setdefaulttimeout(100)
    mirror = Mirror(UNOPENED)
    for bits in (0, READABLE, WRITABLE, READABLE | PRIORITY, CLOSED):
        mirror.show(bits)
        check(mirror, bits)
    mirror.close()
