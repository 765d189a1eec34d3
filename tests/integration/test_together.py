"""Many plugin processes at once for one key: one exchange, whatever becomes of the process that makes it.

Processes meet at a cloud that hangs: one is in its exchange, and each of the others is seen to have the intent's file
open, which is how it waits. Nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from cloud import Cloud
from factories import HOST, IMAGE, make_request
from integration import crowd
from integration.flows import BY_TOKEN, ECR
from integration.launchers import ask, install, write_config
from pullpass import config, pipeline
from pullpass.exchange import Credential
from pullpass.secret import Secret
from support import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from integration.crowd import Plugin, Told
    from pullpass.clock import Clock, Deadline
    from pullpass.exchange import Plan

# Half of it is waited, and the other half must be enough to load a cloud's SDK on a machine that is busy.
DEADLINE_S = 16.0


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One local cloud for the module."""
    with Cloud() as running:
        yield running


class Node(NamedTuple):
    """A node of its own: nothing stored yet."""

    cloud: Cloud
    directory: Path
    launcher: Path

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "state"

    def request(self, image: str = IMAGE, key: str = "right") -> bytes:
        """A request with a token of its own."""
        return make_request(self.cloud.mint_token("team-a", "web", key=key), image)

    def intents(self) -> list[Path]:
        """The intents there are."""
        place = self.directory / "run" / "intents"
        return list(place.iterdir()) if place.is_dir() else []

    def ask(self, image: str = IMAGE) -> Told:
        """One request by one process."""
        done = ask(self.launcher, self.request(image))
        return crowd.Told(done.returncode, done.stdout, done.stderr)

    @contextmanager
    def meeting(self, count: int, raw: bytes | None = None) -> Iterator[tuple[Plugin, list[Plugin]]]:
        """One process whose exchange hangs, and `count` that wait for it.

        Args:
            count: how many wait.
            raw: the request of the first; like the others' when not given.
        """
        self.cloud.fault(BY_TOKEN, "hang", times=1)
        with crowd.plugins(self.launcher, count + 1) as (holder, *others):
            holder.give(raw or self.request())
            self.cloud.wait_for(BY_TOKEN, 1, crowd.WAIT_S)
            [intent] = self.intents()
            for other in others:
                other.give(self.request())
            crowd.wait_until(lambda: all(other.has_open(intent) for other in others))
            yield holder, others


@pytest.fixture
def node(cloud: Cloud, tmp_path: Path) -> Node:
    """A node whose runs may take `DEADLINE_S`."""
    cloud.reset()
    path = write_config(tmp_path, cloud, node=f'deadline = "{DEADLINE_S:g}s"')
    return Node(cloud, tmp_path, install(tmp_path, path))


@pytest.fixture
def patient(cloud: Cloud, tmp_path: Path) -> Node:
    """A node whose runs may take as long as they may at most, so that no waiter of a big crowd gives up."""
    cloud.reset()
    path = write_config(tmp_path, cloud, node='deadline = "55s"')
    return Node(cloud, tmp_path, install(tmp_path, path))


def test_fifty_processes_make_one_exchange(patient: Node) -> None:
    """All are answered with the same credential, and nothing is left behind."""
    with patient.meeting(49) as (holder, others):
        patient.cloud.clear()
        told = [plugin.told() for plugin in (holder, *others)]
    assert [one.stderr for one in told] == [b""] * 50
    assert len({one.credential for one in told}) == 1
    assert patient.cloud.count(BY_TOKEN) == 1
    assert patient.cloud.count(ECR) == 1
    assert crowd.events(patient.state) == {"issued": 1, "served": 49}
    assert patient.intents() == []


def test_another_key_does_not_wait(node: Node) -> None:
    """While one key's holder is stopped in its exchange, another repository of the same account is served."""
    with node.meeting(0) as (holder, _):
        os.kill(holder.pid, signal.SIGSTOP)
        other = node.ask(f"{HOST}/team-a/other")
        assert other.stderr == b""
        assert holder.process.poll() is None
        assert len(node.intents()) == 1
    assert node.cloud.count(BY_TOKEN) == 2


def test_a_holder_that_is_killed_costs_one_more_exchange(patient: Node) -> None:
    """The kernel gives its lock to one of the others, which says what it found; the rest take what that one gets."""
    with patient.meeting(12) as (holder, others):
        holder.process.kill()
        patient.cloud.clear()
        told = [plugin.told() for plugin in others]
    assert [one.stderr for one in told] == [b""] * 12
    assert len({one.credential for one in told}) == 1
    assert patient.cloud.count(BY_TOKEN) == 2
    assert patient.cloud.count(ECR) == 1
    assert crowd.events(patient.state) == {"issued": 1, "recovered": 1, "served": 11}
    [line] = [line for line in crowd.trail(patient.state) if line["event"] == "recovered"]
    assert line["code"] == "intent-leftover"
    assert patient.intents() == []


