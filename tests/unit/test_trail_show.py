"""What people are shown of the trail: filters, tables, exports. What is exported is read by other programs' readers."""

from __future__ import annotations

import csv
import io
import json
import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pytest

from pullpass import report
from pullpass.errors import PullpassError
from pullpass.store import moments
from pullpass.trail import export, reading, selection
from pullpass.trail.selection import Filter, Selection
from support import NOW_S, FakeClock
from trails import DAY_S, Trail, nothing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PARQUET = import_module("pyarrow.parquet")  # it has no types
ACCOUNT = {"namespace": "team-a", "name": "web", "uid": "u-1"}
ISSUED = {
    "event": "issued",
    "cluster": "prod-1",
    "serviceAccount": ACCOUNT,
    "image": "europe-docker.pkg.dev/proj/team-a/app",
    "identity": "principal",
    "source": "exchange",
    "expires": "2027-01-15T09:00:00.000000Z",
    "cacheDurationS": 600,
    "requestIds": ["r-1", "r-2"],
    "orders": [],
}
REFUSED = {
    "event": "refused",
    "serviceAccount": {"namespace": "team-b", "name": "db", "uid": "u-2"},
    "image": "gcr.io/other/app",
    "code": "no-grant",
    "message": "no",
}
STATIC = {"event": "anonymous", "serviceAccount": None, "image": "gcr.io/distroless/static"}
ORDER = {"event": "order", "done": "created", "order": {"id": "o-1", "action": "block"}, "by": "ann"}


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Three days: on each a credential, a refusal and an answer without one; on the last an order."""
    made = Trail(tmp_path / "state")
    for _ in range(3):
        made.append(ISSUED)
        made.append(REFUSED, STATIC)
        made.clock.advance(DAY_S)
    made.clock.advance(-DAY_S)
    made.append(ORDER)
    return made


def select(trail: Trail, **wanted: Any) -> Selection:
    """A selection, not read yet."""
    return Selection(reading.take(str(trail.directory), trail.clock), Filter(**wanted), nothing)


def seqs(trail: Trail, **wanted: Any) -> list[int]:
    """The numbers of the lines that a filter selects."""
    return [line.members["seq"] for line in select(trail, **wanted).all()]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ({}, list(range(1, 11))),
        ({"event": "issued"}, [1, 4, 7]),
        ({"event": "rotated"}, []),
        ({"outcome": "ok"}, [1, 3, 4, 6, 7, 9]),
        ({"outcome": "refused"}, [2, 5, 8]),
        ({"outcome": "change"}, [10]),
        ({"service_account": "team-a/web"}, [1, 4, 7]),
        ({"service_account": "*/d*"}, [2, 5, 8]),
        ({"image": "gcr.io/**"}, [2, 3, 5, 6, 8, 9]),
        ({"image": "gcr.io/**", "outcome": "ok"}, [3, 6, 9]),
        ({"since_s": NOW_S + DAY_S}, [4, 5, 6, 7, 8, 9, 10]),
        ({"since_s": NOW_S + DAY_S + 1}, [7, 8, 9, 10]),
        ({"until_s": NOW_S + DAY_S}, [1, 2, 3]),
        ({"since_s": NOW_S + 1, "until_s": NOW_S + 2 * DAY_S}, [4, 5, 6]),
        ({"since_s": NOW_S + 30 * DAY_S}, []),
        ({"until_s": NOW_S - 30 * DAY_S}, []),
    ],
)
def test_filters(trail: Trail, wanted: dict[str, Any], expected: list[int]) -> None:
    """All that are given must hold; since is included, until is not."""
    assert seqs(trail, **wanted) == expected


def test_every_event_has_an_outcome_of_its_own_or_is_another(trail: Trail) -> None:
    """A later version's event is shown, too."""
    trail.append({"event": "levitated"})
    assert selection.outcome("levitated") == selection.outcome(["issued"]) == "other"
    assert seqs(trail)[-1] == 11


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 9, 10, 11])
def test_the_newest(trail: Trail, limit: int) -> None:
    """The last ones that are selected, the newest last."""
    found = [line.members["seq"] for line in select(trail).newest(limit)]
    assert found == list(range(1, 11))[-limit:]
    found = [line.members["seq"] for line in select(trail, event="issued").newest(limit)]
    assert found == [1, 4, 7][-limit:]


def test_files_outside_of_the_wanted_time_are_not_read(trail: Trail) -> None:
    """What can't be read in them is not even seen."""
    for path in trail.files:
        trail.edit(path, lambda kept: kept.insert(1, b"x\n"))
    found = select(trail, since_s=NOW_S + 2 * DAY_S)
    assert [line.members["seq"] for line in found.all()] == [7, 8, 9, 10]
    assert (found.unreadable, found.first_unreadable) == (1, f"{trail.last.name}:2")
    found = select(trail, until_s=NOW_S - 2 * DAY_S)
    assert (list(found.all()), found.unreadable) == ([], 0)


