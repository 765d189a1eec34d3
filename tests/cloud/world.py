"""What exists in the local cloud: OIDC providers, roles, repositories, and what was issued from them.

All of it may be changed while the cloud runs; a session's rights are looked up anew at every request, as IAM does it.
"""

from __future__ import annotations

import secrets
import string
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cloud.hosts import partition_of
from cloud.iam import Policy, Principal
from cloud.images import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER = "prod-1"
ACCOUNT = "111122223333"
REGION = "us-west-2"
AUDIENCE = "pull.ecr.prod-1"
TEAMS = ("team-a", "team-b")
REPOSITORIES = ("team-a/app", "team-a/other", "team-b/app", "shared/base", "system/pause")
PUBLIC_REPOSITORIES = ("docker/library/busybox",)
FURTHER_ACCOUNT = "999988887777"
CHINA_ACCOUNT = "222233334444"
CHINA_REGION = "cn-north-1"
TAGS = ("v1", "latest")
INDEX_TAG = "multi"
# The instance's role, and the services of AWS that assume roles for nodes, tasks and pods.
NODE_ROLE = "node-prod-1"
EC2, ECS, EKS = "ec2.amazonaws.com", "ecs-tasks.amazonaws.com", "pods.eks.amazonaws.com"
_UPPER = string.ascii_uppercase + "234567"


def random_id(prefix: str, length: int = 16) -> str:
    """An AWS unique id: `AROA...`, `ASIA...`."""
    return prefix + "".join(secrets.choice(_UPPER) for _ in range(length))


@dataclass
class Provider:
    """An IAM OIDC provider of one account: which issuer is trusted, for which audiences."""

    arn: str
    issuer: str
    client_ids: list[str]


@dataclass
class Role:
    """An IAM role."""

    arn: str
    trust: Policy
    policy: Policy
    max_session_s: int
    unique_id: str = field(default_factory=lambda: random_id("AROA"))

    @property
    def account(self) -> str:
        """The account it lives in."""
        return self.arn.split(":")[4]

    @property
    def partition(self) -> str:
        """The partition it lives in."""
        return self.arn.split(":")[1]

    @property
    def name(self) -> str:
        """Its name, without the path."""
        return self.arn.rpartition("/")[2]


@dataclass
class Session:
    """What STS issued, or a metadata server: one role session."""

    access_key: str
    secret_key: str
    token: str
    expires_s: float
    role_arn: str
    name: str
    session_policy: Policy | None = None
    policy_text: str | None = None
    subject: str = ""
    audience: str = ""

    @property
    def partition(self) -> str:
        """The partition it is good in; credentials do not cross partitions."""
        return self.role_arn.split(":")[1]

    @property
    def arn(self) -> str:
        """The session's ARN, as CloudTrail and refusals show it."""
        _, partition, _, _, account, path = self.role_arn.split(":", 5)
        return f"arn:{partition}:sts::{account}:assumed-role/{path.rpartition('/')[2]}/{self.name}"


@dataclass
class Password:
    """What ECR issued: a registry password and whom it stands for."""

    password: str
    session: Session
    region: str
    expires_s: float


@dataclass
class Repository:
    """An ECR repository.

    Attributes:
        policy: its resource policy, if any.
        pull_through: it is fed from upstream: the first pull needs `ecr:BatchImportUpstreamImage`, and
            `ecr:CreateRepository` as long as it was not `created`.
    """

    account: str
    region: str
    name: str
    store: Store = field(default_factory=Store)
    policy: Policy | None = None
    pull_through: bool = False
    created: bool = True

    @property
    def arn(self) -> str:
        """The repository's ARN."""
        return f"arn:{partition_of(self.region)}:ecr:{self.region}:{self.account}:repository/{self.name}"


def trust_document(issuer: str, provider_arn: str, audience: str, subject: str) -> dict[str, Any]:
    """A trust policy for the service accounts that the pattern `subject` selects."""
    host = issuer.partition("://")[2]
    return {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Federated": provider_arn},
                "Action": "sts:AssumeRoleWithWebIdentity",
                "Condition": {
                    "StringEquals": {f"{host}:aud": audience},
                    "StringLike": {f"{host}:sub": subject},
                },
            }
        ],
    }


def pull_document(*prefixes: str, account: str = ACCOUNT, region: str = REGION) -> dict[str, Any]:
    """A permission policy to log in and to pull from the repositories that begin with `prefixes`."""
    base = f"arn:{partition_of(region)}:ecr:{region}:{account}:repository/"
    return {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"},
            {
                "Effect": "Allow",
                "Action": ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer", "ecr:BatchCheckLayerAvailability"],
                "Resource": [f"{base}{prefix}*" for prefix in prefixes],
            },
        ],
    }


PUBLIC_STATEMENT: dict[str, Any] = {
    "Effect": "Allow",
    "Action": ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"],
    "Resource": "*",
}


def assume_document(principal: Mapping[str, list[str]]) -> dict[str, Any]:
    """A trust policy for those who assume the role by AWS credentials: roles, accounts, services."""
    statement = {"Effect": "Allow", "Principal": dict(principal), "Action": ["sts:AssumeRole", "sts:TagSession"]}
    return {"Version": "2012-10-17", "Statement": [statement]}


def with_statements(document: Mapping[str, Any], *statements: Mapping[str, Any]) -> dict[str, Any]:
    """A policy with further statements."""
    return {**document, "Statement": [*document["Statement"], *statements]}


