"""The retry loop: what is tried again, how often, and how long it waits."""

from __future__ import annotations

import pytest

from pullpass.clock import Deadline
from pullpass.errors import CLOUD_UNREACHABLE, CODES, PullpassError
from pullpass.exchange import retry
from support import FakeClock


class Work:
    """Fails with the given errors, one after the other, then succeeds."""

    def __init__(self, *codes: str) -> None:
        self.errors = [PullpassError(code, "it failed", "try this") for code in codes]
        self.calls = 0

    def __call__(self) -> str:
        """One attempt."""
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


def run(work: Work, clock: FakeClock, *, deadline_s: float = 45.0, jitter: float = 0.999) -> str:
    """Do the work with a fixed jitter."""
    return retry.persistently(work, Deadline(clock, deadline_s), clock, lambda: jitter)


def test_success_needs_no_wait() -> None:
    """What works at once is done once."""
    clock, work = FakeClock(), Work()
    assert run(work, clock) == "done"
    assert (work.calls, clock.slept) == (1, [])


@pytest.mark.parametrize("code", sorted(code for code, row in CODES.items() if row[1] == CLOUD_UNREACHABLE))
def test_unreachable_is_tried_again(code: str) -> None:
    """Every error of the class "unreachable" gets another attempt."""
    work = Work(code)
    assert run(work, FakeClock()) == "done"
    assert work.calls == 2


@pytest.mark.parametrize("code", sorted(code for code, row in CODES.items() if row[1] != CLOUD_UNREACHABLE))
def test_other_errors_are_final(code: str) -> None:
    """A refusal, a bad token, nonsense and every local error come out as they are, after one attempt."""
    clock, work = FakeClock(), Work(code)
    error = work.errors[0]
    with pytest.raises(PullpassError) as caught:
        run(work, clock)
    assert caught.value is error
    assert (work.calls, clock.slept) == (1, [])


def test_attempts_are_bounded() -> None:
    """After the last attempt the error comes out, with code and hint kept and the number of attempts told."""
    clock, work = FakeClock(), Work(*["cloud-failing"] * 10)
    with pytest.raises(PullpassError) as caught:
        run(work, clock)
    assert work.calls == retry.ATTEMPTS
    assert (caught.value.code, caught.value.what, caught.value.hint) == (
        "cloud-failing", "it failed (attempt 4)", "try this",
    )  # fmt: skip


@pytest.mark.parametrize(("jitter", "waits"), [(0.0, [0.5, 1.0, 2.0]), (1.0, [1.0, 2.0, 4.0])])
def test_waits(jitter: float, waits: list[float]) -> None:
    """Waits double, and the jitter moves each between half and all of its length."""
    clock, work = FakeClock(), Work(*["cloud-throttled"] * 3)
    assert run(work, clock, jitter=jitter) == "done"
    assert clock.slept == waits


def test_no_wait_beyond_the_deadline() -> None:
    """A wait that would outlast the deadline is not begun: the reason comes out instead of a time-out."""
    clock, work = FakeClock(), Work(*["cloud-unreachable"] * 3)
    with pytest.raises(PullpassError) as caught:
        run(work, clock, deadline_s=2.5, jitter=1.0)
    assert caught.value.code == "cloud-unreachable"
    assert (work.calls, clock.slept) == (2, [1.0])
