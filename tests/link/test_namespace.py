"""The life and the end of a network namespace, however it comes about."""

import errno
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.frames import burst_of, udp_packet
from tests.support.raising import raises_errno
from ustack.burst import Burst
from ustack.link import namespace as namespace_module
from ustack.link.namespace import Namespace
from ustack.link.probe import probe

ROOT = Path(__file__).resolve().parents[2]
NAMES = Path("/run/netns")
SECONDS = 20


@pytest.fixture(autouse=True)
def _namespaces_are_possible(namespace: Namespace) -> None:
    """Skips where they are not, and sees that the host's interfaces are the same afterwards."""


def namespace_of(pid: int | str) -> str:
    return os.readlink(f"/proc/{pid}/ns/net")


def has_ended(descriptor: int) -> bool:
    """Whether the program behind a pidfd ends soon."""
    ended = bool(select.select([descriptor], [], [], SECONDS)[0])
    os.close(descriptor)
    return ended


def output(namespace: Namespace, *command: str) -> str:
    program = namespace.run(command, stdout=subprocess.PIPE, text=True)
    shown, _ = program.communicate(timeout=SECONDS)
    assert program.returncode == 0
    return shown


def test_this_process_stays_where_it_is() -> None:
    before = namespace_of("self")
    with Namespace() as namespace:
        namespace.open_tun().close()
        assert namespace_of("self") == before
        assert namespace_of(namespace._holder.pid) != before


def test_a_program_runs_inside_with_its_arguments_streams_and_status() -> None:
    with Namespace() as namespace:
        assert output(namespace, "readlink", "/proc/self/ns/net").strip() == namespace_of(namespace._holder.pid)
        assert output(namespace, "printf", "%s|", "a b", "", "--", "$x") == "a b||--|$x|"
        assert namespace.run(["sh", "-c", "exit 3"]).wait(SECONDS) == 3
        assert output(namespace, "sh", "-c", "ls /proc/self/fd | wc -l").strip() == "4"


def test_the_environment_and_directory_are_those_asked_for(tmp_path: Path) -> None:
    with Namespace() as namespace:
        environment = {"PATH": os.environ["PATH"], "WORD": "value"}
        program = namespace.run(
            ["sh", "-c", "echo $WORD; pwd; env | grep -c PYTHON"],
            env=environment, cwd=tmp_path, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert program.communicate(timeout=SECONDS)[0].split() == ["value", str(tmp_path), "0"]


def test_a_program_that_does_not_exist_is_reported_at_once() -> None:
    with Namespace() as namespace, pytest.raises(FileNotFoundError, match="no-such-program"):
        namespace.run(["no-such-program"])


@pytest.mark.parametrize(("content", "status"), [(b"#!/no/such/interpreter", 127), (b"\x7f nonsense", 126)])
def test_a_program_that_cannot_be_executed_ends_as_in_a_shell(tmp_path: Path, content: bytes, status: int) -> None:
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    with Namespace() as namespace:
        started = namespace.run(["./program"], cwd=tmp_path, stderr=subprocess.PIPE, text=True)
        assert "./program: " in started.communicate(timeout=SECONDS)[1]
        assert started.returncode == status


def test_loopback_is_up_inside() -> None:
    with Namespace() as namespace, namespace.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as kernel_socket:
        kernel_socket.bind(("127.0.0.1", 0))
        kernel_socket.sendto(b"x", kernel_socket.getsockname())
        kernel_socket.settimeout(SECONDS)
        assert kernel_socket.recv(10) == b"x"


def test_two_namespaces_do_not_see_each_other() -> None:
    with Namespace() as first, Namespace() as second:
        assert first.name != second.name or first.name is None
        devices = [namespace.open_tun("tun0") for namespace in (first, second)]
        with first.open_socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("10.9.0.2", 9))
        assert [device.read(Burst(), 0) for device in devices] == [1, 0]
        for device in devices:
            device.close()


def test_close_ends_running_programs_and_removes_devices_and_name() -> None:
    namespace = Namespace()
    name, holder = namespace.name, namespace._holder
    device = namespace.open_tun()
    program = namespace.run(["sleep", "1000"])
    namespace.close()
    assert program.returncode == -signal.SIGTERM
    assert holder.returncode == 0
    assert name is None or not (NAMES / name).exists()
    with raises_errno(errno.EBADFD):
        device.read(Burst(), 0)
    device.close()
    namespace.close()


def test_one_that_was_joined_stays_with_the_devices_of_others() -> None:
    with Namespace() as owner:
        with Namespace(join=owner.pid) as guest:
            assert output(guest, "readlink", "/proc/self/ns/net").strip() == namespace_of(owner.pid)
            guests = guest.open_tun("tun0")
            guests.close()
            owners = owner.open_tun("tun0")
        assert owners.write(burst_of(udp_packet(4, b"not gone")), 0) == 1
        assert namespace_of(owner.pid) != namespace_of("self")
        owners.close()


def test_joining_a_process_that_does_not_exist_is_refused() -> None:
    with pytest.raises(FileNotFoundError):
        Namespace(join=2**22 + 1)


def test_close_kills_a_program_that_does_not_want_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace_module, "GRACE_SECONDS", 0.1)
    with Namespace() as namespace:
        deaf = "trap '' TERM; echo; while :; do sleep 1000; done"
        program = namespace.run(["sh", "-c", deaf], stdout=subprocess.PIPE)
        assert program.stdout is not None
        program.stdout.readline()
    program.stdout.close()
    assert program.returncode == -signal.SIGKILL


def test_close_leaves_programs_alone_that_others_started() -> None:
    with subprocess.Popen(["sleep", "1000"]) as other:
        Namespace().close()
        assert other.poll() is None
        other.kill()


