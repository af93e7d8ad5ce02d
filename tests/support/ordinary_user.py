"""Becomes an ordinary user who may open /dev/net/tun, in a mount namespace of its own, and executes a command.

    python ordinary_user.py DIRECTORY COMMAND …

For root only.  DIRECTORY is an empty one that others may enter; what is mounted on it ends with the process.  The
device node has mode 0666 there, as udev gives it on an ordinary machine, and Python's and the project's files can be
read even if they are in a home directory that others may not enter.  Nothing outside the process changes.
"""

from __future__ import annotations

import ctypes
import os
import stat
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 0x1000, 0x2000, 0x4000, 0x40000
NOBODY = 65534
LIBC = ctypes.CDLL(None, use_errno=True)


def check(result: int, what: str) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), f"{what}: {os.strerror(ctypes.get_errno())}")


def mount(source: Path | str, target: Path, kind: bytes, flags: int, data: bytes | None = None) -> None:
    check(LIBC.mount(os.fsencode(source), os.fsencode(target), kind, flags, data), f"mount on {target}")


def closed_ancestor(path: Path) -> Path | None:
    """The first directory on the way to `path` that others may not enter."""
    for ancestor in reversed(path.parents):
        if not ancestor.stat().st_mode & stat.S_IXOTH:
            return ancestor
    return None


def open_way_to(path: Path, aside: Path) -> None:
    """Hide what keeps others from `path`, and put `path` alone back."""
    while (closed := closed_ancestor(path)) is not None:
        aside.mkdir()
        mount(path, aside, b"", MS_BIND | MS_REC)
        mount("none", closed, b"tmpfs", 0, b"mode=755")
        path.mkdir(parents=True)
        mount(aside, path, b"", MS_MOVE)


def main() -> None:
    directory, command = Path(sys.argv[1]), sys.argv[2:]
    check(LIBC.unshare(CLONE_NEWNS), "unshare")
    mount("none", Path("/"), b"", MS_REC | MS_PRIVATE)
    mount("none", directory, b"tmpfs", 0, b"mode=755")
    node = directory / "tun"
    os.mknod(node, stat.S_IFCHR, os.makedev(10, 200))
    node.chmod(0o666)
    mount(node, Path("/dev/net/tun"), b"", MS_BIND)
    for name in dict.fromkeys((sys.base_prefix, sys.prefix, os.getcwd())):
        open_way_to(Path(name), directory / name.replace("/", "-"))
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
