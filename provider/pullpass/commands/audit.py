"""`pullpass audit`: the audit trail, shown, verified, exported."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pullpass import config, patterns, report, trail
from pullpass.approvals import order_form
from pullpass.clock import SystemClock
from pullpass.commands import Output, Subcommand
from pullpass.errors import ANSWERED, FINDINGS, PullpassError, number_of, outside
from pullpass.trail import export, reading, selection, verify

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

DESCRIPTION = """The audit trail: who was given what, as whom, when, until when, and why.

docs/audit.md has the format, and what the chain of hashes proves and what not."""
EXAMPLE = """  pullpass audit show --since 24h --service-account 'team-a/*' --outcome refused
  pullpass audit verify"""
STDOUT = "-"  # as --output
COUNT_DIGITS = 18  # of a number on the command line


def _add_trail(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--trail", metavar="DIR", help="read this directory, a copy for example (default: audit in paths.state)"
    )


def _add_filters(parser: argparse.ArgumentParser) -> None:
    _add_trail(parser)
    parser.add_argument("--since", metavar="T", help="not before: 2026-05-01T00:00:00Z, or 12h for that long ago")
    parser.add_argument("--until", metavar="T", help="before, written likewise")
    parser.add_argument("--service-account", metavar="NS/NAME", help="a glob, as in a grant")
    parser.add_argument("--image", metavar="GLOB", help="HOST/REPOSITORY, a glob as in an order")
    parser.add_argument("--event", metavar="E", choices=selection.EVENTS, help=f"one of {', '.join(selection.EVENTS)}")
    outcomes = sorted(set(selection.OUTCOMES.values()))
    parser.add_argument("--outcome", metavar="O", choices=outcomes, help=f"one of {', '.join(outcomes)}")
    parser.add_argument("--limit", metavar="N", type=_count, help="the newest N lines only")


def _count(text: str) -> int:
    """How many, on the command line; what is no such number is a `PullpassError`, `usage`."""
    # `int` alone would take blanks, signs, underscores and digits of other scripts as well. What is longer than this is
    # more than the machine can count, and no trail has so many lines.
    if not (text.isascii() and text.isdigit() and len(text) <= COUNT_DIGITS and int(text)):
        what = f"--limit: {outside(text, 100) or 'nothing'} is no count, expected a whole number from 1"
        raise PullpassError("usage", what)
    return int(text)


def _directory(arguments: argparse.Namespace) -> str:
    if arguments.trail is None:
        return os.path.join(config.load(arguments.config).paths.state, trail.DIRECTORY)
    directory: str = arguments.trail
    if not os.path.isdir(directory):
        raise PullpassError("usage", f"--trail: {outside(directory)} is no directory")
    return os.path.abspath(directory)


def _check_is_trail(directory: str) -> None:
    """Refuse a directory without a file of a trail: no lines of it would look like a node on which nothing was done."""
    try:
        names = os.listdir(directory)
    except OSError as error:
        raise reading.unreadable(directory, error) from None
    if not any(name == "head" or name.endswith(".jsonl") for name in names):
        what = f"--trail: {outside(directory)} is no audit trail, it has neither head nor a .jsonl file"
        raise PullpassError("usage", what)


def _check_glob(option: str, glob: str | None, check: Callable[[str], None]) -> None:
    """Refuse a glob that nothing can match: no lines of it would look like an answer."""
    if glob is None:
        return
    try:
        check(glob)
    except ValueError as error:
        raise PullpassError("usage", f'{option}: "{outside(glob, 100)}": {error}') from None


def _select(arguments: argparse.Namespace) -> tuple[selection.Selection, Iterator[selection.Found]]:
    """What the filters select: the selection, and its lines."""
    clock = SystemClock()
    moments = {
        name: None if text is None else report.moment_s(text, f"--{name}", clock)
        for name, text in (("since", arguments.since), ("until", arguments.until))
    }
    wanted = selection.Filter(
        moments["since"],
        moments["until"],
        arguments.service_account,
        arguments.image,
        arguments.event,
        arguments.outcome,
    )
    if wanted.since_s is not None and wanted.until_s is not None and wanted.since_s >= wanted.until_s:
        what = f"--since: {outside(arguments.since)} is not before --until, {outside(arguments.until)}"
        raise PullpassError("usage", what)
    _check_glob("--service-account", wanted.service_account, patterns.check_service_account_glob)
    _check_glob("--image", wanted.image, order_form.check_image)
    directory = _directory(arguments)
    if arguments.trail is not None:
        _check_is_trail(directory)
    picture = reading.take(directory, clock)
    found = selection.Selection(picture, wanted, report.Progress(clock))
    return found, found.all() if arguments.limit is None else found.newest(arguments.limit)


def run_show(arguments: argparse.Namespace) -> Output:
    """Show lines."""
    found, lines = _select(arguments)
    return Output(ANSWERED, report.documents(found, lines), report.table(found, lines))


def _add_verify(parser: argparse.ArgumentParser) -> None:
    _add_trail(parser)
    parser.add_argument(
        "--expect",
        metavar="SEQ:HASH",
        action="append",
        default=[],
        help="a head that was noted earlier, outside of this machine, must still be in the chain; may be repeated",
    )


def run_verify(arguments: argparse.Namespace) -> Output:
    """Check the chain."""
    expected = [verify.parse_expected(text) for text in arguments.expect]
    clock = SystemClock()
    is_copy = arguments.trail is not None
    checked = verify.verify(_directory(arguments), clock, expected, report.Progress(clock), is_copy=is_copy)
    return Output(FINDINGS if checked.found else ANSWERED, verify.document(checked), verify.text(checked))


def _add_export(parser: argparse.ArgumentParser) -> None:
    _add_filters(parser)
    parser.add_argument("--format", required=True, choices=export.FORMATS, help="jsonl has the stored bytes")
    parser.add_argument("--output", metavar="F", required=True, help="the file to write, mode 0600; - for stdout")


def run_export(arguments: argparse.Namespace) -> Output:
    """Write lines to a file, or to standard output."""
    is_stdout = arguments.output == STDOUT
    if is_stdout and arguments.format == "parquet":
        raise PullpassError("usage", "--output: - is standard output, and Parquet needs a file")
    if is_stdout and arguments.json:
        raise PullpassError("usage", "--output: - is standard output, which --json needs for itself")
    found, lines = _select(arguments)
    if is_stdout:
        count = export.to_stdout(lines, arguments.format)
        sys.stderr.write(_written(count, "standard output", found))
        return Output(ANSWERED, None, "")
    count = export.export(lines, arguments.format, arguments.output)
    document = {
        "output": os.path.abspath(arguments.output),
        "format": arguments.format,
        "lines": count,
        "unreadable": found.unreadable,
    }
    return Output(ANSWERED, document, _written(count, document["output"], found))


def _written(count: int, where: str, found: selection.Selection) -> str:
    text = f"wrote {number_of(count, 'line')} to {where}\n"
    return text + (f"left out {report.unreadable_text(found)}\n" if found.unreadable else "")


SUBCOMMANDS = {
    "show": Subcommand(
        "show lines, the newest last",
        "  pullpass audit show --since 24h --image '111122223333.dkr.ecr.*.amazonaws.com/**' --limit 50",
        _add_filters,
        run_show,
    ),
    "verify": Subcommand(
        "find changed, removed, reordered and inserted lines, and a cut end; exit status 1 when there are any",
        "  pullpass audit verify --json > /mnt/elsewhere/head.json\n  pullpass audit verify --expect 4711:9f86d081...",
        _add_verify,
        run_verify,
    ),
    "export": Subcommand(
        "write lines to a file, as JSON lines, CSV or Parquet",
        "  pullpass audit export --format csv --output may.csv --since 2026-05-01T00:00:00Z",
        _add_export,
        run_export,
    ),
}
