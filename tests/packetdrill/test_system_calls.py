"""The system calls of scripts: results, errno, descriptors, options, waiting."""

from __future__ import annotations

import pytest

from tests.packetdrill.writing import LISTEN, SERVER, fails, passes, unsupported

DATA = SERVER + "+0 < . 1:101(100) ack 1 win 32792\n"
NON_BLOCKING = "+0 fcntl(4, F_SETFL, O_RDWR|O_NONBLOCK) = 0\n"


@pytest.mark.parametrize(
    "line",
    [
        "read(4, ..., 60) = 60",
        "recv(4, ..., 60, 0) = 60",
        "recv(4, ..., 60, MSG_PEEK) = 60",
        "recvfrom(4, ..., 200, 0, ..., ...) = 100",
        "readv(4, [{..., 50}, {..., 100}], 2) = 100",
        "recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 60}], msg_flags=0}, 0) = 60",
        "recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{iov_base=..., iov_len=60}], msg_flags=0}, 0) = 60",
        "recv(4, 0, 60, MSG_TRUNC) = 60",
        "recv(4, 0, 60, 0) = -1 EFAULT (Bad address)",
        "read(4, NULL, 60) = -1 EFAULT (Bad address)",
        "write(4, ..., 100) = 100",
        "write(4, 0, 100) = -1 EFAULT (Bad address)",
        "send(4, ..., 100, MSG_DONTWAIT) = 100",
        "sendto(4, ..., 100, 0, AF_UNSPEC, ...) = 100",
        "writev(4, [{..., 50}, {..., 100}], 2) = 150",
        "sendmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 60}], msg_flags=0}, 0) = 60",
        "ioctl(4, SIOCINQ, [100]) = 0",
        "ioctl(4, FIONBIO, [1]) = 0",
        "shutdown(4, SHUT_RD) = 0",
        "shutdown(4, 77) = -1 EINVAL (Invalid argument)",
        "close(4) = 0",
        "fcntl(4, F_GETFL) = O_RDWR (flags O_RDWR)",
        "socket(..., SOCK_STREAM|SOCK_NONBLOCK, IPPROTO_TCP) = 5",
        "socket(..., SOCK_STREAM, IPPROTO_UDP) = -1",
        "connect(4, ..., ...) = -1 EISCONN (Transport endpoint is already connected)",
        "connect(4, AF_UNSPEC, ...) = 0",
        "listen(4, 1) = -1 EINVAL",
        "epoll_create(1) = 5",
        "epoll_create(0) = -1 EINVAL",
        "setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
        "setsockopt(4, SOL_SOCKET, SO_LINGER, {onoff=1, linger=0}, 8) = 0",
        'setsockopt(4, SOL_TCP, TCP_CONGESTION, "reno", 4) = 0',
        "setsockopt(4, SOL_TCP, TCP_NODELAY, [1], -1) = -1 EINVAL",
        "getsockopt(4, SOL_SOCKET, SO_ERROR, [0], [4]) = 0",
        "getsockopt(4, SOL_SOCKET, 9999, [0], [4]) = -1 ENOPROTOOPT (Protocol not available)",
        "poll([{fd=4, events=POLLIN|POLLOUT, revents=POLLIN|POLLOUT}], 1, 0) = 1",
        'bind(4, {sa_family = AF_INET, sin_port = htons(1), sin_addr = inet_addr("192.168.0.1")}, ...) = -1 EINVAL',
        'open("nowhere", O_RDONLY) = -1 ENOENT (No such file or directory)',
    ],
)
def test_a_call_gives_what_it_gives_on_linux(line: str) -> None:
    passes(DATA + f"+0 {line}")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("read(4, ..., 60) = 50", "runtime error in read call: Expected result 50 but got 60 with errno 0 (Success)"),
        ("read(9, ..., 60) = 50", "unable to find fd with script fd 9"),
        ("read(4, ..., 60, 0) = 60", "read expected 3 args but got 4"),
        ("read(4, x, 60) = 60", ""),
        ("read(4, 5, 60) = 60", "Expected ... or NULL for buffer"),
        ("close(4) = -1 EBADF", "Expected result -1 but got 0"),
        ("connect(4, ..., ...) = -1 EINVAL", "Expected errno 22 (Invalid argument) but got 106"),
        ("socket(..., SOCK_STREAM, IPPROTO_TCP) = 4", "duplicate fd 4 in script"),
        ("socket(..., SOCK_STREAM, IPPROTO_TCP) = -99", "Expected result -99 but got"),
        ("socket(..., SOCK_STREAM, IPPROTO_UDP) = 5", "Expected non-negative result but got -1 with errno 93"),
        ("getsockopt(4, SOL_TCP, TCP_NODELAY, [1], [4]) = 0", "Bad getsockopt optval: expected: 1 actual: 0"),
        ("getsockopt(4, SOL_TCP, TCP_NODELAY, [0], [8]) = 0", "Bad getsockopt optlen: expected: 8 actual: 4"),
        ("ioctl(4, SIOCINQ, [7]) = 0", "Bad ioctl optval: expected: 7 (0x7) actual: 100"),
        ("poll([{fd=4, events=POLLIN, revents=0}], 1, 0) = 1", "Bad revents: expected: 0"),
        ("readv(4, [{..., 50}], 2) = 50", "iov_count 2 does not match 1-element iovec array"),
        (
            "recvmsg(4, {msg_name(...)=..., msg_iov(1)=[{..., 60}], msg_flags=MSG_EOR}, 0) = 60",
            "Expected msg_flags 0x00000080 but got 0x00000000",
        ),
        ("setsockopt(4, SOL_TCP, TCP_NODELAY, [x], 4) = 0", ""),
    ],
)
def test_a_call_that_gives_something_else_fails(line: str, reason: str) -> None:
    if not reason:
        unsupported(DATA + f"+0 {line}", "the symbol x is not known")
    else:
        fails(DATA + f"+0 {line}", reason, 11)


