"""Long lists for people: a table that is printed as it is found, and how far a scan has come."""

from __future__ import annotations

import sys
from itertools import chain, islice
from typing import TYPE_CHECKING

from pullpass.errors import escape
from pullpass.store import moments

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

NOTHING = "-"  # an empty cell: a column that is blank can't be told from a wide one
# So many rows are looked at before the first is printed: what fits is sorted, and later rows are as wide as they are.
SAMPLE_ROWS = 1000


def table(
    headings: tuple[str, ...], rows: Iterable[tuple[str, ...]], nothing: str | Callable[[], str]
) -> Iterator[str]:
    """A table, in memory for its first rows only.

    Args:
        headings: of the columns.
        rows: their cells. Sorted when there are at most `SAMPLE_ROWS`, and as they come otherwise.
        nothing: what is said when there are none; a function where that is only known once all was looked at.
    """
    coming = iter(rows)
    sample = list(islice(coming, SAMPLE_ROWS + 1))
    if not sample:
        yield f"{nothing if isinstance(nothing, str) else nothing()}\n"
        return
    if len(sample) <= SAMPLE_ROWS:
        sample.sort()
    widths = [max(map(len, column)) for column in zip(headings, *map(_cells, sample), strict=True)]
    for row in chain([headings], sample, coming):
        yield "  ".join(map(str.ljust, _cells(row), widths)).rstrip() + "\n"


def _cells(row: tuple[str, ...]) -> list[str]:
    return [escape(cell) or NOTHING for cell in row]


def second(moment_s: float | None) -> str:
    """A moment to the second: `2026-11-24T16:00:00Z`; "" when there is none."""
    return f"{moments.text(moment_s)[:19]}Z" if moment_s else ""


def duration(length_s: float) -> str:
    """A duration as the configuration has it: `4h`, `1h30m`, `7d`.

    Args:
        length_s: in seconds; what is left of a second is shown as its fraction.
    """
    left_s, parts = length_s, ""
    for unit, unit_s in (("d", 86400), ("h", 3600), ("m", 60)):
        count, left_s = divmod(left_s, unit_s)
        parts += f"{count:.0f}{unit}" if count else ""
    return parts + (f"{left_s:g}s" if left_s or not parts else "")


def progress(what: str) -> Callable[[int], None] | None:
    """Tells a person who watches how far a long scan has come; None when nobody does.

    On stderr, and only there: a table that scrolls by on the same terminal is progress enough.

    Args:
        what: the noun of what is counted.
    """
    if sys.stderr is None or not sys.stderr.isatty() or (sys.stdout is not None and sys.stdout.isatty()):
        return None

    def tell(count: int) -> None:
        sys.stderr.write(f"\r{count:,} {what} ")
        sys.stderr.flush()

    return tell
