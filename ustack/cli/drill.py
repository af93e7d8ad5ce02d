"""`ustack drill`: run packetdrill scripts against the stack, in virtual time.

Paths are scripts or directories of scripts.  Each script runs on a simulated host of its own: no root, no device, no
waiting.  A line for each that does not pass and a table by directory go to standard output; `--json` gives a line of
JSON for each instead.  The exit status is 0 only if all pass, with `--compare` only if both stacks' verdicts agree.

`--against kernel` runs the scripts in real time on the kernel's own sockets, in a namespace that ustack makes for each.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from rich.progress import Progress
from rich.text import Text

from ustack.cli.output import console, errors, table
from ustack.observe.pcapng import PcapngWriter
from ustack.packetdrill.runner import run_file
from ustack.packetdrill.settings import KERNEL, Settings, exact, for_version
from ustack.packetdrill.suite import Job, by_directory, find_scripts, run_jobs, version_of
from ustack.packetdrill.verdict import Result, Verdict

_STYLES = {Result.PASS: "green", Result.FAIL: "red", Result.UNSUPPORTED: "yellow"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of the command."""
    parser.add_argument("paths", metavar="PATH", nargs="+", help="a script, or a directory with scripts below it")
    parser.add_argument("--ip", choices=("4", "6", "both"), help="the IP version (default: 4)")
    parser.add_argument("-D", "--define", metavar="NAME=VALUE", action="append", default=[], help="replace a word")
    parser.add_argument("--strict", action="store_true", help="packets that a script does not mention are an error")
    parser.add_argument("--tolerance-us", metavar="N", type=_tolerance, help="how late or early is right (0: exactly)")
    parser.add_argument("--trace", action="store_true", help="show the packets of every script")
    parser.add_argument("--pcapng", metavar="FILE", help="write the packets to a capture")
    parser.add_argument("--json", action="store_true", help="print a line of JSON for each script")
    parser.add_argument("-j", "--jobs", metavar="N", type=_jobs, default=1, help="run in N processes")
    parser.add_argument(
        "--against", metavar="DEVICE", help="run on another stack, in real time: `kernel` in a namespace"
    )
    parser.add_argument("--compare", action="store_true", help="run on ustack and on the kernel, side by side")
    parser.add_argument("-q", "--quiet", action="store_true", help="print the table only")


def _tolerance(text: str) -> int:
    value = int(text)
    if value < 0:
        raise ValueError(text)
    return value


def _jobs(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def run(arguments: argparse.Namespace) -> int:
    """Run the scripts; 0 if all pass."""
    scripts = find_scripts(arguments.paths)
    if not scripts:
        raise ValueError("no scripts there")
    jobs = _plan(scripts, arguments)
    if arguments.compare:
        return _compare(jobs, arguments)
    verdicts = list(_show(_verdicts(jobs, arguments), len(jobs), arguments))
    if not arguments.json:
        _summary(verdicts)
    return 0 if all(verdict.result is Result.PASS for verdict in verdicts) else 1


def _plan(scripts: list[str], arguments: argparse.Namespace) -> list[Job]:
    """Each script over each wanted version that it is for; what is not said is IPv4, or what the script is for."""
    wanted = {"4": (4,), "6": (6,), "both": (4, 6)}.get(arguments.ip)
    jobs = []
    for version in wanted or (4, 6):
        for path in scripts:
            only = version_of(path)
            if version == (only or (version if wanted else 4)) or (wanted and path in arguments.paths):
                jobs.append(Job(path, _settings(version, arguments)))
    return jobs


def _settings(version: int, arguments: argparse.Namespace) -> Settings:
    defines = {}
    for text in arguments.define:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise ValueError(f"-D wants NAME=VALUE, not {text}")
        defines[name] = value
    settings = for_version(version, defines=defines, strict=arguments.strict, against=arguments.against or "")
    return settings if arguments.tolerance_us is None else exact(settings, arguments.tolerance_us)


def _verdicts(jobs: list[Job], arguments: argparse.Namespace) -> Iterable[Verdict]:
    if arguments.pcapng is None:
        yield from run_jobs(jobs, arguments.jobs)
        return
    with Path(arguments.pcapng).open("wb") as stream:
        writer = PcapngWriter(stream)
        for job in jobs:
            yield run_file(job.path, job.settings, writer.packet)


def _show(verdicts: Iterable[Verdict], count: int, arguments: argparse.Namespace) -> Iterable[Verdict]:
    """Print each verdict when it is there, with a bar for how far it is."""
    with Progress(console=errors, transient=True, disable=not errors.is_terminal or count < 2) as progress:
        task = progress.add_task("scripts", total=count)
        for verdict in verdicts:
            progress.advance(task)
            _print(verdict, arguments)
            yield verdict


def _print(verdict: Verdict, arguments: argparse.Namespace) -> None:
    if arguments.json:
        sys.stdout.write(json.dumps(verdict.as_json()) + "\n")
    elif not arguments.quiet and (verdict.result is not Result.PASS or arguments.trace):
        console.print(
            Text(verdict.explain(with_exchange=arguments.trace or verdict.result is Result.FAIL)), soft_wrap=True
        )


def _compare(jobs: list[Job], arguments: argparse.Namespace) -> int:
    """Run every script on ustack and on the kernel; 0 if all verdicts are the same."""
    device = arguments.against or KERNEL
    others = [Job(job.path, replace(job.settings, against=device)) for job in jobs]
    ours = [replace(job, settings=replace(job.settings, against="")) for job in jobs]
    grid = table("script", "IP", "ustack", device, "why")
    equal = True
    pairs = zip(run_jobs(ours, arguments.jobs), run_jobs(others, arguments.jobs), strict=True)
    for own, other in pairs:
        equal &= own.result is other.result
        if arguments.json:
            against = {key: value for key, value in other.as_json().items() if key in ("verdict", "reason", "line")}
            sys.stdout.write(json.dumps(own.as_json() | {"against": against}) + "\n")
        results = (Text(each.result.value, style=_STYLES[each.result]) for each in (own, other))
        why = [f"{each.line}: {each.reason}" for each in (own, other) if each.result is not Result.PASS]
        grid.add_row(own.path, str(own.version), *results, Text("; ".join(why)))
    if not arguments.json:
        console.print(grid)
    return 0 if equal else 1


def _summary(verdicts: list[Verdict]) -> None:
    """How many of each result there are, by directory."""
    counts = by_directory(verdicts)
    grid = table("directory", *(result.value for result in Result), right=tuple(result.value for result in Result))
    for directory, found in sorted(counts.items()):
        grid.add_row(directory, *(Text(str(found[each] or "·"), style=_STYLES[each]) for each in Result))
    total = [sum(found[each] for found in counts.values()) for each in Result]
    if len(counts) > 1:
        grid.add_row("all", *map(str, total), style="bold")
    console.print(grid)
