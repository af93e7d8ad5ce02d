"""`run_script`: one script from its first event to its verdict, on a machine of its own in virtual time."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from ustack.config import StackConfig
from ustack.packetdrill import grammar, notation, settings
from ustack.packetdrill.descriptors import OpenSocket
from ustack.packetdrill.exchange import Exchange, Mismatch
from ustack.packetdrill.foreign_machine import ForeignMachine, ForeignShell
from ustack.packetdrill.kernel_machine import KernelMachine
from ustack.packetdrill.machine import Capture, Machine, Task
from ustack.packetdrill.network_verbs import KernelShell, SimulatedShell
from ustack.packetdrill.problems import Failed, ScriptProblem, Unsupported
from ustack.packetdrill.script import INBOUND, Call, Code, Command, Event, PacketSpec, Script, TimeKind
from ustack.packetdrill.settings import Settings
from ustack.packetdrill.simulation import SimulatedMachine
from ustack.packetdrill.snippets import Snippet, run_snippets
from ustack.packetdrill.socket_values import values_of
from ustack.packetdrill.system_calls import SystemCalls
from ustack.packetdrill.verbs import Shell
from ustack.packetdrill.verdict import Result, Verdict
from ustack.sim.task import Deadlock

SECOND = 1_000_000_000
_PATIENCE_NS = 2 * SECOND
"""How much later than expected a packet is still waited for."""
_CALL_PATIENCE_NS = SECOND
"""How long a call waits for the blocking one before it."""


def run_file(path: str | Path, wanted: Settings, capture: Capture | None = None) -> Verdict:
    """Read and run a script; a malformed one fails."""
    try:
        script = grammar.read_script(path, wanted.definitions())
    except Unsupported as problem:
        return Verdict(str(path), wanted.version, Result.UNSUPPORTED, problem.message, problem.line)
    except ScriptProblem as problem:
        return Verdict(str(path), wanted.version, Result.FAIL, str(problem), problem.line)
    return run_script(script, wanted, capture)


def run_script(script: Script, wanted: Settings, capture: Capture | None = None) -> Verdict:
    """Run a script."""
    try:
        run = Run(script, settings.with_options(wanted, script))
    except Unsupported as problem:
        return Verdict(script.path, wanted.version, Result.UNSUPPORTED, problem.message, problem.line)
    except OSError as problem:
        return Verdict(script.path, wanted.version, Result.UNSUPPORTED, f"no machine to run on: {problem}")
    run.machine.device.capture = capture
    try:
        return run.verdict()
    finally:
        run.close()


class BlockingCall:
    """A system call that has a task of its own."""

    def __init__(self, event: Event, start: int, end: int) -> None:
        self.event = event
        self.start = start
        self.end = end
        self.ended: int | None = None
        self.verify: Callable[[], None] | None = None
        self.task: Task | None = None


class Run:
    """One run of one script."""

    def __init__(self, script: Script, wanted: Settings) -> None:
        self.script = script
        self.settings = wanted
        self.machine, self.shell = _machine(wanted, Path(script.path).parent)
        self.calls = SystemCalls(self.machine.platform, wanted, self.machine.files)
        self.exchange = Exchange(self.machine, self.calls, wanted)
        self._snippets: list[Snippet] = []
        self._blocking: BlockingCall | None = None
        self._event: Event | None = None
        self._last: tuple[Event, int] | None = None
        """The event before, and when it was due."""

    def verdict(self) -> Verdict:
        """Run all events, and say how it has ended."""
        try:
            with self.machine.entered():
                self._run()
        except ScriptProblem as problem:
            return self._ended(problem)
        except Exception as bug:  # the stack must not end the suite
            return self._ended(Failed(_describe_bug(bug)))
        return Verdict(self.script.path, self.settings.version, Result.PASS, exchange=tuple(self.exchange.log))

    def _ended(self, problem: ScriptProblem) -> Verdict:
        result = Result.UNSUPPORTED if isinstance(problem, Unsupported) else Result.FAIL
        line = problem.line or (self._event.line if self._event is not None else 0)
        verdict = Verdict(
            self.script.path, self.settings.version, result, problem.message, line, exchange=tuple(self.exchange.log)
        )
        if isinstance(problem, Mismatch):
            return replace(verdict, expected=problem.expected, actual=problem.actual)
        return verdict

    def close(self) -> None:
        """End the machine."""
        if self.settings.is_foreign:
            self.exchange.reset()
        for sock in self.calls.descriptors.sockets():
            sock.close()
        self.machine.close()

    # Events.

    def _run(self) -> None:
        if self.script.init is not None:
            self._command(self.script.init.text, self.script.init_line)
        self.machine.restart_clock()
        for event in self.script.events:
            self._event = event
            self._check_order(event)
            base = self._base(event)
            due = base + event.time.start
            self._dispatch(event, base, due)
            self._reap()
            self._last = event, due
        self._end()

    def _end(self) -> None:
        """After the last event: the blocking call, the cleanup, the code."""
        self._await_blocking("exiting while a blocking system call is in progress")
        if self.settings.strict and (leftover := self.exchange.leftover()) is not None:
            shown = f"{notation.seconds(leftover.now)} {notation.format_live(leftover)}"
            raise Mismatch("a packet that the script does not expect", "nothing", (shown,))
        if self.script.cleanup is not None:
            self._command(self.script.cleanup.text, self.script.cleanup_line)
        run_snippets(self._snippets, self.script.path)

    def _check_order(self, event: Event) -> None:
        if self._last is None:
            if event.time.start != 0 or event.time.kind is TimeKind.ANY:
                raise Failed("first event should be at time 0")
            return
        before, due = self._last
        absolute = before.time.kind is event.time.kind is TimeKind.ABSOLUTE
        if absolute and event.time.start < due:
            raise Failed(
                f"time goes backward in script from {notation.seconds(due)} to {notation.seconds(event.time.start)}"
            )

    def _base(self, event: Event) -> int:
        """What the event's times are added to: consecutive inbound packets chain on the script's times."""
        if event.time.kind is TimeKind.ABSOLUTE:
            return 0
        if self._last is not None and _is_inbound(self._last[0]) and _is_inbound(event):
            return self._last[1]
        return self.machine.now

    def _dispatch(self, event: Event, base: int, due: int) -> None:
        action = event.action
        if isinstance(action, PacketSpec):
            if action.direction == INBOUND:
                self._wait(due, "inbound packet")
                self.exchange.inject(action)
            else:
                self._expect(event, action, base, due)
        elif isinstance(action, Call):
            self._call(event, action, base, due)
        elif isinstance(action, Command):
            self._wait(due, "command")
            self._command(action.text, event.line)
        else:
            self._wait(due, "data collection for code")
            self._collect(action, event.line)

    def _wait(self, due: int, what: str) -> None:
        """Let time pass until an event is due; it must not be late."""
        self.machine.run_until(due)
        if self._last is not None:
            self._check_time(what, due, due, self.machine.now, self._last[1])

    def _check_time(self, what: str, start: int, end: int, actual: int, last: int | None) -> None:
        """Raise Failed unless something has happened when the script says, within the tolerance."""
        tolerance = self.settings.tolerance_ns
        if last is not None:
            tolerance = max(tolerance, int(self.settings.tolerance_fraction * (start - last)))
        if start - tolerance <= actual <= end + tolerance:
            return
        expected = notation.seconds(start) + (f"~{notation.seconds(end)}" if end != start else "")
        raise Failed(
            f"timing error: expected {what} at {expected} sec but happened at {notation.seconds(actual)} sec; "
            f"tolerance {notation.seconds(tolerance)} sec"
        )

    def _expect(self, event: Event, spec: PacketSpec, base: int, due: int) -> None:
        anytime = event.time.kind is TimeKind.ANY
        end = due if event.time.end is None else base + event.time.end
        last = self._last[1] if self._last is not None else 0
        patience = self.machine.patience_ns if anytime else max(end - last, 0) + _PATIENCE_NS
        try:
            actual = self.exchange.expect(spec, self.machine.now + patience)
            if not anytime:
                self._check_packet_time(spec, due, end, actual.now)
        except Failed:
            if "packet" not in self.settings.non_fatal:
                raise

    def _check_packet_time(self, spec: PacketSpec, due: int, end: int, actual: int) -> None:
        try:
            self._check_time("outbound packet", due, end, actual, self._last[1] if self._last is not None else None)
        except Failed as problem:
            raise Mismatch(problem.message, notation.format_spec(spec), (self.exchange.log[-1],)) from None

    # System calls.

    def _call(self, event: Event, call: Call, base: int, due: int) -> None:
        if self.settings.is_foreign:
            self.machine.run_until(due)
            return
        if call.end is not None:
            self._await_blocking("blocking system call while another blocking system call is already in progress", call)
            self._wait(due, "system call start")
            self._start_blocking(event, call, due, base + call.end)
            return
        self._await_blocking()
        self._wait(due, "system call start")
        try:
            self.machine.call(lambda: self.calls.perform(call))()
        except Failed as problem:
            self._call_failed(call, problem)
        except Deadlock:
            raise Failed(f"runtime error in {call.name} call: it blocks for ever") from None
        self.machine.settle()

    def _call_failed(self, call: Call, problem: Failed) -> None:
        if "syscall" not in self.settings.non_fatal:
            raise Failed(f"runtime error in {call.name} call: {problem.message}") from None

    def _start_blocking(self, event: Event, call: Call, due: int, end: int) -> None:
        blocking = self._blocking = BlockingCall(event, due, end)

        def make() -> None:
            try:
                blocking.verify = self.calls.perform(call)
            finally:
                blocking.ended = self.machine.now

        blocking.task = self.machine.start_task(make, call.name)

    def _await_blocking(self, complaint: str = "", call: Call | None = None) -> None:
        """Wait for the call that blocks, up to a second; with a complaint, it must have ended then."""
        blocking = self._blocking
        if blocking is None:
            return
        self.machine.run_while_busy(self.machine.now + _CALL_PATIENCE_NS, lambda: blocking.ended is not None)
        self._reap()
        if self._blocking is not None and complaint:
            name = call.name if call is not None else _name_of(blocking)
            raise Failed(f"runtime error in {name} call: {complaint}", blocking.event.line if call is None else 0)

    def _reap(self) -> None:
        """Compare the outcome of a blocking call that has ended."""
        blocking = self._blocking
        if blocking is None or blocking.ended is None or blocking.task is None:
            return
        self._blocking = None
        line = blocking.event.line
        try:
            blocking.task.result()
            assert blocking.verify is not None, "a call that has ended without a problem has an outcome"
            blocking.verify()
            self._check_time("system call return", blocking.end, blocking.end, blocking.ended, blocking.start)
        except Failed as problem:
            raise Failed(f"runtime error in {_name_of(blocking)} call: {problem.message}", line) from None
        except Unsupported as problem:
            raise Unsupported(problem.message, line) from None

    # Commands and code.

    def _command(self, text: str, line: int) -> None:
        try:
            self.shell.run(text)
        except ScriptProblem as problem:
            problem.line = problem.line or line
            raise
        self.machine.settle()

    def _collect(self, code: Code, line: int) -> None:
        """Note what TCP_INFO is now, for the code that is run at the end."""
        flow = self.calls.under_test
        if flow is None or flow.descriptor is None:
            raise Failed("runtime error in code: no socket to use for code")
        entry = self.calls.descriptors.find(flow.descriptor)
        if not isinstance(entry, OpenSocket):
            raise Failed("runtime error in code: can't find getsockopt to get TCP info")
        self._snippets.append(Snippet(code.text, line, values_of(entry.sock)))


def _machine(wanted: Settings, directory: Path) -> tuple[Machine, Shell]:
    """What the script runs on, and who does what its commands ask for."""
    if wanted.against == settings.KERNEL:
        kernel = KernelMachine(wanted.addresses, wanted.mtu)
        return kernel, KernelShell(kernel, directory)
    if wanted.against:
        foreign = ForeignMachine(wanted.against)
        return foreign, ForeignShell(foreign, directory)
    simulated = SimulatedMachine(wanted.addresses, StackConfig(), wanted.mtu)
    return simulated, SimulatedShell(simulated, directory)


def _describe_bug(bug: Exception) -> str:
    """Where in the stack something went wrong."""
    frame = traceback.extract_tb(bug.__traceback__)[-1]
    return f"internal error: {type(bug).__name__}: {bug} ({Path(frame.filename).name}:{frame.lineno} in {frame.name})"


def _is_inbound(event: Event) -> bool:
    return isinstance(event.action, PacketSpec) and event.action.direction == INBOUND


def _name_of(blocking: BlockingCall) -> Any:
    action = blocking.event.action
    return action.name if isinstance(action, Call) else ""
