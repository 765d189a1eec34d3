"""What all registries have in common: the pull half of the OCI distribution API, whoever guards it."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import TYPE_CHECKING

from cloud.answers import Answer, Refused

if TYPE_CHECKING:
    from cloud.images import Store
    from cloud.records import Request

_PATH = re.compile(r"/v2/(?P<repository>.+?)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)")
_OPERATIONS = {"manifests": "manifest", "blobs": "blob", "tags": "tags"}
_SCOPE = re.compile(r"repository:([^:]+):([a-z,*]+)")


def operation(request: Request) -> str | None:
    """`ping`, `manifest`, `blob`, `tags`, or `other` below /v2/; fills `repository` and `reference`."""
    if request.path in {"/v2", "/v2/"}:
        return "ping"
    if not request.path.startswith("/v2/"):
        return None
    match = _PATH.fullmatch(request.path)
    if match is None or request.method not in {"GET", "HEAD"}:
        return "other"
    request.parameters = {"repository": match["repository"], "reference": match["reference"]}
    return _OPERATIONS[match["kind"]]


def answer(status: int, body: bytes, headers: dict[str, str] | None = None) -> Answer:
    """An answer with the header that marks a registry; JSON unless `headers` say otherwise."""
    common = {"Docker-Distribution-Api-Version": "registry/2.0", "Content-Type": "application/json"}
    return Answer(status, body, common | (headers or {}))


def refusal(code: str, status: int, message: str, challenge: str) -> Answer:
    """An error of the distribution API; with 401 comes the challenge."""
    body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
    headers = {"Content-Type": "application/json; charset=utf-8"}
    refused = answer(status, body, headers | ({"Www-Authenticate": challenge} if status == 401 else {}))
    refused.code = code
    return refused


def content(request: Request, store: Store) -> Answer:
    """What is asked of a repository that may be read.

    Raises:
        Refused: BLOB_UNKNOWN or MANIFEST_UNKNOWN.
    """
    reference = request.parameters["reference"]
    if request.operation == "tags":
        document = {"name": request.parameters["repository"], "tags": sorted(store.tags)}
        return answer(200, json.dumps(document).encode())
    if request.operation == "blob":
        if reference not in store.blobs:
            raise Refused("BLOB_UNKNOWN")
        headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": reference}
        return answer(200, store.blobs[reference], headers)
    found = store.find(reference)
    if found is None:
        raise Refused("MANIFEST_UNKNOWN")
    digest, media_type, body = found
    return answer(200, body, {"Content-Type": media_type, "Docker-Content-Digest": digest})


def basic(request: Request) -> tuple[str, str] | None:
    """User and password of Basic authentication; None when the request has no `Authorization` at all.

    Raises:
        Refused: UNAUTHORIZED: the header is something else.
    """
    header = request.headers.get("authorization")
    if header is None:
        return None
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise Refused("UNAUTHORIZED")
    try:
        user, _, secret = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Refused("UNAUTHORIZED") from None
    return user, secret


def bearer(request: Request) -> str | None:
    """The registry token of a request; None when it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def pulled(scopes: str) -> list[str]:
    """The repositories that the `scope` of a token request names.

    Raises:
        Refused: DENIED: something else than a pull is asked for.
    """
    names = []
    for scope in scopes.split():
        match = _SCOPE.fullmatch(scope)
        if match is None or match[2] != "pull":
            raise Refused("DENIED", f"{scope}: only pulling is known to the local cloud")
        names.append(match[1])
    return names
