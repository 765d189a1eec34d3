"""Independent clients of the local cloud: boto3 for AWS's API, the standard library for everything else.

For tests of the cloud itself, and for those that need a session or a password without going through the program.
boto3 is imported only when one of its clients is made.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import json
import ssl
from http.client import HTTPConnection, HTTPSConnection
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from cloud.world import REGION, role_arn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from cloud.local import Cloud

TIMEOUT_S = 10


class Reply(NamedTuple):
    """An HTTP answer; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


def request(
    url: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    ca_file: str | None = None,
) -> Reply:
    """One request on a connection of its own; nothing is followed, no proxy is asked."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=TIMEOUT_S)
    if parts.scheme == "https":
        context = ssl.create_default_context(cafile=ca_file)
        connection = HTTPSConnection(parts.netloc, timeout=TIMEOUT_S, context=context)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    try:
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, response.read())
    finally:
        connection.close()


@functools.cache
def _session() -> Any:
    """One session for all clients: what costs is loading the descriptions of the services."""
    import boto3  # noqa: PLC0415 - a test may use the rest of this module without it

    return boto3.Session()


@contextlib.contextmanager
def client(service: str, url: str | None, region: str = REGION, **options: Any) -> Iterator[Any]:
    """A boto3 client that asks once and reads no configuration but this.

    Args:
        service: `sts` or `ecr`.
        url: the endpoint; None for AWS's own name (through a proxy, then).
        region: the region.
        options: of `botocore.config.Config`; besides them `verify` and `credentials` (as STS answers them; unsigned
            without).
    """
    from botocore import UNSIGNED  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    verify, signer = options.pop("verify", None), options.pop("credentials", None)
    keys = {}
    if signer is None:
        options["signature_version"] = UNSIGNED
    else:
        keys = {
            "aws_access_key_id": signer["AccessKeyId"],
            "aws_secret_access_key": signer["SecretAccessKey"],
            "aws_session_token": signer["SessionToken"],
        }
    defaults: dict[str, Any] = {"retries": {"total_max_attempts": 1}, "proxies": {}, "read_timeout": TIMEOUT_S}
    config = Config(**(defaults | options))
    made = _session().client(
        service,
        region_name=region,
        endpoint_url=url,
        verify=verify,
        config=config,
        **keys,
    )
    try:
        yield made
    finally:
        made.close()


def assume(cloud: Cloud, role: str = "pull-team-a", token: str | None = None, **parameters: Any) -> dict[str, Any]:
    """What STS answers to AssumeRoleWithWebIdentity.

    Raises:
        ClientError: it refuses.
    """
    with client("sts", cloud.endpoints.sts) as sts:
        answer: dict[str, Any] = sts.assume_role_with_web_identity(
            **{
                "RoleArn": role if role.startswith("arn:") else role_arn(role),
                "RoleSessionName": "prod-1.team-a.web",
                "WebIdentityToken": cloud.mint_token() if token is None else token,
            }
            | parameters
        )
        return answer


def authorization(cloud: Cloud, signer: Mapping[str, str], **options: Any) -> dict[str, Any]:
    """ECR's answer to GetAuthorizationToken, signed with the credentials `signer`.

    Args:
        cloud: whom to ask.
        signer: as STS answers them.
        options: `region`; else parameters, such as `registryIds`.

    Raises:
        ClientError: it refuses.
    """
    region = options.pop("region", REGION)
    with client("ecr", cloud.endpoints.ecr, region, credentials=signer) as ecr:
        answer: dict[str, Any] = ecr.get_authorization_token(**options)
        return answer


def password(cloud: Cloud, role: str = "pull-team-a", token: str | None = None, **parameters: Any) -> str:
    """`AWS:PASSWORD` for a role's session, `parameters` being STS's."""
    signer = assume(cloud, role, token, **parameters)["Credentials"]
    data = authorization(cloud, signer)["authorizationData"][0]
    return base64.b64decode(data["authorizationToken"]).decode()


def pull(cloud: Cloud, path: str, login: str | None, method: str = "GET", host: str | None = None) -> Reply:
    """A request to the registry below /v2/, as `login` (USER:PASSWORD) or nobody, under any host name."""
    headers = {"Host": host} if host else {}
    if login is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
    return request(f"http://{cloud.endpoints.registry}/v2/{path}", method, headers=headers)


def credentials(cloud: Cloud, **changes: str) -> dict[str, str]:
    """A session's credentials as STS answers them, some of them changed."""
    answered: dict[str, str] = assume(cloud)["Credentials"]
    return answered | changes


def policy(*statements: Mapping[str, Any]) -> str:
    """A policy document of these statements."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def refused(call: Callable[[], object]) -> tuple[str, int, str]:
    """Code, status and message with which AWS's client says that it was refused.

    Raises:
        AssertionError: it was not.
    """
    from botocore.exceptions import ClientError  # noqa: PLC0415

    try:
        call()
    except ClientError as error:
        response = error.response
        return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]
    raise AssertionError("the cloud did not refuse")
