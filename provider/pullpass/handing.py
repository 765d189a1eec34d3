"""Handing out what is stored: where the cloud's no counts, and for how long the kubelet may keep an answer."""

from __future__ import annotations

from pullpass import approvals
from pullpass.approvals import history
from pullpass.errors import CODES, PullpassError
from pullpass.run import Handed
from pullpass.store import moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.approvals import Approval
    from pullpass.exchange import Credential
    from pullpass.registry import Target
    from pullpass.run import Case, Found
    from pullpass.stored import Stored

# How long the kubelet keeps what was handed out because the cloud can't be reached.
OUTAGE_CACHE_S = 60


def check_denial(what: Stored, since_s: float, now_s: float) -> None:
    """Refuse while the cloud's no counts, and when it came while this run was waiting.

    Args:
        what: what is stored.
        since_s: when this run began to wait, seconds since the epoch.
        now_s: the time.

    Raises:
        PullpassError: the code of the denial.
    """
    approval = what.approval
    if approval is None or approval.denied_at_s is None:
        return
    if what.standing != approvals.REMEMBERED and not since_s < approval.denied_at_s <= now_s:
        return
    raise denial(approval)


def denied_code(approval: Approval) -> str:
    """The code of the cloud's no; of one that another version of the program wrote down, perhaps a general one."""
    return approval.denied_code if approval.denied_code in CODES else "cloud-denied"


def denial(approval: Approval) -> PullpassError:
    """The cloud's no as it was written down."""
    when = moments.text(approval.denied_at_s or 0.0)
    return PullpassError(denied_code(approval), f"the cloud refused it at {when}, which counts for approval.denied_for")


def serve(found: Found, what: Stored) -> None:
    """Hand out what is stored; a repository that its approval does not list yet is added first.

    Args:
        found: of this run; `handed` is filled.
        what: that serves, or outlives.

    Raises:
        PullpassError: `state-unwritable`: it can't be added.
    """
    case, approval, event = found.case, what.approval, "served"
    assert approval is not None and what.credential is not None  # noqa: S101, PT018 - it serves
    if not lists(what, case.target):
        approval, event = history.with_repository(approval, asked(case), found.now_s), "issued"
        approvals.save(approvals.directory(case.config.paths.state), approval)
    if what.outlives:
        hand(found, approval, what.credential, "outage", "outage")
    else:
        hand(found, approval, what.credential, event, "cache")


def lists(what: Stored, target: Target) -> bool:
    """Whether the approval lists this image's repository."""
    return what.approval is not None and target.image in what.approval.repositories


def asked(case: Case) -> history.Asked:
    """What an approval of this case is about."""
    token = case.request.token if case.subject else None
    return history.Asked(
        case.config.node.cluster, case.subject, token, case.plan, case.target.image, case.decision.grant
    )


def hand(found: Found, approval: Approval, credential: Credential, event: str, source: str) -> None:
    """Fill `found.handed`: the credential, and for how long the kubelet may keep it.

    Args:
        found: of this run.
        approval: what says so, as it is on disk.
        credential: what the registry accepts.
        event: of the audit line.
        source: `exchange`, `cache` or `outage`.
    """
    times = found.case.config.approval
    ends_s, most_s = approvals.ends_s(approval, times), times.recheck_s
    if source == "outage":
        ends_s, most_s = approval.registry_expires_s, min(times.recheck_s, OUTAGE_CACHE_S)
    cache_s = max(0, int(min(most_s, ends_s - times.margin_s - found.now_s)))
    found.handed = Handed(credential, approval, event, source, cache_s)
