"""`ustack serve`: serve HTTP of a directory, echo, discard, chargen and daytime on a stack."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from ustack.cli import services, station
from ustack.cli.output import CommandError, say
from ustack.cli.station import Station

LOOK_SECONDS = 0.2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack serve`."""
    for service, port in services.WELL_KNOWN_PORTS.items():
        parser.add_argument(
            f"--{service}", metavar="PORT", type=int, nargs="?", const=port, help=f"serve {service} (port {port})"
        )
    parser.add_argument("--directory", type=Path, default=Path(), help="what HTTP serves (the current one)")
    station.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C; without a choice, HTTP."""
    wanted = {service: getattr(arguments, service) for service in services.WELL_KNOWN_PORTS}
    chosen = {service: port for service, port in wanted.items() if port is not None} or {"http": 80}
    if not arguments.directory.is_dir():
        raise CommandError(f"{arguments.directory} is no directory")
    with station.open_station(arguments) as running:
        for service, port in chosen.items():
            _start(running, service, port, arguments.directory)
        say("serving until Ctrl-C; `ustack ss` shows the sockets, `ustack drops` what was dropped")
        while not running.driver.stopped:
            time.sleep(LOOK_SECONDS)
    raise CommandError("the device is gone")


def _start(running: Station, service: str, port: int, directory: Path) -> None:
    if service == "http":
        services.start_http(running.driver, directory, port)
        colon = "" if port == services.WELL_KNOWN_PORTS["http"] else f":{port}"
        say(f"http of {os.path.relpath(directory)}: ustack ns -- curl http://{running.stack[0]}{colon}/")
    else:
        services.start(running.driver, service, port)
        say(f"{service}: ustack ns -- nc {running.stack[0]} {port}")
