"""Checking a trail: the chain, its beginning and end, and the directory around it.

The trail may be written to meanwhile: what is checked is a picture (`trail.reading`), up to what was there when it was
taken.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass.errors import PullpassError, number_of, outside, shell_word
from pullpass.store import files
from pullpass.trail import chain, head, lines, reading
from pullpass.trail.chain import FINDING, NOTE, Chain, Finding, Line

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock
    from pullpass.trail.head import Head
    from pullpass.trail.reading import Part, Picture

    Progress = Callable[[int, int], None]

ATTEMPTS = 5
PROGRESS_LINES = 1 << 14
_OTHERS = 0o077


class Expected(NamedTuple):
    """A head that was noted earlier, somewhere else."""

    seq: int
    hash: str


class Report(NamedTuple):
    """What was found.

    Attributes:
        directory: the trail's.
        head: what the head says; None when there is none that can be read.
        confirmed: whether the line that the head names is in the chain as the head says.
        last: the last line of the chain; None when there is none.
        files: how many there are.
        lines: how many are of the chain.
        findings: the first of them, notes included.
        found: how many findings there are.
        noted: how many notes there are.
    """

    directory: str
    head: Head | None
    confirmed: bool
    last: Expected | None
    files: int
    lines: int
    findings: list[Finding]
    found: int
    noted: int


def parse_expected(text: str) -> Expected:
    """Read `SEQ:HASH`.

    Raises:
        PullpassError: `usage`.
    """
    seq, _, hashed = text.partition(":")
    if not seq.isascii() or not seq.isdigit() or not lines.is_hash(hashed):
        raise PullpassError(
            "usage", f"--expect: {outside(text, 100)} is not SEQ:HASH", "it is what verify prints as head"
        )
    return Expected(int(seq), hashed)


def verify(
    directory: str, clock: Clock, expected: list[Expected], progress: Progress, *, is_copy: bool = False
) -> Report:
    """Check a trail from its first line to its last.

    Args:
        directory: the trail's.
        clock: for waiting for a writer.
        expected: heads that were noted earlier.
        progress: told how many bytes of how many are read.
        is_copy: whether it was brought from elsewhere: then whose it is, and who could put another one there, says
            nothing about the trail.

    Returns:
        What was found. Memory does not depend on the length of the trail.

    Raises:
        PullpassError: `trail-unreadable`.
    """
    for _ in range(ATTEMPTS):
        picture = reading.take(directory, clock)
        try:
            return _Check(picture, expected, progress, is_copy=is_copy).run()
        except reading.Gone:  # pruned since: the next picture has the line that says so
            continue
    raise PullpassError("trail-unreadable", f"{outside(directory)}: a file has vanished {ATTEMPTS} times in a row")


class _Check:
    def __init__(
        self, picture: Picture, expected: list[Expected], progress: Progress, *, is_copy: bool = False
    ) -> None:
        self.picture = picture
        self.expected = expected
        self.progress = progress
        self.is_copy = is_copy
        self.confirmed = False
        watch = {wanted.seq for wanted in expected} | ({picture.head.seq} if picture.head else set())
        self.chain = Chain(watch)
        self.boundaries: dict[int, str] = {}  # the last line of each file: what a `pruned` line can name

    def run(self) -> Report:
        self._look_around()
        total = sum(part.size_bytes for part in self.picture.parts)
        done = 0
        for part in self.picture.parts:
            self._read(part, done, total)
            done += part.size_bytes
            self.boundaries[self.chain.seq] = self.chain.hash
        self.progress(total, total)
        at = self.picture.head
        self.chain.finish(at.seq if at else -1, at.hash if at else "")
        self._compare_start()
        self._compare_head()
        for wanted in self.expected:
            self._compare_expected(wanted)
        counts = self.chain.counts
        parts = len(self.picture.parts)
        last = Expected(self.chain.seq, self.chain.hash) if self.chain.last else None
        found = (self.chain.findings, counts[FINDING], counts[NOTE])
        return Report(self.picture.directory, at, self.confirmed, last, parts, self.chain.fitted, *found)

    def _tell(self, code: str, file: str, text: str, severity: str = FINDING) -> None:
        self.chain.add(Finding(severity, code, file, 0, text))

    def _look_around(self) -> None:
        if not self.is_copy:
            self._check_way()
        for name in self.picture.others:
            self._tell("foreign-file", outside(name), "this is not a file of the trail")
        names = [part.name.text() for part in self.picture.parts]
        for name in ["", *([] if self.picture.head_bytes is None else [head.NAME]), *names]:
            self._check_status(name)

    def _check_way(self) -> None:
        """Whether somebody else could put another trail in the place of this one, head and all."""
        try:
            files.check_way(self.picture.directory)
        except PullpassError as error:
            why = "who can do that can put another trail here, and every request is refused"
            self._tell("open-way", "", f"{error.what}: {why}; {error.hint}")
        except OSError as error:
            raise reading.unreadable(self.picture.directory, error) from None

    def _check_status(self, name: str) -> None:
        path = os.path.join(self.picture.directory, name) if name else self.picture.directory
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            if name:
                raise reading.Gone(path) from None
            return  # there is no trail yet
        except OSError as error:
            raise reading.unreadable(path, error) from None
        if not name and not stat.S_ISDIR(status.st_mode):
            self._tell("wrong-kind", name, "this is not a directory but leads to one")
        elif status.st_mode & _OTHERS:
            mode = f"the {'file' if name else 'directory'} is open to others (mode {stat.S_IMODE(status.st_mode):04o})"
            self._tell("wrong-mode", name, f"{mode}: `chmod {0o600 if name else 0o700:04o} {shell_word(path)}`")
        if status.st_uid != os.geteuid() and not self.is_copy:
            owner = f"the {'file' if name else 'directory'} belongs to user {status.st_uid}, not to {os.geteuid()}"
            self._tell("wrong-owner", name, owner)

    def _read(self, part: Part, done: int, total: int) -> None:
        name = part.name.text()
        descriptor = reading.open_part(self.picture, part)
        try:
            end = 0
            for number, raw in enumerate(lines.read(descriptor, 0, part.size_bytes, hashlib.sha256), 1):
                end += raw.length + raw.whole
                self.chain.feed(Line(raw, lines.front(raw.data), name, number, end))
                if number % PROGRESS_LINES == 0:
                    self.progress(done + end, total)
        except OSError as error:
            raise reading.unreadable(os.path.join(self.picture.directory, name), error) from None
        finally:
            os.close(descriptor)

    def _compare_start(self) -> None:
        """Whether a `pruned` line accounts for what is missing in front."""
        seq, prev = self.chain.start
        explained = not seq
        for through_seq, through_hash, line in self.chain.through:
            if through_seq == seq:
                explained = explained or through_hash == prev
            elif through_seq > seq:
                held = self.boundaries.get(through_seq)
                if held == through_hash:
                    explained = True
                    self.chain.tell(NOTE, "prune-unfinished", line, "some of the files that this names are still there")
                else:
                    self.chain.tell(FINDING, "pruned-differs", line, "what this names is there, and is something else")
        if not explained:
            text = f"the trail begins behind line {seq}, and no `pruned` line accounts for that"
            self._tell("start-missing", self.picture.parts[0].name.text(), text)

    def _compare_head(self) -> None:
        at, found = self.picture.head, self.chain
        if at is None:
            if self.picture.head_bytes:
                self._tell("head-unreadable", head.NAME, "the head can't be read: a cut tail would not be seen")
            elif any(part.size_bytes for part in self.picture.parts):
                self._tell("head-missing", head.NAME, "there is no head: a cut tail would not be seen")
            return
        if found.seq < at.seq:
            loss = chain.loss_text(found.seq + 1, at.seq, at.synced)
            text = f"the last line is {found.seq}, and the head says {at.seq}; {loss}"
            found.tell(FINDING, "cut", found.last, text)
            return
        line = found.watched.get(at.seq)
        held = line.raw.hash if line else found.start[1]
        if held != at.hash or (line is None and at.seq != found.start[0]):
            found.tell(FINDING, "changed", line, f"line {at.seq} is not the one that the head names")
            return
        self.confirmed = True
        if line is not None:
            self._compare_end(at, line)

    def _compare_end(self, at: Head, line: Line) -> None:
        """Whether the head's last line stands where the head says."""
        is_new_file = at.offset == 0 and at.file > line.file
        if (at.file, at.offset) != (line.file, line.end) and not is_new_file:
            text = f"the head says that line {at.seq} ends at {outside(at.file)}, byte {at.offset}, and it ends at"
            self._tell("head-wrong", head.NAME, f"{text} {line.file}, byte {line.end}")
        elif self.chain.seq > at.seq:
            # Before a new file gets its first line, the head that names it is on disk.
            last = self.chain.last
            is_crash = last is not None and last.file == at.file
            text = f"the head is at line {at.seq}, the trail at {self.chain.seq}"
            more = ": a writer was killed in between, or a power failure took the newer head" if is_crash else ""
            self._tell("head-behind", head.NAME, text + more, NOTE if is_crash else FINDING)

    def _compare_expected(self, wanted: Expected) -> None:
        found = self.chain
        name = f"line {wanted.seq}, which was noted as the head earlier,"
        if wanted.seq > found.seq:
            found.tell(
                FINDING, "expected-missing", found.last, f"{name} is missing: the trail ends at line {found.seq}"
            )
            return
        line = found.watched.get(wanted.seq)
        held = line.raw.hash if line else found.start[1] if wanted.seq == found.start[0] else None
        if held == wanted.hash:
            return
        if held is None and wanted.seq < found.start[0]:
            found.tell(NOTE, "expected-pruned", None, f"{name} was pruned since")
        else:
            found.tell(FINDING, "expected-differs", line, f"{name} is not the one that is there")


