"""The local cloud as Google: google-auth exchanges with it, and every rule about a subject token is seen to refuse."""

from __future__ import annotations

import json
from typing import Any

import pytest
import urllib3
from google.auth import exceptions, identity_pool
from google.auth.transport.urllib3 import Request as Transport

from cloud import AUDIENCE, Cloud
from cloud.gcp.clients import access_token, exchange, oauth_error, pull, subject_token
from cloud.gcp.world import (
    CLOUD_SCOPE,
    GOOGLE_AUDIENCE,
    IAM_SCOPE,
    PULL_ACCOUNT,
    pool_name,
    principal,
    principal_set,
    provider_name,
)

JWT = "urn:ietf:params:oauth:token-type:jwt"
GKE_POOL = "proj.svc.id.goog"


class Supplier(identity_pool.SubjectTokenSupplier):
    """Hands google-auth one token."""

    def __init__(self, token: str) -> None:
        self.token = token

    def get_subject_token(self, context: Any, request: Any) -> str:
        """The token, whatever is asked."""
        return self.token


def refreshed(
    cloud: Cloud, token: str, audience: str | None = None, account: str | None = None, **options: Any
) -> identity_pool.Credentials:
    """Credentials of google-auth after an exchange, by way of a service account if one is named."""
    at = cloud.endpoints
    impersonation = f"{at.iamcredentials}/v1/projects/-/serviceAccounts/{account}:generateAccessToken"
    made = identity_pool.Credentials(  # type: ignore[no-untyped-call]
        audience or provider_name(),
        JWT,
        token_url=f"{at.gsts}/v1/token",
        subject_token_supplier=Supplier(token),
        service_account_impersonation_url=impersonation if account else None,
        scopes=[CLOUD_SCOPE],
        **options,
    )
    pool = urllib3.PoolManager(retries=False)
    made.refresh(Transport(pool))  # type: ignore[no-untyped-call]
    pool.clear()
    return made


# --- the happy ways


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
def test_google_auth_exchanges_directly(cloud: Cloud, alg: str) -> None:
    """The library gets a token for the principal that the mapping makes, in one call."""
    made = refreshed(cloud, subject_token(cloud, alg=alg))
    issued = cloud.google.tokens[str(made.token)]
    assert issued.identity.name == principal("team-b", "web")
    assert principal_set("ns", "team-b") in issued.identity.members
    assert principal_set("nsksa", "team-b/web") in issued.identity.members
    assert issued.scopes == {CLOUD_SCOPE}
    assert pull(cloud, "proj/team-b/web/manifests/v1", made.token).status == 200
    counts = cloud.counts()
    assert {name: count for name, count in counts.items() if name.startswith("gsts")} == {"gsts.token": 1}
    assert cloud.last("gsts").principal == principal("team-b", "web")


def test_google_auth_impersonates(cloud: Cloud) -> None:
    """The library asks STS for the narrow scope, and the account's token is that account's and nobody else's."""
    made = refreshed(cloud, subject_token(cloud, lifetime_s=600), account=PULL_ACCOUNT)
    issued = cloud.google.tokens[str(made.token)]
    assert issued.identity.name == f"serviceAccount:{PULL_ACCOUNT}"
    assert issued.by == principal("team-b", "web")
    assert issued.expires_s - cloud.now() > 3590, "the account's token does not end with the subject token"
    assert cloud.last("gsts").parameters["scope"] == IAM_SCOPE
    sent = cloud.last("iamcredentials.generateAccessToken")
    assert sent.parameters["email"] == PULL_ACCOUNT
    assert sent.parameters["lifetime"] == "3600s"
    assert sent.principal == principal("team-b", "web")
    assert pull(cloud, "proj/team-b/web/manifests/v1", made.token).status == 200
    assert pull(cloud, "proj/team-a/app/manifests/v1", made.token).status == 403


