"""The driver on the real clock: who pumps, who sleeps, and what happens when devices or the driver go away."""

from __future__ import annotations

import os
import signal
import socket as stdlib
import subprocess
import sys
import threading

import pytest

import ustack
from tests.support.hosts import CLIENT, SERVER
from tests.support.raising import raises_errno
from tests.support.real_hosts import device_of, real_hosts
from ustack import socket
from ustack.endpoint import READABLE
from ustack.runtime.clock import SECOND


class Thread(threading.Thread):
    """A thread whose outcome join() gives."""

    def __init__(self, function, *arguments) -> None:
        super().__init__(daemon=True)
        self._call = function, arguments
        self.outcome: object = "unfinished"
        self.start()

    def run(self) -> None:
        function, arguments = self._call
        try:
            self.outcome = function(*arguments)
        except BaseException as problem:
            self.outcome = problem

    def result(self):
        self.join(20)
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


def echo_once(listener) -> int:
    connection, _ = listener.accept()
    total = 0
    with connection:
        while data := connection.recv(1 << 16):
            connection.sendall(data)
            total += len(data)
    return total


def listen(driver, port: int = 80):
    with ustack.use(driver):
        return socket.create_server((SERVER, port))


def connect(driver, port: int = 80):
    with ustack.use(driver):
        return socket.create_connection((SERVER, port), timeout=20)


def test_two_threads_exchange_requests_and_answers():
    with real_hosts() as (server, client), listen(server) as listener:
        serving = Thread(echo_once, listener)
        with connect(client) as connection:
            for number in range(300):
                connection.sendall(b"%d" % number)
                assert connection.recv(100) == b"%d" % number
        assert serving.result() == sum(len(str(number)) for number in range(300))


@pytest.mark.parametrize("offload", [0, 15])
def test_a_bulk_transfer_arrives_whole(offload):
    data = os.urandom(1 << 20) * 4
    with real_hosts(offload) as (server, client), listen(server) as listener:
        serving = Thread(echo_once, listener)
        with connect(client) as connection:

            def upload() -> None:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)

            uploading = Thread(upload)
            echoed = bytearray()
            while piece := connection.recv(1 << 18):
                echoed += piece
            uploading.result()
        assert serving.result() == len(data)
        assert echoed == data


def test_many_threads_wait_each_for_its_own_connection():
    count = 20
    with real_hosts() as (server, client), listen(server) as listener:

        def answer(connection) -> None:
            with connection:
                connection.sendall(connection.recv(100).upper())

        serving = Thread(lambda: [Thread(answer, listener.accept()[0]) for _ in range(count)])

        connections = [connect(client) for _ in range(count)]
        asking = [Thread(connection.recv, 100) for connection in connections]
        for number, connection in reversed(list(enumerate(connections))):
            connection.sendall(b"number %d" % number)
        assert [thread.result() for thread in asking] == [b"NUMBER %d" % number for number in range(count)]
        for thread in serving.result():
            thread.result()
        for connection in connections:
            connection.close()


def test_a_caller_pumps_while_nobody_else_waits():
    with real_hosts() as (server, client), listen(server) as listener:
        serving = Thread(echo_once, listener)
        with connect(client) as connection:
            for _ in range(200):
                connection.sendall(b"x")
                connection.recv(1)
            assert client._turns > 0
        serving.result()