def test_unknown_calls_functions_and_symbols_are_unsupported() -> None:
    unsupported("0 fork() = 0", "Unknown system call: 'fork'")
    unsupported(SERVER + "+0 close(NOBODY) = 0", "the symbol NOBODY is not known")
    unsupported(SERVER + "+0 close(f(3)) = 0", "the function f() is not known")


def test_failures_of_calls_can_be_declared_harmless() -> None:
    passes("--non_fatal=syscall\n" + DATA + "+0 read(4, ..., 60) = 50")


def test_a_descriptor_of_the_script_is_only_a_name() -> None:
    passes(LISTEN.replace("= 3", "= 77").replace("(3,", "(77,"))


def test_an_accepted_socket_may_take_a_number_that_is_in_use() -> None:
    again = "+0 < S 0:0(0) win 32792 <mss 1000>\n+0 > S. 0:0(0) ack 1 <...>\n+.1 < . 1:1(0) ack 1 win 32792\n"
    reusable = LISTEN.replace("+0 bind", "+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0\n+0 bind")
    first = SERVER.replace("+0 bind", "+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0\n+0 bind")
    second = reusable.replace("\n0 ", "\n+0 ") + again + "+0 accept(3, ..., ...) = 4\n"
    passes(first + "+0 close(3) = 0" + second + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1")


def test_a_closed_descriptor_is_free_again() -> None:
    passes(LISTEN + "+0 close(3) = 0\n+0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3")


def test_a_socket_that_does_not_block_says_so() -> None:
    passes(SERVER + NON_BLOCKING + "+0 read(4, ..., 10) = -1 EAGAIN (Resource temporarily unavailable)")


def test_what_is_sent_are_zeros() -> None:
    passes(SERVER + "+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1")


def test_epoll_reports_levels_and_edges() -> None:
    passes(
        SERVER
        + NON_BLOCKING
        + """
        +0 epoll_create(1) = 5
        +0 epoll_create(1) = 6
        +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = 0
        +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLIN, fd=4}) = -1 EEXIST (File exists)
        +0 epoll_ctl(6, EPOLL_CTL_ADD, 4, {events=EPOLLIN|EPOLLET, ptr=0x77}) = 0
        +0 epoll_wait(5, {events=0, ptr=0}, 1, 0) = 0
        +0 < . 1:101(100) ack 1 win 32792
        +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
        +0 epoll_wait(5, {events=EPOLLIN, fd=4}, 1, 0) = 1
        +0 epoll_wait(6, {events=EPOLLIN, ptr=0x77}, 1, 0) = 1
        +0 epoll_wait(6, {events=0, ptr=0}, 1, 0) = 0
        +0 < . 101:201(100) ack 1 win 32792
        +0 epoll_wait(6, {events=EPOLLIN, ptr=0x77}, 1, 0) = 1
        +0 epoll_ctl(6, EPOLL_CTL_MOD, 4, {events=EPOLLOUT|EPOLLONESHOT, u32=9}) = 0
        +0 epoll_wait(6, {events=EPOLLOUT, u32=9}, 1, 0) = 1
        +0 epoll_wait(6, {events=0, ptr=0}, 1, 0) = 0
        +0 epoll_ctl(6, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = 0
        +0 epoll_ctl(6, EPOLL_CTL_DEL, 4, {events=0, fd=4}) = -1 ENOENT (No such file or directory)
        +0 epoll_ctl(6, 99, 4, {events=0, fd=4}) = -1 EINVAL (Invalid argument)
        """
    )


def test_a_wanted_edge_is_not_brought_by_an_event_of_another_kind() -> None:
    passes(
        SERVER
        + """
        +0 epoll_create(1) = 5
        +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLOUT|EPOLLET, fd=4}) = 0
        +0 epoll_wait(5, {events=EPOLLOUT, fd=4}, 1, 0) = 1
        +0 < . 1:101(100) ack 1 win 32792
        +0 epoll_wait(5, {events=0, fd=4}, 1, 0) = 0
        """.replace("{events=0, fd=4}, 1, 0) = 0", "{events=0, ptr=0}, 1, 0) = 0")
    )


def test_poll_and_epoll_wait_in_virtual_time() -> None:
    passes(SERVER + "+0...1 poll([{fd=4, events=POLLIN, revents=0}], 1, 1000) = 0")
    passes(
        SERVER
        + """
        +0...0.2 poll([{fd=4, events=POLLIN, revents=POLLIN}], 1, 1000) = 1
        +.2 < . 1:101(100) ack 1 win 32792
        +0 epoll_create(1) = 5
        +0 epoll_ctl(5, EPOLL_CTL_ADD, 4, {events=EPOLLRDHUP, fd=4}) = 0
        +0...0.2 epoll_wait(5, {events=EPOLLRDHUP, fd=4}, 1, -1) = 1
        +.2 < F. 101:101(0) ack 1 win 32792
        """
    )


def test_splice_goes_through_a_pipe() -> None:
    passes(
        DATA
        + """
        +0 pipe([5, 6]) = 0
        +0 splice(4, NULL, 6, NULL, 60, 0) = 60
        +0 read(5, ..., 10) = 10
        +0 write(6, ..., 5) = 5
        +0 splice(5, NULL, 4, NULL, 100, 0) = 55
        +0 > P. 1:56(55) ack 101
        +0 splice(4, NULL, 4, NULL, 1, 0) = -1 EINVAL (Invalid argument)
        """
    )


def test_sendfile_sends_a_file_of_the_machine() -> None:
    passes(
        SERVER
        + """
        +0 `dd if=/dev/zero of=some/file bs=10 count=2`
        +0 open("some/file", O_RDONLY) = 5
        +0 sendfile(4, 5, [5], 100) = 15
        +0 > P. 1:16(15) ack 1
        """
    )


def test_real_files_are_out_of_reach() -> None:
    passes('0 open("/etc/passwd", O_RDONLY) = -1 ENOENT (No such file or directory)')


def test_a_timestamp_of_the_error_queue_counts_from_the_script_s_begin() -> None:
    text = SERVER + (
        "+0 setsockopt(4, SOL_SOCKET, SO_TIMESTAMPING, [SOF_TIMESTAMPING_TX_ACK|SOF_TIMESTAMPING_SOFTWARE|"
        "SOF_TIMESTAMPING_OPT_ID], 4) = 0\n+0 write(4, ..., 10) = 10\n+0 > P. 1:11(10) ack 1\n"
        "+.1 < . 1:1(0) ack 11 win 100\n"
        "+0 recvmsg(4, {{msg_name(...)=..., msg_iov(1)=[{{...,0}}], msg_flags=MSG_ERRQUEUE|MSG_TRUNC, msg_control=["
        "{{cmsg_level=SOL_SOCKET, cmsg_type=SCM_TIMESTAMPING, cmsg_data={{scm_sec=0, scm_nsec={}}}}},"
        "{{cmsg_level=SOL_IP, cmsg_type=IP_RECVERR, cmsg_data={{ee_errno=ENOMSG, ee_origin=SO_EE_ORIGIN_TIMESTAMPING,"
        "ee_type=0, ee_code=0, ee_info=SCM_TSTAMP_ACK, ee_data={}}}}}]}}, MSG_ERRQUEUE) = {}\n"
    )
    passes(text.format(200000000, 9, 0))
    fails(text.format(300000000, 9, 0), "Bad timestamp: expected=300000 actual=200000")
    fails(text.format(200000000, 8, 0), "Bad ee_data in extended err: expected=8 actual=9")
