"""`scripts/soak`: the storm, and the verdict."""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from integration.crowd import events
from pullpass import approvals
from soak import verdict
from soak.meddling import Meddler
from soak.stage import Stage
from soak.storm import Storm

if TYPE_CHECKING:
    from collections.abc import Mapping

SHOWN = 20


def main() -> int:
    """Run it; 1 when something was found."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description="Many processes at once, killed at random.")
    parser.add_argument("--duration", type=float, default=60.0, metavar="S", help="seconds of storm (default 60)")
    parser.add_argument("--processes", type=int, default=200, metavar="N", help="at once (default 200)")
    parser.add_argument("--seed", type=int, metavar="N", help="for the same choices again; the times still differ")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    seed = random.randrange(1 << 31) if arguments.seed is None else arguments.seed
    with tempfile.TemporaryDirectory(prefix="pullpass-soak-") as place, Stage(Path(place)) as stage:
        summary = soak(stage, arguments.processes, arguments.duration, seed)
    print(json.dumps(summary) if arguments.json else text(summary))  # noqa: T201 - a command line prints
    return 1 if summary["findings"] else 0


def soak(stage: Stage, processes: int, duration_s: float, seed: int) -> dict[str, Any]:
    """Storm and verdict, as a document."""
    before = stage.weight()
    storm, meddler = Storm(stage, processes, duration_s, seed), Meddler(stage, seed)
    meddler.start()
    try:
        storm.blow()
    finally:
        meddler.stopping.set()
        meddler.join()
    seen, counts = events(stage.state), stage.cloud.call("counts")
    found, verified = verdict.findings(stage, storm.runs, meddler.given, before)
    runs, after = storm.runs, stage.weight()
    answered = [run for run in runs if run.stdout]
    return {
        "seed": seed,
        "seconds": duration_s,
        "processes": len(runs),
        "atOnce": storm.most_alive,
        "killed": sum(run.killed for run in runs),
        "answered": len(answered),
        "answeredAndKilled": sum(run.killed for run in answered),
        "codes": dict(Counter(verdict.code_of(run) or "answered" for run in runs if not run.killed)),
        "commands": meddler.commands,
        "commandsKilled": meddler.killed,
        "orders": len(meddler.given),
        "events": seen,
        "exchanges": {name: count for name, count in counts.items() if not name.startswith("issuer.")},
        "approvals": sum(1 for _ in approvals.scan(str(stage.state))),
        "verified": {"lines": verified.get("lines"), "notes": verified.get("notes")},
        "cloud": {
            "bytes": [before[0], after[0]],
            "files": [before[1], after[1]],
        },
        "findings": meddler.faults + found,
    }


def text(summary: Mapping[str, Any]) -> str:
    """The summary for people."""
    found = summary["findings"]
    of = {name: _counts(summary[name]) for name in ("codes", "commands", "events", "exchanges")}
    bytes_, files = summary["cloud"]["bytes"], summary["cloud"]["files"]
    lines = [
        f"seed             {summary['seed']}",
        f"processes        {summary['processes']} in {summary['seconds']:g} s, up to {summary['atOnce']} at once",
        f"killed           {summary['killed']}, of which {summary['answeredAndKilled']} had answered",
        f"answered         {summary['answered']}",
        f"left with        {of['codes']}",
        f"commands         {of['commands']}; {summary['commandsKilled']} killed",
        f"orders           {summary['orders']} that are known to have been in force",
        f"trail            {of['events']}",
        f"verified         {summary['verified']['lines']} lines, {summary['verified']['notes']} notes",
        f"asked the cloud  {of['exchanges']}",
        f"approvals left   {summary['approvals']}",
        f"local cloud      {bytes_[0] >> 20} to {bytes_[1] >> 20} MiB, {files[0]} to {files[1]} files open",
        f"findings         {len(found) or 'none'}",
        *(f"  {one}" for one in found[:SHOWN]),
        *([f"  and {len(found) - SHOWN} more"] if len(found) > SHOWN else []),
    ]
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


if __name__ == "__main__":
    sys.exit(main())
