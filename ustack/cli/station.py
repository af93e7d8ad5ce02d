"""A stack to work with, for the time of one command: namespace, device, driver, control socket.

The stack's device lies in the namespace of a stack of this user that runs already, if there is one, else in a new
one; then the kernel's side has 10.9.0.1 and fd09::1, the stack 10.9.0.2 and fd09::2.  A stack that joins has 10.9.1.2
and fd09::1:2, and so on; the kernel in the namespace forwards between them.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from ustack.cli.output import CommandError, say
from ustack.link.device import OFFLOAD_NAMES, Device
from ustack.link.namespace import Namespace
from ustack.link.pcap_tap import PcapTap
from ustack.link.tun import TunDevice, create_tun
from ustack.observe import control
from ustack.observe.pcapng import PcapngWriter
from ustack.observe.trace_log import TraceLog
from ustack.runtime.current import new_driver, use
from ustack.runtime.thread_driver import ThreadDriver

NETWORKS = 256
DEFAULT_ROUTES = ("0.0.0.0/0", "::/0")


@dataclass(slots=True)
class Station:
    """A running stack.

    `kernel` and `stack` are the two ends of its link, an IPv4 and an IPv6 address each; `where` says it in words.
    """

    driver: ThreadDriver
    namespace: Namespace | None
    device: Device
    kernel: tuple[str, str]
    stack: tuple[str, str]
    where: str

    def describe(self) -> str:
        """One line about the stack."""
        offload = [name for bit, name in OFFLOAD_NAMES.items() if self.device.offload & bit]
        return (
            f"stack {' and '.join(self.stack)} on {self.device.name} {self.where} "
            f"(MTU {self.device.mtu}; offload: {', '.join(offload) or 'none'})"
        )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of every command that runs a stack."""
    group = parser.add_argument_group("the stack")
    group.add_argument("--new", action="store_true", help="do not join the namespace of a running stack")
    group.add_argument("--device", metavar="NAME", help="use this TUN device, which exists and is configured")
    group.add_argument(
        "--address", metavar="ADDRESS/LENGTH", action="append", default=[], help="with --device: the stack's address"
    )
    group.add_argument("--mtu", type=int, default=1500, help="of the device (%(default)s)")
    group.add_argument("--no-offload", action="store_true", help="ask the device for no offload")
    group.add_argument("--no-fast-path", action="store_true", help="leave every packet to Python")
    group.add_argument("--capture", metavar="FILE", type=Path, help="write every packet to a pcapng file")


@contextlib.contextmanager
def open_station(arguments: argparse.Namespace, log: TraceLog | None = None) -> Iterator[Station]:
    """A stack with a device, running; all of it is gone afterwards.  Raises OSError where no device can be had."""
    with ExitStack() as resources:
        driver = resources.enter_context(new_driver(fast_path=not arguments.no_fast_path))
        if arguments.device:
            station = _on_existing_device(arguments, driver)
        else:
            station = _in_namespace(arguments, driver, resources)
        _attach(station, arguments, resources, log)
        about = {
            "command": arguments.command,
            "addresses": list(station.stack),
            "namespace": None if station.namespace is None else station.namespace.pid,
        }
        resources.enter_context(control.ControlServer(driver, about))
        resources.enter_context(use(driver))
        yield station


def _on_existing_device(arguments: argparse.Namespace, driver: ThreadDriver) -> Station:
    """On a device that the user has made and configured, in the namespace of this process."""
    if not Path("/sys/class/net", arguments.device).exists():
        raise CommandError(
            f"there is no device {arguments.device}; make it with: ip tuntap add {arguments.device} mode tun"
        )
    if not arguments.address:
        raise CommandError("--device needs an --address for the stack, such as 10.9.0.2/24")
    offload = not arguments.no_offload
    device = TunDevice(create_tun(arguments.device, offload=offload), arguments.mtu, offload=offload)
    addresses = [address.partition("/")[0] for address in arguments.address]
    return Station(driver, None, device, ("", ""), (addresses[0], addresses[-1]), "as you have set it up")


def _in_namespace(arguments: argparse.Namespace, driver: ThreadDriver, resources: ExitStack) -> Station:
    """On a new device, in the namespace of a running stack or in a new one."""
    join = None if arguments.new else running_namespace()
    namespace = resources.enter_context(Namespace(join=join))
    where = "in a network namespace of its own" if join is None else "in the namespace of a running stack"
    for number in range(NETWORKS):
        kernel, stack = _pair(number, 1), _pair(number, 2)
        try:
            device = namespace.open_tun(
                f"tun{number}",
                arguments.mtu,
                (f"{kernel[0]}/24", f"{kernel[1]}/112"),
                offload=not arguments.no_offload,
            )
        except OSError as refusal:
            if refusal.errno != errno.EBUSY:
                raise
        else:
            return Station(driver, namespace, device, kernel, stack, where)
    raise CommandError("the namespace is full")


def _pair(network: int, host: int) -> tuple[str, str]:
    """The addresses of a host in one of the namespace's networks."""
    return f"10.9.{network}.{host}", f"fd09::{network:x}:{host}" if network else f"fd09::{host}"


def running_namespace() -> int | None:
    """A process inside the namespace of the stack that this user has started first; None if no stack runs."""
    for path in control.running():
        with contextlib.suppress(OSError, ValueError):
            pid: int | None = control.ask(path, "about")["namespace"]
            if pid is not None:
                return pid
    return None


def _attach(station: Station, arguments: argparse.Namespace, resources: ExitStack, log: TraceLog | None) -> None:
    """Give the stack its device, and observers of its packets if they are wanted."""
    device, stack = station.device, station.driver.stack
    if arguments.capture is not None:
        stream = resources.enter_context(arguments.capture.open("wb"))
        device = PcapTap(device, PcapngWriter(stream, time.time_ns() - time.monotonic_ns()))
    if log is not None:
        device = PcapTap(device, log)
        stack.tracer = log
    addresses = arguments.address or [f"{station.stack[0]}/24", f"{station.stack[1]}/112"]
    interface = station.driver.attach(device, addresses)
    for route in DEFAULT_ROUTES:
        station.driver.call(stack.add_route, route, interface)
    say(station.describe())
