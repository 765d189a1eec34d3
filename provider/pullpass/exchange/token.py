"""The second look at a token, by a JWT library, just before it is sent: the home of PyJWT.

Rules:

* The claims must be those that the light reader (`pullpass.identity`) saw. Two readers that see two service accounts in
  one token are how a token is turned into another's credential.
* With keys (`node.jwks`) the signature is verified here as well. Which algorithms a key verifies is decided by the key:
  an RSA key never verifies ES256, and a symmetric key (`oct`) is no key at all (RFC 8725, sections 2.1 and 3.1).
* The library's own checks of time are switched off, because it asks the machine's clock; `identity.check_times` is used
  instead, with the run's.
* An exception of the library stops here, and its text is not passed on: it may quote the token.
"""

from __future__ import annotations

import jwt  # noqa: TID253 - this module itself is loaded only before an exchange

from pullpass import identity
from pullpass.errors import PullpassError, outside
from pullpass.store import files, strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from jwt.types import Options

    from pullpass.identity import Subject
    from pullpass.secret import Secret

LIMIT_BYTES = 1 << 20
# (key type, curve) -> what such a key may verify
KEY_ALGORITHMS = {
    ("RSA", None): ("RS256", "RS384", "RS512"),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-384"): ("ES384",),
    ("EC", "P-521"): ("ES512",),
}
_ALGORITHMS = sorted(identity.ALGORITHMS)
_OPTIONS: Options = {
    "require": ["exp", "iat", "iss", "sub", "aud"],
    # Without a signature check the library drops all others too, unless they are named.
    "verify_aud": True,
    "verify_iss": True,
    "verify_sub": True,
    "verify_jti": True,
    "verify_exp": False,
    "verify_nbf": False,
    "verify_iat": False,
    # A short key is an error: the library's default is a warning, on stderr.
    "enforce_minimum_key_length": True,
}


def verify(token: Secret, subject: Subject, audience: str, jwks_path: str, now_s: float) -> None:
    """Read the token in full, and verify its signature where the operator gave keys.

    Args:
        token: the token.
        subject: what the light reader made of it.
        audience: what it must be for.
        jwks_path: a JWK set (RFC 7517), or "" to leave signatures to the cloud.
        now_s: the time, seconds since the epoch.

    Raises:
        PullpassError: `token-readers-disagree`, `token-signature`, `token-audience`, `token-expired`,
            `token-not-yet-valid` (3); `jwks-file`, `jwks-keys` (2).
    """
    text = token.reveal()
    try:
        options: Options = {**_OPTIONS, "verify_signature": bool(jwks_path)}
        key = _key_for(jwt.get_unverified_header(text), jwks_path) if jwks_path else ""
        payload = jwt.decode(
            text, key, algorithms=_ALGORITHMS, options=options, audience=audience, issuer=subject.issuer
        )
    # "from None": the library's texts may quote the token.
    except jwt.InvalidSignatureError:
        raise PullpassError("token-signature", "the signature is not that of the key it names") from None
    except jwt.InvalidKeyError:
        raise _bad_keys(jwks_path, "has a key that is shorter than its algorithm needs") from None
    except jwt.InvalidAudienceError:
        raise PullpassError("token-audience", f"the token is not for the audience {audience}") from None
    except (jwt.PyJWTError, TypeError, ValueError) as error:
        raise PullpassError(
            "token-readers-disagree", f"a second reader refuses the token ({type(error).__name__})"
        ) from None
    if identity.subject_of(payload) != subject:
        raise PullpassError("token-readers-disagree", "two readers see different claims in the token")
    identity.check_times(payload, now_s)


def _key_for(header: dict[str, Any], path: str) -> jwt.PyJWK:
    """The key that the token names, bound to the token's algorithm if the key is one for it."""
    kid, algorithm = header.get("kid"), str(header.get("alg"))
    named = [key for key in _read_keys(path) if key["kid"] == kid]
    if not named:
        shown = "no key" if kid is None else f"the key {outside(kid, 128)}"
        raise PullpassError("token-signature", f"the token names {shown}, and {outside(path)} has no such key")
    fitting = [key for key in named if algorithm in _algorithms(key)]
    if not fitting:
        raise PullpassError(
            "token-signature", f"the token says {outside(algorithm, 64)}, its key in {outside(path)} is for another"
        )
    try:
        return jwt.PyJWK(fitting[0], algorithm)
    except (jwt.PyJWTError, TypeError, ValueError, KeyError):
        raise _bad_keys(path, f"has a damaged key {outside(fitting[0]['kid'], 128)}") from None


def _read_keys(path: str) -> list[dict[str, Any]]:
    """The keys of a JWK set that can verify a token."""
    try:
        raw, status = files.read_regular(path, LIMIT_BYTES, follow=True)
    except OSError as error:
        raise PullpassError("jwks-file", f"{outside(path)} can't be read: {error.strerror}") from None
    files.check_trusted(path, status, "jwks-file")  # whoever can write this file can sign tokens
    try:
        document = strict.parse(raw)
    except strict.DocumentError as error:
        raise _bad_keys(path, error.what) from None
    keys = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(keys, list):
        raise _bad_keys(path, "has no array `keys`")
    usable = [key for key in keys if isinstance(key, dict) and isinstance(key.get("kid"), str) and _algorithms(key)]
    if not usable:
        raise _bad_keys(path, "has no RSA or elliptic-curve signature key with a kid")
    return usable


def _algorithms(key: dict[str, Any]) -> tuple[str, ...]:
    """What this JWK may verify: nothing, unless it is a public key for signatures."""
    if key.get("use", "sig") != "sig" or "d" in key:
        return ()
    kind = (key.get("kty"), key.get("crv"))  # compared, not looked up: from outside it may be anything, unhashable too
    possible = next((algorithms for each, algorithms in KEY_ALGORITHMS.items() if each == kind), ())
    return tuple(algorithm for algorithm in possible if key.get("alg", algorithm) == algorithm)


def _bad_keys(path: str, why: str) -> PullpassError:
    return PullpassError("jwks-keys", f"{outside(path)} {why}")
