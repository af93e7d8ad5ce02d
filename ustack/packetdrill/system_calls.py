"""The system calls of a script, made on sockets of ours.

Each is a method of `SystemCalls` by its own name.  It gives an `Outcome`: the result, and what is looked at if the
result is the expected one.  An OSError is a result of −1.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket as stdlib
import struct
from collections.abc import Callable
from dataclasses import dataclass

from ustack import errors
from ustack.packetdrill import control_messages
from ustack.packetdrill.descriptors import Descriptors, Open, OpenFile, OpenSocket, Pipe
from ustack.packetdrill.evaluation import array, bracketed, describe, evaluate, integer, is_null, structure
from ustack.packetdrill.flow import Flow, FlowState
from ustack.packetdrill.platform import Platform
from ustack.packetdrill.problems import Failed, Unsupported
from ustack.packetdrill.script import Apply, Call, Expression, Field, Structure
from ustack.packetdrill.settings import Settings
from ustack.packetdrill.symbols import errno_name, value_of

_LIVE_DESCRIPTOR = 1 << 20
"""What a call that makes a descriptor returns; the script's number is its name."""
_INT = struct.Struct("i")
_FIONBIO = 0x5421


@dataclass(slots=True)
class Outcome:
    """The result of a call.  `check` compares what else it gave; `made` is the new descriptor."""

    value: int
    check: Callable[[], None] | None = None
    made: Open | None = None
    errno: int = 0


