"""One holder of a file at a time, across real processes."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pullpass.store.lock import FIRST_PAUSE_S, LONGEST_PAUSE_S, lock
from support import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Locks, says so, and holds on until its stdin ends or it is killed.
HOLD = """\
import sys
from pullpass.clock import SystemClock
from pullpass.store.lock import lock
descriptor = lock(sys.argv[1], SystemClock(), 0)
print("taken" if descriptor is None else "held", flush=True)
sys.stdin.read()
"""

# Adds one to a number in a file, time and again, with a gap between reading and writing that a second holder would fall
# into. Every fifth round it removes the lock's file before it lets go.
COUNT = """\
import os, sys
from pullpass.clock import SystemClock
from pullpass.store.lock import lock
name, counter, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
clock = SystemClock()
sys.stdin.read()
for number in range(rounds):
    descriptor = lock(name, clock, 300)
    with open(counter) as stream:
        count = int(stream.read())
    clock.sleep(0.0001)
    with open(counter, "w") as stream:
        stream.write(str(count + 1))
    if number % 5 == 4:
        os.unlink(name)
    os.close(descriptor)
"""


class Meddler(FakeClock):
    """A clock whose time passes as something happens: the next deed at each sleep."""

    def __init__(self, *deeds: Callable[[], object]) -> None:
        super().__init__()
        self.deeds = list(deeds)

    def sleep(self, duration_s: float) -> None:
        """Let time pass."""
        super().sleep(duration_s)
        if self.deeds:
            self.deeds.pop(0)()


@pytest.fixture
def path(tmp_path: Path) -> str:
    """The file to lock."""
    return str(tmp_path / "key")


@pytest.fixture
def hold(path: str) -> Iterator[Callable[[], subprocess.Popen[str]]]:
    """Starts processes that hold the lock, and ends them."""
    started: list[subprocess.Popen[str]] = []

    def start() -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        started.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def take(path: str, wait_s: float = 0.0) -> int:
    """The lock, which must be had."""
    descriptor = lock(path, FakeClock(), wait_s)
    assert descriptor is not None
    return descriptor


def test_a_file_is_made_for_the_caller_alone(path: str) -> None:
    """Open for reading and writing, not inherited by a program that is started."""
    before = os.umask(0)
    try:
        descriptor = take(path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert not os.get_inheritable(descriptor)
    os.write(descriptor, b"x")
    assert os.pread(descriptor, 2, 0) == b"x"
    os.close(descriptor)


def test_a_file_that_is_there_keeps_its_content(path: str) -> None:
    """A trail's head is locked like that."""
    with open(path, "w", encoding="ascii") as stream:
        stream.write("head")
    descriptor = take(path)
    assert os.read(descriptor, 10) == b"head"
    os.close(descriptor)


def test_a_held_lock_is_not_had_and_nobody_waits_unasked(path: str) -> None:
    """By the same process neither: each opening of the file is a holder."""
    held = take(path)
    clock = FakeClock()
    assert lock(path, clock, 0) is None
    assert clock.slept == []
    os.close(held)
    os.close(take(path))


@pytest.mark.parametrize("wait_s", [0.0004, 0.01, 1.0, 45.0])
def test_waiting_ends_with_the_time_given(path: str, wait_s: float) -> None:
    """At growing intervals, the last of them cut."""
    held = take(path)
    clock = FakeClock()
    assert lock(path, clock, wait_s) is None
    assert sum(clock.slept) == pytest.approx(wait_s)
    assert clock.slept[0] == pytest.approx(min(FIRST_PAUSE_S, wait_s))
    assert max(clock.slept) <= LONGEST_PAUSE_S
    assert clock.slept[:-1] == sorted(clock.slept[:-1])
    os.close(held)


def test_a_lock_given_back_is_had_at_the_next_attempt(path: str) -> None:
    """The rest of the time is not waited for."""
    held = take(path)
    clock = Meddler(lambda: None, lambda: os.close(held))
    descriptor = lock(path, clock, 10)
    assert descriptor is not None
    assert len(clock.slept) == 2
    os.close(descriptor)


def test_a_killed_holder_holds_nothing(path: str, hold: Callable[[], subprocess.Popen[str]]) -> None:
    """The kernel has its lock back before it is buried; the file stays, and is in nobody's way."""
    for _ in range(3):
        process = hold()
        assert lock(path, FakeClock(), 0) is None
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        os.close(take(path))


