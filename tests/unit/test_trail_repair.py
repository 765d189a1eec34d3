"""What the next writer makes of a trail that does not end where its head says."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

from trails import DAY_S, SCHEMA, ZEROS, Trail, digest

if TYPE_CHECKING:
    from pathlib import Path

BODIES: tuple[dict[str, Any], ...] = (
    {"event": "warning", "code": "cache-damaged", "message": "a"},
    {"event": "refused", "code": "no-grant", "message": "b"},
)


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A trail of three lines."""
    made = Trail(tmp_path / "state")
    for _ in range(3):
        made.append()
    return made


def warnings(trail: Trail) -> list[dict[str, Any]]:
    """The warnings about the trail itself."""
    return [line for line in trail.lines() if line.get("event") == "warning" and line["code"] != "cache-damaged"]


def interrupted(trail: Trail, *bodies: dict[str, Any]) -> tuple[int, bytes]:
    """Append, and take the head back to what it was: where the append began, and what it wrote."""
    head, start = trail.head.read_bytes(), trail.last.stat().st_size
    trail.append(*bodies)
    trail.head.write_bytes(head)
    return start, trail.last.read_bytes()[start:]


def test_every_place_at_which_a_write_can_be_cut(trail: Trail) -> None:
    """Whole lines are adopted, half ones closed off and named, one without its line feed completed; nothing is lost."""
    start, written = interrupted(trail, *BODIES)
    first = written.index(b"\n") + 1
    head, before = trail.head.read_bytes(), trail.last.read_bytes()[:start]
    for cut in range(len(written) + 1):
        trail.head.write_bytes(head)
        trail.last.write_bytes(before + written[:cut])
        trail.append()
        adopted = (cut >= first - 1) + (cut >= len(written) - 1)
        half = (
            written[first if cut >= first else 0 : cut] if cut not in {0, first - 1, first, len(written) - 1} else b""
        )
        half = b"" if cut == len(written) else half
        named = [(line["bytes"], line["sha256"]) for line in warnings(trail)]
        assert named == ([(len(half), digest(half))] if half else []), cut
        assert trail.read_head()["seq"] == 3 + adopted + bool(half) + 1
        report = trail.verify()
        assert (report.found, report.noted) == (0, int(bool(half))), cut


def test_a_writer_that_was_killed_while_closing_off(trail: Trail) -> None:
    """Both halves are named, each with its own length and hash."""
    start, written = interrupted(trail, BODIES[0])
    halves = written[:90], written[:7]
    with trail.last.open("r+b") as file:
        file.truncate(start)
        file.seek(start)
        file.write(halves[0] + b"\n" + halves[1])
    trail.append()
    assert [(line["code"], line["bytes"], line["sha256"]) for line in warnings(trail)] == [
        ("half-line", len(half), digest(half)) for half in halves
    ]
    assert (trail.codes(), trail.codes("note")) == ([], ["half-line-closed"] * 2)


@pytest.mark.parametrize(
    "foreign",
    [b"nothing of ours\n", b"\n", b'{"seq":9}\n', b"\0" * 100 + b"\n"],
    ids=["text", "empty", "json", "zeros"],
)
def test_whole_lines_that_are_not_of_the_chain(trail: Trail, foreign: bytes) -> None:
    """They stay, are counted, and are findings; the chain goes on."""
    start = trail.last.stat().st_size
    with trail.last.open("ab") as file:
        file.write(foreign * 2)
    trail.append()
    (warning,) = warnings(trail)
    assert (warning["code"], warning["lines"], warning["offset"]) == ("foreign-line", 2, start)
    assert warning["seq"] == 4
    assert trail.codes() == ["foreign-line", "foreign-line", "foreign-line"]


def test_a_line_that_repeats_its_neighbour_is_foreign(trail: Trail) -> None:
    """It has the form of ours and no place in the chain."""
    line = trail.raw()[-1]
    with trail.last.open("ab") as file:
        file.write(line + b"\n")
    trail.append()
    assert warnings(trail)[0]["code"] == "foreign-line"
    assert trail.codes() == ["foreign-line", "inserted"]


def test_a_line_whose_front_alone_is_right_is_not_adopted(trail: Trail) -> None:
    """What follows must be JSON as well."""
    _, written = interrupted(trail, BODIES[0])
    with trail.last.open("r+b") as file:
        data = file.read()
        file.seek(0)
        file.write(data.replace(written, written.replace(b'"event"', b"!event!")))
    trail.append()
    assert warnings(trail)[0]["code"] == "foreign-line"


def test_a_cut_file(trail: Trail) -> None:
    """The chain goes on behind what the head knew, and the hole is seen; what stood before it stays."""
    last = trail.read_head()
    first = trail.last.read_bytes().index(b"\n") + 1
    with trail.last.open("r+b") as file:
        file.truncate(first)
    trail.append()
    (warning,) = warnings(trail)
    assert warning["code"] == "trail-cut"
    assert warning["message"] == f"the file has {first} bytes, expected {last['offset']}"
    assert (warning["seq"], warning["prev"]) == (4, last["hash"])
    assert (warning["last"], warning["synced"]) == ({"seq": 3, "hash": last["hash"]}, 0)
    assert "bytes" not in warning
    assert trail.codes() == ["removed", "trail-cut"]


