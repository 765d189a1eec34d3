"""Requests whose process is killed in the middle."""

from __future__ import annotations

import json
import os
import signal
import warnings
from typing import TYPE_CHECKING, NamedTuple, NoReturn

from modelling.cloud import Need, Verdict
from pullpass.pipeline import Answer

if TYPE_CHECKING:
    from modelling.asking import Ask
    from modelling.world import World
    from support import FakeClock


class Death(NamedTuple):
    """What is known of a child.

    Attributes:
        answer: None when it was killed before it gave one.
        calls: how many exchanges came to a verdict.
    """

    answer: Answer | None
    calls: int


def serve(world: World, ask: Ask, after: int) -> Death:
    """Serve a request in a child that is killed the `after`-th time it asks what time it is.

    The clock is asked before and after every step that matters: the decision, the intent, the exchange, the approval
    and the cache, the line. What the cloud has told the child is added to what the cloud remembers.
    """
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # From Python 3.12 on: other tests' threads live in this process. The child ends without waiting for anything.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        _be_child(world, ask, after, writer)
    os.close(writer)
    with open(reader, "rb") as file:
        told = [json.loads(line) for line in file]
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    assert killed or os.WEXITSTATUS(status) == 0, "the child failed by itself"
    answer = None
    if not killed:
        last, stdout, stderr = told.pop()
        answer = Answer(last, stdout.encode(), stderr.encode())
    for begun, fields in told:
        world.cloud.begun = begun
        told_verdict = Verdict(*fields)
        verdict = told_verdict._replace(need=Need(*told_verdict.need), under=tuple(told_verdict.under))
        world.cloud.verdicts.append(verdict)
        world.cloud.notify(verdict)
    return Death(answer, len(told))


def _be_child(world: World, ask: Ask, after: int, writer: int) -> NoReturn:
    status = 1
    try:
        world.cloud.notify = lambda verdict: _tell(writer, [world.cloud.begun, verdict])
        answer, _ = world.serve(ask, _MortalClock(world.clock, after))
        _tell(writer, [answer.status, answer.stdout.decode(), answer.stderr.decode()])
        status = 0
    finally:
        os._exit(status)  # nothing of the test may go on in here


def _tell(writer: int, what: object) -> None:
    os.write(writer, json.dumps(what).encode() + b"\n")


class _MortalClock:
    """A clock at which its process dies."""

    def __init__(self, clock: FakeClock, after: int) -> None:
        self._clock, self._left = clock, after

    def now_s(self) -> float:
        """Seconds since the epoch, or the end."""
        self._left -= 1
        if not self._left:
            os.kill(os.getpid(), signal.SIGKILL)
        return self._clock.now_s()

    def monotonic_s(self) -> float:
        """Seconds that never jump."""
        return self._clock.monotonic_s()

    def sleep(self, duration_s: float) -> None:
        """Wait."""
        self._clock.sleep(duration_s)