def test_a_stopped_holder_delays_for_a_bounded_time(path: str, hold: Callable[[], subprocess.Popen[str]]) -> None:
    """It hangs, and holds on: whoever waits gives up in time."""
    process = hold()
    process.send_signal(signal.SIGSTOP)
    clock = FakeClock()
    assert lock(path, clock, 5) is None
    assert sum(clock.slept) == pytest.approx(5)


def test_a_file_removed_by_its_holder_is_not_held_by_who_waited(path: str) -> None:
    """The lock that the waiter gets is of a file that nobody else can find: it takes the name's."""
    held = take(path)

    def leave() -> None:
        os.unlink(path)
        os.close(held)

    descriptor = lock(path, Meddler(leave), 10)
    assert descriptor is not None
    assert os.fstat(descriptor).st_ino == os.stat(path).st_ino
    assert lock(path, FakeClock(), 0) is None
    os.close(descriptor)


def test_another_file_under_the_name_is_waited_for(path: str) -> None:
    """A third one was faster: the two must not both hold."""
    held = take(path)
    others: list[int] = []

    def leave() -> None:
        os.unlink(path)
        others.append(take(path))
        os.close(held)

    clock = Meddler(leave, lambda: None, lambda: None, lambda: os.close(others[0]))
    descriptor = lock(path, clock, 10)
    assert descriptor is not None
    assert len(clock.slept) == 4
    assert os.fstat(descriptor).st_ino == os.stat(path).st_ino
    os.close(descriptor)


def test_another_file_under_the_name_is_waited_for_no_longer(path: str) -> None:
    """The time counts from the first attempt, not from the latest file."""
    held = take(path)
    others: list[int] = []

    def leave() -> None:
        os.unlink(path)
        others.append(take(path))
        os.close(held)

    clock = Meddler(*[lambda: None] * 5, leave)
    assert lock(path, clock, 0.5) is None
    assert sum(clock.slept) == pytest.approx(0.5)
    os.close(others[0])


@pytest.mark.parametrize("leads", ["nowhere", "to a file"])
def test_a_link_is_not_followed(path: str, tmp_path: Path, leads: str) -> None:
    """Nor made: what it leads to stays absent, or as it was."""
    victim = tmp_path / "victim"
    if leads == "to a file":
        victim.write_text("victim")
    os.symlink(victim, path)
    with pytest.raises(OSError, match="symbolic links") as caught:
        lock(path, FakeClock(), 1)
    assert caught.value.errno == errno.ELOOP
    assert victim.exists() == (leads == "to a file")


@pytest.mark.parametrize(("kind", "number"), [("fifo", errno.EINVAL), ("directory", errno.EISDIR)])
def test_what_is_no_file_is_refused(path: str, kind: str, number: int) -> None:
    """At once, without waiting for a writer, and without leaving a descriptor open."""
    if kind == "fifo":
        os.mkfifo(path)
    else:
        os.mkdir(path)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=path) as caught:
        lock(path, FakeClock(), 1)
    assert caught.value.errno == number
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_directory_that_is_gone_is_said(path: str, tmp_path: Path) -> None:
    """Also when it goes while somebody waits in it."""
    with pytest.raises(FileNotFoundError):
        lock(str(tmp_path / "absent" / "key"), FakeClock(), 1)
    directory = tmp_path / "intents"
    directory.mkdir()
    held = take(str(directory / "key"))

    def leave() -> None:
        os.unlink(directory / "key")
        os.rmdir(directory)
        os.close(held)

    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        lock(str(directory / "key"), Meddler(leave), 1)
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_no_attempt_leaves_a_descriptor_open(path: str) -> None:
    """Nor does one that is broken off, as by a signal."""
    held = take(path)
    before = len(os.listdir("/proc/self/fd"))

    def interrupt() -> None:
        raise KeyboardInterrupt

    for _ in range(5):
        assert lock(path, FakeClock(), 0.01) is None
        with pytest.raises(KeyboardInterrupt):
            lock(path, Meddler(interrupt), 1)
    assert len(os.listdir("/proc/self/fd")) == before
    os.close(held)


def test_nothing_is_lost_among_many_processes(path: str, tmp_path: Path) -> None:
    """Eight add one fifty times each, and now and then one removes the file that the others wait for."""
    counter = tmp_path / "counter"
    counter.write_text("0")
    command = [sys.executable, "-c", COUNT, path, str(counter), "50"]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE) for _ in range(8)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
    assert [process.wait() for process in processes] == [0] * 8
    assert counter.read_text() == "400"
