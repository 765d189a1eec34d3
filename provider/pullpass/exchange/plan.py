"""What would be sent to the cloud, decided before anything is sent.

Rules:

* A plan is a function of subject, target, decision and configuration alone: no clock, no environment, no network. The
  same call again is the same plan, so `explain` shows exactly what an exchange would do.
* The key names everything that makes a credential what it is. A changed role, grant, endpoint or duration is another
  key, and what was stored under the old one is simply not found any more.
* The token is not part of a plan.
"""

from __future__ import annotations

from pullpass import registry
from pullpass.config import Gcr
from pullpass.errors import PullpassError, outside
from pullpass.exchange import plan_aws, plan_gcp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.config import Config, Ecr
    from pullpass.exchange import Plan
    from pullpass.identity import Subject
    from pullpass.policy import Decision
    from pullpass.registry import Target
    from pullpass.secret import Secret


def make(subject: Subject | None, target: Target, decision: Decision, config: Config) -> Plan:
    """Plan the exchange that gives `subject` a credential for `target`.

    Args:
        subject: who asks, or None without a token.
        target: which registry and repository.
        decision: what policy gave; any identity but `anonymous`, for which nothing is exchanged.
        config: the operator's configuration.

    Raises:
        PullpassError: `registry-not-configured`; `identity-invalid`; of AWS also `role-partition`, `public-partition`,
            `repository-name` or `session-policy`.
    """
    chosen = section(target, config)
    if isinstance(chosen, Gcr):
        return plan_gcp.make(subject, decision, config, chosen)
    return plan_aws.make(subject, target, decision, config, chosen)


def section(target: Target, config: Config) -> Ecr | Gcr:
    """The section of the configuration that a registry goes by: [gcr] for Google's, [ecr] for AWS's.

    Raises:
        PullpassError: `registry-not-configured`.
    """
    name, chosen = ("gcr", config.gcr) if target.kind == registry.GCR else ("ecr", config.ecr)
    if chosen is None:
        what = f"{outside(target.host)} needs the section [{name}], which is not configured"
        raise PullpassError("registry-not-configured", what)
    return chosen


def check_token(planned: Plan, token: Secret, now_s: float) -> None:
    """Refuse a token that the plan's cloud takes from nobody, before it is sent.

    Args:
        planned: what would be sent.
        token: the pod's token.
        now_s: the time, seconds since the epoch.

    Raises:
        PullpassError: `gcp-token-algorithm`, `gcp-token-age`.
    """
    if planned.kind == plan_gcp.KIND:
        plan_gcp.check_token(token, now_s)
