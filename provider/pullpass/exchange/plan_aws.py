"""What would be sent to AWS for a registry password.

Rights of a session are the role's *and* the session policy's: the policy contains a leaked password, the role's own
policies are the boundary. Nothing in a plan comes from the environment.
"""

from __future__ import annotations

import json
from typing import NamedTuple

from pullpass import exchange, registry
from pullpass.errors import PullpassError, outside
from pullpass.exchange import Call
from pullpass.store import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.config import Config, Ecr
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target

# RoleSessionName of AssumeRoleWithWebIdentity: 2 to 64 of [\w+=,.@-], ASCII.
SESSION_NAME_LIMIT = 64
SESSION_NAME_HASH_DIGITS = 24
# The characters of a cluster name, a namespace (RFC 1123 label) and a service-account name (RFC 1123 subdomain).
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
# The characters of an ECR repository name. None of them means anything to IAM, where `*`, `?` and `${` would widen the
# session policy to other repositories.
REPOSITORY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/")
# Policy of AssumeRoleWithWebIdentity: at most 2048 characters of plain text.
SESSION_POLICY_LIMIT = 2048

PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")
# Importing an image makes the repository when it is absent, and tags it when a creation template says so.
PULL_THROUGH_ACTIONS = ("ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:TagResource")


class AwsPlan(NamedTuple):
    """Everything that would be sent to AWS, and what it would open; a `Plan`.

    Attributes:
        kind: the target's kind, which chooses the exchanger.
        key: the name of the approval, cache entry and intent.
        opens: what the credential gives access to.
        identity: the role ARN.
        account: of the registry.
        region: of the registry and of all calls.
        partition: of the registry and of the role.
        session_name: says in the cloud's own log who asked.
        session_policy: compact JSON, or "" when the session may do what the role may.
        duration_s: of the session.
        sts_url: base URL of STS.
        ecr_url: base URL of the ECR API.
        ca_bundle: path of the CA certificates to trust instead of the system's, or "".
        calls: what would be called, in order.
    """

    kind: str
    key: str
    opens: str
    identity: str
    account: str
    region: str
    partition: str
    session_name: str
    session_policy: str
    duration_s: int
    sts_url: str
    ecr_url: str
    ca_bundle: str
    calls: tuple[Call, ...]


def make(subject: Subject, target: Target, decision: Decision, config: Config, ecr: Ecr) -> AwsPlan:
    """Plan the exchange of a token for a password of a private ECR registry.

    Args:
        subject: who asks.
        target: the repository.
        decision: what policy gave; its identity is a role ARN.
        config: the operator's configuration.
        ecr: its section [ecr].

    Raises:
        PullpassError: `identity-invalid`, `role-partition`, `repository-name` or `session-policy`.
    """
    _check_role(target, decision)
    variant = {"fips": target.fips, "dual_stack": target.dual_stack}
    sts_url = ecr.sts_endpoint or registry.endpoint("sts", target.region, **variant)
    ecr_url = ecr.ecr_endpoint or registry.endpoint("ecr", target.region, **variant)
    opens = f"ecr:aws:{target.account}:{target.region}"
    policy = ""
    if ecr.scope == "repository":
        opens = f"{opens}:{target.repository}"
        policy = session_policy(target, pull_through=decision.pull_through)
    name = session_name(config.node.cluster, subject.namespace, subject.service_account)
    limits = f"limited to {target.repository}" if policy else "with all rights of the role"
    duration_s = ecr.session_duration_s
    return AwsPlan(
        kind=target.kind,
        key=exchange.key(
            subject,
            config.node.cluster,
            decision,
            opens,
            endpoints=(sts_url, ecr_url),
            session_policy=policy,
            duration_s=duration_s,
        ),
        opens=opens,
        identity=decision.identity,
        account=target.account,
        region=target.region,
        partition=target.partition,
        session_name=name,
        session_policy=policy,
        duration_s=duration_s,
        sts_url=sts_url,
        ecr_url=ecr_url,
        ca_bundle=config.node.ca_bundle,
        calls=(
            Call(
                "sts:AssumeRoleWithWebIdentity",
                sts_url,
                f"the token, {decision.identity}, session {name} for {duration_s}s, {limits}",
            ),
            Call("ecr:GetAuthorizationToken", ecr_url, f"signed by the session, region {target.region}"),
        ),
    )


