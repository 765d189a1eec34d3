"""What would be sent to Google: the plan, its key, and what the plan says about the subject."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from factories import make_config, make_gcr, make_subject, make_target
from pullpass import exchange, registry
from pullpass.errors import LOCAL_STATE, REFUSED, PullpassError
from pullpass.exchange import plan, plan_gcp
from pullpass.policy import Decision

if TYPE_CHECKING:
    from pullpass.exchange.plan_gcp import GoogleNodePlan, GooglePlan
    from pullpass.identity import Subject

EMAIL = "pull@proj.iam.gserviceaccount.com"
POOL = "//iam.googleapis.com/projects/123/locations/global/workloadIdentityPools/nodes"
PROVIDER = f"{POOL}/providers/prod-1"
GKE = "identitynamespace:proj.svc.id.goog:https://container.googleapis.com/v1/projects/proj/locations/l/clusters/c"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
METADATA = "http://169.254.169.254/computeMetadata/v1/instance/service-accounts/default"
LONG = make_subject(namespace="n" * 63, service_account="a" * 63)


def planned(subject: Subject | None, **fields: Any) -> GooglePlan | GoogleNodePlan:
    """The plan for a Google image; fields of decision, [gcr] or [node] by keyword."""
    section = {name: fields.pop(name) for name in list(fields) if name in make_gcr()._fields}
    config = make_config(gcr=make_gcr(**section))
    node = {name: fields.pop(name) for name in list(fields) if name in config.node._fields}
    config = config._replace(node=config.node._replace(**node))
    repository = fields.pop("repository", "proj/team-a/app")
    target = make_target(kind=registry.GCR, host=fields.pop("host", "europe-docker.pkg.dev"), repository=repository)
    decision = Decision("team images", "principal", "", pull_through=False)._replace(**fields)
    made = plan.make(subject, target, decision, config)
    assert isinstance(made, plan_gcp.GooglePlan | plan_gcp.GoogleNodePlan)
    return made


def make(subject: Subject | None = None, **fields: Any) -> GooglePlan:
    """The plan for team-a/web."""
    made = planned(subject or make_subject(), **fields)
    assert isinstance(made, plan_gcp.GooglePlan)
    return made


def make_node(subject: Subject | None = None, **fields: Any) -> GoogleNodePlan:
    """The plan for the node's own identity."""
    made = planned(subject, identity="node", **fields)
    assert isinstance(made, plan_gcp.GoogleNodePlan)
    return made


# --- what is sent


def test_direct() -> None:
    """Direct federation is one call, for the scope of the configuration; Google derives its life from the token."""
    made = make()
    assert made._replace(key="", calls=()) == plan_gcp.GooglePlan(
        kind="gcr",
        key="",
        opens="gcr",
        identity="principal",
        principal=f"principal:{POOL}/subject/system:serviceaccount:team-a:web (assumed)",
        audience=PROVIDER,
        token_url="https://sts.googleapis.com/v1/token",
        impersonation_url="",
        scope=SCOPE,
        lifetime_s=0,
        sub="system:serviceaccount:team-a:web",
        ca_bundle="",
        calls=(),
    )
    assert re.fullmatch("[0-9a-f]{64}", made.key)
    assert make() == made
    assert made.calls == (
        exchange.Call(
            "google-sts:ExchangeToken",
            "https://sts.googleapis.com/v1/token",
            f"the token, for {PROVIDER}, scope {SCOPE}",
        ),
    )


def test_impersonation() -> None:
    """Impersonating is two calls: the first for a token that may do nothing else, the second for scope and life."""
    made = make(identity=EMAIL, token_lifetime_s=1800, oauth_scope="a b")
    url = f"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
    assert (made.identity, made.principal, made.impersonation_url) == (EMAIL, EMAIL, url)
    assert (made.scope, made.lifetime_s) == ("a b", 1800)
    assert made.calls == (
        exchange.Call(
            "google-sts:ExchangeToken",
            "https://sts.googleapis.com/v1/token",
            f"the token, for {PROVIDER}, scope https://www.googleapis.com/auth/iam",
        ),
        exchange.Call("iamcredentials:GenerateAccessToken", url, f"the federated token, for {EMAIL}, scope a b, 1800s"),
    )


def test_node() -> None:
    """The node's identity is asked of the metadata server; neither the token nor a scope is sent to it."""
    made = make_node()
    assert made._replace(key="", calls=()) == plan_gcp.GoogleNodePlan(
        kind="gcr-node",
        key="",
        opens="gcr",
        identity="node",
        email_url=f"{METADATA}/email",
        token_url=f"{METADATA}/token",
        calls=(),
    )
    assert [(call.action, call.url) for call in made.calls] == [
        ("metadata:email", f"{METADATA}/email"),
        ("metadata:token", f"{METADATA}/token"),
    ]
    assert all(call.summary.startswith("nothing") for call in made.calls)
    assert make_node(google_metadata="http://127.0.0.1:80/").email_url.startswith(
        "http://127.0.0.1:80/computeMetadata/"
    )


