"""The system calls that make, name and forget namespaces, which Python's `os` lacks (`unshare` comes with 3.12)."""

from __future__ import annotations

import contextlib
import ctypes
import os
from pathlib import Path

from ustack import errors

CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000
NAMES = Path("/run/netns")
"""Where `ip netns` looks for namespaces by name."""

_MS_BIND = 0x1000
_MNT_DETACH = 2


def unshare(flags: int) -> None:
    """Move this process to new namespaces of the kinds that the CLONE_ `flags` name.  Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) < 0:
        raise errors.error(ctypes.get_errno(), "unshare")


def enter_new_network_namespace() -> bool:
    """Move this process to a new network namespace; whether a new user namespace was needed for it.

    Raises EPERM or ENOSPC where this user may have neither.
    """
    try:
        unshare(CLONE_NEWNET)
    except PermissionError:
        _enter_as_root_of_new_user_namespace()
        return True
    return False


def _enter_as_root_of_new_user_namespace() -> None:
    """Become root in new user and network namespaces; to everybody else this user is who it was."""
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | CLONE_NEWNET)
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"0 {user} 1")
    Path("/proc/self/gid_map").write_text(f"0 {group} 1")


def attach_name(name: str) -> None:
    """Name this process's network namespace for `ip netns exec`.  Raises EEXIST if taken, and other OSErrors."""
    NAMES.mkdir(mode=0o755, exist_ok=True)
    path = NAMES / name
    os.close(os.open(path, os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0))
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"/proc/self/ns/net", os.fsencode(path), b"none", _MS_BIND, None) < 0:
        failure = errors.error(ctypes.get_errno(), f"mount on {path}")
        path.unlink()
        raise failure


def remove_name(name: str) -> None:
    """Remove a network namespace's name; one that is not there is fine.  The namespace lives on while it is in use."""
    path = NAMES / name
    ctypes.CDLL(None).umount2(os.fsencode(path), _MNT_DETACH)
    with contextlib.suppress(OSError):
        path.unlink()
