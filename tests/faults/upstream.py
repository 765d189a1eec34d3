"""The cloud of a run, without an SDK: it gives, says no, or can't be reached. And a clock that stands still.

It is loaded by a process that shall make no call about files but the program's own, so it imports nothing else.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pullpass.clock import SystemClock
from pullpass.errors import PullpassError
from pullpass.exchange import Credential
from pullpass.secret import Secret

if TYPE_CHECKING:
    from pullpass.clock import Clock, Deadline
    from pullpass.exchange import Exchanger

GIVES, DENIES, UNREACHABLE = "gives", "denies", "unreachable"
SECRET_MARK = "not-for-any-file-"
SESSION_S = 3600.0
PASSWORD_S = 12 * 3600.0


class StandingClock(SystemClock):
    """A wall clock that stands at a moment; waits are real."""

    def __init__(self, now_s: float) -> None:
        self.at_s = now_s

    def now_s(self) -> float:
        """The moment."""
        return self.at_s


class Upstream:
    """A cloud.

    Attributes:
        mood: one of `GIVES`, `DENIES`, `UNREACHABLE`.
        asked: how often it was asked.
    """

    def __init__(self, mood: str = GIVES) -> None:
        self.mood = mood
        self.asked = 0

    def load(self, kind: str) -> Exchanger:
        """As `exchange.load`."""
        return self.exchange

    def exchange(self, plan: Any, token: Secret | None, deadline: Deadline, clock: Clock) -> Credential:
        """Another password each time, which no file but the cache may hold, and that one encrypted."""
        self.asked += 1
        if self.mood == DENIES:
            raise PullpassError("aws-sts-denied", "the role's trust policy says no")
        if self.mood == UNREACHABLE:
            raise PullpassError("cloud-unreachable", "connection refused")
        now_s = clock.now_s()
        password = Secret(SECRET_MARK + os.urandom(12).hex())
        return Credential("AWS", password, now_s + PASSWORD_S, now_s + SESSION_S, "arn", "ASIA", ("id",))