def document(report: Report) -> dict[str, Any]:
    """A report for `--json`."""
    at = report.head
    return {
        "trail": report.directory,
        "head": {"seq": at.seq, "hash": at.hash} if at else None,
        "headConfirmed": report.confirmed,
        "last": report.last._asdict() if report.last else None,
        "files": report.files,
        "lines": report.lines,
        "findings": report.found,
        "notes": report.noted,
        "found": [finding._asdict() for finding in report.findings],
    }


def text(report: Report) -> str:
    """A report for people."""
    whole = outside(report.directory)
    out = [f"{each.severity}: {each.place or whole}: {each.code}: {each.text}" for each in report.findings]
    hidden = report.found + report.noted - len(report.findings)
    if hidden:
        out.append(f"... and {hidden} more")
    at = report.head
    out.append(
        f"{number_of(report.lines, 'line')} in {number_of(report.files, 'file')}: "
        f"{number_of(report.found, 'finding')}, {number_of(report.noted, 'note')}"
    )
    claim = f"{at.seq}:{at.hash}" if at else "none"
    if at is None or report.confirmed:
        out.append(f"head: {claim}")
    else:
        end = f"ends with {report.last.seq}:{report.last.hash}" if report.last else "has no line"
        out.append(f"head: not confirmed: it claims {claim}, and the trail {end}")
    return "".join(f"{line}\n" for line in out)
