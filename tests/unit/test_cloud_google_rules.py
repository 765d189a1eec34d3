"""The local cloud as Google: the parameters of an exchange, and the pools, each rule seen to refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from cloud.clients import Reply, request
from cloud.gcp.clients import (
    FORM,
    access_token,
    account_token,
    exchange,
    fields,
    impersonate,
    oauth_error,
    pull,
    status_error,
    subject_token,
)
from cloud.gcp.world import CLOUD_SCOPE, provider_name

if TYPE_CHECKING:
    from cloud import Cloud

READ_ONLY = "https://www.googleapis.com/auth/cloud-platform.read-only"
CAMEL = {
    "grant_type": "grantType",
    "audience": "audience",
    "scope": "scope",
    "requested_token_type": "requestedTokenType",
    "subject_token": "subjectToken",
    "subject_token_type": "subjectTokenType",
}


def post(cloud: Cloud, body: bytes, content_type: str, **headers: str) -> Reply:
    """A request to STS by hand."""
    return request(f"{cloud.endpoints.gsts}/v1/token", "POST", body, {"Content-Type": content_type, **headers})


# --- the parameters of an exchange


@pytest.mark.parametrize("spelling", ["snake", "camel", "both"])
def test_json_in_every_spelling(cloud: Cloud, spelling: str) -> None:
    """JSON is taken as auth-provider-gcp and as the discovery document spell it; the journal has one spelling."""
    whole = fields(subject_token(cloud))
    names = {name: CAMEL[name] if spelling != "snake" else name for name in whole}
    if spelling == "both":
        names["scope"], names["grant_type"] = "scope", "grant_type"
    body = json.dumps({names[name]: value for name, value in whole.items()}).encode()
    reply = post(cloud, body, "application/json; charset=utf-8")
    assert json.loads(reply.body)["access_token"] in cloud.google.tokens
    assert cloud.last("gsts").parameters == whole


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ({"grant_type": None}, "invalid_request", "grant_type"),
        ({"grant_type": "client_credentials"}, "unsupported_grant_type", "grant type"),
        ({"audience": None}, "invalid_request", "audience"),
        ({"audience": ""}, "invalid_request", "audience"),
        ({"scope": None}, "invalid_scope", "required"),
        ({"scope": ""}, "invalid_scope", "required"),
        ({"scope": "cloud-platform"}, "invalid_scope", "scopes"),
        ({"scope": f"{CLOUD_SCOPE}  {READ_ONLY}"}, "invalid_scope", "scopes"),
        ({"scope": "http://www.googleapis.com/auth/iam"}, "invalid_scope", "scopes"),
        ({"requested_token_type": None}, "invalid_request", "requested_token_type"),
        ({"requested_token_type": "urn:ietf:params:oauth:token-type:jwt"}, "invalid_request", "requested_token_type"),
        ({"subject_token": None}, "invalid_request", "subject_token"),
        ({"subject_token_type": None}, "invalid_request", "subject_token_type"),
        ({"subject_token_type": "jwt"}, "invalid_request", "subject_token_type"),
        ({"options": "{}"}, "invalid_request", "options"),
    ],
    ids=str,
)
def test_sts_refuses_parameters(cloud: Cloud, changes: dict[str, str | None], code: str, says: str) -> None:
    """Every parameter is checked, with OAuth's code for it."""
    status, got, description = oauth_error(exchange(cloud, **changes))
    assert (status, got) == (400, code)
    assert says in description
    assert not cloud.google.tokens


def test_both_kinds_of_subject_and_several_scopes(cloud: Cloud) -> None:
    """An id_token is a JWT as well; scopes are separated by one blank."""
    token = access_token(
        cloud,
        subject_token_type="urn:ietf:params:oauth:token-type:id_token",
        scope=f"{CLOUD_SCOPE} {READ_ONLY}",
    )
    assert cloud.google.tokens[token].scopes == {CLOUD_SCOPE, READ_ONLY}


