"""Verifying the trail: what was done to it is found, and what was not is not."""

from __future__ import annotations

import fcntl
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pullpass.errors import PullpassError
from pullpass.trail import chain, head, reading, verify
from trails import DAY_S, Trail, digest

if TYPE_CHECKING:
    from collections.abc import Callable

    Lines = list[bytes]

NEW = b"\n"


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Three files of four lines each."""
    made = Trail(tmp_path / "state")
    made.days(3, each=4)
    return made


def found(trail: Trail) -> list[tuple[str, str]]:
    """Code and place of each finding."""
    return [(each.code, each.place) for each in trail.verify().findings if each.severity == "finding"]


def test_a_sound_trail(trail: Trail) -> None:
    """Nothing is found, and the head is told, for noting it elsewhere."""
    report = trail.verify()
    assert (report.files, report.lines, report.findings, report.found, report.noted) == (3, 12, [], 0, 0)
    document = verify.document(report)
    assert document["head"] == {"seq": 12, "hash": digest(trail.raw()[-1])}
    assert verify.text(report) == f"12 lines in 3 files: 0 findings, 0 notes\nhead: 12:{digest(trail.raw()[-1])}\n"


def swap(kept: Lines) -> None:
    """Exchanges the second and third line."""
    kept[1:3] = kept[2:0:-1]


def replace(number: int, old: bytes, new: bytes) -> Callable[[Lines], None]:
    """Edits a line."""

    def change(kept: Lines) -> None:
        assert old in kept[number]
        kept[number] = kept[number].replace(old, new)

    return change


def insert(number: int, line: bytes) -> Callable[[Lines], None]:
    """Puts a line in between."""
    return lambda kept: kept.insert(number, line)


def forged(kept: Lines) -> None:
    """Puts two lines in that are chained to each other, with numbers from far ahead."""
    first = b'{"seq":500,"prev":"' + b"a" * 64 + b'","time":"x"}'
    second = b'{"seq":501,"prev":"' + digest(first).encode() + b'","time":"x"}'
    kept[2:2] = [first + NEW, second + NEW]


NAME = "2027-01-16-001.jsonl"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(replace(1, b'"x"', b'"y"'), [("changed", f"{NAME}:2")], id="a body"),
        pytest.param(replace(3, b'"x"', b'"y"'), [("changed", f"{NAME}:4")], id="the body of a file's last line"),
        pytest.param(replace(1, b'"seq":6', b'"seq":9'), [("changed", f"{NAME}:2")], id="a number"),
        pytest.param(replace(1, b'"prev":"', b'"prev":"0'), [("changed", f"{NAME}:2")], id="a hash's length"),
        pytest.param(replace(1, b'{"seq"', b'{"sea"'), [("changed", f"{NAME}:2")], id="a front"),
        pytest.param(replace(1, NEW, b" "), [("removed", f"{NAME}:3")], id="a line feed"),
        pytest.param(lambda kept: kept.pop(1), [("removed", f"{NAME}:2")], id="one line gone"),
        pytest.param(lambda kept: kept.clear(), [("removed", "2027-01-17-001.jsonl:1")], id="a whole file gone"),
        pytest.param(swap, [("inserted", f"{NAME}:2"), ("reordered", f"{NAME}:4")], id="two lines exchanged"),
        pytest.param(insert(2, b"x\n"), [("foreign-line", f"{NAME}:3")], id="text put in"),
        pytest.param(insert(2, NEW), [("foreign-line", f"{NAME}:3")], id="an empty line put in"),
        pytest.param(lambda kept: kept.insert(2, kept[0]), [("inserted", f"{NAME}:3")], id="a copy put in"),
        pytest.param(forged, [("removed", f"{NAME}:3")], id="lines from far ahead put in"),
        pytest.param(
            lambda kept: kept.__setitem__(3, kept[3][:50]), [("changed", f"{NAME}:4")], id="half a line in the middle"
        ),
    ],
)
def test_what_was_done_to_a_file_in_the_middle(
    trail: Trail, change: Callable[[Lines], None], expected: list[tuple[str, str]]
) -> None:
    """Each is called by its name, at its place; what is not touched is not accused."""
    trail.edit(trail.files[1], change)
    assert found(trail) == expected


@pytest.mark.parametrize(
    ("change", "code"),
    [
        pytest.param(replace(0, b'"x"', b'"y"'), "changed", id="a body"),
        pytest.param(replace(0, b'"prev":"0', b'"prev":"1'), "changed", id="the hash of nothing"),
        pytest.param(replace(0, b'"seq":1', b'"seq":9'), "changed", id="a number"),
        pytest.param(lambda kept: kept.pop(0), "start-missing", id="gone"),
        pytest.param(insert(0, b"x\n"), "foreign-line", id="text before it"),
    ],
)
def test_what_was_done_to_the_first_line(trail: Trail, change: Callable[[Lines], None], code: str) -> None:
    """It has no line before it, and is told all the same."""
    trail.edit(trail.files[0], change)
    assert code in trail.codes()


@pytest.mark.parametrize(
    ("change", "codes"),
    [
        pytest.param(replace(3, b'"x"', b'"y"'), ["changed"], id="a body"),
        pytest.param(lambda kept: kept.pop(), ["cut"], id="gone"),
        pytest.param(lambda kept: kept.__setitem__(3, kept[3][:-1]), ["cut", "half-line"], id="its line feed"),
        pytest.param(lambda kept: kept.__setitem__(3, kept[3][:-9]), ["cut", "half-line"], id="its end"),
        pytest.param(lambda kept: kept.append(kept[-1]), ["inserted"], id="twice"),
        pytest.param(replace(2, b'"x"', b'"y"'), ["changed"], id="the body of the one before"),
        pytest.param(lambda kept: kept.pop(2), ["removed"], id="the one before gone"),
        pytest.param(replace(3, b'"prev":"', b'"prev":"0'), ["cut", "foreign-line"], id="its front"),
    ],
)
def test_what_was_done_to_the_last_line(trail: Trail, change: Callable[[Lines], None], codes: list[str]) -> None:
    """No line follows it, but the head does."""
    trail.edit(trail.last, change)
    assert set(codes) <= set(trail.codes())


def test_a_cut_tail_and_what_was_on_disk(trail: Trail) -> None:
    """Lines that had been synced were not taken by a power failure."""
    trail.append()
    trail.append(sync=True)
    trail.append()
    trail.edit(trail.last, lambda kept: kept.pop())
    assert "a power failure may have taken them" in trail.verify().findings[0].text
    trail.edit(trail.last, lambda kept: kept.pop())
    text = trail.verify().findings[0].text
    assert text.endswith("line 14 is on disk already, so no power failure has taken them")


def write_head(trail: Trail, **changed: Any) -> None:
    """Change what the head says."""
    members = {**trail.read_head(), **changed}
    members.pop("version")
    trail.head.write_bytes(head.render(head.Head(**members)))


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"hash": "a" * 64}, "changed"),
        ({"offset": 5}, "head-wrong"),
        ({"file": NAME}, "head-wrong"),
        ({"file": "2027-01-18-001.jsonl"}, "head-wrong"),
        ({"seq": 13}, "cut"),
        ({"seq": 0, "synced": 0}, "changed"),
    ],
)
def test_what_was_done_to_the_head(trail: Trail, changed: dict[str, Any], code: str) -> None:
    """It must name the last line, and where that ends."""
    write_head(trail, **changed)
    assert trail.codes() == [code]


def test_a_head_behind_the_last_line_of_its_file_is_a_crash(trail: Trail) -> None:
    """The next writer adopts the line; until then it is noted."""
    trail.clock.advance(-DAY_S)
    before = trail.head.read_bytes()
    trail.append()
    trail.head.write_bytes(before)
    assert (trail.codes(), trail.codes("note")) == ([], ["head-behind"])


def test_a_head_that_names_a_new_file_without_lines(trail: Trail) -> None:
    """A writer was killed after making it."""
    (trail.directory / "2027-01-18-001.jsonl").touch(mode=0o600)
    write_head(trail, file="2027-01-18-001.jsonl", offset=0)
    assert trail.codes() == []


def test_an_open_half_line_is_a_crash(trail: Trail) -> None:
    """Until the next writer closes it off it is noted; a half line that no warning names is a finding."""
    with trail.last.open("ab") as file:
        file.write(b'{"seq":13,"pr')
    assert (trail.codes(), trail.codes("note")) == ([], ["half-line-open"])
    trail.clock.advance(-DAY_S)
    trail.append()
    assert (trail.codes(), trail.codes("note")) == ([], ["half-line-closed"])
    trail.edit(trail.last, replace(4, b'"pr', b'"pR'))
    assert trail.codes() == ["half-line-gone", "foreign-line"]


def test_a_warning_that_can_not_be_read_names_nothing(trail: Trail) -> None:
    """The chain holds a line that is no JSON: it was never ours, but the hashes fit."""
    line = f'{{"seq":13,"prev":"{trail.read_head()["hash"]}","time":"t","event":"warning",}}'.encode()
    with trail.last.open("ab") as file:
        file.write(line + NEW)
    write_head(trail, seq=13, hash=digest(line), offset=trail.last.stat().st_size)
    assert trail.codes() == []


@pytest.mark.parametrize("through", ['"x"', '{"seq":"1","hash":"a"}', '{"seq":1,"hash":"a"}', "null"])
def test_a_pruned_line_that_says_nothing(trail: Trail, through: str) -> None:
    """It accounts for nothing."""
    body = f'"time":"t","event":"pruned","through":{through}}}'
    line = f'{{"seq":13,"prev":"{trail.read_head()["hash"]}",{body}'.encode()
    with trail.last.open("ab") as file:
        file.write(line + NEW)
    write_head(trail, seq=13, hash=digest(line), offset=trail.last.stat().st_size)
    assert trail.codes() == []
    trail.files[0].unlink()
    assert trail.codes() == ["start-missing"]


def test_a_pruned_line_that_names_what_is_there_as_something_else(trail: Trail) -> None:
    """Lines cannot be accounted for by a name that another line has."""
    trail.append({"event": "pruned", "files": [NAME], "through": {"seq": 8, "hash": "a" * 64}})
    assert trail.codes() == ["pruned-differs"]
    trail.append({"event": "pruned", "files": [NAME], "through": {"seq": 0, "hash": "0" * 64}})
    assert trail.codes() == ["pruned-differs"]


def test_a_missing_file(trail: Trail) -> None:
    """In the middle and at the end."""
    trail.files[1].unlink()
    assert found(trail) == [("removed", "2027-01-17-001.jsonl:1")]
    trail.files[1].unlink()
    assert trail.codes() == ["cut"]


def test_no_head(trail: Trail) -> None:
    """Without it a cut tail would not be seen, so that is a finding."""
    trail.head.unlink()
    assert trail.codes() == ["head-missing"]
    assert verify.text(trail.verify()).endswith("head: none\n")
    assert verify.document(trail.verify())["head"] is None
    trail.head.write_bytes(b"x")
    trail.head.chmod(0o600)
    assert trail.codes() == ["head-unreadable"]


def test_no_trail(tmp_path: Path) -> None:
    """A node that has written nothing has nothing that is wrong."""
    trail = Trail(tmp_path / "state")
    assert trail.codes() == []
    trail.directory.mkdir(parents=True, mode=0o700)
    assert trail.codes() == []
    trail.head.touch(mode=0o600)
    assert trail.codes() == []
    assert [each.code for each in trail.verify(f"5:{'a' * 64}").findings] == ["expected-missing"]


def test_a_head_that_was_noted_earlier(trail: Trail) -> None:
    """It must be in the chain; a trail that was rewritten as a whole, head and all, does not have it."""
    noted = f"6:{digest(trail.raw()[5])}"
    assert trail.verify(noted).found == 0
    assert [each.code for each in trail.verify(f"6:{'a' * 64}").findings] == ["expected-differs"]
    assert [each.code for each in trail.verify(f"13:{'a' * 64}").findings] == ["expected-missing"]
    other = Trail(trail.state.parent / "rewritten")
    other.append({"event": "refused", "code": "other", "message": "no"})
    other.days(3, each=4)
    assert other.codes() == []
    assert [each.code for each in other.verify(noted).findings] == ["expected-differs"]


def test_a_noted_head_that_was_pruned_since(trail: Trail) -> None:
    """The last pruned line can still be compared; what lies before it can't, which is noted."""
    raw = trail.raw()
    for _ in range(3):
        trail.append(keep_s=3 * DAY_S)
        trail.clock.advance(DAY_S)
    assert trail.files[0].name == NAME
    assert trail.verify(f"4:{digest(raw[3])}").findings == []
    assert [each.code for each in trail.verify(f"4:{'a' * 64}").findings] == ["expected-differs"]
    report = trail.verify(f"2:{digest(raw[1])}")
    assert [(each.severity, each.code) for each in report.findings] == [("note", "expected-pruned")]


