"""The exchange with Google over real sockets: what is sent where, and what comes of it."""

from __future__ import annotations

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

import pytest
import urllib3
from google.auth import identity_pool
from google.auth.transport.urllib3 import Request

from cloud.gcp.world import CLOUD_SCOPE, GOOGLE_AUDIENCE, IAM_SCOPE, PULL_ACCOUNT, principal, provider_name
from integration.exchanging import LONG_S, ImpatientClock
from integration.exchanging_gcp import IAM, STS, impersonating, make_plan, mint, refused, run, secrets_of
from pullpass.clock import Deadline
from pullpass.errors import BAD_INPUT, UNREACHABLE, PullpassError
from pullpass.exchange import gcp
from pullpass.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud
    from cloud.gcp.world import AccessToken
    from pullpass.exchange import Credential
    from pullpass.exchange.plan_gcp import GooglePlan

ISSUER_CALLS = {"issuer.discovery": 1, "issuer.jwks": 1}
LONG_NAME = "a" * 100


def issued(cloud: Cloud, credential: Credential) -> AccessToken:
    """What Google knows about a password, which must be one that it has issued."""
    return cloud.google.tokens[credential.secret.reveal()]


# --- the two flows


def test_direct(cloud: Cloud) -> None:
    """The password is the workload's own access token, and ends when Google says."""
    before_s = time.time()
    credential = run(cloud)
    token = issued(cloud, credential)
    assert credential.username == "oauth2accesstoken"
    assert token.identity.name == principal("team-b", "web")
    assert credential.principal == f"{token.identity.name} (assumed)"
    assert token.scopes == {CLOUD_SCOPE}
    assert credential.registry_expires_s == pytest.approx(before_s + 3600, abs=10)
    assert credential.registry_expires_s <= token.expires_s + 1
    assert (credential.access_key_id, credential.request_ids) == ("", ())


def test_direct_is_one_request(cloud: Cloud) -> None:
    """STS is sent the token in RFC 8693's form, without an Authorization header; nobody else is asked anything."""
    token = mint(cloud)
    run(cloud, token=token)
    assert cloud.counts() | ISSUER_CALLS == {STS: 1} | ISSUER_CALLS
    request = cloud.last(STS)
    assert dict(parse_qsl(request.body.decode(), strict_parsing=True)) == request.parameters
    assert request.parameters == {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "audience": provider_name(),
        "scope": CLOUD_SCOPE,
        "requested_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "subject_token": token,
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
    }
    assert "authorization" not in request.headers
    assert request.headers["user-agent"].startswith("pullpass/")


def test_impersonation(cloud: Cloud) -> None:
    """The password is the account's access token; the federated one may do nothing but impersonate."""
    before_s = time.time()
    credential = run(cloud, impersonating(cloud))
    token = issued(cloud, credential)
    assert (credential.username, credential.principal) == ("oauth2accesstoken", PULL_ACCOUNT)
    assert token.identity.name == f"serviceAccount:{PULL_ACCOUNT}"
    assert token.scopes == {CLOUD_SCOPE}
    federated = next(each for each in cloud.google.tokens.values() if each is not token)
    assert federated.identity.name == principal("team-b", "web")
    assert federated.scopes == {IAM_SCOPE}
    assert credential.registry_expires_s == pytest.approx(before_s + 3600, abs=10)
    assert credential.session_expires_s == credential.registry_expires_s


def test_impersonation_is_two_requests(cloud: Cloud) -> None:
    """The second request carries the federated token and never the pod's."""
    token = mint(cloud)
    planned = impersonating(cloud, token_lifetime_s=1800, oauth_scope=f"{CLOUD_SCOPE} {CLOUD_SCOPE}.read-only")
    credential = run(cloud, planned, token=token)
    assert cloud.counts() | ISSUER_CALLS == {STS: 1, IAM: 1} | ISSUER_CALLS
    assert cloud.last(STS).parameters["scope"] == IAM_SCOPE
    request = cloud.last(IAM)
    assert request.path == f"/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}:generateAccessToken"
    assert json.loads(request.body) == {
        "delegates": None,
        "scope": [CLOUD_SCOPE, f"{CLOUD_SCOPE}.read-only"],
        "lifetime": "1800s",
    }
    federated = next(text for text in cloud.google.tokens if text != credential.secret.reveal())
    assert request.headers["authorization"] == f"Bearer {federated}"
    assert token not in str(request.headers)
    assert token.encode() not in request.body
    assert credential.registry_expires_s < time.time() + 1801


