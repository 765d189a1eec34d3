"""What happens to the trail seldom: between two system calls, on disks that fail, in long scans."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import resource
import sys
from typing import TYPE_CHECKING

import pytest

from pullpass import report
from pullpass import trail as package
from pullpass.errors import PullpassError
from pullpass.trail import export, head, reading, repair, selection, verify
from support import FakeClock
from trails import DAY_S, Trail, digest, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEEP_S = 3 * DAY_S
LINE = {"event": "refused", "code": "no-grant", "message": "no"}
MANY = verify.PROGRESS_LINES + 1


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A trail of five days."""
    made = Trail(tmp_path / "state")
    for _ in range(5):
        made.append(keep_s=KEEP_S)
        made.clock.advance(DAY_S)
    return made


@contextlib.contextmanager
def longest_file(length: int) -> Iterator[None]:
    """Writes beyond this length fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (length, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def descriptors() -> int:
    """How many files this process has open."""
    return len(os.listdir("/proc/self/fd"))


@pytest.mark.parametrize("length", [100, head.WIDTH_BYTES], ids=["the head", "the pruned line"])
def test_a_new_file_that_can_not_be_begun(trail: Trail, length: int) -> None:
    """Nothing is removed, nothing stays open, and the next append goes on."""
    before = descriptors()
    files = trail.files
    with longest_file(length), pytest.raises(PullpassError, match="File too large"):
        trail.append(keep_s=KEEP_S)
    assert descriptors() == before
    assert trail.files[: len(files)] == files
    trail.append(keep_s=KEEP_S)
    assert trail.codes() == []


def test_a_trail_whose_first_line_could_not_be_written(tmp_path: Path) -> None:
    """It has a head, and no line yet."""
    trail = Trail(tmp_path / "state")
    with longest_file(head.WIDTH_BYTES), pytest.raises(PullpassError, match="File too large"):
        trail.append({**LINE, "message": "x" * 500})
    assert trail.codes() == []
    trail.append()
    assert [line["seq"] for line in trail.lines()] == [1]


def test_a_file_that_can_not_be_looked_at_is_closed(trail: Trail) -> None:
    """The error is the operating system's."""
    before = descriptors()
    found = head.parse(trail.head.read_bytes())
    assert found is not None
    with pytest.raises(OSError, match="Bad file descriptor"):
        package._at_end(found._replace(offset=0), os.open(trail.last, os.O_WRONLY), [])
    assert descriptors() == before


def test_the_note_of_what_is_on_disk_waits_for_nobody(trail: Trail) -> None:
    """Another writer at work notes more; and a note that is there already is not lowered."""
    with trail.head.open("rb+") as ours, trail.head.open("rb+") as theirs:
        fcntl.flock(theirs, fcntl.LOCK_EX)
        package._note_synced(ours.fileno(), 5)
        fcntl.flock(theirs, fcntl.LOCK_UN)
        assert trail.read_head()["synced"] == 4  # by the last rotation
        package._note_synced(ours.fileno(), 5)
        package._note_synced(ours.fileno(), 3)
    assert trail.read_head()["synced"] == 5


@pytest.mark.parametrize("end", [b"\0", b"\n"])
def test_a_tail_without_measure_is_not_read_by_a_writer(trail: Trail, end: bytes) -> None:
    """A request can't wait for that: the tail is foreign as a whole, and `verify` looks at it."""
    trail.clock.advance(-DAY_S)
    start = trail.last.stat().st_size
    with trail.last.open("r+b") as file:
        file.seek(start + repair.TAIL_LIMIT_BYTES)
        file.write(end)
    trail.append()
    with trail.last.open("rb") as file:  # of the one that ends with a line feed, the next file: this one is full
        file.seek(0 if end == b"\n" else start + repair.TAIL_LIMIT_BYTES + 1)
        behind = file.read()
    assert behind.startswith((b"\n" if end == b"\0" else b"") + b'{"seq":6,')
    assert b'"code":"foreign-line"' in behind
    assert trail.codes() == ["foreign-line", "foreign-line"]


def test_a_cut_whose_half_line_is_gone_as_well(trail: Trail) -> None:
    """The warning about the cut is a finding; that what it names is missing adds nothing."""
    trail.clock.advance(-DAY_S)
    os.truncate(trail.last, 50)
    trail.append()
    trail.edit(trail.last, lambda kept: kept.pop(0))
    assert "trail-cut" in trail.codes()
    assert "half-line-gone" not in trail.codes()


# --- reading


