"""What should be answered when requests come one after the other: the design's section 3 as a decision table.

Written from the design, not from the code. One thing is left open: a credential is renewed early at a moment that is
spread over a tenth of its life, so within that tenth an exchange and none are both right.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from modelling.asking import GOOGLE, PUBLIC, need_of
from modelling.cloud import DENIED, FAILURES, SHORT, UNREACHABLE, WELL, Need, Verdict, claims_of
from modelling.laws import kubelet_hash, seconds, selects
from modelling.world import ABSENT, DAMAGED, FOREIGN, GOOD

if TYPE_CHECKING:
    from modelling.asking import Ask, Settings
    from modelling.world import Outcome, World

# Half of a life, and the tenth over which the nodes of a fleet are spread.
EARLIEST, LATEST = 0.5, 0.6
PAUSE_S = 30.0
PUBLIC_CACHE_S = 60
OUTAGE_CACHE_S = 60


@dataclass(frozen=True)
class Approval:
    """What is known of an approval; `verdict` is the exchange it stands on, None when there never was a good one."""

    verdict: Verdict | None = None
    expires_s: float = 0.0
    first_s: float = 0.0
    passwords: tuple[str, ...] = ()  # each that was ever in force, the present one last
    repositories: frozenset[str] = frozenset()
    token_ends_s: float = 0.0
    denied_s: float | None = None
    tried_s: float | None = None

    @property
    def life_ends_s(self) -> float:
        """The earlier one of the ends of password and session."""
        return min(self.verdict.registry_s, self.verdict.session_s) if self.verdict else 0.0


@dataclass
class Slot:
    """What is on disk for one need."""

    approval: Approval | None = None
    unreadable: bool = False  # there is a file, and it is no approval of this need
    cache: str = ABSENT
    left: bool = False  # a crash's intent


class Expected(NamedTuple):
    """What should come of a request."""

    event: str
    code: str
    password: str
    cache_s: int
    calls: int
    asides: list[tuple[str, str]]


@dataclass
class Reference:
    """All slots."""

    slots: dict[Need, Slot] = field(default_factory=dict)

    def slot(self, need: Need) -> Slot:
        """The slot of a need; made when it is new."""
        return self.slots.setdefault(need, Slot())

    def foresee(self, world: World, ask: Ask, calls: int, start_s: float) -> Expected:
        """What should have come of a request that has made `calls` exchanges, and change the slot accordingly.

        Args:
            world: after the request; orders and cloud as they were.
            ask: the request.
            calls: how many exchanges there were; only used where both numbers are right.
            start_s: the clock when it began.
        """
        settings = world.settings
        orders = [order for order in world.in_force(start_s) if selects(order, ask, settings)]
        need = need_of(ask, settings)
        if need == "no-grant":
            return Expected("refused", need, "", -1, 0, [])
        if any(order.action == "block" for order in orders):
            return Expected("refused", "blocked-by-order", "", -1, 0, [])
        if not isinstance(need, Need):
            return Expected("anonymous", "", "", int(settings.recheck_s), 0, [])
        required = {order.id for order in orders}
        found = _Decision(world, ask, self.slot(need), required, start_s).decide(calls)
        if ask.image == PUBLIC and found.code:
            cache_s = int(min(PUBLIC_CACHE_S, settings.recheck_s))
            asides = [*found.asides, ("denied" if found.event == "denied" else "exchange-failed", found.code)]
            return Expected("anonymous", "", "", cache_s, found.calls, asides)
        return found

    def compare(self, world: World, outcome: Outcome, need: Need) -> None:
        """Hold approval and cache on disk to their slot."""
        slot, document = self.slot(need), outcome.approval
        if slot.approval is None:
            assert document is None
            return
        assert document is not None
        there, expected = _essence(document), _expected_essence(slot.approval)
        assert there == expected, f"{there}, expected {expected}"
        if slot.approval.verdict:
            assert world.peek(need) == slot.cache

    def adopt(self, world: World, need: Need) -> None:
        """Take over what is on disk after something that could end in several ways; what can't be is refused."""
        slot, document = self.slot(need), world.approval(need)
        before = slot.approval
        slot.left = world.intent_is_left(need)
        if document is None:
            assert before is None, "an approval is gone"
            return
        slot.unreadable = False
        about = [verdict for verdict in world.cloud.verdicts if verdict.need == need and verdict.mode == WELL]
        known = {kubelet_hash(verdict.password): verdict for verdict in about}
        sent_s = seconds(document["lastValidated"])
        exact = [
            verdict for verdict in about if verdict.sent_s == sent_s and _hash(verdict) == document["credentialHash"]
        ]
        hashes = [*document["previousHashes"], *filter(None, [document["credentialHash"]])]
        passwords = tuple(known[each].password for each in hashes)
        missing = document["rotations"] - len(document["previousHashes"])
        slot.approval = Approval(
            verdict=exact[-1] if exact else None,
            expires_s=seconds(document["expires"]) or 0.0,
            first_s=seconds(document["firstApproved"]) or 0.0,
            passwords=("",) * missing + passwords,
            repositories=frozenset(document["repositories"]),
            token_ends_s=seconds((document["evidence"] or {}).get("tokenExpires")) or 0.0,
            denied_s=seconds(document.get("deniedAt")),
            tried_s=seconds(document.get("unreachableAt")),
        )
        assert (slot.approval.verdict is None) == (not document["credentialHash"])
        if before is not None:
            assert before.first_s in (0.0, slot.approval.first_s), "firstApproved has moved"
            assert before.repositories <= slot.approval.repositories
            assert len(before.passwords) <= len(slot.approval.passwords)
        slot.cache = world.peek(need)


