"""`Namespace`: a network namespace of its own for a stack's TUN devices, as root or as an ordinary user.

This process never enters it.  A child, `ustack.link.holder`, makes and holds the namespace, makes and configures
devices in it, and passes their descriptors over (SCM_RIGHTS).  When this process ends, even by SIGKILL, the holder sees
its control socket close and takes everything down.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ustack import errors
from ustack.address import InterfaceAddress, Prefix, format_address
from ustack.link import enter
from ustack.link.tun import TunDevice
from ustack.link.unshare import remove_name

MESSAGE_BYTES = 65536
GRACE_SECONDS = 2.0
"""How long a program has to end after SIGTERM."""

_PACKAGE_PARENT = Path(__file__).resolve().parents[2]
_ANSWER_SECONDS = 20.0
_END_SECONDS = 5.0
_names = itertools.count(1)


class Namespace:
    """A network namespace that lives as long as this object, a context manager, is open.

    With `join`, the id of a process, no new one is made: it is that process's, and stays when this object is closed.
    `name` is what `ip netns` calls it, or None where it could not be named (without root).  Raises FileExistsError if
    the name is taken, and PermissionError or other OSErrors where this user can have no namespace.
    """

    def __init__(self, name: str | None = None, *, join: int | None = None) -> None:
        self._lock = threading.Lock()
        self._requests = 0
        self._programs: list[subprocess.Popen[Any]] = []
        self._descriptors: list[int] = []
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(_ANSWER_SECONDS)
        wanted = name or f"ustack-{os.getpid()}-{next(_names)}"
        self._holder: subprocess.Popen[bytes] | None = None
        self.name: str | None = None
        try:
            with theirs:
                self._holder = _start_holder(theirs.fileno(), wanted, join)
            self.name, _ = self._receive(0)
            self._descriptors = open_namespaces(self._holder.pid)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The process that is inside as long as this is open."""
        assert self._holder is not None, "an open namespace has its holder"
        return self._holder.pid

    @property
    def rootless(self) -> bool:
        """Whether it is in a user namespace of its own."""
        return len(self._descriptors) > 1

    def open_tun(
        self,
        name: str = "tun0",
        mtu: int = 1500,
        kernel_addresses: Sequence[str] = ("10.9.0.1/24", "fd09::1/64"),
        routes: Sequence[str] = (),
        *,
        offload: bool = True,
    ) -> TunDevice:
        """Create a TUN device inside, give the kernel's side its addresses and routes, and bring it up.

        `routes` are further networks that the kernel shall reach by it.  The caller closes the device; `close` of the
        namespace removes it too, and then the device's calls raise EBADFD.  Raises OSError, and ValueError for
        addresses that are none.
        """
        arguments = {
            "name": name,
            "mtu": mtu,
            "addresses": [_address_text(address) for address in kernel_addresses],
            "routes": [str(Prefix.parse(route)) for route in routes],
            "offload": offload,
        }
        (descriptor,) = self._request("open_tun", arguments)
        return TunDevice(descriptor, mtu, offload=offload)

    def open_socket(self, family: int, kind: int, protocol: int = 0) -> socket.socket:
        """A socket of the kernel's stack inside."""
        (descriptor,) = self._request("open_socket", {"family": family, "kind": kind, "protocol": protocol})
        return socket.socket(fileno=descriptor)

    def run(self, command: Sequence[str], **options: Any) -> subprocess.Popen[Any]:
        """Start a program inside; `options` are those of Popen, but for shell and preexec_fn.

        It is ended by `close`, and also when this process ends.  Without root it sees itself as root.  Raises
        FileNotFoundError if there is no such program.
        """
        _check_program(command[0], options)
        options["pass_fds"] = (*options.get("pass_fds", ()), *self._descriptors)
        program = subprocess.Popen(entering(self._descriptors, command), **options)
        self._programs = [earlier for earlier in self._programs if earlier.poll() is None] + [program]
        self._request("watch", {"pid": program.pid})
        return program

    def close(self) -> None:
        """End the programs that `run` has started and are still there, then the namespace with all its devices."""
        try:
            _end(self._programs)
        finally:
            self._control.close()
            self._end_holder()
            _close_all(self._descriptors)
            self._descriptors = []

    def _end_holder(self) -> None:
        """Wait for the holder, which has seen its control socket close; clean up after one that was killed."""
        process, self._holder = self._holder, None
        if process is None:
            return
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
        finally:
            process.wait()
            if self.name is not None and process.returncode != 0:
                remove_name(self.name)

    def _request(self, call: str, arguments: dict[str, Any]) -> list[int]:
        """Have the holder do something; returns the descriptors that it has passed.  Raises its OSError."""
        with self._lock:
            self._requests += 1
            request = {"number": self._requests, "call": call, "arguments": arguments}
            self._control.send(json.dumps(request).encode())
            return self._receive(self._requests)[1]

    def _receive(self, number: int) -> tuple[str | None, list[int]]:
        """The answer to request `number`: the namespace's name, and descriptors.  Raises the holder's OSError."""
        received: list[int] = []
        answer: dict[str, Any] = {"number": number, "more": True}
        while answer["number"] != number or "more" in answer:
            message, descriptors, _, _ = socket.recv_fds(self._control, MESSAGE_BYTES, 1)
            if not message:
                raise errors.error(errno.EPIPE, "the process that holds the network namespace has ended")
            answer = json.loads(message)
            if answer["number"] == number:
                received += descriptors
            else:  # an answer that an interrupted request did not wait for
                _close_all(descriptors)
        if "errno" in answer:
            raise OSError(answer["errno"], answer["error"])
        return answer["name"], received

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_namespaces(pid: int) -> list[int]:
    """Descriptors of those namespaces of a process that are not ours, in the order in which a program must enter them.

    Raises FileNotFoundError if there is no such process, PermissionError if it is somebody else's.
    """
    inside = [Path(f"/proc/{pid}/ns/{kind}") for kind in ("user", "net")]
    own = [Path("/proc/self/ns/user"), Path("/proc/self/ns/net")]
    return [
        os.open(theirs, os.O_RDONLY | os.O_CLOEXEC)
        for theirs, ours in zip(inside, own, strict=True)
        if theirs.stat().st_ino != ours.stat().st_ino
    ]


