"""The local cloud as Google: impersonation by IAM Credentials, each rule seen to refuse."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloud.clients import request
from cloud.gcp.clients import (
    access_token,
    account_token,
    impersonate,
    pull,
    status_error,
    subject_token,
)
from cloud.gcp.world import CLOUD_SCOPE, IAM_SCOPE, PULL_ACCOUNT, principal_set

if TYPE_CHECKING:
    from cloud import Cloud

READ_ONLY = "https://www.googleapis.com/auth/cloud-platform.read-only"


@pytest.mark.parametrize(
    ("changes", "life_s"),
    [({}, 3600), ({"lifetime": "900s"}, 900), ({"lifetime": "1.5s"}, 1), ({"lifetime": None}, 3600),
     ({"delegates": []}, 3600)],
)  # fmt: skip
def test_the_life_of_an_accounts_token(cloud: Cloud, changes: dict[str, Any], life_s: int) -> None:
    """An hour, or what is asked for; the answer says when it ends in whole seconds."""
    document = json.loads(impersonate(cloud, access_token(cloud), **changes).body)
    issued = cloud.google.tokens[document["accessToken"]]
    assert abs(issued.expires_s - cloud.now() - life_s) < 2
    assert len(document["expireTime"]) == len("2026-01-01T00:00:00Z")
    assert issued.scopes == {CLOUD_SCOPE}


@pytest.mark.parametrize(
    "changes",
    [
        {"lifetime": "3601s"}, {"lifetime": "0s"}, {"lifetime": "-5s"}, {"lifetime": "3600"}, {"lifetime": 3600},
        {"lifetime": "43201s"}, {"lifetime": "1h"}, {"scope": None}, {"scope": []}, {"scope": CLOUD_SCOPE},
        {"scope": ["cloud-platform"]}, {"scope": [7]}, {"delegates": ["projects/-/serviceAccounts/x"]}, {"more": "x"},
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_asked_of_iamcredentials(cloud: Cloud, changes: dict[str, Any]) -> None:
    """Lifetime, scope and the rest of the document are checked."""
    before = access_token(cloud)
    assert status_error(impersonate(cloud, before, **changes))[:2] == (400, "INVALID_ARGUMENT")
    assert list(cloud.google.tokens) == [before]


def test_a_body_that_is_no_json(cloud: Cloud) -> None:
    """The content type must say JSON, and the body be an object."""
    url = f"{cloud.endpoints.iamcredentials}/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}:generateAccessToken"
    bearer = {"Authorization": f"Bearer {access_token(cloud)}"}
    good = json.dumps({"scope": [CLOUD_SCOPE]}).encode()
    for body, content_type in ((good, "text/plain"), (b"[]", "application/json"), (b"{", "application/json")):
        reply = request(url, "POST", body, {"Content-Type": content_type, **bearer})
        assert status_error(reply)[:2] == (400, "INVALID_ARGUMENT")
    assert request(url, "POST", good, {"Content-Type": "application/json", **bearer}).status == 200


def test_a_longer_life_by_policy(cloud: Cloud) -> None:
    """Twelve hours, for accounts that the organisation's policy lists."""
    cloud.set_service_account(PULL_ACCOUNT, longest_token_s=43200)
    assert impersonate(cloud, access_token(cloud), lifetime="43200s").status == 200
    assert impersonate(cloud, access_token(cloud), lifetime="43201s").status == 400
    for longest_token_s in (3599, 43201):
        with pytest.raises(ValueError, match="3600 to 43200 seconds"):
            cloud.set_service_account(PULL_ACCOUNT, longest_token_s=longest_token_s)


def test_who_may_impersonate(cloud: Cloud) -> None:
    """The binding is on the account; a missing account and a missing binding can't be told apart."""
    other = access_token(cloud, subject_token(cloud, "team-a", "web"))
    refusals = [impersonate(cloud, other), impersonate(cloud, other, "nobody@proj.iam.gserviceaccount.com")]
    message = "Permission 'iam.serviceAccounts.getAccessToken' denied on resource (or it may not exist)."
    assert {status_error(reply) for reply in refusals} == {(403, "PERMISSION_DENIED", message)}
    cloud.set_service_account(PULL_ACCOUNT, impersonators=[principal_set("ns", "team-a")])
    assert impersonate(cloud, other).status == 200
    assert impersonate(cloud, access_token(cloud)).status == 403
    chained = account_token(cloud, subject_token(cloud, "team-a", "web"))
    cloud.set_service_account("second@proj.iam.gserviceaccount.com", impersonators=[f"serviceAccount:{PULL_ACCOUNT}"])
    assert impersonate(cloud, chained, "second@proj.iam.gserviceaccount.com").status == 200