@pytest.mark.parametrize("text", ["", "5", "5:", "x:" + "a" * 64, "-1:" + "a" * 64, "5:" + "A" * 64, "²:" + "a" * 64])
def test_what_is_no_noted_head(text: str) -> None:
    """It is refused as a wrong option."""
    with pytest.raises(PullpassError) as caught:
        verify.parse_expected(text)
    assert caught.value.code == "usage"


def test_many_findings_are_counted_and_few_are_shown(trail: Trail) -> None:
    """Memory does not grow with what is wrong."""
    trail.edit(trail.files[1], lambda kept: kept.extend([b"x\n"] * (3 * chain.KEPT)))
    report = trail.verify()
    assert (report.found, len(report.findings)) == (3 * chain.KEPT, chain.KEPT)
    assert verify.text(report).splitlines()[-3] == f"... and {2 * chain.KEPT} more"
    assert verify.document(report)["findings"] == 3 * chain.KEPT


def test_long_lines_and_line_feeds_at_the_edges_of_what_is_read_at_once(trail: Trail) -> None:
    """A line may cross the edges of chunks, and one that is longer than ours are is foreign, with its real hash."""
    trail.append({"event": "warning", "code": "long", "message": "x" * 1_000_000})
    trail.append({"event": "warning", "code": "long", "message": "x" * 1_000_000})
    assert trail.codes() == []
    half = b"\0" * 3_000_000
    with trail.last.open("ab") as file:
        file.write(half)
    trail.append()
    trail.append()
    (warning,) = [line for line in trail.lines() if line.get("code") == "half-line"]
    assert (warning["bytes"], warning["sha256"]) == (len(half), digest(half))
    assert (trail.codes(), trail.codes("note")) == ([], ["half-line-closed"])


