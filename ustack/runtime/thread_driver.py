"""`ThreadDriver`: a stack on the real clock.

One thread at a time *pumps*: it waits for the devices' descriptors and the stack's next deadline, reads a burst, gives
it to the stack and flushes.  Usually that is the driver's own thread.  But a caller who must wait anyway pumps himself
if nobody else does: his request is answered without a switch to another thread and back, which costs more than the
work.  So the driver's thread stands by after it has woken a caller: one who calls in a loop comes back and takes the
pump within microseconds, for himself and for everybody who sleeps.  If nobody does within a tick, the thread pumps
again.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import select
import threading
import time
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from ustack.runtime.clock import MILLISECOND, SECOND, monotonic
from ustack.runtime.driver import NEVER, Driver, Link
from ustack.runtime.stand_by import StandBy
from ustack.runtime.waiting import Waiter

if TYPE_CHECKING:
    from ustack.stack import Stack

RETRY_NS = MILLISECOND
"""When to offer packets again that a device did not take."""
JOIN_S = 5
"""How long `stop` waits for the thread."""

_live: weakref.WeakSet[ThreadDriver] = weakref.WeakSet()


class ThreadDriver(Driver):
    """Runs a stack on the monotonic clock, with a daemon thread and with the callers' own threads."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack, monotonic)
        stack.config.tcp.realtime_offset_ns = time.time_ns() - monotonic()
        self._wake_descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._poll = select.poll()
        self._poll.register(self._wake_descriptor, select.POLLIN)
        self._by_descriptor: dict[int, Link] = {}
        self._thread: threading.Thread | None = None
        self._pumping = False
        self._turns = 0
        """How often a caller has pumped."""
        self._sleepers: set[Waiter] = set()
        self._roused = 0
        """How many of them are on their way back."""
        self._stand_by = StandBy()
        _live.add(self)

    # Driver.

    def start(self) -> None:
        """Start the thread, if it does not run yet."""
        with self.lock:
            self._start()

    def stop(self) -> None:
        """Stop the stack, end the thread and close the devices."""
        super().stop()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(JOIN_S)
        with self.lock:
            if self._wake_descriptor >= 0:
                os.close(self._wake_descriptor)
                self._wake_descriptor = -1

    def sleep(self, seconds: float) -> None:
        """Let time pass for the calling thread."""
        time.sleep(seconds)

    def spawn(self, function: Callable[..., object], *args: object) -> threading.Thread:
        """Run a function in a thread of its own."""
        thread = threading.Thread(target=function, args=args, daemon=True)
        thread.start()
        return thread

    def attend(self, more: int) -> None:
        """A descriptor is mirrored from now on (+1) or no more (−1): while there are any, the thread must pump."""
        super().attend(more)
        self._stand_by.end()

    def _suspend(self, waiter: Waiter, deadline: int | None) -> None:
        self._start()
        if self._pumping:
            self._sleep(waiter, deadline)
        else:
            self._pump(waiter, deadline)

    def _start(self) -> None:
        if self._thread is None and not self.stopped:
            self._thread = threading.Thread(target=self._run, name="ustack driver", daemon=True)
            self._thread.start()

    def _interrupt(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            os.eventfd_write(self._wake_descriptor, 1)

    def _stopped(self) -> None:
        for waiter in self._sleepers:
            waiter.wake()
        self._stand_by.end()
        self._interrupt()

    def _attached(self, link: Link) -> None:
        self._start()
        descriptor = link.device.fileno()
        if descriptor >= 0:
            self._by_descriptor[descriptor] = link
            self._poll.register(descriptor, select.POLLIN)
            self._interrupt()

    def _detach(self, link: Link) -> None:
        for descriptor in [number for number, other in self._by_descriptor.items() if other is link]:
            del self._by_descriptor[descriptor]
            self._poll.unregister(descriptor)
        super()._detach(link)

    # Waiting, with the lock held on entry and on return.

    def _sleep(self, waiter: Waiter, deadline: int | None) -> None:
        """Wait for another thread to wake `waiter`."""
        if waiter.woken:
            return
        seconds = -1 if deadline is None else max(0, deadline - self.now()) / SECOND
        signal = threading.Lock()
        signal.acquire()
        waiter.rouse = functools.partial(self._rouse_sleeper, signal)
        self._sleepers.add(waiter)
        self.lock.release()
        try:
            signal.acquire(True, seconds)
        finally:
            self.lock.acquire()
            self._sleepers.discard(waiter)
            self._roused -= waiter.woken

    def _rouse_sleeper(self, signal: threading.Lock) -> None:
        self._roused += 1
        signal.release()

    def _pump(self, waiter: Waiter, deadline: int | None) -> None:
        """Serve the devices until one of them, or another thread, wakes `waiter`."""
        self._pumping = True
        waiter.rouse = self._rouse_pump
        try:
            while not (waiter.woken or self.stopped) and (deadline is None or self.now() < deadline):
                self._serve(deadline)
        finally:
            self._pumping = False
            self._turns += 1
            if self.attendance or self._stand_by.deep:
                self._stand_by.end()

    def _rouse_pump(self) -> None:
        if self._sleeping_until:
            self._interrupt()

    def _serve(self, deadline: int | None) -> None:
        """One turn of the pump: wait for a device or a deadline, and carry out what is due."""
        ready = self._await_devices(deadline)
        now = self.now()
        for descriptor, _ in ready:
            link = self._by_descriptor.get(descriptor)
            if link is not None:
                self._read(link, now)
            elif descriptor == self._wake_descriptor:
                os.eventfd_read(descriptor)
        for link in tuple(self._links.values()):
            due = link.device.next_deadline()
            if due is not None and due <= now:
                self._read(link, now)
        due = self.stack.next_deadline()
        if due is not None and due <= now:
            self.stack.advance(now)
        self.flush(now)

    def _await_devices(self, deadline: int | None) -> list[tuple[int, int]]:
        """Sleep until a device has something or time is up; the descriptors that are ready."""
        now = self.now()
        wake_at = self._next_deadline(now, deadline)
        self._sleeping_until = wake_at
        self.lock.release()
        try:
            return self._poll.poll(None if wake_at == NEVER else max(0, -((now - wake_at) // MILLISECOND)))
        finally:
            self.lock.acquire()
            self._sleeping_until = 0

    def _next_deadline(self, now: int, deadline: int | None) -> int:
        earliest = NEVER if deadline is None else deadline
        due = self.stack.next_deadline()
        if due is not None and due < earliest:
            earliest = due
        for link in self._links.values():
            due = link.device.next_deadline()
            if due is not None and due < earliest:
                earliest = due
        return min(earliest, now + RETRY_NS) if self._backlog else earliest

    # The driver's own thread.

    def _run(self) -> None:
        """Pump, or stand by.  If that fails by a fault of ours, the sockets get ENETDOWN: nobody waits for ever."""
        with self.lock:
            try:
                self._pump_or_rest()
            except BaseException:
                self._stop_stack(self.now())
                raise

    def _pump_or_rest(self) -> None:
        while not self.stopped:
            if self._pumping or self._stand_by.expected:
                self._rest()
            else:
                self._pump_for_all()

    def _pump_for_all(self) -> None:
        self._pumping = True
        try:
            self._serve(None)
        finally:
            self._pumping = False
        if self._roused == 1 and not self.attendance:
            self._stand_by.expect()

    def _rest(self) -> None:
        turns = self._turns
        self.lock.release()
        try:
            self._stand_by.wait()
        finally:
            self.lock.acquire()
        self._stand_by.rested(self._pumping, self._turns != turns)

    def _forsake(self) -> None:
        """In a forked child: the stack stays with the parent, sockets give ENETDOWN here."""
        self.lock = threading.Lock()
        self.stopped = True
        self._thread = None


def _stop_all() -> None:
    for driver in tuple(_live):
        driver.stop()


def _forsake_all() -> None:
    for driver in tuple(_live):
        driver._forsake()  # noqa: SLF001  # its own class
    _live.clear()


atexit.register(_stop_all)
os.register_at_fork(after_in_child=_forsake_all)
