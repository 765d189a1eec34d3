"""Many requests for one key: who holds the intent, who waits, and what a waiter finds afterwards."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from pullpass import pipeline
from pullpass.approvals import intents
from pullpass.errors import PullpassError
from serving import HOUR_S, Run
from support import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pullpass.exchange import Exchanger

DENIED, TOKEN, AWAY = "aws-sts-denied", "aws-token-expired", "cloud-unreachable"


class BusyClock(FakeClock):
    """A clock during whose first wait something happens.

    Attributes:
        meanwhile: what.
    """

    def __init__(self, now_s: float) -> None:
        super().__init__(now_s)
        self.meanwhile: list[Callable[[], object]] = []

    def sleep(self, duration_s: float) -> None:
        """Let the wait pass, and then the other one do its work."""
        super().sleep(duration_s)
        if self.meanwhile:
            self.meanwhile.pop(0)()


class Meeting:
    """Two processes on one node: one holds the intent of a key, the other one comes and waits.

    Attributes:
        holder: the one that was first.
        waiter: the one that comes.
    """

    def __init__(self, directory: Path, *, lived_s: float = 0.0) -> None:
        """Make both.

        Args:
            directory: of the node.
            lived_s: how long ago a credential was handed out for the key; 0: never.
        """
        self.holder, self.waiter = Run(directory), Run(directory)
        if lived_s:
            self.holder.answer(self.holder.request())
            self.holder.clock.advance(lived_s)
        self.waiter.clock = BusyClock(self.holder.clock.now_s())
        self.waiter.cloud.password = "the waiter's"
        self.intent = self._enter()

    def _enter(self) -> intents.Intent:
        # The key is that of the plan, which a first request names.
        probe = Run(self.holder.state.parent / "probe")
        probe.answer(probe.request())
        intent = intents.enter(str(self.holder.runtime), probe.approval_path.stem, FakeClock(), 0.0)
        assert intent is not None
        return intent

    def meet(self, failure: str = "") -> None:
        """Let the holder end its exchange while the other one waits.

        Args:
            failure: the code with which it fails; "" when it does not.
        """
        assert isinstance(self.waiter.clock, BusyClock)
        self.waiter.clock.meanwhile.append(lambda: self._finish(failure))

    def _finish(self, failure: str) -> None:
        intents.leave(self.intent)
        self.holder.clock = self.waiter.clock
        self.holder.cloud.failure = PullpassError(failure, "made up") if failure else None
        self.holder.serve(self.holder.request())
        self.waiter.lines()


def test_a_waiter_takes_what_the_holder_got(tmp_path: Path) -> None:
    """One exchange for both."""
    meeting = Meeting(tmp_path)
    meeting.meet()
    assert meeting.waiter.password(meeting.waiter.request()) == "pass word"
    assert meeting.waiter.cloud.asked == []
    assert meeting.waiter.events() == [("served", "cache")]


def test_a_waiter_takes_the_holders_denial(tmp_path: Path) -> None:
    """Also where denials are not remembered: it came after this one had begun to wait."""
    for denied_for_s in (30.0, 0.0):
        meeting = Meeting(tmp_path / str(denied_for_s))
        meeting.holder.set(denied_for_s=denied_for_s)
        meeting.waiter.set(denied_for_s=denied_for_s)
        meeting.meet(DENIED)
        assert meeting.waiter.refusal(meeting.waiter.request()) == DENIED
        assert meeting.waiter.cloud.asked == []
        assert meeting.waiter.events() == [("refused", DENIED)]


@pytest.mark.parametrize("failure", [TOKEN, AWAY])
def test_a_waiter_goes_on_with_its_own_token(failure: str, tmp_path: Path) -> None:
    """Whatever else the holder failed with says nothing about this one."""
    meeting = Meeting(tmp_path)
    meeting.meet(failure)
    assert meeting.waiter.password(meeting.waiter.request()) == "the waiter's"


def test_in_an_outage_one_has_tried_for_all_that_waited(tmp_path: Path) -> None:
    """The others hand out what outlives at once; the next one that comes tries again."""
    meeting = Meeting(tmp_path, lived_s=2 * HOUR_S)
    meeting.meet(AWAY)
    assert meeting.waiter.password(meeting.waiter.request()) == "pass word"
    assert meeting.waiter.cloud.asked == []
    assert meeting.waiter.events() == [("outage", "outage")]
    assert meeting.waiter.password(meeting.waiter.request()) == "the waiter's"


def test_a_renewal_that_is_merely_due_waits_for_nobody(tmp_path: Path) -> None:
    """It hands out what lives, while another one renews it."""
    meeting = Meeting(tmp_path, lived_s=2200.0)
    assert meeting.waiter.password(meeting.waiter.request()) == "pass word"
    assert (meeting.waiter.clock.slept, meeting.waiter.cloud.asked) == ([], [])


def test_a_holder_that_hangs_costs_half_of_the_time(tmp_path: Path) -> None:
    """Then a waiter exchanges by itself, and what is left of its deadline is what the exchange gets."""
    meeting = Meeting(tmp_path)
    assert meeting.waiter.password(meeting.waiter.request()) == "the waiter's"
    assert sum(meeting.waiter.clock.slept) == pytest.approx(22.5)
    [(_, _, _, remaining_s)] = meeting.waiter.cloud.asked
    assert remaining_s == pytest.approx(22.5)
    assert meeting.waiter.events()[-1] == ("issued", "exchange")
    os.fstat(meeting.intent.descriptor)
    assert os.path.exists(meeting.intent.path)


def test_a_lost_intent_is_reported_by_the_next_miss(tmp_path: Path) -> None:
    """Its writer has died: the lock is free, and what it left behind is removed."""
    meeting = Meeting(tmp_path)
    os.close(meeting.intent.descriptor)
    run = meeting.waiter
    half = run.state / "approvals" / ".x.json.1.ab.tmp"
    half.parent.mkdir(mode=0o700, parents=True)
    half.write_text("half")
    os.utime(half, (0, 0))
    young = run.runtime / ".cache.key.1.ab.tmp"
    young.write_text("in use")
    os.utime(young, (run.clock.now_s(), run.clock.now_s()))
    old = run.runtime / ".cache.key.2.ab.tmp"
    old.write_text("a key that nobody uses")
    os.utime(old, (0, 0))
    assert run.password(run.request()) == "the waiter's"
    [recovered, line] = run.lines()
    assert (recovered["event"], recovered["code"]) == ("recovered", "intent-leftover")
    assert recovered["approval"] == line["approval"]
    assert line["event"] == "issued"
    assert (half.exists(), young.exists(), old.exists()) == (False, True, False)
    assert not list((run.runtime / "intents").iterdir())


def test_what_can_not_be_tidied_is_in_the_trail(tmp_path: Path) -> None:
    """The cache's directory is none: a warning for tidying and one for keeping, and an answer all the same."""
    meeting = Meeting(tmp_path)
    os.close(meeting.intent.descriptor)
    run = meeting.waiter
    (run.runtime / "cache").write_text("no directory")
    assert run.password(run.request()) == "the waiter's"
    assert run.events() == [
        ("recovered", "intent-leftover"),
        ("warning", "leftover"),
        ("warning", "cache-unusable"),
        ("issued", "exchange"),
    ]


