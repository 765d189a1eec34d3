"""AWS STS: AssumeRoleWithWebIdentity, and GetCallerIdentity to ask who one has become.

Sources: the STS API reference; `aws.md`, section 3.1, for codes and statuses. Two things are stricter than AWS on
purpose: AssumeRoleWithWebIdentity is refused by GET (a token in a URL ends up in logs) and when signed (signing means
that the caller had credentials to sign with, which no caller here should).
"""

from __future__ import annotations

import re
import secrets
import time
import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from cloud.answers import Answer, Refused, request_id
from cloud.hosts import partition_of
from cloud.iam import Policy, PolicyError
from cloud.jwks import IssuerUnreachable, NoSuchKey, NotAToken, NotVerified, OtherIssuer, TokenFault, unverified, verify
from cloud.sigv4 import verified
from cloud.world import Session, random_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud.jwks import KeySets
    from cloud.records import Request
    from cloud.world import Provider, Role, World

VERSION = "2011-06-15"
NAMESPACE = f"https://sts.amazonaws.com/doc/{VERSION}/"
ASSUME = "AssumeRoleWithWebIdentity"
LONGEST_SESSION_S = 43200
_PARAMETERS = {
    "Action", "Version", "RoleArn", "RoleSessionName", "WebIdentityToken", "Policy", "DurationSeconds",
}  # fmt: skip
_ROLE_ARN = re.compile(r"arn:(aws[a-z-]*):iam::(\d{12}):role/[\x21-\x7e]+")
# Not allowed in XML 1.0, even escaped; a refusal quotes what it refuses.
_NO_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_READ = "A claim of the ID Token has a type that it can't have"
_FAULTS: Mapping[type[TokenFault], tuple[str, str | None]] = {
    NotAToken: (
        "InvalidIdentityToken",
        "The ID Token provided is not a valid JWT. (You may see this error if you sent an Access Token)",
    ),
    IssuerUnreachable: ("IDPCommunicationError", None),
    OtherIssuer: ("InvalidIdentityToken", "the discovery document is another issuer's"),
    NoSuchKey: (
        "InvalidIdentityToken",
        "Couldn't retrieve verification key from your identity provider, please reference the documentation",
    ),
    NotVerified: ("InvalidIdentityToken", "The signature of the ID Token could not be verified"),
}
_POLICY_CHARACTERS = re.compile(r"[\x09\x0a\x0d\x20-\xff]+")

# parameter -> (shortest, longest, pattern)
_LIMITS = {
    "RoleArn": (20, 2048, r"[\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd]+"),
    "RoleSessionName": (2, 64, r"[\w+=,.@-]*"),
    "WebIdentityToken": (4, 20000, None),
}


def element(name: str, value: Any) -> str:
    """An XML element; a mapping becomes its children."""
    if isinstance(value, Mapping):
        return f"<{name}>" + "".join(element(child, content) for child, content in value.items()) + f"</{name}>"
    return f"<{name}>{escape(_NO_XML.sub('?', '' if value is None else str(value)))}</{name}>"


