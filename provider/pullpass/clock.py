"""Time: one clock object that is passed down, and the deadline of a run.

Nothing else in the package asks the operating system what time it is, so tests own time by passing another clock.
"""

from __future__ import annotations

import time

from pullpass.errors import PullpassError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Protocol, TypeVar

    T = TypeVar("T")

    class Clock(Protocol):
        """What a run may ask about time."""

        def now_s(self) -> float:
            """Seconds since the Unix epoch, for comparing with tokens and credentials."""

        def monotonic_s(self) -> float:
            """Seconds that never jump, for measuring waits."""

        def sleep(self, duration_s: float) -> None:
            """Wait that long."""


class SystemClock:
    """The machine's clock."""

    def now_s(self) -> float:
        """Seconds since the Unix epoch."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds of the monotonic clock."""
        return time.monotonic()

    def sleep(self, duration_s: float) -> None:
        """Wait that long."""
        time.sleep(duration_s)


class Deadline:
    """The moment by which a whole run must have ended.

    Connect and read time-outs of an HTTP client bound neither name resolution nor a body that trickles in, and signals
    wait for `getaddrinfo` to return. So work that may block is run in a thread of its own, which is given up when
    time is out; the process that holds it leaves without joining it.
    """

    def __init__(self, clock: Clock, duration_s: float, started_s: float | None = None) -> None:
        """Start counting.

        Args:
            clock: the run's clock.
            duration_s: how long the run may take.
            started_s: when it began, on the clock's monotonic scale; now when not given.
        """
        self._clock = clock
        self._end_s = (clock.monotonic_s() if started_s is None else started_s) + duration_s
        self.duration_s = duration_s

    def remaining_s(self) -> float:
        """Seconds left, never below zero."""
        return max(0.0, self._end_s - self._clock.monotonic_s())

    def run(self, work: Callable[[], T], what: str) -> T:
        """Do `work` in a thread and return its result, or give it up when time is out.

        Args:
            work: what to do; it may block anywhere.
            what: the work's name in the error.

        Raises:
            PullpassError: `deadline-exceeded` when time ran out first; without any left the work is not begun.
            BaseException: whatever `work` raised.
        """
        import threading  # noqa: PLC0415 - only an exchange needs it, a refusal does not pay for it

        if not self.remaining_s():
            raise PullpassError("deadline-exceeded", f"no time of {self.duration_s:g}s was left for {what}")
        results: list[T] = []
        failures: list[BaseException] = []

        def body() -> None:
            try:
                results.append(work())
            except BaseException as error:  # noqa: BLE001 - handed to the waiting thread as it is
                failures.append(error)

        thread = threading.Thread(target=body, name=f"pullpass {what}", daemon=True)
        thread.start()
        thread.join(self.remaining_s())
        if failures:
            raise failures[0]
        if not results:
            raise PullpassError("deadline-exceeded", f"{what} had not ended after {self.duration_s:g}s")
        return results[0]
