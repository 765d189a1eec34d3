"""The clusters' side: issuers, their keys, and tokens as the kubelet would be given them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloud.tokens import ALGORITHMS, Issuer, altered, compact, pod_claims
from cloud.world import AUDIENCE, CLUSTER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from cloud.tokens import SigningKey


class Clusters:
    """What of `Cloud` belongs to the clusters."""

    def __init__(self, base_url: str, now: Callable[[], float]) -> None:
        """Start without an issuer.

        Args:
            base_url: below which the issuers' URLs are.
            now: the clusters' clock.
        """
        self._base_url = base_url
        self._now = now
        self.issuers: dict[str, Issuer] = {}

    @property
    def issuer(self) -> str:
        """The URL of the default cluster's issuer."""
        return self.issuers[CLUSTER].url

    def add_issuer(self, name: str) -> str:
        """Make a further cluster's issuer, with keys of its own; returns its URL."""
        self.issuers[name] = Issuer(f"{self._base_url}/clusters/{name}")
        return self.issuers[name].url

    def rotate_keys(self, cluster: str = CLUSTER, *, keep_old: bool = True) -> None:
        """Sign with new keys; without `keep_old` no token signed so far is good any more."""
        self.issuers[cluster].rotate(keep_old=keep_old)
        if not keep_old:
            self.forget_keys()

    def forget_keys(self) -> None:
        """Have every key set fetched anew at the next token, by whoever keeps one."""
        raise NotImplementedError

    def jwks(self, cluster: str = CLUSTER) -> dict[str, Any]:
        """The cluster's key set, as it is published."""
        return self.issuers[cluster].jwks()

    def mint_token(
        self,
        namespace: str = "team-a",
        service_account: str = "web",
        *,
        audience: str | list[str] = AUDIENCE,
        cluster: str = CLUSTER,
        lifetime_s: int = 3600,
        issued_s: int = 0,
        alg: str = "RS256",
        key: str = "right",
        claims: Mapping[str, Any] | None = None,
        remove: Iterable[str] = (),
        header: Mapping[str, Any] | None = None,
        payload: bytes | str | None = None,
    ) -> str:
        """A token as the kubelet would get it for a pod of this service account, or a wrong one.

        Args:
            namespace: of the pod.
            service_account: of the pod.
            audience: the `aud` claim; one audience becomes a list of one, as in Kubernetes.
            cluster: whose issuer signs.
            lifetime_s: `exp` minus `iat`; may be negative.
            issued_s: `iat` and `nbf` relative to now.
            alg: one of `tokens.ALGORITHMS`; `none`, or `HS256` with the public key as the secret.
            key: `right`; `wrong` (never published, under the right key's id); `unknown` (with an id of its own).
            claims: replace or add top-level claims.
            remove: claims to leave out: `jti`, `kubernetes.io/pod/uid`.
            header: replace or add header fields; None removes one.
            payload: this instead of the claims, whatever it is.
        """
        issuer = self.issuers[cluster]
        issued = int(self._now()) + issued_s
        document = pod_claims(
            issuer.url, namespace, service_account, audience=audience, issued_s=issued, lifetime_s=lifetime_s
        )
        if payload is None:
            payload = json.dumps(altered(document, claims or {}, remove), separators=(",", ":"))
        signed = payload.encode() if isinstance(payload, str) else payload
        family = alg if alg in ALGORITHMS else "RS256"
        signer: SigningKey = issuer.key(family) if key == "right" else issuer.stranger(family)
        if key == "unknown":
            header = {"kid": "never-published", **(header or {})}
        return compact(signer, alg, header or {}, signed)

    def restore_issuers(self) -> None:
        """The default issuer alone.

        It has the keys it had unless they were rotated, because an RSA key takes long to make.
        """
        issuer = self.issuers.get(CLUSTER)
        self.issuers.clear()
        if issuer is None or issuer.rotated:
            self.add_issuer(CLUSTER)
        else:
            self.issuers[CLUSTER] = issuer