class Removing:
    """Progress that removes a file each time it is told."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def __call__(self, done: int, total: int) -> None:
        """Remove the next one."""
        if self.paths:
            self.paths.pop(0).unlink()


@pytest.fixture
def long_trail(tmp_path: Path) -> Trail:
    """A first file with enough lines for progress to be told, and some short ones."""
    made = Trail(tmp_path / "long")
    made.append(*[LINE] * MANY)
    for _ in range(verify.ATTEMPTS):
        made.clock.advance(DAY_S)
        made.append()
    return made


@pytest.mark.parametrize("count", [1, verify.ATTEMPTS])
def test_files_that_vanish_while_the_trail_is_verified(long_trail: Trail, count: int) -> None:
    """Another picture is taken, and it shows that they are missing; not for ever, though."""
    removing = Removing(long_trail.files[1 : 1 + count])
    if count == 1:
        found = verify.verify(str(long_trail.directory), long_trail.clock, [], removing)
        assert [each.code for each in found.findings] == ["removed"]
        return
    with pytest.raises(PullpassError, match="a file has vanished 5 times in a row"):
        verify.verify(str(long_trail.directory), long_trail.clock, [], removing)


def test_progress_is_told_while_lines_are_read(long_trail: Trail) -> None:
    """In bytes of the whole."""
    told: list[tuple[int, int]] = []
    picture = reading.take(str(long_trail.directory), long_trail.clock)
    found = selection.Selection(picture, selection.Filter(), lambda *how_far: told.append(how_far))
    assert len(list(found.all())) == MANY + verify.ATTEMPTS
    total = sum(part.size_bytes for part in picture.parts)
    assert [done < total for done, _ in told] == [True, False]
    assert {whole for _, whole in told} == {total}


def test_a_file_that_is_gone_before_it_is_looked_at(trail: Trail) -> None:
    """It was pruned since the picture was taken."""
    picture = reading.take(str(trail.directory), trail.clock)
    trail.files[0].unlink()
    with pytest.raises(reading.Gone):
        verify._Check(picture, [], nothing).run()


def test_a_directory_that_became_a_file(trail: Trail) -> None:
    """Nothing in it can be looked at."""
    picture = reading.take(str(trail.directory), trail.clock)._replace(directory=str(trail.last))
    with pytest.raises(PullpassError, match=r"trail-unreadable: .*Not a directory"):
        verify._Check(picture, [], nothing).run()


def test_a_file_that_became_a_directory(trail: Trail) -> None:
    """It can be opened, and not read."""
    picture = reading.take(str(trail.directory), trail.clock)
    path = trail.files[0]
    path.unlink()
    path.mkdir(mode=0o700)
    with pytest.raises(PullpassError, match=r"trail-unreadable: .*Is a directory"):
        verify._Check(picture, [], nothing).run()
    with pytest.raises(PullpassError, match=r"trail-unreadable: .*Is a directory"):
        list(selection.Selection(picture, selection.Filter(), nothing).all())


def test_an_event_is_that_of_the_line_itself(trail: Trail) -> None:
    """Not one that something within it names."""
    trail.append({"event": "order", "order": {"event": "issued"}})
    picture = reading.take(str(trail.directory), trail.clock)
    assert list(selection.Selection(picture, selection.Filter(event="issued"), nothing).all()) == []


def test_a_table_and_documents_without_anything_unreadable(trail: Trail) -> None:
    """They say nothing about it."""
    found = selection.Selection(reading.take(str(trail.directory), trail.clock), selection.Filter(), nothing)
    assert [each["seq"] for each in report.documents(found, found.all())] == [1, 2, 3, 4, 5]
    assert list(report.table(found, found.all()))[-1] == "5 lines\n"
    assert list(report.table(found, found.newest(1)))[-1] == "1 line\n"


def test_parquet_without_its_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is said before anything is written."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(PullpassError, match=r"extra-missing: .*pip install 'pullpass\[parquet\]'"):
        export.export(iter(()), "parquet", str(tmp_path / "out"))
    assert os.listdir(tmp_path) == []


# --- progress


class Terminal(io.StringIO):
    """A stderr that is a terminal."""

    def isatty(self) -> bool:
        """It is."""
        return True


def test_progress_on_a_terminal() -> None:
    """Not before it takes long, not all the time, and it is taken away at the end."""
    clock, shown = FakeClock(), Terminal()
    with contextlib.redirect_stderr(shown):
        progress = report.Progress(clock)
    for done in (10, 20, 30):
        progress(done << 20, 100 << 20)
        clock.advance(0.15)
    assert shown.getvalue() == "\r 30 % of 100 MiB"
    progress(100 << 20, 100 << 20)
    progress(100 << 20, 100 << 20)
    assert shown.getvalue() == "\r 30 % of 100 MiB\r\x1b[K"


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["closed", "a file"])
def test_progress_elsewhere(stream: io.StringIO | None) -> None:
    """There is none: stderr is for the one error line."""
    clock = FakeClock()
    with contextlib.redirect_stderr(stream):
        progress = report.Progress(clock)
    clock.advance(1)
    progress(1, 2)
    assert stream is None or stream.getvalue() == ""


def test_digests_are_those_of_the_lines(trail: Trail) -> None:
    """The head names the last line's bytes, which anybody can hash."""
    assert trail.read_head()["hash"] == digest(trail.raw()[-1])