class SystemCalls:
    """The calls of one run.  `flows` has the sockets under test, the last one in use last."""

    def __init__(self, platform: Platform, settings: Settings, files: dict[str, bytes]) -> None:
        self.platform = platform
        self.settings = settings
        self.descriptors = Descriptors()
        self.flows: list[Flow] = []
        self._files = files

    @property
    def under_test(self) -> Flow | None:
        """The flow whose packets the script's packets are."""
        return self.flows[-1] if self.flows else None

    def perform(self, call: Call) -> Callable[[], None]:
        """Make a call; what it gave is compared by the function that is returned, which raises Failed."""
        method = _TABLE.get(call.name)
        if method is None:
            raise Unsupported(f"Unknown system call: '{call.name}'")
        try:
            outcome = method(self, call)
        except OSError as problem:
            outcome = Outcome(-1, errno=problem.errno or errno.EAGAIN)
        return lambda: self._verify(call, outcome)

    def _verify(self, call: Call, outcome: Outcome) -> None:
        """Compare the outcome of a call with what the script says."""
        expected = integer(call.result)
        text = f"{outcome.value} with errno {outcome.errno} ({os.strerror(outcome.errno)})"
        if outcome.made is not None:
            self._keep(expected, outcome.made, text, hiding=call.name == "accept")
            return
        if _makes_descriptor(call) and expected >= 0:
            raise Failed(f"Expected non-negative result but got {text}")
        if outcome.value != expected:
            raise Failed(f"Expected result {expected} but got {text}")
        if call.error is not None and outcome.errno != value_of(call.error):
            wanted = value_of(call.error)
            raise Failed(
                f"Expected errno {wanted} ({os.strerror(wanted)}) but got {outcome.errno} "
                f"({os.strerror(outcome.errno)}, {errno_name(outcome.errno)})"
            )
        if outcome.check is not None:
            outcome.check()

    def _keep(self, number: int, made: Open, text: str, *, hiding: bool) -> None:
        """Give what was made the number that the script has for it."""
        try:
            if number < 0:
                raise Failed(f"Expected result {number} but got {text}")
            self.descriptors.add(number, made, hiding=hiding)
        except Failed:
            if isinstance(made, OpenSocket):
                made.sock.close()
            raise
        if isinstance(made, OpenSocket):
            made.flow.descriptor = number

    # Arguments.

    def _socket(self, call: Call) -> OpenSocket:
        return self.descriptors.open_socket(integer(call.arguments[0]))

    def _address(self, expression: Expression, host: str, port: int) -> tuple[str, int]:
        """`...` is the one that the run is made for."""
        if expression is ...:
            return (f"::ffff:{host}" if self.settings.mapped else host), port
        fields = structure(expression)
        text = evaluate(fields["sin_addr"]) if "sin_addr" in fields else b""
        if not isinstance(text, bytes):
            raise Failed(f"expected an address, found {describe(text)}")
        return text.decode(), integer(fields.get("sin_port", 0))

    def _local(self, expression: Expression) -> tuple[str, int]:
        return self._address(expression, self.settings.addresses.local, self.settings.bind_port)

    # Making and ending sockets.

    def socket(self, call: Call) -> Outcome:
        """`socket(..., type, protocol)`: the family is the run's."""
        _count(call, 3)
        six = self.settings.version == 6 or self.settings.mapped
        default = stdlib.AF_INET6 if six else stdlib.AF_INET
        family = default if call.arguments[0] is ... else integer(call.arguments[0])
        kind, protocol = integer(call.arguments[1]), integer(call.arguments[2])
        sock = self.platform.open(family, kind, protocol)
        sock.settimeout(0.0 if kind & stdlib.SOCK_NONBLOCK else None)
        name = {stdlib.IPPROTO_UDP: "udp", stdlib.IPPROTO_ICMP: "icmp", stdlib.IPPROTO_ICMPV6: "icmp"}.get(
            protocol, "tcp"
        )
        flow = Flow(FlowState.NEW, name)
        self.flows.append(flow)
        return Outcome(_LIVE_DESCRIPTOR, made=OpenSocket(sock, flow))

    def bind(self, call: Call) -> Outcome:
        """`bind(fd, ..., ...)`: the address is the run's."""
        _count(call, 3)
        self._socket(call).sock.bind(self._local(call.arguments[1]))
        return Outcome(0)

    def listen(self, call: Call) -> Outcome:
        """`listen(fd, backlog)`."""
        _count(call, 2)
        entry = self._socket(call)
        entry.sock.listen(integer(call.arguments[1]))
        entry.flow.state = FlowState.LISTENING
        return Outcome(0)

    def accept(self, call: Call) -> Outcome:
        """`accept(fd, ..., ...)`: the new socket is the child that the script has spoken to last."""
        _count(call, 3)
        sock, address = self._socket(call).sock.accept()
        sock.settimeout(None)
        for flow in reversed(self.flows):
            if flow.state in (FlowState.SYN_ACK_SENT, FlowState.SYN_ACK_ACKNOWLEDGED) and flow.descriptor is None:
                return Outcome(_LIVE_DESCRIPTOR, made=OpenSocket(sock, flow))
        sock.close()
        raise Failed(f"unable to find socket matching accept() call, from {address}")

    def connect(self, call: Call) -> Outcome:
        """`connect(fd, ..., ...)`: the address is the run's."""
        _count(call, 3)
        entry = self._socket(call)
        address = call.arguments[1]
        if address is not ... and not isinstance(address, Structure):
            return self._connect_to_family(entry, integer(address))
        self._begin_connect(entry.flow)
        entry.sock.connect(self._remote(address))
        return Outcome(0)

    def _remote(self, expression: Expression) -> tuple[str, int]:
        return self._address(expression, self.settings.addresses.remote, self.settings.connect_port)

    def _connect_to_family(self, entry: OpenSocket, family: int) -> Outcome:
        """connect() with an address of which only the family matters: AF_UNSPEC dissolves the connection."""
        if family != stdlib.AF_UNSPEC:
            raise errors.error(errno.EAFNOSUPPORT)
        self.platform.disconnect(entry.sock)
        entry.flow.state = FlowState.NEW
        return Outcome(0)

    def _begin_connect(self, flow: Flow) -> None:
        if flow.state is FlowState.NEW:
            flow.state = FlowState.CONNECTING
            flow.outbound = None

    def close(self, call: Call) -> Outcome:
        """`close(fd)`."""
        _count(call, 1)
        number = integer(call.arguments[0])
        entry = self.descriptors.find(number)
        if isinstance(entry, OpenSocket):
            entry.sock.close()
        self.descriptors.remove(number)
        return Outcome(0)

    def shutdown(self, call: Call) -> Outcome:
        """`shutdown(fd, how)`."""
        _count(call, 2)
        self._socket(call).sock.shutdown(integer(call.arguments[1]))
        return Outcome(0)

    # Receiving.

    def read(self, call: Call) -> Outcome:
        """`read(fd, ..., size)`, of a socket or a pipe."""
        _count(call, 3)
        entry = self.descriptors.find(integer(call.arguments[0]))
        size = integer(call.arguments[2])
        if isinstance(entry, Pipe):
            taken = bytes(entry.content[:size])
            del entry.content[:size]
            return Outcome(len(taken))
        return self._receive(self._socket(call), call.arguments[1], size, 0)

    def recv(self, call: Call) -> Outcome:
        """`recv(fd, ..., size, flags)`."""
        _count(call, 4)
        return self._receive(
            self._socket(call), call.arguments[1], integer(call.arguments[2]), integer(call.arguments[3])
        )

    def recvfrom(self, call: Call) -> Outcome:
        """`recvfrom(fd, ..., size, flags, ..., ...)`."""
        _count(call, 6)
        return self.recv(Call(call.name, call.arguments[:4], call.result))

    def _receive(self, entry: OpenSocket, buffer: Expression, size: int, flags: int) -> Outcome:
        if size < 0:
            raise errors.error(errno.EINVAL)
        if not is_null(buffer) or flags & stdlib.MSG_TRUNC:
            return Outcome(entry.sock.recv_into(bytearray(size), size, flags) if size else 0)
        if entry.sock.recv(size, flags | stdlib.MSG_PEEK):
            raise errors.error(errno.EFAULT)
        return Outcome(0)

    def readv(self, call: Call) -> Outcome:
        """`readv(fd, [{..., size}], count)`."""
        _count(call, 3)
        buffers = [bytearray(size) for size in _vector(call.arguments[1], integer(call.arguments[2]))]
        return Outcome(self._socket(call).sock.recvmsg_into(buffers)[0])

    def recvmsg(self, call: Call) -> Outcome:
        """`recvmsg(fd, {…}, flags)`: flags and control messages are compared."""
        _count(call, 3)
        message = _Message(call.arguments[1])
        expected = control_messages.expected(message.control)
        data, found, flags, _ = self._socket(call).sock.recvmsg(
            sum(message.sizes), control_messages.space(expected), integer(call.arguments[2])
        )

        def check() -> None:
            if flags != message.flags:
                raise Failed(f"Expected msg_flags 0x{message.flags:08X} but got 0x{flags:08X}")
            control_messages.compare(expected, found, self.platform.epoch, self.settings.tolerance_ns)

        return Outcome(len(data), check)

    # Sending.

    def write(self, call: Call) -> Outcome:
        """`write(fd, ..., size)`, to a socket or a pipe."""
        _count(call, 3)
        entry = self.descriptors.find(integer(call.arguments[0]))
        if isinstance(entry, Pipe):
            entry.content += bytes(integer(call.arguments[2]))
            return Outcome(integer(call.arguments[2]))
        return Outcome(self._socket(call).sock.send(_data(call.arguments[1], integer(call.arguments[2]))))

    def send(self, call: Call) -> Outcome:
        """`send(fd, ..., size, flags)`."""
        _count(call, 4)
        data = _data(call.arguments[1], integer(call.arguments[2]))
        return Outcome(self._socket(call).sock.send(data, integer(call.arguments[3])))

    def sendto(self, call: Call) -> Outcome:
        """`sendto(fd, ..., size, flags, ..., ...)`: opens a connection if it can."""
        _count(call, 6)
        entry = self._socket(call)
        data, flags = _data(call.arguments[1], integer(call.arguments[2])), integer(call.arguments[3])
        target = call.arguments[4]
        if target is not ... and not isinstance(target, Structure):
            return self._send_to_family(entry, data, flags, integer(target))
        self._begin_connect(entry.flow)
        return Outcome(entry.sock.sendto(data, flags, self._remote(target)))

    def _send_to_family(self, entry: OpenSocket, data: bytes, flags: int, family: int) -> Outcome:
        """sendto() with an address of which only the family matters: to nowhere no connection can be opened."""
        if family != stdlib.AF_UNSPEC:
            raise errors.error(errno.EAFNOSUPPORT)
        if flags & value_of("MSG_FASTOPEN"):
            raise errors.error(errno.EOPNOTSUPP)
        return Outcome(entry.sock.send(data, flags))

    def writev(self, call: Call) -> Outcome:
        """`writev(fd, [{..., size}], count)`."""
        _count(call, 3)
        sizes = _vector(call.arguments[1], integer(call.arguments[2]))
        return Outcome(self._socket(call).sock.sendmsg([bytes(size) for size in sizes]))

    def sendmsg(self, call: Call) -> Outcome:
        """`sendmsg(fd, {…}, flags)`."""
        _count(call, 3)
        message = _Message(call.arguments[1])
        ancillary = control_messages.to_send(message.control)
        entry, flags = self._socket(call), integer(call.arguments[2])
        self._begin_connect(entry.flow)
        named = flags & value_of("MSG_FASTOPEN") or entry.flow.protocol == "udp"
        address = self._remote(...) if named else None
        return Outcome(entry.sock.sendmsg([bytes(size) for size in message.sizes], ancillary, flags, address))

    # Options.

    def setsockopt(self, call: Call) -> Outcome:
        """`setsockopt(fd, level, name, [value], size)`."""
        _count(call, 5)
        level, name, size = (integer(call.arguments[index]) for index in (1, 2, 4))
        value = _option_bytes(call.arguments[3])
        if size < 0:
            raise errors.error(errno.EINVAL)
        self._socket(call).sock.setsockopt(level, name, value[:size].ljust(size, b"\0"))
        return Outcome(0)

    def getsockopt(self, call: Call) -> Outcome:
        """`getsockopt(fd, level, name, [value], [size])`."""
        _count(call, 5)
        level, name, size = integer(call.arguments[1]), integer(call.arguments[2]), bracketed(call.arguments[4])
        if size < 0:
            raise errors.error(errno.EINVAL)
        value = self._socket(call).sock.getsockopt(level, name, min(size, 1024) or 1)[:size]
        return Outcome(0, lambda: _check_option(call.arguments[3], value, size))

    def fcntl(self, call: Call) -> Outcome:
        """F_GETFL and F_SETFL, of which O_NONBLOCK matters."""
        sock = self._socket(call).sock
        command = integer(call.arguments[1])
        if command == fcntl.F_GETFL:
            return Outcome(os.O_RDWR | (os.O_NONBLOCK if sock.gettimeout() == 0 else 0))
        if command == fcntl.F_SETFL and len(call.arguments) == 3:
            sock.setblocking(not integer(call.arguments[2]) & os.O_NONBLOCK)
            return Outcome(0)
        raise Unsupported(f"fcntl() with command {command} is not supported")

    def ioctl(self, call: Call) -> Outcome:
        """SIOCINQ, SIOCOUTQ and their like, which give one number; FIONBIO."""
        entry = self._socket(call)
        request = integer(call.arguments[1])
        if request == _FIONBIO:
            entry.sock.setblocking(not bracketed(call.arguments[2]))
            return Outcome(0)
        value = self.platform.control(entry.sock, request)
        return Outcome(0, lambda: _check_number("ioctl optval", bracketed(call.arguments[2]), value))

    # Waiting.

    def poll(self, call: Call) -> Outcome:
        """`poll([{fd=…, events=…, revents=…}], count, timeout)`."""
        _count(call, 3)
        entries = [structure(item) for item in array(call.arguments[0])]
        wanted = [(self.descriptors.open_socket(integer(each["fd"])).sock, integer(each["events"])) for each in entries]
        held = self.platform.poll(wanted, integer(call.arguments[2]))

        def check() -> None:
            for each, bits in zip(entries, held, strict=True):
                _check_number("revents", integer(each.get("revents", 0)), bits)

        return Outcome(sum(map(bool, held)), check)

    def epoll_create(self, call: Call) -> Outcome:
        """`epoll_create(size)`."""
        _count(call, 1)
        if call.name == "epoll_create" and integer(call.arguments[0]) <= 0:
            raise errors.error(errno.EINVAL)
        return Outcome(_LIVE_DESCRIPTOR, made=self.platform.epoll())

    def epoll_ctl(self, call: Call) -> Outcome:
        """`epoll_ctl(epoll, operation, fd, {events=…, fd=…})`."""
        _count(call, 4)
        epoll = self.descriptors.epoll(integer(call.arguments[0]))
        operation, number = integer(call.arguments[1]), integer(call.arguments[2])
        entry = self.descriptors.open_socket(number)
        events, data = _epoll_event(call.arguments[3])
        if operation == value_of("EPOLL_CTL_ADD"):
            epoll.add(number, entry.sock, events, data)
        elif operation == value_of("EPOLL_CTL_MOD"):
            epoll.modify(number, events, data)
        elif operation == value_of("EPOLL_CTL_DEL"):
            epoll.remove(number)
        else:
            raise errors.error(errno.EINVAL)
        return Outcome(0)

    def epoll_wait(self, call: Call) -> Outcome:
        """The events are compared with the first one that is reported; 0 of everything if there is none."""
        _count(call, 4)
        epoll = self.descriptors.epoll(integer(call.arguments[0]))
        most = integer(call.arguments[2])
        if most <= 0:
            raise errors.error(errno.EINVAL)
        found = epoll.wait(most, integer(call.arguments[3]))
        events, data = found[0] if found else (0, 0)

        def check() -> None:
            wanted, wanted_data = _epoll_event(call.arguments[1])
            if wanted != events:
                raise Failed(f"epoll_event->events does not match script: expected: {wanted:#x} actual: {events:#x}")
            if wanted_data != data:
                raise Failed(f"epoll_event->data does not match script: expected: {wanted_data} actual: {data}")

        return Outcome(len(found), check)

    # Files and pipes.

    def open(self, call: Call) -> Outcome:
        """A file that the script's commands have made; the real ones are out of reach."""
        _count(call, 2)
        name = evaluate(call.arguments[0])
        if not isinstance(name, bytes):
            raise Failed(f"expected a file name, found {describe(name)}")
        content = self._files.get(name.decode())
        if content is None:
            raise errors.error(errno.ENOENT)
        return Outcome(_LIVE_DESCRIPTOR, made=OpenFile(content))

    def sendfile(self, call: Call) -> Outcome:
        """`sendfile(socket, file, [offset], size)`."""
        _count(call, 4)
        target = self._socket(call).sock
        source = self.descriptors.find(integer(call.arguments[1]))
        if not isinstance(source, OpenFile):
            raise errors.error(errno.EINVAL)
        offset, count = bracketed(call.arguments[2]), integer(call.arguments[3])
        return Outcome(target.send(source.content[offset : offset + count]))

    def pipe(self, call: Call) -> Outcome:
        """`pipe([reading, writing])`."""
        _count(call, 1)
        made = Pipe()
        first, second = (integer(item) for item in array(call.arguments[0]))

        def check() -> None:
            self.descriptors.add(first, made)
            self.descriptors.add(second, made)

        return Outcome(0, check)

    def splice(self, call: Call) -> Outcome:
        """Between a socket and a pipe, either way."""
        _count(call, 6)
        source = self.descriptors.find(integer(call.arguments[0]))
        target = self.descriptors.find(integer(call.arguments[2]))
        count = integer(call.arguments[4])
        if isinstance(source, OpenSocket) and isinstance(target, Pipe):
            data = b"" if self.platform.at_urgent_data(source.sock) else source.sock.recv(count)
            target.content += data
            return Outcome(len(data))
        if isinstance(source, Pipe) and isinstance(target, OpenSocket):
            sent = target.sock.send(bytes(source.content[:count]))
            del source.content[:sent]
            return Outcome(sent)
        raise errors.error(errno.EINVAL)


