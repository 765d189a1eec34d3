"""What bounds a role session: the policy that it is made with, and the name under which AWS's own log shows it.

Rights of a session are the role's *and* the session policy's, so naming an action here grants nothing that the role has
not: the policy contains a leaked password or key, the role's own policies are the boundary. Policies are compact JSON,
because STS counts their characters.
"""

from __future__ import annotations

from pullpass.errors import PullpassError, outside
from pullpass.lean import to_json
from pullpass.store import digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from pullpass.registry import Target

# RoleSessionName of AssumeRole and AssumeRoleWithWebIdentity: 2 to 64 of [\w+=,.@-], ASCII.
NAME_LIMIT = 64
NAME_HASH_DIGITS = 24
# The characters of a cluster name, a namespace (RFC 1123 label) and a service-account name (RFC 1123 subdomain).
NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789.-")
# The characters of an ECR repository name. None of them means anything to IAM, where `*`, `?` and `${` would widen the
# session policy to other repositories.
REPOSITORY_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789._-/")
# Policy of both calls: at most 2048 characters of plain text.
POLICY_LIMIT = 2048

PULL_ACTIONS = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability")
# Importing an image makes the repository when it is absent, and tags it when a creation template says so.
PULL_THROUGH_ACTIONS = ("ecr:BatchImportUpstreamImage", "ecr:CreateRepository", "ecr:TagResource")
# A password of ECR Public is a service bearer token of STS (IAM user guide, "service bearer tokens").
PUBLIC_ACTIONS = ("ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken")


def repository_policy(target: Target, *, pull_through: bool) -> str:
    """The policy that limits a session to pulling from one repository.

    `GetAuthorizationToken` knows no resource and must stay, or minting the password fails.

    Args:
        target: the repository.
        pull_through: whether the repository is one of a pull-through cache.

    Raises:
        PullpassError: `repository-name` when the name could mean more than itself in a policy, `session-policy` when
            the policy is longer than STS takes.
    """
    if not REPOSITORY_CHARACTERS.issuperset(target.repository):
        raise PullpassError("repository-name", f"'{outside(target.repository)}' can't be an ECR repository")
    actions = PULL_ACTIONS + PULL_THROUGH_ACTIONS if pull_through else PULL_ACTIONS
    arn = f"arn:{target.partition}:ecr:{target.region}:{target.account}:repository/{target.repository}"
    policy = _policy(_allow("ecr:GetAuthorizationToken", "*"), _allow(actions, arn))
    if len(policy) > POLICY_LIMIT:
        raise PullpassError(
            "session-policy", f"the policy for {outside(target.repository)} has {len(policy)} characters"
        )
    return policy


def public_policy() -> str:
    """The policy that limits a session to asking for a password of ECR Public, which may push elsewhere otherwise."""
    return _policy(_allow(PUBLIC_ACTIONS, "*"))


def hop_policy(role: str) -> str:
    """The policy that limits a session to becoming `role`, a checked ARN.

    Raises:
        PullpassError: `identity-invalid` when the ARN could mean more than itself in a policy.
    """
    if "$" in role:  # IAM allows it in a path; with a brace behind it, it is a variable of a policy
        raise PullpassError(
            "identity-invalid",
            f"'{outside(role)}' has a `$`, which a session policy reads as a variable",
            "give the role of the second hop a path without it",
        )
    return _policy(_allow("sts:AssumeRole", role))


def _allow(action: str | tuple[str, ...], resource: str) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": action, "Resource": resource}


def _policy(*statements: dict[str, Any]) -> str:
    return to_json({"Version": "2012-10-17", "Statement": statements})


def name(cluster: str, namespace: str, service_account: str) -> str:
    """The name under which a workload's session appears in the cloud's log: `CLUSTER_NAMESPACE_ACCOUNT`.

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
    if len(joined) <= NAME_LIMIT and all(map(NAME_CHARACTERS.issuperset, parts)):
        return joined
    whole = digest.key((("cluster", cluster), ("namespace", namespace), ("serviceAccount", service_account)))
    parts = ["".join(char if char in NAME_CHARACTERS else "-" for char in part) for part in parts]
    room = NAME_LIMIT - NAME_HASH_DIGITS - len("__=")
    while sum(map(len, parts)) > room:
        longest = max(range(len(parts)), key=lambda index: len(parts[index]))
        parts[longest] = parts[longest][:-1]
    return f"{'_'.join(parts)}={whole[:NAME_HASH_DIGITS]}"


def node_name(cluster: str) -> str:
    """The name of a node's session, when no workload asked: one `_`, where every workload's name has two."""
    return f"{cluster}_node"
