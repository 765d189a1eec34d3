"""The credentials of a container: ECS's endpoint, and the EKS Pod Identity agent's.

Sources: the ECS Developer Guide, "Task IAM role"; the EKS User Guide, "EKS Pod Identity"; the SDKs' description of
`AWS_CONTAINER_CREDENTIALS_FULL_URI`. ECS tells tasks apart by the path, `/v2/credentials/ID`. The agent's path is
`/v1/credentials`, and the caller's service-account token for `pods.eks.amazonaws.com` stands in `Authorization`, bare.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import jwt

from cloud.answers import Answer, Refused
from cloud.jwks import TokenFault, unverified, verify
from cloud.sts import timestamp
from cloud.world import ECS, EKS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.node import Node
    from cloud.records import Request
    from cloud.tokens import Issuer

POD_AUDIENCE = "pods.eks.amazonaws.com"
_TASK = re.compile(r"/v2/credentials/([0-9a-f-]{36})")
_SUBJECT = re.compile(r"system:serviceaccount:([^:]+):([^:]+)")


class ContainerCredentials:
    """Whoever hands credentials to containers on the node."""

    name = "container"
    errors: Mapping[str, tuple[int, str]] = {
        "InvalidIdInRequest": (400, "CredentialsV2Request: Credentials not found"),
        "AccessDeniedException": (400, "EKS does not have permissions to assume the associated role."),
        "InvalidTokenException": (400, "The token included in the request is invalid"),
        "ExpiredTokenException": (400, "Token expired"),
        "ResourceNotFoundException": (404, "No association found for service account"),
        "NoAuthorization": (400, "Service account token cannot be empty"),
        "ThrottlingException": (429, "Rate exceeded"),
        "InternalServerException": (500, "Internal server error"),
        "ServiceUnavailableException": (503, "The service is unavailable"),
    }

    def __init__(self, node: Node, issuers: dict[str, Issuer], now: Callable[[], float]) -> None:
        """Serve what runs on `node`; the agent knows the keys of `issuers`."""
        self.node = node
        self._issuers = issuers
        self._now = now

    def operation(self, request: Request) -> str | None:
        """`credentials`."""
        if request.method != "GET":
            return None
        if match := _TASK.fullmatch(request.path):
            request.parameters = {"id": match[1]}
            return "credentials"
        return "credentials" if request.path == "/v1/credentials" else None

    def answer(self, request: Request) -> Answer:
        """The session of the task's or the pod's role."""
        task = request.parameters.get("id")
        if task is None:
            namespace, account = self._subject(request)
            role, service = self.node.pod_roles.get((namespace, account)), EKS
            name = f"eks-prod-1-{account}"
        else:
            role, service, name = self.node.task_roles.get(task), ECS, task.replace("-", "")
        if role is None:
            raise Refused("InvalidIdInRequest" if task else "ResourceNotFoundException")
        session = self.node.session(role, service, name)
        if session is None:
            raise Refused("AccessDeniedException")
        request.principal = session.arn
        document = {
            "AccessKeyId": session.access_key, "SecretAccessKey": session.secret_key, "Token": session.token,
            "Expiration": timestamp(session.expires_s),
            **({"AccountId": role.split(":")[4]} if task is None else {"RoleArn": role}),
        }  # fmt: skip
        return Answer(200, _render(document), {"Content-Type": "application/json"}, document=document, render=_render)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """ECS's form of an error, or the agent's line of text."""
        if "id" in request.parameters:
            body = _render({"code": code, "message": message, "HTTPErrorCode": status})
            return Answer(status, body, {"Content-Type": "application/json"}, code)
        return Answer(status, f"({code}): {message}\n".encode(), {"Content-Type": "text/plain; charset=utf-8"}, code)

    def _subject(self, request: Request) -> tuple[str, str]:
        """Namespace and name of the service account whose token is shown."""
        token = request.headers.get("authorization", "")
        if not token:
            raise Refused("NoAuthorization")
        try:
            header, claims = unverified(token)
            issuer = next((each for each in self._issuers.values() if each.url == claims.get("iss")), None)
            keys = jwt.PyJWKSet.from_dict(issuer.jwks()).keys if issuer else []
            key = next((each for each in keys if each.key_id == header.get("kid")), None)
            if key is None:
                raise Refused("InvalidTokenException")
            claims = verify(token, key)
        except TokenFault as fault:
            raise Refused("InvalidTokenException") from fault
        match, audience = _SUBJECT.fullmatch(str(claims.get("sub"))), claims.get("aud")
        meant = POD_AUDIENCE in audience if isinstance(audience, list) else audience == POD_AUDIENCE
        if match is None or not meant or type(claims.get("exp")) is not int:
            raise Refused("InvalidTokenException")
        if self._now() >= claims["exp"]:
            raise Refused("ExpiredTokenException")
        return match[1], match[2]


def _render(document: Any) -> bytes:
    return json.dumps(document).encode()