def test_a_closed_namespace_refuses_requests() -> None:
    namespace = Namespace()
    namespace.close()
    with raises_errno(errno.EBADF):
        namespace.open_tun()


def test_a_name_that_is_taken_is_refused_and_stays() -> None:
    with Namespace() as namespace:
        if namespace.name is None:
            pytest.skip("naming a namespace needs root")
        with pytest.raises(FileExistsError):
            Namespace(namespace.name)
        assert (NAMES / namespace.name).exists()


def test_ip_netns_finds_it_by_name() -> None:
    ip = shutil.which("ip")
    with Namespace(f"ustack-test-{os.getpid()}") as namespace:
        if namespace.name is None or ip is None:
            pytest.skip("needs root and iproute2")
        namespace.open_tun("tun7").close()
        shown = subprocess.run(
            [ip, "netns", "exec", namespace.name, "readlink", "/proc/self/ns/net"],
            check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert shown.stdout.strip() == namespace_of(namespace._holder.pid)


def test_a_device_that_cannot_be_configured_is_not_left_behind() -> None:
    with Namespace() as namespace:
        with raises_errno(errno.EINVAL):
            namespace.open_tun("tun0", mtu=1)
        with raises_errno(errno.EEXIST):
            namespace.open_tun("tun0", kernel_addresses=["10.9.0.1/24", "10.9.0.1/24"])
        device = namespace.open_tun("tun0")
        with raises_errno(errno.EBUSY):
            namespace.open_tun("tun0")
        device.close()


@pytest.mark.parametrize("pattern", ["", "tun%d"])
def test_the_kernel_may_choose_the_devices_name(pattern: str) -> None:
    with Namespace() as namespace:
        first, second = namespace.open_tun(pattern), namespace.open_tun(pattern, kernel_addresses=["10.9.1.1/24"])
        assert (first.name, second.name) == ("tun0", "tun1")
    for device in (first, second):
        with raises_errno(errno.EBADFD):
            device.read(Burst(), 0)
        device.close()


@pytest.mark.parametrize("wrong", [{"kernel_addresses": ["10.9.0.300/24"]}, {"routes": ["nowhere"]}])
def test_addresses_that_are_none_are_refused_and_the_namespace_goes_on(wrong: dict[str, list[str]]) -> None:
    with Namespace() as namespace:
        with pytest.raises(ValueError, match=r"300|nowhere"):
            namespace.open_tun(**wrong)
        namespace.open_tun().close()


def test_the_answer_to_an_interrupted_request_is_not_taken_for_the_next_ones() -> None:
    with Namespace() as namespace:
        arguments = {"family": socket.AF_INET, "kind": socket.SOCK_DGRAM, "protocol": 0}
        request = {"number": 0, "call": "open_socket", "arguments": arguments}
        namespace._control.send(json.dumps(request).encode())
        with namespace.open_socket(socket.AF_INET6, socket.SOCK_STREAM) as kernel_socket:
            assert (kernel_socket.family, kernel_socket.type) == (socket.AF_INET6, socket.SOCK_STREAM)


def test_a_killed_holder_is_reported_and_its_name_removed() -> None:
    with Namespace() as namespace:
        namespace._holder.kill()
        namespace._holder.wait()
        with pytest.raises(OSError, match=r"ended|Broken pipe|Connection reset"):
            namespace.open_tun()
        name = namespace.name
    assert name is None or not (NAMES / name).exists()


PARENT = """
import sys
from ustack.link.namespace import Namespace
with Namespace() as namespace:
    device = namespace.open_tun()
    program = namespace.run(["sleep", "1000"])
    print(namespace.name, namespace._holder.pid, program.pid, flush=True)
    program.wait()
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_when_the_process_ends_by_a_signal_everything_goes(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", PARENT],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, start_new_session=True,
    ) as parent:  # fmt: skip
        assert parent.stdout is not None
        name, holder, program = parent.stdout.readline().split()
        holder_fd, program_fd = os.pidfd_open(int(holder)), os.pidfd_open(int(program))
        if number == signal.SIGINT:
            os.killpg(parent.pid, number)  # as the terminal does for Ctrl-C
        else:
            parent.send_signal(number)
        assert has_ended(program_fd)
        assert has_ended(holder_fd)
        assert parent.wait(SECONDS) != 0
    assert not (NAMES / name).exists()


HERE = """
import socket, sys
from ustack.burst import Burst
from ustack.link.configure import open_tun_here
device = open_tun_here("tunA")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
    sender.sendto(b"x", ("10.9.0.2", 9))
    sys.exit(0 if device.read(Burst(), 0) == 1 and sender.connect_ex(("10.9.0.2", 9)) == 0 else 1)
"""


def test_a_program_inside_can_open_a_device_where_it_is() -> None:
    with Namespace() as namespace:
        program = namespace.run([sys.executable, "-c", HERE], env={**os.environ, "PYTHONPATH": str(ROOT)})
        assert program.wait(SECONDS) == 0


def test_the_probe_finds_what_the_machine_grants() -> None:
    findings = {finding.name: finding for finding in probe()}
    assert findings["network namespace"].ok
    assert findings["programs inside"].ok
    assert findings["TUN device"].ok == findings["TUN node"].ok
    assert all(finding.ok or finding.advice for finding in findings.values())
    assert all(finding.detail for finding in findings.values())


def test_the_probe_says_what_to_do_where_nothing_is_granted(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "not for you")

    monkeypatch.setattr("ustack.link.probe.TUN_PATH", "/no/such/device")
    monkeypatch.setattr("ustack.link.probe.Namespace", refuse)
    findings = probe()
    assert [finding.ok for finding in findings] == [False, False]
    assert all(finding.advice for finding in findings)
