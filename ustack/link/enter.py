"""A program that enters namespaces and becomes another program: `enter.py [NAMESPACE-FD …] -- COMMAND …`.

It is run by its path with `python -I -S`, in a process of its own: entering a user namespace needs a process without
threads, and a child of a threaded parent must not run Python before exec.  So it imports nothing of ustack.
"""

from __future__ import annotations

import ctypes
import os
import sys


def enter(descriptor: int) -> None:
    """Enter the namespace that a descriptor is open on, and close that.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(descriptor, 0) < 0:
        raise OSError(ctypes.get_errno(), "setns: " + os.strerror(ctypes.get_errno()))
    os.close(descriptor)


def main(arguments: list[str]) -> None:
    """Enter the namespaces in order and execute the command; a failure ends with status 126 or 127, as a shell's."""
    end = arguments.index("--")
    command = arguments[end + 1 :]
    try:
        for descriptor in arguments[:end]:
            enter(int(descriptor))
        os.execvp(command[0], command)
    except OSError as failure:
        os.write(2, f"{command[0]}: {failure}\n".encode())
        os._exit(127 if isinstance(failure, FileNotFoundError) else 126)


if __name__ == "__main__":
    main(sys.argv[1:])