def test_a_disabled_and_a_deleted_account(cloud: Cloud) -> None:
    """Neither can be impersonated, and their tokens open nothing."""
    token = account_token(cloud)
    cloud.set_service_account(PULL_ACCOUNT, disabled=True)
    assert status_error(impersonate(cloud, access_token(cloud)))[:2] == (400, "FAILED_PRECONDITION")
    assert pull(cloud, "proj/team-b/web/manifests/v1", token).status == 401
    cloud.set_service_account(PULL_ACCOUNT, disabled=False)
    assert pull(cloud, "proj/team-b/web/manifests/v1", token).status == 200
    cloud.remove_service_account(PULL_ACCOUNT)
    assert pull(cloud, "proj/team-b/web/manifests/v1", token).status == 401
    assert impersonate(cloud, access_token(cloud)).status == 403


def test_the_bearer_of_a_narrow_scope(cloud: Cloud) -> None:
    """The scope `iam` is enough to impersonate and not to pull; a read-only one is not enough to impersonate."""
    narrow = access_token(cloud, scope=IAM_SCOPE)
    assert impersonate(cloud, narrow).status == 200
    assert pull(cloud, "proj/team-b/web/manifests/v1", narrow).status == 403
    reply = impersonate(cloud, access_token(cloud, scope=READ_ONLY))
    assert status_error(reply)[:2] == (403, "PERMISSION_DENIED")
    assert json.loads(reply.body)["error"]["details"][0]["reason"] == "ACCESS_TOKEN_SCOPE_INSUFFICIENT"


def test_no_bearer(cloud: Cloud) -> None:
    """A missing, unknown or expired token is 401 with a challenge."""
    token = access_token(cloud, subject_token(cloud, lifetime_s=60))
    for bearer in ("", "ya29.unknown", subject_token(cloud)):
        reply = impersonate(cloud, bearer)
        assert status_error(reply)[:2] == (401, "UNAUTHENTICATED")
        assert reply.headers["www-authenticate"].startswith("Bearer ")
    assert impersonate(cloud, token).status == 200
    cloud.configure(skew_s=61)
    assert impersonate(cloud, token).status == 401


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", f"/v1/projects/proj/serviceAccounts/{PULL_ACCOUNT}:generateAccessToken", 400),
        ("POST", f"/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}:generateIdToken", 404),
        ("GET", f"/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}:generateAccessToken", 404),
        ("GET", f"/v1/projects/-/serviceAccounts/{PULL_ACCOUNT}/allowedLocations", 404),
    ],
)
def test_other_requests_to_iamcredentials(cloud: Cloud, method: str, path: str, status: int) -> None:
    """There is one method, on an account of any project; what else is asked is on record."""
    headers = {"Host": "iamcredentials.googleapis.com", "Authorization": f"Bearer {access_token(cloud)}",
               "Content-Type": "application/json"}  # fmt: skip
    reply = request(f"{cloud.endpoints.iamcredentials}{path}", method, b"{}", headers)
    assert reply.status == status
    assert cloud.last().service == "iamcredentials"


def test_an_escaped_address(cloud: Cloud) -> None:
    """The address may be percent-encoded."""
    assert impersonate(cloud, access_token(cloud), PULL_ACCOUNT.replace("@", "%40")).status == 200
    assert cloud.last("iamcredentials").parameters["email"] == PULL_ACCOUNT


@pytest.mark.parametrize(
    "members",
    [["team-b"], ["user:someone@example.com"], ["principal://iam.googleapis.com/projects/proj/x"], "allUsers"],
)
def test_members_that_no_policy_could_name(cloud: Cloud, members: Any) -> None:
    """A misspelt member is an error of the test, not a test that passes."""
    with pytest.raises(ValueError, match=r"no member|must be a list"):
        cloud.set_artifacts("team-b", bindings={"roles/artifactregistry.reader": members})
    with pytest.raises(ValueError, match="none of"):
        cloud.set_artifacts("team-b", bindings={"roles/viewer": []})
