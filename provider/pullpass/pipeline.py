"""One request, from the bytes on stdin to the answer: the only implementation, for the launchers and for people.

The line that a request takes (the design's section 3):

    request.parse            bytes -> Request
    config                   the operator's configuration
    identity.read            token claims -> Subject
    registry.match           image -> Target; the token's audience must be that registry kind's
    policy.decide            -> Decision: the grant and its identity
    read_orders              -> the `revalidate` orders about it, or a refusal by `block`
    plan.make                -> Plan: everything that would be sent, and the key
    stored.look_up           approval and cached credential
    handing.serve            they are handed out, unless they are to be renewed
    renewal.obtain           otherwise, under the key's intent: exchange, approval, cache
    request.render           -> bytes
    trail.append             one line, also for every refusal
"""

from __future__ import annotations

from pullpass import auditing, handing, identity, policy, registry, request, run, stored, trail
from pullpass.clock import Deadline
from pullpass.errors import ANSWERED, DENIED, PullpassError
from pullpass.exchange import plan
from pullpass.run import Answer, Deps, Found

__all__ = ["Answer", "Deps", "Found", "as_failure", "decide", "serve"]

# How long the kubelet keeps an answer for a public image whose password could not be had.
PUBLIC_RETRY_S = 60
# How long the line waits for its turn: the trail is locked for less than a millisecond, unless its holder hangs.
TRAIL_WAIT_S = 5.0


def serve(raw: bytes, deps: Deps) -> Answer:
    """Answer one request.

    Args:
        raw: what came on stdin.
        deps: the world.

    Returns:
        The response and status 0, or nothing on stdout, one line for stderr and another status. Never raises.
    """
    found = Found()
    failure, stdout, cache_s = None, b"", 0
    try:
        cache_s = _respond(raw, deps, found)
        assert found.target is not None  # noqa: S101 - `decide` found it
        stdout = request.render(found.target, found.handed.credential if found.handed else None, cache_s)
    except Exception as error:  # noqa: BLE001 - a traceback must not reach the kubelet's log: it may show a secret
        failure = as_failure(error)
    failure = _audit(found, deps, failure, cache_s)
    if failure is not None:
        return Answer(failure.status, b"", failure.line().encode() + b"\n")
    return Answer(ANSWERED, stdout, b"")


def as_failure(error: Exception) -> PullpassError:
    """`error` as something to tell a user: a defect shows its type and place, never its text or values."""
    if isinstance(error, PullpassError):
        return error
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    return PullpassError("internal", f"{type(error).__name__}{where}")


def _respond(raw: bytes, deps: Deps, found: Found) -> int:
    """Take all steps, and return for how many seconds the kubelet may keep the answer."""
    started_s = deps.clock.monotonic_s()
    decide(raw, deps, found)
    assert found.config is not None  # noqa: S101 - `decide` found it
    recheck_s = int(found.config.approval.recheck_s)
    if found.plan is None:
        return recheck_s
    try:
        _obtain(found, deps, Deadline(deps.clock, found.config.node.deadline_s, started_s))
    except PullpassError as error:
        if not is_public(found, error):
            raise
        denied = error.upstream == DENIED and found.asked_cloud
        found.aside("denied" if denied else "exchange-failed", error.code, error.what)
        found.now_s = deps.clock.now_s()
        run.read_orders(found)  # a block may have come during the exchange
    return found.handed.cache_s if found.handed else min(recheck_s, PUBLIC_RETRY_S)


def _obtain(found: Found, deps: Deps, deadline: Deadline) -> None:
    case = found.case
    found.stored = first = stored.look_up(case.config, case.plan, found.required, found.now_s)
    handing.check_denial(first, found.now_s, found.now_s)
    due = first.serves and stored.renewal_due(first, case.plan, case.subject, found.now_s)
    if first.serves and not due and handing.lists(first, case.target):
        handing.serve(found, first)
    else:
        from pullpass import renewal  # noqa: PLC0415 - a hit and a refusal go without

        renewal.obtain(found, deps, deadline)


def is_public(found: Found, error: PullpassError) -> bool:
    """Whether an error of the cloud costs only the higher limits of a known user: ECR Public's images are public.

    Answering without a credential is right there alone: elsewhere it would be kept by the kubelet and hide the reason.
    """
    from_cloud = error.upstream or error.code == "public-partition"
    return bool(found.target and found.target.kind == registry.ECR_PUBLIC and from_cloud)


def decide(raw: bytes, deps: Deps, found: Found) -> None:
    """Take the steps that need no network, and note what each found.

    Raises:
        PullpassError: a step refused; `found` holds what came before.
    """
    found.request = request.parse(raw)
    found.config = config = deps.load_config()
    found.now_s = deps.clock.now_s()
    found.subject = identity.read(found.request.token, config.node.issuers, found.now_s)
    aliases = config.ecr.aliases if config.ecr else ()
    hosts = config.gcr.hosts if config.gcr else ()
    found.target = registry.match(found.request.image, aliases, hosts)
    if found.subject is not None:
        identity.check_audience(found.subject, plan.section(found.target, config).audience)
    found.decision = policy.decide(found.subject, found.request.annotations, found.target, config)
    run.read_orders(found)
    if found.decision.identity != policy.ANONYMOUS:
        try:
            found.plan = plan.make(found.subject, found.target, found.decision, config)
        except PullpassError as error:
            if not is_public(found, error):
                raise
            found.spared = error
    found.planned = True


def _audit(found: Found, deps: Deps, failure: PullpassError | None, cache_s: int) -> PullpassError | None:
    """Write the run's lines, and say what is the answer's failure after that; None when it may go out."""
    try:
        config = found.config or deps.load_config()
    except Exception:  # noqa: BLE001 - it is the run's failure, or comes after a request that was none
        return failure  # there is no telling where the trail is
    try:
        bodies = auditing.lines(found, config, failure, cache_s)
        trail.append(
            config.paths.state,
            bodies,
            deps.clock,
            wait_s=TRAIL_WAIT_S,
            sync=auditing.must_sync(bodies),
            keep_s=config.audit.keep_s,
        )
    except Exception as error:  # noqa: BLE001 - as in `serve`
        trouble = as_failure(error)
        if failure is not None:
            what = f"{failure.what}; and it is not in the trail: {trouble.what}"
            return PullpassError(failure.code, what, failure.hint)
        return trouble if config.audit.when_full == "refuse" else None
    return failure
