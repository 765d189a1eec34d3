"""The control door: the methods of `Cloud` over HTTP, for those who are not in its process.

`POST /METHOD` with the arguments as a JSON object answers 200 with the result as JSON; 400 with `{"error": TEXT}` when
the arguments are no good or nothing was found; 404 for a method there is not. `GET /` lists the methods; `GET
/endpoints` is where everything is. A request of the journal is a document with the fields of `cloud.records.Request`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cloud.answers import Answer
from cloud.gcp.cel import ExpressionError
from cloud.iam import PolicyError
from cloud.records import Request

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud.local import Cloud


def methods(cloud: Cloud) -> dict[str, Callable[..., Any]]:
    """What may be called, by name."""
    called: list[Callable[..., Any]] = [
        cloud.add_issuer,
        cloud.certificates,
        cloud.clear,
        cloud.configure,
        cloud.count,
        cloud.counts,
        cloud.dead_end,
        cloud.fault,
        cloud.jwks,
        cloud.last,
        cloud.mint_token,
        cloud.push,
        cloud.push_artifact,
        cloud.push_public,
        cloud.remove_role,
        cloud.remove_service_account,
        cloud.requests,
        cloud.reset,
        cloud.rotate_keys,
        cloud.set_artifacts,
        cloud.set_pool,
        cloud.set_provider,
        cloud.set_repository,
        cloud.set_role,
        cloud.set_service_account,
        cloud.set_workload_provider,
        cloud.wait_for,
    ]
    return {method.__name__: method for method in called} | {"endpoints": cloud.endpoints._asdict}


def _plain(result: Any) -> Any:
    """The result as JSON can hold it; of what the clouds hold, its name there."""
    if isinstance(result, list):
        return [_plain(item) for item in result]
    if isinstance(result, Request):
        return result.document()
    for name in ("arn", "resource", "email", "name"):
        if hasattr(result, name):
            return getattr(result, name)
    return result


def _json(status: int, document: Any) -> Answer:
    return Answer(status, json.dumps(document).encode() + b"\n", {"Content-Type": "application/json"})


def answer(cloud: Cloud, request: Request) -> Answer:
    """Carry out a request that came by the control door."""
    known = methods(cloud)
    name = request.path.strip("/")
    if request.method == "GET" and not name:
        return _json(200, sorted(known))
    if name not in known or (request.method != "POST" and name != "endpoints"):
        return _json(404, {"error": f"POST to one of {sorted(known)}"})
    try:
        arguments = json.loads(request.body or b"{}")
        if not isinstance(arguments, dict):
            return _json(400, {"error": "the arguments must be a JSON object"})
        return _json(200, _plain(known[name](**arguments)))
    except (ExpressionError, LookupError, PolicyError, TimeoutError, TypeError, ValueError) as error:
        return _json(400, {"error": f"{type(error).__name__}: {error}"})
