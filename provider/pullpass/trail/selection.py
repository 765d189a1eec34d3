"""Which lines of the trail somebody wants to see.

Reading does not check the chain: that is `trail.verify`. A line that can't be read is counted, not passed over in
silence. Memory does not depend on the length of the trail.
"""

from __future__ import annotations

import json
import os
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import patterns
from pullpass.store import moments
from pullpass.trail import lines, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pullpass.trail.reading import Part, Picture

    Progress = Callable[[int, int], None]

PROGRESS_LINES = 1 << 14
DAY_S = 86400

# event -> what became of it, in one word
OUTCOMES = {
    "issued": "ok",
    "served": "ok",
    "rotated": "ok",
    "anonymous": "ok",
    "outage": "ok",
    "would-refuse": "ok",
    "refused": "refused",
    "denied": "refused",
    "exchange-failed": "failed",
    "warning": "warning",
    "recovered": "warning",
    "order": "change",
    "expired": "change",
    "pruned": "change",
}
EVENTS = tuple(OUTCOMES)
OTHER = "other"  # an event of a later version


class Filter(NamedTuple):
    """What a line must be like; None for anything.

    Attributes:
        since_s: not before this moment, seconds since the epoch.
        until_s: before this moment.
        service_account: a `namespace/name` glob.
        image: a glob as in a grant.
        event: the event's name.
        outcome: a value of `OUTCOMES`.
    """

    since_s: float | None = None
    until_s: float | None = None
    service_account: str | None = None
    image: str | None = None
    event: str | None = None
    outcome: str | None = None


class Found(NamedTuple):
    """A line that was asked for: its bytes, and what they say."""

    raw: bytes
    members: dict[str, Any]


class Selection:
    """The lines of a picture that pass a filter.

    Attributes:
        unreadable: how many lines could not be read so far.
        first_unreadable: the place of the first of them, `FILE:LINE`.
    """

    def __init__(self, picture: Picture, wanted: Filter, progress: Progress) -> None:
        """Prepare to read.

        Args:
            picture: the trail.
            wanted: which lines.
            progress: told how many bytes of how many are read.
        """
        self._picture = picture
        self._wanted = wanted
        self._progress = progress
        self._since = "" if wanted.since_s is None else moments.text(wanted.since_s)
        self._until = "~" if wanted.until_s is None else moments.text(wanted.until_s)  # "~" is behind every digit
        self._event = (
            b"" if wanted.event is None else f'"event":"{wanted.event}"'.encode()
        )  # spares most of the reading
        self._done = 0
        self._total = sum(part.size_bytes for part in picture.parts)
        self.unreadable = 0
        self.first_unreadable = ""

    def all(self) -> Iterator[Found]:
        """Every line, the newest last.

        Raises:
            PullpassError: `trail-unreadable`.
        """
        for part in self._picture.parts:
            yield from self._read(part)
        self._progress(self._total, self._total)

    def newest(self, limit: int) -> Iterator[Found]:
        """The newest `limit` lines, the newest last; files before them are not read.

        Raises:
            PullpassError: `trail-unreadable`.
        """
        found: deque[Found] = deque()
        for part in reversed(self._picture.parts):
            found.extendleft(reversed(deque(self._read(part), maxlen=limit - len(found))))
            if len(found) >= limit:
                break
        self._progress(self._total, self._total)
        yield from found

    def _read(self, part: Part) -> Iterator[Found]:
        try:
            descriptor = reading.open_part(self._picture, part)
        except reading.Gone:  # pruned meanwhile: too old to be shown
            return
        try:
            if self._may_hold(part, descriptor):
                yield from self._read_open(part, descriptor)
        except OSError as error:
            raise reading.unreadable(os.path.join(self._picture.directory, part.name.text()), error) from None
        finally:
            os.close(descriptor)
        self._done += part.size_bytes

    def _may_hold(self, part: Part, descriptor: int) -> bool:
        """Whether a file can hold lines of the wanted time.

        In a file are lines up to the end of its day, and none from more than a day before its first one
        (`trail.rotation`); after a crash the last ones may be of a later day.
        """
        first_s, last_s = (_time_s(edge(descriptor)) for edge in (lines.first, lines.last))
        if first_s is None or last_s is None:
            return True
        if self._wanted.until_s is not None and first_s - DAY_S > self._wanted.until_s:
            return False
        if self._wanted.since_s is None:
            return True
        end_s = max(last_s, moments.parse(f"{part.name.day}T00:00:00Z"))
        return (end_s // DAY_S + 1) * DAY_S > self._wanted.since_s

    def _read_open(self, part: Part, descriptor: int) -> Iterator[Found]:
        place = 0
        for number, raw in enumerate(lines.read(descriptor, 0, part.size_bytes, _NoHash), 1):
            place += raw.length + raw.whole
            if number % PROGRESS_LINES == 0:
                self._progress(self._done + place, self._total)
            members = self._members(raw)
            if members is None:
                self.unreadable += 1
                self.first_unreadable = self.first_unreadable or f"{part.name.text()}:{number}"
            elif members and _passes(members, self._wanted):
                yield Found(raw.data, members)

    def _members(self, raw: lines.Raw) -> dict[str, Any] | None:
        """What a line says: nothing, when it is of another time; None, when it can't be read."""
        if lines.front(raw.data) is None or not raw.whole:
            return None
        if not self._since <= lines.time_of(raw.data) < self._until or self._event not in raw.data:
            return {}
        try:
            members = json.loads(raw.data.decode("ascii"))
        except ValueError:
            return None
        return members if isinstance(members, dict) else None


class _NoHash:
    """In the place of SHA-256, for lines whose hash nobody looks at."""

    def __init__(self, data: bytes) -> None:
        """Do nothing."""

    def update(self, data: bytes) -> None:
        """Do nothing."""

    def hexdigest(self) -> str:
        """Nothing."""
        return ""


def outcome(event: object) -> str:
    """What became of it, in one word."""
    return OUTCOMES.get(event, OTHER) if isinstance(event, str) else OTHER


def account(members: dict[str, Any]) -> str:
    """`namespace/name` of a line; "" when it has none."""
    found = members.get("serviceAccount")
    return f"{found.get('namespace', '')}/{found.get('name', '')}" if isinstance(found, dict) else ""


def _passes(members: dict[str, Any], wanted: Filter) -> bool:
    event = members.get("event")
    if wanted.event is not None and event != wanted.event:
        return False
    if wanted.outcome is not None and outcome(event) != wanted.outcome:
        return False
    if wanted.service_account is not None and not patterns.glob_matches(wanted.service_account, account(members)):
        return False
    return wanted.image is None or patterns.glob_matches(wanted.image, str(members.get("image", "")))


def _time_s(line: bytes) -> float | None:
    if lines.front(line) is None:
        return None
    try:
        return moments.parse(lines.time_of(line))
    except ValueError:
        return None
