"""What is made of the trail for people: tables, moments on the command line, progress."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from pullpass.config.checks import duration_ns
from pullpass.errors import PullpassError, escape, number_of, outside
from pullpass.store import moments
from pullpass.trail import selection

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.clock import Clock
    from pullpass.trail.selection import Found, Selection

PROGRESS_EVERY_S = 0.2
# heading -> how wide; the last one is as wide as it is
WIDTHS = {"TIME": 20, "EVENT": 15, "SERVICE ACCOUNT": 24, "IMAGE": 56, "IDENTITY": 48}
LAST = "DETAILS"


def moment_s(text: str, option: str, clock: Clock) -> float:
    """A moment as people write it: RFC 3339 in UTC, or a duration, which means that long ago.

    Args:
        text: what was written.
        option: the option that it stands behind.
        clock: for what is now.

    Returns:
        Seconds since the epoch.

    Raises:
        PullpassError: `usage`.
    """
    try:
        return clock.now_s() - duration_ns(text) / 10**9
    except ValueError:
        pass
    try:
        return moments.parse(text)
    except ValueError:
        what = f"{option}: {outside(text, 100)} is neither a moment nor a duration"
        raise PullpassError("usage", what, "write 2026-05-01T00:00:00Z, or 90m, 12h, 30d for that long ago") from None


def table(found: Selection, lines: Iterator[Found]) -> Iterator[str]:
    """Lines for people, as they come, with a footer.

    Args:
        found: counts what could not be read.
        lines: the lines.
    """
    yield _joined([*WIDTHS, LAST])
    count = 0
    for line in lines:
        yield _joined(_cells(line.members))
        count += 1
    yield f"{number_of(count, 'line')}\n"
    if found.unreadable:
        yield f"{unreadable_text(found)}\n"


def documents(found: Selection, lines: Iterator[Found]) -> Iterator[dict[str, Any]]:
    """The stored documents, and one more about lines that could not be read, if there are any.

    Args:
        found: counts what could not be read.
        lines: the lines.
    """
    for line in lines:
        yield line.members
    if found.unreadable:
        yield {"event": "unreadable", "lines": found.unreadable, "first": found.first_unreadable}


def unreadable_text(found: Selection) -> str:
    """How many lines could not be read, and what to do."""
    first = "" if found.unreadable == 1 else "the first "
    count = number_of(found.unreadable, "unreadable line")
    return f"{count}, {first}at {found.first_unreadable}: see `pullpass audit verify`"


def _cells(members: dict[str, Any]) -> list[str]:
    time = _text(members.get("time"))
    account = selection.account(members) or ("-" if members.get("serviceAccount", 0) is None else "")
    return [
        f"{time[:19]}Z" if len(time) == 27 else time,
        _text(members.get("event")),
        account,
        _text(members.get("image")),
        _text(members.get("identity")),
        _details(members),
    ]


def _details(members: dict[str, Any]) -> str:
    """What is particular to the event."""
    parts = []
    if "code" in members:
        parts.append(_text(members["code"]))
    if "message" in members:
        parts.append(_text(members["message"]))
    if "source" in members:
        parts.append(f"from {_text(members['source'])}")
    if "expires" in members:
        parts.append(f"until {_text(members['expires'])[:19]}Z")
    if isinstance(order := members.get("order"), dict):
        parts.append(f"{_text(order.get('action'))} {_text(order.get('id'))} {_text(members.get('done'))}")
    if isinstance(files := members.get("files"), list) and files:
        parts.append(f"{number_of(len(files), 'file')}, the last {_text(files[-1])}")
    if "file" in members:
        parts.append(_text(members["file"]))
    return ", ".join(parts)


def _text(value: object) -> str:
    """A value in a cell: whatever stands in the trail, it is printable and on one line."""
    return "" if value is None else escape(str(value))


def _joined(cells: list[str]) -> str:
    padded = [cell.ljust(width) for cell, width in zip(cells, WIDTHS.values(), strict=False)]
    return "  ".join([*padded, cells[-1]]).rstrip() + "\n"


class Progress:
    """How far a long scan has come, on stderr, if that is a terminal."""

    def __init__(self, clock: Clock) -> None:
        """Begin.

        Args:
            clock: for not writing too often.
        """
        self._clock = clock
        self._next_s = clock.monotonic_s() + PROGRESS_EVERY_S
        self._is_shown = False
        self._stream = sys.stderr if sys.stderr is not None and sys.stderr.isatty() else None

    def __call__(self, done: int, total: int) -> None:
        """Show how much is done, or take it away when all is."""
        if self._stream is None:
            return
        now_s = self._clock.monotonic_s()
        if done < total and now_s >= self._next_s:
            self._next_s = now_s + PROGRESS_EVERY_S
            self._is_shown = True
            self._stream.write(f"\r{100 * done // total:3d} % of {total / 2**20:.0f} MiB")
            self._stream.flush()
        elif done >= total and self._is_shown:
            self._is_shown = False
            self._stream.write("\r\x1b[K")
            self._stream.flush()
