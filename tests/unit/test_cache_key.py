"""The key of the credential cache: made once, whoever is first, and replaced when it opens nothing."""

from __future__ import annotations

import multiprocessing
import stat
from functools import partial
from typing import TYPE_CHECKING

import pytest

import racing
from pullpass.cache import disk
from pullpass.secret import Secret
from spawned import CREDENTIAL, KEY, keep_together
from support import NOW_S

if TYPE_CHECKING:
    from pathlib import Path

    from pullpass.exchange import Credential

SECOND = CREDENTIAL._replace(secret=Secret("two"))
UNOPENED = "does not open: changed, cut short, an older one, or another key's"
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(name="runtime")
def _runtime(tmp_path: Path) -> Path:
    """A runtime directory with a cache."""
    disk.directory(str(tmp_path / "runtime"))
    return tmp_path / "runtime"


@pytest.fixture(name="path")
def _path(runtime: Path) -> Path:
    """The entry of `KEY`, kept at `NOW_S`."""
    disk.put(str(runtime), KEY, NOW_S, CREDENTIAL)
    return runtime / "cache" / KEY


def get(runtime: Path, key: str = KEY, validated_s: float = NOW_S) -> Credential | None:
    """What is kept."""
    return disk.get(str(runtime), key, validated_s)


def damage(runtime: Path) -> str:
    """Why the entry does not open."""
    with pytest.raises(disk.DamagedError) as caught:
        get(runtime)
    return caught.value.what


def test_without_its_key_an_entry_is_damaged_and_the_next_one_gets_a_new_key(runtime: Path, path: Path) -> None:
    """Somebody has removed it."""
    (runtime / "cache.key").unlink()
    assert damage(runtime) == "was made under a key that is gone"
    assert not (runtime / "cache.key").exists()
    disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert get(runtime) == SECOND


@pytest.mark.parametrize("written", [b"", b"x" * 31, b"x" * 33])
def test_a_damaged_key_is_replaced(written: bytes, runtime: Path, path: Path) -> None:
    """Nothing opens under it any more."""
    (runtime / "cache.key").write_bytes(written)
    assert damage(runtime) == "was made under a key that is gone"
    disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert get(runtime) == SECOND
    assert sorted(entry.name for entry in runtime.iterdir()) == ["cache", "cache.key"]


def test_a_key_that_others_may_write_is_no_key(runtime: Path, path: Path) -> None:
    """They could have chosen it, and read what is kept under it."""
    before = (runtime / "cache.key").read_bytes()
    (runtime / "cache.key").chmod(0o622)
    assert damage(runtime) == "was made under a key that is gone"
    disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert get(runtime) == SECOND
    assert (runtime / "cache.key").read_bytes() != before
    assert stat.S_IMODE((runtime / "cache.key").stat().st_mode) == 0o600


def test_a_key_of_the_right_length_that_is_another_one_opens_nothing(runtime: Path, path: Path) -> None:
    """It stays: what is kept from here on is kept under it."""
    (runtime / "cache.key").write_bytes(b"x" * 32)
    assert damage(runtime) == UNOPENED
    disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert (runtime / "cache.key").read_bytes() == b"x" * 32
    assert get(runtime) == SECOND


def test_a_key_that_can_not_be_made_is_an_error(runtime: Path) -> None:
    """A directory stands under its name; no temporary file stays, and nothing was kept."""
    (runtime / "cache.key").mkdir()
    with pytest.raises(IsADirectoryError):
        disk.put(str(runtime), KEY, NOW_S, CREDENTIAL)
    assert [entry.name for entry in runtime.iterdir() if entry.name.startswith(".")] == []
    assert get(runtime) is None


def test_the_key_of_who_was_faster_counts(runtime: Path) -> None:
    """Another process makes the key after this one has seen that there is none."""
    elsewhere = b"y" * 32

    def be_faster() -> None:
        (runtime / "cache.key").write_bytes(elsewhere)
        (runtime / "cache.key").chmod(0o600)

    with racing.before_opening(".cache.key.", be_faster):
        disk.put(str(runtime), KEY, NOW_S, CREDENTIAL)
    assert (runtime / "cache.key").read_bytes() == elsewhere
    assert get(runtime) == CREDENTIAL
    assert sorted(entry.name for entry in runtime.iterdir()) == ["cache", "cache.key"]


def test_what_is_kept_while_the_key_changes_is_kept_under_the_new_one(runtime: Path, path: Path) -> None:
    """The new key comes after this process has read the old one: it looks again, and writes again."""
    with racing.before_opening(f"/.{KEY}.", partial((runtime / "cache.key").write_bytes, b"z" * 32)):
        disk.put(str(runtime), KEY, NOW_S, SECOND)
    assert get(runtime) == SECOND


def test_processes_that_make_the_key_at_once_end_with_one(runtime: Path) -> None:
    """Each entry opens under it, whoever made it."""
    start = SPAWN.Barrier(8)
    processes = [SPAWN.Process(target=keep_together, args=(str(runtime), number, start)) for number in range(8)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 8
    assert [get(runtime, f"{number}" * 64) for number in range(8)] == [CREDENTIAL] * 8
    assert sorted(entry.name for entry in runtime.iterdir()) == ["cache", "cache.key"]
