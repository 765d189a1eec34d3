"""The further services of the local cloud at their worst: error codes, broken fields, ways to deliver."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from http.client import HTTPException
from typing import TYPE_CHECKING

import pytest

from cloud.clients import Reply, assume, client, refused, request
from cloud.edits import DROPS, EDITS
from cloud.faults import GARBAGE, HTML
from cloud.gcp import clients as google
from cloud.gcp.answers import STATUSES
from cloud.imds import TOKEN, TTL
from cloud.node import TASK

if TYPE_CHECKING:
    from cloud import Cloud

Ask = Callable[["Cloud"], Reply]


def ask_imds(cloud: Cloud) -> Reply:
    """The node's credentials, all steps but the last without their faults."""
    token = request(f"{cloud.endpoints.imds}/latest/api/token", "PUT", headers={TTL: "60"}).body.decode()
    path = "/latest/meta-data/iam/security-credentials/node-prod-1"
    return request(cloud.endpoints.imds + path, headers={TOKEN: token})


def ask_gmetadata(cloud: Cloud) -> Reply:
    """A token of the node's account."""
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    return request(cloud.endpoints.gmetadata + path, headers={"Metadata-Flavor": "Google"})


def ask_iamcredentials(cloud: Cloud) -> Reply:
    """A token of the pulling account."""
    return google.impersonate(cloud, google.access_token(cloud))


def ask_container(cloud: Cloud) -> Reply:
    """A task's credentials."""
    return request(f"{cloud.endpoints.container}/v2/credentials/{TASK}")


def ask_artifact(cloud: Cloud) -> Reply:
    """A manifest of a public image."""
    return google.pull(cloud, "proj/team-b/web/manifests/v1", google.access_token(cloud))


def ask_public(cloud: Cloud) -> Reply:
    """A token of the public registry."""
    return request(f"http://{cloud.endpoints.public}/token/")


ASKING: dict[str, Ask] = {
    "gsts.token": google.exchange,
    "iamcredentials.generateAccessToken": ask_iamcredentials,
    "imds.credentials": ask_imds,
    "container.credentials": ask_container,
    "gmetadata.token": ask_gmetadata,
    "artifact.manifest": ask_artifact,
    "public.token": ask_public,
}


def errors_of(cloud: Cloud, service: str) -> dict[str, tuple[int, str]]:
    """A service's table of errors."""
    (found,) = [each for each in cloud.services if each.name == service]
    return dict(found.errors)


# --- error codes


@pytest.mark.parametrize("where", ASKING)
def test_every_error_code(cloud: Cloud, where: str) -> None:
    """Each code of a service comes on demand under its status, once, and is on record."""
    ask = ASKING[where]
    for code, (status, _) in errors_of(cloud, where.partition(".")[0]).items():
        cloud.fault(where, code, message="because <of> this")
        reply = ask(cloud)
        assert reply.status == status, code
        if where not in {"imds.credentials", "gmetadata.token"}:
            assert b"because" in reply.body
        assert cloud.last(where).code in {code, code.partition("/")[0]}
        assert cloud.last(where).faults == [code]
        assert ask(cloud).status == 200


