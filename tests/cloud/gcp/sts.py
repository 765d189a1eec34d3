"""Google's STS: one method, which turns a cluster's token into an access token of a workload identity pool.

Sources: the API's discovery document; RFC 8693; `gcp.md`, sections 2.1 to 2.5. The form of RFC 8693 is taken, and JSON
in both spellings (`grant_type`, `grantType`). An `Authorization` header is refused, as the API's description threatens.
Stricter than Google on purpose: an unknown or repeated parameter is refused, since it can only be a mistake.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from cloud.answers import Answer, Refused
from cloud.gcp import answers
from cloud.gcp.subject import LONGEST_TOKEN_S, Subjects

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.gcp.world import GoogleWorld, Pool, Provider
    from cloud.jwks import KeySets
    from cloud.records import Request

GRANT_TYPE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
SUBJECT_TYPES = ("urn:ietf:params:oauth:token-type:jwt", "urn:ietf:params:oauth:token-type:id_token")
_FIELDS = (
    "grant_type", "audience", "scope", "requested_token_type", "subject_token", "subject_token_type", "options",
)  # fmt: skip
_CAMEL = {re.sub("_(.)", lambda match: match[1].upper(), name): name for name in _FIELDS}
_PROVIDER = re.compile(
    r"//iam\.googleapis\.com/(projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9-]{4,32})"
    r"/providers/([a-z0-9-]{4,32})"
)
_NAMESPACE = re.compile(r"identitynamespace:([a-z0-9-]+\.svc\.id\.goog):(https://.+)")
_SCOPE = re.compile(r"https://www\.googleapis\.com/auth/[a-z._-]+")


# A code of OAuth's; after the slash, which of its meanings. Texts: as users and Google's documentation report them.
_NO_TARGET = (
    'The target service indicated by the "audience" parameters is invalid. This might either be because the pool or '
    "provider is disabled or deleted or because it doesn't exist."
)
_LONG_SUBJECT = (
    "The size of mapped attribute google.subject exceeds the 127 bytes limit. Either modify your attribute mapping or "
    "the incoming assertion to produce a mapped attribute that is less than 127 bytes."
)
_NO_AUDIENCE = 'Invalid value for "audience". This value should be the full resource name of the Identity Provider.'
_OAUTH_ERRORS = {
    "invalid_request": "The request could not be read.",
    "invalid_request/audience": _NO_AUDIENCE,
    "invalid_request/subject": _LONG_SUBJECT,
    "invalid_request/attributes": "The total size of the mapped attributes exceeds the 8192 bytes limit.",
    "invalid_target": _NO_TARGET,
    "invalid_grant": "The given credential can't be used.",
    "invalid_grant/parse": "Unable to parse the ID Token.",
    "invalid_grant/alg": "The algorithm of the ID Token is not one of RS256, ES256.",
    "invalid_grant/connect": "Error connecting to the given credential's issuer.",
    "invalid_grant/issuer": "The issuer in ID Token does not match the expected ones.",
    "invalid_grant/audience": "The audience in ID Token does not match the expected audience.",
    "invalid_grant/claim": "A required claim of the ID Token is missing or has the wrong type.",
    "invalid_grant/expired": "The ID Token is expired.",
    "invalid_grant/stale": "ID Token issued at 1700000000 is stale to sign-in.",
    "invalid_grant/future": "The ID Token is issued in the future.",
    "invalid_grant/key": "The ID Token's key ID matches no key of the issuer.",
    "invalid_grant/signature": "Invalid signature of the ID Token.",
    "invalid_grant/mapping": "The attribute mapping could not be evaluated.",
    "unauthorized_client": "The given credential is rejected by the attribute condition.",
    "unsupported_grant_type": "The grant type is not supported.",
    "invalid_scope": "Invalid OAuth scopes were specified.",
}


class GoogleSts:
    """The security token service, of every region and universe at once."""

    name = "gsts"
    errors: Mapping[str, tuple[int, str]] = {
        **{code: (400, text) for code, text in _OAUTH_ERRORS.items()},
        "invalid_client": (401, "The client's credentials are invalid."),
        "access_denied": (403, "The exchange is not allowed."),
        **answers.STATUSES,
    }

    def __init__(self, world: GoogleWorld, keys: KeySets, now: Callable[[], float]) -> None:
        """Serve `world` by the clock `now`, with the issuers' keys from `keys`."""
        self.world = world
        self.subjects = Subjects(keys, now)
        self._now = now

    def operation(self, request: Request) -> str | None:
        """`token`, or `other` where only this service can be meant."""
        if request.path == "/v1/token" and request.method == "POST":
            with contextlib.suppress(Refused):
                request.parameters = dict(_fields(request))
            return "token"
        return "other" if "gsts" in request.named else None

    def answer(self, request: Request) -> Answer:
        """Exchange a token."""
        if request.operation == "other":
            raise Refused("NOT_FOUND")
        if "authorization" in request.headers:
            raise Refused("UNAUTHENTICATED")
        fields = _fields(request)
        scopes = _checked(fields)
        if "sts" in self.world.disabled_apis:
            raise Refused("SERVICE_DISABLED", "Security Token Service API has not been used in the project before or "
                          "it is disabled.")  # fmt: skip
        pool, provider = self._target(fields["audience"])
        identity, ends_s = self.subjects.become(fields["subject_token"], pool, provider)
        now_s = int(self._now())
        # A leeway lets in what has just ended; nothing is issued that is dead at once.
        expires_s = max(now_s + 1, min(now_s + LONGEST_TOKEN_S, ends_s))
        token = self.world.issue(identity, scopes, expires_s, f"sts for {provider.issuer}")
        request.principal = identity.name
        return answers.success({
            "access_token": token.token,
            "issued_token_type": ACCESS_TOKEN,
            "token_type": "Bearer",
            "expires_in": int(token.expires_s) - now_s,
        })  # fmt: skip

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of OAuth's form; one of the front end's in Google's."""
        if code in answers.STATUSES:
            return answers.status_error(code, status, message, "sts")
        return answers.oauth_error(code.partition("/")[0], status, message)

    def _target(self, audience: str) -> tuple[Pool, Provider]:
        """The pool and the provider that the audience names."""
        if match := _PROVIDER.fullmatch(audience):
            pool = self.world.pools.get(match[1])
        elif match := _NAMESPACE.fullmatch(audience):
            pool = next((each for name, each in self.world.pools.items() if name.endswith(f"/{match[1]}")), None)
        else:
            raise Refused("invalid_request/audience")
        provider = pool.providers.get(match[2]) if pool else None
        if pool is None or not pool.alive or provider is None or provider.disabled:
            raise Refused("invalid_target")
        return pool, provider


