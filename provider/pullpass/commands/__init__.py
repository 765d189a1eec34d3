"""The commands, one module each: `DESCRIPTION`, `EXAMPLE`, `add_arguments`, `run`.

A module with several commands has `SUBCOMMANDS` in place of the last two: name -> `Subcommand`. Their options stand
after the last word: `pullpass audit show --json`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterable


class Output(NamedTuple):
    """What a command has found.

    A long list is given as an iterator and printed as it comes, so that nobody holds it whole. An error while it is
    printed ends it where it is: half an array is no JSON, so a reader can't take it for the whole.

    Attributes:
        status: the exit status.
        document: what `--json` prints; an iterator is printed as one array of its items.
        text: the same for people, with its last line feed; or its pieces.
    """

    status: int
    document: Any
    text: str | Iterable[str]


class Subcommand(NamedTuple):
    """One of the commands of a module that has several.

    Attributes:
        summary: one line of help.
        example: lines for its `--help`, each indented by two blanks.
        add_arguments: declares its own options.
        run: does it and returns what is to be printed; a `PullpassError` becomes the one line on stderr.
    """

    summary: str
    example: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], Output]
