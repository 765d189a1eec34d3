"""The configuration file's own state: there, readable, nobody else's, TOML."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from configurations import TOML, Place
from pullpass import config

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """A place with a configuration that is fine, and nothing compiled."""
    return Place(tmp_path)


# --- the file


def test_a_missing_file_is_named(place: Place) -> None:
    """No file, and no directory for it, are `config-missing`."""
    place.file.unlink()
    error = place.refused()
    assert error.code == "config-missing"
    assert error.what == f"{place.file} does not exist"
    assert "--config" in error.hint
    place.file = place.file / "below" / "nothing"
    assert place.refused(runtime=True).code == "config-missing"


def test_a_path_below_a_file_is_missing(place: Place) -> None:
    """A path that leads through a file is `config-missing` too."""
    place.file = place.file / "config.toml"
    assert place.refused().code == "config-missing"


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_regular_file_is_unreadable(place: Place, kind: str) -> None:
    """A directory or a fifo in its place ends the run at once."""
    place.file.unlink()
    place.file.mkdir() if kind == "directory" else os.mkfifo(place.file)
    error = place.refused()
    assert error.code == "config-unreadable"
    assert error.what == f"{place.file}: not a regular file"


def test_a_loop_of_links_is_unreadable(place: Place) -> None:
    """The system's own words are in the error."""
    place.file.unlink()
    place.file.symlink_to(place.file.name)
    assert place.refused().what == f"{place.file}: Too many levels of symbolic links"


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
def test_a_file_that_others_may_write_is_refused(place: Place, mode: int) -> None:
    """Group and others may not write it, whether it was compiled before or not."""
    place.load()
    place.file.chmod(mode)
    for runtime in (False, True):
        error = place.refused(runtime=runtime)
        assert error.code == "config-permissions"
        assert error.what == f"{place.file} may be written by others (mode {mode:04o}), expected its owner alone"


def test_a_directory_that_others_may_write_is_refused(place: Place) -> None:
    """Whoever may replace the file decides what is in it; a sticky directory lets nobody do that."""
    place.file.parent.chmod(0o777)
    error = place.refused()
    assert error.code == "config-permissions"
    assert error.what == f"{place.file}: {place.file.parent} may be written by others (mode 0777) and is not sticky"
    place.file.parent.chmod(0o1777)
    assert config.load(str(place.file)).node.cluster == "prod-1"


def test_both_ends_of_a_link_are_looked_at(place: Place, tmp_path: Path) -> None:
    """A link is followed, and the directory it leads to counts as well."""
    far = tmp_path / "far"
    far.mkdir()
    place.file.rename(far / "real.toml")
    place.file.symlink_to(far / "real.toml")
    assert place.load().node.cluster == "prod-1"
    far.chmod(0o775)
    assert place.refused().what == f"{place.file}: {far} may be written by others (mode 0775) and is not sticky"


def test_a_directory_further_above_is_looked_at(place: Place, tmp_path: Path) -> None:
    """Whoever may write it can put another directory, with an old configuration of root's, in the place of ours."""
    open_to_all = tmp_path / "srv"
    (open_to_all / "etc").mkdir(parents=True)
    place.file = place.file.rename(open_to_all / "etc" / "config.toml")
    assert config.load(str(place.file)).node.cluster == "prod-1"
    open_to_all.chmod(0o777)
    for runtime in (False, True):
        error = place.refused(runtime=runtime)
        assert error.code == "config-permissions"
        assert error.what == f"{place.file}: {open_to_all} may be written by others (mode 0777) and is not sticky"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_given_away_is_refused(place: Place) -> None:
    """The same through the whole of `load`, compiled before."""
    place.load()
    os.chown(place.file, 65534, -1)
    assert place.refused(runtime=True).what == f"{place.file} belongs to user 65534, expected root or 0"


@pytest.mark.parametrize(
    ("data", "what"),
    [
        pytest.param(
            b"version = 1\n[node\n",
            "no TOML: Expected ']' at the end of a table declaration (at line 2, column 6)",
            id="syntax",
        ),
        pytest.param(
            b"version = 1\nversion = 2\n", "no TOML: Cannot overwrite a value (at line 2, column 12)", id="key twice"
        ),
        pytest.param(
            b"\xef\xbb\xbfversion = 1\n", "begins with a byte order mark, expected plain UTF-8", id="byte order mark"
        ),
        pytest.param(b"version = 1\n# caf\xe9\n", "line 2 is not UTF-8, expected TOML", id="Latin-1"),
        pytest.param("version = 1\n".encode("utf-16"), "line 1 is not UTF-8, expected TOML", id="UTF-16"),
        pytest.param(b"a = " + b"[" * 100_000, "nested too deeply, expected tables as in the example", id="nesting"),
        pytest.param(b"a = " + b"9" * 5000, "no TOML: Exceeds the limit", id="long integer"),
        pytest.param(b"version = 0x" + b"f" * 5000, "version is a huge integer, expected 1", id="long hexadecimal"),
        pytest.param(b"", "version is missing, expected 1, the version that this program reads", id="empty"),
        pytest.param(b"a = \x00", "no TOML: Invalid value (at line 1, column 5)", id="NUL"),
    ],
)
def test_what_is_no_toml_is_invalid(place: Place, data: bytes, what: str) -> None:
    """Line and column are told."""
    place.file.write_bytes(data)
    error = place.refused()
    assert error.code == "config-invalid"
    assert error.what.startswith(f"{place.file}: {what}")
    assert "pullpass explain" in error.hint


def test_a_file_of_more_than_a_mebibyte_is_invalid(place: Place) -> None:
    """1 MiB is read, one byte more is not."""
    text = TOML.format(runtime=place.runtime)
    place.write(text + "#" * (1024 * 1024 - len(text)))
    assert place.load().node.cluster == "prod-1"
    place.write(text + "#" * (1024 * 1024 - len(text) + 1))
    error = place.refused()
    assert error.code == "config-invalid"
    assert error.what == f"{place.file} is longer than 1048576 bytes, expected a configuration"


def test_a_hostile_path_stays_one_line(place: Place) -> None:
    """A path is text from outside as well."""
    place.file = place.file.parent / "a\nb"
    assert "\n" not in place.refused().line()
    assert "a\\nb does not exist" in place.refused().what
