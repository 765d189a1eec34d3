"""What would be sent to AWS for a registry password: who becomes whom, and what is asked for then.

A password is always asked for the same way, by keys of a session that may do so. The keys come from a chain of hops:

    a role                 the token for a session of the role
    a role and `via`       the token for a session of the role, which may do nothing but become the second role
    the node               the metadata service's keys of the node's own role
    the node and `via`     the same, and a session of the second role

The last session's policy limits what the password opens; the node's own keys take none, so their password opens what
the node may read. Nothing in a plan comes from the environment.
"""

from __future__ import annotations

from pullpass import exchange, policy, registry
from pullpass.errors import PullpassError, outside
from pullpass.exchange import Call, aws_session
from pullpass.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.config import Config, Ecr
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target

BY_TOKEN = "sts:AssumeRoleWithWebIdentity"  # noqa: S105 - the name of a call
BY_KEYS = "sts:AssumeRole"
# STS API reference: a session that was made by a session lives an hour at most ("role chaining").
CHAINED_LIMIT_S = 3600
# The shortest that STS makes: of a session that only makes another one.
PASSING_S = 900


class Hop(NamedTuple):
    """One role that is assumed.

    Attributes:
        action: `BY_TOKEN` or `BY_KEYS`.
        role: the role's ARN.
        session_policy: compact JSON, or "" when the session may do what the role may.
        duration_s: of the session.
    """

    action: str
    role: str
    session_policy: str
    duration_s: int


class AwsPlan(NamedTuple):
    """Everything that would be sent to AWS, and what it would open; a `Plan`.

    Attributes:
        kind: the target's kind, which chooses the exchanger.
        key: the name of the approval, cache entry and intent.
        opens: what the credential gives access to.
        identity: the role ARN, or `policy.NODE`.
        region: of the call for the password.
        hops: the roles that are assumed, in order; none for the node as it is.
        session_name: says in the cloud's own log who asked.
        metadata_url: base URL of the instance metadata service, or "" when the node's keys are not asked for.
        sts_url: base URL of STS.
        sts_region: the region that its requests are signed for.
        password_url: base URL of the API of ECR or of ECR Public.
        ca_bundle: path of the CA certificates to trust instead of the system's, or "".
        calls: what would be called, in order.
    """

    kind: str
    key: str
    opens: str
    identity: str
    region: str
    hops: tuple[Hop, ...]
    session_name: str
    metadata_url: str
    sts_url: str
    sts_region: str
    password_url: str
    ca_bundle: str
    calls: tuple[Call, ...]

    @property
    def life_follows_token(self) -> bool:
        """Never: a session lasts as long as was asked for."""
        return False


def make(subject: Subject | None, target: Target, decision: Decision, config: Config, ecr: Ecr) -> AwsPlan:
    """Plan the exchange for a password of a private ECR registry, or of ECR Public.

    Args:
        subject: who asks, or None without a token.
        target: the repository.
        decision: what policy gave; its identity is a role ARN or `policy.NODE`.
        config: the operator's configuration.
        ecr: its section [ecr].

    Raises:
        PullpassError: `identity-invalid`, `role-partition`, `public-partition`, `repository-name` or `session-policy`.
    """
    _check_identity(subject, target, decision)
    cluster = config.node.cluster
    hops = _hops(target, decision, ecr)
    sts_url, password_url = _urls(target, ecr)
    metadata_url = config.node.aws_metadata if decision.identity == policy.NODE else ""
    opens = _opens(target, hops, ecr)
    key = exchange.key(
        subject,
        cluster,
        decision,
        opens,
        endpoints=(*filter(None, [metadata_url]), *([sts_url] if hops else []), password_url),
        session_policy="\n".join(hop.session_policy for hop in hops),
        duration_s=hops[-1].duration_s if hops else 0,
    )
    name = aws_session.node_name(cluster)
    if subject:
        name = aws_session.name(cluster, subject.namespace, subject.service_account)
    planned = AwsPlan(
        kind=target.kind,
        key=key,
        opens=opens,
        identity=decision.identity,
        region=target.region,
        hops=hops,
        session_name=name,
        metadata_url=metadata_url,
        sts_url=sts_url,
        sts_region=_region_of(sts_url) or target.region,
        password_url=password_url,
        ca_bundle=config.node.ca_bundle,
        calls=(),
    )
    return planned._replace(calls=tuple(_calls(planned, target)))