@pytest.mark.parametrize("provider", ["cluster", "fleet"])
def test_google_auth_through_a_pool_of_gkes(cloud: Cloud, provider: str) -> None:
    """Pools of GKE and of fleets are named by a name space and a URL, and map a subject of their own."""
    url = cloud.issuer
    if provider == "fleet":
        url = "https://gkehub.googleapis.com/projects/proj/locations/global/memberships/prod-1"
        cloud.set_workload_provider(url, GKE_POOL, issuer=cloud.issuer)
    audience = f"identitynamespace:{GKE_POOL}:{url}"
    made = refreshed(cloud, subject_token(cloud, audience=GKE_POOL), audience)
    identity = cloud.google.tokens[str(made.token)].identity
    assert identity.name == f"principal://iam.googleapis.com/{pool_name(GKE_POOL)}/subject/ns/team-b/sa/web"
    cloud.set_artifacts("team-a", readers=[f"serviceAccount:{GKE_POOL}[team-b/web]"])
    assert pull(cloud, "proj/team-a/app/manifests/v1", made.token).status == 200
    assert pull(cloud, "proj/team-b/web/manifests/v1", made.token).status == 403
    reply = exchange(cloud, subject_token(cloud), audience=audience)
    assert oauth_error(reply)[1] == "invalid_grant", "the audience is the pool, not the provider's own list"
    cloud.set_workload_provider(url, GKE_POOL, mapping={"google.subject": "assertion.sub"})
    made = refreshed(cloud, subject_token(cloud, audience=GKE_POOL), audience)
    assert pull(cloud, "proj/team-a/app/manifests/v1", made.token).status == 403


@pytest.mark.parametrize(
    ("lifetime_s", "issued_s", "expected_s"), [(600, 0, 600), (3600, -3000, 600), (7200, 0, 3600), (86400, -100, 3600)]
)
def test_a_federated_token_lives_no_longer_than_its_subject(
    cloud: Cloud, lifetime_s: int, issued_s: int, expected_s: int
) -> None:
    """The life is an hour or what the subject token has left."""
    reply = exchange(cloud, subject_token(cloud, lifetime_s=lifetime_s, issued_s=issued_s))
    document = json.loads(reply.body)
    assert expected_s - 2 <= document["expires_in"] <= expected_s
    issued = cloud.google.tokens[document["access_token"]]
    assert abs(issued.expires_s - cloud.now() - expected_s) < 2
    assert document["token_type"] == "Bearer"
    assert document["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token"


def test_over_tls(cloud: Cloud) -> None:
    """STS is there over TLS, under Google's own names by way of the proxy."""
    pool = urllib3.ProxyManager(cloud.endpoints.proxy, ca_certs=cloud.endpoints.ca_file, retries=False)
    for host in ("sts.googleapis.com", "sts.mtls.googleapis.com", "sts.europe-west1.rep.googleapis.com"):
        made = identity_pool.Credentials(  # type: ignore[no-untyped-call]
            provider_name(),
            JWT,
            token_url=f"https://{host}/v1/token",
            subject_token_supplier=Supplier(subject_token(cloud)),
            scopes=[CLOUD_SCOPE],
        )
        made.refresh(Transport(pool))  # type: ignore[no-untyped-call]
        last = cloud.last("gsts.token")
        assert (last.host, last.tls, last.proxied, last.status) == (host, True, True, 200)
    pool.clear()


# --- the subject token


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"lifetime_s": 0}, "expired"),
    ({"lifetime_s": -60}, "expired"),
    ({"issued_s": 60}, "future"),
    ({"claims": {"nbf": 2**33}}, "future"),
    ({"claims": {"nbf": "now"}}, "future"),
    ({"issued_s": -86401, "lifetime_s": 90000}, "stale to sign-in"),
    ({"audience": AUDIENCE}, f"The audience in ID Token [{AUDIENCE}] does not match"),
    ({"audience": []}, "audience"),
    ({"remove": ["aud"]}, "audience"),
    ({"claims": {"aud": {"a": "b"}}}, "audience"),
    ({"claims": {"aud": [1, None]}}, "audience"),
    ({"claims": {"iss": "https://elsewhere.example.test"}}, "issuer in ID Token https://elsewhere.example.test"),
    ({"claims": {"iss": ["x"]}}, "issuer"),
    ({"remove": ["iss"]}, "issuer"),
    ({"remove": ["sub"]}, "sub"),
    ({"claims": {"sub": ["x"]}}, "sub"),
    ({"remove": ["exp"]}, "exp"),
    ({"remove": ["iat"]}, "iat"),
    ({"claims": {"exp": "4000000000"}}, "exp"),
    ({"claims": {"exp": 4e9}}, "exp"),
    ({"claims": {"iat": True}}, "iat"),
    ({"alg": "none"}, "algorithm"),
    ({"alg": "HS256"}, "algorithm"),
    ({"alg": "RS384"}, "algorithm"),
    ({"alg": "RS512"}, "algorithm"),
    ({"alg": "ES384"}, "algorithm"),
    ({"alg": "ES512"}, "algorithm"),
    ({"key": "wrong"}, "signature"),
    ({"key": "wrong", "alg": "ES256"}, "signature"),
    ({"header": {"alg": "ES256"}}, "signature"),
    ({"header": {"crit": ["x"]}}, "parse"),
    ({"key": "unknown"}, "key ID"),
    ({"header": {"kid": None}}, "key ID"),
    ({"header": {"kid": 7}}, "parse"),
    ({"payload": b"not json"}, "parse"),
    ({"payload": b'["a"]'}, "parse"),
    ({"payload": b"[" * 14000}, "parse"),
    ({"payload": b"\xff"}, "parse"),
]