@pytest.mark.parametrize(
    ("audience", "code"),
    [
        (provider_name().replace("/123/", "/proj/"), "invalid_request"),
        (provider_name().rpartition("/providers/")[0], "invalid_request"),
        ("https:" + provider_name(), "invalid_request"),
        (provider_name() + "/", "invalid_request"),
        ("pull.gcr.prod-1", "invalid_request"),
        ("identitynamespace:proj.svc.id.goog", "invalid_request"),
        ("identitynamespace:proj:https://example.test", "invalid_request"),
        ("identitynamespace:other.svc.id.goog:https://example.test", "invalid_target"),
        ("identitynamespace:proj.svc.id.goog:https://example.test", "invalid_target"),
        (provider_name("other"), "invalid_target"),
        (provider_name(pool="other"), "invalid_target"),
        (provider_name(number="124"), "invalid_target"),
    ],
)
def test_audiences_that_are_no_provider(cloud: Cloud, audience: str, code: str) -> None:
    """What can't be a provider's full name is an invalid request, one that is not there an invalid target."""
    status, got, description = oauth_error(exchange(cloud, audience=audience))
    assert (status, got) == (400, code)
    assert "full resource name" in description or "disabled or deleted" in description


def test_disabled_and_deleted(cloud: Cloud) -> None:
    """A disabled provider refuses new exchanges; a disabled or deleted pool also ends the tokens it gave."""
    before = access_token(cloud)
    cloud.set_workload_provider(disabled=True)
    assert oauth_error(exchange(cloud))[1] == "invalid_target"
    assert pull(cloud, "proj/team-b/web/manifests/v1", before).status == 200
    cloud.set_workload_provider(disabled=False)
    for name in ("disabled", "deleted"):
        account = account_token(cloud)
        _set_pool(cloud, name, value=True)
        assert oauth_error(exchange(cloud))[1] == "invalid_target"
        assert pull(cloud, "proj/team-b/web/manifests/v1", before).status == 401
        assert impersonate(cloud, before).status == 401
        assert pull(cloud, "proj/team-b/web/manifests/v1", account).status == 200, "the account is not the pool's"
        _set_pool(cloud, name, value=False)
        assert pull(cloud, "proj/team-b/web/manifests/v1", before).status == 200


def _set_pool(cloud: Cloud, name: str, *, value: bool) -> None:
    cloud.set_pool(disabled=value if name == "disabled" else None, deleted=value if name == "deleted" else None)


def test_an_authorization_header_makes_it_fail(cloud: Cloud) -> None:
    """So the API's description warns; Google's front end answers, in its own form."""
    body = urlencode(fields(subject_token(cloud))).encode()
    reply = post(cloud, body, FORM, Authorization="Bearer x")
    assert status_error(reply)[:2] == (401, "UNAUTHENTICATED")
    assert not cloud.google.tokens


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b"[" * 100_000, "application/json"),
        (b'{"scope": ["x"]}', "application/json"),
        (b'{"resource": "x"}', "application/json"),
        (b"resource=x", FORM),
        (b"scope=x", "text/plain"),
        (b"", ""),
    ],
)
def test_bodies_that_cannot_be_read(cloud: Cloud, body: bytes, content_type: str) -> None:
    """The front end answers in Google's common form."""
    assert status_error(post(cloud, body, content_type))[:2] == (400, "INVALID_ARGUMENT")


def test_a_repeated_parameter(cloud: Cloud) -> None:
    """Which of two would count is nobody's guess, in a form or in JSON, under one name or two."""
    whole = fields(subject_token(cloud))
    body = urlencode([*whole.items(), ("scope", CLOUD_SCOPE)]).encode()
    assert oauth_error(post(cloud, body, FORM))[1] == "invalid_request"
    for name in ("grant_type", "grantType"):
        twice = json.dumps(whole)[:-1] + f', "{name}": "x"}}'
        assert oauth_error(post(cloud, twice.encode(), "application/json"))[1] == "invalid_request"


def test_other_requests_to_sts(cloud: Cloud) -> None:
    """There is one method, by POST."""
    for method, path in (("GET", "/v1/token"), ("POST", "/v1/introspect"), ("POST", "/v1/token/")):
        reply = request(f"{cloud.endpoints.gsts}{path}", method, headers={"Host": "sts.googleapis.com"})
        assert status_error(reply)[:2] == (404, "NOT_FOUND")
        assert cloud.last().where == "gsts.other"


def test_a_disabled_api(cloud: Cloud) -> None:
    """An API that the project has not enabled says so."""
    cloud.configure(disabled_apis=["sts", "iamcredentials"])
    reply = exchange(cloud)
    assert status_error(reply)[:2] == (403, "PERMISSION_DENIED")
    assert json.loads(reply.body)["error"]["details"][0]["reason"] == "SERVICE_DISABLED"
    cloud.configure(disabled_apis=["iamcredentials"])
    reply = impersonate(cloud, access_token(cloud))
    assert status_error(reply)[:2] == (403, "PERMISSION_DENIED")
    assert json.loads(reply.body)["error"]["details"][0]["reason"] == "SERVICE_DISABLED"
