"""The registry: the pull half of the OCI distribution API, guarded as ECR guards it.

Basic authentication with an issued password; then IAM decides each request for the principal behind the password:
`ecr:BatchGetImage` for manifests, `ecr:GetDownloadUrlForLayer` for blobs, `ecr:ListImages` for tags.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from cloud import distribution
from cloud.answers import Answer, Refused
from cloud.hosts import partition_of, registry_host

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.iam import Principal
    from cloud.records import Request
    from cloud.world import Password, Repository, Session, World

_ACTIONS = {"manifest": "ecr:BatchGetImage", "blob": "ecr:GetDownloadUrlForLayer", "tags": "ecr:ListImages"}


class Registry:
    """All registries; the `Host` header says whose of which region, else the default."""

    name = "registry"
    errors: Mapping[str, tuple[int, str]] = {
        "UNAUTHORIZED": (401, "Not Authorized"),
        "DENIED": (403, "User is not authorized to perform: ecr:BatchGetImage"),
        "NAME_UNKNOWN": (404, "The repository does not exist in the registry"),
        "MANIFEST_UNKNOWN": (404, "Requested image not found"),
        "BLOB_UNKNOWN": (404, "Layer not found"),
        "UNSUPPORTED": (405, "The operation is unsupported."),
        "TOOMANYREQUESTS": (429, "Rate exceeded"),
        "UNKNOWN": (500, "An internal error occurred"),
        "UNAVAILABLE": (503, "Service unavailable"),
    }

    def __init__(self, world: World, now: Callable[[], float]) -> None:
        """Serve `world` by the clock `now`."""
        self.world = world
        self._now = now
        # Not established for the real one; every source gives a password its 12 hours whatever the session has left.
        self.passwords_outlive_sessions = True
        # Nor that, and for how long, the policy that limited the session limits what the password opens: `always` is
        # what AWS's documentation says; `never` and `with-session` are what would be bad news.
        self.password_limit = "always"

    def operation(self, request: Request) -> str | None:
        """`ping`, `manifest`, `blob`, `tags`, or `other` below /v2/."""
        return distribution.operation(request)

    def answer(self, request: Request) -> Answer:
        """Serve one request of a pull."""
        password = self._password(request)
        request.principal = password.session.arn
        if request.operation == "other":
            raise Refused("UNSUPPORTED")
        if request.operation == "ping":
            return distribution.answer(200, b"{}")
        principal = self._principal(password.session)
        repository = self._repository(request)
        for action in _needed(request.operation, repository):
            self._allow(principal, action, request, repository)
        if repository is None:
            raise Refused(
                "NAME_UNKNOWN",
                f"The repository with name '{request.parameters['repository']}' does not exist in the registry "
                f"with id '{request.account}'",
            )
        repository.created = True
        return distribution.content(request, repository.store)

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error of the distribution API; with 401 comes the challenge."""
        host = registry_host(str(request.account), str(request.region))
        return distribution.refusal(code, status, message, f'Basic realm="https://{host}/",service="ecr.amazonaws.com"')

    def _password(self, request: Request) -> Password:
        user, secret = distribution.basic(request) or ("", "")
        password = self.world.passwords.get(secret)
        if user != "AWS" or password is None:
            raise Refused("UNAUTHORIZED")
        dead = not self.passwords_outlive_sessions and self._now() >= password.session.expires_s
        if dead or self._now() >= password.expires_s:
            raise Refused("UNAUTHORIZED", "Your authorization token has expired. Reauthenticate and try again.")
        if password.region != request.region:
            raise Refused("UNAUTHORIZED", "Your Authorization Token is invalid.")
        return password

    def _principal(self, session: Session) -> Principal | None:
        """Whom a password stands for, as policies see it."""
        principal = self.world.principal(session)
        ended = self._now() >= session.expires_s
        if principal is not None and (
            self.password_limit == "never" or (self.password_limit == "with-session" and ended)
        ):
            principal = dataclasses.replace(principal, session_policy=None)
        return principal

    def _repository(self, request: Request) -> Repository | None:
        key = (str(request.account), str(request.region), request.parameters["repository"])
        return self.world.repositories.get(key)

    def _allow(self, principal: Principal | None, action: str, request: Request, repository: Repository | None) -> None:
        region, account = str(request.region), str(request.account)
        arn = f"arn:{partition_of(region)}:ecr:{region}:{account}:repository/{request.parameters['repository']}"
        if principal is None:
            raise Refused(
                "DENIED", f"User: {request.principal} is not authorized to perform: {action} on resource: {arn}"
            )
        why = principal.refused(action, arn, repository.policy if repository else None, account)
        if why:
            raise Refused(
                "DENIED", f"User: {request.principal} is not authorized to perform: {action} on resource: {arn} {why}"
            )


def _needed(operation: str, repository: Repository | None) -> list[str]:
    """The actions that IAM must allow; a repository fed from upstream needs more until it has been filled."""
    actions = [_ACTIONS[operation]]
    if repository is not None and repository.pull_through and operation == "manifest":
        actions.append("ecr:BatchImportUpstreamImage")
        if not repository.created:
            actions.append("ecr:CreateRepository")
    return actions
