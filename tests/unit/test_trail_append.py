"""Appending to the audit trail: what is written, and what stands in the way."""

from __future__ import annotations

import fcntl
import json
import os
import resource
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from pullpass import trail as package
from pullpass.errors import PullpassError
from pullpass.store import moments
from pullpass.trail import head, lines
from support import NOW_S
from trails import SCHEMA, ZEROS, Trail, digest

if TYPE_CHECKING:
    from pathlib import Path

BODY = {"event": "refused", "code": "no-grant", "message": "no", "image": "é\n"}


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A state directory without a trail."""
    return Trail(tmp_path / "state")


def refused(trail: Trail, **options: Any) -> str:
    """What the error says that appending ends with."""
    with pytest.raises(PullpassError) as caught:
        trail.append(**options)
    assert (caught.value.code, caught.value.status) == ("trail-unwritable", 6)
    assert str(trail.directory) in caught.value.what
    return caught.value.what


def test_the_first_line(trail: Trail) -> None:
    """Number, hash of nothing and time stand in front of the body, in ASCII, in a private file named after the day."""
    trail.append(BODY)
    (line,) = trail.raw()
    time = moments.text(NOW_S)
    assert line.decode("ascii").startswith(f'{{"seq":1,"prev":"{ZEROS}","time":"{time}","event":"refused"')
    assert json.loads(line) == {"seq": 1, "prev": ZEROS, "time": time, **BODY}
    assert [path.name for path in trail.files] == [f"{time[:10]}-001.jsonl"]
    assert {path.stat().st_mode & 0o777 for path in (*trail.files, trail.head)} == {0o600}
    assert trail.directory.stat().st_mode & 0o777 == 0o700


def test_lines_are_chained(trail: Trail) -> None:
    """Each names the hash of the one before, within one append and across several."""
    trail.append(BODY, BODY)
    trail.append(BODY)
    raw = trail.raw()
    assert [json.loads(line)["seq"] for line in raw] == [1, 2, 3]
    assert [json.loads(line)["prev"] for line in raw] == [ZEROS, digest(raw[0]), digest(raw[1])]
    report = trail.verify()
    assert (report.files, report.lines, report.findings, report.found, report.noted) == (1, 3, [], 0, 0)


def test_the_head_says_where_the_trail_ends(trail: Trail) -> None:
    """A line of fixed width with the number and hash of the last line, its file and that file's length."""
    trail.append(BODY, BODY)
    raw = trail.raw()
    inode = trail.head.stat().st_ino
    expected = {"version": 1, "seq": 2, "hash": digest(raw[1]), "file": trail.last.name, "synced": 0}
    assert trail.read_head() == {**expected, "offset": trail.last.stat().st_size}
    trail.append()
    assert (trail.head.stat().st_ino, trail.head.stat().st_size) == (inode, head.WIDTH_BYTES)


def test_what_has_reached_the_disk_is_noted(trail: Trail) -> None:
    """A synced append notes its last line; one that is not synced leaves the note as it is."""
    trail.append(BODY, BODY, sync=True)
    trail.append(BODY)
    assert [trail.read_head()[name] for name in ("seq", "synced")] == [3, 2]


def test_nothing_to_append(trail: Trail) -> None:
    """Without lines there is no trail either."""
    package.append(str(trail.state), [], trail.clock, wait_s=1, sync=True, keep_s=1)
    assert not trail.state.exists()


def test_the_lines_have_the_published_form(trail: Trail) -> None:
    """The schema in the package takes them, and is a schema."""
    schema = json.loads(SCHEMA.read_text())
    Draft202012Validator.check_schema(schema)
    trail.append(BODY)
    for line in trail.lines():
        Draft202012Validator(schema).validate(line)


def test_another_writer_is_waited_for_and_not_for_ever(trail: Trail) -> None:
    """A lock that is not given back in time is an error that says for how long it was waited."""
    trail.append()
    with trail.head.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert refused(trail, wait_s=2).endswith("another process has kept its lock for 2s")
    assert sum(trail.clock.slept) == pytest.approx(2)
    trail.append()
    assert len(trail.lines()) == 2


@pytest.mark.parametrize("name", ["state", "state/audit"])
def test_a_directory_that_others_may_write(trail: Trail, tmp_path: Path, name: str) -> None:
    """Somebody else could put another trail there."""
    trail.append()
    (tmp_path / name).chmod(0o777)
    assert "may be written by others" in refused(trail)


def test_a_symbolic_link_in_the_place_of_the_directory(trail: Trail, tmp_path: Path) -> None:
    """It is not followed."""
    trail.append()
    trail.directory.rename(tmp_path / "elsewhere")
    trail.directory.symlink_to(tmp_path / "elsewhere")
    assert "is not a directory" in refused(trail)


def plant_fifo(path: Path) -> None:
    """Puts a pipe there, at which a careless reader would wait for ever."""
    os.mkfifo(path, 0o600)