class _Message:
    """A struct msghdr."""

    def __init__(self, expression: Expression) -> None:
        fields = structure(expression)
        vector = next((item for item in expression.items if isinstance(item, Field) and item.name == "msg_iov"), None)  # type: ignore[union-attr]
        self.sizes = _vector(vector.value, integer(vector.argument or 0)) if vector is not None else []
        self.flags = integer(fields.get("msg_flags", 0))
        self.control = array(fields["msg_control"]) if "msg_control" in fields else ()


def _vector(expression: Expression, count: int) -> list[int]:
    """The sizes of `[{..., 1000}, {..., 1}]`."""
    sizes = []
    for item in array(expression):
        if not isinstance(item, Structure) or len(item.items) != 2:
            raise Failed(f"expected {{..., size}}, found {describe(item)}")
        size = item.items[1]
        sizes.append(integer(size.value if isinstance(size, Field) else size))
    if len(sizes) != count:
        raise Failed(f"iov_count {count} does not match {len(sizes)}-element iovec array")
    return sizes


def _data(buffer: Expression, size: int) -> bytes:
    """What is sent is zeros.  Raises EFAULT for a null pointer, EINVAL for an impossible size."""
    if is_null(buffer) and size:
        raise errors.error(errno.EFAULT)
    if size < 0:
        raise errors.error(errno.EINVAL)
    return bytes(size)


