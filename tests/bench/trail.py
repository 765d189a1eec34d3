"""What it takes to work on a long audit trail: time, processor time and memory of the commands, as whole processes."""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.lookups import IMAGE, key_of
from pullpass import trail
from pullpass.store import moments
from support import FakeClock

if TYPE_CHECKING:
    import argparse

LINES, BATCH, DAYS = 1_000_000, 1000, 30
ACCOUNTS = 1000
KEEP_S = 365 * 86400.0
FIRST_S = moments.parse("2026-05-01T00:00:00Z")
KEYS = tuple(key_of(number) for number in range(ACCOUNTS))
# Each is run with `--trail` and the directory; {} is a directory to write to.
COMMANDS: dict[str, tuple[str, ...]] = {
    "verify": ("verify",),
    "show, the newest 20": ("show", "--limit", "20"),
    "show, the newest 20 of one account": ("show", "--service-account", "team-a/web-7", "--limit", "20"),
    "show, one hour": ("show", "--since", "2026-05-10T00:00:00Z", "--until", "2026-05-10T01:00:00Z"),
    "export, JSON lines": ("export", "--format", "jsonl", "--output", "{}/lines.jsonl"),
    "export, CSV": ("export", "--format", "csv", "--output", "{}/lines.csv"),
    "export, Parquet": ("export", "--format", "parquet", "--output", "{}/lines.parquet"),
}


class Row(NamedTuple):
    """What one command took.

    Attributes:
        name: of the command, or what made the trail.
        wall_s, cpu_s: seconds.
        peak_bytes: the most memory of the process.
        written_bytes: to standard output or to the file.
    """

    name: str
    wall_s: float
    cpu_s: float
    peak_bytes: int
    written_bytes: int


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--lines", type=int, default=LINES, metavar="N", help=f"default {LINES:,}; 10 million are 10 GiB"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Make a trail, and run the commands on it."""
    with tempfile.TemporaryDirectory(prefix="pullpass-bench-") as scratch:
        size_bytes = make(scratch, arguments.lines)
        rows = [measure(name, words, scratch) for name, words in COMMANDS.items()]
    if arguments.json:
        document = {"lines": arguments.lines, "bytes": size_bytes, "rows": [row._asdict() for row in rows]}
        print(json.dumps(document))  # noqa: T201 - a measurement prints its result
    else:
        print(table(arguments.lines, size_bytes, rows))  # noqa: T201


def make(state: str, count: int) -> int:
    """Write a trail as requests do, spread over some days; its size in bytes."""
    chance, clock = random.Random(count), FakeClock(now_s=FIRST_S)
    for begin in range(0, count, BATCH):
        bodies = [body(chance) for _ in range(min(BATCH, count - begin))]
        trail.append(state, bodies, clock, wait_s=1.0, sync=False, keep_s=KEEP_S)
        clock.advance(DAYS * 86400.0 * BATCH / count)
    return sum(path.stat().st_size for path in Path(state, trail.DIRECTORY).iterdir())


def body(chance: random.Random) -> dict[str, Any]:
    """One line, as a request that is served leaves it."""
    account = chance.randrange(ACCOUNTS)
    return {
        "event": "served",
        "cluster": "prod-1",
        "serviceAccount": {
            "namespace": "team-a",
            "name": f"web-{account}",
            "uid": "c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33",
        },
        "pod": f"web-{account}-7c9d",
        "node": "node-1",
        "image": IMAGE,
        "registry": IMAGE.partition("/")[0],
        "grant": "team images",
        "identity": "arn:aws:iam::111122223333:role/pull-team-a",
        "opens": "ecr:aws:111122223333:us-west-2:team-a/app",
        "approval": KEYS[account],
        "source": "cache",
        "expires": "2026-05-31T00:00:00.000000Z",
        "registryExpires": "2026-05-31T00:00:00.000000Z",
        "cacheDurationS": 300,
        "credentialHash": KEYS[account],
        "principal": "arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1_team-a_web",
        "accessKeyId": "ASIAXXXXXXXXXXXXXXXX",
        "requestIds": ["c6104cbe-af31-11e0-8154-cbc7ccf896c7"],
        "jti": f"{chance.getrandbits(128):032x}",
    }


def measure(name: str, words: tuple[str, ...], scratch: str) -> Row:
    """Run one command to its end."""
    where = [word.format(scratch) for word in words]
    command = [sys.executable, "-P", "-m", "pullpass", "audit", where[0], "--trail", f"{scratch}/{trail.DIRECTORY}"]
    shown = f"{scratch}/shown"
    began_s = time.monotonic()
    child = os.posix_spawn(
        command[0],
        command + where[1:],
        os.environ,
        file_actions=[(os.POSIX_SPAWN_OPEN, 1, shown, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)],
    )
    _, status, used = os.wait4(child, 0)
    took_s = time.monotonic() - began_s
    if status:
        raise SystemExit(f"`pullpass {' '.join(command[4:] + where[1:])}` failed")
    written_bytes = os.stat(shown).st_size + (os.stat(where[-1]).st_size if "--output" in words else 0)
    return Row(name, took_s, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, written_bytes)


def table(count: int, size_bytes: int, rows: list[Row]) -> str:
    """The figures for people."""
    lines = [f"{count:,} lines, {size_bytes / 2**20:,.0f} MiB", ""]
    lines.append(f"{'pullpass audit':<38}{'seconds':>9}{'CPU s':>9}{'lines/s':>12}{'peak MiB':>10}{'written MiB':>13}")
    lines += [
        f"{row.name:<38}{row.wall_s:>9.2f}{row.cpu_s:>9.2f}{count / row.wall_s:>12,.0f}"
        f"{row.peak_bytes / 2**20:>10.0f}{row.written_bytes / 2**20:>13.2f}"
        for row in rows
    ]
    return "\n".join(lines)
