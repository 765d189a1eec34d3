"""Approval look-ups: from disk, from a disk whose reads are slow, from memory, while others store.

A look-up is what a request does with the credential and the orders at hand: one file is found, read and parsed
(`approvals.find`), judged, and its hash compared with the credential's. From disk the hash is computed each time, as a
launcher must; a resident process keeps it beside the credential.

A closed loop is measured twice. *Saturated*: fifty processes that do nothing else share the machine's cores, so the
time of one look-up is mostly waiting for a core. *Paced*: each thinks for 20 to 50 ms in between, as fifty clients do
that have something else to do.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench.lookups import Taken, Work, store
from pullpass import approvals

if TYPE_CHECKING:
    import argparse

READERS, WRITERS = 50, 2
THINK_MS = (20.0, 50.0)
# One resident process that is asked as often as fifty of those.
RESIDENT_MS = (THINK_MS[0] / READERS, THINK_MS[1] / READERS)
NO_PAUSE = (0.0, 0.0)
SLOW_READ_US = 4000
RENEWED_S = 1800.0  # after half of an hour's life
SAVES_PER_S = 100.0  # as 180,000 approvals that are renewed that often


class Case(NamedTuple):
    """One row of the table.

    Attributes:
        tier: `disk`, `slow disk` or `memory`.
        mode: `saturated` or `paced`.
        readers: how many processes.
        think_ms: their pauses.
        goal_us: what the 99th percentile should be below.
        saves_per_s: how many approvals are stored meanwhile; 0: as many as the disk takes.
    """

    tier: str
    mode: str
    readers: int
    think_ms: tuple[float, float]
    goal_us: float
    saves_per_s: float = 0.0


CASES = (
    Case("disk", "saturated", READERS, NO_PAUSE, 1000),
    Case("disk", "paced", READERS, THINK_MS, 1000),
    Case("slow disk", "saturated", READERS, NO_PAUSE, 5000),
    Case("slow disk", "paced", READERS, THINK_MS, 5000),
    Case("slow disk", "paced", READERS, THINK_MS, 5000, SAVES_PER_S),
    Case("memory", "saturated", READERS, NO_PAUSE, 5),
    Case("memory", "saturated", 1, NO_PAUSE, 5),
    Case("memory", "paced", 1, RESIDENT_MS, 5),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--approvals", default="500,2000,100000", metavar="N,...", help="default 500,2000,100000")
    parser.add_argument("--seconds", type=float, default=5.0, metavar="S", help="of each row (default 5)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    rows = []
    with tempfile.TemporaryDirectory(prefix="pullpass-bench-") as scratch:
        slow = build(Path(scratch))
        for count in [int(part) for part in arguments.approvals.split(",")]:
            place = approvals.directory(f"{scratch}/{count}")
            store(place, count)
            possible = [case for case in CASES if case.tier != "slow disk" or slow is not None]
            rows += [(count, case, measure(place, count, case, arguments.seconds, slow)) for case in possible]
            shutil.rmtree(place)
    if arguments.json:
        text = json.dumps([{"approvals": count, **case._asdict(), **taken._asdict()} for count, case, taken in rows])
    else:
        text = table(rows, slow is not None)
    print(text)  # noqa: T201 - a measurement prints its result


def build(scratch: Path) -> Path | None:
    """The library that makes a disk slow; None without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return None
    library = scratch / "slow.so"
    source = Path(__file__).with_name("slow.c")
    subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


def measure(place: str, count: int, case: Case, seconds: float, slow: Path | None) -> Taken:
    """Measure one row, in a process of its own."""
    is_memory = case.tier == "memory"
    # From disk it does not matter which approvals change, and writers store as fast as they can. What memory holds of
    # one that has changed must be read again, so there each changes as often as it is renewed.
    saves_per_s = max(1.0, count / RENEWED_S) if is_memory else case.saves_per_s
    work = Work(
        place, count, "memory" if is_memory else "disk", case.readers, seconds, case.think_ms, WRITERS, saves_per_s
    )
    environment = {name: value for name, value in os.environ.items() if name in ("PATH", "PYTHONPATH", "TMPDIR")}
    if case.tier == "slow disk":
        environment |= {"LD_PRELOAD": str(slow), "SLOW_DIRECTORY": place, "SLOW_READ_US": str(SLOW_READ_US)}
    command = [sys.executable, "-P", "-m", "bench.lookups", json.dumps(work._asdict())]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    taken = Taken(**json.loads(done.stdout))
    if case.tier == "slow disk" and taken.p50_us < SLOW_READ_US:
        raise SystemExit("the slow disk was not slow: the library did not see the reads")
    return taken


def table(rows: list[tuple[int, Case, Taken]], has_slow: bool) -> str:
    """The figures for people; times in microseconds."""
    columns = f"{'look-ups/s':>12}{'failed':>8}{'p50':>9}{'p99':>9}{'p99.9':>9}{'CPU':>7}{'saves/s':>9}"
    lines = [f"{'approvals':>9}  {'from':<10}{'loop':<11}{'processes':>9}{columns}  goal for p99"]
    for count, case, taken in rows:
        verdict = "met" if taken.p99_us < case.goal_us else "missed"
        seconds = taken.lookups / taken.per_s
        lines.append(
            f"{count:>9}  {case.tier:<10}{case.mode:<11}{case.readers:>9}{taken.per_s:>12.0f}{taken.failed:>8}"
            f"{taken.p50_us:>9.1f}{taken.p99_us:>9.1f}{taken.p999_us:>9.1f}{taken.cpu_us:>7.1f}"
            f"{taken.saves / seconds:>9.1f}  {case.goal_us:g}: {verdict}"
        )
    if not has_slow:
        lines.append("Without a C compiler there is no slow disk to measure: apt-get install gcc libc6-dev")
    return "\n".join(lines)
