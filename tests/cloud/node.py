"""What a node is in AWS: its instance, the role that it was given, and the roles of what runs on it.

The sessions are AWS's own doing, so no call to STS shows: EC2, ECS and EKS each need the role's trust.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from cloud.iam import Policy

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud.world import Role, Session, World

INSTANCE = "i-0123456789abcdef0"
TASK = str(uuid.UUID("0c6f1f53-2f9a-4f7c-8a44-3b8a53f2a1d7"))
SESSION_S = 6 * 3600
RENEWED_BEFORE_S = 15 * 60


class Node:
    """The node that every caller is on.

    Attributes:
        role: the ARN of the instance's role; None for an instance without one.
        task_roles: ECS: credentials id -> ARN.
        pod_roles: EKS Pod Identity: (namespace, service account) -> ARN.
        region: where it is.
    """

    def __init__(self, world: World, now: Callable[[], float], role: str, region: str) -> None:
        """Make a node with `role` for itself, for the default task, and for the pods of `kube-system/pullpass`."""
        self.world = world
        self.region = region
        self.role: str | None = role
        self.task_roles = {TASK: role}
        self.pod_roles = {("kube-system", "pullpass"): role}
        self._now = now
        self._sessions: dict[tuple[str, str], Session] = {}

    def session(self, role_arn: str, service: str, name: str) -> Session | None:
        """The present session of a role that AWS's `service` assumes for somebody; None when the role doesn't trust it.

        The same credentials come again until they have little time left, as from the real ones.
        """
        role = self.world.roles.get(role_arn)
        if role is None or not trusts(role, service):
            return None
        known = self._sessions.get((role_arn, name))
        if known is None or known.expires_s - self._now() < RENEWED_BEFORE_S:
            known = self.world.begin(role, name, int(self._now()) + SESSION_S)
            self._sessions[role_arn, name] = known
        return known


def trusts(role: Role, service: str) -> bool:
    """Whether a role's trust policy lets a service of AWS assume it."""
    naming = [each for each in role.trust.statements if service in each.principals.get("Service", [])]
    return Policy(tuple(naming)).says("sts:AssumeRole", "*") == "Allow"
