"""The chain of a trail: which line does not fit, and what that says.

A line fits when its `seq` is the next one and its `prev` the hash of the line before. The first line that does not fit
does not tell by itself what is wrong, so it waits for the one behind it: that one goes on either from it, or from the
line before it, or from neither. Memory is constant, however long the trail and however damaged it is.

What is told apart is what a person wants to know first. An edit that is told by another name is found all the same:
every byte is under a hash, every hash under the next line, the last one under the head.
"""

from __future__ import annotations

import json
from collections import Counter, deque
from typing import Any, NamedTuple

from pullpass.errors import outside
from pullpass.trail import lines, repair

FINDING = "finding"
NOTE = "note"
KEPT = 1000  # findings that are shown; all are counted
_MOVED_KEPT = 64
_SAID_BY_WRITERS = {
    repair.FOREIGN_LINE: "a writer has found lines that are not of the chain",
    repair.TRAIL_CUT: "a writer has found the trail cut",
    repair.HEAD_LOST: "a writer has found no head that could be read",
}


class Finding(NamedTuple):
    """Something that is to be told.

    Attributes:
        severity: `finding` or `note`; only a finding makes the trail doubtful.
        code: stable, kebab-case.
        file: the file's name; "" for the trail as a whole.
        line: counted from 1; 0 for the file as a whole.
        text: for people.
    """

    severity: str
    code: str
    file: str
    line: int
    text: str

    @property
    def place(self) -> str:
        """`FILE:LINE`, as far as there is one; "" for the trail as a whole."""
        return f"{self.file}:{self.line}" if self.line else self.file


class Line(NamedTuple):
    """A line in its place."""

    raw: lines.Raw
    front: lines.Front | None
    file: str
    number: int
    end: int  # the offset behind its line feed


