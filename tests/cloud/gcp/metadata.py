"""Google's metadata server, as far as a node's service account is concerned.

Source: the Compute Engine documentation, "Access VM metadata": the header `Metadata-Flavor: Google` is demanded of the
request and set in the answer, and a request that came through a proxy is refused. An impostor, which is anything else
that answers on the same address, sets no such header.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from cloud.answers import Answer, Refused
from cloud.gcp.hosts import UNIVERSE
from cloud.gcp.iam import service_account
from cloud.gcp.world import CLOUD_SCOPE, NODE_ACCOUNT, NUMBER, PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.gcp.world import AccessToken, GoogleWorld
    from cloud.records import Request

FLAVOR = "Metadata-Flavor"
TOKEN_S = 3600
RENEWED_BEFORE_S = 300
_ROOT = "/computeMetadata/v1/"
_ACCOUNTS = f"{_ROOT}instance/service-accounts"


class Metadata:
    """The metadata server of the node."""

    name = "gmetadata"
    errors: Mapping[str, tuple[int, str]] = {
        "Forbidden": (403, f"Missing {FLAVOR}:Google header."),
        "NotFound": (404, "The requested URL was not found on this server."),
        "MethodNotAllowed": (405, "The method is not allowed."),
        "TooManyRequests": (429, "Too many requests."),
        "InternalServerError": (500, "The server encountered an error."),
        "ServiceUnavailable": (503, "The service is unavailable."),
    }

    def __init__(self, world: GoogleWorld, now: Callable[[], float]) -> None:
        """Serve a node with the default service account by the clock `now`."""
        self.world = world
        self.account: str | None = NODE_ACCOUNT
        self.scopes: tuple[str, ...] = (CLOUD_SCOPE,)
        self.impostor = False
        self._now = now
        self._tokens: dict[frozenset[str], AccessToken] = {}

    def operation(self, request: Request) -> str | None:
        """`ping`, `token`, `email`, `account` (all about one), or `data` for everything else."""
        if request.path == "/":
            return "ping" if "gmetadata" in request.named or FLAVOR.lower() in request.headers else None
        if not request.path.startswith("/computeMetadata/"):
            return None
        if request.path.startswith(f"{_ACCOUNTS}/"):
            name, _, what = request.path.removeprefix(f"{_ACCOUNTS}/").partition("/")
            request.parameters = {"account": name}
            if what in {"token", "email"}:
                return what
            return "account" if name and not what else "data"
        return "data"

    def answer(self, request: Request) -> Answer:
        """What there is to know."""
        if request.method not in {"GET", "HEAD"}:
            raise Refused("MethodNotAllowed")
        if request.operation != "ping" and request.headers.get(FLAVOR.lower()) != "Google":
            raise Refused("Forbidden")
        if "x-forwarded-for" in request.headers:
            raise Refused("Forbidden", "The request came through a proxy.")
        if request.operation in {"token", "email", "account"}:
            return self._account(request)
        texts = {
            "/": "computeMetadata/",
            f"{_ACCOUNTS}/": f"default/\n{self.account}/\n" if self.account else "",
            f"{_ACCOUNTS}/default/scopes": "\n".join(self.scopes) if self.account else None,
            f"{_ROOT}project/project-id": PROJECT,
            f"{_ROOT}project/numeric-project-id": NUMBER,
            f"{_ROOT}universe/universe-domain": UNIVERSE,
        }
        text = texts.get(request.path)
        if text is None:
            raise Refused("NotFound")
        return self._answer(200, text.encode(), "application/text")

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error page."""
        page = f"<!DOCTYPE html>\n<html lang=en><title>Error {status}</title><p>{message}</html>\n"
        answer = self._answer(status, page.encode(), "text/html; charset=UTF-8")
        answer.code = code
        return answer

    def _account(self, request: Request) -> Answer:
        if self.account is None or request.parameters["account"] not in {"default", self.account}:
            raise Refused("NotFound")
        if request.operation == "email":
            return self._answer(200, self.account.encode(), "application/text")
        if request.operation == "account":
            return self._json({"aliases": ["default"], "email": self.account, "scopes": list(self.scopes)})
        asked = parse_qs(request.query).get("scopes")
        scopes = frozenset(asked[0].split(",") if asked else self.scopes)
        token = self._tokens.get(scopes)
        if token is None or token.expires_s - self._now() < RENEWED_BEFORE_S or not self.world.counts(token):
            token = self.world.issue(service_account(self.account), scopes, int(self._now()) + TOKEN_S, "metadata")
            self._tokens[scopes] = token
        request.principal = token.identity.name
        left_s = int(token.expires_s - self._now())
        return self._json({"access_token": token.token, "expires_in": left_s, "token_type": "Bearer"})

    def _json(self, document: dict[str, Any]) -> Answer:
        answer = self._answer(200, _render(document), "application/json")
        answer.document, answer.render = document, _render
        return answer

    def _answer(self, status: int, body: bytes, content_type: str) -> Answer:
        flavor = {} if self.impostor else {FLAVOR: "Google", "Server": "Metadata Server for VM"}
        return Answer(status, body, {"Content-Type": content_type, **flavor})


def _render(document: Any) -> bytes:
    return json.dumps(document).encode()
