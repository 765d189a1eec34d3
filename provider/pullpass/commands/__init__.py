"""The commands, one module each: `DESCRIPTION`, `EXAMPLE`, `add_arguments`, `run`."""

from __future__ import annotations

from typing import Any, NamedTuple


class Output(NamedTuple):
    """What a command has found.

    Attributes:
        status: the exit status.
        document: what `--json` prints.
        text: the same for people, with its last line feed.
    """

    status: int
    document: Any
    text: str