def test_a_line_that_nobody_would_read_is_not_written(trail: Trail) -> None:
    """A defect elsewhere must not make a trail that verifies no more."""
    with pytest.raises(PullpassError, match=r"trail-unwritable: .*at most 1048576 are read"):
        trail.append({"event": "warning", "code": "long", "message": "x" * 1_100_000})
    assert trail.codes() == []


def test_a_writer_that_hangs(trail: Trail) -> None:
    """It is waited for, and then told."""
    with trail.head.open("rb+") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(PullpassError, match=r"trail-unreadable: .*kept its lock for 10s"):
            trail.verify()
    assert sum(trail.clock.slept) == pytest.approx(reading.LOCK_WAIT_S)


def test_a_trail_of_a_later_version(trail: Trail) -> None:
    """It is for that version to judge."""
    trail.head.write_bytes(trail.head.read_bytes().replace(b'"version":1', b'"version":2'))
    with pytest.raises(PullpassError, match=r"trail-unreadable: .*version 2"):
        trail.verify()


class Removing:
    """Progress that removes a file while the trail is read."""

    def __init__(self, *paths: Path) -> None:
        self.paths = list(paths)

    def __call__(self, done: int, total: int) -> None:
        """Remove the next one."""
        if self.paths:
            self.paths.pop(0).unlink()


