"""What `recheck` promises: an order bites at the next container start, within minutes, and the cloud is hardly asked.

A model of the kubelet's cache in front of the whole pipeline, with containers that start at random over a day.
"""

from __future__ import annotations

import math
import random
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from modelling.asking import APP, DB, GOOGLE
from modelling.cloud import DENIED, HOUR_S, WELL
from modelling.kubelet import SERVICE_ACCOUNT, TOKEN, Kubelet
from modelling.world import World
from ordering import make_document

if TYPE_CHECKING:
    from collections.abc import Iterator

    from modelling.cloud import Need
    from modelling.kubelet import Start

DAY_S = 24 * HOUR_S
BETWEEN_S = 75.0
PODS = 12
# Those that the orders of these tests select, and one that they don't.
SELECTED = [("team-a/web", APP), ("team-a/web", GOOGLE[0]), ("team-a/web", GOOGLE[1])]
OTHER = ("team-b/web", DB)
SELECTOR = {"serviceAccount": "team-a/web"}


class Day:
    """Containers that start at random: new pods, and restarts of old ones."""

    def __init__(self, world: World, kubelet: Kubelet, seed: int) -> None:
        self.world, self.kubelet = world, kubelet
        self._random = random.Random(seed)

    def go_on(self, duration_s: float) -> list[Start]:
        """Let containers start for so long; the starts."""
        end_s, first = self.world.clock.now_s() + duration_s, len(self.kubelet.starts)
        while True:
            wait_s = round(self._random.expovariate(1 / BETWEEN_S), 3)
            if self.world.clock.now_s() + wait_s > end_s:
                self.world.clock.advance(end_s - self.world.clock.now_s())
                return self.kubelet.starts[first:]
            self.world.clock.advance(wait_s)
            account, image = self._random.choice([*SELECTED, OTHER])
            self.kubelet.start(f"{account}-{self._random.randrange(PODS)}", account, image)


@pytest.fixture(name="world")
def _world() -> Iterator[World]:
    with World() as world:
        yield world


CASES = pytest.mark.parametrize(
    ("cache_type", "recheck_s", "session_s"),
    [
        pytest.param(SERVICE_ACCOUNT, 600.0, HOUR_S, id="as it comes"),
        pytest.param(TOKEN, 600.0, HOUR_S, id="an entry for each token"),
        pytest.param(SERVICE_ACCOUNT, 60.0, HOUR_S, id="recheck of a minute"),
        pytest.param(SERVICE_ACCOUNT, 600.0, HOUR_S / 4, id="sessions of 15 minutes"),
        pytest.param(TOKEN, 60.0, 12 * HOUR_S, id="max_age is the shorter one"),
    ],
)


def begin(world: World, cache_type: str, recheck_s: float, session_s: float) -> Day:
    """A node as the case wants it, after some hours of service."""
    world.cloud.session_s = session_s
    world.configure(world.settings._replace(recheck_s=recheck_s))
    day = Day(world, Kubelet(world, cache_type), seed=int(recheck_s + session_s) + len(cache_type))
    assert all(start.password for start in day.go_on(2 * HOUR_S))
    return day


def is_selected(need: Need) -> bool:
    """Whether the orders here are about it."""
    return need.account == "team-a/web"


def check_thrift(world: World, begun_s: float, *, excused: int = 0) -> None:
    """For each need at most one exchange per min(`max_age`, half of the credential's life), but for so many."""
    max_age_s = world.settings.max_age_s
    needs = {verdict.need for verdict in world.cloud.verdicts}
    assert len(needs) == len({(account, "pkg.dev" in image) for account, image in [*SELECTED, OTHER]})
    for need in needs:
        sent = [verdict for verdict in world.cloud.verdicts if verdict.need == need and verdict.mode == WELL]
        early = 0
        for one, following in pairwise(sent):
            half_s = (min(one.registry_s, one.session_s) - one.sent_s) / 2
            early += following.sent_s - one.sent_s < min(max_age_s, half_s)
        assert early <= (excused if is_selected(need) else 0)
        lives_s = [min(verdict.registry_s, verdict.session_s) - verdict.sent_s for verdict in sent]
        most = math.ceil((world.clock.now_s() - begun_s) / min(max_age_s, min(lives_s) / 2))
        assert len(sent) <= most + excused


