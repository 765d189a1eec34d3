"""How a cloud comes by an issuer's keys and verifies a token with them: over HTTP, as the real ones do.

Keys are kept until a token names one that is not among them, or `forget` is called. What goes wrong is a `TokenFault`;
each service has its own code for it.
"""

from __future__ import annotations

import http.client
import json
import threading
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import jwt

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Sequence

    from jwt.types import Options

ALGORITHMS = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"]
ANSWER_LIMIT_BYTES = 1024 * 1024
_UNCHECKED: Options = {
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    "verify_aud": False,
    "verify_iss": False,
    "verify_sub": False,
    "verify_jti": False,
}


class TokenFault(Exception):  # noqa: N818 - it becomes an answer
    """What is wrong with a token, or with asking for the key to verify it."""


class NotAToken(TokenFault):
    """It is not a JWT."""


class IssuerUnreachable(TokenFault):
    """The issuer can't be asked, or answers nonsense."""


class OtherIssuer(TokenFault):
    """The discovery document is another issuer's."""


class NoSuchKey(TokenFault):
    """The issuer has no key of the name that the token's header has."""


class NotVerified(TokenFault):
    """The signature is wrong, or of an algorithm that is not accepted."""


class KeySets:
    """The key sets of issuers, fetched by discovery."""

    def __init__(self, context: Callable[[], ssl.SSLContext], timeout_s: float = 5.0) -> None:
        """Fetch with the client context that `context` makes, each request within `timeout_s`."""
        self._context = context
        self._timeout_s = timeout_s
        self._keys: dict[str, dict[str, jwt.PyJWK]] = {}
        self._lock = threading.Lock()

    def forget(self) -> None:
        """Fetch anew at the next token."""
        with self._lock:
            self._keys.clear()

    def key(self, issuer: str, kid: object) -> jwt.PyJWK:
        """The issuer's key called `kid`.

        Raises:
            TokenFault: IssuerUnreachable, OtherIssuer or NoSuchKey.
        """
        with self._lock:
            keys = self._keys.get(issuer, {})
        if kid not in keys:
            keys = self._fetch(issuer)
            with self._lock:
                self._keys[issuer] = keys
        if not isinstance(kid, str) or kid not in keys:
            raise NoSuchKey
        return keys[kid]

    def _fetch(self, issuer: str) -> dict[str, jwt.PyJWK]:
        try:
            discovery = self._get(f"{issuer}/.well-known/openid-configuration")
            if discovery["issuer"] != issuer:
                raise OtherIssuer
            keys = jwt.PyJWKSet.from_dict(self._get(discovery["jwks_uri"])).keys
        except (
            OSError,
            http.client.HTTPException,
            ValueError,
            KeyError,
            TypeError,
            RecursionError,
            jwt.PyJWTError,
        ) as error:
            raise IssuerUnreachable from error
        return {key.key_id: key for key in keys if key.key_id and key.key_type in {"RSA", "EC"}}

    def _get(self, url: str) -> dict[str, Any]:
        """A JSON object by GET; no redirect is followed, no proxy asked."""
        parts = urlsplit(url)
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = http.client.HTTPSConnection(
                parts.netloc, timeout=self._timeout_s, context=self._context()
            )
        else:
            connection = http.client.HTTPConnection(parts.netloc, timeout=self._timeout_s)
        try:
            connection.request("GET", parts.path, headers={"Accept": "application/json", "Connection": "close"})
            response = connection.getresponse()
            body = response.read(ANSWER_LIMIT_BYTES)
            if response.status != http.client.OK:
                raise ValueError(f"{url} answered {response.status}")
            document = json.loads(body)
            if not isinstance(document, dict):
                raise TypeError(f"{url} answered no JSON object")
            return document
        finally:
            connection.close()


def unverified(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Header and claims of a token, nothing checked but its form.

    Raises:
        NotAToken: it is not a JWT.
    """
    try:
        decoded = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, TypeError, ValueError, RecursionError) as error:
        raise NotAToken from error
    return decoded["header"], decoded["payload"]


def verify(token: str, key: jwt.PyJWK, algorithms: Sequence[str] = ALGORITHMS) -> dict[str, Any]:
    """The claims, with the signature verified and nothing else.

    Raises:
        NotVerified: the signature is wrong or its algorithm is not one of `algorithms`.
    """
    try:
        claims: dict[str, Any] = jwt.decode(token, key, algorithms=list(algorithms), options=_UNCHECKED)
    except (jwt.PyJWTError, TypeError) as error:
        raise NotVerified from error
    return claims
