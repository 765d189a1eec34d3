"""Verifying the audit trail: what does not belong there, whose it is, and which head is told."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from pullpass.errors import PullpassError
from pullpass.trail import verify
from trails import Trail, digest, nothing

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Three files of four lines each."""
    made = Trail(tmp_path / "state")
    made.days(3, each=4)
    return made


def found(trail: Trail) -> list[tuple[str, str]]:
    """Code and place of each finding."""
    return [(each.code, each.place) for each in trail.verify().findings if each.severity == "finding"]


def test_what_does_not_belong_there(trail: Trail) -> None:
    """Other files, links and directories; names that only look like ours."""
    (trail.directory / "notes.txt").touch()
    (trail.directory / "2027-01-16-1.jsonl").touch()
    (trail.directory / "2027-01-16-002.jsonl").symlink_to("/dev/null")
    (trail.directory / "2027-01-16-003.jsonl").mkdir()
    there = found(trail)
    assert [code for code, _ in there] == ["foreign-file"] * 4
    assert {place for _, place in there} == {
        "notes.txt", "2027-01-16-1.jsonl", "2027-01-16-002.jsonl", "2027-01-16-003.jsonl"
    }  # fmt: skip


def test_modes(trail: Trail) -> None:
    """Directory, head and files are the owner's alone."""
    trail.directory.chmod(0o750)
    trail.head.chmod(0o604)
    trail.last.chmod(0o640)
    assert found(trail) == [
        ("wrong-mode", ""),
        ("wrong-mode", "head"),
        ("wrong-mode", trail.last.name),
    ]


def test_a_directory_is_named(trail: Trail) -> None:
    """With what puts it right."""
    trail.directory.chmod(0o750)
    first, *_ = verify.text(trail.verify()).splitlines()
    assert first == (
        f"finding: {trail.directory}: wrong-mode: the directory is open to others (mode 0750): "
        f"`chmod 0700 {trail.directory}`"
    )
    subprocess.run(["sh", "-c", first.split("`")[1]], check=True)
    assert found(trail) == []


@pytest.mark.needs("root")
def test_owners(trail: Trail) -> None:
    """And they belong to who verifies; of a copy that says nothing."""
    os.chown(trail.last, 1, 1)
    assert found(trail) == [("wrong-owner", trail.last.name)]
    assert verify.verify(str(trail.directory), trail.clock, [], nothing, is_copy=True).found == 0


def test_a_way_that_others_may_change(trail: Trail) -> None:
    """They could put another trail there, and requests are refused; of a copy that says nothing."""
    trail.state.chmod(0o777)
    assert found(trail) == [("open-way", "")]
    line = verify.text(trail.verify()).splitlines()[0]
    assert line.startswith(f"finding: {trail.directory}: open-way: {trail.state} may be written by others (mode 0777)")
    assert verify.verify(str(trail.directory), trail.clock, [], nothing, is_copy=True).found == 0
    trail.state.chmod(0o700)
    assert found(trail) == []


def test_a_state_directory_that_is_absent_is_no_finding(tmp_path: Path) -> None:
    """There is no trail yet."""
    assert found(Trail(tmp_path / "absent")) == []


def test_a_link_in_the_place_of_the_directory(trail: Trail) -> None:
    """It is read, and told."""
    trail.directory.rename(trail.state / "moved")
    trail.directory.symlink_to("moved")
    assert trail.codes()[0] == "wrong-kind"


def test_what_can_not_be_read(trail: Trail) -> None:
    """A loop of links in the place of the head, and a file in the place of the directory."""
    trail.head.unlink()
    trail.head.symlink_to("head")
    with pytest.raises(PullpassError, match=r"trail-unreadable"):
        trail.verify()
    with pytest.raises(PullpassError, match=r"trail-unreadable"):
        verify.verify(str(trail.last), trail.clock, [], nothing)


def test_a_head_that_is_wrong_is_not_told_as_verified(trail: Trail) -> None:
    """What it claims, and what is there: whoever notes heads must not note that one."""
    claim = f"12:{digest(trail.raw()[-1])}"
    sound = verify.document(trail.verify())
    assert (sound["headConfirmed"], sound["last"]) == (True, sound["head"])
    cut = trail.last.read_bytes()
    trail.edit(trail.last, lambda kept: kept.pop())
    last = digest(trail.raw()[-1])
    assert verify.text(trail.verify()).endswith(
        f"head: not confirmed: it claims {claim}, and the trail ends with 11:{last}\n"
    )
    document = verify.document(trail.verify())
    assert (document["headConfirmed"], document["last"]) == (False, {"seq": 11, "hash": last})
    assert document["head"] == sound["head"]
    trail.last.write_bytes(cut.replace(b"no-grant", b"no-grand"))
    assert trail.verify().confirmed is False
    for path in trail.files:
        path.unlink()
    assert verify.text(trail.verify()).endswith(f"head: not confirmed: it claims {claim}, and the trail has no line\n")
    assert verify.document(trail.verify())["last"] is None
