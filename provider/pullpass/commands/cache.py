"""`pullpass cache`: the credentials that are kept, and the key that they are kept under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass import config
from pullpass.clock import SystemClock
from pullpass.commands import Output, Subcommand, showing
from pullpass.errors import ANSWERED, number_of
from pullpass.upkeep import credentials, listing

if TYPE_CHECKING:
    import argparse

    from pullpass.upkeep.credentials import Entry

DESCRIPTION = """The credential cache on this node: whose entry each is and whether it opens, never what is in it.

It protects copies of its files. Who is root here can read the key, and with it the credentials."""
EXAMPLE = """  pullpass cache list
  pullpass cache rotate-key"""

HEADINGS = ("KEY", "SERVICE ACCOUNT", "IDENTITY", "BYTES", "DECRYPTS", "ENDS", "PROBLEM")
SHOWN_CHARS = 12
ENTRIES = ("entry", "entries")


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def _list(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    found = credentials.entries(settings, showing.progress("entries read"))
    return Output(
        ANSWERED,
        map(credentials.document, found),
        showing.table(HEADINGS, map(_row, found), "no cached credentials"),
    )


def _row(entry: Entry) -> tuple[str, ...]:
    return (
        entry.key[:SHOWN_CHARS],
        listing.account(entry.approval) if entry.approval else "",
        entry.approval.identity if entry.approval else "",
        str(entry.size_bytes),
        "no" if entry.ends_s is None else "yes",
        showing.second(entry.ends_s),
        entry.problem,
    )


def _prune_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dry-run", action="store_true", help="only count")


def _prune(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    tell = showing.progress("entries read")
    done = credentials.prune(settings, SystemClock(), dry_run=arguments.dry_run, tell=tell)
    verb = "would be removed" if arguments.dry_run else "removed"
    text = (
        f"{number_of(done['removed'], *ENTRIES)} {verb}, {done['kept']} kept, {done['busy']} in use, "
        f"{done['foreign']} of another version or no entries\n"
    )
    return Output(ANSWERED, {"dryRun": arguments.dry_run, **done}, text)


def _rotate(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    done = credentials.rotate(settings, SystemClock(), showing.progress("entries kept under the new key"))
    kept = f"{number_of(done.kept, *ENTRIES)} {'is' if done.kept == 1 else 'are'} kept under it"
    text = (
        f"the cache has a new key: {kept}, {done.removed} removed that did not open or "
        f"had no approval, {done.foreign} of another version or no entries left alone\n"
    )
    return Output(ANSWERED, done._asdict(), text)


SUBCOMMANDS = {
    "list": Subcommand(
        "the entries, whose they are and whether they open",
        "  pullpass cache list --json | jq '.[] | select(.decrypts | not)'",
        _no_arguments,
        _list,
    ),
    "prune": Subcommand(
        "remove entries that no approval makes usable", "  pullpass cache prune --dry-run", _prune_arguments, _prune
    ),
    "rotate-key": Subcommand(
        "put another key in the place of the one there is; credentials are served all the while",
        "  pullpass cache rotate-key",
        _no_arguments,
        _rotate,
    ),
}
