"""What would be sent to the cloud, decided before anything is sent.

Rules:

* A plan is a function of subject, target, decision and configuration alone: no clock, no environment, no network. The
  same call again is the same plan, so `explain` shows exactly what an exchange would do.
* The key names everything that makes a credential what it is. A changed role, grant, endpoint or duration is another
  key, and what was stored under the old one is simply not found any more.
* The token is not part of a plan.

What is not exchanged in this version is refused here, so that `explain` says so as well.
"""

from __future__ import annotations

from pullpass import registry
from pullpass.errors import PullpassError, outside
from pullpass.exchange import plan_aws, plan_gcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.config import Config
    from pullpass.exchange import Plan
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target


def make(subject: Subject | None, target: Target, decision: Decision, config: Config) -> Plan:
    """Plan the exchange that gives `subject` a credential for `target`.

    Args:
        subject: who asks, or None without a token.
        target: which registry and repository.
        decision: what policy gave; any identity but `anonymous`, for which nothing is exchanged.
        config: the operator's configuration.

    Raises:
        PullpassError: `not-available`, `identity-invalid`, `role-partition`, `repository-name` or `session-policy`.
    """
    if target.kind == registry.GCR and config.gcr is not None:
        return plan_gcp.make(subject, decision, config, config.gcr)
    if target.kind != registry.ECR or config.ecr is None:
        raise _not_available(f"a credential for {outside(target.image)} ({target.kind})")
    if decision.via:
        raise _not_available(f"the second hop `via` of grant {outside(decision.grant)!r}")
    if subject is None or not decision.identity.startswith("arn:"):
        raise _not_available(f"the identity {outside(decision.identity)!r} of grant {outside(decision.grant)!r}")
    return plan_aws.make(subject, target, decision, config, config.ecr)


def _not_available(what: str) -> PullpassError:
    return PullpassError("not-available", f"{what} can't be exchanged yet")
