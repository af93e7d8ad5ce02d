"""Which driver a new socket belongs to: the thread's own, else the process's, else a default one on the loopback."""

from __future__ import annotations

import threading

from ustack.config import StackConfig
from ustack.runtime.driver import Driver
from ustack.runtime.entropy import SystemEntropy
from ustack.runtime.thread_driver import ThreadDriver

_lock = threading.Lock()


class _Chosen:
    """The process's choice."""

    driver: Driver | None = None
    default: Driver | None = None


class _ChosenByThread(threading.local):
    driver: Driver | None = None


_by_thread = _ChosenByThread()


def new_driver(config: StackConfig | None = None, *, fast_path: bool = True) -> ThreadDriver:
    """A new stack with nothing but its loopback interface, on the real clock."""
    from ustack.stack import Stack  # noqa: PLC0415

    return ThreadDriver(Stack(config, entropy=SystemEntropy(), fast_path=fast_path))


def current_driver() -> Driver:
    """The driver that a socket made now belongs to."""
    return _by_thread.driver or _Chosen.driver or _default_driver()


def _default_driver() -> Driver:
    with _lock:
        if _Chosen.default is None or _Chosen.default.stopped:
            _Chosen.default = new_driver()
        return _Chosen.default


def bind_thread(driver: Driver | None) -> None:
    """Give the calling thread a driver of its own, which `use` then changes for this thread only."""
    _by_thread.driver = driver


class use:  # noqa: N801  # used like a function
    """Make `driver` the current one at once; as a context manager, until its end.

    It holds for the whole process, except in threads that have a driver of their own (the applications of a simulated
    host): there it holds for the thread.
    """

    def __init__(self, driver: Driver) -> None:
        self.driver = driver
        self._of_thread = _by_thread.driver is not None
        self._before = self._swap(driver)

    def __enter__(self) -> Driver:
        return self.driver

    def __exit__(self, *exception: object) -> None:
        self._swap(self._before)

    def _swap(self, driver: Driver | None) -> Driver | None:
        holder = _by_thread if self._of_thread else _Chosen
        before, holder.driver = holder.driver, driver
        return before
