"""How Google's STS judges a subject token, and whom it becomes: issuer, key, signature, claims, mapping, condition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloud.answers import Refused
from cloud.gcp.cel import EvaluationError
from cloud.gcp.world import mapped
from cloud.jwks import IssuerUnreachable, NoSuchKey, NotAToken, NotVerified, OtherIssuer, TokenFault, unverified, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import jwt

    from cloud.gcp.iam import Identity
    from cloud.gcp.world import Pool, Provider
    from cloud.jwks import KeySets

ALGORITHMS = ("RS256", "ES256")
LONGEST_TOKEN_S = 3600
OLDEST_SUBJECT_S = 24 * 3600
SUBJECT_LIMIT_BYTES = 127
ATTRIBUTES_LIMIT_BYTES = 8192
_FAULTS: Mapping[type[TokenFault], str] = {
    NotAToken: "invalid_grant/parse",
    IssuerUnreachable: "invalid_grant/connect",
    OtherIssuer: "invalid_grant/issuer",
    NoSuchKey: "invalid_grant/key",
    NotVerified: "invalid_grant/signature",
}


class Subjects:
    """Judges subject tokens."""

    def __init__(self, keys: KeySets, now: Callable[[], float]) -> None:
        """Judge by the clock `now`, with keys from `keys` where none were uploaded."""
        self.keys = keys
        self.leeway_s = 0
        self._now = now

    def become(self, token: str, pool: Pool, provider: Provider) -> tuple[Identity, int]:
        """The principal that the token's bearer is, and when the token ends, in seconds since the epoch.

        Raises:
            Refused: the token is not good for this provider.
        """
        try:
            claims = self._verified(token, provider)
        except TokenFault as fault:
            raise Refused(_FAULTS[type(fault)]) from fault
        self._check_audience(claims, pool, provider)
        self._check_times(claims)
        values = _values(claims, provider)
        if provider.condition is not None:
            scope = {"assertion": claims, **_mapped_scope(values)}
            try:
                accepted = provider.condition.value(scope)
            except EvaluationError:
                accepted = False
            if accepted is not True:
                raise Refused("unauthorized_client")
        return mapped(pool, values), claims["exp"]

    def _verified(self, token: str, provider: Provider) -> dict[str, Any]:
        """The claims, with issuer, algorithm, key and signature checked."""
        header, claims = unverified(token)
        if claims.get("iss") != provider.issuer:
            raise Refused("invalid_grant/issuer", f"The issuer in ID Token {claims.get('iss')} does not match the "
                          f"expected ones: {provider.issuer}")  # fmt: skip
        if header.get("alg") not in ALGORITHMS:
            raise Refused("invalid_grant/alg")
        return verify(token, self._key(header.get("kid"), provider), ALGORITHMS)

    def _key(self, kid: object, provider: Provider) -> jwt.PyJWK:
        if provider.keys is None:
            return self.keys.key(provider.issuer, kid)
        if not isinstance(kid, str) or kid not in provider.keys:
            # Google's guide for attached clusters warns of this text for uploaded keys that have been rotated away,
            # although nobody connects to anything then.
            raise IssuerUnreachable
        return provider.keys[kid]

    def _check_audience(self, claims: Mapping[str, Any], pool: Pool, provider: Provider) -> None:
        audience = claims.get("aud")
        given = audience if isinstance(audience, list) else [audience]
        own = f"//iam.googleapis.com/{pool.name}/providers/{provider.name}"
        expected = provider.audiences or [own, f"https:{own}"]
        if not any(isinstance(item, str) and item in expected for item in given):
            shown = ", ".join(map(str, given))
            raise Refused("invalid_grant/audience",
                          f"The audience in ID Token [{shown}] does not match the expected audience.")  # fmt: skip

    def _check_times(self, claims: Mapping[str, Any]) -> None:
        for name in ("exp", "iat"):
            if type(claims.get(name)) is not int:
                raise Refused("invalid_grant/claim", f"The ID Token has no integer claim {name}.")
        now_s = int(self._now())
        if now_s >= claims["exp"] + self.leeway_s:
            raise Refused("invalid_grant/expired", f"The ID Token expired at {claims['exp']}.")
        before = claims.get("nbf", claims["iat"])
        if type(before) is not int or max(claims["iat"], before) > now_s + self.leeway_s:
            raise Refused("invalid_grant/future", f"The ID Token is issued in the future: {claims['iat']}.")
        if now_s - claims["iat"] > OLDEST_SUBJECT_S:
            raise Refused("invalid_grant/stale", f"ID Token issued at {claims['iat']} is stale to sign-in.")


def _values(claims: Mapping[str, Any], provider: Provider) -> dict[str, Any]:
    """The mapped attributes, with their types and sizes checked."""
    if not isinstance(claims.get("sub"), str):
        raise Refused("invalid_grant/claim", "The ID Token has no claim sub.")
    values: dict[str, Any] = {}
    for name, expression in provider.mapping.items():
        try:
            value = expression.value({"assertion": claims})
        except EvaluationError as error:
            if name != "google.subject":
                # An attribute that the token has nothing for is left out, and no binding can name it.
                continue
            raise Refused("invalid_grant/mapping", f"The attribute mapping of {name} failed: {error}") from error
        if not _is_of_type(name, value):
            raise Refused("invalid_grant/mapping", f"Mapped attribute {name} must be of type "
                          + ("LIST of STRING" if name == "google.groups" else "STRING"))  # fmt: skip
        values[name] = value
    if not values["google.subject"]:
        raise Refused("invalid_grant/mapping", "Mapped attribute google.subject must not be empty")
    if len(values["google.subject"].encode("utf-8", "surrogatepass")) > SUBJECT_LIMIT_BYTES:
        raise Refused("invalid_request/subject")
    total = sum(len(item.encode("utf-8", "surrogatepass")) for value in values.values()
                for item in (value if isinstance(value, list) else [value]))  # fmt: skip
    if total > ATTRIBUTES_LIMIT_BYTES:
        raise Refused("invalid_request/attributes")
    return values


def _is_of_type(name: str, value: object) -> bool:
    if name == "google.groups":
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return isinstance(value, str)


def _mapped_scope(values: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    scope: dict[str, dict[str, Any]] = {"google": {}, "attribute": {}}
    for name, value in values.items():
        kind, _, key = name.partition(".")
        scope[kind][key] = value
    return scope