def _check_role(target: Target, decision: Decision) -> None:
    try:
        role = registry.parse_role(decision.identity)
    except ValueError as error:  # a template with a long namespace in it, say
        raise PullpassError(
            "identity-invalid",
            f"grant {outside(decision.grant)!r} gives {outside(decision.identity)!r}, which names no role: {error}",
            "choose a shorter template, or give this service account a grant of its own",
        ) from None
    if role.partition != target.partition:
        raise PullpassError(
            "role-partition",
            f"{outside(decision.identity)} is of partition {role.partition}, "
            f"{outside(target.host)} of {outside(target.partition)}",
        )


def session_policy(target: Target, *, pull_through: bool) -> str:
    """The policy that limits a session to pulling from one repository, as compact JSON.

    Rights are the role's *and* the policy's, so naming an action here grants nothing that the role has not.
    `GetAuthorizationToken` knows no resource and must stay, or minting the password fails.

    Args:
        target: the repository.
        pull_through: whether the repository is one of a pull-through cache.

    Raises:
        PullpassError: `repository-name` when the name could mean more than itself in a policy, `session-policy` when
            the policy is longer than STS takes.
    """
    if not REPOSITORY_CHARACTERS.issuperset(target.repository):
        raise PullpassError("repository-name", f"{outside(target.repository)!r} can't be an ECR repository")
    actions = PULL_ACTIONS + PULL_THROUGH_ACTIONS if pull_through else PULL_ACTIONS
    arn = f"arn:{target.partition}:ecr:{target.region}:{target.account}:repository/{target.repository}"
    policy = json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
                {"Effect": "Allow", "Action": actions, "Resource": arn},
            ],
        },
        separators=(",", ":"),
    )
    if len(policy) > SESSION_POLICY_LIMIT:
        raise PullpassError(
            "session-policy", f"the policy for {outside(target.repository)} has {len(policy)} characters"
        )
    return policy


def session_name(cluster: str, namespace: str, service_account: str) -> str:
    """The name under which the session appears in the cloud's log: `CLUSTER_NAMESPACE_ACCOUNT`.

    Two different workloads never have one name:

    * The three parts are made of `NAME_CHARACTERS`, which `_` does not belong to, so a joined name splits in one way.
    * A name that is longer than STS takes, or that has other characters, is cut and ends in `=` and 96 bits of a hash
      of the three whole parts. No joined name has a `=`, so the two forms never meet; to make a second account with
      a given hash, somebody would have to try 2^96 names.

    Each part keeps at least 12 characters.

    Args:
        cluster: the cluster's name.
        namespace: the service account's namespace.
        service_account: its name.

    Returns:
        At most 64 characters of STS's alphabet.
    """
    parts = [cluster, namespace, service_account]
    joined = "_".join(parts)
    if len(joined) <= SESSION_NAME_LIMIT and all(map(NAME_CHARACTERS.issuperset, parts)):
        return joined
    whole = digest.key((("cluster", cluster), ("namespace", namespace), ("serviceAccount", service_account)))
    parts = ["".join(char if char in NAME_CHARACTERS else "-" for char in part) for part in parts]
    room = SESSION_NAME_LIMIT - SESSION_NAME_HASH_DIGITS - len("__=")
    while sum(map(len, parts)) > room:
        longest = max(range(len(parts)), key=lambda index: len(parts[index]))
        parts[longest] = parts[longest][:-1]
    return f"{'_'.join(parts)}={whole[:SESSION_NAME_HASH_DIGITS]}"
