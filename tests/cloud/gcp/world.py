"""What exists on Google's side: pools and their providers, service accounts, repositories, and the tokens issued.

Like the AWS half, all of it may be changed while the cloud runs, and rights are looked up anew at every request.
"""

from __future__ import annotations

import secrets
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import jwt

from cloud.gcp.cel import Expression
from cloud.gcp.iam import ANYBODY, READER, WORKLOAD_USER, Identity, Policy, federated, service_account
from cloud.images import Store

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

PROJECT = "proj"
NUMBER = "123"
POOL = "nodes"
PROVIDER = "prod-1"
GOOGLE_AUDIENCE = "pull.gcr.prod-1"
LOCATION = "europe"
PULL_ACCOUNT = "pull@proj.iam.gserviceaccount.com"
NODE_ACCOUNT = "node-prod-1@proj.iam.gserviceaccount.com"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
CLOUD_SCOPE = "https://www.googleapis.com/auth/cloud-platform"
PULL_SCOPES = (
    CLOUD_SCOPE,
    f"{CLOUD_SCOPE}.read-only",
    "https://www.googleapis.com/auth/devstorage.read_only",
    "https://www.googleapis.com/auth/devstorage.read_write",
    "https://www.googleapis.com/auth/devstorage.full_control",
)
# The mapping of the set-up guide: subject, namespace, account, and both.
MAPPING = {
    "google.subject": "assertion.sub",
    "attribute.ns": "assertion['kubernetes.io']['namespace']",
    "attribute.ksa": "assertion['kubernetes.io']['serviceaccount']['name']",
    "attribute.nsksa": "assertion['kubernetes.io']['namespace'] + '/' "
                       "+ assertion['kubernetes.io']['serviceaccount']['name']",
}  # fmt: skip
CONDITION = "assertion.sub.startsWith('system:serviceaccount:')"
# What GKE maps by itself, for its own pools and those of fleets.
GKE_MAPPING = {
    "google.subject": "'ns/' + assertion['kubernetes.io']['namespace'] "
                      "+ '/sa/' + assertion['kubernetes.io']['serviceaccount']['name']",
}  # fmt: skip
_ASSERTION = frozenset({"assertion"})
_MAPPED = frozenset({"assertion", "google", "attribute"})
_JWK_FIELDS = {"kty", "alg", "use", "kid", "n", "e", "x", "y", "crv"}


def pool_name(pool: str = POOL, number: str = NUMBER) -> str:
    """The resource name of a pool."""
    return f"projects/{number}/locations/global/workloadIdentityPools/{pool}"


def provider_name(provider: str = PROVIDER, pool: str = POOL, number: str = NUMBER) -> str:
    """The full resource name of a provider: what STS is given as the audience."""
    return f"//iam.googleapis.com/{pool_name(pool, number)}/providers/{provider}"


def principal(namespace: str, account: str, pool: str = POOL, number: str = NUMBER) -> str:
    """The member that means one Kubernetes service account, by the default mapping."""
    return (
        f"principal://iam.googleapis.com/{pool_name(pool, number)}/subject/system:serviceaccount:{namespace}:{account}"
    )


def principal_set(attribute: str, value: str, pool: str = POOL, number: str = NUMBER) -> str:
    """The member that means everybody with `attribute.ATTRIBUTE` mapped to a value."""
    return f"principalSet://iam.googleapis.com/{pool_name(pool, number)}/attribute.{attribute}/{value}"


@dataclass
class Provider:
    """A provider of a pool: an issuer that is trusted, and what its tokens become.

    Attributes:
        audiences: what a token's `aud` may be; when empty, the provider's own name, with or without `https:`.
        keys: the uploaded keys, by id; None means that the issuer is asked for them.
    """

    name: str
    issuer: str
    audiences: list[str]
    mapping: dict[str, Expression]
    condition: Expression | None = None
    keys: dict[str, jwt.PyJWK] | None = None
    disabled: bool = False