def test_a_repository_to_be_added_waits_for_its_turn(tmp_path: Path) -> None:
    """Two that add one at once would lose one of them."""
    meeting = Meeting(tmp_path, lived_s=60.0)
    run = meeting.waiter
    run.edit(repositories={})
    meeting.meet()
    assert run.password(run.request()) == "pass word"
    assert run.clock.slept != []
    assert run.cloud.asked == []
    assert len(run.approval["repositories"]) == 1


def test_libraries_that_take_for_ever_to_load_do_not_outlast_the_run(tmp_path: Path) -> None:
    """On a node that starts a hundred pods at once, loading an SDK takes longer than asking a cloud."""
    run = Run(tmp_path)
    run.config = run.config._replace(node=run.config.node._replace(deadline_s=0.2))
    loaded = threading.Event()

    def load(kind: str) -> Exchanger:
        loaded.wait()
        return run.cloud.load(kind)

    answer = pipeline.serve(run.request(), run.deps._replace(load=load))
    loaded.set()
    assert (answer.status, answer.stdout) == (5, b"")
    assert answer.stderr.startswith(b"pullpass: deadline-exceeded: loading what exchanges had not ended after 0.2s")
    assert run.events() == [("refused", "deadline-exceeded")]
    assert run.cloud.asked == []


def test_a_slow_yes_does_not_undo_a_later_no(tmp_path: Path) -> None:
    """Whoever has waited in vain exchanges by itself, and is refused; the first one's answer comes after that."""
    run = Run(tmp_path)

    def later() -> None:
        run.cloud.failure = PullpassError(DENIED, "the role trusts it no more")
        assert run.refusal(run.request()) == DENIED
        run.cloud.failure = None

    run.cloud.during.append(later)
    assert run.refusal(run.request()) == DENIED
    assert run.approval["state"] == "denied"
    assert len(run.cloud.asked) == 2
    assert not list((run.runtime / "cache").glob("*"))
