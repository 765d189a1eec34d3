"""Artifact Registry's Docker side, under its own names and those of gcr.io.

Two ways in, as with the real one: a registry token from `/v2/token`, which is what container clients ask for, and Basic
authentication with an access token at the resource itself. IAM decides each time for who is behind it:
`artifactregistry.repositories.downloadArtifacts` on the repository. A repository that is not there is refused like one
that one may not read. Sources: `gcp.md`, sections 2.5 to 2.7; the distribution specification's token authentication.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import secrets
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from cloud.answers import Answer, Refused
from cloud.gcp.hosts import parse
from cloud.gcp.iam import DOWNLOAD, NOBODY, Identity
from cloud.gcp.world import PULL_SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.gcp.world import GoogleWorld, Repository
    from cloud.images import Store
    from cloud.records import Request

LONGEST_TOKEN_S = 3600
_PATH = re.compile(r"/v2/(?P<name>.+?)/(?P<kind>manifests|blobs|tags)/(?P<reference>[^/]+)")
_OPERATIONS = {"manifests": "manifest", "blobs": "blob", "tags": "tags"}
_USER = re.compile(r"oauth2accesstoken|_token|_dcgcr_[0-9_]+_token")
_SCOPE = re.compile(r"repository:(?P<name>[^:]+):(?P<actions>[a-z,*]+)")


class RegistryToken(NamedTuple):
    """What `/v2/token` gave out."""

    access_token: str | None
    expires_s: float


class ArtifactRegistry:
    """All of Google's registries; the host says which location, and for gcr.io which repository."""

    name = "artifact"
    errors: Mapping[str, tuple[int, str]] = {
        "UNAUTHORIZED": (401, "authentication failed"),
        "DENIED": (403, f'Permission "{DOWNLOAD}" denied on resource (or it may not exist)'),
        "NAME_UNKNOWN": (404, "Requested entity was not found."),
        "MANIFEST_UNKNOWN": (404, "Failed to fetch the manifest"),
        "BLOB_UNKNOWN": (404, "Failed to fetch the blob"),
        "NAME_INVALID": (400, "The name can't be an image's"),
        "UNSUPPORTED": (405, "The operation is unsupported."),
        "TOOMANYREQUESTS": (429, "Quota exceeded for quota metric 'Requests per project per region'"),
        "UNKNOWN": (500, "Internal error"),
        "UNAVAILABLE": (503, "Service unavailable"),
    }

    def __init__(self, world: GoogleWorld, now: Callable[[], float]) -> None:
        """Serve `world` by the clock `now`."""
        self.world = world
        self._now = now
        self._tokens: dict[str, RegistryToken] = {}
        # Which scopes are enough for a pull is not established: these are those that some page or other names.
        self.pull_scopes: frozenset[str] = frozenset(PULL_SCOPES)

    def operation(self, request: Request) -> str | None:
        """`ping`, `token`, `manifest`, `blob`, `tags`, or `other` below /v2/."""
        if "artifact" not in request.named:
            return None
        if request.path in {"/v2", "/v2/"}:
            return "ping"
        if request.path == "/v2/token":
            request.parameters = dict(parse_qsl(request.query))
            return "token"
        match = _PATH.fullmatch(request.path)
        if match is None or request.method not in {"GET", "HEAD"}:
            return "other"
        request.parameters = {"name": match["name"], "reference": match["reference"]}
        return _OPERATIONS[match["kind"]]

    def answer(self, request: Request) -> Answer:
        """Serve one request of a pull, or give out a registry token."""
        if request.operation == "other":
            raise Refused("UNSUPPORTED")
        if request.operation == "token":
            return self._give(request)
        bearer = self._bearer(request)
        if bearer is None and "authorization" not in request.headers:
            raise Refused("UNAUTHORIZED", "Unauthenticated request.")
        if request.operation == "ping":
            return _answer(200, b"{}", {"Content-Type": "application/json"})
        return self._content(request, self._store(request, request.parameters["name"], bearer))

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the distribution API; with 401 comes the challenge."""
        body = json.dumps({"errors": [{"code": code, "message": message}]}).encode()
        headers = {"Content-Type": "application/json"}
        if status == 401 and request.operation != "token":
            at = request.headers.get("host", request.host)
            realm = f"{'https' if request.tls else 'http'}://{at}/v2/token"
            headers["Www-Authenticate"] = f'Bearer realm="{realm}",service="{at}"'
        answer = _answer(status, body, headers)
        answer.code = code
        return answer

    # --- who asks

    def _give(self, request: Request) -> Answer:
        """A registry token for what may be pulled."""
        access = self._basic(request)
        for scope in request.parameters.get("scope", "").split():
            match = _SCOPE.fullmatch(scope)
            if match is None or match["actions"] != "pull":
                raise Refused("DENIED", f"{scope}: only pulling is known to the local cloud")
            self._store(request, match["name"], access)
        now_s = self._now()
        ends_s = now_s + LONGEST_TOKEN_S if access is None else min(now_s + LONGEST_TOKEN_S, self._ends_s(access))
        token = secrets.token_urlsafe(200)
        self._tokens[token] = RegistryToken(access, ends_s)
        document = {"token": token, "expires_in": int(ends_s - now_s)}
        return _answer(200, json.dumps(document).encode(), {"Content-Type": "application/json"})

    def _ends_s(self, access_token: str) -> float:
        return self.world.tokens[access_token].expires_s

    def _basic(self, request: Request) -> str | None:
        """The access token of Basic authentication; None for nobody."""
        header = request.headers.get("authorization")
        if header is None:
            return None
        scheme, _, encoded = header.partition(" ")
        if scheme.lower() != "basic":
            raise Refused("UNAUTHORIZED")
        try:
            user, _, token = base64.b64decode(encoded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            raise Refused("UNAUTHORIZED") from None
        if not _USER.fullmatch(user) or self.world.identity(token, self._now()) is None:
            raise Refused("UNAUTHORIZED", "authentication failed: the access token is invalid or expired")
        return token

    def _bearer(self, request: Request) -> str | None:
        """The access token behind a registry token or Basic authentication; None for nobody."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return self._basic(request)
        given = self._tokens.get(token)
        if given is None or self._now() >= given.expires_s:
            raise Refused("UNAUTHORIZED", "authentication failed: the registry token is invalid or expired")
        return given.access_token

    # --- what is there

    def _store(self, request: Request, name: str, access_token: str | None) -> Store:
        """The image called `name`, for who may read it.

        Raises:
            Refused: NAME_INVALID, UNAUTHORIZED, DENIED or NAME_UNKNOWN.
        """
        access = None if access_token is None else self.world.identity(access_token, self._now())
        if access_token is not None and access is None:
            raise Refused("UNAUTHORIZED", "authentication failed: the access token is invalid or expired")
        identity: Identity = NOBODY if access is None else access.identity
        request.principal = identity.name
        resource, repository, image = self._find(request, name)
        if access is not None and access.scopes.isdisjoint(self.pull_scopes):
            raise Refused("DENIED", "Request had insufficient authentication scopes.")
        if repository is None or not repository.policy.allows(DOWNLOAD, identity):
            what = f'Permission "{DOWNLOAD}" denied on resource "{resource}" (or it may not exist)'
            if access is None:
                what = (f'Unauthenticated request. Unauthenticated requests do not have permission "{DOWNLOAD}" on '
                        f'resource "{resource}" (or it may not exist)')  # fmt: skip
            raise Refused("DENIED", what)
        if image not in repository.images:
            raise Refused("NAME_UNKNOWN", f'The image "{image}" was not found in "{resource}".')
        return repository.images[image]

    def _find(self, request: Request, name: str) -> tuple[str, Repository | None, str]:
        """Resource name, repository and image that a path means; a domain-scoped project takes two segments."""
        segments = name.split("/")
        project = segments.pop(0)
        if "." in project and segments:
            project = f"{project}:{segments.pop(0)}"
        host = parse(request.host, ())
        repository = host.repository if host else None
        if repository is None:
            repository = segments.pop(0) if segments else None
        if repository is None or not segments:
            raise Refused("NAME_INVALID", f"{name!r} has no project, repository and image")
        location = str(request.region)
        found = self.world.repositories.get((project, location, repository))
        return f"projects/{project}/locations/{location}/repositories/{repository}", found, "/".join(segments)

    def _content(self, request: Request, store: Store) -> Answer:
        reference = request.parameters["reference"]
        if request.operation == "tags":
            body = json.dumps({"name": request.parameters["name"], "tags": sorted(store.tags)}).encode()
            return _answer(200, body, {"Content-Type": "application/json"})
        if request.operation == "blob":
            if reference not in store.blobs:
                raise Refused("BLOB_UNKNOWN")
            headers = {"Content-Type": "application/octet-stream", "Docker-Content-Digest": reference}
            return _answer(200, store.blobs[reference], headers)
        found = store.find(reference)
        if found is None:
            raise Refused("MANIFEST_UNKNOWN", f'Failed to fetch "{reference}"')
        digest, media_type, body = found
        return _answer(200, body, {"Content-Type": media_type, "Docker-Content-Digest": digest})


def _answer(status: int, body: bytes, headers: dict[str, str]) -> Answer:
    return Answer(status, body, {"Docker-Distribution-Api-Version": "registry/2.0", **headers})