def _check_identity(subject: Subject | None, target: Target, decision: Decision) -> None:
    if subject is None and decision.identity != policy.NODE:  # policy gives a request without a token nothing else
        raise PullpassError("internal", f"no token to exchange for {outside(decision.identity)}")
    for arn in (decision.identity, decision.via):
        if arn and arn != policy.NODE:
            _check_role(arn, target, decision)


def _check_role(arn: str, target: Target, decision: Decision) -> None:
    try:
        role = registry.parse_role(arn)
    except ValueError as error:  # a template with a long namespace in it, say
        raise PullpassError(
            "identity-invalid",
            f"grant '{outside(decision.grant)}' gives '{outside(arn)}', which names no role: {error}",
            "choose a shorter template, or give this service account a grant of its own",
        ) from None
    if role.partition == target.partition:
        return
    what = f"{outside(arn)} is of partition {role.partition}, {outside(target.host)} of {outside(target.partition)}"
    raise PullpassError("public-partition" if target.kind == registry.ECR_PUBLIC else "role-partition", what)


def _hops(target: Target, decision: Decision, ecr: Ecr) -> tuple[Hop, ...]:
    roles = [] if decision.identity == policy.NODE else [(BY_TOKEN, decision.identity)]
    if decision.via:
        roles.append((BY_KEYS, decision.via))
    if not roles:
        return ()
    *passing, (action, role) = roles
    limit = ""
    if target.kind == registry.ECR_PUBLIC:
        # Whatever ecr.scope says: to pull, this is all there is.
        limit = aws_session.public_policy()
    elif ecr.scope == "repository":
        limit = aws_session.repository_policy(target, pull_through=decision.pull_through)
    duration_s = min(ecr.session_duration_s, CHAINED_LIMIT_S) if action == BY_KEYS else ecr.session_duration_s
    first = [Hop(*hop, aws_session.hop_policy(role), PASSING_S) for hop in passing]
    return (*first, Hop(action, role, limit, duration_s))


def _urls(target: Target, ecr: Ecr) -> tuple[str, str]:
    """Base URLs of STS and of the password's API; of an alias host they follow its region."""
    configured = {
        "sts": ecr.sts_endpoint,
        registry.ECR: ecr.ecr_endpoint,
        registry.ECR_PUBLIC: ecr.ecr_public_endpoint,
    }

    def url(service: str) -> str:
        return configured[service] or registry.endpoint(
            service, target.region, fips=target.fips, dual_stack=target.dual_stack
        )

    return url("sts"), url(target.kind)


def _region_of(url: str) -> str:
    """The region in the host of an endpoint, or "".

    One endpoint may be configured for the registries of many regions; what is signed for another region, it refuses.
    """
    return next((label for label in url.split(".") if registry.partition_of(label)), "")


def _opens(target: Target, hops: tuple[Hop, ...], ecr: Ecr) -> str:
    if target.kind == registry.ECR_PUBLIC:
        return "ecr-public"
    opens = f"ecr:{target.partition}:{target.account}:{target.region}"
    return f"{opens}:{target.repository}" if hops and ecr.scope == "repository" else opens


def _calls(planned: AwsPlan, target: Target) -> Iterator[Call]:
    by = "the token"
    if planned.metadata_url:
        by = "signed by the node's keys"
        yield Call(
            "metadata:credentials",
            planned.metadata_url,
            "the keys of the node's own role, or its container credentials where the environment names them",
        )
    for hop in planned.hops:
        following = hop is not planned.hops[-1]
        if following:
            limits = "limited to becoming the next"
        elif target.kind == registry.ECR_PUBLIC:
            limits = "limited to a password of ECR Public"
        else:
            limits = f"limited to {target.repository}" if hop.session_policy else "with all rights of the role"
        yield Call(
            hop.action,
            planned.sts_url,
            f"{by}, {hop.role}, session {planned.session_name} for {hop.duration_s}s, {limits}",
        )
        by = "signed by the session"
    wide = "" if planned.hops else ": node-wide, it opens whatever the node may read"
    yield Call(f"{target.kind}:GetAuthorizationToken", planned.password_url, f"{by}, region {planned.region}{wide}")
