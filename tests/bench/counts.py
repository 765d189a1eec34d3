"""What bursts of pods cost, by the local cloud's own counters: the bursts of tests/integration/test_bursts.py."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from cloud import Cloud
from integration.bursts import GROUPS, WIDTH, Burst, Count, Node

if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--pods", type=int, metavar="N", help="pods of each service account (default 25)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Start the bursts, each group on a node of its own, and print what they cost."""
    rows: list[tuple[Burst, Count]] = []
    with Cloud() as cloud:
        for group in GROUPS:
            cloud.reset()
            with tempfile.TemporaryDirectory(prefix="pullpass-bench-") as place:
                node = Node(Path(place), cloud)
                for burst in group:
                    asked = burst._replace(pods=arguments.pods or burst.pods)
                    rows.append((asked, node.start(asked)[0]))
    if arguments.json:
        text = json.dumps([{"name": burst.name, "width": WIDTH, **count._asdict()} for burst, count in rows])
    else:
        text = table(rows)
    print(text)  # noqa: T201 - a measurement prints its result


def table(rows: list[tuple[Burst, Count]]) -> str:
    """The counts for people."""
    heads = ("requests", "at once", "exchanges", "passwords", "refused", "approvals", "repositories", "rotations")
    lines = [f"{'burst':<56}" + "".join(f"{head:>{len(head) + 2}}" for head in heads) + "   took"]
    for burst, count in rows:
        cells = (
            count.requests,
            WIDTH,
            count.exchanges,
            count.passwords,
            count.refused,
            count.approvals,
            span(count.repositories),
            span(count.rotations),
        )
        numbers = "".join(f"{cell!s:>{len(head) + 2}}" for cell, head in zip(cells, heads, strict=True))
        lines.append(f"{burst.name:<56}{numbers}{count.took_s:>5.0f} s")
    return "\n".join(lines)


def span(numbers: tuple[int, int]) -> str:
    """One number for all approvals, or the least and the most."""
    least, most = numbers
    return str(least) if least == most else f"{least} to {most}"