@pytest.mark.parametrize(("change", "says"), REFUSED, ids=str)
def test_sts_refuses_a_token(cloud: Cloud, change: dict[str, Any], says: str) -> None:
    """Anything wrong with the token is `invalid_grant` with a text that says what, and nothing is issued."""
    status, code, description = oauth_error(exchange(cloud, subject_token(cloud, **change)))
    assert (status, code) == (400, "invalid_grant")
    assert says in description
    assert not cloud.google.tokens
    assert cloud.last("gsts").code == "invalid_grant"


@pytest.mark.parametrize("token", ["abcd", "a.b.c", "a" * 20000, "eyJhbGciOiJub25lIn0..", "ünïcödé"])
def test_sts_refuses_what_is_no_token(cloud: Cloud, token: str) -> None:
    """Anything may be sent as a token."""
    assert oauth_error(exchange(cloud, token))[:2] == (400, "invalid_grant")


def test_google_auth_reports_the_refusal(cloud: Cloud) -> None:
    """The library makes an OAuthError of it, with code and description."""
    with pytest.raises(exceptions.OAuthError, match=r"invalid_grant.*does not match the expected audience"):
        refreshed(cloud, cloud.mint_token("team-b", "web"))


def test_the_clouds_clock_judges(cloud: Cloud) -> None:
    """A clock ten minutes off makes a token expired, or not valid yet; a leeway forgives."""
    token = subject_token(cloud, lifetime_s=300)
    cloud.configure(skew_s=600)
    assert "expired" in oauth_error(exchange(cloud, token))[2]
    cloud.configure(skew_s=-600)
    assert "future" in oauth_error(exchange(cloud, token))[2]
    cloud.configure(google_leeway_s=601)
    assert access_token(cloud, token)


def test_an_expired_token_of_leeway_gives_no_dead_token(cloud: Cloud) -> None:
    """What a leeway lets in has at least a second left."""
    token = subject_token(cloud, lifetime_s=300)
    cloud.configure(skew_s=310, google_leeway_s=60)
    document = json.loads(exchange(cloud, token).body)
    assert document["expires_in"] >= 1


# --- keys


def test_an_issuer_that_cannot_be_asked(cloud: Cloud) -> None:
    """STS says that it could not connect; when it can again, the same token is taken."""
    token = subject_token(cloud)
    for operation in ("issuer.discovery", "issuer.jwks"):
        for fault in ("cut", "garbage", "InternalError", "redirect", "other-shape"):
            cloud.fault(operation, fault)
            refusal = oauth_error(exchange(cloud, token))
            assert refusal == (400, "invalid_grant", "Error connecting to the given credential's issuer.")
    cloud.fault("issuer.discovery", "set", fields={"issuer": "https://other.example.test"})
    assert "issuer in ID Token" in oauth_error(exchange(cloud, token))[2]
    assert access_token(cloud, token)


