"""A cache hit: as a whole process, in a process that goes on, and what its time is made of.

Every command runs once a round; the figure is the median over the rounds, of the times and of the ratios within a
round. Parts that are loaded are the difference to a process that loads less; parts that are done are timed in this
process, where everything is warm.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bench import start
from bench.start import BARE, BARE_NAME, Case
from cloud import Cloud
from factories import make_request
from integration.flows import GRANTS
from integration.launchers import ask, install, write_config
from pullpass import auditing, config, pipeline, stored, trail
from pullpass.clock import SystemClock
from pullpass.run import Found

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

LATENCY_S = 0.04
REPEATS = 300
LOADS = "from pullpass import config, exec_client, pipeline; from pullpass.clock import SystemClock"
CIPHER = "from pullpass.cache import cipher"


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        median_ms: of its time.
        ratio: to the bare interpreter.
    """

    name: str
    median_ms: float
    ratio: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=21, help="how often each command runs (default 21)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="pullpass-bench-") as place, Cloud() as cloud:
        directory = Path(place)
        path = write_config(directory, cloud, gcr="", grants=GRANTS)
        launcher = install(directory, path)
        raw = make_request(cloud.mint_token("team-a", "web"))
        if ask(launcher, raw).returncode:
            raise SystemExit("the first request was not answered")
        wholes = processes(launcher, raw, arguments.rounds, directory)
        cloud.fault("*", "latency", None, seconds=LATENCY_S)
        wholes += exchanges(cloud, launcher, arguments.rounds, wholes[0].median_ms)
        parts = inside(str(path), str(directory / "run"), raw, wholes[0].median_ms)
    if arguments.json:
        text = json.dumps({"processes": [row._asdict() for row in wholes], "inside": [row._asdict() for row in parts]})
    else:
        text = table(wholes, parts, arguments.rounds)
    print(text)  # noqa: T201 - a measurement prints its result


def processes(launcher: Path, raw: bytes, rounds: int, directory: Path) -> list[Row]:
    """The bare interpreter, what loads, and the hit."""
    libraries = next(line for line in launcher.read_text().splitlines() if line.startswith("sys.path.extend("))
    loading = [sys.executable, "-IS", "-c", f"import sys\n{libraries}\n{LOADS}"]
    cases = [
        Case(BARE_NAME, BARE, b"", 0),
        Case("it, and pullpass loaded", loading, b"", 0),
        Case("and the cipher's library", [*loading[:-1], f"{loading[-1]}\n{CIPHER}"], b"", 0),
        Case("cache hit", [str(launcher)], raw, 0),
    ]
    figures = start.measure(cases, {}, rounds, directory)
    return [Row(figure.name, figure.median_ms, figure.ratio) for figure in figures]


def exchanges(cloud: Cloud, launcher: Path, rounds: int, bare_ms: float) -> list[Row]:
    """Whole processes that exchange; each asks as another service account, as the first one's answer is kept."""
    took_ms = []
    for number in range(rounds):
        raw = make_request(cloud.mint_token("team-a", f"web-{number}"))
        began_s = time.perf_counter()
        done = ask(launcher, raw)
        took_ms.append((time.perf_counter() - began_s) * 1000)
        if done.returncode:
            raise SystemExit(f"an exchange failed: {done.stderr.decode()}")
    median_ms = statistics.median(took_ms)
    return [Row(f"exchange, {LATENCY_S * 1000:g} ms a round trip", median_ms, median_ms / bare_ms)]


def inside(path: str, runtime: str, raw: bytes, bare_ms: float) -> list[Row]:
    """The hit in this process, and its steps."""
    clock = SystemClock()
    deps = pipeline.Deps(lambda: config.load(path, runtime=runtime), clock)
    found = Found()
    pipeline.decide(raw, deps, found)
    case = found.case
    answer = pipeline.serve(raw, deps)
    if answer.status:
        raise SystemExit(f"the hit was not answered: {answer.stderr.decode()}")
    bodies = auditing.lines(found, case.config, None, 0)
    state, keep_s = case.config.paths.state, case.config.audit.keep_s
    steps: list[tuple[str, Callable[[], object]]] = [
        ("the whole hit", lambda: pipeline.serve(raw, deps)),
        ("configuration", lambda: config.load(path, runtime=runtime)),
        ("request to plan, orders included", lambda: pipeline.decide(raw, deps, Found())),
        ("approval and cached credential", lambda: stored.look_up(case.config, case.plan, (), clock.now_s())),
        ("trail line", lambda: trail.append(state, bodies, clock, wait_s=5.0, sync=False, keep_s=keep_s)),
    ]
    return [Row(name, median_ms := timed(step), median_ms / bare_ms) for name, step in steps]


def timed(step: Callable[[], object]) -> float:
    """The median time of a step, in milliseconds."""
    took_ns = []
    for _ in range(REPEATS):
        began_ns = time.perf_counter_ns()
        step()
        took_ns.append(time.perf_counter_ns() - began_ns)
    return statistics.median(took_ns) / 1_000_000


def table(wholes: list[Row], parts: list[Row], rounds: int) -> str:
    """The figures for people."""
    lines = [f"Python {sys.version.split()[0]}, {rounds} rounds", f"{'whole process':<40}{'median':>12}{'ratio':>9}"]
    lines += [f"{row.name:<40}{row.median_ms:>9.1f} ms{row.ratio:>8.1f}x" for row in wholes]
    lines.append("in one process (request to plan includes the configuration)")
    lines += [f"{row.name:<40}{row.median_ms:>9.3f} ms{row.ratio:>8.3f}x" for row in parts]
    return "\n".join(lines)