class World:
    """The contents. Changes to one table are atomic; readers take what they find."""

    def __init__(self) -> None:
        """Make an empty world."""
        self.lock = threading.Lock()
        self.providers: dict[tuple[str, str], Provider] = {}
        self.roles: dict[str, Role] = {}
        self.repositories: dict[tuple[str, str, str], Repository] = {}
        self.sessions: dict[str, Session] = {}
        self.passwords: dict[str, Password] = {}
        self.public_passwords: dict[str, Password] = {}
        self.public_repositories: dict[str, Store] = {}
        self.disabled_regions: set[str] = set()
        self.aliases: dict[str, tuple[str, str]] = {}

    def set_provider(self, issuer: str, client_ids: list[str], account: str, partition: str = "aws") -> Provider:
        """Register an issuer with an account, for these audiences."""
        arn = f"arn:{partition}:iam::{account}:oidc-provider/{issuer.partition('://')[2]}"
        provider = self.providers[account, issuer] = Provider(arn, issuer, list(client_ids))
        return provider

    def set_role(
        self,
        arn: str,
        trust: str | Mapping[str, Any] | None = None,
        policy: str | Mapping[str, Any] | None = None,
        max_session_s: int | None = None,
    ) -> Role:
        """Make a role, or change what is given of one.

        Raises:
            PolicyError: a policy is not one.
            ValueError: a new role needs a trust policy and a permission policy.
        """
        parsed_trust = None if trust is None else Policy.parse(trust, kind="trust")
        parsed_policy = None if policy is None else Policy.parse(policy, kind="identity")
        with self.lock:
            old = self.roles.get(arn)
            if old is None:
                if parsed_trust is None or parsed_policy is None:
                    raise ValueError(f"the role {arn} is new: it needs trust and policy")
                old = self.roles[arn] = Role(arn, parsed_trust, parsed_policy, 3600)
            old.trust, old.policy = parsed_trust or old.trust, parsed_policy or old.policy
            old.max_session_s = max_session_s or old.max_session_s
            return old

    def repository(self, name: str, account: str = ACCOUNT, region: str = REGION) -> Repository:
        """The repository, made when it is not there."""
        with self.lock:
            return self.repositories.setdefault((account, region, name), Repository(account, region, name))

    def public_repository(self, name: str) -> Store:
        """The repository of ECR Public, made when it is not there."""
        with self.lock:
            return self.public_repositories.setdefault(name, Store())

    def begin(self, role: Role, name: str, expires_s: float, **details: Any) -> Session:
        """Begin a session of `role`, with keys of its own; `details` are the session's further fields."""
        session = Session(
            random_id("ASIA"),
            secrets.token_urlsafe(30),
            secrets.token_urlsafe(480),
            expires_s,
            role.arn,
            name,
            **details,
        )
        self.sessions[session.access_key] = session
        return session

    def principal(self, session: Session) -> Principal | None:
        """The session as policies see it now; None when its role is gone."""
        role = self.roles.get(session.role_arn)
        if role is None:
            return None
        return Principal(role.account, role.arn, session.arn, role.policy, session.session_policy)

    def furnish(self, issuer: str) -> None:
        """Make the default world: see the package's docstring."""
        provider = self.set_provider(issuer, [AUDIENCE], ACCOUNT)
        for team in TEAMS:
            hop = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": role_arn("pull-*", FURTHER_ACCOUNT)}
            self.set_role(
                role_arn(f"pull-{team}"),
                trust_document(issuer, provider.arn, AUDIENCE, f"system:serviceaccount:{team}:*"),
                with_statements(pull_document(f"{team}/", "shared/"), hop),
            )
        self.set_role(
            role_arn("pull-public"),
            trust_document(issuer, provider.arn, AUDIENCE, "system:serviceaccount:*:*"),
            {"Version": "2012-10-17", "Statement": [PUBLIC_STATEMENT]},
        )
        self.set_role(
            role_arn(NODE_ROLE),
            assume_document({"Service": [EC2, ECS, EKS]}),
            with_statements(pull_document("system/"), PUBLIC_STATEMENT),
        )
        self._furnish_further(issuer)
        for name in REPOSITORIES:
            self._fill(self.repository(name))
        for name in PUBLIC_REPOSITORIES:
            for tag in TAGS:
                self.public_repository(name).push(name, tag)

    def _furnish_further(self, issuer: str) -> None:
        """A second account, reached by a second hop; and one in another partition."""
        self.set_role(
            role_arn("pull-shared", FURTHER_ACCOUNT),
            assume_document({"AWS": [role_arn(f"pull-{team}") for team in TEAMS]}),
            pull_document("shared/", account=FURTHER_ACCOUNT),
        )
        self._fill(self.repository("shared/base", FURTHER_ACCOUNT))
        provider = self.set_provider(issuer, [AUDIENCE], CHINA_ACCOUNT, "aws-cn")
        self.set_role(
            role_arn("pull-team-a", CHINA_ACCOUNT, "aws-cn"),
            trust_document(issuer, provider.arn, AUDIENCE, "system:serviceaccount:team-a:*"),
            pull_document("team-a/", account=CHINA_ACCOUNT, region=CHINA_REGION),
        )
        self._fill(self.repository("team-a/app", CHINA_ACCOUNT, CHINA_REGION))

    @staticmethod
    def _fill(repository: Repository) -> None:
        for tag in TAGS:
            repository.store.push(repository.name, tag)
        repository.store.push_index(repository.name, INDEX_TAG)


def role_arn(name: str, account: str = ACCOUNT, partition: str = "aws") -> str:
    """The ARN of a role."""
    return f"arn:{partition}:iam::{account}:role/{name}"
