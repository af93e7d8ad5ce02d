#!/usr/bin/env python3
"""Goodput through an impaired path over real TUN devices: kernel to kernel, kernel to ustack, ustack to kernel.

    lossy.py [--controller NAME] [--loss P] [--delay MS] [--rate MBIT] [--seconds S] [--runs N]

Two kernels meet through two TUN devices in namespaces of their own, which a process joins with ustack's impairment;
ustack meets a kernel over one device with the same impairment.  Loss and delay are of each direction.  Prints the
medians, and each as a ratio to the two kernels'.
"""

from __future__ import annotations

import argparse
import contextlib
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ustack
from ustack import socket as ustack_socket
from ustack.link.impairment import Impairment, ImpairmentProfile
from ustack.link.namespace import Namespace
from ustack.link.wire import Wire

PORT = 9100
CHUNK = 256 << 10


def receive(listener: socket.socket, seconds: float) -> int:
    """Accept one connection and count what comes within `seconds` of its first byte."""
    connection, _ = listener.accept()
    buffer = bytearray(CHUNK)
    with connection:
        total = connection.recv_into(buffer)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            count = connection.recv_into(buffer)
            if not count:
                break
            total += count
        return total


def send(connection: socket.socket, seconds: float) -> None:
    """Send for longer than the receiver counts; its reset ends it."""
    data = bytes(CHUNK)
    end = time.monotonic() + 2 * seconds + 5
    with contextlib.suppress(OSError):
        while time.monotonic() < end:
            connection.sendall(data)


def kernel_role(role: str, address: str, controller: str, seconds: float) -> None:
    """One end on the kernel's sockets, in the namespace that this process was started in."""
    with socket.socket() as end:
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, controller.encode())
        if role == "send":
            end.connect((address, PORT))
            send(end, seconds)
        else:
            end.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            end.bind((address, PORT))
            end.listen(1)
            print("ready", flush=True)
            print(receive(end, seconds), flush=True)


def start(namespace: Namespace, role: str, address: str, arguments: argparse.Namespace) -> subprocess.Popen[str]:
    """A kernel's end in a namespace."""
    command = [sys.executable, __file__, "--role", role, address]
    command += ["--controller", arguments.controller, "--seconds", str(arguments.seconds)]
    program = namespace.run(command, stdout=subprocess.PIPE, text=True)
    if role == "receive":
        assert program.stdout is not None
        program.stdout.readline()
    return program


def result(program: subprocess.Popen[str]) -> int:
    """What a receiving end has counted."""
    assert program.stdout is not None
    return int(program.stdout.readline())


def kernel_to_kernel(arguments: argparse.Namespace, profile: ImpairmentProfile, seed: int) -> int:
    """Bytes between two kernels."""
    with Namespace() as first, Namespace() as second:
        near = first.open_tun(kernel_addresses=["10.9.0.1/24"], routes=["10.9.1.0/24"])
        far = second.open_tun(kernel_addresses=["10.9.1.1/24"], routes=["10.9.0.0/24"])
        wire = Wire(near, Impairment(far, seed, profile, profile))
        carrying = threading.Thread(target=wire.run)
        carrying.start()
        try:
            receiver = start(second, "receive", "10.9.1.1", arguments)
            start(first, "send", "10.9.1.1", arguments)
            return result(receiver)
        finally:
            wire.stop()
            carrying.join()
            near.close()
            far.close()


@contextlib.contextmanager
def impaired_host(profile: ImpairmentProfile, seed: int) -> Iterator[Namespace]:
    """A ustack host at 10.9.0.2 for this thread, and the namespace of the kernel at 10.9.0.1."""
    with Namespace() as namespace, ustack.new_driver() as driver:
        driver.attach(
            Impairment(namespace.open_tun(kernel_addresses=["10.9.0.1/24"]), seed, profile, profile), ["10.9.0.2/24"]
        )
        ustack.use(driver)
        yield namespace


def kernel_to_ustack(arguments: argparse.Namespace, profile: ImpairmentProfile, seed: int) -> int:
    """Bytes from a kernel."""
    with impaired_host(profile, seed) as namespace, ustack_socket.create_server(("10.9.0.2", PORT)) as listener:
        start(namespace, "send", "10.9.0.2", arguments)
        return receive(listener, arguments.seconds)


def ustack_to_kernel(arguments: argparse.Namespace, profile: ImpairmentProfile, seed: int) -> int:
    """Bytes to a kernel."""
    with impaired_host(profile, seed) as namespace:
        receiver = start(namespace, "receive", "10.9.0.1", arguments)
        with ustack_socket.socket() as connection:
            connection.setsockopt(
                ustack_socket.IPPROTO_TCP, ustack_socket.TCP_CONGESTION, arguments.controller.encode()
            )
            connection.connect(("10.9.0.1", PORT))
            connection.settimeout(2 * arguments.seconds + 5)
            send(connection, arguments.seconds)
        return result(receiver)


WAYS: dict[str, Callable[[argparse.Namespace, ImpairmentProfile, int], int]] = {
    "kernel to kernel": kernel_to_kernel,
    "kernel to ustack": kernel_to_ustack,
    "ustack to kernel": ustack_to_kernel,
}


def main() -> None:
    """Measure all ways, one after the other, in turn."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--controller", default="cubic")
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--delay", type=float, default=10, help="milliseconds each way")
    parser.add_argument("--rate", type=float, default=100, help="Mbit/s")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--role", nargs=2, metavar=("ROLE", "ADDRESS"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        kernel_role(*arguments.role, arguments.controller, arguments.seconds)
        return
    profile = ImpairmentProfile(
        loss=arguments.loss, delay_ns=int(arguments.delay * 1e6), rate_bits_per_s=int(arguments.rate * 1e6)
    )
    totals: dict[str, list[float]] = {way: [] for way in WAYS}
    for seed in range(arguments.runs):
        for way, measure in WAYS.items():
            totals[way].append(measure(arguments, profile, seed) * 8 / arguments.seconds / 1e6)
    reference = statistics.median(totals["kernel to kernel"])
    for way, rates in totals.items():
        median = statistics.median(rates)
        each = " ".join(f"{rate:.2f}" for rate in rates)
        print(f"{way:18} {median:8.2f} Mbit/s  {median / reference:5.2f} of the kernels'   ({each})")


if __name__ == "__main__":
    main()
