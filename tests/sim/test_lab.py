"""The lab: blocking applications in virtual time, one at a time, and the same every time."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tests.support.hosts import CLIENT, SERVER, two_hosts
from tests.support.raising import raises_errno
from ustack import socket, use
from ustack.runtime.clock import SECOND
from ustack.runtime.current import current_driver
from ustack.sim.lab import Lab
from ustack.sim.task import Deadlock


def serve(count: int = 1) -> int:
    """Read each of `count` connections to its end and answer with how much it was; the sum."""
    total = 0
    with socket.create_server((SERVER, 80)) as listener:
        for _ in range(count):
            connection, _ = listener.accept()
            with connection:
                size = 0
                while data := connection.recv(1 << 16):
                    size += len(data)
                connection.sendall(str(size).encode())
                total += size
    return total


def upload(size: int) -> bytes:
    with socket.create_connection((SERVER, 80)) as connection:
        connection.sendall(bytes(size))
        connection.shutdown(socket.SHUT_WR)
        return connection.recv(100)


def test_blocking_applications_exchange_data_without_any_time_passing():
    with two_hosts() as (lab, server, client):
        began = lab.now()
        serving, uploading = server.run(serve), client.run(upload, 1_000_000)
        assert uploading.result() == b"1000000"
        assert serving.result() == 1_000_000
        assert lab.now() == began


def test_a_bulk_transfer_over_the_loopback_takes_no_time():
    def serve_loopback() -> int:
        with socket.create_server(("127.0.0.1", 80)) as listener, listener.accept()[0] as connection:
            return len(connection.recv(5_000_000, socket.MSG_WAITALL))

    def upload_loopback() -> None:
        with socket.create_connection(("127.0.0.1", 80)) as connection:
            connection.sendall(bytes(5_000_000))

    with Lab() as lab:
        host = lab.host()
        began = lab.now()
        serving = host.run(serve_loopback)
        host.run(upload_loopback)
        assert serving.result() == 5_000_000
        assert lab.now() - began < SECOND


def test_the_thread_that_made_the_lab_is_a_task_like_any_other():
    with two_hosts() as (_, server, client):
        serving = server.run(serve)
        with use(client):
            assert upload(10) == b"10"
        assert serving.result() == 10


def test_tasks_run_in_the_order_in_which_they_were_started():
    order: list[int] = []
    with Lab() as lab:
        host = lab.host()
        for number in range(5):
            host.run(order.append, number)
        assert order == []
        lab.run()
        assert order == [0, 1, 2, 3, 4]


def test_a_task_runs_until_it_blocks():
    order: list[str] = []

    def work(name: str) -> None:
        order.extend(f"{name}{step}" for step in range(3))
        lab.sleep(1)
        order.append(f"{name} woke")

    with Lab() as lab:
        host = lab.host()
        host.run(work, "a")
        host.run(work, "b")
        lab.run()
    assert order == ["a0", "a1", "a2", "b0", "b1", "b2", "a woke", "b woke"]


def test_sleepers_wake_in_the_order_of_their_deadlines_at_exactly_those():
    woken: list[tuple[float, int]] = []

    def nap(seconds: float) -> None:
        lab.sleep(seconds)
        woken.append((seconds, lab.now() - began))

    with Lab() as lab:
        host = lab.host()
        began = lab.now()
        for seconds in (3600, 0.25, 2, 0.25):
            host.run(nap, seconds)
        lab.run()
    assert woken == [(0.25, SECOND // 4), (0.25, SECOND // 4), (2, 2 * SECOND), (3600, 3600 * SECOND)]


def test_a_time_out_is_as_long_as_it_says_in_virtual_time():
    def wait_in_vain() -> int:
        with socket.create_server((SERVER, 80)) as listener:
            listener.settimeout(12.5)
            began = lab.now()
            with pytest.raises(TimeoutError, match=r"^timed out$"):
                listener.accept()
            return lab.now() - began

    with two_hosts() as (lab, server, _):
        assert server.run(wait_in_vain).result() == 12 * SECOND + SECOND // 2


def test_time_jumps_to_the_retransmissions_of_a_syn_that_nobody_answers():
    def connect_into_the_void() -> None:
        with socket.socket() as lonely:
            lonely.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, 2)
            lonely.connect(("10.0.0.77", 80))

    with two_hosts() as (lab, server, client):
        server.stack.tracer = None
        began = lab.now()
        with raises_errno(110):
            client.run(connect_into_the_void).result()
        assert lab.now() - began == 7 * SECOND


def test_when_nothing_can_happen_any_more_the_deadlock_names_who_waits_for_what():
    def wait_for_ever() -> None:
        with socket.create_server((SERVER, 80)) as listener:
            listener.accept()

    with two_hosts() as (lab, server, _):
        server.run(wait_for_ever)
        with pytest.raises(Deadlock) as caught:
            lab.run()
    assert "server: wait_for_ever waits for readability of Listener 10.0.0.1:80" in str(caught.value)
    assert "main waits for the end of server: wait_for_ever" in str(caught.value)


def test_a_deadlocked_lab_can_go_on_with_new_tasks():
    with two_hosts() as (lab, server, client):
        serving = server.run(serve)
        with pytest.raises(Deadlock):
            lab.run()
        assert client.run(upload, 5).result() == b"5"
        assert serving.result() == 5


def test_closing_the_lab_unwinds_the_tasks_that_wait():
    unwound: list[str] = []

    def wait_for_ever() -> None:
        try:
            with socket.create_server((SERVER, 80)) as listener:
                listener.accept()
        finally:
            unwound.append(threading.current_thread().name)

    with two_hosts() as (lab, server, _):
        waiting = server.run(wait_for_ever)
        with pytest.raises(Deadlock):
            lab.run()
    assert unwound == ["server: wait_for_ever"]
    assert waiting.done
    assert waiting.failure is None


INTERRUPTED = """
import os, signal
from ustack import socket
from ustack.sim.lab import Lab

