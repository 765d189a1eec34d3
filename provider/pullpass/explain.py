"""Explaining a request: the pipeline's own steps, with what each found, up to the verdict or the refusal."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from pullpass import exchange, pipeline, policy, renewal
from pullpass.errors import ANSWERED, PullpassError, escape

if TYPE_CHECKING:
    from pullpass.identity import Subject
    from pullpass.pipeline import Deps

# What `code` says of an answer that only the migration mode gives.
WOULD_REFUSE = "would-refuse"


class Found(pipeline.Found):
    """What a run has found, whether its token was read in full, and whether the SDK that it would need is installed."""

    verified = False
    loadable = False


def explain(raw: bytes, deps: Deps) -> tuple[int, dict[str, Any]]:
    """What `pipeline.serve` would do with this request, without asking the cloud.

    Args:
        raw: the request.
        deps: the world.

    Returns:
        The exit status of the verdict, and the document of `--json`: `verdict` (`issue`, `anonymous`, `refuse`),
        `code` (of a refusal; `would-refuse` for an answer that only the migration mode gives), `message`, `hint`,
        `subject`, `target`, `grant`, `identity`, `principal` (who that is at Google), `opens`, `key`, `notes`,
        `steps`, `calls`. What was not reached is null. It holds no secret.
    """
    found = Found()
    failure = None
    try:
        pipeline.decide(raw, deps, found)
        if found.plan is not None:
            renewal.verify(found.case, deps)
            found.verified = True
            exchange.check_installed(exchange.TABLE[found.plan.kind][1])
            found.loadable = True
    except Exception as error:  # noqa: BLE001 - as in `pipeline.serve`
        failure = pipeline.as_failure(error)
    document = _document(found, failure)
    return (failure.status if failure else ANSWERED), document


def _document(found: Found, failure: PullpassError | None) -> dict[str, Any]:
    decision, plan, target = found.decision, found.plan, found.target
    code = failure.code if failure else WOULD_REFUSE if decision and decision.would_refuse else None
    verdict = "refuse" if failure else "issue" if plan else "anonymous"
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
        "notes": _notes(found),
        "steps": _steps(found, failure),
        "calls": [call._asdict() for call in plan.calls] if plan and not failure else [],
    }


def _subject(subject: Subject) -> dict[str, Any]:
    document = subject._asdict()
    document["audiences"] = list(subject.audiences)
    document["expires"] = datetime.fromtimestamp(document.pop("expires_s"), UTC).isoformat().replace("+00:00", "Z")
    return document


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
    for name, describe in STEPS:
        detail = describe(found)
        if detail:
            steps.append({"step": name, "outcome": "ok", "detail": detail})
        elif failure and not refused:
            refused = True
            steps.append({"step": name, "outcome": "refused", "detail": failure.what})
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
    return (
        f"cluster {config.node.cluster}, {len(config.grants)} grant{'s' * (len(config.grants) != 1)}" if config else ""
    )


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


def _plan(found: Found) -> str:
    if found.plan:
        return f"opens {found.plan.opens}"
    reason = f" ({found.spared.what})" if found.spared else ""
    return f"nothing is sent: the image is answered without a credential{reason}" if found.planned else ""


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
    ("plan.make", _plan),
    ("token.verify", _verified),
    ("exchange.load", _loadable),
)


def text(document: dict[str, Any]) -> str:
    """The document for people: one line a fact, nothing that is not printable."""
    lines = []
    for step in document["steps"]:
        mark = {"ok": "+", "refused": "!", "not reached": "-"}[step["outcome"]]
        lines.append(f"{mark} {step['step']:<15} {step['detail'] or step['outcome']}")
    found = [name for name in ("grant", "identity", "principal", "opens", "key") if document[name]]
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
