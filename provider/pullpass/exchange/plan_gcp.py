"""What would be sent to Google for an access token that its registries take as a password.

Three identities, three ways:

* `principal`: Security Token Service turns the pod's token into an access token of the workload itself.
* A service account's e-mail: the same for a token that may do nothing but impersonate, and with that an access token of
  the service account. What the first one may do is kept as small as Google's own library keeps it.
* `node`: the metadata server says who the node is, and gives an access token of that. No pod's token is sent.

An access token can't be limited to a repository (Credential Access Boundaries are for Cloud Storage alone), so one
credential opens all of Google's registry hosts, and the repository is no part of its key; the rights on repositories
are IAM's.

Nothing in a plan comes from the environment.
"""

from __future__ import annotations

from pullpass import exchange, identity, policy, registry
from pullpass.errors import PullpassError, outside
from pullpass.exchange import Call
from pullpass.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.config import Config, Gcr
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.secret import Secret

# A plan's kind is a row of `exchange.TABLE`.
KIND = "gcr"
NODE_KIND = "gcr-node"
OPENS = "gcr"

EXCHANGE_TOKEN = "google-sts:ExchangeToken"  # noqa: S105 - the name of a call
GENERATE_TOKEN = "iamcredentials:GenerateAccessToken"  # noqa: S105 - likewise
NODE_EMAIL = "metadata:email"
NODE_TOKEN = "metadata:token"  # noqa: S105 - likewise

# Enough for generateAccessToken, and for nothing else.
IMPERSONATION_SCOPE = "https://www.googleapis.com/auth/iam"
# google.subject, the name of a principal within its pool: at most 127 bytes (IAM API, workloadIdentityPools.providers,
# attributeMapping).
SUBJECT_LIMIT_BYTES = 127
# What Google takes of the algorithms that an API server can sign with (IAM documentation, "Configure workload identity
# federation with other identity providers", the requirements on OIDC tokens).
ALGORITHMS = ("RS256", "ES256")
OLDEST_TOKEN_S = 24 * 3600
# The directory of the metadata server that holds the instance's own account.
METADATA_ACCOUNT = "/computeMetadata/v1/instance/service-accounts/default"


class GooglePlan(NamedTuple):
    """Everything that would be sent to Google for a workload, and what it would open; a `Plan`.

    Attributes:
        kind: chooses the exchanger.
        key: the name of the approval, cache entry and intent.
        opens: what the credential gives access to.
        identity: `principal`, or the service account's e-mail.
        principal: who the bearer is at Google, as far as that can be known: see `principal_of`.
        audience: the workload identity provider.
        token_url: of the token exchange, whole.
        impersonation_url: of generateAccessToken, whole; "" for `principal`.
        scope: OAuth scopes of the credential, separated by blanks.
        lifetime_s: of an impersonated token; 0 for `principal`, whose life Google derives from the pod's token.
        sub: the claim of the pod's token that providers usually map to google.subject.
        ca_bundle: path of the CA certificates to trust instead of the system's, or "".
        calls: what would be called, in order.
    """

    kind: str
    key: str
    opens: str
    identity: str
    principal: str
    audience: str
    token_url: str
    impersonation_url: str
    scope: str
    lifetime_s: int
    sub: str
    ca_bundle: str
    calls: tuple[Call, ...]

    @property
    def life_follows_token(self) -> bool:
        """Whether Google ends the credential with the pod's token: for `principal`, not when impersonating."""
        return not self.lifetime_s


class GoogleNodePlan(NamedTuple):
    """What would be asked of the metadata server; a `Plan`.

    Attributes:
        kind: chooses the exchanger.
        key: the name of the approval, cache entry and intent.
        opens: what the credential gives access to.
        identity: `node`.
        email_url: where the account's e-mail is.
        token_url: where an access token of the account is.
        calls: what would be called, in order.
    """

    kind: str
    key: str
    opens: str
    identity: str
    email_url: str
    token_url: str
    calls: tuple[Call, ...]

    @property
    def life_follows_token(self) -> bool:
        """Never: there is none."""
        return False


def make(subject: Subject | None, decision: Decision, config: Config, gcr: Gcr) -> GooglePlan | GoogleNodePlan:
    """Plan how `subject` gets a credential for Google's registries.

    Args:
        subject: who asks, or None without a token.
        decision: what policy gave; its identity is `principal`, a service account's e-mail or `node`.
        config: the operator's configuration.
        gcr: its section [gcr].

    Raises:
        PullpassError: `identity-invalid`.
    """
    if decision.identity == policy.NODE:
        return _node(subject, decision, config)
    if subject is None:  # policy gives a request without a token nothing else
        raise PullpassError("internal", f"no token to exchange for {outside(decision.identity)}")
    if decision.identity == policy.PRINCIPAL:
        return _workload(subject, decision, config, gcr, impersonation_url="")
    if not registry.is_service_account_email(decision.identity):  # it becomes a part of a URL
        raise PullpassError(
            "identity-invalid", f"grant '{outside(decision.grant)}' gives '{outside(decision.identity)}', no e-mail"
        )
    base = gcr.iam_credentials_url or f"https://iamcredentials.{gcr.universe_domain}"
    url = f"{base.rstrip('/')}/v1/projects/-/serviceAccounts/{decision.identity}:generateAccessToken"
    return _workload(subject, decision, config, gcr, impersonation_url=url)


