"""What must hold for every answer, whatever came before it: judged from what the cloud and the operator know.

Nothing here knows how pullpass decides, so it holds for requests in the middle of others and after crashes too.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from modelling.asking import identity_of
from modelling.cloud import DENIED, UNREACHABLE, USERNAME, WELL

if TYPE_CHECKING:
    from modelling.asking import Ask, Settings
    from modelling.cloud import Need
    from modelling.world import Outcome, World
    from pullpass.approvals.orders import Order

SOURCES = {"issued": ("exchange", "cache"), "rotated": ("exchange",), "served": ("cache",), "outage": ("outage",)}
ASIDES = ("exchange-failed", "denied", "recovered", "warning")
OUTAGE_CACHE_S = 60
HASHES = 8


def kubelet_hash(password: str) -> str:
    """The kubelet's hash of a credential, for passwords that need no escaping."""
    text = json.dumps({"username": USERNAME, "password": password}, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def seconds(moment: str | None) -> float | None:
    """Seconds since the epoch of a moment in a file."""
    return None if moment is None else datetime.fromisoformat(moment).timestamp()


def selects(order: Order, ask: Ask, settings: Settings) -> bool:
    """Whether an order of the models is about a request: its globs are whole names, or end in `/**` or `/*`."""
    said = {order.image: ask.image, order.service_account: ask.account, order.identity: identity_of(ask, settings)}
    return all(_fits(glob, name) for glob, name in said.items() if glob)


def _fits(glob: str, name: str) -> bool:
    if glob.endswith("/**"):
        return name.startswith(glob[:-2])
    if glob.endswith("/*"):
        return name.rpartition("/")[0] == glob[:-2]
    return glob == name


def check(world: World, outcome: Outcome, need: Need | None) -> None:
    """Judge one answer by all laws.

    Args:
        world: after it.
        outcome: the answer and what came of it.
        need: what was needed; None for a request that needs no credential.
    """
    _check_lines(outcome)
    if outcome.approval is not None:
        _check_history(outcome.approval)
    orders = [order for order in world.in_force(outcome.now_s) if selects(order, outcome.ask, outcome.settings)]
    if outcome.status == 0:
        assert not [order.id for order in orders if order.action == "block"], "answered in spite of a block"
        assert 0 <= outcome.cache_s <= outcome.settings.recheck_s
    if outcome.password:
        assert need is not None, "a credential for what needs none"
        _check_password(world, outcome, need, {order.id for order in orders})
        _check_approval(outcome, need)


def _check_lines(outcome: Outcome) -> None:
    """Exactly one line about the answer, which tells the same as the answer."""
    *asides, line = outcome.lines
    assert all(aside["event"] in ASIDES and "cacheDurationS" not in aside for aside in asides)
    assert line.get("code", "") == outcome.code
    assert line.get("cacheDurationS", -1) == outcome.cache_s
    assert line.get("credentialHash") == (kubelet_hash(outcome.password) if outcome.password else None)
    assert (line.get("source") in SOURCES.get(line["event"], ())) == bool(outcome.password)
    if line.get("source") == "cache":
        assert outcome.calls == 0 or "exchange-failed" in [aside["event"] for aside in asides]


def _check_history(document: dict[str, Any]) -> None:
    """Rotations count the passwords that were replaced, the last eight of which are named."""
    assert len(document["previousHashes"]) == min(HASHES, document["rotations"])
    hashes = [*document["previousHashes"], document["credentialHash"]]
    assert all(one != other for one, other in itertools.pairwise(hashes))


def _check_password(world: World, outcome: Outcome, need: Need, orders: set[str]) -> None:
    """The cloud gave it for exactly this, under every order in force, and has not said no since; it lives on."""
    about = [verdict for verdict in world.cloud.verdicts if verdict.need == need]
    sent_s = seconds(outcome.approval["lastValidated"]) if outcome.approval else None
    given = [place for place, each in enumerate(about) if (each.password, each.sent_s) == (outcome.password, sent_s)]
    assert given, "a password that the cloud did not give for this, then"
    verdict = about[given[-1]]
    assert verdict.mode == WELL
    assert DENIED not in [later.mode for later in about[given[-1] :]], "served after the cloud said no"
    assert orders <= set(verdict.under), "older than an order"
    settings, line = outcome.settings, outcome.line
    assert verdict.registry_s - outcome.now_s >= settings.min_life_s
    ends_s = min(verdict.registry_s, verdict.session_s, verdict.sent_s + settings.max_age_s)
    if line["source"] != "outage":
        bound_s = max(0.0, ends_s - settings.margin_s - outcome.now_s)
        assert min(verdict.registry_s, verdict.session_s) - outcome.now_s >= settings.min_life_s
    else:
        bound_s = max(0.0, verdict.registry_s - settings.margin_s - outcome.now_s)
        assert outcome.cache_s <= OUTAGE_CACHE_S
        assert about[-1].mode == UNREACHABLE, "an outage, and the cloud was reached"
        assert outcome.now_s < ends_s + settings.outage_s, "an outage for too long"
    assert outcome.cache_s <= bound_s


def _check_approval(outcome: Outcome, need: Need) -> None:
    """An approval that says so is on disk."""
    document, ask, line = outcome.approval, outcome.ask, outcome.line
    assert document is not None, "a credential without an approval"
    assert document["state"] == "approved"
    assert document["credentialHash"] == kubelet_hash(outcome.password)
    account = document["serviceAccount"]
    assert (f"{account['namespace']}/{account['name']}" if account else "") == ask.account
    assert (document["cluster"], document["identity"], document["opens"]) == (need.cluster, need.identity, need.opens)
    assert ask.image in document["repositories"]
    expires_s = seconds(document["expires"])
    assert expires_s is not None
    assert expires_s > outcome.now_s or line["source"] in ("outage", "exchange")
    assert (line["approval"], line["expires"]) == (document["id"], document["expires"])
    assert line["registryExpires"] == document["registryExpires"]
