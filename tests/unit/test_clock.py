"""Time: the clock, and the deadline of a run."""

from __future__ import annotations

import threading
import time
from typing import NoReturn

import pytest

from pullpass.clock import Deadline, SystemClock
from pullpass.errors import PullpassError
from support import FakeClock


def test_the_machines_clock_is_asked() -> None:
    """Both scales are those of the operating system."""
    clock = SystemClock()
    before = (time.time(), time.monotonic())
    found = (clock.now_s(), clock.monotonic_s())
    after = (time.time(), time.monotonic())
    assert before[0] <= found[0] <= after[0]
    assert before[1] <= found[1] <= after[1]


def test_the_machines_clock_sleeps() -> None:
    """At least as long as it was told."""
    start = time.monotonic()
    SystemClock().sleep(0.01)
    assert time.monotonic() - start >= 0.01


def test_a_deadline_counts_down_to_zero() -> None:
    """Never below, and the wall clock does not move it."""
    clock = FakeClock()
    deadline = Deadline(clock, 45)
    assert deadline.remaining_s() == 45
    clock.advance(44.5)
    assert deadline.remaining_s() == 0.5
    clock.advance(3600)
    assert deadline.remaining_s() == 0


def test_a_deadline_counts_from_the_start_of_the_run() -> None:
    """Reading the request counts against it."""
    clock = FakeClock(monotonic_s=1000)
    assert Deadline(clock, 45, started_s=990).remaining_s() == 35


def test_work_within_the_deadline_gives_its_result() -> None:
    """In a thread of its own that nobody has to wait for at exit."""
    threads: list[threading.Thread] = []

    def work() -> str:
        threads.append(threading.current_thread())
        return "done"

    assert Deadline(SystemClock(), 60).run(work, "the exchange") == "done"
    assert threads[0] is not threading.current_thread()
    assert threads[0].daemon
    assert threads[0].name == "pullpass the exchange"


@pytest.mark.parametrize("error", [PullpassError("usage", "what"), ValueError("x"), KeyboardInterrupt(), SystemExit(3)])
def test_what_work_raises_is_raised(error: BaseException) -> None:
    """Whatever it is, in the thread that waits."""

    def work() -> NoReturn:
        raise error

    with pytest.raises(type(error)) as caught:
        Deadline(SystemClock(), 60).run(work, "the exchange")
    assert caught.value is error


def test_work_may_give_nothing() -> None:
    """None is a result, not a work that has not ended."""
    assert Deadline(SystemClock(), 60).run(lambda: None, "nothing") is None


def test_work_that_hangs_is_given_up() -> None:
    """Its thread goes on, and the run doesn't wait for it."""
    release, ended = threading.Event(), threading.Event()

    def work() -> None:
        release.wait(60)
        ended.set()

    with pytest.raises(PullpassError) as caught:
        Deadline(SystemClock(), 0.02).run(work, "the exchange")
    assert (caught.value.code, caught.value.status, caught.value.upstream) == ("deadline-exceeded", 5, "unreachable")
    assert "the exchange had not ended after 0.02s" in caught.value.what
    assert not ended.is_set()
    release.set()
    assert ended.wait(60)


def test_work_is_not_begun_when_no_time_is_left() -> None:
    """A token is not sent for an answer that nobody waits for."""
    clock, begun = FakeClock(), []
    deadline = Deadline(clock, 45)
    clock.advance(45)
    with pytest.raises(PullpassError) as caught:
        deadline.run(lambda: begun.append(1), "the exchange")
    assert caught.value.code == "deadline-exceeded"
    assert "no time of 45s was left for the exchange" in caught.value.what
    assert not begun
