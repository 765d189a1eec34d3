"""AWS STS: AssumeRoleWithWebIdentity, AssumeRole for a second hop, GetCallerIdentity to ask who one has become.

Sources: the STS API reference; `aws.md`, section 3.1, for codes and statuses. Two things are stricter than AWS on
purpose: AssumeRoleWithWebIdentity is refused by GET (a token in a URL ends up in logs) and when signed (signing means
that the caller had credentials to sign with, which no caller here should).
"""

from __future__ import annotations

import re
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
from cloud.sts_input import validated

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud.iam import Principal
    from cloud.jwks import KeySets
    from cloud.records import Request
    from cloud.world import Provider, Role, Session, World

VERSION = "2011-06-15"
NAMESPACE = f"https://sts.amazonaws.com/doc/{VERSION}/"
ASSUME = "AssumeRoleWithWebIdentity"
LONGEST_CHAINED_S = 3600
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
# A signature's faults have other names here than in the JSON services; the rest is SignatureDoesNotMatch.
_SIGNATURE_FAULTS = {
    "MissingAuthenticationTokenException": "MissingAuthenticationToken",
    "UnrecognizedClientException": "InvalidClientTokenId",
    "ExpiredTokenException": "ExpiredToken",
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
        action = {
            ASSUME: self._assume,
            "AssumeRole": self._assume_further,
            "GetCallerIdentity": self._identity,
        }.get(request.operation)
        if action is None or request.parameters.get("Version") != VERSION:
            raise Refused("InvalidAction", f"Could not find operation {request.operation} for version "
                          f"{request.parameters.get('Version', 'NO_VERSION_SPECIFIED')}")  # fmt: skip
        result = action(request)
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
        duration_s = validated(ASSUME, parameters)
        policy_text = parameters.get("Policy")
        policy, packed = self._session_policy(policy_text)
        role = self.world.roles.get(parameters["RoleArn"])
        account = parameters["RoleArn"].split(":")[4]
        try:
            provider, claims = self._identify(parameters["WebIdentityToken"], account)
        except TokenFault as fault:
            raise Refused(*_FAULTS[type(fault)]) from fault
        self._check_region(request, parameters["RoleArn"])
        if role is None or not _trusted(role, provider, claims):
            raise Refused("AccessDenied")
        if duration_s > role.max_session_s:
            raise Refused(
                "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role."
            )
        audience = _audiences(claims)[0]
        session = self.world.begin(
            role, parameters["RoleSessionName"], self._now() + duration_s,
            session_policy=policy, policy_text=policy_text, subject=claims["sub"], audience=audience,
        )  # fmt: skip
        request.principal = session.arn
        result = {
            "Credentials": credentials(session),
            "SubjectFromWebIdentityToken": session.subject,
            "AssumedRoleUser": {"AssumedRoleId": f"{role.unique_id}:{session.name}", "Arn": session.arn},
            "Provider": provider.arn,
            "Audience": audience,
        }
        return result if policy is None else result | {"PackedPolicySize": packed}

    def _assume_further(self, request: Request) -> dict[str, Any]:
        """AssumeRole: a session takes a further role, for an hour at most."""
        parameters = request.parameters
        caller = self._caller(request)
        duration_s = validated("AssumeRole", parameters)
        policy_text = parameters.get("Policy")
        policy, packed = self._session_policy(policy_text)
        arn, name = parameters["RoleArn"], parameters["RoleSessionName"]
        self._check_region(request, arn)
        denied = f"User: {caller.session_arn} is not authorized to perform: sts:AssumeRole on resource: {arn}"
        role = self.world.roles.get(arn)
        if role is None:
            raise Refused("AccessDenied", denied)
        context = {"sts:RoleSessionName": [name], "aws:PrincipalArn": [caller.role_arn]}
        if "ExternalId" in parameters:
            context["sts:ExternalId"] = [parameters["ExternalId"]]
        if caller.refused("sts:AssumeRole", arn, role.trust, role.account, context=context, trust=True):
            raise Refused("AccessDenied", denied)
        if duration_s > min(LONGEST_CHAINED_S, role.max_session_s):
            raise Refused("ValidationError", "The requested DurationSeconds exceeds the 1 hour session limit for roles "
                          "assumed by role chaining")  # fmt: skip
        session = self.world.begin(role, name, self._now() + duration_s, session_policy=policy, policy_text=policy_text)
        result: dict[str, Any] = {
            "Credentials": credentials(session),
            "AssumedRoleUser": {"AssumedRoleId": f"{role.unique_id}:{session.name}", "Arn": session.arn},
        }
        return result if policy is None else result | {"PackedPolicySize": packed}

    def _check_region(self, request: Request, role_arn: str) -> None:
        """Whether STS is active in the region that was asked, for the role's account and partition."""
        _, partition, _, _, account, _ = role_arn.split(":", 5)
        if request.region in self.world.disabled_regions:
            raise Refused("RegionDisabledException", f"STS is not activated in this region for account:{account}")
        if request.region and partition_of(request.region) != partition:
            raise Refused("AccessDenied")

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
        caller = self._caller(request)
        role = self.world.roles[caller.role_arn]
        name = caller.session_arn.rpartition("/")[2]
        return {"Arn": caller.session_arn, "UserId": f"{role.unique_id}:{name}", "Account": role.account}

    def _caller(self, request: Request) -> Principal:
        """Who signed."""
        try:
            session = verified(self.world, request, "sts", request.region, self._now())
        except Refused as refused:
            code = _SIGNATURE_FAULTS.get(refused.code, "SignatureDoesNotMatch")
            raise Refused(code, refused.message) from refused
        request.principal = session.arn
        caller = self.world.principal(session)
        if caller is None:
            raise Refused("InvalidClientTokenId")
        return caller


def credentials(session: Session) -> dict[str, str]:
    """A session's credentials, as STS shows them."""
    return {
        "AccessKeyId": session.access_key,
        "SecretAccessKey": session.secret_key,
        "SessionToken": session.token,
        "Expiration": timestamp(session.expires_s),
    }


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
