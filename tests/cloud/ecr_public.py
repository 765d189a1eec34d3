"""Amazon ECR Public: GetAuthorizationToken, and the registry behind `public.ecr.aws`.

The API is in us-east-1 of partition `aws` only. It wants two permissions: its own, and `sts:GetServiceBearerToken`, for
which the condition key `sts:AWSServiceName` is set. The registry lets everybody pull, with a registry token from its
`/token/` for nobody or for who has a password; a password that is no good is refused all the same. Sources: `aws.md`,
section 3.3; the ECR Public API reference and user guide.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl

from cloud import distribution
from cloud.answers import Answer, Refused
from cloud.ecr import UNREADABLE, json_headers, json_parameters, json_refusal, login, opaque, render
from cloud.sigv4 import verified
from cloud.world import Password

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.records import Request
    from cloud.world import World

PREFIX = "SpencerFrontendService."
REGION = "us-east-1"
ACTIONS = ("ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken")
TOKEN_LIFE_S = 3600


class EcrPublic:
    """The API."""

    name = "ecr-public"
    errors: Mapping[str, tuple[int, str]] = {
        "ServerException": (500, "The service encountered an internal server error."),
        "InvalidParameterException": (400, "Invalid parameter"),
        "UnsupportedCommandException": (400, "The action isn't supported in this Region."),
        "AccessDeniedException": (400, f"User is not authorized to perform: {ACTIONS[0]} on resource: *"),
        "UnrecognizedClientException": (400, "The security token included in the request is invalid."),
        "ExpiredTokenException": (400, "The security token included in the request is expired"),
        "InvalidSignatureException": (400, "The request signature we calculated is not the one you provided."),
        "IncompleteSignatureException": (400, "Authorization header requires 'Credential' and the rest."),
        "MissingAuthenticationTokenException": (400, "Missing Authentication Token"),
        "ThrottlingException": (400, "Rate exceeded"),
        "UnknownOperationException": (400, "The operation is not known"),
        "SerializationException": (400, "Start of structure or map found where not expected."),
        "InternalFailure": (500, "An internal error occurred."),
        "ServiceUnavailableException": (503, "Service is unable to handle request."),
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
        """Issue a password to whoever signed."""
        if request.method != "POST" or request.operation != "GetAuthorizationToken":
            raise Refused("UnknownOperationException")
        session = verified(self.world, request, self.name, request.region, self._now())
        request.principal = session.arn
        if UNREADABLE in request.parameters:
            raise Refused("SerializationException")
        if request.parameters:
            raise Refused("InvalidParameterException", "GetAuthorizationToken takes no parameters")
        if request.region != REGION:
            raise Refused("UnsupportedCommandException")
        principal = self.world.principal(session)
        if principal is None:
            raise Refused("UnrecognizedClientException")
        context = {"sts:AWSServiceName": ["ecr-public.amazonaws.com"]}
        for action in ACTIONS:
            why = principal.refused(action, "*", None, principal.account, context=context)
            if why:
                denied = f"User: {session.arn} is not authorized to perform: {action} on resource: * {why}"
                raise Refused("AccessDeniedException", denied)
        expires_s = self._now() + self.password_life_s
        password = opaque(expires_s)
        self.world.public_passwords[password] = Password(password, session, REGION, expires_s)
        document = {"authorizationData": {"authorizationToken": login(password), "expiresAt": round(expires_s, 3)}}
        return Answer(200, render(document), json_headers(), document=document, render=render)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the JSON protocol."""
        return json_refusal(code, status, message)


class PublicRegistry:
    """The registry. Its content is the same under both names."""

    name = "public"
    errors: Mapping[str, tuple[int, str]] = {
        "UNAUTHORIZED": (401, "Not Authorized"),
        "DENIED": (403, "Your authorization token has expired. Reauthenticate and try again."),
        "NAME_UNKNOWN": (404, "The repository does not exist in the registry"),
        "MANIFEST_UNKNOWN": (404, "Requested image not found"),
        "BLOB_UNKNOWN": (404, "Layer not found"),
        "UNSUPPORTED": (405, "The operation is unsupported."),
        "TOOMANYREQUESTS": (429, "Rate exceeded"),
        "UNKNOWN": (500, "An internal error occurred"),
        "UNAVAILABLE": (503, "Service unavailable"),
    }

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        """Serve `world` by the clock `now`."""
        self.world = world
        self._now = now
        self._tokens: dict[str, tuple[str, float]] = {}

    def operation(self, request: Request) -> str | None:
        """`ping`, `token`, `manifest`, `blob`, `tags`, or `other` below /v2/."""
        if self.name not in request.named:
            return None
        if request.path in {"/token", "/token/"} and request.method == "GET":
            request.parameters = dict(parse_qsl(request.query))
            return "token"
        return distribution.operation(request)

    def answer(self, request: Request) -> Answer:
        """Serve one request of a pull, or give out a registry token."""
        if request.operation == "other":
            raise Refused("UNSUPPORTED")
        if request.operation == "token":
            return self._give(request)
        token = distribution.bearer(request)
        if token is None:
            request.principal = self._basic(request)
        else:
            request.principal, ends_s = self._tokens.get(token, ("", 0.0))
            if self._now() >= ends_s:
                raise Refused("UNAUTHORIZED")
        if request.operation == "ping":
            return distribution.answer(200, b"{}")
        store = self.world.public_repositories.get(request.parameters["repository"])
        if store is None:
            raise Refused("NAME_UNKNOWN")
        return distribution.content(request, store)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the distribution API; with 401 comes the challenge."""
        at = request.headers.get("host", request.host)
        realm = f"{'https' if request.tls else 'http'}://{at}/token/"
        return distribution.refusal(code, status, message, f'Bearer realm="{realm}",service="{at}",scope="aws"')

    def _give(self, request: Request) -> Answer:
        principal = self._basic(request) if "authorization" in request.headers else "anonymous"
        request.principal = principal
        token = secrets.token_urlsafe(300)
        self._tokens[token] = (principal, self._now() + TOKEN_LIFE_S)
        return distribution.answer(200, json.dumps({"token": token, "expires_in": TOKEN_LIFE_S}).encode())

    def _basic(self, request: Request) -> str:
        """Who has the password that is shown; nobody has none."""
        user, secret = distribution.basic(request) or ("", "")
        password = self.world.public_passwords.get(secret)
        if user != "AWS" or password is None:
            raise Refused("UNAUTHORIZED")
        if self._now() >= password.expires_s:
            raise Refused("DENIED")
        return password.session.arn