def _workload(subject: Subject, decision: Decision, config: Config, gcr: Gcr, *, impersonation_url: str) -> GooglePlan:
    token_url = gcr.token_url or f"https://sts.{gcr.universe_domain}/v1/token"
    sub = f"system:serviceaccount:{subject.namespace}:{subject.service_account}"
    lifetime_s = gcr.token_lifetime_s if impersonation_url else 0
    first_scope = IMPERSONATION_SCOPE if impersonation_url else gcr.oauth_scope
    summary = f"the token, for {gcr.provider}, scope {first_scope}{_warning(gcr.provider, sub)}"
    calls = [Call(EXCHANGE_TOKEN, token_url, summary)]
    if impersonation_url:
        summary = f"the federated token, for {decision.identity}, scope {gcr.oauth_scope}, {lifetime_s}s"
        calls.append(Call(GENERATE_TOKEN, impersonation_url, summary))
    return GooglePlan(
        kind=KIND,
        key=exchange.key(
            subject,
            config.node.cluster,
            decision,
            OPENS,
            # The provider is no endpoint, but it is where a token is presented: the same subject is somebody else in
            # another pool.
            endpoints=(token_url, gcr.provider, impersonation_url),
            oauth_scope=gcr.oauth_scope,
            duration_s=lifetime_s,
        ),
        opens=OPENS,
        identity=decision.identity,
        principal=decision.identity if impersonation_url else principal_of(gcr.provider, subject, sub),
        audience=gcr.provider,
        token_url=token_url,
        impersonation_url=impersonation_url,
        scope=gcr.oauth_scope,
        lifetime_s=lifetime_s,
        sub=sub,
        ca_bundle=config.node.ca_bundle,
        calls=tuple(calls),
    )


def _node(subject: Subject | None, decision: Decision, config: Config) -> GoogleNodePlan:
    base = config.node.google_metadata.rstrip("/")
    email_url, token_url = f"{base}{METADATA_ACCOUNT}/email", f"{base}{METADATA_ACCOUNT}/token"
    return GoogleNodePlan(
        kind=NODE_KIND,
        key=exchange.key(subject, config.node.cluster, decision, OPENS, endpoints=(token_url,), duration_s=0),
        opens=OPENS,
        identity=decision.identity,
        email_url=email_url,
        token_url=token_url,
        calls=(
            Call(NODE_EMAIL, email_url, "nothing: which service account the node has"),
            Call(NODE_TOKEN, token_url, "nothing: an access token of that account, with the scopes of the node"),
        ),
    )


def principal_of(provider: str, subject: Subject, sub: str) -> str:
    """Who a workload is at Google by direct federation.

    STS does not say. In GKE and fleet pools the mapping is Google's. In an ordinary pool it is the operator's: what
    nearly everybody writes, and Google's guide shows, is `google.subject=assertion.sub`, so that is assumed, and marked
    so. Where that can't be the mapping, because the name would be too long, the provider is all that is known.

    Args:
        provider: the workload identity provider.
        subject: the service account.
        sub: the token's claim.
    """
    if _is_managed(provider):
        pool = provider.split(":")[1]
        return f"serviceAccount:{pool}[{subject.namespace}/{subject.service_account}] (assumed)"
    if len(sub) > SUBJECT_LIMIT_BYTES:
        return provider
    pool = provider.partition("/providers/")[0]
    return f"principal:{pool}/subject/{sub} (assumed)"


def is_too_long(provider: str, sub: str) -> bool:
    """Whether a provider that maps `sub` to google.subject unchanged refuses the token.

    That it will is not certain, because the mapping is not known here: an operator with long names maps the account's
    uid instead. So nothing is refused for it; it is said in the plan, and again when Google refuses.
    """
    return len(sub) > SUBJECT_LIMIT_BYTES and not _is_managed(provider)


def _is_managed(provider: str) -> bool:
    return provider.startswith("identitynamespace:")


def _warning(provider: str, sub: str) -> str:
    if not is_too_long(provider, sub):
        return ""
    return f"; its sub has {len(sub)} bytes, and a google.subject at most {SUBJECT_LIMIT_BYTES}: map a shorter one"


def check_token(token: Secret, now_s: float) -> float:
    """Refuse a token that Google takes from nobody, before it is sent.

    Returns:
        The token's end, seconds since the epoch.

    Raises:
        PullpassError: `gcp-token-algorithm`, `gcp-token-age`, or a code of the section "token".
    """
    header, claims = identity.decode(token.reveal())
    if header["alg"] not in ALGORITHMS:
        raise PullpassError(
            "gcp-token-algorithm", f"the token's alg is {header['alg']}, and Google takes {' and '.join(ALGORITHMS)}"
        )
    identity.check_times(claims, now_s)  # so that both are whole numbers, too
    issued_s, expires_s = claims["iat"], claims["exp"]
    assert isinstance(issued_s, int) and isinstance(expires_s, int)  # noqa: S101, PT018 - narrows the types
    if now_s - issued_s > OLDEST_TOKEN_S:
        raise PullpassError("gcp-token-age", f"the token was issued {(now_s - issued_s) / 3600:.1f}h ago")
    return float(expires_s)