def test_a_file_that_is_pruned_meanwhile(tmp_path: Path) -> None:
    """Another picture is taken; the line that accounts for it is in that one."""
    trail = Trail(tmp_path / "state")
    for _ in range(5):
        trail.append(keep_s=3 * DAY_S)
        trail.clock.advance(DAY_S)
    picture = reading.take(str(trail.directory), trail.clock)
    trail.append(keep_s=3 * DAY_S)
    with pytest.raises(reading.Gone):
        reading.open_part(picture, picture.parts[0])
    assert trail.codes() == []


def test_every_kind_of_finding_is_in_the_document() -> None:
    """docs/audit.md lists the codes that verifying tells."""
    root = Path(__file__).parents[2]
    page = (root / "docs" / "audit.md").read_text()
    source = "".join((root / "provider/pullpass/trail" / name).read_text() for name in ("chain.py", "verify.py"))
    told = set(re.findall(r'(?:FINDING|NOTE), "([a-z-]+)"|_tell\("([a-z-]+)"', source))
    codes = {code for pair in told for code in pair if code}
    assert len(codes) > 20
    assert [code for code in sorted(codes) if f"`{code}`" not in page] == []


def test_a_trail_whose_first_line_follows_another_one(trail: Trail) -> None:
    """Rewritten as a whole, but for the hash of nothing."""
    for path in trail.files:
        path.unlink()
    line = b'{"seq":1,"prev":"' + b"a" * 64 + b'","time":"t","event":"refused"}'
    path = trail.directory / NAME
    path.touch(mode=0o600)
    path.write_bytes(line + NEW)
    write_head(trail, seq=1, hash=digest(line), file=NAME, offset=len(line) + 1, synced=0)
    assert found(trail) == [("changed", f"{NAME}:1")]


def test_a_document_is_json(trail: Trail) -> None:
    """Whatever was found."""
    trail.edit(trail.files[1], lambda kept: kept.insert(1, b"\xff\n"))
    assert json.loads(json.dumps(verify.document(trail.verify())))["found"][0]["code"] == "foreign-line"
