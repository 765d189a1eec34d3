"""Whole processes: how long each takes and what it imports, against a bare interpreter in the same run.

Every command runs once a round, so that a machine that changes its speed changes it for all of them; the figure is the
median over the rounds of the ratio within a round.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cloud import Cloud
from factories import HOST, make_request
from integration.flows import BY_NAME, GRANTS
from integration.launchers import forget, install, write_config

if TYPE_CHECKING:
    import argparse

BARE = [sys.executable, "-I", "-S", "-c", "pass"]
BARE_NAME = "bare interpreter"
EXCHANGES = ("ECR", "ECR, node", "Google, direct", "Google, impersonated", "Google, node")
CACHED = "ECR"
MODULES = "import sys; print('\\n'.join(sys.modules))"
# Runs a launcher's text and tells its modules at the moment it leaves, which no exit handler sees.
TELL = """
import sys, posix
text = open({launcher!r}).read()
leave = posix._exit
def tell(status):
    with open({report!r}, "w") as report:
        report.write("\\n".join(sys.modules))
    leave(status)
posix._exit = tell
exec(compile(text, {launcher!r}, "exec"))
"""


class Case(NamedTuple):
    """One command that is measured.

    Attributes:
        name: for the table.
        command: what is run.
        raw: its stdin.
        status: the exit status that it must have.
        calls: how often it asks a cloud.
    """

    name: str
    command: list[str]
    raw: bytes
    status: int
    calls: int = 0


class Figure(NamedTuple):
    """What was measured of a case."""

    name: str
    median_ms: float
    ratio: float
    calls: int
    modules: int
    third_parties: list[str]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--rounds", type=int, default=21, help="how often each command runs (default 21)")
    parser.add_argument("--latency", type=float, default=0.0, metavar="S", help="seconds per round trip of the cloud")
    parser.add_argument("--plugin", metavar="F", help="another provider's binary, for the same exchange")
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="pullpass-bench-") as place, Cloud() as cloud:
        directory = Path(place)
        config = write_config(directory, cloud, gcr="", grants=GRANTS)
        launcher = install(directory, config)
        if arguments.latency:
            cloud.fault("*", "latency", None, seconds=arguments.latency)
        token = cloud.mint_token("team-a", "web")
        granted, refused = make_request(token), make_request(token, f"{HOST}/team-b/app")
        explain = [sys.executable, "-IS", "-c", _command_line(launcher), "explain", "--config", str(config)]
        cases = [
            Case(BARE_NAME, BARE, b"", 0),
            Case("refusal", [str(launcher)], refused, 3),
            Case("explain", explain, granted, 0),
        ]
        for name in EXCHANGES:
            flow = BY_NAME[name]
            command, raw = [str(launcher.with_name(flow.launcher))], flow.request(flow.token(cloud))
            cases.append(Case(f"exchange: {name}", command, raw, 0, len(flow.calls)))
            if name == CACHED:  # right behind it: every exchange begins with an empty cache
                cases.append(Case("cache hit", command, raw, 0))
        environment: dict[str, str] = {}
        if arguments.plugin:
            cases.append(Case(Path(arguments.plugin).name, [arguments.plugin], granted, 0, 2))
            environment = {
                "AWS_ENDPOINT_URL_STS": cloud.endpoints.sts,
                "AWS_ENDPOINT_URL_ECR": cloud.endpoints.ecr,
                "AWS_ECR_ROLE_ARN": "arn:aws:iam::111122223333:role/pull-team-a",
            }
        figures = measure(cases, environment, arguments.rounds, directory)
    if arguments.json:
        text = json.dumps([figure._asdict() for figure in figures], indent=2)
    else:
        text = table(figures, arguments)
    sys.stdout.write(f"{text}\n")


def _command_line(launcher: Path) -> str:
    """The people's command line, with the same libraries and flags as the launcher."""
    libraries = next(line for line in launcher.read_text().splitlines() if line.startswith("sys.path.extend("))
    return f"import sys\n{libraries}\nfrom pullpass.__main__ import main\nsys.exit(main())"


def measure(cases: list[Case], environment: dict[str, str], rounds: int, directory: Path) -> list[Figure]:
    """Run every case once a round, and count what each imports in a run of its own."""
    took_s: dict[str, list[float]] = {case.name: [] for case in cases}
    for number in range(rounds + 2):
        for case in cases:
            if case.calls:
                forget(directory / "bin" / "pullpass-ecr")  # or it would be a cache hit
            began_s = time.perf_counter()
            done = subprocess.run(
                case.command, input=case.raw, capture_output=True, env=environment, cwd="/", check=False
            )
            if number >= 2:  # the first two warm the file cache up
                took_s[case.name].append(time.perf_counter() - began_s)
            if done.returncode != case.status:
                raise SystemExit(f"{case.name} left with {done.returncode}: {done.stderr.decode()}")
    bare = took_s[BARE_NAME]
    figures = []
    for case in cases:
        ratios = [mine / base for mine, base in zip(took_s[case.name], bare, strict=True)]
        modules = imported(case, directory)
        roots = {module.partition(".")[0] for module in modules} - set(sys.stdlib_module_names) - OURS
        figures.append(
            Figure(
                case.name,
                statistics.median(took_s[case.name]) * 1000,
                statistics.median(ratios),
                case.calls,
                len(modules),
                sorted(root for root in roots if not root.startswith("_")),
            )
        )
    return figures


OURS = {"pullpass", "sitecustomize"}


def imported(case: Case, directory: Path) -> set[str]:
    """The modules that a case imports beyond those of the bare interpreter; nothing for what is no Python of ours."""
    bare = _lines(subprocess.run([*BARE[:-1], MODULES], capture_output=True, env={}, check=True).stdout)
    if case.command == BARE:
        return set()
    if case.command[0].startswith(f"{directory}/"):
        report = directory / "modules"
        if case.calls:
            forget(directory / "bin" / "pullpass-ecr")
        command = [sys.executable, "-IS", "-c", TELL.format(launcher=case.command[0], report=str(report))]
        subprocess.run(command, input=case.raw, capture_output=True, env={}, cwd="/", check=False)
        return _lines(report.read_bytes()) - bare
    if case.command[0] == sys.executable:
        text = case.command[3].replace("sys.exit(main())", f"main(); {MODULES}")
        command = [*case.command[:3], text, *case.command[4:]]
        done = subprocess.run(command, input=case.raw, capture_output=True, env={}, cwd="/", check=True)
        return {line for line in _lines(done.stdout) if " " not in line} - bare
    return set()


def _lines(data: bytes) -> set[str]:
    return set(data.decode().split("\n")) - {""}


def table(figures: list[Figure], arguments: argparse.Namespace) -> str:
    """The figures for people."""
    lines = [
        f"Python {sys.version.split()[0]}, {arguments.rounds} rounds, {arguments.latency * 1000:g} ms a round trip",
        f"{'whole process':<32}{'median':>10}{'ratio':>8}{'calls':>7}{'modules':>9}  third parties",
    ]
    for figure in figures:
        third = ", ".join(figure.third_parties) or "none"
        figures_of = f"{figure.median_ms:>7.1f} ms{figure.ratio:>7.1f}x{figure.calls:>7}{figure.modules:>9}"
        lines.append(f"{figure.name:<32}{figures_of}  {third}")
    return "\n".join(lines)
