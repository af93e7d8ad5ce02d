"""`ustack COMMAND …`: the parser, and what is the same for all commands.

Exit statuses: 0 done, 1 it could not be done (one line says why), 2 wrong usage, 130 Ctrl-C, 143 SIGTERM; `ns` has its
command's.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Sequence

from ustack import __version__
from ustack.cli import conformance, demo, doctor, drill, drops, nc, ns, ping, serve, ss
from ustack.cli.output import CommandError, say

COMMANDS = {
    "demo": demo,
    "serve": serve,
    "ns": ns,
    "ping": ping,
    "nc": nc,
    "ss": ss,
    "drops": drops,
    "doctor": doctor,
    "drill": drill,
    "conformance": conformance,
}
"""Each module has `add_arguments(parser)` and `run(arguments) -> status`; its docstring's first line is its help."""

FAILED = 1
INTERRUPTED = 128 + signal.SIGINT


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    result = argparse.ArgumentParser(prog="ustack", description="A user-space IPv4/IPv6 stack on Linux TUN.")
    result.add_argument("--version", action="version", version=f"ustack {__version__}")
    commands = result.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, module in COMMANDS.items():
        assert module.__doc__ is not None, "commands have docstrings"
        summary = module.__doc__.partition("\n")[0].partition(": ")[2]
        module.add_arguments(commands.add_parser(name, help=summary, description=summary))
    return result


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    arguments = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, _end_by_signal)
    try:
        status: int = COMMANDS[arguments.command].run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (CommandError, OSError, ValueError) as failure:
        say(_words(failure))
        return FAILED
    return status


def _end_by_signal(number: int, _: object) -> None:
    """Leave by the way of an exception, so that namespaces and devices go."""
    sys.exit(128 + number)


def _words(failure: Exception) -> str:
    if isinstance(failure, OSError) and failure.strerror:
        return f"{failure.strerror}: {failure.filename}" if failure.filename else failure.strerror
    return str(failure) or type(failure).__name__


if __name__ == "__main__":
    sys.exit(main())