def interrupt():
    os.kill(os.getpid(), signal.SIGINT)
    while True:
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM).close()

def wait():
    with socket.create_server(("127.0.0.1", 80)) as listener:
        listener.accept()

try:
    with Lab() as lab:
        host = lab.host()
        host.run(wait)
        host.run(interrupt)
        lab.run()
except KeyboardInterrupt:
    print("interrupted")
"""


def test_ctrl_c_ends_a_lab():
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (0, "interrupted\n")


def test_a_task_that_never_ran_is_not_run_by_closing_the_lab():
    ran: list[int] = []
    with Lab() as lab:
        lab.host().run(ran.append, 1)
    assert ran == []


def test_a_task_raises_its_exception_in_who_asks_for_its_result():
    def fail() -> None:
        raise LookupError("as planned")

    with Lab() as lab:
        task = lab.host().run(fail)
        with pytest.raises(LookupError, match="as planned"):
            task.result()


def test_run_raises_the_exception_of_a_task_that_nobody_asked():
    def fail() -> None:
        raise LookupError("as planned")

    with Lab() as lab:
        lab.host().run(fail)
        with pytest.raises(LookupError, match="as planned"):
            lab.run()


def test_waiting_for_a_task_ends_at_a_deadline():
    with Lab() as lab:
        task = lab.host().run(lab.sleep, 100)
        with pytest.raises(TimeoutError):
            task.result(lab.now() + SECOND)
        task.result()


def test_a_thread_that_is_no_task_cannot_use_the_sockets_of_a_lab():
    problems: list[str] = []

    def intrude() -> None:
        try:
            socket.socket()
        except RuntimeError as problem:
            problems.append(str(problem))

    with Lab() as lab, use(lab.host()):
        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
    assert problems == ["a thread that is no task of the lab uses its sockets: start it with Host.run()"]


def test_each_task_has_the_sockets_of_its_own_host():
    with Lab() as lab:
        hosts = [lab.host() for _ in range(3)]
        assert [host.run(current_driver).result() for host in hosts] == hosts


def test_choosing_another_driver_inside_a_task_holds_for_that_task_only():
    def choose() -> object:
        with use(second):
            inside = current_driver()
        return inside, current_driver()

    with Lab() as lab:
        first, second = lab.host(), lab.host()
        before = first.run(choose)
        other = first.run(current_driver)
        assert before.result() == (second, first)
        assert other.result() is first


def test_a_task_may_start_tasks():
    def parent() -> int:
        return sum(host.run(pow, 2, exponent).result() for exponent in range(4))

    with Lab() as lab:
        host = lab.host()
        assert host.run(parent).result() == 15


def packets_of_a_run(seed: int) -> list[tuple[int, bytes]]:
    """Every packet that the client's stack saw, with its time."""
    seen: list[tuple[int, bytes]] = []

    class Recorder:
        def record(self, verdict):
            seen.append((verdict.now, verdict.packet))

    def chat(number: int) -> bytes:
        lab.sleep(0.001 * number)
        return upload(1000 * number)

    with two_hosts(seed=seed) as (lab, server, client):
        client.stack.tracer = Recorder()
        server.run(serve, 4)
        for number in range(4):
            client.run(chat, number)
        lab.run()
    return seen


def test_the_same_seed_gives_the_same_packets_at_the_same_times():
    first = packets_of_a_run(7)
    assert first == packets_of_a_run(7)
    assert first != packets_of_a_run(8)


def test_a_host_whose_device_disappears_gives_its_tasks_enetdown():
    def lose() -> None:
        with socket.create_server((SERVER, 80)) as listener:
            with raises_errno(100):
                listener.accept()
            with raises_errno(100):
                listener.accept()
        with raises_errno(100):
            socket.socket()

    with two_hosts() as (lab, server, client):
        losing = server.run(lose)
        lab.sleep(1)
        client.stop()
        losing.result()


def test_many_hosts_share_one_clock():
    with Lab() as lab:
        hub = lab.host("hub")
        spokes = [lab.host() for _ in range(20)]
        for number, spoke in enumerate(spokes, 1):
            lab.wire(hub, spoke, [f"10.0.{number}.1/24"], [f"10.0.{number}.2/24"])

        def answer() -> None:
            with socket.create_server(("", 80)) as listener:
                for _ in spokes:
                    connection, peer = listener.accept()
                    connection.sendall(peer[0].encode())
                    connection.close()

        def ask(number: int) -> bytes:
            with socket.create_connection((f"10.0.{number}.1", 80)) as connection:
                return connection.recv(100)

        hub.run(answer)
        asking = [spoke.run(ask, number) for number, spoke in enumerate(spokes, 1)]
        assert [task.result() for task in asking] == [b"10.0.%d.2" % number for number in range(1, 21)]


def test_a_lab_stops_when_time_stands_still():
    class Restless:
        name, mtu, offload = "restless", 1500, 0

        def read(self, burst, now):
            burst.append(bytes(20))
            return 1

        def write(self, burst, now):
            return len(burst)

        def next_deadline(self):
            return None

        def fileno(self):
            return -1

        def close(self):
            pass

    with Lab(standstill=1000) as lab:
        lab.host().attach(Restless(), [f"{CLIENT}/24"])
        with pytest.raises(AssertionError, match="virtual time stands still"):
            lab.sleep(1)
