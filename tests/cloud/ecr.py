"""Amazon ECR's API: GetAuthorizationToken, JSON 1.1 over a signed POST (`aws.md`, section 3.2)."""

from __future__ import annotations

import base64
import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from cloud.answers import Answer, Refused, request_id
from cloud.hosts import registry_host
from cloud.sigv4 import verified
from cloud.world import Password

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.records import Request
    from cloud.world import World

PREFIX = "AmazonEC2ContainerRegistry_V20150921."
UNREADABLE = "(not a JSON object)"
ACTION = "ecr:GetAuthorizationToken"
_ACCOUNT = re.compile(r"\d{12}")


class Ecr:
    """The registry's API, of every region at once; the host or the signature says which."""

    name = "ecr"
    errors: Mapping[str, tuple[int, str]] = {
        "ServerException": (500, "The service encountered an internal server error."),
        "InvalidParameterException": (400, "Invalid parameter at 'registryIds' failed to satisfy constraint"),
        "AccessDeniedException": (400, f"User is not authorized to perform: {ACTION} on resource: *"),
        "UnrecognizedClientException": (400, "The security token included in the request is invalid."),
        "ExpiredTokenException": (400, "The security token included in the request is expired"),
        "InvalidSignatureException": (400, "The request signature we calculated is not the one you provided."),
        "IncompleteSignatureException": (400, "Authorization header requires 'Credential' and the rest."),
        "MissingAuthenticationTokenException": (400, "Missing Authentication Token"),
        "ThrottlingException": (400, "Rate exceeded"),
        "ThrottleException": (429, "Rate exceeded"),
        "UnknownOperationException": (400, "The operation is not known"),
        "SerializationException": (400, "Start of structure or map found where not expected."),
        "InternalFailure": (500, "An internal error occurred."),
        "ServiceUnavailableException": (503, "Service is unable to handle request."),
        "OptInRequired": (403, "The AWS Access Key Id needs a subscription for the service"),
    }

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        """Serve `world` by the clock `now`."""
        self.world = world
        self._now = now
        self.password_life_s = 12 * 3600

    def operation(self, request: Request) -> str | None:
        """The target's operation."""
        target = request.headers.get("x-amz-target", "")
        if not target.startswith(PREFIX):
            return None
        request.parameters = json_parameters(request)
        return target.removeprefix(PREFIX)

    def answer(self, request: Request) -> Answer:
        """Issue a registry password to whoever signed."""
        if request.method != "POST" or request.operation != "GetAuthorizationToken":
            raise Refused("UnknownOperationException")
        session = verified(self.world, request, "ecr", request.region, self._now())
        request.principal = session.arn
        if UNREADABLE in request.parameters:
            raise Refused("SerializationException")
        principal = self.world.principal(session)
        if principal is None:
            raise Refused("UnrecognizedClientException")
        why = principal.refused(ACTION, "*", None, principal.account)
        if why:
            raise Refused(
                "AccessDeniedException",
                f"User: {session.arn} is not authorized to perform: {ACTION} on resource: * {why}",
            )
        accounts = request.parameters.get("registryIds") or [principal.account]
        if not isinstance(accounts, list) or len(accounts) > 10 or not all(_is_account(item) for item in accounts):
            raise Refused("InvalidParameterException")
        region = str(request.region)
        expires_s = self._now() + self.password_life_s
        password = opaque(expires_s)
        self.world.passwords[password] = Password(password, session, region, expires_s)
        token = login(password)
        document = {
            "authorizationData": [
                {
                    "authorizationToken": token,
                    "expiresAt": round(expires_s, 3),
                    "proxyEndpoint": f"https://{registry_host(account, region)}",
                }
                for account in accounts
            ]
        }
        return Answer(200, render(document), json_headers(), document=document, render=render)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the JSON protocol."""
        return json_refusal(code, status, message)


def _is_account(item: object) -> bool:
    return isinstance(item, str) and _ACCOUNT.fullmatch(item) is not None


def json_parameters(request: Request) -> dict[str, Any]:
    """The body's JSON object; under `UNREADABLE` a mark when it is none."""
    try:
        parameters = json.loads(request.body)
    except (ValueError, RecursionError):
        parameters = None
    return parameters if isinstance(parameters, dict) else {UNREADABLE: True}


def json_headers() -> dict[str, str]:
    """The headers of AWS's JSON protocol."""
    return {"Content-Type": "application/x-amz-json-1.1", "x-amzn-RequestId": request_id()}


def json_refusal(code: str, status: int, message: str) -> Answer:
    """An error of AWS's JSON protocol."""
    return Answer(status, render({"__type": code, "message": message}), json_headers(), code)


def render(document: Any) -> bytes:
    """A document of AWS's JSON protocol."""
    return json.dumps(document).encode()


def login(password: str) -> str:
    """The authorization token: user and password in base64."""
    return base64.b64encode(f"AWS:{password}".encode()).decode()


def opaque(expires_s: float) -> str:
    """A password of the form and size of a real one: base64 of JSON, opaque to its bearer."""
    content = {
        "payload": base64.b64encode(secrets.token_bytes(900)).decode(),
        "datakey": base64.b64encode(secrets.token_bytes(180)).decode(),
        "version": "2",
        "type": "DATA_KEY",
        "expiration": int(expires_s),
    }
    return base64.b64encode(json.dumps(content).encode()).decode()
