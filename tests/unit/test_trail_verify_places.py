"""Verifying the audit trail: what does not belong there, and whose it is."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pullpass.errors import PullpassError
from pullpass.trail import verify
from trails import Trail, nothing

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
        ("wrong-mode", "-"),
        ("wrong-mode", "head"),
        ("wrong-mode", trail.last.name),
    ]


@pytest.mark.needs("root")
def test_owners(trail: Trail) -> None:
    """And they belong to who verifies."""
    os.chown(trail.last, 1, 1)
    assert found(trail) == [("wrong-owner", trail.last.name)]


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
