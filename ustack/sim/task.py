"""`Task`: an application thread of the lab, and `Schedule`: the baton that lets one of them run at a time."""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ustack.address import format_endpoint
from ustack.endpoint import READABLE, Endpoint
from ustack.runtime.waiting import Waiter

if TYPE_CHECKING:
    from ustack.sim.lab import Host


class Deadlock(RuntimeError):
    """Every task waits, and no stack, device or time-out will ever wake one."""


class Cancelled(BaseException):
    """The lab is closed: it unwinds a task that still waits."""


class TaskWaiter(Waiter):
    """A task that waits, for an event or for its deadline."""

    __slots__ = ("schedule", "task", "waiting")

    def __init__(self, schedule: Schedule, task: Task) -> None:
        super().__init__()
        self.schedule = schedule
        self.task = task
        self.waiting = False
        self.rouse = self.make_ready

    def make_ready(self) -> None:
        """Let the task go on when its turn comes."""
        if self.waiting:
            self.waiting = False
            self.schedule.ready.append(self.task)


class Task:
    """One application thread.  It runs only while it has the baton."""

    def __init__(self, schedule: Schedule, name: str, host: Host | None, function: Callable[[], Any] | None) -> None:
        self.name = name
        self.host = host
        self.done = False
        self.failure: BaseException | None = None
        self.cancelled = False
        self.waits_for: str | tuple[Endpoint, int] = ""
        """What it is blocked on, for people: in words, or the bits of an endpoint."""
        self.value: Any = None
        self._schedule = schedule
        self._function = function
        self._baton = threading.Lock()
        self._baton.acquire()
        self._joiners: list[TaskWaiter] = []
        self._thread = None if function is None else threading.Thread(target=self._main, name=name, daemon=True)
        self._started = function is None

    def result(self, deadline: int | None = None) -> Any:
        """Block the calling task until this one has ended; its value, or its exception raised.

        Raises TimeoutError at the deadline.
        """
        self.join(deadline)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure
        return self.value

    def join(self, deadline: int | None = None) -> None:
        """Block the calling task until this one has ended, however.  Raises TimeoutError at the deadline."""
        if not self.done:
            waiter = self._schedule.new_waiter(f"the end of {self.name}")
            self._joiners.append(waiter)
            self._schedule.block(waiter, deadline)
            if not self.done:
                raise TimeoutError(f"{self.name} has not ended")

    def resume(self) -> None:
        """Hand over the baton."""
        if self._started:
            self._baton.release()
        else:
            self._started = True
            assert self._thread is not None, "a task that is not started has a function"
            self._thread.start()

    def await_baton(self) -> None:
        """Sleep until the baton comes back."""
        self._baton.acquire()

    def _main(self) -> None:
        assert self._function is not None, "only a task with a function has a thread"
        self._schedule.entered()
        try:
            if not self.cancelled:
                self.value = self._function()
        except Cancelled:
            pass
        except BaseException as problem:  # it is raised again in result()
            self.failure = problem
        self.done = True
        for joiner in self._joiners:
            joiner.wake()
        self._schedule.leave()


class Schedule:
    """Who runs now, who is ready next, and who waits until when.

    `progress` is the world outside the tasks: called when no task is ready, it makes something happen, or returns False
    if nothing ever will.  Only the thread that has the baton touches any of this.
    """

    def __init__(self, now: Callable[[], int], progress: Callable[[], bool]) -> None:
        self.ready: deque[Task] = deque()
        self.tasks: list[Task] = []
        self._now = now
        self._progress = progress
        self._timers: list[tuple[int, int, TaskWaiter]] = []
        self._sequence = itertools.count()
        self.main = self.running = Task(self, "main", None, None)
        self.thread = threading.get_ident()
        self.aborted = False
        """The main task was interrupted while another one ran: nobody else goes on."""
        self._failure: BaseException | None = None

    def add(self, name: str, host: Host, function: Callable[[], Any]) -> Task:
        """A new task, ready to run after those that are ready now."""
        task = Task(self, name, host, function)
        self.tasks.append(task)
        self.ready.append(task)
        return task

    def new_waiter(self, reason: str | tuple[Endpoint, int]) -> TaskWaiter:
        """A waiter for the running task."""
        self.running.waits_for = reason
        return TaskWaiter(self, self.running)

    def block(self, waiter: TaskWaiter, deadline: int | None) -> None:
        """Let others run until `waiter` is woken or the deadline comes."""
        if waiter.woken:
            return
        task = waiter.task
        if task.cancelled or self.aborted:
            raise Cancelled
        waiter.waiting = True
        if deadline is not None:
            heapq.heappush(self._timers, (deadline, next(self._sequence), waiter))
        self._hand_over(task)
        waiter.waiting = False
        if task is self.main and self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if task.cancelled:
            raise Cancelled

    def next_deadline(self) -> int | None:
        """When the first waiting task times out."""
        while self._timers and not self._timers[0][2].waiting:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def expire(self) -> bool:
        """Make the tasks ready whose time is up; whether there were any."""
        expired = False
        while self._timers and self._timers[0][0] <= self._now():
            waiter = heapq.heappop(self._timers)[2]
            expired |= waiter.waiting
            waiter.make_ready()
        return expired

    def cancel(self, task: Task) -> None:
        """End a task where it waits."""
        task.cancelled = True
        if not task.done and not self.aborted:
            if task not in self.ready:
                self.ready.append(task)
            task.join()

    def entered(self) -> None:
        """The calling thread has got the baton."""
        self.thread = threading.get_ident()

    def leave(self) -> None:
        """The running task has ended: the next one runs."""
        if not self.aborted:
            self._choose().resume()

    def _hand_over(self, task: Task) -> None:
        following = self._choose()
        if following is not task:
            following.resume()
            try:
                task.await_baton()
            except BaseException:
                self.aborted = True
                raise
            finally:
                self.entered()
        self.running = task

    def _choose(self) -> Task:
        """The next task; the world moves until there is one."""
        try:
            while not self.ready:
                if not self._progress():
                    raise Deadlock(self._describe())
        except BaseException as failure:  # it is raised again in the main task
            self._failure = failure
            return self.main
        following = self.running = self.ready.popleft()
        return following

    def _describe(self) -> str:
        waiting = [task for task in (self.main, *self.tasks) if not task.done]
        lines = [f"  {task.name} waits for {describe(task.waits_for)}" for task in waiting]
        return "nothing can happen any more:\n" + "\n".join(lines)


def describe(reason: str | tuple[Endpoint, int]) -> str:
    """What a task waits for, in words."""
    if isinstance(reason, str):
        return reason
    endpoint, bits = reason
    local, remote = endpoint.local_address, endpoint.remote_address
    sides = f" {format_endpoint(local, endpoint.local_port)}" if local else ""
    if remote:
        sides += f" to {format_endpoint(remote, endpoint.remote_port)}"
    return f"{'readability' if bits & READABLE else 'writability'} of {type(endpoint).__name__}{sides}"
