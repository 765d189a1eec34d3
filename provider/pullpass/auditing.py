"""What a run tells the trail: one line about its answer, and one for each aside.

Rules:

* Every member is a fact about the run. A member that is not known is left out, never guessed.
* Text from outside is cut and escaped, and no secret is among the members: of a credential there is its hash, of a
  token its id.
"""

from __future__ import annotations

from pullpass.errors import DENIED, outside
from pullpass.store import moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pullpass.config import Config
    from pullpass.errors import PullpassError
    from pullpass.run import Found

# What must outlast a power failure: what was newly given or taken. The rest only repeats it.
SYNCED = frozenset({"issued", "rotated", "denied", "order"})

# So many of the orders about a request are named: the approval has all of them, and every start writes a line.
ORDERS_TOLD = 20


def lines(found: Found, config: Config, failure: PullpassError | None, cache_s: int) -> list[dict[str, Any]]:
    """The bodies of a run's lines, the one about the answer last.

    Args:
        found: how far the run came.
        config: the operator's configuration.
        failure: why there is no answer; None when there is one.
        cache_s: for how many seconds the kubelet may keep the answer.
    """
    who = _who(found, config)
    return [*({**aside, **who} for aside in found.asides), {**_outcome(found, failure, cache_s), **who}]


def must_sync(bodies: list[dict[str, Any]]) -> bool:
    """Whether one of the lines must outlast a power failure."""
    return any(body["event"] in SYNCED for body in bodies)


def _who(found: Found, config: Config) -> dict[str, Any]:
    who: dict[str, Any] = {"cluster": config.node.cluster}
    subject, target, decision = found.subject, found.target, found.decision
    if subject:
        who["serviceAccount"] = {
            "namespace": subject.namespace,
            "name": subject.service_account,
            "uid": subject.uid,
        }
        who |= {name: value for name, value in (("pod", subject.pod), ("node", subject.node)) if value}
        who |= {"jti": outside(subject.jti, 128)} if subject.jti else {}
    elif found.request and found.request.token is None:
        who["serviceAccount"] = None
    if found.request:
        who["image"] = outside(found.request.image)
    if target:
        who["registry"] = target.host
    if decision:
        who |= {"grant": decision.grant, "identity": decision.identity}
        who |= {"via": decision.via} if decision.via else {}
    if found.plan:
        who |= {"opens": found.plan.opens, "approval": found.plan.key}
    if found.required:
        who["orders"] = list(found.required[:ORDERS_TOLD])
        more = len(found.required) - ORDERS_TOLD
        who |= {"ordersMore": more} if more > 0 else {}
    return who


def _outcome(found: Found, failure: PullpassError | None, cache_s: int) -> dict[str, Any]:
    if failure:
        return {"event": _event_of(found, failure), "code": failure.code, "message": failure.what}
    handed = found.handed
    unmatched = found.decision is not None and found.decision.would_refuse
    if handed is None:
        return {"event": "would-refuse" if unmatched else "anonymous", "cacheDurationS": cache_s}
    approval = handed.approval
    return {
        "event": "would-refuse" if unmatched else handed.event,
        "source": handed.source,
        "expires": moments.text(approval.expires_s),
        "registryExpires": moments.text(approval.registry_expires_s),
        "cacheDurationS": cache_s,
        "credentialHash": approval.credential_hash,
        **({"principal": outside(approval.principal)} if approval.principal else {}),
        **({"accessKeyId": outside(approval.access_key_id, 128)} if approval.access_key_id else {}),
        "requestIds": [outside(request_id, 128) for request_id in approval.request_ids],
    }


def _event_of(found: Found, failure: PullpassError) -> str:
    """`denied` is the cloud's no as it comes; a remembered one is a refusal like others."""
    if failure.upstream == DENIED:
        return "denied" if found.asked_cloud else "refused"
    return "exchange-failed" if failure.upstream and found.asked_cloud else "refused"
