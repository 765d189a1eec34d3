"""What tests of several kinds need: a clock they own, and tokens like the kubelet's.

Tokens are put together from bytes and signed by `cryptography` alone, so that a test can make the ones that no JWT
library would make, and so that the library under test does not write what it reads.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

NOW_S = 1_800_000_000.0
ISSUER = "https://oidc.example.test/c1"
AUDIENCE = "pull.ecr.test"
ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")

_CURVES: dict[str, ec.EllipticCurve] = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


class FakeClock:
    """A clock that stands still until somebody sleeps or advances it."""

    def __init__(self, now_s: float = NOW_S, monotonic_s: float = 1000.0) -> None:
        self._now_s = now_s
        self._monotonic_s = monotonic_s
        self.slept: list[float] = []

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return self._now_s

    def monotonic_s(self) -> float:
        """Seconds that only sleeping and advancing move."""
        return self._monotonic_s

    def sleep(self, duration_s: float) -> None:
        """Note the wait and let it pass at once."""
        self.slept.append(duration_s)
        self.advance(duration_s)

    def advance(self, duration_s: float) -> None:
        """Let time pass."""
        self._now_s += duration_s
        self._monotonic_s += duration_s

    def jump(self, duration_s: float) -> None:
        """Set the clock forward or back; what measures waits does not notice."""
        self._now_s += duration_s


@cache
def private_key(alg: str) -> rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey:
    """The key for an algorithm, made once: one RSA key for all of RS*, one per curve for ES*."""
    if alg.startswith("RS"):
        return _rsa_key()
    return ec.generate_private_key(_CURVES[alg])


@cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def make_claims(
    *,
    issuer: str = ISSUER,
    audience: str = AUDIENCE,
    namespace: str = "team-a",
    service_account: str = "web",
    now_s: float = NOW_S,
    life_s: float = 3600,
) -> dict[str, Any]:
    """The claims of a pod-bound service-account token, with every claim that a current API server writes."""
    return {
        "aud": [audience],
        "exp": int(now_s + life_s),
        "iat": int(now_s),
        "iss": issuer,
        "jti": "5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10",
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": "0d4f3c8e-34a1-4a8f-9a41-9d1f2c7c2a11"},
            "pod": {"name": f"{service_account}-7c9d", "uid": "3b0c2ad1-6a0a-4f7c-8d64-0d3e0a5b9c22"},
            "serviceaccount": {"name": service_account, "uid": "c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33"},
        },
        "nbf": int(now_s),
        "sub": f"system:serviceaccount:{namespace}:{service_account}",
    }


def make_token(
    claims: Mapping[str, Any] | None = None, *, alg: str = "ES256", header: Mapping[str, Any] | None = None
) -> str:
    """A signed token.

    Args:
        claims: its whole payload; `make_claims()` when not given.
        alg: one of `ALGORITHMS`; decides the key.
        header: laid over the usual header, so that it may lie about `alg` and `kid`.
    """
    head = {"alg": alg, "kid": f"key-{alg}"} | dict(header or {})
    body = make_claims() if claims is None else claims
    return sign(json.dumps(head).encode(), json.dumps(body).encode(), alg)


def sign(header: bytes, payload: bytes, alg: str = "ES256") -> str:
    """A token of exactly these bytes, whatever they are."""
    message = f"{base64url(header)}.{base64url(payload)}"
    key, digest = private_key(alg), _HASHES[alg[2:]]
    if isinstance(key, rsa.RSAPrivateKey):
        signature = key.sign(message.encode(), padding.PKCS1v15(), digest)
    else:
        size = (key.curve.key_size + 7) // 8
        r, s = decode_dss_signature(key.sign(message.encode(), ec.ECDSA(digest)))
        signature = r.to_bytes(size, "big") + s.to_bytes(size, "big")
    return f"{message}.{base64url(signature)}"


def base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def public_jwk(alg: str = "ES256") -> dict[str, Any]:
    """The public half of `private_key(alg)` as an API server publishes it."""
    public = private_key(alg).public_key()
    jwk = {"use": "sig", "kid": f"key-{alg}", "alg": alg}
    if isinstance(public, rsa.RSAPublicKey):
        numbers = public.public_numbers()
        return jwk | {"kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
    size, point = (public.curve.key_size + 7) // 8, public.public_numbers()
    curve = {256: "P-256", 384: "P-384", 521: "P-521"}[public.curve.key_size]
    return jwk | {"kty": "EC", "crv": curve, "x": _number(point.x, size), "y": _number(point.y, size)}


def _number(value: int, size: int | None = None) -> str:
    return base64url(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))
