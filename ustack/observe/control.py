"""The control socket of a running stack: an AF_UNIX stream on which other programs of the same user ask for snapshots.

A request is one line of JSON, `{"call": "snapshot"}`; the answer is one line, `{"answer": …}` or `{"error": "…"}`.  The
sockets lie in a directory that only this user may enter; their names are the process's id and a number.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import socketserver
import stat
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from ustack.observe.snapshot import snapshot
from ustack.runtime.driver import Driver

LINE_BYTES = 64 << 10
ANSWER_SECONDS = 5.0
_STOP_SECONDS = 0.05
_numbers = itertools.count(1)


def directory() -> Path:
    """Where the control sockets of this user lie; made if need be.  Raises PermissionError if others could enter."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    path = Path(runtime, "ustack") if runtime else Path(tempfile.gettempdir(), f"ustack-{os.getuid()}")
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise PermissionError(f"{path} is not a directory of this user alone")
    return path


class ControlServer:
    """Answers for one driver's stack, in threads of its own, while it is open; a context manager.

    `about` is told to whoever asks: what kind of stack this is, where its namespace is.
    """

    def __init__(self, driver: Driver, about: dict[str, Any]) -> None:
        self._driver = driver
        self._about = about
        self._calls: dict[str, Callable[..., object]] = {"about": self._tell_about, "snapshot": self._snapshot}
        self.path = directory() / f"{os.getpid()}-{next(_numbers)}"
        self._server = _Server(str(self.path), self.answer)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(_STOP_SECONDS,), daemon=True)
        self._thread.start()

    def answer(self, line: bytes) -> dict[str, Any]:
        """What a request is answered with; any bytes have an answer."""
        try:
            request = json.loads(line)
            call = self._calls[request.pop("call")]
            return {"answer": call(**request)}
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return {"error": f"not a request; the calls are {', '.join(self._calls)}"}

    def _tell_about(self) -> dict[str, Any]:
        return {"pid": os.getpid(), **self._about}

    def _snapshot(self) -> object:
        return self._driver.call(snapshot, self._driver.stack, self._driver.now())

    def close(self) -> None:
        """Answer no more; the socket is gone."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        self.path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, path: str, answer: Callable[[bytes], dict[str, Any]]) -> None:
        self.answer = answer
        super().__init__(path, _Handler)


class _Handler(socketserver.StreamRequestHandler):
    timeout = ANSWER_SECONDS

    def handle(self) -> None:
        """Answer line by line until the other side closes, or has been silent for long."""
        assert isinstance(self.server, _Server), "handlers are made by their server"
        with contextlib.suppress(OSError):
            while line := self.rfile.readline(LINE_BYTES):
                self.wfile.write(json.dumps(self.server.answer(line)).encode() + b"\n")


def running() -> list[Path]:
    """The control sockets of this user's running stacks; names that dead processes have left are removed."""
    found = []
    for path in sorted(directory().iterdir()):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(str(path))
            except ConnectionRefusedError:
                path.unlink(missing_ok=True)
            except OSError:
                continue
            else:
                found.append(path)
    return found


def ask(path: Path, call: str, **arguments: object) -> Any:
    """The answer of the stack behind a control socket.  Raises OSError; ValueError with the stack's own words."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(ANSWER_SECONDS)
        connection.connect(str(path))
        connection.sendall(json.dumps({"call": call, **arguments}).encode() + b"\n")
        with connection.makefile("rb") as answers:
            line = answers.readline()
    if not line:
        raise ConnectionResetError("the stack has ended")
    answer = json.loads(line)
    if "error" in answer:
        raise ValueError(answer["error"])
    return answer["answer"]
