"""Explaining a request: the pipeline's own steps, with what each found, up to the verdict or the refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pullpass import approvals, exchange, handing, pipeline, policy, renewal, stored
from pullpass.errors import ANSWERED, PullpassError, escape, number_of
from pullpass.store import moments

if TYPE_CHECKING:
    from pullpass.approvals import Approval
    from pullpass.identity import Subject
    from pullpass.pipeline import Deps
    from pullpass.stored import Stored

# What `code` says of an answer that only the migration mode gives.
WOULD_REFUSE = "would-refuse"


# Where a credential would come from.
CACHE = "cache"
EXCHANGE = "exchange"


class Found(pipeline.Found):
    """What a run has found, and how far it would come.

    Attributes:
        verified: its token was read in full.
        loadable: the SDK that it would need is installed.
        source: `CACHE` or `EXCHANGE`; None for neither.
        setback: why a renewal would fail before anything is sent; the credential that still lives is used on.
    """

    verified = False
    loadable = False
    source: str | None = None
    setback: PullpassError | None = None


def explain(raw: bytes, deps: Deps) -> tuple[int, dict[str, Any]]:
    """What `pipeline.serve` would do with this request, without asking the cloud or writing anything.

    Args:
        raw: the request.
        deps: the world.

    Returns:
        The exit status of the verdict, and the document of `--json`: `verdict` (`issue`, `anonymous`, `refuse`),
        `code` (of a refusal; `would-refuse` for an answer that only the migration mode gives), `message`, `hint`,
        `subject`, `target`, `grant`, `identity`, `principal` (who that is at Google), `opens`, `key`, `orders` (ids of
        the `revalidate` orders in force that are about it), `approval` (what is stored), `source` (`cache`,
        `exchange`), `notes`, `steps`, `calls`. What was not reached is null. It holds no secret.
    """
    found = Found()
    failure = None
    try:
        pipeline.decide(raw, deps, found)
        if found.plan is not None:
            _obtain(found, deps)
    except Exception as error:  # noqa: BLE001 - as in `pipeline.serve`
        failure = pipeline.as_failure(error)
        if pipeline.is_public(found, failure):
            found.spared, failure = failure, None
    document = _document(found, failure)
    return (failure.status if failure else ANSWERED), document


def _obtain(found: Found, deps: Deps) -> None:
    """Go the way of `renewal` as far as it leads without a network.

    Raises:
        PullpassError: it would end here.
    """
    case = found.case
    found.stored = what = stored.look_up(case.config, case.plan, found.required, found.now_s, make=False)
    handing.check_denial(what, found.now_s, found.now_s)
    found.source = CACHE
    if what.serves and not stored.renewal_due(what, case.plan, case.subject, found.now_s):
        return
    try:
        renewal.verify(case, deps)
        found.verified = True
        exchange.check_installed(exchange.TABLE[case.plan.kind][1])
        found.loadable = True
        found.source = EXCHANGE
    except PullpassError as error:
        if not what.serves:
            found.source = None
            raise
        found.setback = error


def _document(found: Found, failure: PullpassError | None) -> dict[str, Any]:
    decision, plan, target = found.decision, found.plan, found.target
    code = failure.code if failure else WOULD_REFUSE if decision and decision.would_refuse else None
    verdict = "refuse" if failure else "issue" if plan and not found.spared else "anonymous"
    approval = found.stored.approval if found.stored else None
    return {
        "verdict": verdict,
        "code": code,
        "message": failure.what if failure else None,
        "hint": failure.hint if failure else None,
        "image": found.request.image if found.request else None,
        "subject": _subject(found.subject) if found.subject else None,
        "target": target._asdict() if target else None,
        "grant": decision.grant if decision else None,
        "identity": decision.identity if decision else None,
        "principal": getattr(plan, "principal", None) or None,
        "opens": plan.opens if plan else None,
        "key": plan.key if plan else None,
        "orders": list(found.required) if found.orders_read else None,
        "approval": _approval(found, approval) if approval else None,
        "source": found.source,
        "notes": _notes(found),
        "steps": _steps(found, failure),
        "calls": [call._asdict() for call in plan.calls] if plan and found.source == EXCHANGE else [],
    }


def _subject(subject: Subject) -> dict[str, Any]:
    document = subject._asdict()
    document["audiences"] = list(subject.audiences)
    document["expires"] = datetime.fromtimestamp(document.pop("expires_s"), UTC).isoformat().replace("+00:00", "Z")
    return document


def _approval(found: Found, approval: Approval) -> dict[str, Any]:
    """What is stored, without what only an auditor needs."""
    return {
        "id": approval.key,
        "state": approval.state,
        "standing": found.stored.standing if found.stored else "",
        "firstApproved": _moment(approval.first_approved_s),
        "lastValidated": _moment(approval.last_validated_s),
        "expires": _moment(approval.expires_s),
        "deniedAt": _moment(approval.denied_at_s),
        "deniedCode": approval.denied_code or None,
        "rotations": approval.rotations,
        "credentialHash": approval.credential_hash or None,
    }


def _moment(moment_s: float | None) -> str | None:
    return moments.text(moment_s) if moment_s else None


def _notes(found: Found) -> list[str]:
    """What an operator must know about an answer besides what it opens."""
    if found.plan is None or found.decision is None or found.decision.identity != policy.NODE:
        return []
    recorded = (
        "the kubelet records it under the service account, though it is the node's"
        if found.subject
        else "the kubelet records it as node-wide: afterwards every pod of the node may use the image"
    )
    scoped = "" if found.decision.via else ", and it is not limited to the repository"
    return [f"the credential is the node's own{scoped}", recorded]


def _steps(found: Found, failure: PullpassError | None) -> list[dict[str, str]]:
    steps = []
    refused = False
    stopped = failure or found.setback
    instead = "" if failure else "; the credential that still lives is used on"
    for name, describe in STEPS:
        detail = describe(found)
        if detail:
            steps.append({"step": name, "outcome": "ok", "detail": detail})
        elif stopped and not refused:
            refused = True
            steps.append({"step": name, "outcome": "refused", "detail": stopped.what + instead})
        else:
            steps.append({"step": name, "outcome": "not reached", "detail": ""})
    return steps


def _request(found: Found) -> str:
    if found.request is None:
        return ""
    token = "with a service-account token" if found.request.token else "without a token"
    return (
        f"image {found.request.image}, {token}, annotations: {', '.join(sorted(found.request.annotations)) or 'none'}"
    )


def _config(found: Found) -> str:
    config = found.config
    return f"cluster {config.node.cluster}, {number_of(len(config.grants), 'grant')}" if config else ""


def _identity(found: Found) -> str:
    if found.subject:
        return f"service account {found.subject.namespace}/{found.subject.service_account} of {found.subject.issuer}"
    tokenless = found.request and found.config and not found.request.token
    return "no token: only grants with node = true apply" if tokenless else ""


def _target(found: Found) -> str:
    target = found.target
    if target is None:
        return ""
    place = (
        f", account {target.account}, region {target.region}, partition {target.partition}" if target.account else ""
    )
    return f"{target.kind}: repository {target.repository}{place}"


def _decision(found: Found) -> str:
    if found.decision is None:
        return ""
    if found.decision.would_refuse:
        return f'would-refuse: no grant matches, and policy.unmatched = "node" gives {found.decision.identity}'
    return f"grant {found.decision.grant!r} gives {found.decision.identity}"


def _orders(found: Found) -> str:
    if not found.orders_read:
        return ""
    if found.required:
        return f"it must have been validated under {', '.join(found.required)}"
    count = len(found.orders)
    return f"none of the {count} in force is about it" if count else "none is in force"


def _plan(found: Found) -> str:
    if found.plan:
        return f"opens {found.plan.opens}"
    reason = f" ({found.spared.what})" if found.spared else ""
    return f"nothing is sent: the image is answered without a credential{reason}" if found.planned else ""


def _stored(found: Found) -> str:
    what = found.stored
    if what is None:
        return ""
    if found.spared:
        return f"it is answered without a credential: {found.spared.what}"
    if what.standing == approvals.REMEMBERED:
        return ""
    return "; ".join([*(damage.message for damage in what.warnings), _due(found, what)])


def _due(found: Found, what: Stored) -> str:
    """What there is, and what is to be done about it."""
    approval = what.approval
    if approval is None or found.config is None or found.target is None:
        return "no approval can be used: an exchange is due"
    times = found.config.approval
    ends_s = approvals.ends_s(approval, times)
    until = moments.text(ends_s)
    if what.serves:
        added = "" if handing.lists(what, found.target) else ", and the repository is added to it"
        due = f", and was to be renewed from {moments.text(stored.renewed_from_s(approval))}"
        renewed = "" if found.source == CACHE and not found.setback else due
        return f"the approval lives until {until}{renewed or ': served from the cache'}{added}"
    if what.outlives:
        last_s = min(ends_s + times.outage_s, approval.registry_expires_s - times.min_life_s)
        how_long = f"should the cloud be out of reach, it is used until {moments.text(last_s)}"
        verb = "stands" if what.standing == approvals.LIVING else "stood"
        return f"the approval {verb} until {until}: an exchange is due; {how_long}"
    if approval.denied_at_s is not None:
        return f"the cloud's no of {moments.text(approval.denied_at_s)} counts no more: an exchange is due"
    if what.standing == approvals.LIVING:
        return f"the approval lives until {until}, and the cache has no credential for it: an exchange is due"
    return f"the approval, which was to stand until {until}, is {what.standing}: an exchange is due"


def _verified(found: Found) -> str:
    if not found.verified:
        return ""
    if found.subject is None:
        return "there is no token"
    if found.config and found.config.node.jwks:
        return f"the token's signature is valid by {found.config.node.jwks}"
    return "the token's signature is left to the cloud: node.jwks is not set"


def _loadable(found: Found) -> str:
    return "the SDK that would send it is installed" if found.loadable else ""


# The steps in the order of `pipeline`, each with a sentence about what it found; "" when it found nothing.
STEPS = (
    ("request.parse", _request),
    ("config.load", _config),
    ("identity.read", _identity),
    ("registry.match", _target),
    ("policy.decide", _decision),
    ("orders", _orders),
    ("plan.make", _plan),
    ("stored", _stored),
    ("token.verify", _verified),
    ("exchange.load", _loadable),
)


def text(document: dict[str, Any]) -> str:
    """The document for people: one line a fact, nothing that is not printable."""
    lines = []
    for step in document["steps"]:
        mark = {"ok": "+", "refused": "!", "not reached": "-"}[step["outcome"]]
        lines.append(f"{mark} {step['step']:<15} {step['detail'] or step['outcome']}")
    found = [name for name in ("grant", "identity", "principal", "opens", "key", "source") if document[name]]
    lines += [f"  {name:<15} {document[name]}" for name in found]
    for call in document["calls"]:
        lines.append(f"  would send      {call['action']} to {call['url']}: {call['summary']}")
    lines += [f"  note            {note}" for note in document["notes"]]
    code = f" ({document['code']})" if document["code"] else ""
    message = f": {document['message']}" if document["message"] else ""
    lines.append(f"verdict: {document['verdict']}{code}{message}")
    if document["hint"]:
        lines.append(f"next: {document['hint']}")
    return "".join(escape(line) + "\n" for line in lines)
