"""Intents: one exchange at a time for a key, what a crash leaves, and what may stand in the way."""

from __future__ import annotations

import contextlib
import json
import multiprocessing
import os
import resource
import stat
from typing import TYPE_CHECKING

import pytest

from pullpass.approvals import intents
from pullpass.errors import PullpassError
from spawned import KEY, crash
from support import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPAWN = multiprocessing.get_context("spawn")


def enter(tmp_path: Path, wait_s: float = 0.0, clock: FakeClock | None = None) -> intents.Intent | None:
    """Enter the key."""
    return intents.enter(str(tmp_path / "runtime"), KEY, clock or FakeClock(), wait_s)


def entered(tmp_path: Path) -> intents.Intent:
    """Enter the key, which is free."""
    intent = enter(tmp_path)
    assert intent is not None
    return intent


def path_of(tmp_path: Path) -> Path:
    """The intent's file."""
    return tmp_path / "runtime" / "intents" / KEY


def test_an_intent_is_written_while_it_is_held(tmp_path: Path) -> None:
    """For people who look, and for whoever finds it after a crash; the caller alone may read it."""
    intent = entered(tmp_path)
    assert json.loads(path_of(tmp_path).read_bytes()) == {
        "apiVersion": "pullpass/v1",
        "kind": "PullIntent",
        "id": KEY,
        "pid": os.getpid(),
        "began": "2027-01-15T08:00:00.000000Z",
    }
    assert (intent.leftover, intent.path) == (False, str(path_of(tmp_path)))
    assert stat.S_IMODE(path_of(tmp_path).stat().st_mode) == 0o600
    intents.leave(intent)
    assert not list(path_of(tmp_path).parent.iterdir())


def test_there_is_one_at_a_time(tmp_path: Path) -> None:
    """Who may not wait goes away; who may, asks until the time is over; another key is free."""
    intent = entered(tmp_path)
    clock = FakeClock()
    assert enter(tmp_path, clock=clock) is None
    assert clock.slept == []
    assert enter(tmp_path, wait_s=3.0, clock=clock) is None
    assert sum(clock.slept) == pytest.approx(3.0)
    other = intents.enter(str(tmp_path / "runtime"), "cd" * 32, FakeClock(), 0.0)
    assert other is not None
    intents.leave(other)
    intents.leave(intent)
    intents.leave(entered(tmp_path))


class HandingClock(FakeClock):
    """A clock during whose first wait the holder leaves."""

    def __init__(self, holder: intents.Intent) -> None:
        super().__init__()
        self.holder = holder

    def sleep(self, duration_s: float) -> None:
        """Let the holder go first."""
        if not self.slept:
            intents.leave(self.holder)
        super().sleep(duration_s)


def test_who_waited_finds_no_leftover(tmp_path: Path) -> None:
    """The name goes before the lock, so the waiter locks a file that is gone, sees it, and makes its own."""
    waiter = enter(tmp_path, 10.0, HandingClock(entered(tmp_path)))
    assert waiter is not None
    assert not waiter.leftover
    assert os.fstat(waiter.descriptor).st_ino == path_of(tmp_path).stat().st_ino
    assert enter(tmp_path) is None
    intents.leave(waiter)


def test_what_a_crash_leaves_is_found_by_the_next(tmp_path: Path) -> None:
    """The kernel gives its lock back; the one after that finds nothing."""
    process = SPAWN.Process(target=crash, args=(str(tmp_path / "runtime"),))
    process.start()
    process.join()
    assert process.exitcode == 9
    intent = entered(tmp_path)
    assert intent.leftover
    assert json.loads(path_of(tmp_path).read_bytes())["pid"] == os.getpid()
    intents.leave(intent)
    again = entered(tmp_path)
    assert not again.leftover
    intents.leave(again)


def test_a_long_leftover_is_overwritten_whole(tmp_path: Path) -> None:
    """Whatever stood there."""
    intents.leave(entered(tmp_path))
    path_of(tmp_path).write_text("x" * 5000)
    intent = entered(tmp_path)
    assert intent.leftover
    assert json.loads(path_of(tmp_path).read_bytes())["kind"] == "PullIntent"
    intents.leave(intent)


def test_holding_leaves_no_trace_and_leaves_a_trace_alone(tmp_path: Path) -> None:
    """Work that is no exchange needs the lock, and must not hide that an exchange was broken off."""
    runtime = str(tmp_path / "runtime")
    held = intents.hold(runtime, KEY, FakeClock(), 0.0)
    assert held is not None
    assert path_of(tmp_path).read_bytes() == b""
    assert enter(tmp_path) is None
    intents.release(held)
    assert not path_of(tmp_path).exists()
    path_of(tmp_path).write_text("left")
    held = intents.hold(runtime, KEY, FakeClock(), 0.0)
    assert held is not None
    intents.release(held)
    after = entered(tmp_path)
    assert after.leftover
    intents.leave(after)


# --- what may stand in the way


@pytest.mark.parametrize(
    ("plant", "why"),
    [
        pytest.param(lambda path: path.mkdir(), "Is a directory", id="directory"),
        pytest.param(os.mkfifo, "not a regular file", id="fifo"),
        pytest.param(lambda path: path.symlink_to("/dev/null"), "Too many levels of symbolic links", id="link"),
        pytest.param(lambda path: path.symlink_to(path.parent / "x"), "Too many levels", id="link to nothing"),
    ],
)
def test_what_was_planted_is_an_error(plant: object, why: str, tmp_path: Path) -> None:
    """It is neither followed nor waited for, nor written to."""
    intents.leave(entered(tmp_path))
    assert callable(plant)
    plant(path_of(tmp_path))
    with pytest.raises(OSError, match=why):
        enter(tmp_path)


def test_a_directory_that_others_may_change_is_refused(tmp_path: Path) -> None:
    """They could hold a lock of ours for ever."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "runtime").chmod(0o777)
    with pytest.raises(PullpassError) as caught:
        enter(tmp_path)
    assert caught.value.code == "state-path"


@contextlib.contextmanager
def no_room() -> Iterator[None]:
    """Nothing can be written to a file: each write fails as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_one_that_can_not_be_written_gives_its_lock_back(tmp_path: Path) -> None:
    """The next one is not kept waiting, and finds no leftover, because nothing was begun."""
    with no_room(), pytest.raises(OSError, match="too large"):
        enter(tmp_path)
    intent = entered(tmp_path)
    assert not intent.leftover
    intents.leave(intent)


def test_one_that_can_not_be_removed_gives_its_lock_back(tmp_path: Path) -> None:
    """Somebody else has removed it."""
    intent = entered(tmp_path)
    path_of(tmp_path).unlink()
    with pytest.raises(FileNotFoundError):
        intents.leave(intent)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(intent.descriptor)
