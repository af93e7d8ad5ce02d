"""The control socket: what a running stack answers, whoever asks and whatever is asked."""

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ustack.observe import control
from ustack.observe.control import ControlServer
from ustack.runtime.current import new_driver
from ustack.runtime.thread_driver import ThreadDriver


@pytest.fixture(autouse=True)
def runtime_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    return tmp_path / "ustack"


@pytest.fixture
def driver() -> Iterator[ThreadDriver]:
    with new_driver() as made:
        yield made


def test_a_running_stack_is_found_and_tells_about_itself(driver: ThreadDriver) -> None:
    with ControlServer(driver, {"command": "serve"}) as server:
        assert control.running() == [server.path]
        assert control.ask(server.path, "about") == {"pid": os.getpid(), "command": "serve"}
    assert control.running() == []


def test_a_snapshot_shows_a_listener(driver: ThreadDriver) -> None:
    endpoint = driver.call(driver.stack.open, 2, 1, 0)
    driver.call(endpoint.bind, bytes(4), 80)
    driver.call(endpoint.listen, 5)
    with ControlServer(driver, {}) as server:
        snapshot = control.ask(server.path, "snapshot")
    (row,) = snapshot["sockets"]
    assert (row["protocol"], row["state"], row["local_address"], row["local_port"]) == ("tcp", "LISTEN", "*", 80)


def test_several_stacks_of_one_process_have_sockets_of_their_own(driver: ThreadDriver) -> None:
    with ControlServer(driver, {"number": 1}) as first, ControlServer(driver, {"number": 2}) as second:
        assert control.running() == [first.path, second.path]
        assert [control.ask(path, "about")["number"] for path in control.running()] == [1, 2]


def test_the_directory_is_for_this_user_alone(driver: ThreadDriver, runtime_directory: Path) -> None:
    with ControlServer(driver, {}):
        assert stat.S_IMODE(runtime_directory.stat().st_mode) == 0o700


def test_a_directory_that_others_may_enter_is_refused(runtime_directory: Path) -> None:
    runtime_directory.mkdir(mode=0o755)
    with pytest.raises(PermissionError, match="this user alone"):
        control.running()


def test_a_link_in_place_of_the_directory_is_refused(runtime_directory: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    runtime_directory.symlink_to("elsewhere")
    with pytest.raises(PermissionError):
        control.running()


def test_what_a_dead_process_has_left_is_removed(runtime_directory: Path) -> None:
    runtime_directory.mkdir(mode=0o700)
    left = runtime_directory / "1-1"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(left))
    assert control.running() == []
    assert not left.exists()


def test_asking_a_stack_that_has_ended_is_an_error(driver: ThreadDriver) -> None:
    with ControlServer(driver, {}) as server:
        path = server.path
    with pytest.raises(FileNotFoundError):
        control.ask(path, "about")


def test_an_unknown_call_is_answered_with_the_calls_there_are(driver: ThreadDriver) -> None:
    with ControlServer(driver, {}) as server, pytest.raises(ValueError, match="about, snapshot"):
        control.ask(server.path, "shutdown")


def test_one_connection_may_ask_many_times(driver: ThreadDriver) -> None:
    with ControlServer(driver, {}) as server, socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server.path))
        with connection.makefile("rwb") as stream:
            for request in (b'{"call": "about"}\n', b"nonsense\n", b'{"call": "about"}\n'):
                stream.write(request)
                stream.flush()
                answer = json.loads(stream.readline())
                assert ("error" in answer) == (request == b"nonsense\n")


def test_any_line_has_an_answer(driver: ThreadDriver) -> None:
    lines = st.from_regex(r'\{"call": ?"(about|snapshot)".*', fullmatch=True).map(str.encode) | st.binary(max_size=200)
    with ControlServer(driver, {}) as server:

        @given(lines)
        def has_an_answer(line: bytes) -> None:
            assert set(server.answer(line)) in ({"answer"}, {"error"})

        has_an_answer()
