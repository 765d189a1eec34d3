"""New files of the trail, and old ones that go, with clocks that jump."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest
from jsonschema import Draft202012Validator

from pullpass import trail as package
from pullpass.trail import rotation
from trails import DAY_S, SCHEMA, Trail

if TYPE_CHECKING:
    from pathlib import Path

KEEP_S = 3 * DAY_S
YEAR_S = 365 * DAY_S


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """A state directory; it is 2027-01-15, 08:00."""
    return Trail(tmp_path / "state")


def names(trail: Trail) -> list[str]:
    """The files without their suffix."""
    return [path.stem for path in trail.files]


def fill(trail: Trail) -> None:
    """Make the current file as long as a file may become."""
    line = {"event": "warning", "code": "filling", "message": "x" * 1_000_000}
    trail.append(*[line] * (package.FILE_LIMIT_BYTES // 1_000_000 + 1))


def test_a_file_for_each_day(trail: Trail) -> None:
    """UTC decides; the chain goes on across files."""
    trail.days(3)
    assert names(trail) == ["2027-01-15-001", "2027-01-16-001", "2027-01-17-001"]
    assert [line["seq"] for line in trail.lines()] == [1, 2, 3, 4, 5, 6]
    assert trail.codes() == []


def test_a_full_file(trail: Trail) -> None:
    """A second one is begun on the same day, after the first one has reached the disk."""
    trail.append()
    fill(trail)
    trail.append()
    assert names(trail) == ["2027-01-15-001", "2027-01-15-002"]
    assert trail.read_head()["synced"] == trail.read_head()["seq"] - 1
    assert trail.codes() == []


def test_numbers_count_as_numbers(trail: Trail) -> None:
    """The file after -999 is -1000, and it is the last one."""
    trail.append()
    trail.last.rename(trail.last.with_name("2027-01-15-999.jsonl"))
    trail.head.unlink()
    trail.append()
    fill(trail)
    trail.append()
    assert set(names(trail)) == {"2027-01-15-999", "2027-01-15-1000"}
    assert trail.read_head()["file"] == "2027-01-15-1000.jsonl"
    assert trail.codes() == ["head-lost"]


def test_a_clock_that_goes_to_and_fro_around_midnight(trail: Trail) -> None:
    """It makes no new file each time, and none that sorts before the current one."""
    for step_s in (0, 16 * 3600, -600, 600, -3600, 3600):
        trail.clock.advance(step_s)
        trail.append()
    assert names(trail) == ["2027-01-15-001", "2027-01-16-001"]
    assert trail.codes() == []


def test_a_clock_that_was_a_year_ahead(trail: Trail) -> None:
    """Days go on to be told apart, by number under the name that is ahead, until the clock has caught up."""
    trail.append()
    trail.clock.advance(YEAR_S)
    trail.append()
    trail.clock.advance(-YEAR_S)
    for _ in range(3):
        trail.append()
        trail.append()
        trail.clock.advance(DAY_S)
    ahead = [f"2028-01-15-{number:03d}" for number in range(1, 5)]
    assert names(trail) == ["2027-01-15-001", *ahead]
    trail.clock.advance(YEAR_S)
    trail.append()
    assert names(trail)[-1] == "2028-01-18-001"
    assert trail.codes() == []


def test_an_empty_file_ahead_of_the_clock_is_used(trail: Trail) -> None:
    """A writer that died before the first line of a new file left it."""
    trail.append()
    trail.clock.advance(YEAR_S)
    head, last = trail.read_head(), trail.last
    trail.append()
    size = trail.last.stat().st_size
    os.truncate(trail.last, 0)
    padded = json.dumps(head | {"file": trail.last.name, "offset": 0}, separators=(",", ":")).encode()
    trail.head.write_bytes(padded.ljust(255) + b"\n")
    trail.clock.advance(-YEAR_S)
    trail.append()
    assert (trail.last.stat().st_size, trail.files[0]) == (size, last)
    assert trail.codes() == []


def test_a_half_line_is_closed_off_before_a_new_file_is_begun(trail: Trail) -> None:
    """In the file where it is; the day's file comes with the next line."""
    trail.append()
    with trail.last.open("ab") as file:
        file.write(b'{"seq":2,')
    trail.clock.advance(DAY_S)
    trail.append()
    assert names(trail) == ["2027-01-15-001"]
    trail.append()
    assert names(trail) == ["2027-01-15-001", "2027-01-16-001"]
    assert trail.codes() == []


