"""Approvals one by one, and what the program would do with each at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import approvals, patterns
from pullpass.approvals import UnreadableError, codec, orders
from pullpass.errors import PullpassError
from pullpass.store import moments
from pullpass.upkeep import NO_TOKEN, counted

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.approvals import Approval
    from pullpass.approvals.orders import Order
    from pullpass.config import ApprovalTimes, Config
    from pullpass.upkeep import Tell

# What there is besides what `approvals.judge` says.
UNREADABLE = "unreadable"
BLOCKED = "blocked by an order"
STOPPED = "stopped: an order is unreadable"
LAPSED = "denied once"  # the denial counts no more


class Outlook(NamedTuple):
    """What an approval is judged by.

    Attributes:
        now_s: the time, seconds since the epoch.
        times: `[approval]`.
        orders: those in force; none where they can't be read.
        problem: why they can't be read, which stops every request; None when they can.
    """

    now_s: float
    times: ApprovalTimes
    orders: tuple[Order, ...]
    problem: PullpassError | None


class Wanted(NamedTuple):
    """Which approvals are asked for; "" is any.

    Attributes:
        service_account: glob, `NAMESPACE/NAME`; an approval without a token is none of any.
        image: glob of repositories, of which one must match.
        identity: glob.
        state: `approved` or `denied`.
        standing: `approvals.LIVING` or `approvals.EXPIRED`; an approval that an order voids or blocks is neither.
    """

    service_account: str = ""
    image: str = ""
    identity: str = ""
    state: str = ""
    standing: str = ""


class Item(NamedTuple):
    """One approval, or a file that is none.

    Attributes:
        key: its name.
        approval: None for what can't be read.
        problem: why not, the end of a sentence that begins with the file's name; "" otherwise.
        standing: one of `approvals.judge`, or of this module.
        stands_s: until when it stands, or stood, seconds since the epoch; None where its age is not what counts.
    """

    key: str
    approval: Approval | None
    problem: str
    standing: str
    stands_s: float | None = None


class Seen:
    """What a passage through the store has come across so far, whatever was asked for.

    Attributes:
        approvals: how many could be read.
        unreadable: how many files could not.
        first_unreadable: the key of the first of these; "" without one.
    """

    def __init__(self) -> None:
        """Nothing was seen yet."""
        self.approvals = self.unreadable = 0
        self.first_unreadable = ""


def outlook(config: Config, now_s: float) -> Outlook:
    """What approvals are judged by now.

    An order that can't be read stops every request, and not this: who looks for what is wrong must see the rest.

    Args:
        config: the operator's configuration.
        now_s: the time, seconds since the epoch.
    """
    try:
        found = orders.in_force(orders.read(config.paths.state), now_s)
    except PullpassError as error:
        return Outlook(now_s, config.approval, (), error)
    return Outlook(now_s, config.approval, found, None)


def items(
    config: Config, outlook: Outlook, wanted: Wanted, tell: Tell = None, seen: Seen | None = None
) -> Iterator[Item]:
    """The approvals that are asked for, one after the other, by key.

    What can't be read has no members to compare, so it is among them only when everything is asked for.

    Args:
        config: the operator's configuration.
        outlook: of now.
        wanted: which ones.
        tell: is told now and then how many files were read.
        seen: counts what there is besides.

    Raises:
        PullpassError: `state-path`.
        OSError: the directory can't be listed.
    """
    seen = seen or Seen()
    for key, found in counted(approvals.scan(config.paths.state), tell):
        if isinstance(found, UnreadableError):
            seen.unreadable += 1
            seen.first_unreadable = seen.first_unreadable or key
            if wanted == Wanted():
                yield Item(key, None, found.what, UNREADABLE)
            continue
        seen.approvals += 1
        item = judged(key, found, outlook)
        if _is_wanted(item, found, wanted):
            yield item


def judged(key: str, approval: Approval, outlook: Outlook) -> Item:
    """An approval and how it stands.

    Args:
        key: its name.
        approval: the stored one.
        outlook: of now.
    """
    found = standing(approval, outlook)
    by_age = found in (approvals.LIVING, approvals.EXPIRED)
    return Item(key, approval, "", found, approvals.ends_s(approval, outlook.times) if by_age else None)


def _is_wanted(item: Item, approval: Approval, wanted: Wanted) -> bool:
    if wanted.state and approval.state != wanted.state:
        return False
    if wanted.standing and item.standing != wanted.standing:
        return False
    if wanted.service_account and not (
        approval.namespace and patterns.glob_matches(wanted.service_account, account(approval))
    ):
        return False
    if wanted.identity and not patterns.glob_matches(wanted.identity, approval.identity):
        return False
    return not wanted.image or any(patterns.glob_matches(wanted.image, image) for image in approval.repositories)


def standing(approval: Approval, outlook: Outlook, image: str | None = None) -> str:
    """What the program would find about an approval.

    Args:
        approval: the stored one.
        outlook: of now.
        image: for one repository; of all when not given, where an order about one of them counts.
    """
    if outlook.problem:
        return STOPPED
    found = applying(approval, outlook.orders, image)
    if any(order.action == orders.BLOCK for order in found):
        return BLOCKED
    judged = approvals.judge(approval, outlook.now_s, orders.revalidate_ids(found), outlook.times)
    return LAPSED if approval.state == approvals.DENIED and judged == approvals.EXPIRED else judged


def applying(approval: Approval, in_force: tuple[Order, ...], image: str | None = None) -> tuple[Order, ...]:
    """The orders in force that are about an approval, or about one repository of it."""
    images = [image] if image is not None else [*approval.repositories] or [""]  # a denial may have none
    who = (approval.namespace, approval.service_account)
    return tuple(
        order for order in in_force if any(orders.matches(order, *who, one, approval.identity) for one in images)
    )


def document(item: Item) -> dict[str, Any]:
    """The stored document, how it stands, and until when."""
    status: dict[str, Any] = {
        "standing": item.standing,
        "stands": moments.text(item.stands_s) if item.stands_s is not None else None,
    }
    if item.approval is None:
        return {"id": item.key, "status": {**status, "problem": item.problem}}
    return {**codec.document(item.approval), "status": status}


def account(approval: Approval) -> str:
    """Whom an approval is for: `NAMESPACE/NAME`, or that there was no token."""
    return f"{approval.namespace}/{approval.service_account}" if approval.namespace else NO_TOKEN
