"""What this machine grants: findings about TUN, namespaces and offloads, each tried for real, for `ustack doctor`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from ustack.link.device import OFFLOAD_NAMES
from ustack.link.namespace import Namespace
from ustack.link.tun import TUN_PATH, TunDevice

_RUN_SECONDS = 20


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that this machine grants or not, and what to do if not."""

    name: str
    ok: bool
    detail: str
    advice: str = ""


def probe() -> list[Finding]:
    """Try everything that a stack on a TUN device in its own namespace needs; leaves nothing behind."""
    findings = [_tun_node()]
    try:
        with Namespace() as namespace:
            findings += [_namespace(namespace), _namespace_name(namespace), *_inside(namespace)]
    except OSError as failure:
        findings.append(_no_namespace(failure))
    return findings


def _tun_node() -> Finding:
    name = "TUN node"
    if not os.path.exists(TUN_PATH):
        return Finding(name, False, f"{TUN_PATH} is missing", "as root: modprobe tun; in a container: pass it in")
    if not os.access(TUN_PATH, os.R_OK | os.W_OK):
        return Finding(name, False, f"{TUN_PATH} may not be opened", f"run as root, or as root: chmod 0666 {TUN_PATH}")
    return Finding(name, True, f"{TUN_PATH} may be opened")


def _no_namespace(failure: OSError) -> Finding:
    advice = (
        "run as root, or allow user namespaces: sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone, "
        "kernel.apparmor_restrict_unprivileged_userns; until then stacks can be joined by the in-memory pipe"
    )
    return Finding("network namespace", False, str(failure), advice)


def _namespace(namespace: Namespace) -> Finding:
    how = "in a user namespace, without root" if namespace.rootless else "as root"
    return Finding("network namespace", True, f"can be made {how}")


def _namespace_name(namespace: Namespace) -> Finding:
    if namespace.name is None:
        advice = "enter it by `ustack ns -- COMMAND`; `ip netns exec` needs root and a writable /run/netns"
        return Finding("namespace name", False, "the namespace has no name for `ip netns`", advice)
    return Finding("namespace name", True, f"`ip netns exec {namespace.name} COMMAND` enters it")


def _inside(namespace: Namespace) -> Iterator[Finding]:
    yield _program(namespace)
    try:
        device = namespace.open_tun()
    except OSError as failure:
        yield Finding("TUN device", False, str(failure), "see the TUN node above; without it, use the in-memory pipe")
        return
    try:
        yield Finding("TUN device", True, f"{device.name} was made in a fresh namespace")
        yield from _offloads(device)
    finally:
        device.close()


def _program(namespace: Namespace) -> Finding:
    name = "programs inside"
    try:
        status = namespace.run([sys.executable, "-I", "-S", "-c", ""]).wait(_RUN_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as failure:
        return Finding(name, False, str(failure), "setns(2) is refused: a seccomp profile or a container's policy")
    if status:
        return Finding(name, False, f"a program ended with status {status}", "setns(2) may be refused by a policy")
    return Finding(name, True, "programs can be run in the namespace")


def _offloads(device: TunDevice) -> Iterator[Finding]:
    for bit, name in OFFLOAD_NAMES.items():
        if device.offload & bit:
            yield Finding(f"offload {name}", True, "granted")
        else:
            yield Finding(f"offload {name}", False, "refused", "all works without it, slower; Linux ≥ 6.2 grants all")
