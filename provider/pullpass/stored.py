"""What is stored for a plan: its approval, whether that stands, and the credential in the cache that it is about."""

from __future__ import annotations

from pullpass import approvals
from pullpass.approvals import Approval, history
from pullpass.cache import disk
from pullpass.errors import PullpassError
from pullpass.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.config import Config
    from pullpass.exchange import Credential, Plan
    from pullpass.identity import Subject

# How much of a credential's life must be gone before it is renewed, and up to how much more: the keys of a node that
# were filled at one boot should not all be renewed in one minute.
RENEWED_AFTER = 0.5
SPREAD = 0.1
# After an early renewal that did not reach the cloud, the living credential is used for this long without another try.
PAUSE_S = 30.0


class Damage(NamedTuple):
    """Something that is wrong with a file, for the trail."""

    code: str
    message: str


class Stored(NamedTuple):
    """What is stored.

    Attributes:
        approval: the approval, whatever its state; None when there is none that can be read.
        standing: what `approvals.judge` says of it; "" without one.
        credential: from the cache, the one that the approval is about; looked for only where it could be used.
        outlives: it is too old, or all but over, and may be used while the cloud can't be reached.
        warnings: what is wrong with the files.
    """

    approval: Approval | None
    standing: str
    credential: Credential | None
    outlives: bool
    warnings: tuple[Damage, ...]

    @property
    def serves(self) -> bool:
        """Whether the credential may be handed out as it is."""
        return self.standing == approvals.LIVING and self.credential is not None and not self.outlives


def look_up(config: Config, plan: Plan, required: tuple[str, ...], now_s: float, *, make: bool = True) -> Stored:
    """Read what is stored for a plan.

    Args:
        config: the operator's configuration.
        plan: what is asked for.
        required: ids of the `revalidate` orders that are about the request.
        now_s: the time, seconds since the epoch.
        make: whether directories that are absent are made; False for who only looks.

    Raises:
        PullpassError: `state-path`, `state-unwritable`: the directory of approvals can't be used.
    """
    place = approvals.directory(config.paths.state, make=make)
    try:
        approval = approvals.find(place, plan.key)
    except approvals.UnreadableError as error:
        damage = Damage("approval-unreadable", f"{place}/{plan.key}.json {error.what}")
        return Stored(None, "", None, outlives=False, warnings=(damage,))
    if approval is None:
        return Stored(None, "", None, outlives=False, warnings=())
    standing = approvals.judge(approval, now_s, required, config.approval)
    # The last seconds of a life count as over here as well: otherwise an outage would refuse for `min_life` what it
    # serves before and afterwards.
    lives = standing == approvals.LIVING and approval.life_ends_s - now_s >= config.approval.min_life_s
    outlives = (
        not lives
        and standing in (approvals.LIVING, approvals.EXPIRED)
        and approvals.may_outlive(approval, now_s, config.approval)
    )
    if not lives and not outlives:
        return Stored(approval, standing, None, outlives=False, warnings=())
    credential, warnings = cached(config, approval, make=make)
    if credential is not None:
        # Its own ends, whatever the approval says: they were encrypted with it.
        ends_s = credential.registry_expires_s if outlives else credential.life_ends_s
        if ends_s - now_s < config.approval.min_life_s:
            credential = None
    return Stored(approval, standing, credential, outlives and credential is not None, warnings)


def cached(config: Config, approval: Approval, *, make: bool = True) -> tuple[Credential | None, tuple[Damage, ...]]:
    """The credential in the cache that an approval is about, and what is wrong with the cache.

    Args:
        config: the operator's configuration.
        approval: the stored one.
        make: whether a directory that is absent is made; False for who only looks.
    """
    runtime = config.paths.runtime
    try:
        disk.directory(runtime, make=make)
        credential = disk.get(runtime, approval.key, approval.last_validated_s)
    except disk.DamagedError as error:
        return None, (Damage("cache-damaged", f"{disk.path(runtime, approval.key)} {error.what}"),)
    except PullpassError as error:
        return None, (Damage("cache-unusable", error.what),)
    except OSError as error:
        return None, (Damage("cache-unusable", f"{runtime}: {error.strerror}"),)
    if credential is not None and history.credential_hash(credential) != approval.credential_hash:
        what = f"{disk.path(runtime, approval.key)} is not the credential that its approval is about"
        return None, (Damage("cache-damaged", what),)
    return credential, ()


def renewal_due(stored: Stored, plan: Plan, subject: Subject | None, now_s: float) -> bool:
    """Whether a credential that serves is to be renewed already.

    Args:
        stored: one that serves.
        plan: what is asked for.
        subject: whose token would be exchanged.
        now_s: the time, seconds since the epoch.
    """
    approval = stored.approval
    assert approval is not None  # noqa: S101 - it serves
    if approval.unreachable_at_s is not None and 0 <= now_s - approval.unreachable_at_s < PAUSE_S:
        return False
    if plan.life_follows_token and subject is not None and subject.expires_s <= approval.token_expires_s:
        return False  # the same token, or an older one, would give a credential that ends no later
    return now_s >= renewed_from_s(approval)


def renewed_from_s(approval: Approval) -> float:
    """From when an approval's credential is renewed, seconds since the epoch, if the token at hand allows it."""
    life_s = approval.life_ends_s - approval.last_validated_s
    jitter = int(approval.key[:8], 16) / 0xFFFFFFFF
    return approval.last_validated_s + life_s * (RENEWED_AFTER + SPREAD * jitter)