@CASES
def test_without_orders_the_cloud_is_asked_once_per_half_life(
    world: World, cache_type: str, recheck_s: float, session_s: float
) -> None:
    """However often the kubelet asks, which is every `recheck` at the least."""
    begun_s = world.clock.now_s()
    day = begin(world, cache_type, recheck_s, session_s)
    starts = day.go_on(DAY_S)
    assert all(start.password for start in starts)
    check_thrift(world, begun_s)
    asked = [start for start in starts if start.asked]
    assert len(asked) > sum(start.calls for start in asked) > 0
    assert len(asked) < len(starts) or cache_type == TOKEN


@CASES
def test_a_right_that_was_withdrawn_ends_within_recheck_of_the_order(
    world: World, cache_type: str, recheck_s: float, session_s: float
) -> None:
    """Without the order it would go on until the credential ends. The right restored, the next start is served."""
    begun_s = world.clock.now_s()
    day = begin(world, cache_type, recheck_s, session_s)
    assert day.kubelet.start("last", *SELECTED[0]).password
    ordered_s = world.clock.now_s()
    world.cloud.deny = is_selected
    world.give(make_document("o-1", selector=SELECTOR))
    world.clock.advance(1.0)
    at_once = day.kubelet.start("last", *SELECTED[0])
    assert (at_once.asked, at_once.password != "") == (False, True)  # what the kubelet holds is out of reach
    starts = day.go_on(3 * HOUR_S)
    for start in starts:
        if not is_selected(start.need):
            assert start.password
        elif start.at_s > ordered_s + recheck_s or start.asked:
            assert (start.password, start.code) == ("", "aws-sts-denied")
    denials = [verdict for verdict in world.cloud.verdicts if verdict.mode == DENIED]
    for need in {verdict.need for verdict in denials}:
        times = [verdict.sent_s for verdict in denials if verdict.need == need]
        assert all(later - one >= world.settings.denied_for_s for one, later in pairwise(times))
    world.cloud.deny = None
    world.clock.advance(world.settings.denied_for_s)
    assert all(start.password for start in day.go_on(2 * HOUR_S))
    check_thrift(world, begun_s, excused=1)


@CASES
def test_a_right_that_is_still_there_costs_one_exchange(
    world: World, cache_type: str, recheck_s: float, session_s: float
) -> None:
    """A `revalidate` over many: each is served again after exactly one exchange, and nobody fails."""
    begun_s = world.clock.now_s()
    day = begin(world, cache_type, recheck_s, session_s)
    ordered_s = world.clock.now_s()
    world.give(make_document("o-1", selector=SELECTOR))
    before = len(world.cloud.verdicts)
    # Less than half of the shortest life, so that no renewal is due twice: of a token with a fifth of its hour left.
    starts = day.go_on(HOUR_S / 5 / 2 - 10)
    assert all(start.password for start in starts)
    since = [verdict.need for verdict in world.cloud.verdicts[before:] if is_selected(verdict.need)]
    asked = {start.need for start in starts if start.asked and is_selected(start.need)}
    assert sorted(since) == sorted(asked)
    assert asked
    for start in starts:
        if is_selected(start.need) and (start.asked or start.at_s > ordered_s + recheck_s):
            given = [verdict for verdict in world.cloud.verdicts if verdict.password == start.password]
            assert given[-1].under == ("o-1",)
    assert all(start.password for start in day.go_on(3 * HOUR_S))
    check_thrift(world, begun_s, excused=1)


@CASES
def test_a_block_closes_within_recheck_and_opens_when_it_is_lifted(
    world: World, cache_type: str, recheck_s: float, session_s: float
) -> None:
    """It costs no exchange, and what was stored before serves on afterwards."""
    begun_s = world.clock.now_s()
    day = begin(world, cache_type, recheck_s, session_s)
    for number in range(3):
        ordered_s = world.clock.now_s()
        world.give(make_document(f"o-{number}", action="block", selector=SELECTOR))
        starts = day.go_on(recheck_s + HOUR_S)
        for start in starts:
            if not is_selected(start.need):
                assert start.password
            elif start.at_s > ordered_s + recheck_s or start.asked:
                assert (start.password, start.code, start.calls) == ("", "blocked-by-order", 0)
        assert len([start for start in starts if start.code]) > 20
        world.lift(f"o-{number}")
        assert all(start.password for start in day.go_on(HOUR_S))
    check_thrift(world, begun_s)
