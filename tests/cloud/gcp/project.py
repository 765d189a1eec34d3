"""What of `Cloud` belongs to Google: the methods that change its contents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cloud.gcp import world as contents
from cloud.gcp.credentials import DEFAULT_LIFE_S, LONGEST_LIFE_S
from cloud.gcp.iam import READER, WORKLOAD_USER, Policy

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cloud.gcp.world import GoogleWorld, Pool, Provider, Repository, ServiceAccount


class Google:
    """Changes Google's side; names that are not given are those of the default world."""

    google: GoogleWorld

    def set_pool(
        self,
        pool: str = contents.POOL,
        number: str = contents.NUMBER,
        *,
        disabled: bool | None = None,
        deleted: bool | None = None,
    ) -> Pool:
        """Make a workload identity pool, or change one."""
        return self.google.set_pool(contents.pool_name(pool, number), disabled=disabled, deleted=deleted)

    def set_workload_provider(
        self,
        provider: str = contents.PROVIDER,
        pool: str = contents.POOL,
        number: str = contents.NUMBER,
        **settings: Any,
    ) -> Provider:
        """Make a pool's provider, or make one anew with some settings changed.

        Args:
            provider: its id; for a pool of GKE's or a fleet's, the cluster's URL.
            pool: the pool's id, made when it is not there.
            number: the project's number.
            settings: `issuer`, `audiences`, `mapping`, `condition` (texts), `jwks` (None: the issuer is asked),
                `disabled`.

        Raises:
            ValueError: Google would not accept the settings.
            ExpressionError: an expression is none, or is not implemented here.
        """
        holder = self.google.set_pool(contents.pool_name(pool, number))
        old = holder.providers.get(provider)
        kept: dict[str, Any] = {"mapping": contents.MAPPING, "audiences": []}
        if pool.endswith(".svc.id.goog"):
            kept = {"mapping": contents.GKE_MAPPING, "audiences": [pool]}
        if old is not None:
            kept = {
                "issuer": old.issuer,
                "audiences": old.audiences,
                "mapping": {name: expression.text for name, expression in old.mapping.items()},
                "condition": old.condition.text if old.condition else None,
                "disabled": old.disabled,
            }
        made = contents.provider(provider, **(kept | settings))
        if old is not None and "jwks" not in settings:
            made.keys = old.keys
        holder.providers[provider] = made
        return made

    def set_service_account(
        self,
        email: str,
        *,
        impersonators: Iterable[str] | None = None,
        longest_token_s: int | None = None,
        disabled: bool | None = None,
    ) -> ServiceAccount:
        """Make a service account, or change one: the members who may impersonate it, and how long its tokens may live.

        Raises:
            ValueError: a member can't be one, or no policy of an organisation allows such a life.
        """
        changes: dict[str, Any] = {}
        if impersonators is not None:
            changes["policy"] = Policy.parse({WORKLOAD_USER: list(impersonators)})
        if longest_token_s is not None:
            if not DEFAULT_LIFE_S <= longest_token_s <= LONGEST_LIFE_S:
                raise ValueError(f"tokens live {DEFAULT_LIFE_S} to {LONGEST_LIFE_S} seconds at most")
            changes["longest_token_s"] = longest_token_s
        if disabled is not None:
            changes["disabled"] = disabled
        return self.google.set_account(email, **changes)

    def remove_service_account(self, email: str) -> None:
        """Delete a service account; its tokens open nothing any more."""
        del self.google.accounts[email]

    def set_artifacts(
        self,
        name: str,
        project: str = contents.PROJECT,
        location: str = contents.LOCATION,
        *,
        readers: Iterable[str] | None = None,
        bindings: Mapping[str, Iterable[str]] | None = None,
    ) -> Repository:
        """Make an Artifact Registry repository, or change who may read it: members, or bindings of several roles.

        Raises:
            ValueError: a member or role can't be one.
        """
        repository = self.google.repository(project, location, name)
        if bindings is not None or readers is not None:
            repository.policy = Policy.parse(bindings if bindings is not None else {READER: list(readers or ())})
        return repository

    def push_artifact(
        self,
        image: str,
        repository: str,
        tag: str = "v1",
        project: str = contents.PROJECT,
        location: str = contents.LOCATION,
    ) -> Repository:
        """Put a small image into a repository."""
        found = self.google.repository(project, location, repository)
        self.google.push(found, image, tag)
        return found