@pytest.mark.parametrize("edge", [0, -1])
def test_a_file_whose_time_can_not_be_told_is_read(trail: Trail, edge: int) -> None:
    """Its first or last line is no line, or has no time."""
    trail.edit(trail.last, lambda kept: kept.__setitem__(edge, kept[edge].replace(b'"time":"2027', b'"time":"x')))
    assert len(seqs(trail, until_s=NOW_S)) == 0
    trail.edit(trail.last, lambda kept: kept.__setitem__(edge, b"x\n"))
    found = select(trail, until_s=NOW_S)
    assert (list(found.all()), found.unreadable) == ([], 1)


def test_lines_that_were_written_while_the_clock_was_wrong(tmp_path: Path) -> None:
    """They are found by their own time, whatever file they are in."""
    trail = Trail(tmp_path / "state")
    for step_s in (0, 16.5 * 3600, -3600, -7200, 365 * DAY_S, -365 * DAY_S, 86000, 0, DAY_S):
        trail.clock.advance(step_s)
        trail.append()
    for line in trail.lines():
        at_s = moments.parse(line["time"])
        assert line["seq"] in seqs(trail, since_s=at_s, until_s=at_s + 1)


def test_unreadable_lines_are_counted(trail: Trail) -> None:
    """Text, half a line, a list, and bytes that are no ASCII."""
    front = b'{"seq":1,"prev":"' + b"a" * 64 + b'","time":"2027-01-15T08:00:00.000000Z"'
    bad = [b"x\n", front + b"}}\n", front + b',"a":"\xff"}\n', b"\n"]
    trail.edit(trail.files[1], lambda kept: kept.extend(bad))
    with trail.last.open("ab") as file:
        file.write(front + b"}")
    found = select(trail)
    shown = list(report.documents(found, found.all()))
    assert len(shown) == 11
    assert shown[-1] == {"event": "unreadable", "lines": 5, "first": f"{trail.files[1].name}:4"}
    table = list(report.table(found, select(trail).all()))
    assert table[-1].startswith(
        f"5 unreadable lines, the first at {trail.files[1].name}:4: see `pullpass audit verify`"
    )


def test_the_table(trail: Trail) -> None:
    """One line each, with what is particular to the event; the last says how many."""
    trail.append(
        {"event": "warning", "code": "half-line", "file": "f", "message": "a\nb\x1b[31m"},
        {"event": "pruned", "files": ["a", "b"], "through": {}},
        {"event": "expired", "serviceAccount": 7, "expires": "soon", "order": 1, "files": []},
    )
    found = select(trail)
    lines = "".join(report.table(found, found.all())).splitlines()
    assert lines[0].split() == ["TIME", "EVENT", "SERVICE", "ACCOUNT", "IMAGE", "IDENTITY", "DETAILS"]
    assert lines[1].split() == [
        "2027-01-15T08:00:00Z", "issued", "team-a/web", ISSUED["image"], "principal", "from", "exchange,", "until",
        "2027-01-15T09:00:00Z",
    ]  # fmt: skip
    assert lines[2].endswith("no-grant, no")
    assert lines[3].split()[2] == "-"
    assert lines[10].endswith("block o-1 created")
    assert lines[11].endswith(r"half-line, a\nb\x1b[31m, f")
    assert lines[12].endswith("2 files, the last b")
    assert lines[-1] == "13 lines"


def test_a_file_that_is_pruned_meanwhile_is_passed_over(trail: Trail) -> None:
    """It was too old to be shown."""
    found = select(trail)
    trail.files[0].unlink()
    assert [line.members["seq"] for line in found.all()] == [4, 5, 6, 7, 8, 9, 10]


def test_a_file_that_can_not_be_read(trail: Trail) -> None:
    """A link in its place since the picture was taken."""
    found = select(trail)
    trail.files[0].unlink()
    (trail.directory / "2027-01-15-001.jsonl").symlink_to(trail.files[1])
    with pytest.raises(PullpassError, match="trail-unreadable"):
        list(found.all())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOW_S - DAY_S),
        ("1d12h", NOW_S - 1.5 * DAY_S),
        ("0", NOW_S),
        ("2027-01-15T08:00:00Z", NOW_S),
        ("2027-01-15T08:00:00.5Z", NOW_S + 0.5),
    ],
)
def test_moments_as_people_write_them(text: str, expected: float) -> None:
    """RFC 3339, or how long ago."""
    assert report.moment_s(text, "--since", FakeClock()) == expected


@pytest.mark.parametrize("text", ["", "yesterday", "2027-01-15", "-1h", "2027-01-15T08:00:00+01:00"])
def test_what_is_no_moment(text: str) -> None:
    """It names the option."""
    with pytest.raises(PullpassError, match=r"usage: --since: .* is neither a moment nor a duration"):
        report.moment_s(text, "--since", FakeClock())


# --- export