def timestamp(seconds: float) -> str:
    """A time as STS writes it."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


class Sts:
    """The security token service, of every region at once; the host that was asked says which."""

    name = "sts"
    errors: Mapping[str, tuple[int, str]] = {
        "ExpiredTokenException": (400, "Token expired"),
        "InvalidIdentityToken": (400, "The web identity token could not be validated."),
        "IDPRejectedClaim": (403, "The identity provider (IdP) reported that authentication failed."),
        "IDPCommunicationError": (400, "The identity provider (IdP) could not be reached."),
        "AccessDenied": (403, f"Not authorized to perform sts:{ASSUME}"),
        "PackedPolicyTooLarge": (400, "The total packed size of the session policies and session tags was too large."),
        "MalformedPolicyDocument": (400, "The policy document was malformed."),
        "RegionDisabledException": (403, "STS is not activated in this region for account"),
        "ValidationError": (400, "1 validation error detected"),
        "MalformedInput": (400, "The input could not be read."),
        "MissingAction": (400, "The request is missing an Action parameter."),
        "InvalidAction": (400, "Could not find operation"),
        "InvalidClientTokenId": (403, "The security token included in the request is invalid"),
        "MissingAuthenticationToken": (403, "Request is missing Authentication Token"),
        "SignatureDoesNotMatch": (403, "The request signature we calculated is not the one you provided."),
        "ExpiredToken": (403, "The security token included in the request is expired"),
        "Throttling": (400, "Rate exceeded"),
        "ThrottlingException": (429, "Rate exceeded"),
        "InternalFailure": (500, "An internal error occurred."),
        "ServiceUnavailable": (503, "Service is unable to handle request."),
    }

    def __init__(self, world: World, keys: KeySets, now: Callable[[], float]) -> None:
        """Make the service.

        Args:
            world: the accounts' contents.
            keys: the issuers' key sets.
            now: AWS's clock.
        """
        self.world = world
        self.keys = keys
        self._now = now
        # Real STS packs policies in a format of its own; compressed size is the nearest honest thing.
        self.packed_limit_bytes = 1024
        self.leeway_s = 0

    def operation(self, request: Request) -> str | None:
        """The action of the form, or of the query string."""
        form = request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
        if "x-amz-target" in request.headers or (request.method == "POST" and not form):
            return None
        text = request.body.decode("utf-8", "replace") if form else request.query
        parameters = dict(parse_qsl(text, keep_blank_values=True))
        if not form and "Action" not in parameters:
            return None
        request.parameters = parameters
        return parameters.get("Action", "none")

    def answer(self, request: Request) -> Answer:
        """Carry out the action."""
        if request.operation == "none":
            raise Refused("MissingAction")
        if request.operation not in {ASSUME, "GetCallerIdentity"} or request.parameters.get("Version") != VERSION:
            raise Refused("InvalidAction", f"Could not find operation {request.operation} for version "
                          f"{request.parameters.get('Version', 'NO_VERSION_SPECIFIED')}")  # fmt: skip
        result = self._assume(request) if request.operation == ASSUME else self._identity(request)
        rid = request_id()
        name = request.operation

        def render(document: Any) -> bytes:
            body = element(f"{name}Result", document) + element("ResponseMetadata", {"RequestId": rid})
            return f'<{name}Response xmlns="{NAMESPACE}">{body}</{name}Response>\n'.encode()

        return Answer(200, render(result), _headers(rid), document=result, render=render)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the query protocol."""
        rid = request_id()
        error = {"Type": "Sender" if status < 500 else "Receiver", "Code": code, "Message": message}
        body = element("Error", error) + element("RequestId", rid)
        return Answer(
            status, f'<ErrorResponse xmlns="{NAMESPACE}">{body}</ErrorResponse>\n'.encode(), _headers(rid), code
        )

    def _assume(self, request: Request) -> dict[str, Any]:
        if request.method != "POST":
            raise Refused("InvalidAction", f"{ASSUME} is taken by POST only")
        if "authorization" in request.headers or "X-Amz-Signature" in request.query:
            raise Refused("InvalidClientTokenId")
        parameters = request.parameters
        duration_s = _validated(parameters)
        policy_text = parameters.get("Policy")
        policy, packed = self._session_policy(policy_text)
        role = self.world.roles.get(parameters["RoleArn"])
        account = parameters["RoleArn"].split(":")[4]
        try:
            provider, claims = self._identify(parameters["WebIdentityToken"], account)
        except TokenFault as fault:
            raise Refused(*_FAULTS[type(fault)]) from fault
        if request.region in self.world.disabled_regions:
            raise Refused("RegionDisabledException", f"STS is not activated in this region for account:{account}")
        if role is None or not _trusted(role, provider, claims):
            raise Refused("AccessDenied")
        if request.region and partition_of(request.region) != role.partition:
            raise Refused("AccessDenied")
        if duration_s > role.max_session_s:
            raise Refused(
                "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        audience = _audiences(claims)[0]
        session = Session(
            random_id("ASIA"), secrets.token_urlsafe(30), secrets.token_urlsafe(480), self._now() + duration_s,
            role.arn, parameters["RoleSessionName"], policy, policy_text, claims["sub"], audience,
        )  # fmt: skip
        self.world.sessions[session.access_key] = session
        request.principal = session.arn
        result = {
            "Credentials": {
                "AccessKeyId": session.access_key,
                "SecretAccessKey": session.secret_key,
                "SessionToken": session.token,
                "Expiration": timestamp(session.expires_s),
            },
            "SubjectFromWebIdentityToken": session.subject,
            "AssumedRoleUser": {"AssumedRoleId": f"{role.unique_id}:{session.name}", "Arn": session.arn},
            "Provider": provider.arn,
            "Audience": audience,
        }
        return result if policy is None else result | {"PackedPolicySize": packed}

    def _session_policy(self, text: str | None) -> tuple[Policy | None, int]:
        """The session policy and how many per cent of the packed limit it takes."""
        if text is None:
            return None, 0
        try:
            policy = Policy.parse(text, kind="identity")
        except PolicyError as error:
            raise Refused("MalformedPolicyDocument", str(error)) from error
        percent = -(-100 * len(zlib.compress(text.encode())) // self.packed_limit_bytes)
        if percent > 100:
            raise Refused("PackedPolicyTooLarge", f"Packed size of session tags consumes {percent}% of allotted space.")
        return policy, percent

    def _identify(self, token: str, account: str) -> tuple[Provider, dict[str, Any]]:
        """The account's provider for the token's issuer, and the token's claims, verified."""
        header, claims = unverified(token)
        issuer = claims.get("iss")
        provider = self.world.providers.get((account, issuer)) if isinstance(issuer, str) else None
        if provider is None:
            raise Refused("InvalidIdentityToken", f"No OpenIDConnect provider found in your account for {issuer}")
        claims = verify(token, self.keys.key(provider.issuer, header.get("kid")))
        for name in ("sub", "aud", "exp", "iat"):
            if not claims.get(name):
                raise Refused("InvalidIdentityToken", f"Missing a required claim: {name}")
        if not isinstance(claims["sub"], str) or not _audiences(claims):
            raise Refused("InvalidIdentityToken", _NOT_READ)
        if not all(type(claims.get(name, 0)) is int for name in ("exp", "iat", "nbf")):
            raise Refused("InvalidIdentityToken", "The ID Token's timestamps must be integers")
        now_s = int(self._now())
        if now_s >= claims["exp"] + self.leeway_s:
            raise Refused("ExpiredTokenException", f"Token expired: current date/time {now_s} must be before the "
                          f"expiration date/time {claims['exp']}")  # fmt: skip
        if max(claims["iat"], claims.get("nbf", 0)) > now_s + self.leeway_s:
            raise Refused("InvalidIdentityToken", "The ID Token is not valid yet")
        if not set(_audiences(claims)) & set(provider.client_ids):
            raise Refused("InvalidIdentityToken", "Incorrect token audience")
        return provider, claims

    def _identity(self, request: Request) -> dict[str, Any]:
        names = {
            "MissingAuthenticationTokenException": "MissingAuthenticationToken",
            "UnrecognizedClientException": "InvalidClientTokenId",
            "ExpiredTokenException": "ExpiredToken",
        }
        try:
            session = verified(self.world, request, "sts", request.region, self._now())
        except Refused as refused:
            raise Refused(names.get(refused.code, "SignatureDoesNotMatch"), refused.message) from refused
        request.principal = session.arn
        role = self.world.roles.get(session.role_arn)
        if role is None:
            raise Refused("InvalidClientTokenId")
        return {"Arn": session.arn, "UserId": f"{role.unique_id}:{session.name}", "Account": role.account}


def _headers(rid: str) -> dict[str, str]:
    return {"Content-Type": "text/xml", "x-amzn-RequestId": rid}


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    audience = claims["aud"]
    items = audience if isinstance(audience, list) else [audience]
    return [item for item in items if isinstance(item, str)]


def _trusted(role: Role, provider: Provider, claims: Mapping[str, Any]) -> bool:
    """Whether the role's trust policy lets the token's bearer in."""
    host = provider.issuer.partition("://")[2]
    context = {f"{host}:aud": _audiences(claims), f"{host}:sub": [str(claims["sub"])]}
    naming = [s for s in role.trust.statements if provider.arn in s.principals.get("Federated", [])]
    return Policy(tuple(naming)).says(f"sts:{ASSUME}", "*", context) == "Allow"


def _validated(parameters: Mapping[str, str]) -> int:
    """Check the parameters' limits; the duration in seconds.

    Raises:
        Refused: ValidationError, naming every parameter that fails, as STS does.
    """
    failures = [f"{name} is not a parameter that the local cloud knows" for name in set(parameters) - _PARAMETERS]
    for name, (shortest, longest, pattern) in _LIMITS.items():
        failures += _failures(name, parameters.get(name), shortest, longest, pattern)
    if "Policy" in parameters:
        failures += _failures("Policy", parameters["Policy"], 1, 2048, _POLICY_CHARACTERS.pattern)
    duration = parameters.get("DurationSeconds", "3600")
    if not re.fullmatch(r"[0-9]{1,9}", duration):
        raise Refused("MalformedInput", "DurationSeconds is not a number")
    if int(duration) < 900:
        failures.append(f"{_value('DurationSeconds', duration)}: Member must have value greater than or equal to 900")
    if int(duration) > LONGEST_SESSION_S:
        failures.append(
            f"{_value('DurationSeconds', duration)}: Member must have value less than or equal to {LONGEST_SESSION_S}"
        )
    if failures:
        plural = "s" if len(failures) > 1 else ""
        raise Refused("ValidationError", f"{len(failures)} validation error{plural} detected: " + "; ".join(failures))
    if not _ROLE_ARN.fullmatch(parameters["RoleArn"]):
        raise Refused("ValidationError", f"{parameters['RoleArn']} is invalid")
    return int(duration)


def _value(name: str, value: str) -> str:
    return f"Value '{value}' at '{name[0].lower()}{name[1:]}' failed to satisfy constraint"


def _failures(name: str, value: str | None, shortest: int, longest: int, pattern: str | None) -> list[str]:
    if value is None:
        return [f"Value null at '{name[0].lower()}{name[1:]}' failed to satisfy constraint: Member must not be null"]
    # What a token is worth does not belong in an error, and STS does not show it either.
    shown = _value(name, "***" if name == "WebIdentityToken" else value)
    failures = []
    if len(value) < shortest:
        failures.append(f"{shown}: Member must have length greater than or equal to {shortest}")
    if len(value) > longest:
        failures.append(f"{shown}: Member must have length less than or equal to {longest}")
    if pattern is not None and not re.fullmatch(pattern, value, re.ASCII):
        failures.append(f"{shown}: Member must satisfy regular expression pattern: {pattern}")
    return failures