class Chain:
    """Follows the lines of a trail.

    Attributes:
        seq: of the last line that fitted.
        hash: of that line.
        last: that line; None before the first.
        start: `seq` and hash that the first line goes on from; 0 and `NO_HASH` unless files were pruned.
        fitted: how many lines fitted.
        through: `seq` and hash of what was pruned, as each `pruned` line says.
        watched: hash and place of each line whose `seq` was asked for.
        counts: how many there are of each severity.
    """

    def __init__(self, watch: set[int]) -> None:
        """Begin.

        Args:
            watch: which lines' hashes will be asked for.
        """
        self.seq, self.hash, self.last = 0, lines.NO_HASH, None  # type: int, str, Line | None
        self.start = (0, lines.NO_HASH)
        self.fitted = 0
        self.through: list[tuple[int, str, Line]] = []
        self.watched: dict[int, Line] = {}
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self._watch = watch
        self._suspect: Line | None = None
        self._left: tuple[int, str, Line | None] | None = None  # where the chain was before it jumped
        self._unnamed: list[Line] = []  # lines that do not belong, which the next warnings may name
        self._cut_off: list[Line] = []  # those of them that begin as the line would that was due there
        self._moved: deque[tuple[int, str]] = deque(maxlen=_MOVED_KEPT)

    def tell(self, severity: str, code: str, where: Line | None, text: str) -> None:
        """Note a finding.

        Args:
            severity: `FINDING` or `NOTE`.
            code: its code.
            where: its line; None for the trail as a whole.
            text: for people.
        """
        file, number = (where.file, where.number) if where else ("", 0)
        self.add(Finding(severity, code, file, number, text))

    def add(self, finding: Finding) -> None:
        """Note a finding."""
        self.counts[finding.severity] += 1
        if self.counts[finding.severity] <= KEPT:
            self.findings.append(finding)

    def feed(self, line: Line) -> None:
        """Take the next line."""
        suspect = self._suspect
        if self._fits(line) or self._returns(line):
            if suspect is not None:
                self._suspect = None
                self._reject(suspect)
            self._accept(line)
        elif suspect is None:
            self._suspect = line
        else:
            self._suspect = None
            self._judge(suspect, line)

    def _returns(self, line: Line) -> bool:
        """Whether a line goes on from where the chain was before it jumped: what it jumped to was put in between."""
        if self._left is None or not _goes_on(line, self._left[0], self._left[1]):
            return False
        self.seq, self.hash, self.last = self._left
        self._left = None
        return True

    def _judge(self, suspect: Line, line: Line) -> None:
        """Say what is wrong with a line that does not fit, when the one behind it does not fit either."""
        if suspect.front and suspect.front.seq > self.seq and _goes_on(line, suspect.front.seq, suspect.raw.hash):
            self._believe(suspect)
            self._accept(line)
        elif line.front and line.raw.whole and line.front.seq == self.seq + 2:
            self.tell(
                FINDING, "changed", suspect, f"this is not the line {self.seq + 1} that line {self.seq + 2} follows"
            )
            self._jump(line)
        else:
            self._reject(suspect)
            self._suspect = line

    def finish(self, last_seq: int, last_hash: str) -> None:
        """End, with what the head says about the last line."""
        suspect, self._suspect = self._suspect, None
        if suspect is not None:
            if not suspect.raw.whole and self.seq >= last_seq:  # whole lines that the head does not know may precede it
                self.tell(NOTE, "half-line-open", suspect, "a writer was killed here; the next one closes the line off")
            elif self._is_last(suspect, last_seq, last_hash):
                self._believe(suspect)
            else:
                self._reject(suspect)
        if self.seq >= last_seq:  # what the next writer will name
            for line in self._cut_off:
                self._unnamed.remove(line)
                self.tell(NOTE, "half-line-open", line, "a writer was killed here; the next one names the half line")
        self._settle()

    def _is_last(self, line: Line, last_seq: int, last_hash: str) -> bool:
        front = line.front
        if front is None or not line.raw.whole or front.seq <= self.seq:
            return False
        return (front.seq, line.raw.hash) == (last_seq, last_hash)

    def _fits(self, line: Line) -> bool:
        return _goes_on(line, self.seq, self.hash)

    def _accept(self, line: Line) -> None:
        assert line.front is not None  # noqa: S101 - it fits, or is followed by one that does
        self.seq, self.hash, self.last = line.front.seq, line.raw.hash, line
        self.fitted += 1
        if self.seq in self._watch:
            self.watched[self.seq] = line
        data = line.raw.data
        if b'"event":"warning"' in data:
            self._warned(line)
        elif self._unnamed:
            self._settle()
        if b'"event":"pruned"' in data:
            self._pruned(line)

    def _believe(self, line: Line) -> None:
        """Go on with a line that does not fit, because the one behind it, or the head, was chained to it."""
        assert line.front is not None  # noqa: S101 - what is chained to has a number
        seq, prev = line.front
        if self.last is None and seq > 1:
            self.start = (seq - 1, prev)
        elif seq == self.seq + 1:
            text = f"this is not the line {self.seq} that line {seq} follows"
            if self.last is None:
                self.tell(FINDING, "changed", line, "the first line follows another one")
            else:
                self.tell(FINDING, "changed", self.last, text)
        elif (seq - 1, prev) in self._moved:
            self.tell(FINDING, "reordered", line, f"{_numbers(self.seq + 1, seq - 1)} should stand before this one")
        else:
            self.tell(FINDING, "removed", line, f"{_numbers(self.seq + 1, seq - 1)} missing before this one")
        self._jump(line)

    def _jump(self, line: Line) -> None:
        self._left = (self.seq, self.hash, self.last) if self.last else None
        self._accept(line)

    def _reject(self, line: Line) -> None:
        """Leave a line out of the chain; what it is, is said when it is known whether a warning names it."""
        if line.front is not None:
            self._moved.append((line.front.seq, line.raw.hash))
        self._unnamed.append(line)
        if repair.is_cut_off(line.raw, self.seq, self.hash):
            self._cut_off.append(line)
        if len(self._unnamed) > KEPT:
            self._settle()

    def _settle(self) -> None:
        for line in self._unnamed:
            if not line.raw.whole:
                self.tell(FINDING, "half-line", line, "half a line, which no writer has named")
            elif line.front is None:
                self.tell(FINDING, "foreign-line", line, "this is not a line of the trail")
            else:
                text = f"line {line.front.seq} does not belong here, behind line {self.seq}"
                self.tell(FINDING, "inserted", line, text)
        self._unnamed.clear()
        self._cut_off.clear()

    def _warned(self, line: Line) -> None:
        """A warning: it may be one about the trail itself."""
        warning = _members(line)
        code = warning.get("code")
        if "sha256" in warning:
            named = (warning.get("bytes"), warning["sha256"])
            fitting = [half for half in self._unnamed if (half.raw.length, half.raw.hash) == named]
            self._unnamed = [half for half in self._unnamed if half not in fitting]
            self._cut_off = [half for half in self._cut_off if half not in fitting]
            if fitting:
                text = f"half a line of a writer that was killed, closed off and named by line {self.seq}"
                self.tell(NOTE, "half-line-closed", fitting[0], text)
            elif code == repair.HALF_LINE:
                self.tell(FINDING, "half-line-gone", line, "this names half a line that is not there as it was")
        if code in _SAID_BY_WRITERS:
            self.tell(FINDING, str(code), line, f"{_SAID_BY_WRITERS[str(code)]}{_loss(warning)}")

    def _pruned(self, line: Line) -> None:
        through = _members(line).get("through")
        if isinstance(through, dict) and type(through.get("seq")) is int and lines.is_hash(through.get("hash")):
            self.through.append((through["seq"], through["hash"], line))


def loss_text(first: int, last: int, synced: int) -> str:
    """Whether a power failure explains that lines are missing at the end.

    Args:
        first: the first missing line.
        last: the last one.
        synced: the last line that is known to have been on disk.
    """
    if synced >= first:
        return f"{_numbers(first, min(synced, last))} on disk already, so no power failure has taken them"
    return "a power failure may have taken them: they were not known to be on disk"


def _loss(warning: dict[str, Any]) -> str:
    last, synced = warning.get("last"), warning.get("synced")
    message = f": {outside(str(warning['message']))}" if "message" in warning else ""
    if isinstance(last, dict) and type(last.get("seq")) is int and type(synced) is int:
        message += f"; the last line was {last['seq']}, on disk up to {synced}"
    return message


def _members(line: Line) -> dict[str, Any]:
    try:
        members = json.loads(line.raw.data)
    except ValueError:
        return {}
    return members if isinstance(members, dict) else {}


def _goes_on(line: Line, seq: int, last: str) -> bool:
    front = line.front
    return front is not None and front.seq == seq + 1 and front.prev == last and line.raw.whole


def _numbers(first: int, last: int) -> str:
    return f"line {first} is" if first == last else f"lines {first} to {last} are"