@pytest.mark.parametrize("impersonate", [False, True])
def test_requests_are_those_of_google_auth(cloud: Cloud, impersonate: bool) -> None:
    """Byte for byte, the bodies are what the library itself sends over a transport of its own."""
    planned = impersonating(cloud, token_lifetime_s=900) if impersonate else make_plan(cloud)
    token = mint(cloud)
    run(cloud, planned, token=token)
    ours = [(request.target, request.body) for request in cloud.requests(STS) + cloud.requests(IAM)]
    cloud.reset()

    class Supplier(identity_pool.SubjectTokenSupplier):
        def get_subject_token(self, context: object, request: object) -> str:
            return token

    options: dict[str, Any] = {}
    if impersonate:
        options["service_account_impersonation_url"] = planned.impersonation_url
        options["service_account_impersonation_options"] = {"token_lifetime_seconds": 900}
    control = identity_pool.Credentials(  # type: ignore[no-untyped-call]
        audience=provider_name(),
        subject_token_type="urn:ietf:params:oauth:token-type:jwt",
        token_url=planned.token_url,
        subject_token_supplier=Supplier(),
        scopes=[CLOUD_SCOPE],
        **options,
    )
    with urllib3.PoolManager() as pool:
        control.refresh(Request(pool))  # type: ignore[no-untyped-call]
    theirs = [(request.target, request.body) for request in cloud.requests(STS) + cloud.requests(IAM)]
    assert ours == theirs
    assert len(ours) == 1 + impersonate


@pytest.mark.parametrize("namespace", ["team-a", "team-b"])
def test_managed_pool(cloud: Cloud, namespace: str) -> None:
    """GKE and fleet pools have names of another form, and know the workload by another name."""
    issuer = cloud.issuers["prod-1"].url
    planned = make_plan(cloud, namespace=namespace, provider=f"identitynamespace:proj.svc.id.goog:{issuer}")
    credential = run(cloud, planned, token=mint(cloud, namespace, audience="proj.svc.id.goog"))
    assert issued(cloud, credential).identity.name.endswith(f"/proj.svc.id.goog/subject/ns/{namespace}/sa/web")
    assert credential.principal == f"serviceAccount:proj.svc.id.goog[{namespace}/web] (assumed)"


def test_elliptic_curve_token(cloud: Cloud) -> None:
    """ES256 is the other algorithm that Google takes."""
    assert issued(cloud, run(cloud, token=mint(cloud, alg="ES256"))).identity.name == principal("team-b", "web")


# --- endpoints


@pytest.mark.parametrize(
    ("fields", "hosts"),
    [
        pytest.param({}, ["sts.googleapis.com", "iamcredentials.googleapis.com"], id="global"),
        pytest.param(
            {"token_url": "https://sts.europe-west1.rep.googleapis.com/v1/token"},
            ["sts.europe-west1.rep.googleapis.com", "iamcredentials.googleapis.com"],
            id="regional",
        ),
        pytest.param(
            {"universe_domain": "example.goog"}, ["sts.example.goog", "iamcredentials.example.goog"], id="universe"
        ),
        pytest.param(
            {
                "token_url": "https://sts-nodes.p.googleapis.com/v1/token",
                "iam_credentials_url": "https://iamcredentials-nodes.p.googleapis.com",
            },
            ["sts-nodes.p.googleapis.com", "iamcredentials-nodes.p.googleapis.com"],
            id="private-service-connect",
        ),
    ],
)
def test_endpoints_by_name(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], hosts: list[str]
) -> None:
    """Each call goes to the host of the plan, by its own name, over TLS."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy)
    cloud.configure(universes=["example.goog"])
    no_urls = {"token_url": "", "iam_credentials_url": ""}
    run(cloud, impersonating(cloud, tls=True, **(no_urls | fields)))
    assert [request.host for request in cloud.requests("proxy.CONNECT")] == hosts
    assert [cloud.last(STS).host, cloud.last(IAM).host] == hosts
    assert cloud.last(STS).tls


def test_universe_that_does_not_exist(cloud: Cloud) -> None:
    """A universe's domain that nobody has is an outage, and the hint says which key to look at."""
    planned = make_plan(cloud, token_url="", universe_domain="googleapis.invalid")
    error = refused(cloud, planned, clock=ImpatientClock())
    assert (error.code, error.status) == ("cloud-unreachable", UNREACHABLE)
    assert "sts.googleapis.invalid" in error.what
    assert error.hint.startswith("check gcr.universe_domain and the configured URLs; ")