def test_rotated_keys(cloud: Cloud) -> None:
    """Fetched keys follow a rotation; a token by a key that is published no more is refused."""
    old = subject_token(cloud)
    cloud.rotate_keys()
    assert access_token(cloud, old)
    cloud.rotate_keys(keep_old=False)
    assert "key ID" in oauth_error(exchange(cloud, old))[2]
    assert access_token(cloud)


def test_uploaded_keys(cloud: Cloud) -> None:
    """With uploaded keys the issuer is never asked; a rotation breaks every exchange until they are uploaded again."""
    cloud.set_workload_provider(jwks=cloud.jwks())
    cloud.fault("issuer", "cut", None)
    assert access_token(cloud)
    assert access_token(cloud, subject_token(cloud, alg="ES256"))
    assert "signature" in oauth_error(exchange(cloud, subject_token(cloud, key="wrong")))[2]
    cloud.rotate_keys()
    assert "connecting" in oauth_error(exchange(cloud))[2], "so it says, although nobody connects to anything"
    cloud.set_workload_provider(jwks=cloud.jwks())
    assert access_token(cloud)
    assert cloud.count("issuer") == 0


def _without(cloud: Cloud, name: str) -> dict[str, Any]:
    first, *rest = cloud.jwks()["keys"]
    return {"keys": [{key: value for key, value in first.items() if key != name}, *rest]}


def test_key_sets_that_google_does_not_take(cloud: Cloud) -> None:
    """Only the fields of an RSA or EC key may be uploaded, each key with an id."""
    good = cloud.jwks()
    first = good["keys"][0]
    wrong: list[dict[str, Any]] = [
        {"keys": []},
        {"keys": "x"},
        {"keys": [7]},
        {**good, "more": 1},
        {"keys": [{**first, "x5c": ["AAAA"]}]},
        {"keys": [{**first, "kty": "oct"}]},
        {"keys": [{**first, "n": 7}]},
        _without(cloud, "kid"),
        _without(cloud, "n"),
    ]
    for jwks in wrong:
        with pytest.raises(ValueError, match="Input JWK"):
            cloud.set_workload_provider(jwks=jwks)
    assert access_token(cloud)


# --- who is asked


def test_another_clusters_token(cloud: Cloud) -> None:
    """A provider takes its own issuer's tokens; two providers of one pool share principals, as pools are flat."""
    url = cloud.add_issuer("dev-1")
    token = subject_token(cloud, cluster="dev-1")
    assert "issuer in ID Token" in oauth_error(exchange(cloud, token))[2]
    forged = subject_token(cloud, cluster="dev-1", claims={"iss": cloud.issuer})
    assert "key ID" in oauth_error(exchange(cloud, forged))[2]
    cloud.set_workload_provider("dev-1", issuer=url, audiences=[GOOGLE_AUDIENCE])
    made = access_token(cloud, token, audience=provider_name("dev-1"))
    assert pull(cloud, "proj/team-b/web/manifests/v1", made).status == 200
    prefixed = {"google.subject": "'dev-1/' + assertion.sub"}
    cloud.set_workload_provider("dev-1", mapping=prefixed)
    made = access_token(cloud, token, audience=provider_name("dev-1"))
    assert cloud.google.tokens[made].identity.name.endswith("/subject/dev-1/system:serviceaccount:team-b:web")
    assert pull(cloud, "proj/team-b/web/manifests/v1", made).status == 403


def test_without_audiences_the_provider_itself_is_the_audience(cloud: Cloud) -> None:
    """The provider's full name, with or without `https:` in front; an issuer's slash at the end counts."""
    cloud.set_workload_provider(audiences=[])
    for audience in (provider_name(), f"https:{provider_name()}"):
        assert access_token(cloud, subject_token(cloud, audience=audience))
    for audience in (f"https://{provider_name()}", provider_name() + "/", GOOGLE_AUDIENCE):
        assert "audience" in oauth_error(exchange(cloud, subject_token(cloud, audience=audience)))[2]
    assert access_token(cloud, subject_token(cloud, audience=["other", provider_name()]))
    slashed = cloud.issuer + "/"
    token = subject_token(cloud, audience=provider_name(), claims={"iss": slashed})
    assert "issuer in ID Token" in oauth_error(exchange(cloud, token))[2]
