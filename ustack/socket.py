"""Python's `socket` module on ustack: `from ustack import socket`, and then as ever.

What makes sockets is ours; everything else (constants, name look-ups, errors, other families) is Python's own, found
there by its name.
"""

from __future__ import annotations

import socket as stdlib
from typing import Any

from ustack.api.functions import create_connection, create_server, fromfd, has_dualstack_ipv6
from ustack.api.socket import socket

__all__ = [  # noqa: PLE0604  # the names are strings
    *stdlib.__all__,
    "create_connection",
    "create_server",
    "fromfd",
    "has_dualstack_ipv6",
    "socket",
]


def __getattr__(name: str) -> Any:
    return getattr(stdlib, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *dir(stdlib)})
