"""`scripts/bench NAME`: the measurements there are, by name."""

from __future__ import annotations

import argparse
import importlib
import sys

NAMES = {
    "start": "what a whole process imports and how long it takes, as ratios to a bare interpreter",
    "hit": "a cache hit as a whole process and in one, and what its time is made of",
    "approvals": "approval look-ups from disk, from a slow disk and from memory, while others store",
    "trail": "the commands on a long audit trail: time and memory",
    "counts": "what bursts of pods cost: exchanges, approvals, refusals",
}


def main() -> int:
    """Run one measurement."""
    parser = argparse.ArgumentParser(prog="scripts/bench", description="Measure, and print a table.")
    names = parser.add_subparsers(dest="name", metavar="NAME", required=True)
    for name, summary in NAMES.items():
        importlib.import_module(f"bench.{name}").add_arguments(names.add_parser(name, help=summary))
    arguments = parser.parse_args()
    importlib.import_module(f"bench.{arguments.name}").run(arguments)
    return 0


if __name__ == "__main__":
    sys.exit(main())
