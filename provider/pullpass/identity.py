"""Who asks: the claims of a bound service-account token."""

from __future__ import annotations

from typing import NamedTuple


class Subject(NamedTuple):
    """Who asks. No token is `None`, not a Subject.

    Attributes:
        issuer: the token's `iss`.
        namespace: the service account's namespace.
        service_account: its name.
        uid: its uid.
        pod: the name of the pod the token is bound to, or "".
        node: the name of the node, or "".
        audiences: the token's `aud`.
        expires_s: the token's `exp`, seconds since the epoch.
        jti: the token's id, or "".
    """

    issuer: str
    namespace: str
    service_account: str
    uid: str
    pod: str
    node: str
    audiences: tuple[str, ...]
    expires_s: float
    jti: str