def test_universe_that_is_somebody_elses(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has no certificate for the name is told nothing."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy)
    cloud.certificates("wrong-name")
    error = refused(cloud, make_plan(cloud, tls=True, token_url="", universe_domain="googleapis.example"))
    assert (error.code, error.status) == ("cloud-tls", UNREACHABLE)
    assert error.hint.startswith("check gcr.universe_domain")
    assert cloud.count(STS) == cloud.count("elsewhere") == 0


def test_ca_bundle_that_is_missing(cloud: Cloud, tmp_path: Path) -> None:
    """The configuration's own mistake names the file, however long its path is."""
    bundle = tmp_path / "a-file-with-a-long-name-that-is-not-there.pem"
    error = refused(cloud, make_plan(cloud, tls=True, ca_bundle=str(bundle)))
    assert (error.code, error.status) == ("ca-bundle", BAD_INPUT)
    assert str(bundle) in error.what
    assert cloud.count(STS) == 0


def test_endpoint_of_another_service(cloud: Cloud) -> None:
    """A URL that leads to some other server ends the run at its first answer."""
    error = refused(cloud, make_plan(cloud, token_url=f"{cloud.endpoints.elsewhere}/v1/token"))
    assert error.code == "cloud-answer"
    assert cloud.count("elsewhere") == 1


# --- the library


def test_library_cannot_choose_another_host(cloud: Cloud) -> None:
    """A request to anything but the plan's URLs is not sent, whatever the library means by it."""
    wire = make_wire(cloud, impersonating(cloud))
    for url, method in (
        (f"{cloud.endpoints.elsewhere}/v1/token", "POST"),
        (f"{cloud.endpoints.iamcredentials}/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}/allowedLocations", "GET"),
        (cloud.endpoints.gsts, "POST"),
        (f"{cloud.endpoints.gsts}/v1/token", "GET"),
    ):
        with pytest.raises(PullpassError, match="internal: google-auth would send"):
            wire(url, method, b"", {})
    assert cloud.counts() == {}


def make_wire(cloud: Cloud, planned: GooglePlan) -> Any:
    """The transport that the library is given."""
    clock = ImpatientClock()
    return gcp._Wire(planned, Secret(mint(cloud)), Deadline(clock, LONG_S), clock, lambda: 0.0)


def test_library_that_leaves_out_a_call(cloud: Cloud) -> None:
    """What did not come from the plan's last call is no credential."""
    planned = impersonating(cloud)
    wire = make_wire(cloud, planned)
    with pytest.raises(PullpassError, match="internal: google-auth made 0 calls"):
        wire.last()
    gcp._credentials(planned._replace(impersonation_url=""), Secret(mint(cloud))).refresh(wire)
    with pytest.raises(PullpassError, match="internal: google-auth made 1 calls"):
        wire.last()


def test_library_that_fails(cloud: Cloud) -> None:
    """An exception of the library is a defect of ours, and its text, which may quote anything, is not shown."""
    # It finds the account's name in the URL between the last slash and this word, and fails without it.
    planned = impersonating(cloud)
    error = refused(cloud, planned._replace(impersonation_url=planned.impersonation_url.replace(":generate", ":x")))
    assert (error.code, error.what) == ("internal", "google-auth can't go on (RefreshError)")


def test_variables_are_gone_before_the_library_looks(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the library would read from the environment is dropped; what others read stays."""
    names = ("GOOGLE_API_USE_CLIENT_CERTIFICATE", "GCE_METADATA_HOST", "CLOUDSDK_CONFIG", "NO_GCE_CHECK")
    for name in names:
        monkeypatch.setenv(name, "true")
    monkeypatch.setenv("PULLPASS_CONFIG", "/etc/pullpass/config.toml")
    run(cloud)
    assert not set(names) & set(os.environ)
    assert os.environ["PULLPASS_CONFIG"] == "/etc/pullpass/config.toml"


@pytest.mark.parametrize("impersonate", [False, True])
def test_nothing_is_logged(cloud: Cloud, caplog: pytest.LogCaptureFixture, impersonate: bool) -> None:
    """Even in a process that logs everything, the library's logs show no secret."""
    caplog.set_level(logging.DEBUG)
    for name in ("google", "google.auth"):
        caplog.set_level(logging.DEBUG, name)
    token = mint(cloud)
    run(cloud, impersonating(cloud) if impersonate else make_plan(cloud), token=token)
    for secret in secrets_of(cloud, token):
        assert secret not in caplog.text


def test_many_at_once(cloud: Cloud) -> None:
    """Exchanges in threads of one process do not mix up workloads, as in a resident agent."""
    namespaces = ["team-a", "team-b"] * 4

    def one(namespace: str) -> tuple[str, Credential]:
        return namespace, run(cloud, make_plan(cloud, namespace=namespace), token=mint(cloud, namespace))

    with ThreadPoolExecutor(8) as pool:
        for namespace, credential in pool.map(one, namespaces):
            assert issued(cloud, credential).identity.name == principal(namespace, "web")
    assert cloud.count(STS) == 8


def test_jitter_is_random_by_default(cloud: Cloud) -> None:
    """A thousand nodes that failed together do not come back together."""
    waits = set()
    for _ in range(3):
        cloud.fault(STS, "status", 1, status=503)
        clock = ImpatientClock()
        gcp.exchange(make_plan(cloud), Secret(mint(cloud)), Deadline(clock, LONG_S), clock)
        waits.update(clock.slept)
    assert len(waits) == 3


def test_audiences_of_the_two_clouds(cloud: Cloud) -> None:
    """A token for ECR is nothing to Google, even if it should get there."""
    assert GOOGLE_AUDIENCE != "pull.ecr.prod-1"
    assert refused(cloud, token=cloud.mint_token("team-b", "web")).code == "gcp-audience-rejected"
