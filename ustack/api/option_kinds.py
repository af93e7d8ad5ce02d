"""How options are read and written: Linux's encodings of numbers and flags, their ranges and errors.

`options` joins the tables of all levels; here is only what they share.
"""

from __future__ import annotations

import errno
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from ustack import errors
from ustack.endpoint import Endpoint
from ustack.runtime.driver import Driver

MILLISECOND = 1_000_000
SECOND = 1_000_000_000
INT = struct.Struct("i")


class Target(NamedTuple):
    """The socket that an option is read from or written to."""

    endpoint: Endpoint
    driver: Driver

    def change(self, field: str, value: object) -> None:
        """Set a field of the endpoint's options and let the endpoint act on it; what it refuses is undone."""
        options = self.endpoint.options
        before = getattr(options, field)
        setattr(options, field, value)
        try:
            self.endpoint.option_changed(field, self.driver.now())
        except OSError:
            setattr(options, field, before)
            raise


@dataclass(frozen=True, slots=True)
class Option:
    """One option: how its value is read, and written (None: it cannot be), both as the bytes that Linux has."""

    read: Callable[[Target], bytes]
    write: Callable[[Target, bytes], None] | None
    applies: Callable[[Endpoint], bool] = lambda endpoint: True


def integer(value: bytes) -> int:
    """The C int that a value begins with.  Raises EINVAL."""
    if len(value) < INT.size:
        raise errors.error(errno.EINVAL)
    return int(INT.unpack_from(value)[0])


def number(read: Callable[[Target], int], write: Callable[[Target, int], None] | None = None) -> Option:
    """An option whose value is an int."""
    if write is None:
        return Option(lambda target: INT.pack(read(target)), None)
    return Option(lambda target: INT.pack(read(target)), lambda target, value: write(target, integer(value)))


def flag(field: str) -> Option:
    """A flag: any value but 0 is on."""
    return number(
        lambda target: int(getattr(target.endpoint.options, field)),
        lambda target, value: target.change(field, bool(value)),
    )


def switch(field: str) -> Option:
    """A flag that is 0 or 1 and nothing else."""

    def write(target: Target, value: int) -> None:
        if value not in (0, 1):
            raise errors.error(errno.EINVAL)
        target.change(field, bool(value))

    return number(lambda target: int(getattr(target.endpoint.options, field)), write)


def ranged(
    field: str, least: int, most: int, default: Callable[[Target], int], *, unit: int = 1, reset: int | None = None
) -> Option:
    """A number kept in units of `unit`; the value `reset` brings the default back."""

    def read(target: Target) -> int:
        value = getattr(target.endpoint.options, field)
        return default(target) if value is None else value // unit

    def write(target: Target, value: int) -> None:
        if value == reset:
            target.change(field, None)
        elif least <= value <= most:
            target.change(field, value * unit)
        else:
            raise errors.error(errno.EINVAL)

    return number(read, write)


def constant(value: int) -> Callable[[Target], int]:
    """A reader that always tells the same."""
    return lambda target: value


def only_for(applies: Callable[[Endpoint], bool], option: Option) -> Option:
    """The option, unknown where it does not apply."""
    return Option(option.read, option.write, applies)
