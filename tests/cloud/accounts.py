"""What of `Cloud` belongs to AWS: the methods that change what is in the accounts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloud import world as contents
from cloud.iam import Policy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud.world import Provider, Repository, Role, World


class Accounts:
    """Changes the accounts; names that are not given are those of the default world."""

    world: World

    def set_role(self, role: str, **changes: Any) -> Role:
        """Change a role, or make one: `trust`, `policy` (JSON text or decoded), `max_session_s`; a name or an ARN."""
        return self.world.set_role(_role(role), **changes)

    def remove_role(self, role: str) -> None:
        """Delete a role; what was issued from it opens nothing any more."""
        del self.world.roles[_role(role)]

    def push(
        self, name: str, tag: str = "v1", account: str = contents.ACCOUNT, region: str = contents.REGION
    ) -> Repository:
        """Put a small image under `name:tag`."""
        repository = self.world.repository(name, account, region)
        repository.store.push(name, tag)
        return repository

    def push_public(self, name: str, tag: str = "v1") -> None:
        """Put a small image under `name:tag` in ECR Public."""
        self.world.public_repository(name).push(name, tag)

    def set_provider(
        self, issuer: str, client_ids: list[str], account: str = contents.ACCOUNT, partition: str = "aws"
    ) -> Provider:
        """Let an account trust an issuer for these audiences, instead of those it had."""
        return self.world.set_provider(issuer, client_ids, account, partition)

    def set_repository(
        self,
        name: str,
        account: str = contents.ACCOUNT,
        region: str = contents.REGION,
        *,
        policy: str | Mapping[str, Any] | None = None,
        pull_through: bool | None = None,
        created: bool | None = None,
    ) -> Repository:
        """Change a repository, or make one: its resource policy; whether it is fed from upstream, and exists yet."""
        repository = self.world.repository(name, account, region)
        if policy is not None:
            repository.policy = Policy.parse(policy, kind="resource")
        if pull_through is not None:
            repository.pull_through = pull_through
        if created is not None:
            repository.created = created
        return repository


def _role(role: str) -> str:
    return role if role.startswith("arn:") else contents.role_arn(role)