def test_a_crash_between_the_new_file_and_its_first_line(trail: Trail) -> None:
    """The head does not know of the file yet: it is used."""
    trail.append()
    trail.clock.advance(DAY_S)
    (trail.directory / "2027-01-16-001.jsonl").touch(mode=0o600)
    trail.append()
    assert names(trail) == ["2027-01-15-001", "2027-01-16-001"]
    assert trail.codes() == []


def test_a_head_that_is_older_than_the_last_file(trail: Trail) -> None:
    """As in a backup of the head alone: the lines of the new file are found when it would be begun."""
    trail.append()
    trail.clock.advance(DAY_S)
    head = trail.head.read_bytes()
    trail.append()
    trail.head.write_bytes(head)
    assert trail.codes() == ["head-behind"]
    trail.append()
    assert names(trail) == ["2027-01-15-001", "2027-01-16-001"]
    assert [line["seq"] for line in trail.lines()] == [1, 2, 3]
    assert trail.codes() == []


def test_what_somebody_put_into_the_next_file(trail: Trail) -> None:
    """It does not become a part of the chain, and is a finding."""
    trail.append()
    (trail.directory / "2027-01-16-001.jsonl").write_bytes(b"nothing of ours\n")
    trail.files[-1].chmod(0o600)
    trail.clock.advance(DAY_S)
    trail.append()
    assert [line["event"] for line in trail.lines()] == ["refused", "warning", "refused"]
    assert trail.codes() == ["foreign-line", "foreign-line"]


def test_old_files_go(trail: Trail) -> None:
    """With a line that names them and the line that the rest is chained to; verifying is content with that."""
    for _ in range(7):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    assert names(trail) == [f"2027-01-{day}-001" for day in range(17, 22)]
    pruned = [line for line in trail.lines() if line["event"] == "pruned"]
    assert [line["files"] for line in pruned] == [["2027-01-15-001.jsonl"], ["2027-01-16-001.jsonl"]]
    first = trail.lines()[0]
    assert pruned[-1]["through"] == {"seq": first["seq"] - 1, "hash": first["prev"]}
    assert trail.codes() == []
    for line in pruned:
        Draft202012Validator(json.loads(SCHEMA.read_text())).validate(line)


def test_a_pruned_trail_begins_where_it_says(trail: Trail) -> None:
    """One more file taken away by hand is seen."""
    for _ in range(7):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    trail.files[0].unlink()
    assert trail.codes() == ["start-missing"]


def test_a_clock_that_jumps_far_ahead_takes_nothing_at_once(trail: Trail) -> None:
    """The newest line must be of that time as well, so it takes until the second day of the wrong clock."""
    trail.days(3)
    trail.clock.advance(YEAR_S)
    trail.append(keep_s=KEEP_S)
    trail.clock.advance(-YEAR_S)
    trail.append(keep_s=KEEP_S)
    assert len(trail.files) == 5
    assert trail.codes() == []


def test_a_new_file_takes_few_old_ones_with_it(trail: Trail) -> None:
    """A clock that stays wrong needs weeks for a trail of months."""
    trail.days(30, each=1)
    trail.clock.advance(YEAR_S)
    left = []
    for _ in range(4):
        trail.append(keep_s=60 * DAY_S)
        left.append(len(trail.files))
        trail.clock.advance(DAY_S)
    assert left == [31, 32 - rotation.PRUNE_LIMIT, 33 - 2 * rotation.PRUNE_LIMIT, 34 - 3 * rotation.PRUNE_LIMIT]
    assert trail.codes() == []