def _hash(verdict: Verdict) -> str:
    return kubelet_hash(verdict.password)


def _essence(document: dict[str, Any]) -> dict[str, Any]:
    return {
        "hash": document["credentialHash"],
        "first": seconds(document["firstApproved"]) or 0.0,
        "sent": seconds(document["lastValidated"]),
        "expires": seconds(document["expires"]) or 0.0,
        "under": document["validatedUnder"],
        "rotations": document["rotations"],
        "previous": document["previousHashes"],
        "repositories": sorted(document["repositories"]),
        "denied": seconds(document.get("deniedAt")),
        "state": document["state"],
        "tried": seconds(document.get("unreachableAt")),
    }


def _expected_essence(approval: Approval) -> dict[str, Any]:
    verdict, passwords = approval.verdict, approval.passwords
    return {
        "hash": _hash(verdict) if verdict else "",
        "first": approval.first_s,
        "sent": verdict.sent_s if verdict else None,
        "expires": approval.expires_s,
        "under": list(verdict.under) if verdict else [],
        "rotations": max(0, len(passwords) - 1),
        "previous": [kubelet_hash(password) for password in passwords[:-1]][-8:],
        "repositories": sorted(approval.repositories),
        "denied": approval.denied_s,
        "state": "approved" if approval.denied_s is None else "denied",
        "tried": approval.tried_s,
    }


