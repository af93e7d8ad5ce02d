"""Many scripts: finding them, running them in one process or several, and what came of it by directory."""

from __future__ import annotations

import multiprocessing
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ustack.packetdrill.runner import run_file
from ustack.packetdrill.settings import Settings
from ustack.packetdrill.verdict import Result, Verdict

SUFFIX = ".pkt"
_MORE_RUNS = 2
_VERSION = re.compile(r"^--ip_version=\"?(ipv4|ipv6|ipv4-mapped-ipv6)\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Job:
    """One script over one IP version."""

    path: str
    settings: Settings


def find_scripts(paths: Iterable[str]) -> list[str]:
    """The scripts that paths name, and those below directories, sorted.  Raises FileNotFoundError."""
    found: list[str] = []
    for text in paths:
        path = Path(text)
        if path.is_dir():
            found += sorted(str(script) for script in path.rglob(f"*{SUFFIX}"))
        elif path.exists():
            found.append(text)
        else:
            raise FileNotFoundError(2, "No such file or directory", text)
    return list(dict.fromkeys(found))


def version_of(path: str) -> int | None:
    """The only IP version that a script is for, by the end of its name or by its options; None if it is for both."""
    for version in (4, 6):
        if Path(path).stem.endswith(f"v{version}"):
            return version
    try:
        found = _VERSION.search(Path(path).read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return None
    return (6 if found.group(1) == "ipv6" else 4) if found else None


def run_jobs(jobs: list[Job], processes: int = 1) -> Iterator[Verdict]:
    """The verdicts, in the order of the jobs."""
    if processes <= 1 or len(jobs) <= 1:
        yield from map(run_job, jobs)
        return
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        yield from pool.imap(run_job, jobs, chunksize=4)


def run_job(job: Job) -> Verdict:
    """Run one script; in real time once more, and again, when nothing but the time was wrong."""
    verdict = run_file(job.path, job.settings)
    for _ in range(_MORE_RUNS if job.settings.against else 0):
        if "timing error" not in verdict.reason:
            break
        verdict = run_file(job.path, job.settings)
    return verdict


def by_directory(verdicts: Iterable[Verdict]) -> dict[str, Counter[Result]]:
    """How many of each result there are below each directory."""
    counts: dict[str, Counter[Result]] = {}
    for verdict in verdicts:
        counts.setdefault(str(Path(verdict.path).parent), Counter())[verdict.result] += 1
    return counts