def _option_bytes(expression: Expression) -> bytes:
    """The value of an option as the bytes of its C type."""
    if isinstance(expression, Structure):
        fields = structure(expression)
        if "onoff" in fields and "linger" in fields:
            return struct.pack("ii", integer(fields["onoff"]), integer(fields["linger"]))
        raise Unsupported("this structure is no known socket option")
    value = evaluate(expression)
    if isinstance(value, bytes):
        return _address_bytes(expression, value)
    return _wrapped(bracketed(expression) if not isinstance(value, int) else value)


def _address_bytes(expression: Expression, value: bytes) -> bytes:
    if isinstance(expression, Apply):
        family = stdlib.AF_INET6 if expression.name == "inet6_addr" else stdlib.AF_INET
        return stdlib.inet_pton(family, value.decode())
    return value


def _wrapped(number: int) -> bytes:
    return (number & 0xFFFFFFFF).to_bytes(4, "little")


def _check_option(expected: Expression, value: bytes, size: int) -> None:
    if len(value) != size:
        raise Failed(f"Bad getsockopt optlen: expected: {size} actual: {len(value)}")
    wanted = _option_bytes(expected)
    if isinstance(evaluate(expected), bytes):
        if wanted != value:
            raise Failed(f"Bad getsockopt optval: expected: {wanted!r} actual: {value!r}")
    elif wanted[:size] != value[: len(wanted)]:
        raise Failed(f"Bad getsockopt optval: expected: {_signed(wanted)} actual: {_signed(value)}")