def entering(descriptors: Sequence[int], command: Sequence[str]) -> list[str]:
    """The command that enters the namespaces behind inherited descriptors and becomes `command`."""
    return [sys.executable, "-I", "-S", enter.__file__, *map(str, descriptors), "--", *command]


def _start_holder(control: int, name: str, join: int | None) -> subprocess.Popen[bytes]:
    """Start a holder in a session of its own, so that Ctrl-C ends it only through us."""
    search_path = os.pathsep.join([str(_PACKAGE_PARENT), *filter(None, [os.environ.get("PYTHONPATH")])])
    joined = [] if join is None else open_namespaces(join)
    try:
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "ustack.link.holder", str(control), name, *map(str, joined)],
            pass_fds=(control, *joined),
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": search_path},
            start_new_session=True,
        )
    finally:
        _close_all(joined)


def _check_program(name: str, options: dict[str, Any]) -> None:
    """Raise FileNotFoundError unless Popen with these options would find the program."""
    path = (options.get("env") or os.environ).get("PATH", os.defpath)
    place = os.path.join(options.get("cwd") or "", name) if os.sep in name else name
    if shutil.which(place, path=path) is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def _end(programs: list[subprocess.Popen[Any]]) -> None:
    """Ask programs to end, and end those that have not after a while."""
    running = [program for program in programs if program.poll() is None]
    for program in running:
        program.terminate()
    for program in running:
        with contextlib.suppress(subprocess.TimeoutExpired):
            program.wait(GRACE_SECONDS)
    for program in running:
        if program.poll() is None:
            program.kill()
            program.wait()


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _address_text(text: str) -> str:
    address = InterfaceAddress.parse(text)
    return f"{format_address(address.address)}/{address.prefix_length}"
