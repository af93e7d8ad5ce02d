"""`Driver`: what runs a stack, whatever the clock: devices, the lock, flushing, blocking.

A driver owns the one lock of its stack.  Every call into the stack is made with it held and followed by `flush`, which
writes the stack's packets to the devices (in the caller's own thread) and hands the stack's events to those who wait.
How a caller waits and who reads the devices is the business of the subclasses: `thread_driver` on the real clock,
`ustack.sim` in virtual time.
"""

from __future__ import annotations

import contextlib
import errno
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, ParamSpec, Self, TypeVar

from ustack import errors
from ustack.burst import Burst
from ustack.endpoint import Endpoint
from ustack.runtime.clock import Clock
from ustack.runtime.waiting import Observer, Waiter, observe

if TYPE_CHECKING:
    from ustack.ip.interface import Interface
    from ustack.link.device import Device
    from ustack.stack import Stack

P = ParamSpec("P")
T = TypeVar("T")

SCRATCH_BYTES = 256 << 10
NEVER = 1 << 63
TRANSIENT = frozenset((errno.EAGAIN, errno.EINTR, errno.ENOBUFS, errno.ENOMEM, errno.EIO, errno.EINVAL))
"""Errors of a device that cost it a packet and not its life."""


class Link:
    """A device and the interface of the stack that it serves."""

    __slots__ = ("device", "interface")

    def __init__(self, device: Device, interface: Interface) -> None:
        self.device = device
        self.interface = interface


