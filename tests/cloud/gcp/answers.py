"""Google's two forms of an error, and the answers that its APIs have in common.

The OAuth form of RFC 6749 (`{"error": CODE, "error_description": TEXT}`) is STS's own; the form of `google.rpc.Status`
is everybody else's, and that of the front end that stands before STS as well.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloud.answers import Answer, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud.records import Request

# The names of google.rpc.Code, upper case, with the HTTP status that each is sent under.
STATUSES: Mapping[str, tuple[int, str]] = {
    "INVALID_ARGUMENT": (400, "Request contains an invalid argument."),
    "FAILED_PRECONDITION": (400, "Precondition check failed."),
    "UNAUTHENTICATED": (
        401,
        "Request had invalid authentication credentials. Expected OAuth 2 access token.",
    ),
    "PERMISSION_DENIED": (403, "The caller does not have permission"),
    "SERVICE_DISABLED": (403, "The API has not been used in the project before or it is disabled."),
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": (403, "Request had insufficient authentication scopes."),
    "NOT_FOUND": (404, "Requested entity was not found."),
    "RESOURCE_EXHAUSTED": (429, "Resource has been exhausted (e.g. check quota)."),
    "INTERNAL": (500, "Internal error encountered."),
    "UNAVAILABLE": (503, "The service is currently unavailable."),
    "DEADLINE_EXCEEDED": (504, "Deadline expired before operation could complete."),
}
# These are reasons in `details`; the status is PERMISSION_DENIED.
_REASONS = ("SERVICE_DISABLED", "ACCESS_TOKEN_SCOPE_INSUFFICIENT")
_JSON = "application/json; charset=UTF-8"


def render(document: Any) -> bytes:
    """A document as Google sends it."""
    return json.dumps(document, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def success(document: Mapping[str, Any]) -> Answer:
    """A document, with what makes it changeable by faults."""
    return Answer(200, render(document), {"Content-Type": _JSON}, document=dict(document), render=render)


def oauth_error(code: str, status: int, message: str) -> Answer:
    """An error of OAuth's form."""
    return Answer(
        status, json.dumps({"error": code, "error_description": message}).encode(), {"Content-Type": _JSON}, code
    )


def status_error(code: str, status: int, message: str, service: str) -> Answer:
    """An error of `google.rpc.Status`'s form."""
    name = "PERMISSION_DENIED" if code in _REASONS else code
    error: dict[str, Any] = {"code": status, "message": message, "status": name}
    if status == 403:
        reason = code if code in _REASONS else "IAM_PERMISSION_DENIED"
        info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "domain": "googleapis.com",
                "metadata": {"service": f"{service}.googleapis.com"}}  # fmt: skip
        error["details"] = [info]
    headers = {"Content-Type": _JSON}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="https://accounts.google.com/", error="invalid_token"'
    return Answer(status, render({"error": error}), headers, code)


def json_object(request: Request) -> dict[str, Any]:
    """The request's body as a JSON object.

    Raises:
        Refused: INVALID_ARGUMENT: it is none.
    """
    if not request.headers.get("content-type", "").startswith("application/json"):
        raise Refused("INVALID_ARGUMENT", "Invalid JSON payload received: the content type says something else.")
    try:
        document = json.loads(request.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Refused("INVALID_ARGUMENT", "Invalid JSON payload received. Parse error at the start of the document.")
    return document