# service -> status -> codes: pinned, since a test of a program relies on the status as much as on the code
PINNED: dict[str, dict[int, set[str]]] = {
    "gsts": {401: {"invalid_client", "UNAUTHENTICATED"}, 404: {"NOT_FOUND"}, 429: {"RESOURCE_EXHAUSTED"},
             403: {"access_denied", "PERMISSION_DENIED", "SERVICE_DISABLED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"},
             500: {"INTERNAL"}, 503: {"UNAVAILABLE"}, 504: {"DEADLINE_EXCEEDED"}},
    "iamcredentials": {401: {"UNAUTHENTICATED"}, 404: {"NOT_FOUND"}, 429: {"RESOURCE_EXHAUSTED"}, 500: {"INTERNAL"},
                       403: {"PERMISSION_DENIED", "SERVICE_DISABLED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"},
                       503: {"UNAVAILABLE"}, 504: {"DEADLINE_EXCEEDED"}},
    "ecr-public": {500: {"ServerException", "InternalFailure"}, 503: {"ServiceUnavailableException"}},
    "imds": {401: {"Unauthorized"}, 403: {"Forbidden"}, 404: {"NotFound"}, 405: {"MethodNotAllowed"},
             429: {"TooManyRequests"}, 500: {"InternalServerError"}, 503: {"ServiceUnavailable"}},
    "container": {404: {"ResourceNotFoundException"}, 429: {"ThrottlingException"}, 500: {"InternalServerException"},
                  503: {"ServiceUnavailableException"}},
    "gmetadata": {403: {"Forbidden"}, 404: {"NotFound"}, 405: {"MethodNotAllowed"}, 429: {"TooManyRequests"},
                  500: {"InternalServerError"}, 503: {"ServiceUnavailable"}},
    "artifact": {401: {"UNAUTHORIZED"}, 403: {"DENIED"}, 404: {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
                 405: {"UNSUPPORTED"}, 429: {"TOOMANYREQUESTS"}, 500: {"UNKNOWN"}, 503: {"UNAVAILABLE"}},
    "public": {401: {"UNAUTHORIZED"}, 403: {"DENIED"}, 404: {"NAME_UNKNOWN", "MANIFEST_UNKNOWN", "BLOB_UNKNOWN"},
               405: {"UNSUPPORTED"}, 429: {"TOOMANYREQUESTS"}, 500: {"UNKNOWN"}, 503: {"UNAVAILABLE"}},
}  # fmt: skip


@pytest.mark.parametrize("service", PINNED)
def test_the_status_of_every_code(cloud: Cloud, service: str) -> None:
    """Every code has the status that the reference gives it; what is not listed is a 400."""
    statuses: dict[int, set[str]] = {}
    for code, (status, text) in errors_of(cloud, service).items():
        statuses.setdefault(status, set()).add(code)
        assert text
    statuses.pop(400, None)
    assert statuses == PINNED[service]


OAUTH = {
    "invalid_request/audience": "full resource name", "invalid_request/subject": "127 bytes",
    "invalid_target": "disabled or deleted", "invalid_grant/connect": "connecting to the given credential's issuer",
    "invalid_grant/issuer": "issuer in ID Token", "invalid_grant/audience": "audience in ID Token",
    "invalid_grant/stale": "stale to sign-in", "invalid_grant/key": "key ID", "invalid_grant/signature": "signature",
    "unauthorized_client": "attribute condition",
}  # fmt: skip


@pytest.mark.parametrize(("code", "says"), OAUTH.items())
def test_errors_of_oauths_form(cloud: Cloud, code: str, says: str) -> None:
    """The table of errors to recognise, by name: OAuth's code, and the text that tells its meanings apart."""
    cloud.fault("gsts", code)
    status, got, description = google.oauth_error(google.exchange(cloud))
    assert (status, got) == (400, code.partition("/")[0])
    assert says in description


@pytest.mark.parametrize("where", ["gsts.token", "iamcredentials.generateAccessToken"])
def test_errors_of_googles_form(cloud: Cloud, where: str) -> None:
    """Both APIs can answer in the common form; a disabled API and a narrow scope are reasons of a denial."""
    names = {"SERVICE_DISABLED": "PERMISSION_DENIED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "PERMISSION_DENIED"}
    for code, (status, _) in STATUSES.items():
        cloud.fault(where, code)
        assert google.status_error(ASKING[where](cloud))[:2] == (status, names.get(code, code))


def test_every_error_of_ecr_public(cloud: Cloud) -> None:
    """Each code comes on demand, as the SDK sees it."""
    keys = assume(cloud, "pull-public")["Credentials"]
    with client("ecr-public", cloud.endpoints.ecr_public, "us-east-1", credentials=keys) as ecr:
        for code, (status, _) in errors_of(cloud, "ecr-public").items():
            cloud.fault("ecr-public.GetAuthorizationToken", code)
            assert refused(ecr.get_authorization_token)[:2] == (code, status)
        assert ecr.get_authorization_token()


# --- broken answers


# Forms of the same moment, and whether each says its zone.
MOMENTS = {
    "expire-fraction": True,
    "expire-nanoseconds": True,
    "expire-utc-offset": True,
    "expire-offset": True,
    "expire-without-zone": False,
}
JSON_ASKING = {where: ask for where, ask in ASKING.items() if where.partition(".")[0] in EDITS}


@pytest.mark.parametrize("where", JSON_ASKING)
def test_every_broken_field(cloud: Cloud, where: str) -> None:
    """A real answer, with the one field changed that the fault names."""
    ask, service = JSON_ASKING[where], where.partition(".")[0]
    for kind, edit in EDITS[service].items():
        if kind in MOMENTS:
            continue
        cloud.fault(where, kind)
        reply = ask(cloud)
        document = json.loads(reply.body)
        assert reply.status == 200
        assert edit(cloud.now()).items() <= document.items(), kind
        whole = json.loads(ask(cloud).body)
        assert set(whole) <= set(document)
        assert not edit(cloud.now()).items() <= whole.items(), kind
    for kind, (field,) in DROPS[service].items():
        whole = json.loads(ask(cloud).body)
        cloud.fault(where, kind)
        assert set(json.loads(ask(cloud).body)) == set(whole) - {field}, kind


def test_ends_in_every_form(cloud: Cloud) -> None:
    """The same moment with a fraction, an offset or another zone; each is about an hour away."""
    for kind, has_zone in MOMENTS.items():
        cloud.fault("iamcredentials", kind)
        text = json.loads(ask_iamcredentials(cloud).body)["expireTime"]
        moment = datetime.fromisoformat(text)
        assert (moment.tzinfo is not None) == has_zone
        left_s = (moment if has_zone else moment.replace(tzinfo=UTC)).timestamp() - cloud.now()
        assert 3595 < left_s < 3605, kind
        assert text != moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_every_broken_field_of_ecr_public(cloud: Cloud) -> None:
    """The public API's answers break like the private one's, one level up."""
    keys = assume(cloud, "pull-public")["Credentials"]
    with client("ecr-public", cloud.endpoints.ecr_public, "us-east-1", credentials=keys) as ecr:
        for kind in ("password-without-colon", "token-null", "no-authorization-token", "authorization-data-missing"):
            whole = ecr.get_authorization_token()["authorizationData"]
            cloud.fault("ecr-public", kind)
            broken = ecr.get_authorization_token().get("authorizationData", {})
            assert broken.get("authorizationToken") != whole["authorizationToken"]
            assert ":" not in broken.get("authorizationToken", "")
        assert set(EDITS["ecr"]) - set(EDITS["ecr-public"]) == {"no-authorization-data"}


def test_a_fault_of_a_service_leaves_other_answers_alone(cloud: Cloud) -> None:
    """A field that an answer does not have is not there to be broken."""
    cloud.fault("gmetadata", "expires-missing", None)
    url = f"{cloud.endpoints.gmetadata}/computeMetadata/v1/instance/service-accounts/default/"
    assert b"email" in request(url, headers={"Metadata-Flavor": "Google"}).body
    assert "expires_in" not in json.loads(ask_gmetadata(cloud).body)


@pytest.mark.parametrize("where", ASKING)
def test_every_answer_instead(cloud: Cloud, where: str) -> None:
    """What is not the service at all: a page, garbage, nothing, another shape, a redirect that leads elsewhere."""
    ask = ASKING[where]
    for kind, status, options in (
        ("html", 200, {}), ("html", 403, {"status": 403}), ("html", 502, {"status": 502}), ("garbage", 200, {}),
        ("empty", 200, {}), ("empty", 429, {"status": 429}), ("other-shape", 200, {}), ("redirect", 307, {}),
        ("redirect", 302, {"status": 302}), ("status", 408, {"status": 408, "body": "{}"}),
        ("as-status", 503, {"status": 503}), ("truncate", 200, {}), ("content-type", 200, {}),
    ):  # fmt: skip
        cloud.fault(where, kind, **options)
        reply = ask(cloud)
        assert reply.status == status, kind
        expected = {"html": HTML, "garbage": GARBAGE, "empty": b""}
        assert reply.body == expected.get(kind, reply.body)
        if kind == "redirect":
            assert reply.headers["location"].startswith(cloud.endpoints.elsewhere)
    assert ask(cloud).status == 200
    assert cloud.count("elsewhere") == 0


@pytest.mark.parametrize("where", ["gsts.token", "iamcredentials.generateAccessToken", "gmetadata.token", "imds.token"])
@pytest.mark.parametrize("kind", ["cut", "reset", "cut-mid-body", "reset-mid-body"])
def test_every_end_of_a_connection(cloud: Cloud, where: str, kind: str) -> None:
    """Before the answer and in the middle of it."""
    cloud.fault(where, kind)
    with pytest.raises((OSError, HTTPException)):
        ASKING.get(where, ask_imds)(cloud)
    assert cloud.last(where).faults == [kind]


@pytest.mark.parametrize("where", ["gsts.token", "gmetadata.token", "imds.credentials"])
def test_slow_answers(cloud: Cloud, where: str) -> None:
    """A latency delays a real answer, a hang lasts until it is cleared or over."""
    started_s = time.monotonic()
    cloud.fault(where, "latency", seconds=0.2)
    cloud.fault(where, "hang", seconds=0.2)
    assert ASKING[where](cloud).status == 200
    assert time.monotonic() - started_s >= 0.4
    cloud.fault(where, "trickle", seconds=0)
    assert ASKING[where](cloud).status == 200


def test_what_was_asked_is_on_record_also_when_a_fault_answers(cloud: Cloud) -> None:
    """A fault hides nothing of the request."""
    token = google.subject_token(cloud)
    cloud.fault("*", "html", status=500)
    google.exchange(cloud, token)
    assert cloud.last("gsts").parameters["subject_token"] == token
    bearer = google.access_token(cloud)
    cloud.fault("iamcredentials", "cut")
    with pytest.raises((OSError, HTTPException)):
        google.impersonate(cloud, bearer, lifetime="77s")
    assert cloud.last("iamcredentials").parameters["lifetime"] == "77s"
    assert cloud.last("iamcredentials").headers["authorization"] == f"Bearer {bearer}"


@pytest.mark.parametrize(
    ("where", "kind"),
    [("gsts", "invalid_grant/none"), ("gsts", "Throttling"), ("gmetadata", "expire-null"), ("imds", "invalid_grant"),
     ("iamcredentials", "expires-null"), ("metadata", "html")],
)  # fmt: skip
def test_a_fault_that_could_never_strike(cloud: Cloud, where: str, kind: str) -> None:
    """A misspelt fault is an error of the test, not a test that passes."""
    with pytest.raises(ValueError, match=r"no service|neither a kind"):
        cloud.fault(where, kind)
    with pytest.raises(ValueError, match="no setting"):
        cloud.configure(imds_hop=1)