class Driver(ABC):
    """Runs one stack.  `lock` must be held for `flush`, `block` and whatever touches the stack."""

    lock: Any
    """A context manager with `acquire` and `release`."""

    def __init__(self, stack: Stack, now: Clock) -> None:
        self.stack = stack
        self.now = now
        self.lock = threading.Lock()
        self.stopped = False
        self.scratch = memoryview(bytearray(SCRATCH_BYTES))
        """Where received bytes lie between the endpoint and the caller's object: valid while the lock is held."""
        self.attendance = 0
        self._links: dict[int, Link] = {}
        self._burst = Burst()
        self._orphans: deque[Endpoint] = deque()
        self._sleeping_until = 0
        """When whoever waits for the devices wakes by himself; 0 while nobody sleeps there."""
        self._backlog = False

    # Set-up.

    def attach(self, device: Device, addresses: Iterable[str]) -> Interface:
        """Give the stack an interface over `device` with addresses such as `10.9.0.2/24`."""
        with self.lock:
            interface = self.stack.add_interface(device.name, device.mtu, addresses, device.offload)
            self._links[interface.index] = link = Link(device, interface)
            self._attached(link)
        return interface

    def start(self) -> None:  # noqa: B027  # a driver without a thread has nothing to start
        """Begin to serve the devices."""

    def stop(self) -> None:
        """Stop the stack: every socket gets ENETDOWN, the devices are closed.  May be called twice."""
        with self.lock:
            self._stop_stack(self.now())
            for link in tuple(self._links.values()):
                self._detach(link)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    # Calls.

    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call into the stack and carry out what follows from it."""
        with self.lock:
            try:
                return function(*args, **kwargs)
            finally:
                self.flush(self.now())

    def wait(self, endpoint: Endpoint, bits: int, deadline: int | None) -> bool:
        """Block until `endpoint.readiness() & bits`; False if the deadline (None: no limit) comes first."""
        with self.lock:
            while not endpoint.readiness() & bits:
                if not self.block(endpoint, bits, deadline):
                    return bool(endpoint.readiness() & bits)
            return True

    def block(self, endpoint: Endpoint, bits: int, deadline: int | None) -> bool:
        """Give the lock away until `bits` may hold; False if the deadline came first.

        The caller looks again and comes back if need be.  Raises ENETDOWN if the stack was stopped.
        """
        waiter = self.new_waiter()
        observer = observe(endpoint)
        entry = (bits, waiter)
        observer.waiters.append(entry)
        try:
            return self.suspend(waiter, deadline)
        finally:
            if not waiter.woken:
                observer.waiters.remove(entry)

    def suspend(self, waiter: Waiter, deadline: int | None) -> bool:
        """Give the lock away until `waiter` is woken; False if the deadline came first.  Raises ENETDOWN."""
        if not self.stopped:
            self._suspend(waiter, deadline)
        if self.stopped:
            raise errors.error(errno.ENETDOWN)
        return waiter.woken

    def new_waiter(self) -> Waiter:
        """A waiter that `suspend` takes."""
        return Waiter()

    def abandon(self, endpoint: Endpoint) -> None:
        """Close an endpoint soon: its socket was lost without close().  Called at any point, the lock held or not."""
        self._orphans.append(endpoint)
        self._interrupt()

    def release(self, endpoint: Endpoint, now: int) -> None:
        """A socket lets go of its endpoint: the last one closes it.  Whoever waits for it is woken."""
        observer: Observer | None = endpoint.observer
        if observer is not None:
            observer.holders -= 1
            if observer.holders:
                return
            endpoint.observer = None
            observer.wake_all()
        endpoint.close(now)
        if observer is not None and observer.mirror is not None:
            self.attend(-1)
            observer.mirror.close()

    def attend(self, more: int) -> None:
        """One mirrored descriptor more (+1) or less (−1).  Who polls it waits elsewhere: the driver must not rest."""
        self.attendance += more

    def flush(self, now: int) -> None:
        """Write the stack's packets to the devices, pass its events on, mind its next deadline."""
        stack = self.stack
        if self._orphans:
            self._close_orphans(now)
        while interfaces := stack.transmit(now):
            if not self._write(interfaces, now):
                break
        for endpoint, bits in stack.take_events():
            observer: Observer | None = endpoint.observer
            if observer is not None:
                observer.changed(bits)
        deadline = stack.next_deadline()
        if deadline is not None and deadline < self._sleeping_until:
            self._interrupt()

    # For subclasses.

    @abstractmethod
    def sleep(self, seconds: float) -> None:
        """Let time pass for the calling thread."""

    @abstractmethod
    def spawn(self, function: Callable[..., object], *args: object) -> Any:
        """Run a function in a thread of its own that uses this driver's sockets."""

    @abstractmethod
    def _suspend(self, waiter: Waiter, deadline: int | None) -> None:
        """Give the lock away, and return with it held when `waiter` is woken, at the deadline or when stopped."""

    @abstractmethod
    def _interrupt(self) -> None:
        """Make whoever waits for the devices look again."""

    def _attached(self, link: Link) -> None:  # noqa: B027  # most drivers find it in `_links`
        """A device is new."""

    def _stopped(self) -> None:  # noqa: B027  # most drivers wait for endpoints only, whose observers have been woken
        """The stack was stopped: end every other wait."""

    def _detach(self, link: Link) -> None:
        """Let go of a device."""
        self._links.pop(link.interface.index, None)
        with contextlib.suppress(OSError):
            link.device.close()

    def _read(self, link: Link, now: int) -> int:
        """Give the stack one burst of what the device has; how many frames."""
        burst = self._burst
        try:
            count = link.device.read(burst, now)
        except OSError as problem:
            self._device_failed(link, problem, now)
            return 0
        if count:
            self.stack.receive(link.interface, burst, now)
            burst.clear()
        return count

    def _write(self, interfaces: Iterable[Interface], now: int) -> bool:
        """Write what waits in the interfaces' bursts; False if a device did not take all."""
        complete = True
        for interface in interfaces:
            link = self._links.get(interface.index)
            if link is None:
                interface.outgoing.clear()
            elif not self._write_link(link, now):
                complete = False
        self._backlog = not complete
        return complete

    def _write_link(self, link: Link, now: int) -> bool:
        outgoing = link.interface.outgoing
        try:
            taken = link.device.write(outgoing, now)
        except OSError as problem:
            outgoing.clear()
            self._device_failed(link, problem, now)
            return True
        outgoing.drop(taken)
        link.interface.offload = link.device.offload  # the kernel may refuse at the first write what it had granted
        return not len(outgoing)

    def _device_failed(self, link: Link, problem: OSError, now: int) -> None:
        """A device that is gone takes its interface down, the last one the stack."""
        if problem.errno in TRANSIENT:
            return
        link.interface.up = False
        self._detach(link)
        if not self._links:
            self._stop_stack(now)

    def _stop_stack(self, now: int) -> None:
        if not self.stopped:
            self.stopped = True
            observers = [each.observer for each in self.stack.endpoints if each.observer is not None]
            self.stack.stop(now)
            self.flush(now)
            for observer in observers:
                observer.wake_all()
            self._stopped()

    def _close_orphans(self, now: int) -> None:
        while self._orphans:
            self.release(self._orphans.popleft(), now)