def test_files_from_a_time_when_the_clock_was_ahead_go_as_well(trail: Trail) -> None:
    """Nothing was written later than what was written after it: names and lines of that day do not keep a file."""
    trail.clock.advance(YEAR_S)
    trail.append(keep_s=KEEP_S)
    trail.clock.advance(-YEAR_S)
    for _ in range(6):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    assert names(trail)[0] == "2028-01-15-003"
    assert trail.codes() == []


def test_a_crash_between_the_line_and_the_removal(trail: Trail) -> None:
    """The files that are still there are no finding, and the next new file takes them."""
    for _ in range(5):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    first = trail.files[0]
    kept = first.read_bytes()
    trail.append(keep_s=KEEP_S)
    assert not first.exists()
    first.write_bytes(kept)
    first.chmod(0o600)
    assert (trail.codes(), trail.codes("note")) == ([], ["prune-unfinished"])
    trail.clock.advance(DAY_S)
    trail.append(keep_s=KEEP_S)
    assert not first.exists()
    assert trail.codes() == []


def test_a_file_that_can_not_be_removed_is_told(trail: Trail) -> None:
    """A directory in its place, as the simplest thing that `unlink` refuses: the lines are written all the same."""
    for _ in range(5):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    first, second = trail.files[:2]
    first.unlink()
    first.mkdir(mode=0o700)
    for _ in range(2):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    pruned, warning, line = trail.lines_after(6)
    assert (pruned["event"], pruned["files"]) == ("pruned", [first.name, second.name])
    assert (warning["code"], warning["file"], warning["message"]) == ("prune-failed", first.name, "Is a directory")
    assert line["event"] == "refused"


@pytest.mark.parametrize("damage", ["first of the rest", "newest", "time", "empty"])
def test_a_damaged_trail_is_not_pruned(trail: Trail, damage: str) -> None:
    """What can't be read says neither how old it is, nor what the rest is chained to: evidence stays where it is."""
    for _ in range(5):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    path = trail.files[-1 if damage in {"newest", "time"} else 1]
    data = path.read_bytes()
    if damage == "empty":  # of this one nothing is asked: the next file says it
        path.write_bytes(b"")
    elif damage == "time":
        path.write_bytes(data.replace(b'"time":"2027', b'"time":"20x7'))
    else:
        path.write_bytes(b"!" + data[1:])
    trail.append(keep_s=KEEP_S)
    pruned = [line for line in trail.lines() if line["event"] == "pruned"]
    assert len(pruned) == (damage == "empty")


def test_nothing_but_empty_files_behind_what_is_too_old(trail: Trail) -> None:
    """Then there is no line that the rest begins with."""
    for _ in range(5):
        trail.append(keep_s=KEEP_S)
        trail.clock.advance(DAY_S)
    newest = trail.files[-1]
    for path in trail.files[1:-1]:
        path.write_bytes(b"")
    newest.write_bytes(b"!" + newest.read_bytes()[1:] + newest.read_bytes())
    trail.append(keep_s=KEEP_S)
    assert "pruned" not in {line["event"] for line in trail.lines()}


def test_the_longest_line_does_not_stop_pruning(trail: Trail) -> None:
    """First and last lines are found however long they are."""
    longest = {"event": "warning", "code": "long", "message": "x" * 1_000_000}
    for _ in range(5):
        trail.append(longest, keep_s=DAY_S)
        trail.clock.advance(DAY_S)
    trail.append(keep_s=DAY_S)
    assert names(trail)[0] > "2027-01-16"
    assert "pruned" in [line["event"] for line in trail.lines()]
    assert trail.codes() == []