def test_a_holder_that_hangs_costs_nobody_the_answer(node: Node) -> None:
    """The others go on by themselves within their deadline; when the holder goes on as well, nothing is spoilt."""
    with node.meeting(3) as (holder, others):
        os.kill(holder.pid, signal.SIGSTOP)
        node.cloud.clear()
        told = [plugin.told() for plugin in others]
        assert [one.stderr for one in told] == [b""] * 3  # a run past its deadline says so, and has no answer
        assert holder.process.poll() is None
        assert 2 <= node.cloud.count(BY_TOKEN) <= 4
        assert {one.credential for one in told} >= {node.ask().credential}
        os.kill(holder.pid, signal.SIGCONT)
        late = holder.told()
        assert late.code in ("", "deadline-exceeded")
    assert node.intents() == []
    after = node.ask()
    assert after.stderr == b""
    if late.status == 0:
        assert after.credential == late.credential


class Counter:
    """An exchanger that counts."""

    def __init__(self) -> None:
        self.left_s: list[float] = []

    def load(self, kind: str) -> Callable[..., Credential]:
        """As `exchange.load`."""

        def exchange(plan: Plan, token: Secret, deadline: Deadline, clock: Clock) -> Credential:
            self.left_s.append(deadline.remaining_s())
            ends_s = clock.now_s() + 3600
            return Credential("AWS", Secret("password"), ends_s, ends_s, "arn", "A", ())

        return exchange


@pytest.mark.parametrize("spent_s", [0.0, 2.0])
def test_a_waiter_waits_for_half_of_what_is_left(node: Node, spent_s: float) -> None:
    """Of the whole deadline, or of what loading the configuration has left of it; the other half is its own."""
    clock, counter = FakeClock(now_s=time.time()), Counter()
    path, runtime = str(node.directory / "config.toml"), str(node.directory / "run")

    def load() -> config.Config:
        clock.advance(spent_s)
        return config.load(path, runtime=runtime)

    with node.meeting(0) as (holder, _):
        os.kill(holder.pid, signal.SIGSTOP)
        answer = pipeline.serve(node.request(), pipeline.Deps(load, clock, counter.load))
        assert (answer.status, answer.stderr) == (0, b"")
        assert sum(clock.slept) == pytest.approx((DEADLINE_S - spent_s) / 2)
        assert counter.left_s == [pytest.approx((DEADLINE_S - spent_s) / 2)]


@pytest.mark.parametrize("fault", ["expired at the cloud", "signed by a stranger"])
def test_a_token_at_fault_is_its_owners_alone(patient: Node, fault: str) -> None:
    """The holder is refused; the others exchange their own tokens, one of them for all."""
    bad = None
    if fault == "signed by a stranger":
        bad = patient.request(key="wrong")
    else:
        patient.cloud.fault(BY_TOKEN, "ExpiredTokenException", times=1)
    with patient.meeting(8, bad) as (holder, others):
        patient.cloud.clear()
        refused = holder.told()
        told = [plugin.told() for plugin in others]
    assert (refused.status, refused.stdout) == (4, b"")
    assert refused.code == ("aws-token-rejected" if bad else "aws-token-expired")
    assert [one.stderr for one in told] == [b""] * 8
    assert len({one.credential for one in told}) == 1
    assert (patient.cloud.count(BY_TOKEN), patient.cloud.count(ECR)) == (2, 1)
    assert crowd.events(patient.state) == {"exchange-failed": 1, "issued": 1, "served": 7}


def test_a_denial_is_shared(patient: Node) -> None:
    """The cloud says no to one, and all that waited for it take that; nobody asks again."""
    patient.cloud.remove_role("pull-team-a")
    with patient.meeting(19) as (holder, others):
        patient.cloud.clear()
        told = [plugin.told() for plugin in (holder, *others)]
    assert [(one.status, one.stdout, one.code) for one in told] == [(4, b"", "aws-sts-denied")] * 20
    assert (patient.cloud.count(BY_TOKEN), patient.cloud.count(ECR)) == (1, 0)
    assert crowd.events(patient.state) == {"denied": 1, "refused": 19}
