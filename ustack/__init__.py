"""ustack: a user-space IPv4/IPv6 host stack for Linux TUN devices.

`from ustack import socket` gives the interface of Python's own `socket` module on top of a ustack `Stack`.
`use(driver)` chooses the stack that new sockets belong to; `new_driver()` makes one.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ustack.runtime.current import current_driver, new_driver, use

__all__ = ["__version__", "current_driver", "new_driver", "use"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """The names above, loaded when first used: the core's modules need nothing of the runtime."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ustack.runtime import current  # noqa: PLC0415

    return getattr(current, name)