@dataclass
class Pool:
    """A workload identity pool; GKE's and fleets' are called PROJECT.svc.id.goog, their providers by URLs."""

    name: str
    disabled: bool = False
    deleted: bool = False
    providers: dict[str, Provider] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Whether its tokens count."""
        return not (self.disabled or self.deleted)


@dataclass
class ServiceAccount:
    """A Google service account.

    Attributes:
        policy: who may do what *with* it; what it may do itself stands in the policies of resources.
        longest_token_s: 3600, or up to 43200 where the organisation's policy lists the account.
    """

    email: str
    policy: Policy = field(default_factory=Policy)
    longest_token_s: int = 3600
    disabled: bool = False


@dataclass
class Repository:
    """An Artifact Registry repository with its images, by their path below it."""

    project: str
    location: str
    name: str
    policy: Policy = field(default_factory=Policy)
    images: dict[str, Store] = field(default_factory=dict)

    @property
    def resource(self) -> str:
        """Its resource name, as refusals show it."""
        return f"projects/{self.project}/locations/{self.location}/repositories/{self.name}"


@dataclass(frozen=True)
class AccessToken:
    """What was issued: a bearer token, whom it stands for, and for what it may be used."""

    token: str
    identity: Identity
    scopes: frozenset[str]
    expires_s: float
    by: str


class GoogleWorld:
    """The contents of Google's side."""

    def __init__(self) -> None:
        """Make an empty world."""
        self.lock = threading.Lock()
        self.pools: dict[str, Pool] = {}
        self.accounts: dict[str, ServiceAccount] = {}
        self.repositories: dict[tuple[str, str, str], Repository] = {}
        self.tokens: dict[str, AccessToken] = {}
        self.disabled_apis: set[str] = set()
        self.universes: set[str] = set()
        self.aliases: dict[str, str] = {}
        self.location = LOCATION

    def issue(self, identity: Identity, scopes: Iterable[str], expires_s: float, by: str) -> AccessToken:
        """Make an access token, of the form and size of a real one."""
        prefix = "ya29.d." if identity.pool else "ya29.c."
        token = AccessToken(prefix + secrets.token_urlsafe(700), identity, frozenset(scopes), expires_s, by)
        self.tokens[token.token] = token
        return token

    def access(self, token: str, now_s: float) -> AccessToken | None:
        """What a bearer token is; None when it is unknown, has expired or does not count any more."""
        found = self.tokens.get(token)
        return found if found is not None and now_s < found.expires_s and self.counts(found) else None

    def counts(self, access: AccessToken | None) -> bool:
        """Whether the pool or the account behind a token is there and enabled; nobody always is."""
        if access is None:
            return True
        if access.identity.pool is not None:
            pool = self.pools.get(access.identity.pool)
            return pool is not None and pool.alive
        account = self.accounts.get(access.identity.name.partition(":")[2])
        return account is not None and not account.disabled

    def set_pool(self, name: str, *, disabled: bool | None = None, deleted: bool | None = None) -> Pool:
        """Make a pool, or change one."""
        with self.lock:
            pool = self.pools.setdefault(name, Pool(name))
            pool.disabled = pool.disabled if disabled is None else disabled
            pool.deleted = pool.deleted if deleted is None else deleted
            return pool

    def set_account(self, email: str, **changes: Any) -> ServiceAccount:
        """Make a service account, or change one: `policy`, `longest_token_s`, `disabled`."""
        with self.lock:
            account = self.accounts.setdefault(email, ServiceAccount(email))
            for name, value in changes.items():
                setattr(account, name, value)
            return account

    def repository(self, project: str, location: str, name: str) -> Repository:
        """The repository, made when it is not there."""
        with self.lock:
            return self.repositories.setdefault((project, location, name), Repository(project, location, name))

    def furnish(self, issuer: str) -> None:
        """Make the default world: see the package's docstring."""
        pool = self.set_pool(pool_name())
        pool.providers[PROVIDER] = provider(PROVIDER, issuer, [GOOGLE_AUDIENCE], MAPPING, condition=CONDITION)
        own = f"{PROJECT}.svc.id.goog"
        fleet = self.set_pool(pool_name(own))
        fleet.providers[issuer] = provider(issuer, issuer, [own], GKE_MAPPING)
        self.set_account(PULL_ACCOUNT, policy=Policy.parse({WORKLOAD_USER: [principal("team-b", "web")]}))
        self.set_account(NODE_ACCOUNT)
        pull, node = service_account(PULL_ACCOUNT).name, service_account(NODE_ACCOUNT).name
        for project, location, name, image, readers in [
            (PROJECT, LOCATION, "team-a", "app", [principal_set("ns", "team-a")]),
            (PROJECT, LOCATION, "team-b", "web", [pull, principal_set("ns", "team-b")]),
            (PROJECT, LOCATION, "public", "base", [ANYBODY]),
            (PROJECT, LOCATION, "system", "pause", [node]),
            (PROJECT, "us", "gcr.io", "app", [pull, principal_set("ns", "team-b")]),
            ("distroless", "us", "gcr.io", "static", [ANYBODY]),
        ]:
            repository = self.repository(project, location, name)
            repository.policy = Policy.parse({READER: readers})
            self.push(repository, image, "v1")
            self.push(repository, image, "latest")

    @staticmethod
    def push(repository: Repository, image: str, tag: str) -> None:
        """Put a small image into a repository."""
        repository.images.setdefault(image, Store()).push(f"{repository.project}/{repository.name}/{image}", tag)