def written(trail: Trail, form: str, path: Path) -> int:
    """Export everything."""
    return export.export(select(trail).all(), form, str(path))


def test_json_lines_are_the_stored_bytes(trail: Trail, tmp_path: Path) -> None:
    """So the chain can be followed in the export, too; it is its owner's alone, and replaces what was there."""
    path = tmp_path / "out.jsonl"
    path.write_text("old")
    path.chmod(0o644)
    assert written(trail, "jsonl", path) == 10
    assert path.read_bytes().splitlines() == trail.raw()
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(os.listdir(tmp_path)) == ["out.jsonl", "state"]


def test_csv(trail: Trail, tmp_path: Path) -> None:
    """Python's own reader gets the columns; what would be a formula is text."""
    trail.append({"event": "warning", "code": "c", "message": '=HYPERLINK("x")', "odd": 1}, {**ISSUED, "pod": 'a,\n"b'})
    path = tmp_path / "out.csv"
    assert written(trail, "csv", path) == 12
    rows = list(csv.DictReader(io.StringIO(path.read_bytes().decode(), newline="")))
    assert tuple(rows[0]) == tuple(export.COLUMNS)
    assert {name: rows[0][name] for name in ("seq", "event", "outcome", "namespace", "serviceAccount", "more")} == {
        "seq": "1", "event": "issued", "outcome": "ok", "namespace": "team-a", "serviceAccount": "web", "more": ""
    }  # fmt: skip
    assert (rows[0]["requestIds"], rows[0]["cacheDurationS"], rows[0]["code"]) == ("r-1 r-2", "600", "")
    assert rows[10]["message"] == '\'=HYPERLINK("x")'
    assert json.loads(rows[10]["more"]) == {"odd": 1}
    assert rows[11]["pod"] == 'a,\n"b'


def test_parquet(trail: Trail, tmp_path: Path) -> None:
    """Arrow's own reader gets typed columns."""
    path = tmp_path / "out.parquet"
    assert written(trail, "parquet", path) == 10
    rows = PARQUET.read_table(path).to_pylist()
    assert [row["seq"] for row in rows] == list(range(1, 11))
    assert rows[0]["requestIds"] == ["r-1", "r-2"]
    assert rows[0]["orders"] == []
    assert rows[1]["requestIds"] is None
    assert (rows[2]["namespace"], rows[2]["more"]) == (None, None)
    assert json.loads(rows[9]["more"]) == {"order": ORDER["order"], "done": "created", "by": "ann"}


def test_parquet_of_many_lines_is_written_in_groups(trail: Trail, tmp_path: Path) -> None:
    """So that memory does not grow with the trail; no line at all is a table without rows."""
    path = tmp_path / "out.parquet"
    (line, *_) = list(select(trail).all())
    assert export.export((line for _ in range(2 * export.ROWS + 1)), "parquet", str(path)) == 2 * export.ROWS + 1
    assert PARQUET.ParquetFile(path).num_row_groups == 3
    assert export.export(iter(()), "parquet", str(path)) == 0
    assert PARQUET.read_table(path).num_rows == 0


ODD = {
    "seq": 2**70,
    "event": ["issued"],
    "image": "\ud800",
    "requestIds": ["a", 1],
    "orders": {"a": 1},
    "cacheDurationS": True,
    "prev": None,
}


@pytest.mark.parametrize("account", [{"namespace": 1}, {"zone": "a"}, {}, [], "x", 0])
def test_a_hand_made_line_loses_nothing(account: Any, tmp_path: Path) -> None:
    """What no column can hold goes to `more` as it is."""
    members = {**ODD, "serviceAccount": account}
    made = export.row(members)
    assert json.loads(made["more"]) == members
    assert {value for name, value in made.items() if name not in {"more", "outcome"}} == {None}
    for form in export.FORMATS:
        assert export.export(iter([selection.Found(b"{}", members)]), form, str(tmp_path / form)) == 1


@pytest.mark.parametrize("form", sorted(export.FORMATS))
def test_an_export_that_can_not_be_written(trail: Trail, tmp_path: Path, form: str) -> None:
    """No directory, or one in the file's place."""
    (tmp_path / "full").mkdir()
    for path in (tmp_path / "absent" / "out", tmp_path / "full"):
        with pytest.raises(PullpassError, match="export-failed"):
            written(trail, form, path)
    assert sorted(os.listdir(tmp_path)) == ["full", "state"]


def test_an_export_whose_trail_can_not_be_read_leaves_nothing(trail: Trail, tmp_path: Path) -> None:
    """Neither half a file nor a temporary one."""

    def broken() -> Iterator[selection.Found]:
        yield from select(trail, event="issued").all()
        raise PullpassError("trail-unreadable", "gone")

    with pytest.raises(PullpassError, match="trail-unreadable"):
        export.export(broken(), "csv", str(tmp_path / "out.csv"))
    assert os.listdir(tmp_path) == ["state"]
