"""Requests, time, orders, a cloud of many moods, damaged files, crashes: one node, against a model of it.

Real files in a directory of their own, a clock that is set, and an exchanger that does what it is told; everything in
between is the product. Every answer is judged twice. By laws (`modelling.laws`), from what the cloud and the operator
know, whatever was going on:

 1. A credential is answered only with a living approval on disk that has its hash, names its subject, identity and what
    it opens, and lists the repository.
 2. The cloud gave it for exactly this subject and identity, in this cluster, for what it opens.
 3. It was sent for under every matching order in force; nothing is answered against a block in force.
 4. After the cloud's no, nothing is answered until a fresh exchange has succeeded.
 5. It lives for at least `min_life` more; past its approval's end only as an outage.
 6. An outage is told only when the last exchange did not reach the cloud, for `outage` at most, for a minute at a time.
 7. `cacheDuration` is at least 0, at most `recheck`, and at most what is left of approval and credential less `margin`.
 8. What came from the cache cost no exchange, unless an early renewal failed.
 9. Each request has exactly one line about its answer, the last of its lines, which says the same as the answer. The
    lines are chained without a gap, and `pullpass.trail.verify` agrees in the end.
10. Rotations are counted, and the last eight hashes kept. `firstApproved` does not move while the file survives.
11. One need has one key, one key one need.
12. No password and no token stands in any file.

And by a reference (`modelling.reference`), wherever requests come one after the other: status, code, password, event,
`cacheDuration`, what else the trail tells, the approval's whole content, and the number of exchanges, which is

13. one for each need: none for a hit, one for a miss. With the cloud well and nothing damaged or ordered that is at
    most one in the shorter one of `max_age` and half of the credential's life (and what `min_life` leaves of it).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from factories import HOST
from modelling import damage, dying, laws
from modelling.asking import APP, AS_EMAIL, DB, FORBIDDEN, FREE, GOOGLE, PUBLIC, SYSTEM, Ask, make_ask, need_of
from modelling.cloud import DENIED, HOUR_S, INVALID, MARK, SHORT, TOKEN, UNREACHABLE, WELL, Need, claims_of
from modelling.reference import Expected, Reference
from modelling.world import Outcome, World
from ordering import make_document, plant
from pullpass.store import moments
from pullpass.trail import verify

Drawn = tuple[tuple[str, str], float, bool]  # account and image; life of a new token; whether the last one will do

WEB = "team-a/web"
# Some more often than others, so that histories grow long.
WHO = [
    *[(WEB, APP)] * 4,
    *[(WEB, GOOGLE[0])] * 3,
    *[(WEB, GOOGLE[1]), (WEB, GOOGLE[2]), (WEB, AS_EMAIL[0])] * 2,
    *[(WEB, DB), (WEB, AS_EMAIL[1]), ("team-a/job", APP), ("team-b/web", APP), ("team-a/job", GOOGLE[0])],
    *[(WEB, PUBLIC), ("", SYSTEM), (WEB, FREE), (WEB, FORBIDDEN), ("", APP)],
]
LIVES_S = [3600.0, 7200.0, 1200.0, 100.0, 40.0]
asks = st.tuples(st.sampled_from(WHO), st.sampled_from(LIVES_S), st.booleans())
waits = st.sampled_from(
    [
        *(0.5, 1, 20, 29, 31, 60, 300, 600, 900, 1799, 1801, 2000, 2159, 2161, 3000, 3569, 3571, 3600),
        *(7200, 14400, 18001, 43200, 86400, 172800),
    ]
)
maybe = st.none() | waits
modes = st.sampled_from([WELL, WELL, DENIED, UNREACHABLE, UNREACHABLE, TOKEN, INVALID, SHORT])
selectors = st.sampled_from(
    [
        {"all": True},
        {"image": APP},
        {"image": f"{HOST}/team-a/**"},
        {"image": GOOGLE[0]},
        {"serviceAccount": "team-a/*"},
        {"serviceAccount": WEB, "image": APP},
        {"identity": "principal"},
        {"identity": "node"},
        {"identity": "arn:aws:iam::111122223333:role/*"},
    ]
)
actions = st.sampled_from(["revalidate", "revalidate", "block"])
changes = st.sampled_from(
    [
        *({"role": "pull"}, {"role": "read"}, {"cluster": "prod-1"}, {"cluster": "prod-2"}),
        *({"scope": "repository"}, {"scope": "registry"}),
        *({"max_age_s": 3600.0, "margin_s": 120.0}, {"max_age_s": 600.0, "margin_s": 0.0}),
        *({"max_age_s": 86400.0, "margin_s": 300.0}, {"max_age_s": 60.0, "margin_s": 10.0}),
        *({"recheck_s": 600.0}, {"recheck_s": 60.0}, {"recheck_s": 1.0}),
        *({"outage_s": 14400.0}, {"outage_s": 0.0}, {"denied_for_s": 30.0}, {"denied_for_s": 0.0}),
        *({"denied_for_s": 600.0}, {"min_life_s": 30.0}, {"min_life_s": 60.0}),
    ]
)


class Store(RuleBasedStateMachine):
    """One node."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.reference = Reference()
        self.tokens: dict[tuple[str, str], Ask] = {}
        self.copies: dict[Need, damage.Copy] = {}
        self.sent: list[bytes] = []
        self.given = 0

    def teardown(self) -> None:
        """The last look at the files."""
        with self.world as world:
            assert not world.secrets_in_files([MARK.encode(), *self.sent])
            directory = os.path.join(world.state, "audit")
            if os.path.isdir(directory):
                report = verify.verify(directory, world.clock, [], lambda done, whole: None)
                assert (report.found, report.lines) == (0, world.trail.count), verify.text(report)

    # --- requests

    def make(self, drawn: Drawn) -> Ask:
        """A request with a new token, or the last one as long as it is good."""
        who, life_s, again = drawn
        ask, now_s = self.tokens.get(who), self.world.clock.now_s()
        if ask and ask.token:
            claims: Any = claims_of(ask.token)
            again = again and claims["exp"] > now_s and claims["iat"] <= now_s + 60 and now_s - claims["iat"] < 86400
        if not again or ask is None:
            ask = self.tokens[who] = make_ask(*who, now_s, life_s)
            self.sent += [ask.token.encode()] if ask.token else []
        return ask

    def need(self, ask: Ask) -> Need | None:
        """What a request needs, if anything."""
        need = need_of(ask, self.world.settings)
        return need if isinstance(need, Need) else None

    def follow(self, drawn: Drawn) -> Outcome:
        """Serve a request by itself, and compare with the reference."""
        ask = self.make(drawn)
        world, need, start_s = self.world, self.need(ask), self.world.clock.now_s()
        before = world.in_force(start_s)
        outcome = world.ask(ask, need)
        laws.check(world, outcome, need)
        if world.in_force(outcome.now_s) != before:  # an order came or ended during the exchange
            self.adopt(need)
            return outcome
        expected = self.reference.foresee(world, ask, outcome.calls, start_s)
        *asides, line = outcome.lines
        told = [(aside["event"], aside["code"]) for aside in asides]
        came = Expected(line["event"], outcome.code, outcome.password, outcome.cache_s, outcome.calls, told)
        assert came == expected, f"{came}, expected {expected}"
        if need:
            self.reference.compare(world, outcome, need)
        return outcome

    def adopt(self, *needs: Need | None) -> None:
        """Go on from what is on disk."""
        for need in needs:
            if need and need in self.world.keys:
                self.reference.adopt(self.world, need)

    @rule(drawn=asks)
    def request(self, drawn: Drawn) -> None:
        """A container starts."""
        self.follow(drawn)

    @rule(drawn=asks, wait_s=waits)
    def twice(self, drawn: Drawn, wait_s: float) -> None:
        """A container starts, and some time later another one of the same kind."""
        self.follow(drawn)
        self.world.clock.advance(wait_s)
        self.follow(drawn)

    @rule(drawn=asks, inner=st.none() | asks, wait_s=st.sampled_from([0.0, 0.0, 1.0, 40.0]))
    def two_at_once(self, drawn: Drawn, inner: Drawn | None, wait_s: float) -> None:
        """One in the middle of another one's exchange; of the same need, it waits in vain and goes on by itself."""
        world, ask, other = self.world, self.make(drawn), self.make(inner or drawn)
        need, other_need = self.need(ask), self.need(other)

        stored: list[str] = []

        def ask_and_check(ask: Ask, need: Need | None) -> None:
            outcome = world.ask(ask, need)
            laws.check(world, outcome, need)
            stored.extend([outcome.password] if outcome.line.get("source") == "exchange" else [])

        def between() -> None:
            ask_and_check(other, other_need)
            world.clock.advance(wait_s)

        world.cloud.during = between
        ask_and_check(ask, need)
        world.cloud.during = None
        self.adopt(need, other_need)
        if need == other_need:
            assert set(stored) <= set(self.passwords_of(need)), "history is lost"

    def passwords_of(self, need: Need | None) -> tuple[str, ...]:
        """Those that the reference knows of."""
        slot = self.reference.slots.get(need) if need else None
        return slot.approval.passwords if slot and slot.approval else ()

    @rule(drawn=asks, after=st.integers(1, 10))
    def crash(self, drawn: Drawn, after: int) -> None:
        """A container starts, and the plugin is killed at one of its steps."""
        world, ask = self.world, self.make(drawn)
        need = self.need(ask)
        takes_s, world.cloud.takes_s = world.cloud.takes_s, 0.0  # the child's clock is not ours
        death = dying.serve(world, ask, after)
        world.cloud.takes_s = takes_s
        if need and need not in world.keys:
            world.learn_from_intents(need)
        if death.answer is None:
            assert world.trail.new() == []
        else:
            laws.check(world, world.outcome(ask, need, death.answer, death.calls), need)
        self.adopt(need)

    # --- time, cloud, configuration

    @rule(wait_s=waits, drawn=asks)
    def later(self, wait_s: float, drawn: Drawn) -> None:
        """Time passes."""
        self.world.clock.advance(wait_s)
        self.follow(drawn)

    @rule(back_s=st.sampled_from([1.0, 30.0, 3600.0, 86400.0]), drawn=asks)
    def back(self, back_s: float, drawn: Drawn) -> None:
        """The clock is put back."""
        self.world.jump(-back_s)
        self.follow(drawn)

    @rule(mode=modes, takes_s=st.sampled_from([0.0, 0.0, 1.0]), rotates=st.booleans(), drawn=asks)
    def weather(self, mode: str, takes_s: float, rotates: bool, drawn: Drawn) -> None:
        """The cloud's mood changes."""
        cloud = self.world.cloud
        cloud.mode, cloud.takes_s, cloud.rotates = mode, takes_s, rotates
        self.follow(drawn)

    @rule(mode=modes, wait_s=waits, drawn=asks)
    def spell(self, mode: str, wait_s: float, drawn: Drawn) -> None:
        """A request, then bad weather for two more of its kind, then good weather again."""
        cloud = self.world.cloud
        before = cloud.mode
        self.follow(drawn)
        cloud.mode = mode
        for _ in range(2):
            self.world.clock.advance(wait_s)
            self.follow(drawn)
        cloud.mode = before
        self.follow(drawn)

    @rule(lives=st.sampled_from([(12.0, 1.0), (1.0, 1.0), (12.0, 0.25), (0.03, 0.03), (0.02, 1.0)]), drawn=asks)
    def lives(self, lives: tuple[float, float], drawn: Drawn) -> None:
        """The cloud gives longer or shorter lives."""
        self.world.cloud.life_s, self.world.cloud.session_s = lives[0] * HOUR_S, lives[1] * HOUR_S
        self.follow(drawn)

    @rule(change=changes, drawn=asks)
    def configure(self, change: dict[str, Any], drawn: Drawn) -> None:
        """The operator changes the configuration."""
        self.world.configure(self.world.settings._replace(**change))
        self.follow(drawn)

    # --- orders

    @rule(action=actions, selector=selectors, begins=maybe, lasts=maybe, drawn=asks)
    def order(
        self, action: str, selector: dict[str, Any], begins: float | None, lasts: float | None, drawn: Drawn
    ) -> None:
        """The operator gives an order: at once or scheduled, for ever or for a time."""
        self.world.give(self.make_order(action, selector, begins, lasts))
        self.follow(drawn)

    def make_order(
        self, action: str, selector: dict[str, Any], begins: float | None = None, lasts: float | None = None
    ) -> dict[str, Any]:
        """The document of a new order; seconds from now."""
        self.given += 1
        now_s = self.world.clock.now_s()
        times = {} if begins is None else {"notBefore": moments.text(now_s + begins)}
        times |= {} if lasts is None else {"expires": moments.text(now_s + (begins or 0.0) + lasts)}
        return make_document(f"o-{self.given}", action=action, selector=selector, **times)

    @rule(action=actions, selector=selectors, drawn=asks)
    def order_within(self, action: str, selector: dict[str, Any], drawn: Drawn) -> None:
        """An order arrives while an exchange is under way; without an exchange it does not come at all."""
        ask = self.make(drawn)
        need = self.need(ask)
        self.world.cloud.during = lambda: self.world.give(self.make_order(action, selector))
        laws.check(self.world, self.world.ask(ask, need), need)
        self.world.cloud.during = None
        self.adopt(need)

    @precondition(lambda self: self.world.orders)
    @rule(which=st.integers(0, 100), drawn=asks)
    def lift(self, which: int, drawn: Drawn) -> None:
        """The operator lifts an order."""
        ids = sorted(self.world.orders)
        self.world.lift(ids[which % len(ids)])
        self.follow(drawn)

    @precondition(lambda self: len(self.world.orders) > 1)
    @rule(drawn=asks)
    def lift_all(self, drawn: Drawn) -> None:
        """The operator lifts all orders."""
        for order_id in sorted(self.world.orders):
            self.world.lift(order_id)
        self.follow(drawn)

    @rule(drawn=asks)
    def foreign_order(self, drawn: Drawn) -> None:
        """What may be an order and can't be read refuses everything that policy would grant, and changes nothing."""
        ask = self.make(drawn)
        path = plant(Path(self.world.state), "typo.jsn", b"{}")
        need = self.need(ask)
        outcome = self.world.ask(ask, need)
        os.unlink(path)
        laws.check(self.world, outcome, need)
        expected = "no-grant" if need_of(ask, self.world.settings) == "no-grant" else "order-unreadable"
        assert (outcome.code, outcome.calls) == (expected, 0)

    # --- damages

    def pick(self, which: int) -> tuple[Need, Need] | None:
        """Two needs that were sent for; the same one twice when there is only one."""
        needs = list(self.world.keys)
        return (needs[which % len(needs)], needs[(which // 7) % len(needs)]) if needs else None

    @rule(which=st.integers(0, 48), how=st.sampled_from(["deleted", "cut", "open", "another"]), drawn=asks)
    def damaged_approval(self, which: int, how: str, drawn: Drawn) -> None:
        """An approval is deleted or damaged."""
        if picked := self.pick(which):
            damage.approval(self.world, self.reference, picked[0], how, picked[1])
        self.follow(drawn)

    @rule(which=st.integers(0, 48), how=st.sampled_from(["deleted", "cut", "changed", "swapped", "newer"]), drawn=asks)
    def damaged_entry(self, which: int, how: str, drawn: Drawn) -> None:
        """A cache entry is deleted or damaged."""
        if picked := self.pick(which):
            damage.entry(self.world, self.reference, picked[0], how, picked[1])
        self.follow(drawn)

    @rule(which=st.integers(0, 48), restore=st.booleans(), drawn=asks)
    def replayed_entry(self, which: int, restore: bool, drawn: Drawn) -> None:
        """A cache entry is copied, or an older copy put back."""
        if picked := self.pick(which):
            need = picked[0]
            if restore and need in self.copies:
                damage.replay(self.world, self.reference, need, self.copies[need])
            elif made := damage.copy(self.world, self.reference, need):
                self.copies[need] = made
        self.follow(drawn)

    @rule(how=st.sampled_from(["deleted", "cut", "another"]), drawn=asks)
    def damaged_key(self, how: str, drawn: Drawn) -> None:
        """The key of the cache is lost."""
        damage.key(self.world, self.reference, how)
        self.follow(drawn)

    @rule(drawn=asks)
    def reboot(self, drawn: Drawn) -> None:
        """The node is booted again: the runtime directory is empty."""
        damage.reboot(self.world, self.reference)
        self.follow(drawn)

    @invariant()
    def nothing_is_under_way(self) -> None:
        """No intent is left but those of a crash."""
        for need in self.world.keys:
            assert self.world.intent_is_left(need) == self.reference.slot(need).left


TestStore = Store.TestCase
TestStore.settings = settings(max_examples=40, stateful_step_count=30, deadline=None, derandomize=True)