def _fields(request: Request) -> dict[str, str]:
    """The parameters under RFC 8693's names, from whatever form they came in."""
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type == "application/x-www-form-urlencoded":
        pairs: list[tuple[str, Any]] = list(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        names = {name: name for name in _FIELDS}
    elif content_type == "application/json":
        answers.json_object(request)
        # Read again as pairs: a repeated name would be lost in a mapping.
        pairs = json.loads(request.body, object_pairs_hook=list)
        names = {name: name for name in _FIELDS} | _CAMEL
    else:
        raise Refused("INVALID_ARGUMENT", f"The content type {content_type!r} can't be read.")
    fields: dict[str, str] = {}
    for name, value in pairs:
        known = names.get(name)
        if known is None:
            raise Refused("INVALID_ARGUMENT", f'Invalid payload received. Unknown name "{name}": Cannot find field.')
        if known in fields:
            raise Refused("invalid_request", f"The parameter {known} is there more than once.")
        if not isinstance(value, str):
            raise Refused("INVALID_ARGUMENT", f"Invalid value at '{name}' (TYPE_STRING)")
        fields[known] = value
    return fields


def _checked(fields: Mapping[str, str]) -> list[str]:
    """Check what does not need the world; returns the scopes."""
    for name in ("grant_type", "audience", "subject_token", "subject_token_type", "requested_token_type"):
        if not fields.get(name):
            raise Refused("invalid_request", f"Missing required parameter: {name}")
    if fields["grant_type"] != GRANT_TYPE:
        raise Refused("unsupported_grant_type")
    if fields["requested_token_type"] != ACCESS_TOKEN:
        raise Refused("invalid_request", "Invalid value for requested_token_type.")
    if fields["subject_token_type"] not in SUBJECT_TYPES:
        raise Refused("invalid_request", "Invalid value for subject_token_type.")
    if not fields.get("scope"):
        raise Refused("invalid_scope", "Scope is required for external credentials.")
    scopes = fields["scope"].split(" ")
    if not all(_SCOPE.fullmatch(scope) for scope in scopes):
        raise Refused("invalid_scope")
    if "options" in fields:
        raise Refused("invalid_request", "options: not implemented by the local cloud")
    return scopes
