"""`ustack demo`: serve HTTP on a stack, fetch from it, and show why each packet went where it went.

Where this machine grants no device, a second stack at the end of an in-memory pipe plays the client.
"""

from __future__ import annotations

import argparse
import contextlib
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler

from rich.text import Text

from ustack.cli import services, station
from ustack.cli.drops import show_drops
from ustack.cli.neighbour import STACK, KernelNeighbour, Neighbour, second_stack
from ustack.cli.output import CommandError, console, say
from ustack.cli.ss import show_sockets
from ustack.observe.ladder import Ladder, ladders
from ustack.observe.snapshot import Snapshot, snapshot
from ustack.observe.trace_log import TraceLog
from ustack.runtime.current import new_driver, use
from ustack.runtime.thread_driver import ThreadDriver

HTTP_PORT = 80
CLOSED_PORT = 4242
BODY = b"Hello from a TCP in user space.\n"
NARROWEST = 80


class Greeter(BaseHTTPRequestHandler):
    """Answers every GET with the same words, and logs nothing."""

    def do_GET(self) -> None:
        """The greeting."""
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name that http.server has
        """Say nothing: the ladder shows it all."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack demo`."""
    parser.add_argument("--pipe", action="store_true", help="use no device: a second stack at the end of a pipe")
    station.add_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """The whole demonstration."""
    if arguments.device:
        raise CommandError("the demo needs a namespace of its own, or --pipe")
    arguments.new = True
    log = TraceLog()
    with _stage(arguments, log) as (driver, neighbour):
        server = services.HttpServer(("::", HTTP_PORT), Greeter)
        driver.spawn(server.serve_forever)
        _act(neighbour)
        moment = driver.call(snapshot, driver.stack, driver.now())
        server.shutdown()
        server.server_close()
    _explain(moment, ladders(log.verdicts()))
    return 0


@contextlib.contextmanager
def _stage(arguments: argparse.Namespace, log: TraceLog) -> Iterator[tuple[ThreadDriver, Neighbour]]:
    """A running stack and somebody to talk to it."""
    with ExitStack() as resources:
        if not arguments.pipe:
            try:
                running = resources.enter_context(station.open_station(arguments, log))
            except OSError as refusal:
                say(f"no device is to be had here: {refusal.strerror} (`ustack doctor` says more)")
            else:
                assert running.namespace is not None, "a demo's station has a namespace"
                yield running.driver, KernelNeighbour(running.namespace)
                return
        driver = resources.enter_context(new_driver(fast_path=not arguments.no_fast_path))
        driver.stack.tracer = log
        neighbour = resources.enter_context(second_stack(driver, log))
        resources.enter_context(use(driver))
        say("using the in-memory pipe: a second ustack stack in this process plays the client")
        yield driver, neighbour


def _act(neighbour: Neighbour) -> None:
    _heading(f"What {neighbour.name} does")
    for address in STACK:
        fetched = neighbour.fetch(address)
        console.print(Text(f"{fetched.how}\n    {fetched.status}, {fetched.size} bytes"))
    for address in STACK:
        answer = neighbour.knock(address, CLOSED_PORT)
        console.print(Text(f"a UDP datagram to {address} port {CLOSED_PORT}, where nobody listens\n    {answer}"))


def _explain(moment: Snapshot, diagrams: list[Ladder]) -> None:
    _heading("The port table: who has which port, seen when all was done")
    show_sockets("", moment["sockets"])
    _heading("The exchange: each packet, and why it went where it went")
    for diagram in diagrams:
        for line in diagram.lines(max(NARROWEST, min(console.width, 120))):
            console.print(Text(line), soft_wrap=True)
        console.print()
    _heading("How the socket of the first packet was found")
    for line in _first_explanation(diagrams):
        console.print(Text(line), soft_wrap=True)
    _heading("What was dropped")
    show_drops("", moment["drops"])


def _first_explanation(diagrams: list[Ladder]) -> list[str]:
    """The candidates that were considered for the first packet that came in, in order."""
    for diagram in diagrams:
        for rung in diagram.rungs:
            if rung.verdict.comment:
                return rung.verdict.comment.split("; ")
    return []


def _heading(words: str) -> None:
    console.print()
    console.print(Text(words, "bold"))
