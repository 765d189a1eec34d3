"""Google's IAM as far as it is used here: who a caller is, as members of policies name them, and role bindings.

Source: the IAM documentation, "Principal identifiers" and the permissions of the predefined roles.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

ANYBODY = "allUsers"
ANY_ACCOUNT = "allAuthenticatedUsers"
READER = "roles/artifactregistry.reader"
WORKLOAD_USER = "roles/iam.workloadIdentityUser"
DOWNLOAD = "artifactregistry.repositories.downloadArtifacts"
IMPERSONATE = "iam.serviceAccounts.getAccessToken"
_PERMISSIONS = {
    READER: DOWNLOAD,
    "roles/artifactregistry.writer": DOWNLOAD,
    WORKLOAD_USER: IMPERSONATE,
    "roles/iam.serviceAccountTokenCreator": IMPERSONATE,
}
_POOL = r"iam\.googleapis\.com/projects/[0-9]+/locations/global/workloadIdentityPools/[a-z0-9.-]+"
_MEMBER = re.compile(
    rf"principal://{_POOL}/subject/.+|principalSet://{_POOL}/(?:\*|group/.+|attribute\.[a-z0-9_]+/.+)"
    r"|serviceAccount:[a-z0-9-]+@[a-z0-9.-]+\.gserviceaccount\.com"
    r"|serviceAccount:[a-z0-9-]+\.svc\.id\.goog\[[a-z0-9-]+/[a-z0-9.-]+\]"
)


class Identity(NamedTuple):
    """Somebody, as IAM sees them.

    Attributes:
        name: the one member that means them and nobody else.
        members: every member that a policy may name them by.
        pool: the pool that they come from, for federated ones.
    """

    name: str
    members: frozenset[str]
    pool: str | None = None


NOBODY = Identity(ANYBODY, frozenset({ANYBODY}))


def service_account(email: str) -> Identity:
    """A service account, by its e-mail address."""
    name = f"serviceAccount:{email}"
    return Identity(name, frozenset({name, ANYBODY, ANY_ACCOUNT}))


def federated(pool: str, subject: str, groups: Iterable[str], attributes: Mapping[str, str]) -> Identity:
    """A principal of a workload identity pool.

    `allAuthenticatedUsers` does not include them: they have no Google account.

    Args:
        pool: the pool's resource name, `projects/NUMBER/locations/global/workloadIdentityPools/ID`.
        subject: the mapped `google.subject`.
        groups: the mapped `google.groups`.
        attributes: the mapped `attribute.NAME`, by name.
    """
    base = f"//iam.googleapis.com/{pool}"
    name = f"principal:{base}/subject/{subject}"
    members = {name, ANYBODY, f"principalSet:{base}/*"}
    members |= {f"principalSet:{base}/group/{group}" for group in groups}
    members |= {f"principalSet:{base}/attribute.{key}/{value}" for key, value in attributes.items()}
    namespace, match = pool.rpartition("/")[2], re.fullmatch("ns/([^/]+)/sa/([^/]+)", subject)
    if namespace.endswith(".svc.id.goog") and match:
        members.add(f"serviceAccount:{namespace}[{match[1]}/{match[2]}]")
    return Identity(name, frozenset(members), pool)


@dataclass
class Policy:
    """The role bindings of one resource."""

    bindings: dict[str, set[str]] = field(default_factory=dict)

    @classmethod
    def parse(cls, bindings: Mapping[str, Iterable[str]]) -> Policy:
        """Check bindings, role -> members.

        Raises:
            ValueError: a role is not known here, or a member can't be one.
        """
        for role, members in bindings.items():
            if role not in _PERMISSIONS:
                raise ValueError(f"{role!r} is none of {sorted(_PERMISSIONS)}")
            if isinstance(members, str):
                raise ValueError(f"the members of {role} must be a list")  # noqa: TRY004
            for member in members:
                if member not in {ANYBODY, ANY_ACCOUNT} and not _MEMBER.fullmatch(member):
                    raise ValueError(f"{member!r} is no member that a policy could name")
        return cls({role: set(members) for role, members in bindings.items()})

    def allows(self, permission: str, identity: Identity) -> bool:
        """Whether a role with `permission` is bound to `identity`."""
        return any(
            _PERMISSIONS[role] == permission and not identity.members.isdisjoint(members)
            for role, members in self.bindings.items()
        )
