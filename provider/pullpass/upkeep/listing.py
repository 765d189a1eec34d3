"""Approvals one by one, and what the program would do with each at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import approvals, patterns
from pullpass.approvals import UnreadableError, codec, orders
from pullpass.errors import PullpassError
from pullpass.upkeep import NO_TOKEN, TOLD_EVERY

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
    """

    key: str
    approval: Approval | None
    problem: str
    standing: str


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


def items(config: Config, outlook: Outlook, wanted: Wanted, tell: Tell = None) -> Iterator[Item]:
    """The approvals that are asked for, as they are found, in no order.

    What can't be read has no members to compare, so it is among them only when everything is asked for.

    Args:
        config: the operator's configuration.
        outlook: of now.
        wanted: which ones.
        tell: is told now and then how many files were read.

    Raises:
        PullpassError: `state-path`.
        OSError: the directory can't be listed.
    """
    for count, (key, found) in enumerate(approvals.scan(config.paths.state), 1):
        if tell and count % TOLD_EVERY == 0:
            tell(count)
        if isinstance(found, UnreadableError):
            if wanted == Wanted():
                yield Item(key, None, found.what, UNREADABLE)
            continue
        item = Item(key, found, "", standing(found, outlook))
        if _is_wanted(item, found, wanted):
            yield item


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
    """The stored document, and how it stands."""
    if item.approval is None:
        return {"id": item.key, "status": {"standing": item.standing, "problem": item.problem}}
    return {**codec.document(item.approval), "status": {"standing": item.standing}}


def account(approval: Approval) -> str:
    """Whom an approval is for: `NAMESPACE/NAME`, or that there was no token."""
    return f"{approval.namespace}/{approval.service_account}" if approval.namespace else NO_TOKEN
