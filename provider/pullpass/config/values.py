"""The values of a validated configuration, and nothing else: what the rest of the program reads."""

from __future__ import annotations

from pullpass.lean import NamedTuple


class Node(NamedTuple):
    """`[node]`."""

    cluster: str
    issuers: tuple[str, ...]
    jwks: str  # path, or ""
    deadline_s: float
    ca_bundle: str  # path, or ""
    aws_metadata: str  # base URL of the instance metadata service
    google_metadata: str  # base URL of the metadata server


class Paths(NamedTuple):
    """`[paths]`."""

    state: str
    runtime: str
    kubelet: str


class ApprovalTimes(NamedTuple):
    """`[approval]`, all durations in seconds."""

    max_age_s: float
    recheck_s: float
    margin_s: float
    min_life_s: float
    outage_s: float
    denied_for_s: float


class Audit(NamedTuple):
    """`[audit]`."""

    keep_s: float
    when_full: str  # "refuse" or "issue"


class Alias(NamedTuple):
    """`[[ecr.alias]]`."""

    host: str
    account: str
    region: str


class Ecr(NamedTuple):
    """`[ecr]`; endpoints are base URLs or ""."""

    audience: str
    scope: str  # "repository" or "registry"
    session_duration_s: int
    sts_endpoint: str
    ecr_endpoint: str
    ecr_public_endpoint: str
    aliases: tuple[Alias, ...]


class Gcr(NamedTuple):
    """`[gcr]`; URLs are "" where the default holds."""

    audience: str
    provider: str
    oauth_scope: str
    token_url: str
    iam_credentials_url: str
    universe_domain: str
    token_lifetime_s: int
    hosts: tuple[str, ...]


class Grant(NamedTuple):
    """One `[[grant]]`.

    Attributes:
        name: for audit and explain.
        service_accounts: `namespace/name` globs; empty when `node`.
        images: `host/path` globs.
        node: matches requests without a token, and only those.
        identity: a template, `principal`, `node`, `anonymous` or `refuse`; "" when an annotation chooses.
        annotations: keys of the annotations that may choose, in order; empty when `identity` is given.
        allow: templates of the identities an annotation may choose.
        via: template of a second hop, or "".
        pull_through: whether pull-through-cache actions are added to the session policy.
    """

    name: str
    service_accounts: tuple[str, ...]
    images: tuple[str, ...]
    node: bool
    identity: str
    annotations: tuple[str, ...]
    allow: tuple[str, ...]
    via: str
    pull_through: bool


class Config(NamedTuple):
    """The whole of a validated configuration.

    Attributes:
        node: `[node]`.
        paths: `[paths]`.
        approval: `[approval]`.
        unmatched: `policy.unmatched`, "refuse" or "node".
        audit: `[audit]`.
        ecr: `[ecr]`, or None.
        gcr: `[gcr]`, or None; one of the two is there.
        grants: every `[[grant]]`, in the order of the file; at least one.
    """

    node: Node
    paths: Paths
    approval: ApprovalTimes
    unmatched: str
    audit: Audit
    ecr: Ecr | None
    gcr: Gcr | None
    grants: tuple[Grant, ...]
