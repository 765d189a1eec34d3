"""Google's IAM Credentials API: generateAccessToken, which makes a service account's token for who may impersonate it.

Sources: the API's discovery document; `gcp.md`, sections 2.2 and 2.5.
"""

from __future__ import annotations

import contextlib
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from cloud.answers import Answer, Refused
from cloud.gcp import answers
from cloud.gcp.iam import IMPERSONATE, service_account
from cloud.gcp.world import CLOUD_SCOPE, IAM_SCOPE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.gcp.world import AccessToken, GoogleWorld
    from cloud.records import Request

DEFAULT_LIFE_S = 3600
LONGEST_LIFE_S = 43200
_PATH = re.compile(r"/v1/projects/(?P<project>[^/]+)/serviceAccounts/(?P<email>[^/:]+):(?P<method>[A-Za-z]+)")
_LIFETIME = re.compile(r"([0-9]{1,9})(?:\.[0-9]{1,9})?s")
_SCOPE = re.compile(r"https://www\.googleapis\.com/auth/[a-z._-]+")
_FIELDS = {"scope", "lifetime", "delegates"}


class IamCredentials:
    """The service that impersonates."""

    name = "iamcredentials"
    errors: Mapping[str, tuple[int, str]] = {
        **answers.STATUSES,
        "PERMISSION_DENIED": (403, f"Permission '{IMPERSONATE}' denied on resource (or it may not exist)."),
        "SERVICE_DISABLED": (
            403,
            "IAM Service Account Credentials API has not been used in project 123 before or it is disabled.",
        ),
    }

    def __init__(self, world: GoogleWorld, now: Callable[[], float]) -> None:
        """Serve `world` by the clock `now`."""
        self.world = world
        self._now = now

    def operation(self, request: Request) -> str | None:
        """The method of a service account; `other` where only this service can be meant."""
        match = _PATH.fullmatch(request.path)
        if match:
            with contextlib.suppress(Refused):
                request.parameters = answers.json_object(request)
            request.parameters["email"] = unquote(match["email"])
            return match["method"]
        return "other" if "iamcredentials" in request.named else None

    def answer(self, request: Request) -> Answer:
        """Make a token."""
        if request.method != "POST" or request.operation != "generateAccessToken":
            raise Refused("NOT_FOUND")
        match = _PATH.fullmatch(request.path)
        if match is None or match["project"] != "-":
            raise Refused("INVALID_ARGUMENT", "The project must be the wildcard '-'.")
        email = request.parameters["email"]
        document = answers.json_object(request)
        caller = self._caller(request)
        scopes, life_s = _checked(document)
        account = self.world.accounts.get(email)
        if "iamcredentials" in self.world.disabled_apis:
            raise Refused("SERVICE_DISABLED")
        if account is None or not account.policy.allows(IMPERSONATE, caller.identity):
            raise Refused("PERMISSION_DENIED")
        if account.disabled:
            raise Refused("FAILED_PRECONDITION", "The service account is disabled.")
        if life_s > account.longest_token_s:
            raise Refused(
                "INVALID_ARGUMENT", f"The access token lifetime cannot exceed {account.longest_token_s} seconds."
            )
        expires_s = int(self._now()) + life_s
        token = self.world.issue(service_account(email), scopes, expires_s, caller.identity.name)
        return answers.success({
            "accessToken": token.token, "expireTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(expires_s)),
        })  # fmt: skip

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of Google's form."""
        return answers.status_error(code, status, message, "iamcredentials")

    def _caller(self, request: Request) -> AccessToken:
        """Who asks; the bearer of a token whose scope is wide enough."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        caller = self.world.access(token, self._now()) if scheme.lower() == "bearer" else None
        if caller is None:
            raise Refused("UNAUTHENTICATED")
        request.principal = caller.identity.name
        if caller.scopes.isdisjoint({IAM_SCOPE, CLOUD_SCOPE}):
            raise Refused("ACCESS_TOKEN_SCOPE_INSUFFICIENT")
        return caller


def _checked(document: Mapping[str, Any]) -> tuple[list[str], int]:
    """Scopes and life of the token that is asked for."""
    unknown = set(document) - _FIELDS
    if unknown:
        raise Refused("INVALID_ARGUMENT", f'Invalid JSON payload received. Unknown name "{min(unknown)}".')
    scopes = document.get("scope")
    if (
        not isinstance(scopes, list)
        or not scopes
        or not all(isinstance(s, str) and _SCOPE.fullmatch(s) for s in scopes)
    ):
        raise Refused("INVALID_ARGUMENT", "The scope must be a list of OAuth scopes.")
    if document.get("delegates"):
        raise Refused("INVALID_ARGUMENT", "delegates: not implemented by the local cloud")
    lifetime = document.get("lifetime", f"{DEFAULT_LIFE_S}s")
    match = _LIFETIME.fullmatch(lifetime) if isinstance(lifetime, str) else None
    if match is None:
        raise Refused("INVALID_ARGUMENT", "Invalid value at 'lifetime' (type.googleapis.com/google.protobuf.Duration)")
    life_s = int(match[1])
    if not 0 < life_s <= LONGEST_LIFE_S:
        raise Refused("INVALID_ARGUMENT", f"The access token lifetime must be between 1 and {LONGEST_LIFE_S} seconds.")
    return scopes, life_s