def test_a_blocked_caller_is_woken_when_another_thread_closes_the_socket():
    with real_hosts() as (server, _):
        listener = listen(server)
        waiting = Thread(listener.accept)
        endpoint = listener._endpoint
        with server.lock:
            server.block(endpoint, 0, server.now() + SECOND // 100)
        listener.close()
        with raises_errno(9):
            waiting.result()


@pytest.mark.parametrize("pumps", [True, False])
def test_a_caller_is_woken_by_what_another_thread_sends_over_the_loopback(pumps):
    with ustack.new_driver() as driver, ustack.use(driver):
        first, second = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
        with first, second:
            first.bind(("127.0.0.1", 5000))
            second.bind(("127.0.0.1", 5001))
            for number in range(300):
                other = [] if pumps else [Thread(second.recv, 10)]
                waiting = Thread(first.recv, 10)
                with driver.lock:
                    driver.block(first._endpoint, 0, driver.now() + SECOND // 2000)
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    sender.sendto(b"%d" % number, ("127.0.0.1", 5000))
                    sender.sendto(b"%d" % number, ("127.0.0.1", 5001))
                assert [thread.result() for thread in [waiting, *other]] == [b"%d" % number] * (1 + len(other))
                if pumps:
                    second.recv(10)


def test_a_wait_ends_at_its_deadline():
    with real_hosts() as (server, _), listen(server) as listener:
        began = server.now()
        assert not server.wait(listener._endpoint, READABLE, began + SECOND // 50)
        assert server.now() >= began + SECOND // 50
        assert not listener.wait(READABLE, 0)


def test_sleepers_time_out_too():
    with real_hosts() as (server, _), listen(server) as first, listen(server, 81) as second:
        for listener in (first, second):
            listener.settimeout(0.02)
        waiting = [Thread(listener.accept) for listener in (first, second)]
        for thread in waiting:
            with pytest.raises(TimeoutError):
                thread.result()


def test_timers_run_without_any_caller():
    with real_hosts() as (_, client), ustack.use(client), socket.socket() as lonely:
        lonely.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 1)
        client.stack.config.tcp.rto_initial_ns = SECOND // 100
        lonely.setblocking(False)
        assert lonely.connect_ex(("10.0.0.77", 80)) == 115
        observed = threading.Event()

        class Watch:
            def changed(self, observer):
                observed.set()

        from ustack.runtime.waiting import observe

        with client.lock:
            observe(lonely._endpoint).watchers.append(Watch())
        assert observed.wait(20)
        assert lonely.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 110


def test_when_the_device_disappears_blocked_callers_get_enetdown_and_the_process_goes_on():
    with real_hosts() as (server, client), listen(server) as listener:
        waiting = Thread(listener.accept)
        device_of(client).close()
        with raises_errno(100):
            waiting.result()
        with raises_errno(100):
            listener.getsockname()
        with ustack.use(server), raises_errno(100):
            socket.socket()
        assert server.stopped


def test_a_fault_of_ours_in_the_drivers_thread_gives_enetdown_instead_of_a_hang(monkeypatch):
    shown = []
    monkeypatch.setattr(threading, "excepthook", shown.append)
    with real_hosts() as (server, _), listen(server) as listener:
        waiting = [Thread(listener.accept) for _ in range(2)]
        monkeypatch.setattr(server, "_serve", lambda deadline: 1 // 0)
        server.call(server._interrupt)
        for each in waiting:
            with pytest.raises((OSError, ZeroDivisionError)):
                each.result()
        assert server.stopped
    assert all(each.exc_type is ZeroDivisionError for each in shown)


def test_one_of_two_devices_may_disappear():
    from ustack.link.pipe import pipe

    with real_hosts() as (server, client), ustack.new_driver() as third, listen(server) as listener:
        ends = pipe(names=("second", "other"), descriptors=True)
        server.attach(ends[0], ["10.3.0.1/24"])
        third.attach(ends[1], ["10.3.0.2/24"])
        third.stop()
        serving = Thread(echo_once, listener)
        with connect(client) as connection:
            connection.sendall(b"still here")
            assert connection.recv(100) == b"still here"
        serving.result()
        assert not server.stopped


def test_stopping_wakes_every_caller_and_may_be_done_twice():
    with real_hosts() as (server, _):
        listeners = [listen(server, port) for port in (80, 81, 82)]
        waiting = [Thread(listener.accept) for listener in listeners]
        for thread in waiting:
            assert thread.is_alive()
        server.stop()
        for thread in waiting:
            with raises_errno(100):
                thread.result()
        server.stop()
        for listener in listeners:
            listener.close()
        assert server._thread is None or not server._thread.is_alive()


def test_a_driver_that_was_never_used_can_be_stopped():
    driver = ustack.new_driver()
    driver.stop()
    with ustack.use(driver), raises_errno(100):
        socket.socket()


def test_the_default_driver_has_a_loopback():
    listener = socket.create_server(("127.0.0.1", 0))
    serving = Thread(echo_once, listener)
    with socket.create_connection(listener.getsockname(), timeout=20) as connection:
        connection.sendall(b"to myself")
        assert connection.recv(100) == b"to myself"
    assert serving.result() == 9
    listener.close()
    assert ustack.current_driver() is ustack.current_driver()


def test_a_default_driver_that_was_stopped_is_replaced():
    first = ustack.current_driver()
    first.stop()
    assert ustack.current_driver() is not first
    socket.create_server(("127.0.0.1", 0)).close()


def test_use_is_undone_at_the_end_of_its_block():
    outside = ustack.current_driver()
    with ustack.new_driver() as driver:
        with ustack.use(driver) as inside:
            assert inside is driver
            assert ustack.current_driver() is driver
            assert Thread(ustack.current_driver).result() is driver
        assert ustack.current_driver() is outside


def test_a_socket_keeps_the_driver_it_was_made_with():
    with real_hosts() as (server, client), listen(server) as listener:
        with ustack.use(client):
            serving = Thread(echo_once, listener)
            connection = connect(client)
        with connection:
            connection.sendall(b"x")
            assert connection.recv(1) == b"x"
            assert connection.getsockname()[0] == CLIENT
        serving.result()


FORK = """
import os
import ustack
from ustack import socket
ustack.use(ustack.new_driver())
listener = socket.create_server(("127.0.0.1", 0))
child = os.fork()
if not child:
    codes = []
    for call in (listener.accept, listener.getsockname, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)):
        try:
            call()
        except OSError as problem:
            codes.append(problem.errno)
    listener.close()
    os._exit(0 if codes == [100, 100, 100] else 1)
_, status = os.waitpid(child, 0)
with socket.create_connection(listener.getsockname()) as connection:
    accepted, _ = listener.accept()
    accepted.sendall(b"alive")
    print(status, connection.recv(10))
    accepted.close()
listener.close()
"""


def test_a_forked_child_gets_enetdown_and_leaves_the_parent_alone():
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.stderr) == ("0 b'alive'\n", "")


def test_a_process_ends_with_sockets_open_and_threads_blocked():
    script = """
import threading
from ustack import socket
listener = socket.create_server(("127.0.0.1", 0))
threading.Thread(target=listener.accept, daemon=True).start()
print("end")
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "end\n")


@pytest.mark.parametrize("threads", [0, 1])
def test_ctrl_c_interrupts_a_blocked_call(threads):
    script = f"""
import threading
from ustack import socket
for _ in range({threads}):
    other = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=other.accept, daemon=True).start()
with socket.create_server(("127.0.0.1", 0)) as listener:
    try:
        print("ready", flush=True)
        listener.accept()
    except KeyboardInterrupt:
        print("interrupted", listener.getsockname()[0])
    with socket.create_connection(listener.getsockname()):
        print("works still")
"""
    program = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert program.stdout is not None
    with program:
        assert program.stdout.readline() == "ready\n"
        program.send_signal(signal.SIGINT)
        assert program.stdout.read() == "interrupted 127.0.0.1\nworks still\n"
    assert program.returncode == 0


def test_no_kernel_socket_of_the_internet_is_ever_made(monkeypatch):
    made: list[tuple[object, ...]] = []

    def audit(event: str, arguments: tuple[object, ...]) -> None:
        if event == "socket.__new__" and watching:
            made.append(arguments[1:])

    watching = False
    sys.addaudithook(audit)
    with real_hosts() as (server, client), listen(server) as listener:
        watching = True
        serving = Thread(echo_once, listener)
        with connect(client) as connection:
            connection.fileno()
            connection.sendall(b"x")
            connection.recv(1)
        serving.result()
        watching = False
    assert {family for family, *_ in made} <= {stdlib.AF_UNIX}
