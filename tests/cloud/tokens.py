"""An OIDC issuer's keys, and the service-account tokens that a kube-apiserver would sign with them.

A right token has the claims of a pod-bound token as kube-apiserver 1.32 and later makes it. Everything about it can be
made wrong, because the tokens that matter most in tests are those that must be refused.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_UIDS = uuid.UUID("6f2d3c2e-0b8a-4a57-9c56-2d3f0c9b7a11")


ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}
# RFC 7518, section 3.4
_CURVES: dict[str, tuple[str, ec.EllipticCurve]] = {
    "ES256": ("P-256", ec.SECP256R1()),
    "ES384": ("P-384", ec.SECP384R1()),
    "ES512": ("P-521", ec.SECP521R1()),
}


def _bytes_of(key: ec.EllipticCurvePrivateKey) -> int:
    """The length of a coordinate."""
    return -(-key.curve.key_size // 8)


def uid(*names: str) -> str:
    """The UID of a Kubernetes object of the local world: always the same for the same names."""
    return str(uuid.uuid5(_UIDS, "/".join(names)))


def b64url(data: bytes) -> str:
    """Base64 of the URL alphabet without padding, as in JWTs (RFC 7515, section 2)."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _number(value: int, length: int) -> str:
    return b64url(value.to_bytes(length, "big"))


@dataclass
class SigningKey:
    """A private key with its algorithm and id."""

    alg: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    kid: str

    @classmethod
    def make(cls, alg: str) -> SigningKey:
        """Make a key for one of `ALGORITHMS`; its id is a hash of the public key, as in kube-apiserver."""
        private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        if alg not in ALGORITHMS:
            raise ValueError(f"no key is made for {alg!r}")
        if alg in _CURVES:
            private = ec.generate_private_key(_CURVES[alg][1])
        else:
            private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = private.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        return cls(alg, private, b64url(hashlib.sha256(public).digest()))

    def sign(self, data: bytes) -> bytes:
        """Sign as RFC 7518 says."""
        hashing = _HASHES[self.alg[2:]]
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashing)
        r, s = decode_dss_signature(self.private.sign(data, ec.ECDSA(hashing)))
        size = _bytes_of(self.private)
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    def public_pem(self) -> bytes:
        """The public key in PEM: the secret of the classic confusion of algorithms."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )

    def jwk(self) -> dict[str, str]:
        """The public key as a JWK."""
        common = {"use": "sig", "kid": self.kid, "alg": self.alg}
        if isinstance(self.private, rsa.RSAPrivateKey):
            rsa_numbers = self.private.public_key().public_numbers()
            return common | {"kty": "RSA", "n": _number(rsa_numbers.n, 256), "e": _number(rsa_numbers.e, 3)}
        numbers, size = self.private.public_key().public_numbers(), _bytes_of(self.private)
        curve = {"kty": "EC", "crv": _CURVES[self.alg][0]}
        return common | curve | {"x": _number(numbers.x, size), "y": _number(numbers.y, size)}


class Issuer:
    """A cluster's token issuer: its URL and its keys, made when first needed."""

    def __init__(self, url: str) -> None:
        """Make an issuer whose `iss` claim is `url`."""
        self.url = url
        self.rotated = False
        self._keys: dict[str, SigningKey] = {}
        self._old: list[SigningKey] = []
        self._strangers: dict[str, SigningKey] = {}

    def key(self, alg: str) -> SigningKey:
        """The present key for `alg`."""
        if alg not in self._keys:
            self._keys[alg] = SigningKey.make(alg)
        return self._keys[alg]

    def stranger(self, alg: str) -> SigningKey:
        """A key that was never published, with the id of the present one."""
        if alg not in self._strangers:
            self._strangers[alg] = SigningKey.make(alg)
        return SigningKey(alg, self._strangers[alg].private, self.key(alg).kid)

    def rotate(self, *, keep_old: bool) -> None:
        """Sign with new keys from now on; the old ones stay published or not."""
        self.rotated = True
        self._old = [*self._old, *self._keys.values()] if keep_old else []
        self._keys = {}

    def jwks(self) -> dict[str, list[dict[str, str]]]:
        """The published key set: two keys, and those of other algorithms that something was signed with."""
        usual = [self.key("RS256"), self.key("ES256")]
        further = [key for key in self._keys.values() if key not in usual]
        return {"keys": [key.jwk() for key in [*usual, *further, *self._old]]}

    def discovery(self) -> dict[str, Any]:
        """The discovery document, as kube-apiserver writes it."""
        return {
            "issuer": self.url,
            "jwks_uri": f"{self.url}/openid/v1/jwks",
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256"],
        }


def pod_claims(
    issuer: str, namespace: str, service_account: str, *, audience: str | list[str], issued_s: int, lifetime_s: int
) -> dict[str, Any]:
    """The claims of a token bound to the pod `<service_account>-0` on `node-1`."""
    pod = f"{service_account}-0"
    return {
        "aud": [audience] if isinstance(audience, str) else audience,
        "exp": issued_s + lifetime_s,
        "iat": issued_s,
        "iss": issuer,
        "jti": str(uuid.uuid4()),
        "kubernetes.io": {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": uid("node", "node-1")},
            "pod": {"name": pod, "uid": uid("pod", namespace, pod)},
            "serviceaccount": {"name": service_account, "uid": uid("sa", namespace, service_account)},
        },
        "nbf": issued_s,
        "sub": f"system:serviceaccount:{namespace}:{service_account}",
    }


def altered(claims: dict[str, Any], changes: Mapping[str, Any], remove: Iterable[str]) -> dict[str, Any]:
    """The claims with top-level ones replaced and some removed (`jti`, `kubernetes.io/pod/uid`)."""
    claims = {**claims, **changes}
    for path in remove:
        *parents, last = [path] if path in claims else path.split("/")
        holder = claims
        for name in parents:
            # Copied on the way down: the caller's own changes are not touched.
            holder[name] = dict(holder[name])
            holder = holder[name]
        del holder[last]
    return claims


def compact(key: SigningKey, alg: str, header: Mapping[str, Any], payload: bytes) -> str:
    """A JWS in compact form (RFC 7515, section 7.1) with any header over any payload.

    Args:
        key: signs; its id is the `kid` unless `header` says otherwise.
        alg: the key's own; `none` for no signature; `HS256` for the public key as the secret.
        header: added to `alg` and `kid`, or replacing them; a value of None removes.
        payload: what is signed, JSON or not.
    """
    full = {"alg": alg, "kid": key.kid, **header}
    head = {name: value for name, value in full.items() if value is not None}
    signed = b64url(json.dumps(head, separators=(",", ":")).encode()) + "." + b64url(payload)
    if alg == "none":
        signature = b""
    elif alg == "HS256":
        signature = hmac.digest(key.public_pem(), signed.encode(), "sha256")
    else:
        signature = key.sign(signed.encode())
    return f"{signed}.{b64url(signature)}"