def _signed(value: bytes) -> int | str:
    return int(_INT.unpack(value)[0]) if len(value) == _INT.size else value.hex()


def _check_number(what: str, expected: int, actual: int) -> None:
    if expected != actual:
        raise Failed(f"Bad {what}: expected: {expected} ({expected:#x}) actual: {actual} ({actual:#x})")


def _epoll_event(expression: Expression) -> tuple[int, int]:
    """Events and data of a struct epoll_event."""
    fields = structure(expression)
    data = [integer(value) for name, value in fields.items() if name in ("fd", "ptr", "u32", "u64")]
    if "events" not in fields or len(data) != 1:
        raise Failed("epoll_event specified incorrectly")
    return integer(fields["events"]) & 0xFFFFFFFF, data[0]


def _count(call: Call, expected: int) -> None:
    if len(call.arguments) != expected:
        raise Failed(f"{call.name} expected {expected} args but got {len(call.arguments)}")


def _makes_descriptor(call: Call) -> bool:
    return call.name in ("socket", "accept", "open", "epoll_create")


_TABLE: dict[str, Callable[[SystemCalls, Call], Outcome]] = {
    name: getattr(SystemCalls, name)
    for name in (
        "socket", "bind", "listen", "accept", "connect", "close", "shutdown", "read", "recv", "recvfrom", "readv",
        "recvmsg", "write", "send", "sendto", "writev", "sendmsg", "setsockopt", "getsockopt", "fcntl", "ioctl", "poll",
        "epoll_create", "epoll_ctl", "epoll_wait", "open", "sendfile", "pipe", "splice",
    )
}  # fmt: skip
