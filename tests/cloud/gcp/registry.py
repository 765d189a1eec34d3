"""Artifact Registry's Docker side, under its own names and those of gcr.io.

Two ways in, as with the real one: a registry token from `/v2/token`, which is what container clients ask for, and Basic
authentication with an access token at the resource itself. IAM decides each time for who is behind it:
`artifactregistry.repositories.downloadArtifacts` on the repository. A repository that is not there is refused like one
that one may not read. Sources: `gcp.md`, sections 2.5 to 2.7; the distribution specification's token authentication.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from cloud import distribution
from cloud.answers import Answer, Refused
from cloud.gcp.hosts import parse
from cloud.gcp.iam import DOWNLOAD, NOBODY, Identity
from cloud.gcp.world import PULL_SCOPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.gcp.world import AccessToken, GoogleWorld, Repository
    from cloud.images import Store
    from cloud.records import Request

LONGEST_TOKEN_S = 3600
_USER = re.compile(r"oauth2accesstoken|_token|_dcgcr_[0-9_]+_token")


class RegistryToken(NamedTuple):
    """What `/v2/token` gave out: for whom (None: nobody), for which paths."""

    access: AccessToken | None
    names: frozenset[str]
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
        # Nor whether a registry token ends with the access token that it was given for.
        self.registry_tokens_outlive = False

    def operation(self, request: Request) -> str | None:
        """`ping`, `token`, `manifest`, `blob`, `tags`, or `other` below /v2/."""
        if "artifact" not in request.named:
            return None
        if request.path == "/v2/token" and request.method == "GET":
            request.parameters = dict(parse_qsl(request.query))
            return "token"
        return distribution.operation(request)

    def answer(self, request: Request) -> Answer:
        """Serve one request of a pull, or give out a registry token."""
        if request.operation == "other":
            raise Refused("UNSUPPORTED")
        if request.operation == "token":
            return self._give(request)
        access = self._caller(request)
        if request.operation == "ping":
            return distribution.answer(200, b"{}")
        return distribution.content(request, self._store(request, request.parameters["repository"], access))

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the distribution API; with 401 comes the challenge."""
        at = request.headers.get("host", request.host)
        realm = f"{'https' if request.tls else 'http'}://{at}/v2/token"
        return distribution.refusal(code, status, message, f'Bearer realm="{realm}",service="{at}"')

    # --- who asks

    def _give(self, request: Request) -> Answer:
        """A registry token for what may be pulled."""
        access = self._basic(request)
        names = distribution.pulled(request.parameters.get("scope", ""))
        for name in names:
            self._store(request, name, access)
        now_s = self._now()
        ends_s = now_s + LONGEST_TOKEN_S
        if access is not None and not self.registry_tokens_outlive:
            ends_s = min(ends_s, access.expires_s)
        token = secrets.token_urlsafe(200)
        self._tokens[token] = RegistryToken(access, frozenset(names), ends_s)
        return distribution.answer(200, json.dumps({"token": token, "expires_in": int(ends_s - now_s)}).encode())

    def _basic(self, request: Request) -> AccessToken | None:
        """The access token of Basic authentication; None for nobody."""
        given = distribution.basic(request)
        if given is None:
            return None
        user, token = given
        access = self.world.access(token, self._now()) if _USER.fullmatch(user) else None
        if access is None:
            raise Refused("UNAUTHORIZED", "authentication failed: the access token is invalid or expired")
        return access

    def _caller(self, request: Request) -> AccessToken | None:
        """Who asks, by a registry token or Basic authentication; None for nobody, who has a registry token too."""
        token = distribution.bearer(request)
        if token is None:
            if "authorization" not in request.headers:
                raise Refused("UNAUTHORIZED", "Unauthenticated request.")
            return self._basic(request)
        given = self._tokens.get(token)
        if given is None or self._now() >= given.expires_s or not self.world.counts(given.access):
            raise Refused("UNAUTHORIZED", "authentication failed: the registry token is invalid or expired")
        if request.operation != "ping" and request.parameters.get("repository") not in given.names:
            raise Refused("UNAUTHORIZED", "authentication failed: the registry token is for another scope")
        return given.access

    # --- what is there

    def _store(self, request: Request, name: str, access: AccessToken | None) -> Store:
        """The image called `name`, for who may read it.

        Raises:
            Refused: NAME_INVALID, DENIED or NAME_UNKNOWN.
        """
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