def test_a_file_that_is_cut_within_a_line(trail: Trail) -> None:
    """The half line is closed off and named by the same warning."""
    first = trail.last.read_bytes().index(b"\n") + 1
    with trail.last.open("r+b") as file:
        file.truncate(first + 50)
    half = trail.last.read_bytes()[first:]
    trail.append()
    (warning,) = warnings(trail)
    assert (warning["code"], warning["bytes"], warning["sha256"]) == ("trail-cut", 50, digest(half))
    assert trail.codes() == ["removed", "trail-cut"]
    assert trail.codes("note") == ["half-line-closed"]


def test_a_file_that_is_gone(trail: Trail) -> None:
    """The chain goes on in a new file, whose name comes after the old one's."""
    name, last = trail.last.name, trail.read_head()
    trail.last.unlink()
    trail.append()
    assert trail.last.name == name.replace("-001.", "-002.")
    (warning,) = warnings(trail)
    assert (warning["code"], warning["file"], warning["message"]) == ("trail-cut", name, "the file is missing")
    assert (warning["seq"], warning["prev"]) == (4, last["hash"])
    assert trail.codes() == ["trail-cut", "start-missing"]


@pytest.mark.parametrize("damage", ["absent", "empty", "garbage"])
def test_a_lost_head(trail: Trail, damage: str) -> None:
    """It is made again from the last line, and that is said."""
    if damage == "absent":
        trail.head.unlink()
    else:
        trail.head.write_bytes(b"" if damage == "empty" else b"garbage" * 99)
    assert trail.codes() == [("head-unreadable" if damage == "garbage" else "head-missing")]
    trail.append()
    (warning,) = warnings(trail)
    assert (warning["code"], warning["seq"]) == ("head-lost", 4)
    assert trail.read_head()["seq"] == 5
    assert trail.codes() == ["head-lost"]


def test_a_lost_head_and_a_half_line(trail: Trail) -> None:
    """Both are said, in one write."""
    trail.head.unlink()
    with trail.last.open("ab") as file:
        file.write(b'{"seq":4,"pr')
    trail.append()
    assert [warning["code"] for warning in warnings(trail)] == ["head-lost", "half-line"]
    assert (trail.codes(), trail.codes("note")) == (["head-lost"], ["half-line-closed"])


def test_a_lost_head_of_a_trail_of_several_files(trail: Trail) -> None:
    """An empty last file, and one without a line of ours, are passed over for the last one that has a line."""
    trail.clock.advance(DAY_S)
    trail.append()
    here = trail.last
    for name in ("2099-01-01-001.jsonl", "2099-01-01-002.jsonl"):
        (trail.directory / name).touch(mode=0o600)
    trail.last.write_bytes(b"nothing of ours\n")
    trail.head.unlink()
    trail.append()
    (warning,) = warnings(trail)
    assert (warning["code"], warning["file"], warning["seq"]) == ("head-lost", here.name, 5)


def test_a_lost_head_and_no_line_that_can_be_read(trail: Trail) -> None:
    """The trail begins anew in the last file, and the loss can be seen."""
    trail.last.write_bytes(b"nothing of ours\n")
    trail.head.unlink()
    trail.append()
    assert [warning["code"] for warning in warnings(trail)] == ["head-lost", "foreign-line"]
    assert [line["seq"] for line in trail.lines()] == [1, 2, 3]
    assert trail.lines()[0]["prev"] == ZEROS


def test_a_head_without_a_trail(trail: Trail) -> None:
    """A damaged head is said even if there is nothing else; an empty one is a trail that was just being begun."""
    trail.last.unlink()
    trail.head.write_bytes(b"garbage")
    trail.append()
    assert [warning["code"] for warning in warnings(trail)] == ["head-lost"]
    assert [line["seq"] for line in trail.lines()] == [1, 2]


@pytest.mark.parametrize("with_file", [False, True])
def test_a_trail_that_was_just_being_begun(tmp_path: Path, *, with_file: bool) -> None:
    """Its writer died before the first line: nothing has happened yet."""
    trail = Trail(tmp_path / "state")
    trail.directory.mkdir(parents=True, mode=0o700)
    trail.head.touch(mode=0o600)
    if with_file:
        (trail.directory / "2027-01-15-001.jsonl").touch(mode=0o600)
    trail.append()
    assert [line["seq"] for line in trail.lines()] == [1]
    assert len(trail.files) == 1
    assert trail.codes() == []


def test_lines_of_repair_have_the_published_form(trail: Trail) -> None:
    """The schema knows each warning of a writer."""
    with trail.last.open("ab") as file:
        file.write(b"foreign\nhalf")
    trail.append()
    trail.head.unlink()
    trail.append()
    trail.last.unlink()
    trail.append()
    validator = Draft202012Validator(json.loads(SCHEMA.read_text()))
    found = trail.lines()
    assert [line.get("code") for line in found if line["event"] == "warning"] == ["trail-cut"]
    for line in found:
        validator.validate(line)
