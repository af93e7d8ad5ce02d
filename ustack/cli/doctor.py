"""`ustack doctor`: say what this machine grants: TUN, namespaces, each offload; and what to do otherwise."""

from __future__ import annotations

import argparse
import os
import platform
import resource
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.text import Text

from ustack.cli.output import console, show_json, table
from ustack.link.device import OFFLOAD_NAMES
from ustack.link.namespace import Namespace
from ustack.link.tun import TUN_PATH, TunDevice

PROGRAMS = {
    "curl": "ustack demo then fetches by itself",
    "ip": "needed only to look around inside a namespace",
    "tshark": "needed only for tests",
}
FILES_WANTED = 4096
MARKS = {True: Text("✓", "green"), False: Text("✗", "red"), None: Text("–", "yellow")}


@dataclass(slots=True)
class Finding:
    """One thing that was looked at.  `granted` is None where ustack does well without."""

    what: str
    granted: bool | None
    found: str
    otherwise: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack doctor`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Look, tell; 0 if a stack can have a device here."""
    findings = [*machine(), *devices(), *programs()]
    if arguments.json:
        show_json([asdict(finding) for finding in findings])
    else:
        _show(findings)
    return 1 if any(finding.granted is False for finding in findings) else 0


def _show(findings: list[Finding]) -> None:
    rows = table("", "what", "found")
    for finding in findings:
        hint = f"\n→ {finding.otherwise}" if finding.otherwise and not finding.granted else ""
        rows.add_row(MARKS[finding.granted], finding.what, Text(finding.found + hint))
    console.print(rows)


def machine() -> Iterator[Finding]:
    """The operating system, and the limits of this process."""
    yield Finding(
        "system", platform.system() == "Linux", f"{platform.system()} {platform.release()}", "ustack needs Linux"
    )
    yield Finding("user", True, "root" if os.geteuid() == 0 else f"ordinary user {os.geteuid()}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = True if soft >= FILES_WANTED else None
    yield Finding("open files", enough, f"{soft} (may be raised to {hard})", f"ulimit -n {FILES_WANTED}")


def devices() -> Iterator[Finding]:
    """The TUN driver, a namespace, and a device in it with its offloads."""
    tun = _tun_driver()
    yield tun
    try:
        namespace = Namespace()
    except OSError as refusal:
        advice = (
            "run as root, or allow user namespaces (sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone)"
        )
        yield Finding("network namespace", False, str(refusal), f"{advice}; the in-memory pipe works without")
        return
    with namespace:
        kind = "in a user namespace of its own" if namespace.rootless else f"named {namespace.name}"
        yield Finding("network namespace", True, kind)
        if tun.granted:
            yield from _device_in(namespace)


def _tun_driver() -> Finding:
    what = f"TUN driver, {TUN_PATH}"
    if not Path(TUN_PATH).exists():
        return Finding(what, False, "there is none", "modprobe tun; in a container: --device /dev/net/tun")
    if not os.access(TUN_PATH, os.R_OK | os.W_OK):
        return Finding(
            what, False, "this user may not open it", f"run as root, or chmod 666 {TUN_PATH} (Debian's default)"
        )
    return Finding(what, True, "can be opened")


def _device_in(namespace: Namespace) -> Iterator[Finding]:
    try:
        device = namespace.open_tun()
    except OSError as refusal:
        yield Finding("TUN device", False, str(refusal), "in a container: --cap-add NET_ADMIN, or run as root")
        return
    try:
        yield Finding("TUN device", True, f"{device.name}, MTU {device.mtu}")
        yield from _offloads(device)
    finally:
        device.close()


def _offloads(device: TunDevice) -> Iterator[Finding]:
    for bit, name in OFFLOAD_NAMES.items():
        granted = bool(device.offload & bit) or None
        yield Finding(f"offload {name}", granted, "granted" if granted else "refused", "ustack works without, slower")


def programs() -> Iterator[Finding]:
    """Programs that commands and tests start."""
    for program, without in PROGRAMS.items():
        path = shutil.which(program)
        yield Finding(program, True if path else None, path or "not installed", without)
