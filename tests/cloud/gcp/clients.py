"""Clients of Google's half by the standard library, for tests that need a token without going through the program."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cloud.clients import Reply, request
from cloud.gcp.sts import ACCESS_TOKEN, GRANT_TYPE, SUBJECT_TYPES
from cloud.gcp.world import CLOUD_SCOPE, GOOGLE_AUDIENCE, IAM_SCOPE, PULL_ACCOUNT, provider_name

if TYPE_CHECKING:
    from cloud.local import Cloud

FORM = "application/x-www-form-urlencoded"


def subject_token(cloud: Cloud, namespace: str = "team-b", account: str = "web", **options: Any) -> str:
    """A token for Google of a cluster's service account; `options` are those of `Cloud.mint_token`."""
    return cloud.mint_token(namespace, account, **({"audience": GOOGLE_AUDIENCE} | options))


def fields(token: str, **changes: str | None) -> dict[str, str]:
    """The parameters of an exchange; None leaves one out."""
    whole: dict[str, str | None] = {
        "grant_type": GRANT_TYPE,
        "audience": provider_name(),
        "scope": CLOUD_SCOPE,
        "requested_token_type": ACCESS_TOKEN,
        "subject_token": token,
        "subject_token_type": SUBJECT_TYPES[0],
    }
    return {name: value for name, value in (whole | changes).items() if value is not None}


def exchange(cloud: Cloud, token: str | None = None, **changes: str | None) -> Reply:
    """What STS answers to the form, some of whose parameters are changed or left out."""
    form = fields(subject_token(cloud) if token is None else token, **changes)
    return request(f"{cloud.endpoints.gsts}/v1/token", "POST", urlencode(form).encode(), {"Content-Type": FORM})


def access_token(cloud: Cloud, token: str | None = None, **changes: str | None) -> str:
    """The access token that STS gives.

    Raises:
        AssertionError: it gives none.
    """
    reply = exchange(cloud, token, **changes)
    assert reply.status == 200, reply
    return str(json.loads(reply.body)["access_token"])


def impersonate(cloud: Cloud, bearer: str, email: str = PULL_ACCOUNT, **changes: Any) -> Reply:
    """What IAM Credentials answers to `bearer`; `changes` are of the JSON document, None leaves a field out."""
    whole = {"scope": [CLOUD_SCOPE], "lifetime": "3600s"} | changes
    document = {name: value for name, value in whole.items() if value is not None}
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
    url = f"{cloud.endpoints.iamcredentials}/v1/projects/-/serviceAccounts/{email}:generateAccessToken"
    return request(url, "POST", json.dumps(document).encode(), headers)


def account_token(cloud: Cloud, token: str | None = None, email: str = PULL_ACCOUNT, **changes: Any) -> str:
    """The access token of a service account, by way of STS.

    Raises:
        AssertionError: one of the two refuses.
    """
    reply = impersonate(cloud, access_token(cloud, token, scope=IAM_SCOPE), email, **changes)
    assert reply.status == 200, reply
    return str(json.loads(reply.body)["accessToken"])


def pull(
    cloud: Cloud, path: str, access: str | None, *, user: str = "oauth2accesstoken", host: str | None = None
) -> Reply:
    """A request below /v2/ of Artifact Registry, with Basic authentication or none, under any host name."""
    headers = {"Host": host} if host else {}
    if access is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{access}".encode()).decode()
    return request(f"http://{cloud.endpoints.artifact}/v2/{path}", headers=headers)


def oauth_error(reply: Reply) -> tuple[int, str, str]:
    """Status, code and description of STS's own form of an error."""
    document = json.loads(reply.body)
    return reply.status, document["error"], document["error_description"]


def status_error(reply: Reply) -> tuple[int, str, str]:
    """Status, its name and the message of Google's common form of an error."""
    error = json.loads(reply.body)["error"]
    assert error["code"] == reply.status
    return reply.status, error["status"], error["message"]
