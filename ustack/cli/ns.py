"""`ustack ns`: run a program inside the network namespace of a stack, on the kernel's side of its device."""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys

from ustack.cli import station
from ustack.cli.output import CommandError, say
from ustack.link.namespace import entering, open_namespaces

NOT_FOUND = 127
"""The status that shells have for a command that is not there."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack ns`."""
    parser.usage = "ustack ns [OPTIONS] -- COMMAND [ARGUMENT …]"
    parser.add_argument("program", metavar="COMMAND", nargs="+", help="runs in the namespace of the stack that runs")
    station.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the program; where no stack runs, with a stack of its own that answers and serves nothing."""
    if arguments.device:
        raise CommandError("--device has no namespace of its own")
    joined = None if arguments.new else station.running_namespace()
    if joined is not None:
        return _become(open_namespaces(joined), arguments.program)
    with station.open_station(arguments) as running:
        assert running.namespace is not None, "a station without --device has a namespace"
        try:
            program = running.namespace.run(arguments.program)
        except FileNotFoundError as missing:
            say(f"{missing.strerror}: {missing.filename}")
            return NOT_FOUND
        return wait(program)


def _become(descriptors: list[int], program: list[str]) -> int:
    """Turn this process into the program, inside."""
    sys.stdout.flush()
    for descriptor in descriptors:
        os.set_inheritable(descriptor, True)
    command = entering(descriptors, program)
    os.execv(command[0], command)


def wait(program: subprocess.Popen[bytes]) -> int:
    """The program's status; Ctrl-C reaches it too, so it may take its time to end."""
    while program.returncode is None:
        with contextlib.suppress(KeyboardInterrupt):
            program.wait()
    return program.returncode if program.returncode >= 0 else 128 - program.returncode
