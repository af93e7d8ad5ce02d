"""What a parser makes of bytes: its value, or the `Drop` that it raised."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from ustack.drops import Drop

Value = TypeVar("Value")


def outcome_of(parse: Callable[..., Value], *arguments: object) -> Value | Drop:
    """What `parse` returns, or the `Drop` that it raises; any other exception goes through."""
    try:
        return parse(*arguments)
    except Drop as drop:
        return drop
