"""Files that an operator wrote: whose they must be, and whose the way to them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pullpass.errors import PullpassError
from pullpass.store import files

if TYPE_CHECKING:
    from pathlib import Path

SOMEBODY = 12345


def distrust(path: Path | str, status: os.stat_result | None = None) -> str:
    """Why a file is not trusted, or "" when it is."""
    try:
        files.check_trusted(str(path), status or os.stat(path), "ca-bundle")
    except PullpassError as error:
        prefix = f"pullpass: ca-bundle: {path}"
        return error.line().removeprefix(prefix).removeprefix(": ").removesuffix(f"; {error.hint}")
    return ""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file three directories below, all of them the caller's alone."""
    path = tmp_path / "a" / "b" / "file"
    path.parent.mkdir(parents=True)
    path.touch(0o644)
    return path


def test_a_file_of_ones_own_is_trusted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By its absolute path and by a relative one."""
    assert distrust(file) == ""
    monkeypatch.chdir(file.parent)
    assert distrust("../b/./file") == ""


@pytest.mark.parametrize("bits", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_not_trusted(bits: int, file: Path) -> None:
    """The status is that of what was read, wherever the name leads by now."""
    other = file.with_name("other")
    other.touch()
    other.chmod(bits)
    assert distrust(file, other.stat()) == f" may be written by others (mode {bits:04o}), expected its owner alone"


def test_a_foreign_owner_is_not_trusted(file: Path) -> None:
    """A file belongs to root or to the caller."""
    status = list(file.stat())
    stranger = os.geteuid() + 1
    status[4] = stranger
    assert distrust(file, os.stat_result(status)) == f" belongs to user {stranger}, expected root or {os.geteuid()}"
    status[4] = 0
    assert distrust(file, os.stat_result(status)) == ""


@pytest.mark.parametrize("above", [1, 2])
def test_every_directory_above_counts(above: int, file: Path) -> None:
    """Unless it is sticky, where nobody can replace what is another's."""
    directory = file.parents[above - 1]
    directory.chmod(0o777)
    assert distrust(file) == f"{directory} may be written by others (mode 0777) and is not sticky"
    directory.chmod(0o1777)
    assert distrust(file) == ""


def test_every_directory_on_the_way_of_links_counts(file: Path, tmp_path: Path) -> None:
    """The way leads through a directory that neither the path nor the file's real name shows."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "link").symlink_to("../a")
    (tmp_path / "first").symlink_to(hidden / "link")
    path = tmp_path / "first" / "b" / "file"
    assert distrust(path) == ""
    hidden.chmod(0o777)
    assert distrust(path) == f"{hidden} may be written by others (mode 0777) and is not sticky"
    assert distrust(file) == ""


def test_a_parent_is_that_of_where_a_link_leads(file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`link/..` is not the link's own directory."""
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "link").symlink_to(file.parent)
    (tmp_path / "else").chmod(0o755)
    monkeypatch.chdir(tmp_path / "else")
    path = "link/../b/file"
    assert os.stat(path).st_ino == file.stat().st_ino
    file.parents[1].chmod(0o777)
    assert distrust(path) == f"{file.parents[1]} may be written by others (mode 0777) and is not sticky"


def test_a_way_that_has_gone_is_not_trusted(file: Path, tmp_path: Path) -> None:
    """What was read is there no more, or was replaced by links without an end."""
    status = file.stat()
    file.unlink()
    assert distrust(file, status) == "the way to it can't be looked at: No such file or directory"
    (tmp_path / "loop").symlink_to("loop")
    expected = "the way to it can't be looked at: Too many levels of symbolic links"
    assert distrust(tmp_path / "loop", status) == expected


@pytest.mark.needs("root")
def test_a_way_of_somebody_else_is_not_trusted(file: Path, tmp_path: Path) -> None:
    """A directory above, and a link in a sticky one."""
    os.chown(file.parents[1], SOMEBODY, SOMEBODY)
    assert distrust(file) == f"{file.parents[1]} belongs to user {SOMEBODY}, who could replace what is there"
    os.chown(file.parents[1], 0, 0)
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    link = tmp_path / "sticky" / "link"
    link.symlink_to(file)
    assert distrust(link) == ""
    os.chown(link, SOMEBODY, SOMEBODY, follow_symlinks=False)
    assert distrust(link) == f"{link} belongs to user {SOMEBODY}, who could replace what is there"
