"""The OIDC issuers' web side: the discovery document and the key set, below each issuer's own path."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cloud.answers import Answer, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud.records import Request
    from cloud.tokens import Issuer

_DOCUMENTS = {"/.well-known/openid-configuration": "discovery", "/openid/v1/jwks": "jwks"}


class IssuerService:
    """Serves what a kube-apiserver serves to those who verify its tokens."""

    name = "issuer"
    errors: Mapping[str, tuple[int, str]] = {
        "Forbidden": (403, 'forbidden: User "system:anonymous" cannot get path'),
        "InternalError": (500, "an error on the server"),
        "ServiceUnavailable": (503, "the server is currently unable to handle the request"),
    }

    def __init__(self, issuers: dict[str, Issuer]) -> None:
        """Serve `issuers`, a mapping that may grow."""
        self._issuers = issuers

    def _find(self, request: Request) -> tuple[Issuer, str] | None:
        for issuer in self._issuers.values():
            base = urlsplit(issuer.url).path
            if request.path.startswith(base) and request.path[len(base) :] in _DOCUMENTS:
                return issuer, _DOCUMENTS[request.path[len(base) :]]
        return None

    def operation(self, request: Request) -> str | None:
        """`discovery` or `jwks`."""
        found = self._find(request) if request.method in {"GET", "HEAD"} else None
        return found[1] if found else None

    def answer(self, request: Request) -> Answer:
        """The document."""
        found = self._find(request)
        if found is None:
            raise Refused("ServiceUnavailable")
        issuer, operation = found
        document = issuer.discovery() if operation == "discovery" else issuer.jwks()
        content_type = "application/json" if operation == "discovery" else "application/jwk-set+json"
        return Answer(200, _render(document), {"Content-Type": content_type}, document=document, render=_render)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """A Kubernetes `Status`."""
        document = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "reason": code}
        return Answer(status, _render({**document, "code": status}), {"Content-Type": "application/json"}, code)


def _render(document: object) -> bytes:
    return json.dumps(document).encode()