def provider(
    name: str,
    issuer: str,
    audiences: Iterable[str],
    mapping: Mapping[str, str],
    *,
    condition: str | None = None,
    jwks: Mapping[str, Any] | None = None,
    disabled: bool = False,
) -> Provider:
    """Check a provider's settings and make it.

    Raises:
        ValueError: Google would not accept them.
        ExpressionError: an expression is none, or is not implemented.
    """
    listed = list(audiences)
    if len(listed) > 10 or any(not 0 < len(audience) <= 256 for audience in listed):
        raise ValueError("at most 10 audiences of at most 256 characters")
    if not issuer.startswith("https://"):
        raise ValueError("the issuer must be an https URL")
    if "google.subject" not in mapping:
        raise ValueError("google.subject must be mapped")
    for key, expression in mapping.items():
        kind, _, attribute = key.partition(".")
        custom = (
            kind == "attribute"
            and 0 < len(attribute) <= 100
            and set(attribute) <= set("abcdefghijklmnopqrstuvwxyz0123456789_")
        )
        if not custom and key not in {"google.subject", "google.groups"}:
            raise ValueError(f"{key!r} can't be mapped")
        if len(expression) > 2048:
            raise ValueError(f"the expression of {key} has more than 2048 characters")
    if sum(key.startswith("attribute.") for key in mapping) > 50 or len(condition or "") > 4096:
        raise ValueError("at most 50 attributes, and 4096 characters of condition")
    compiled = {key: Expression(text, _ASSERTION) for key, text in mapping.items()}
    return Provider(
        name, issuer, listed, compiled, Expression(condition, _MAPPED) if condition else None,
        None if jwks is None else uploaded(jwks), disabled,
    )  # fmt: skip


def uploaded(jwks: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys of an uploaded key set, by id.

    Raises:
        ValueError: Google would not take it.
    """
    keys = jwks.get("keys")
    if set(jwks) != {"keys"} or not isinstance(keys, list) or not keys:
        raise ValueError("Input JWK is not in a valid json format: a key set has `keys` and nothing else")
    for key in keys:
        if (
            not isinstance(key, dict)
            or set(key) - _JWK_FIELDS
            or key.get("kty") not in {"RSA", "EC"}
            or "kid" not in key
        ):
            raise ValueError("Input JWK is not in a valid json format: an RSA or EC key has only "
                             + ", ".join(sorted(_JWK_FIELDS)))  # fmt: skip
    try:
        return {str(key["kid"]): jwt.PyJWK(key) for key in keys}
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise ValueError("Input JWK is not in a valid json format") from error


def mapped(pool: Pool, values: Mapping[str, Any]) -> Identity:
    """The principal that the mapped values make."""
    attributes = {key.partition(".")[2]: value for key, value in values.items() if key.startswith("attribute.")}
    return federated(pool.name, values["google.subject"], values.get("google.groups", []), attributes)
