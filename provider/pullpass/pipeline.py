"""One request, from the bytes on stdin to the answer: the only implementation, for the launchers and for people.

The line that a request takes (the design's section 3; what later rooms add goes between the steps, not around them):

    request.parse            bytes -> Request
    config                   the operator's configuration
    identity.read            token claims -> Subject
    registry.match           image -> Target; the token's audience must be that registry kind's
    policy.decide            -> Decision: the grant and its identity
    plan.make                -> Plan: everything that would be sent, and the key
    token.verify             the token, read once more by a library, which is loaded only now
    exchange                 -> Credential: loaded only now as well, and given up when the deadline ends
    request.render           -> bytes
"""

from __future__ import annotations

from pullpass import exchange, identity, policy, registry, request
from pullpass.clock import Deadline
from pullpass.errors import ANSWERED, PullpassError
from pullpass.exchange import plan
from pullpass.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock
    from pullpass.config import Config
    from pullpass.exchange import Credential, Exchanger, Plan
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target
    from pullpass.request import Request


# How long the kubelet keeps an answer for a public image whose password could not be had.
PUBLIC_RETRY_S = 60


class Deps(NamedTuple):
    """What a run needs from the world.

    Attributes:
        load_config: reads the configuration; raises `PullpassError`.
        clock: the run's clock.
        load: resolves the kind of a plan to what exchanges it.
    """

    load_config: Callable[[], Config]
    clock: Clock
    load: Callable[[str], Exchanger] = exchange.load


class Answer(NamedTuple):
    """What a run leaves behind: exit status, and the bytes of stdout and stderr."""

    status: int
    stdout: bytes
    stderr: bytes


class Found:
    """What the steps of one run have found so far; None where a step was not reached.

    `plan` is None as well when nothing is to be sent (`planned` tells the two apart): an answer without a credential.

    It is filled as the run goes, so that `explain` can show how far a refused request came.
    """

    def __init__(self) -> None:
        """Nothing is found yet."""
        self.request: Request | None = None
        self.config: Config | None = None
        self.subject: Subject | None = None
        self.target: Target | None = None
        self.decision: Decision | None = None
        self.plan: Plan | None = None
        self.planned = False
        self.spared: PullpassError | None = None  # why a public image's password is not even asked for
        self.verified = False


def serve(raw: bytes, deps: Deps) -> Answer:
    """Answer one request.

    Args:
        raw: what came on stdin.
        deps: the world.

    Returns:
        The response and status 0, or nothing on stdout, one line for stderr and another status. Never raises.
    """
    try:
        return Answer(ANSWERED, _respond(raw, deps), b"")
    except Exception as error:  # noqa: BLE001 - a traceback must not reach the kubelet's log: it may show a secret
        failure = as_failure(error)
        return Answer(failure.status, b"", failure.line().encode() + b"\n")


def as_failure(error: Exception) -> PullpassError:
    """`error` as something to tell a user: a defect shows its type and place, never its text or values."""
    if isinstance(error, PullpassError):
        return error
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    where = "" if place is None else f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
    return PullpassError("internal", f"{type(error).__name__}{where}")


def _respond(raw: bytes, deps: Deps) -> bytes:
    started_s = deps.clock.monotonic_s()
    found = Found()
    decide(raw, deps, found)
    assert found.config is not None and found.target is not None  # noqa: S101, PT018 - `decide` found them
    recheck_s = int(found.config.approval.recheck_s)
    if found.plan is None:
        return request.render(found.target, None, recheck_s)
    deadline = Deadline(deps.clock, found.config.node.deadline_s, started_s)
    verify(found, deps)
    try:
        credential, cache_s = _obtain(found, deps, deadline)
    except PullpassError as error:
        if not _is_public(found, error):
            raise
        return request.render(found.target, None, min(recheck_s, PUBLIC_RETRY_S))
    return request.render(found.target, credential, cache_s)


def _obtain(found: Found, deps: Deps, deadline: Deadline) -> tuple[Credential, int]:
    """A fresh credential, and for how many seconds the kubelet may keep the answer."""
    assert found.config is not None  # noqa: S101 - `decide` found it
    approval = found.config.approval
    validated_s = deps.clock.now_s()
    credential = _exchange(found, deps, deadline)
    now_s = deps.clock.now_s()
    if credential.life_ends_s - now_s < approval.min_life_s:
        raise PullpassError(
            "credential-too-short",
            f"the cloud's fresh credential ends in {credential.life_ends_s - now_s:.0f}s, "
            f"and approval.min_life is {approval.min_life_s:g}s",
        )
    expires_s = min(credential.life_ends_s, validated_s + approval.max_age_s)
    return credential, max(0, int(min(approval.recheck_s, expires_s - approval.margin_s - now_s)))


def _is_public(found: Found, error: PullpassError) -> bool:
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
    found.subject = identity.read(found.request.token, config.node.issuers, deps.clock.now_s())
    aliases = config.ecr.aliases if config.ecr else ()
    hosts = config.gcr.hosts if config.gcr else ()
    found.target = registry.match(found.request.image, aliases, hosts)
    if found.subject is not None:
        identity.check_audience(found.subject, plan.section(found.target, config).audience)
    found.decision = policy.decide(found.subject, found.request.annotations, found.target, config)
    if found.decision.identity != policy.ANONYMOUS:
        try:
            found.plan = plan.make(found.subject, found.target, found.decision, config)
        except PullpassError as error:
            if not _is_public(found, error):
                raise
            found.spared = error
    found.planned = True


def verify(found: Found, deps: Deps) -> None:
    """Read a planned exchange's token with a full reader, and check its signature where `node.jwks` says with what.

    Raises:
        PullpassError: the token is not what it seemed.
    """
    assert found.config is not None and found.target is not None and found.request is not None  # noqa: S101, PT018
    assert found.plan is not None  # noqa: S101 - where nothing is sent, there is no second look
    if found.subject is not None and found.request.token is not None:
        audience = plan.section(found.target, found.config).audience
        now_s = deps.clock.now_s()
        check = exchange.load_verifier()
        check(found.request.token, found.subject, audience, found.config.node.jwks, now_s)
        plan.check_token(found.plan, found.request.token, now_s)
    found.verified = True


def _exchange(found: Found, deps: Deps, deadline: Deadline) -> Credential:
    assert found.plan is not None and found.request is not None  # noqa: S101, PT018 - `decide` found them
    exchanger = deps.load(found.plan.kind)
    credential = exchanger(found.plan, found.request.token, deadline, deps.clock)
    request.check_echo(credential, found.request.token)
    return credential
