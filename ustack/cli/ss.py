"""`ustack ss`: show the sockets of running stacks, with their states, queues and timers."""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

from ustack.cli.output import CommandError, console, duration, show_json, table
from ustack.observe import control
from ustack.observe.snapshot import SocketRow, TcpRow


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of `ustack ss`."""
    parser.add_argument("--stack", metavar="PID", type=int, help="only the stacks of this process")
    parser.add_argument("-i", "--info", action="store_true", help="also windows, round-trip time and counts of TCP")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Show the sockets of every running stack of this user."""
    stacks = ask_all(arguments.stack)
    if arguments.json:
        show_json(stacks)
        return 0
    for stack in stacks:
        show_sockets(f"{title(stack)}", stack["sockets"], info=arguments.info)
    return 0


def ask_all(pid: int | None) -> list[dict[str, Any]]:
    """What every running stack says of itself, with its snapshot.  Raises CommandError if there is none."""
    stacks = []
    for path in control.running():
        with contextlib.suppress(OSError, ValueError):
            about = control.ask(path, "about")
            if pid in (None, about["pid"]):
                stacks.append({**about, **control.ask(path, "snapshot")})
    if not stacks:
        which = "of this user" if pid is None else f"in process {pid}"
        raise CommandError(f"no running stack {which}; `ustack serve` starts one")
    return stacks


def title(stack: dict[str, Any]) -> str:
    """A line about a running stack."""
    return f"{stack['command']} (process {stack['pid']}), {', '.join(stack['addresses'])}"


def show_sockets(heading: str, sockets: list[SocketRow], *, info: bool = False) -> None:
    """Print a table of sockets."""
    rows = table(
        "protocol", "state", "recv-q", "send-q", "local", "remote", "timers",
        title=heading, right=("recv-q", "send-q"),
    )  # fmt: skip
    for socket in sockets:
        timers = ", ".join(f"{timer['name']} in {duration(timer['due_in_ns'])}" for timer in socket["timers"])
        rows.add_row(
            socket["protocol"],
            socket["state"],
            str(socket["receive_queue"]),
            str(socket["send_queue"]),
            endpoint_words(socket["local_address"], socket["local_port"]),
            endpoint_words(socket["remote_address"], socket["remote_port"]),
            timers,
        )
    console.print(rows)
    if info:
        _show_tcp(sockets)


def endpoint_words(address: str, port: int) -> str:
    """`10.9.0.2:80`, `[fd09::2]:80`, `*:80`."""
    return f"{f'[{address}]' if ':' in address else address}:{port or '*'}"


def _show_tcp(sockets: list[SocketRow]) -> None:
    for socket in sockets:
        if socket["tcp"] is not None:
            local = endpoint_words(socket["local_address"], socket["local_port"])
            remote = endpoint_words(socket["remote_address"], socket["remote_port"])
            console.print(f"{local} ↔ {remote}: {_tcp_words(socket['tcp'])}", soft_wrap=True)


def _tcp_words(tcp: TcpRow) -> str:
    words = [
        f"{tcp['congestion_control']} cwnd {tcp['cwnd']} ssthresh {tcp['ssthresh']} flight {tcp['flight']}",
        f"rtt {duration(tcp['srtt_ns'])}±{duration(tcp['rttvar_ns'])} rto {duration(tcp['rto_ns'])}",
        f"mss {tcp['snd_mss']} windows {tcp['snd_wnd']}/{tcp['rcv_wnd']}",
        f"sent {tcp['delivered']} received {tcp['bytes_received']} retransmitted {tcp['bytes_retransmitted']}",
    ]
    return ", ".join(words)
