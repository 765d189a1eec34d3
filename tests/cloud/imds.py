"""EC2's instance metadata service, version 2: a session token by PUT, then the role's name and its credentials.

Source: the EC2 User Guide, "Use the Instance Metadata Service" and "Retrieve security credentials from instance
metadata". A request that came through a proxy is refused, a request without a session token too unless `v1` is set. The
answer to PUT travels no more network hops than the instance allows: to a caller further away it never arrives.
"""

from __future__ import annotations

import json
import re
import secrets
from typing import TYPE_CHECKING, Any

from cloud.answers import Answer, Lost, Refused
from cloud.node import INSTANCE
from cloud.sts import timestamp
from cloud.world import EC2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.node import Node
    from cloud.records import Request

TTL = "x-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "x-aws-ec2-metadata-token"
LONGEST_TTL_S = 21600
_CREDENTIALS = "/latest/meta-data/iam/security-credentials"


class Imds:
    """The instance metadata service of the node."""

    name = "imds"
    errors: Mapping[str, tuple[int, str]] = {
        "BadRequest": (400, "The request is malformed"),
        "Unauthorized": (401, "Unauthorized"),
        "Forbidden": (403, "Forbidden"),
        "NotFound": (404, "Not Found"),
        "MethodNotAllowed": (405, "Method Not Allowed"),
        "TooManyRequests": (429, "Too Many Requests"),
        "InternalServerError": (500, "Internal Server Error"),
        "ServiceUnavailable": (503, "Service Unavailable"),
    }

    def __init__(self, node: Node, now: Callable[[], float]) -> None:
        """Serve `node` by the clock `now`."""
        self.node = node
        self.enabled = True
        self.v1 = False
        self.hop_limit = 1
        self.hops = 1
        self._now = now
        self._tokens: dict[str, float] = {}

    def operation(self, request: Request) -> str | None:
        """`token`, `role` (its name), `credentials`, or `data` for everything else below /latest."""
        path = request.path.rstrip("/")
        if path == "/latest/api/token":
            request.parameters = {"ttl": request.headers.get(TTL)}
            return "token"
        if path == _CREDENTIALS:
            return "role"
        if path.startswith(f"{_CREDENTIALS}/"):
            request.parameters = {"role": path.removeprefix(f"{_CREDENTIALS}/")}
            return "credentials"
        return "data" if path == "/latest" or path.startswith("/latest/") else None

    def answer(self, request: Request) -> Answer:
        """A session token, or what there is to know."""
        if not self.enabled:
            raise Refused("Forbidden")
        if request.operation == "token":
            return self._token(request)
        if request.method not in {"GET", "HEAD"}:
            raise Refused("MethodNotAllowed")
        self._check_token(request)
        if request.operation == "credentials":
            return self._credentials(request)
        texts = {
            f"{_CREDENTIALS}": self.node.role and self.node.role.rpartition("/")[2],
            "/latest/meta-data/instance-id": INSTANCE,
            "/latest/meta-data/placement/region": self.node.region,
            "/latest/meta-data/placement/availability-zone": f"{self.node.region}a",
        }
        text = texts.get(request.path.rstrip("/"))
        if not text:
            raise Refused("NotFound")
        return Answer(200, text.encode(), {"Content-Type": "text/plain", "Server": "EC2ws"})

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error page: the service has no error codes."""
        title = f"{status} - {message}"
        page = (
            f'<?xml version="1.0" encoding="iso-8859-1"?>\n<html><head><title>{title}</title></head><body><h1>{title}'
        )
        return Answer(status, f"{page}</h1></body></html>\n".encode(), {"Content-Type": "text/html"}, code)

    def _token(self, request: Request) -> Answer:
        if request.method != "PUT":
            raise Refused("MethodNotAllowed")
        if "x-forwarded-for" in request.headers:
            raise Refused("Forbidden")
        ttl = request.headers.get(TTL, "")
        if not re.fullmatch("[0-9]{1,5}", ttl) or not 1 <= int(ttl) <= LONGEST_TTL_S:
            raise Refused("BadRequest")
        if self.hops > self.hop_limit:
            raise Lost
        token = secrets.token_urlsafe(40) + "=="
        self._tokens[token] = self._now() + int(ttl)
        return Answer(200, token.encode(), {"Content-Type": "text/plain", TTL: ttl, "Server": "EC2ws"})

    def _check_token(self, request: Request) -> None:
        token = request.headers.get(TOKEN)
        if token is None and self.v1:
            return
        if token is None or self._now() >= self._tokens.get(token, 0):
            raise Refused("Unauthorized")

    def _credentials(self, request: Request) -> Answer:
        role = self.node.role
        if role is None or request.parameters["role"] != role.rpartition("/")[2]:
            raise Refused("NotFound")
        session = self.node.session(role, EC2, INSTANCE)
        updated = timestamp(self._now())
        if session is None:
            # So says the real one, with status 200, when EC2 may not assume the role.
            return _json({"Code": "AssumeRoleUnauthorizedAccess", "LastUpdated": updated, "Message":
                          "EC2 cannot assume the role. Please see documentation."})  # fmt: skip
        request.principal = session.arn
        return _json({
            "Code": "Success", "LastUpdated": updated, "Type": "AWS-HMAC", "AccessKeyId": session.access_key,
            "SecretAccessKey": session.secret_key, "Token": session.token, "Expiration": timestamp(session.expires_s),
        })  # fmt: skip


def _json(document: dict[str, Any]) -> Answer:
    return Answer(200, _render(document), {"Content-Type": "text/plain", "Server": "EC2ws"},
                  document=document, render=_render)  # fmt: skip


def _render(document: Any) -> bytes:
    return json.dumps(document, indent=2).encode()