def plant_link(path: Path) -> None:
    """Puts a symbolic link to a file outside there."""
    path.symlink_to(path.parent.parent / "outside")


def plant_open(path: Path) -> None:
    """Puts a file that others may write there."""
    path.write_bytes(b"")
    path.chmod(0o666)


@pytest.mark.parametrize("plant", [plant_fifo, plant_link, plant_open])
@pytest.mark.parametrize("which", ["head", "last"])
def test_something_hostile_in_the_place_of_a_file(trail: Trail, plant: Any, which: str) -> None:
    """It is refused, and nothing is written to it."""
    trail.append()
    path = getattr(trail, which)
    path.unlink()
    plant(path)
    before = path.lstat()
    assert refused(trail)
    after = path.lstat()
    assert not (trail.state / "outside").exists()
    assert (before.st_ino, before.st_mode, before.st_size) == (after.st_ino, after.st_mode, after.st_size)


def test_a_trail_of_a_later_version_is_left_alone(trail: Trail) -> None:
    """Its head says something else than ours, so it is not written over."""
    trail.append()
    later = trail.head.read_bytes().replace(b'"version":1', b'"version":2')
    trail.head.write_bytes(later)
    assert "has version 2, known is 1" in refused(trail)
    assert trail.head.read_bytes() == later


def test_a_disk_without_room(trail: Trail) -> None:
    """The error of the operating system is told (the rest of it is in the tests on a full disk)."""
    trail.append()
    before = trail.last.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + 10, hard))
    try:
        assert refused(trail).endswith("File too large")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert trail.last.read_bytes() == before
    trail.append()
    assert trail.codes() == []


HEAD = head.Head(7, "a" * 64, "2027-01-15-001.jsonl", 1234, 5)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{}",
        head.render(HEAD)[:-1],
        head.render(HEAD) + b"\n",
        head.render(HEAD)[:-1] + b" ",
        head.render(HEAD).replace(b"  \n", b" \t\n"),
        b"x" * 255 + b"\n",
        b"[1]".ljust(255) + b"\n",
        b"{}".ljust(255) + b"\n",
        b'{"version":true}'.ljust(255) + b"\n",
        b'{"version":1}'.ljust(255) + b"\n",
        head.render(HEAD).replace(b'"version":1', b'"version":0'),
        head.render(HEAD._replace(seq=-1)),
        head.render(HEAD._replace(seq=True)),
        head.render(HEAD._replace(seq="7")),  # type: ignore[arg-type]
        head.render(HEAD._replace(offset=-1)),
        head.render(HEAD._replace(synced=8)),
        head.render(HEAD._replace(hash="a" * 63)),
        head.render(HEAD._replace(hash="A" * 64)),
        head.render(HEAD._replace(file="../head")),
        head.render(HEAD._replace(file=3)),  # type: ignore[arg-type]
    ],
)
def test_what_is_no_head(raw: bytes) -> None:
    """Only the bytes that the program writes are one."""
    assert head.parse(raw) is None


def test_a_head_is_read_as_it_was_written() -> None:
    """In its width, however long its numbers are."""
    for written in (HEAD, head.Head(10**18, "f" * 64, "2027-01-15-123456.jsonl", 10**18, 10**18)):
        raw = head.render(written)
        assert (len(raw), raw[-1:], head.parse(raw)) == (head.WIDTH_BYTES, b"\n", written)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("2027-01-15-001.jsonl", ("2027-01-15", 1)),
        ("2027-01-15-1000.jsonl", ("2027-01-15", 1000)),
        ("2027-01-15-1.jsonl", None),
        ("2027-01-15-0001.jsonl", None),
        ("2027-01-15-000.jsonl", None),
        ("2027-01-15-001.json", None),
        ("2027-01-15-001", None),
        ("2027-01-15_001.jsonl", None),
        ("2027-1-15-001.jsonl", None),
        ("2027-01-15-.jsonl", None),
        ("2027-01-15-00x.jsonl", None),
        ("head", None),
    ],
)
def test_names_of_files(name: str, parts: tuple[str, int] | None) -> None:
    """Day and number, which count as such: -1000 comes after -999."""
    assert lines.parse_name(name) == parts


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b'{"seq":1}',
        lines.make(1, "a" * 64, "t", {"b": 1})[:-1],
        lines.make(1, "a" * 63, "t", {"b": 1}),
        lines.make(0, "a" * 64, "t", {"b": 1}),
        lines.make(-1, "a" * 64, "t", {"b": 1}),
        lines.make(1, "a" * 64, "t", {"b": 1}).replace(b'"seq":1', b'"seq": 1'),
        lines.make(1, "a" * 64, "t", {"b": 1}).replace(b"time", b"tame"),
        b" " + lines.make(1, "a" * 64, "t", {"b": 1}),
    ],
)
def test_what_is_no_line(line: bytes) -> None:
    """A line has its front, to the byte."""
    assert lines.front(line) is None
