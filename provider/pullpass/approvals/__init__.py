"""The stored facts behind what is handed out: approvals, orders over them, and intents.

* `pullpass.approvals`: one approval, its place on disk, and whether it still stands.
* `pullpass.approvals.codec`: its file, `state/approvals/<key>.json`.
* `pullpass.approvals.history`: what an exchange, a denial or another repository makes of one.
* `pullpass.approvals.intents`: one exchange at a time for a key.
* `pullpass.approvals.orders`: the orders that a request is held to, read and matched.
* `pullpass.approvals.order_form`, `order_store`, `order_changes`, `order_sync`: their form, and how they are changed.
* `pullpass.approvals.memory`: approvals in a resident process, for other programs.

Rules:

* An approval is on disk before the credential that it is about leaves the process.
* Nothing is served from the cache without the approval that says so. A missing, unreadable or foreign one costs an
  exchange; deleting one is never a way to get more.
"""

from __future__ import annotations

import os

from pullpass.approvals import codec
from pullpass.approvals.codec import APPROVED, DENIED, Approval, Repository
from pullpass.errors import PullpassError
from pullpass.store import files
from pullpass.store.strict import DocumentError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pullpass.config import ApprovalTimes

__all__ = [
    "AHEAD",
    "APPROVED",
    "DENIED",
    "EXPIRED",
    "LIVING",
    "REMEMBERED",
    "VOIDED",
    "Approval",
    "Repository",
    "UnreadableError",
    "directory",
    "ends_s",
    "find",
    "judge",
    "keys",
    "may_outlive",
    "save",
    "scan",
]

NAME = "approvals"
LIMIT_BYTES = 1024 * 1024

# What `judge` says.
LIVING = "living"
EXPIRED = "expired"
AHEAD = "dated in the future"
VOIDED = "voided by an order"
REMEMBERED = "denied"  # and the denial still counts


class UnreadableError(Exception):
    """There is an approval, and it is none that can be trusted: damaged, foreign, or not to be read.

    Attributes:
        what: the end of a sentence that begins with the file's name.
    """

    def __init__(self, what: str) -> None:
        """Make the error."""
        super().__init__(what)
        self.what = what


def directory(state: str, *, make: bool = True) -> str:
    """The directory of approvals; made when it is absent.

    Args:
        state: `paths.state`.
        make: False for who only looks.

    Raises:
        PullpassError: `state-path` when somebody else could change it, `state-unwritable` when it can't be made.
    """
    path = os.path.join(state, NAME)
    try:
        files.private_directory(path, make=make)
    except OSError as error:
        raise _unwritable(path, error) from None
    return path


def find(place: str, key: str) -> Approval | None:
    """Look an approval up: one file is opened and read.

    Args:
        place: of `directory`.
        key: of the plan.

    Returns:
        None when there is none.

    Raises:
        UnreadableError: what is there is not this key's approval.
    """
    try:
        raw, status = files.read_regular(f"{place}/{key}.json", LIMIT_BYTES)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnreadableError(f"can't be read: {error.strerror}") from None
    if not files.owned(status):
        raise UnreadableError("belongs to somebody else, or others may write it")
    try:
        found = codec.parse(raw)
    except DocumentError as error:
        raise UnreadableError(error.what) from None
    if found.key != key:
        raise UnreadableError("is the approval of another key")
    return found


def save(place: str, approval: Approval, *, sync: bool = True) -> None:
    """Store an approval in the place of the one of its key.

    Args:
        place: of `directory`.
        approval: what to store.
        sync: whether it must outlast a power failure.

    Raises:
        PullpassError: `state-unwritable`; the one before is still there.
    """
    path = f"{place}/{approval.key}.json"
    try:
        files.write_atomic(path, codec.render(approval), sync=sync)
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: str, error: OSError) -> PullpassError:
    return PullpassError("state-unwritable", f"{path} can't be written: {error.strerror}")


def judge(approval: Approval, now_s: float, required: Iterable[str], times: ApprovalTimes) -> str:
    """Whether an approval stands.

    Args:
        approval: the stored one.
        now_s: the time, seconds since the epoch.
        required: ids of the `revalidate` orders in force that match the request.
        times: `[approval]`.

    Returns:
        `LIVING`; `REMEMBERED` for a denial that still counts; otherwise why an exchange is due: `EXPIRED`, `AHEAD`,
        `VOIDED`. A denial that counts no more, or is dated in the future, is `EXPIRED`.
    """
    if approval.state == DENIED:
        denied_s = approval.denied_at_s or 0.0
        return REMEMBERED if denied_s <= now_s < denied_s + times.denied_for_s else EXPIRED
    if approval.last_validated_s > now_s:
        return AHEAD
    for order in required:
        if order not in approval.validated_under:
            return VOIDED
    return LIVING if now_s < ends_s(approval, times) else EXPIRED


def ends_s(approval: Approval, times: ApprovalTimes) -> float:
    """When an approval stands no more, seconds since the epoch: a `max_age` that was lowered since counts at once.

    A raised one does not count: `expires` was promised to whoever has read the file.
    """
    return min(approval.expires_s, approval.last_validated_s + times.max_age_s)


def may_outlive(approval: Approval, now_s: float, times: ApprovalTimes) -> bool:
    """Whether an approval whose time is over, or nearly, may be used while the cloud can't be reached.

    Only its age may stand against it: the password itself must live, and it must not have been denied. That no order
    voids it, and that it is not dated in the future, is said by `judge`.

    Args:
        approval: the stored one, `EXPIRED`, or `LIVING` with less than `approval.min_life` left.
        now_s: the time, seconds since the epoch.
        times: `[approval]`; with an `outage` of 0 the answer is no.
    """
    return (
        approval.state == APPROVED
        and times.outage_s > 0
        and now_s < ends_s(approval, times) + times.outage_s
        and approval.registry_expires_s - now_s >= times.min_life_s
    )


def keys(state: str) -> Iterator[str]:
    """The names of all stored approvals without their suffix, one after the other, in no order.

    Args:
        state: `paths.state`. Without a directory there are none.

    Raises:
        PullpassError: `state-path`.
        OSError: the directory can't be listed.
    """
    place = os.path.join(state, NAME)
    if not os.path.lexists(place):
        return
    files.private_directory(place)
    with os.scandir(place) as entries:
        for entry in entries:
            if not entry.name.startswith(".") and entry.name.endswith(".json"):
                yield entry.name.removesuffix(".json")


def scan(state: str) -> Iterator[tuple[str, Approval | UnreadableError]]:
    """Every stored approval, one after the other, by key: of all there are only the names in memory.

    Args:
        state: `paths.state`. Without a directory there are none.

    Yields:
        The file's name without its suffix, and what is in it.

    Raises:
        PullpassError: `state-path`.
        OSError: the directory can't be listed.
    """
    place = os.path.join(state, NAME)
    for key in sorted(keys(state)):
        try:
            found = find(place, key)
        except UnreadableError as error:
            yield key, error
            continue
        if found is not None:
            yield key, found
