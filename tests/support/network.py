"""`Network`: a running stack and the kernel on the two sides of a TUN device, for interoperation tests."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

import pytest

from ustack.link.namespace import Namespace
from ustack.runtime.thread_driver import ThreadDriver

IPV4 = "10.9.0.2"
IPV6 = "fd09::2"
KERNEL_IPV4 = "10.9.0.1"
KERNEL_IPV6 = "fd09::1"


@dataclass(slots=True)
class Network:
    """The namespace with the kernel's side, and the driver of the stack."""

    namespace: Namespace
    driver: ThreadDriver

    def run(self, *command: str, timeout: float = 120, check: bool = True) -> str:
        """Run a program on the kernel's side to its end; what it printed, standard error included."""
        need(command[0])
        program = self.namespace.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        output, _ = program.communicate(timeout=timeout)
        assert not check or program.returncode == 0, f"{' '.join(command)}: exit {program.returncode}: {output}"
        return str(output)

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Start a program on the kernel's side."""
        need(command[0])
        program: subprocess.Popen[str] = self.namespace.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        return program


def need(program: str) -> None:
    """Skip where a program that a test drives is not installed (tools/test installs them as root)."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


def url_host(address: str) -> str:
    """An address as it stands in a URL."""
    return f"[{address}]" if ":" in address else address
