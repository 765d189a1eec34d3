"""The further services of the local cloud answer whatever comes, and don't fall over it."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cloud.clients import request
from cloud.gcp.clients import FORM, access_token, fields, subject_token
from cloud.gcp.world import PULL_ACCOUNT
from cloud.imds import TOKEN, TTL
from cloud.node import TASK

if TYPE_CHECKING:
    from cloud import Cloud

relaxed = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
METHODS = st.sampled_from(["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
# What may stand in a header: http.client refuses the rest.
LATIN = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=60)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
PATHS = st.sampled_from([
    "/", "/v1/token", "/v2/", "/v2/token", "/v2/token?scope=repository:a/b/c:pull", "/v2/a/b/c/manifests/v1", "/token/",
    "/v2/proj/team-b/web/blobs/sha256:0", "/v2//manifests/x", "/v2/a.b/manifests/x", "/v2/a.b/c/manifests/x",
    f"/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}:generateAccessToken", "/v1/projects/-/serviceAccounts/%ff:x",
    "/latest/api/token", "/latest/meta-data/iam/security-credentials/", "/latest/meta-data/iam/security-credentials/x",
    "/latest", "/v1/credentials", f"/v2/credentials/{TASK}", "/computeMetadata/v1/instance/service-accounts/",
    "/computeMetadata/v1/instance/service-accounts/default/token?scopes=",
    "/computeMetadata/v1/instance/service-accounts//",
])  # fmt: skip
HOSTS = st.sampled_from([
    "127.0.0.1", "sts.googleapis.com", "iamcredentials.googleapis.com", "gcr.io", "europe-docker.pkg.dev",
    "public.ecr.aws", "169.254.169.254", "169.254.170.23", "metadata.google.internal", "[fd00:ec2::254]", "[", "a:b:c",
])  # fmt: skip


ASKED = st.fixed_dictionaries({
    "method": METHODS, "path": PATHS, "host": HOSTS, "body": st.binary(max_size=60), "text": LATIN,
    "content_type": st.sampled_from(["", FORM, "application/json", "text/plain"]),
    "door": st.sampled_from(["gsts", "artifact", "public"]),
})  # fmt: skip
FURTHER = ("gsts", "iamcredentials", "artifact", "public", "ecr-public", "imds", "container", "gmetadata")


def survived(cloud: Cloud) -> None:
    """No handler of the cloud has failed."""
    assert cloud._house.defects == []


@relaxed
@given(asked=ASKED)
def test_any_request(cloud: Cloud, asked: dict[str, Any]) -> None:
    """Whatever is asked of whatever host gets an answer."""
    at = getattr(cloud.endpoints, asked["door"]).removeprefix("http://")
    text = asked["text"]
    headers = {
        "Host": asked["host"], "Content-Type": asked["content_type"], "Authorization": text, TTL: text, TOKEN: text,
        "Metadata-Flavor": "Google", "X-Amz-Target": "SpencerFrontendService.GetAuthorizationToken",
    }  # fmt: skip
    assert 200 <= request(f"http://{at}{asked['path']}", asked["method"], asked["body"], headers).status < 600
    survived(cloud)


@relaxed
@given(document=JSON, name=st.sampled_from(["grant_type", "audience", "scope", "subject_token", "options", "x"]))
def test_any_json_for_google(cloud: Cloud, document: Any, name: str) -> None:
    """Any JSON in any place of a request is answered."""
    headers = {"Content-Type": "application/json"}
    for whole in (document, fields(subject_token(cloud)) | {name: document}):
        request(f"{cloud.endpoints.gsts}/v1/token", "POST", json.dumps(whole).encode(), headers)
    bearer = {"Authorization": f"Bearer {access_token(cloud)}"}
    url = f"{cloud.endpoints.iamcredentials}/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}:generateAccessToken"
    for whole in (document, {"scope": document}, {"lifetime": document, "delegates": document}):
        request(url, "POST", json.dumps(whole).encode(), headers | bearer)
    survived(cloud)


@relaxed
@given(claims=st.dictionaries(st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "kubernetes.io"]), JSON))
def test_any_claims(cloud: Cloud, claims: dict[str, Any]) -> None:
    """Any claims are judged by Google's STS and by the Pod Identity agent; only texts become somebody."""
    token = subject_token(cloud, claims=claims)
    body = urlencode(fields(token)).encode()
    reply = request(f"{cloud.endpoints.gsts}/v1/token", "POST", body, {"Content-Type": FORM})
    assert reply.status in {200, 400}
    if reply.status == 200:
        subject = claims.get("sub", "system:serviceaccount:team-b:web")
        assert str(cloud.last("gsts").principal).endswith(f"/subject/{subject}")
    agent = cloud.mint_token("kube-system", "pullpass", audience="pods.eks.amazonaws.com", claims=claims)
    request(f"{cloud.endpoints.container}/v1/credentials", headers={"Authorization": agent})
    survived(cloud)


@relaxed
@given(user=st.text(max_size=20), secret=st.text(max_size=40), path=PATHS)
def test_any_login(cloud: Cloud, user: str, secret: str, path: str) -> None:
    """Any user with any password is nobody."""
    encoded = base64.b64encode(f"{user}:{secret}".encode("utf-8", "surrogatepass")).decode()
    headers = {"Authorization": f"Basic {encoded}"}
    for door in (cloud.endpoints.artifact, cloud.endpoints.public):
        for below in ("/v2/", "/v2/token", "/token/", path):
            assert request(f"http://{door}{below}", headers=headers).status in {401, 404, 405}
    survived(cloud)


@pytest.mark.parametrize("where", FURTHER)
def test_every_code_under_an_unheard_of_status(cloud: Cloud, where: str) -> None:
    """A fault may give any code any status."""
    (service,) = [each for each in cloud.services if each.name == where]
    asked = request(f"{cloud.endpoints.sts}/nothing")
    assert asked.status == 404
    for code in service.errors:
        answer = service.refusal(cloud.last(), code, 599, "text <&>")
        assert (answer.status, answer.code) == (599, code.partition("/")[0])