@pytest.mark.parametrize(
    ("fields", "sts", "iam"),
    [
        pytest.param(
            {"universe_domain": "example.goog"},
            "https://sts.example.goog/v1/token",
            "https://iamcredentials.example.goog",
            id="universe",
        ),
        pytest.param(
            {"token_url": "https://sts.europe-west1.rep.googleapis.com/v1/token"},
            "https://sts.europe-west1.rep.googleapis.com/v1/token",
            "https://iamcredentials.googleapis.com",
            id="regional",
        ),
        pytest.param(
            {"iam_credentials_url": "https://iamcredentials-a.p.googleapis.com/", "universe_domain": "example.goog"},
            "https://sts.example.goog/v1/token",
            "https://iamcredentials-a.p.googleapis.com",
            id="private-service-connect",
        ),
        pytest.param(
            {"token_url": "http://127.0.0.1:1/t", "iam_credentials_url": "http://127.0.0.1:2/base"},
            "http://127.0.0.1:1/t",
            "http://127.0.0.1:2/base",
            id="loopback",
        ),
    ],
)
def test_endpoints(fields: dict[str, Any], sts: str, iam: str) -> None:
    """A configured URL wins, each for itself; else the universe's domain makes both."""
    made = make(identity=EMAIL, **fields)
    assert made.token_url == sts
    assert made.impersonation_url == f"{iam}/v1/projects/-/serviceAccounts/{EMAIL}:generateAccessToken"
    assert [call.url for call in made.calls] == [made.token_url, made.impersonation_url]


@pytest.mark.parametrize(
    "identity",
    [
        "pull@example.com",
        "a/b@proj.iam.gserviceaccount.com",
        "a:generateAccessToken?@proj.iam.gserviceaccount.com",
        f"{'n' * 64}@proj.iam.gserviceaccount.com",
        "arn:aws:iam::111122223333:role/pull",
    ],
)
def test_identity_that_is_no_email(identity: str) -> None:
    """What would become a part of the URL is looked at once more, whatever policy thought of it."""
    with pytest.raises(PullpassError) as caught:
        make(identity=identity)
    assert (caught.value.code, caught.value.status) == ("identity-invalid", REFUSED)


def test_workload_without_a_token() -> None:
    """Policy gives a request without a token no identity of a workload; if it did, nothing would be made up."""
    with pytest.raises(PullpassError) as caught:
        planned(None)
    assert (caught.value.code, caught.value.status) == ("internal", LOCAL_STATE)


# --- the subject


def test_principal_of_a_managed_pool() -> None:
    """In GKE and fleet pools the name of a principal is Google's own making."""
    assert make(provider=GKE).principal == "serviceAccount:proj.svc.id.goog[team-a/web] (assumed)"
    assert make(provider=GKE).audience == GKE


def test_long_subject_is_said_and_not_refused() -> None:
    """A sub of more than 127 bytes fails unless the operator mapped something shorter, which can't be known here."""
    made = make(LONG)
    assert len(made.sub) == 22 + 63 + 1 + 63 > plan_gcp.SUBJECT_LIMIT_BYTES
    assert made.calls[0].summary.endswith(
        "; its sub has 149 bytes, and a google.subject at most 127: map a shorter one"
    )
    assert made.principal == PROVIDER, "if Google takes it, the mapping is not the usual one"
    assert not plan_gcp.is_too_long(GKE, made.sub)
    assert "bytes" not in make(LONG, provider=GKE).calls[0].summary


@pytest.mark.parametrize(("length", "warned"), [(127, False), (128, True)])
def test_longest_subject(length: int, warned: bool) -> None:
    """The limit is 127 bytes, the last one included."""
    made = make(make_subject(service_account="a" * (length - len("system:serviceaccount:team-a:"))))
    assert len(made.sub) == length
    assert ("bytes" in made.calls[0].summary) is warned
    assert made.principal.endswith("(assumed)") is not warned


# --- the key

DIFFERENCES: dict[str, dict[str, Any]] = {
    "issuer": {"subject": make_subject(issuer="https://oidc.example.test/c2")},
    "cluster": {"cluster": "prod-2"},
    "namespace": {"subject": make_subject(namespace="team-b")},
    "service account": {"subject": make_subject(service_account="api")},
    "service account's uid": {"subject": make_subject(uid="00000000-0000-0000-0000-000000000000")},
    "identity": {"identity": EMAIL},
    "another e-mail": {"identity": f"x{EMAIL}"},
    "life of an impersonated token": {"identity": EMAIL, "token_lifetime_s": 1800},
    "scope": {"oauth_scope": "https://www.googleapis.com/auth/cloud-platform.read-only"},
    "pool": {"provider": PROVIDER.replace("nodes", "others")},
    "token url": {"token_url": "https://sts.example.com/v1/token"},
    "universe": {"universe_domain": "example.goog"},
    "impersonation endpoint": {"identity": EMAIL, "iam_credentials_url": "https://iam.example.com"},
}


def test_everything_that_matters_makes_another_key() -> None:
    """Each part of the design's one key makes a key of its own; two equal ones would mix up credentials."""
    keys = {name: make(**fields).key for name, fields in DIFFERENCES.items()}
    keys |= {"none": make().key, "node": make_node().key, "node's account": make_node(make_subject()).key}
    keys["another metadata server"] = make_node(google_metadata="http://127.0.0.1:80").key
    assert len(set(keys.values())) == len(keys)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"repository": "proj/team-a/other"}, id="repository"),
        pytest.param({"host": "gcr.io"}, id="host"),
        pytest.param({"grant": "renamed"}, id="grant"),
        pytest.param({"subject": make_subject(pod="web-2", expires_s=1.0, jti="another")}, id="token"),
        pytest.param({"token_lifetime_s": 1800}, id="life of what is not impersonated"),
        pytest.param({"iam_credentials_url": "https://iam.example.com"}, id="endpoint that is not called"),
    ],
)
def test_what_does_not_matter_keeps_the_key(fields: dict[str, Any]) -> None:
    """One credential is for all of Google's registry hosts of a subject and identity, and for every token of it."""
    assert make(**fields).key == make().key
