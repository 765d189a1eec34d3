"""The command line of `scripts/conformance`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING

from conformance import build
from conformance.checks import CHECKS
from conformance.examine import examine
from conformance.interview import Options
from conformance.kubelet import BARE_ENVIRONMENT, RunnerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conformance.checks import Check, Report

DESCRIPTION = """Compares pullpass with the programs it has to agree with, built from their own source.

Without arguments every suite runs: the kubelet's exec-plugin code and keyring with plugins that misbehave on purpose,
with pullpass's launchers, and with ecr-credential-provider. The exit status is 0 when there is no difference."""

BUILD = """Builds the Go programs into .build/ and holds our own Go code to gofmt and go vet. Minutes at first, seconds
later. The command `go` is looked for in PATH and in /usr/local/go; GO names another."""

PLUGIN = """Examines any kubelet image credential provider plugin by the kubelet's own code: what the kubelet would do
with it, and what the kubelet would hide. An image costs the plugin about four exchanges with its cloud.

The exit status is 0 without findings, 1 with findings, 2 when the examination itself failed."""

EXAMPLE = """example:
  scripts/conformance plugin --bin-dir /usr/libexec/kubelet-plugins --config providers.yaml \\
    --image 111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app:v1 --token-file token \\
    --annotation eks.amazonaws.com/ecr-role-arn=arn:aws:iam::111122223333:role/pull-team-a \\
    --refuse 111122223333.dkr.ecr.us-west-2.amazonaws.com/team-b/app

checks:
"""


def main(arguments: Sequence[str]) -> int:
    """Run a command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="scripts/conformance", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    commands.add_parser("build", help="build the Go programs, and check our own Go code", description=BUILD)
    plugin = commands.add_parser(
        "plugin",
        help="examine any plugin",
        description=PLUGIN,
        epilog=EXAMPLE + "\n".join(f"  {name:<16}{meaning}" for name, meaning in CHECKS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _plugin_arguments(plugin)
    parsed = parser.parse_args(arguments)
    try:
        return _plugin(parsed) if parsed.command == "plugin" else _build()
    except (build.BuildError, RunnerError) as error:
        print(f"scripts/conformance: {error}", file=sys.stderr)
        return 2


def _plugin_arguments(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--bin-dir", metavar="D", required=True, help="the kubelet's --image-credential-provider-bin-dir")
    add("--config", metavar="F", required=True, help="the kubelet's --image-credential-provider-config")
    add("--image", metavar="I", action="append", default=[], help="an image that must get a credential; repeatable")
    add("--refuse", metavar="I", action="append", default=[], help="an image that must get none; repeatable")
    add("--token-file", metavar="F", help="a service-account token for the providers with tokenAttributes")
    add("--annotation", metavar="K=V", action="append", default=[], help="of the service account; repeatable")
    add("--env", metavar="K=V", action="append", default=[], help="of the kubelet, which has a bare one; repeatable")
    add("--json", action="store_true", help="print one document")


def _plugin(parsed: argparse.Namespace) -> int:
    try:
        token = None
        if parsed.token_file is not None:
            with open(parsed.token_file, encoding="utf-8") as stream:
                token = stream.read().strip()
        options = Options(
            bin_dir=parsed.bin_dir,
            config=parsed.config,
            images=tuple(parsed.image),
            refuse=tuple(parsed.refuse),
            token=token,
            annotations=_pairs(parsed.annotation, "--annotation"),
            environment={**BARE_ENVIRONMENT, **_pairs(parsed.env, "--env")},
        )
    except (OSError, ValueError) as error:
        print(f"scripts/conformance plugin: {error}", file=sys.stderr)
        return 2
    if not build.is_built("kubelet-plugins"):
        print("building the kubelet's own code: this takes minutes, once", file=sys.stderr)
    report = examine(build.build("kubelet-plugins"), options)
    version = build.kubernetes_version()
    print(document(report, version) if parsed.json else table(report, version))
    return 1 if report.findings else 0


def _pairs(values: Sequence[str], flag: str) -> dict[str, str]:
    pairs = {}
    for value in values:
        key, equals, rest = value.partition("=")
        if not equals or not key:
            raise ValueError(f"{flag} takes KEY=VALUE, not {value!r}")
        pairs[key] = rest
    return pairs


def document(report: Report, version: str) -> str:
    """The report as JSON."""
    checks = [check._asdict() for check in _ordered(report)]
    return json.dumps({"kubernetes": version, "findings": report.findings, "checks": checks}, indent=2)


def table(report: Report, version: str) -> str:
    """The report for people: a heading for each provider and image, a line for each check."""
    lines, heading = [], None
    for check in _ordered(report):
        if heading != (check.provider, check.image):
            heading = (check.provider, check.image)
            lines += ["", ", ".join(part for part in heading if part) or "configuration"]
        lines.append(f"  {check.result:<8} {check.name:<16} {_one_line(check.text)}")
    findings = "no findings" if not report.findings else f"{report.findings} findings"
    return "\n".join(
        [*lines, "", f"{len(report.checks)} results by the kubelet's code of {version}: {findings}"]
    ).lstrip()


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _ordered(report: Report) -> list[Check]:
    """By provider and image as they were given, then in the order of the table of checks."""
    places: dict[tuple[str, str], int] = {}
    for check in report.checks:
        places.setdefault((check.provider, check.image), len(places))
    order = list(CHECKS)
    providers = list(dict.fromkeys(check.provider for check in report.checks))

    def place(check: Check) -> tuple[int, int, int]:
        return providers.index(check.provider), places[check.provider, check.image], order.index(check.name)

    return sorted(report.checks, key=place)


def _build() -> int:
    for name, program in build.PROGRAMS.items():
        print(f"building {name}: {program.what} ...", end=" ", flush=True)
        start = time.monotonic()
        build.build(name)
        print(f"{time.monotonic() - start:.0f} s", flush=True)
    build.vet()
    return 0