class _Decision:
    """One request that needs a credential."""

    def __init__(self, world: World, ask: Ask, slot: Slot, required: set[str], start_s: float) -> None:
        self.world, self.ask, self.slot, self.required = world, ask, slot, required
        self.settings: Settings = world.settings
        self.start_s, self.end_s = start_s, world.clock.now_s()
        self.asides: list[tuple[str, str]] = []

    def decide(self, calls: int) -> Expected:
        approval = self.slot.approval
        denied_s = approval.denied_s if approval else None
        if denied_s is not None and denied_s <= self.start_s < denied_s + self.settings.denied_for_s:
            return Expected("refused", FAILURES[DENIED][0], "", -1, 0, [])
        serves = self.serves(self.start_s)
        if serves and not self.renewed(calls):
            return self.serve(serves_from="cache")
        if self.slot.left:
            self.asides.append(("recovered", "intent-leftover"))
            self.slot.left = False
        if self.slot.unreadable:
            self.asides.append(("warning", "approval-unreadable"))
        if self.slot.cache in (DAMAGED, FOREIGN) and self.is_looked_for():
            self.asides.append(("warning", "cache-damaged"))
        outlives = self.outlives(self.start_s)
        return self.exchange(serves=serves, outlives=outlives)

    # --- what stands

    def valid(self, now_s: float) -> bool:
        approval = self.slot.approval
        if approval is None or approval.verdict is None or approval.denied_s is not None:
            return False
        return approval.verdict.sent_s <= now_s and self.required <= set(approval.verdict.under)

    def ends_s(self) -> float:
        """When the approval is too old: a lowered `max_age` counts at once."""
        approval = self.slot.approval
        assert approval is not None
        assert approval.verdict is not None
        return min(approval.expires_s, approval.verdict.sent_s + self.settings.max_age_s)

    def is_looked_for(self) -> bool:
        """Whether the cache is looked into at all."""
        return self.lives(self.start_s) or self.may_outlive(self.start_s)

    def lives(self, now_s: float) -> bool:
        approval = self.slot.approval
        if not approval or not self.valid(now_s):
            return False
        return now_s < self.ends_s() and approval.life_ends_s - now_s >= self.settings.min_life_s

    def serves(self, now_s: float) -> bool:
        return self.lives(now_s) and self.slot.cache == GOOD

    def may_outlive(self, now_s: float) -> bool:
        approval, settings = self.slot.approval, self.settings
        if not approval or not approval.verdict or not self.valid(now_s) or not settings.outage_s:
            return False
        return now_s < self.ends_s() + settings.outage_s and approval.verdict.registry_s - now_s >= settings.min_life_s

    def outlives(self, now_s: float) -> bool:
        return self.may_outlive(now_s) and self.slot.cache == GOOD and not self.serves(now_s)

    def renewed(self, calls: int) -> bool:
        """Whether a living credential is renewed already."""
        approval, now_s = self.slot.approval, self.start_s
        assert approval is not None
        assert approval.verdict is not None
        if approval.tried_s is not None and 0 <= now_s - approval.tried_s < PAUSE_S:
            return False
        if self.ask.image in GOOGLE and self.token_ends_s() <= approval.token_ends_s:
            return False  # an access token of direct federation ends with the pod's token
        sent_s = approval.verdict.sent_s
        gone = (now_s - sent_s) / (approval.life_ends_s - sent_s)
        return gone >= LATEST or (gone >= EARLIEST and calls > 0)

    def token_ends_s(self) -> float:
        return float(str(claims_of(self.ask.token)["exp"])) if self.ask.token else 0.0

    # --- what comes of it

    def serve(self, serves_from: str, calls: int = 0) -> Expected:
        approval, settings = self.slot.approval, self.settings
        assert approval is not None
        assert approval.verdict is not None
        is_new = self.ask.image not in approval.repositories
        self.slot.approval = replace(approval, repositories=approval.repositories | {self.ask.image})
        if is_new and not calls and serves_from == "cache":
            self.note_entry()
        event = "outage" if serves_from == "outage" else "issued" if is_new else "served"
        most_s, ends_s = settings.recheck_s, self.ends_s()
        if serves_from == "outage":
            most_s, ends_s = min(most_s, OUTAGE_CACHE_S), approval.verdict.registry_s
        cache_s = max(0, int(min(most_s, ends_s - settings.margin_s - self.end_s)))
        return Expected(event, "", approval.verdict.password, cache_s, calls, self.asides)

    def note_entry(self) -> None:
        """A repository is added by whoever holds the intent, who finds a leftover."""
        if self.slot.left:
            self.asides.append(("recovered", "intent-leftover"))
            self.slot.left = False

    def exchange(self, *, serves: bool, outlives: bool) -> Expected:
        verdict = self.world.cloud.verdicts[-1]
        mode = verdict.mode
        ends_s = min(verdict.registry_s, verdict.session_s)
        if mode == WELL and ends_s - self.end_s < self.settings.min_life_s:
            mode = SHORT
        if mode == WELL:
            return self.issue(verdict)
        code = FAILURES[mode][0]
        if mode == DENIED:
            self.slot.cache = ABSENT
            self.slot.unreadable = False
            self.slot.approval = replace(self.slot.approval or Approval(), denied_s=self.end_s)
            return Expected("denied", code, "", -1, 1, self.asides)
        unreachable = mode == UNREACHABLE
        if not serves and not (outlives and unreachable):
            return Expected("exchange-failed", code, "", -1, 1, self.asides)
        self.asides.append(("exchange-failed", code))
        still = self.serves(self.end_s)
        if not still and not (unreachable and self.outlives(self.end_s)):
            return Expected("exchange-failed", code, "", -1, 1, self.asides)
        if unreachable and self.slot.approval:
            self.slot.approval = replace(self.slot.approval, tried_s=self.end_s)
        return self.serve("cache" if still else "outage", calls=1)

    def issue(self, verdict: Verdict) -> Expected:
        before, settings = self.slot.approval or Approval(), self.settings
        passwords = before.passwords
        rotated = bool(passwords)
        if passwords[-1:] != (verdict.password,):
            passwords += (verdict.password,)
        life_ends_s = min(verdict.registry_s, verdict.session_s)
        self.slot.approval = Approval(
            verdict=verdict,
            expires_s=min(life_ends_s, verdict.sent_s + settings.max_age_s),
            first_s=before.first_s or verdict.sent_s,
            passwords=passwords,
            repositories=before.repositories | {self.ask.image},
            token_ends_s=self.token_ends_s(),
        )
        self.slot.unreadable = False
        if self.slot.cache == FOREIGN:
            self.asides.append(("warning", "cache-unusable"))
        else:
            self.slot.cache = GOOD
        cache_s = max(0, int(min(settings.recheck_s, self.ends_s() - settings.margin_s - self.end_s)))
        return Expected("rotated" if rotated else "issued", "", verdict.password, cache_s, 1, self.asides)
