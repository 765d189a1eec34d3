"""What orders mean for this node: the approvals that one hits, by when it bites, and what it can't close.

Rules:

* By when: the kubelet keeps an answer for at most `approval.recheck`, then it asks again and is answered under the
  order. So an order bites `recheck` after it is in force, at the latest, at whatever starts a container from then on.
* An approval is hit when one of its repositories is selected and its password still lives. A `revalidate` does not hit
  what was validated under it already.
* Approvals are read one by one and never held together: there may be 100,000.
"""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import approvals, trail
from pullpass.approvals import order_form, orders
from pullpass.approvals.order_changes import Desk
from pullpass.store import moments
from pullpass.upkeep import TRAIL_WAIT_S, counted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pullpass.approvals import Approval
    from pullpass.approvals.orders import Order
    from pullpass.clock import Clock
    from pullpass.config import Config
    from pullpass.upkeep import Tell

    Stored = Iterable[tuple[str, Approval | approvals.UnreadableError]]

# What no order can do, whatever it says. The last word on each is the kubelet's or the registry's.
OPEN = (
    "a container that runs already is not stopped",
    (
        "an image that is open to the whole node (preloaded, once pulled without a service account, or its kubelet "
        "record is gone) starts without anybody being asked; so does every image where the kubelet verifies no records"
    ),
    (
        "an image pull secret, the node's docker configuration or another credential provider for the same image is "
        "asked as well, and its answer counts"
    ),
    "a password that was handed out works at the registry until it ends, for whoever has it",
)
STILL_ALLOWED = "whom policy and cloud still allow is given a new credential: only a block, or the cloud, refuses"


def desk(config: Config, clock: Clock, by: str) -> Desk:
    """Where this node's orders are changed.

    Args:
        config: the operator's configuration.
        clock: the run's clock.
        by: who changes them.
    """
    state, keep_s = config.paths.state, config.audit.keep_s

    def write(lines: list[dict[str, object]]) -> None:
        trail.append(state, lines, clock, wait_s=TRAIL_WAIT_S, sync=True, keep_s=keep_s)

    return Desk(state, config.node.cluster, by, clock, write)


def operator(sudo_user: str | None) -> str:
    """Who runs this command.

    Args:
        sudo_user: the variable that `sudo` sets, where it has. It is a name for the record and opens nothing.
    """
    if sudo_user:
        return sudo_user[: order_form.BY_MAX_CHARS]
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return f"uid {os.geteuid()}"


class Image(NamedTuple):
    """One image that an order hits.

    Attributes:
        approvals: how many.
        passwords_end_s: when the last of their passwords ends, seconds since the epoch.
    """

    approvals: int
    passwords_end_s: float


class Hits:
    """The approvals that an order hits, found while they are iterated over.

    Attributes:
        order: the order.
        bites_by_s: when it bites everywhere, seconds since the epoch.
        approvals: how many were hit so far.
        over: how many more are selected, whose password has ended already.
        renewed: how many more are selected, that were validated under the order already.
        read: how many were looked at.
        unreadable: how many files were no approvals; the next request for each makes a new one.
        images: what was hit so far.
    """

    def __init__(self, order: Order, stored: Stored, recheck_s: float, now_s: float, tell: Tell = None) -> None:
        """Prepare to look.

        Args:
            order: the order.
            stored: the approvals, as `approvals.scan` gives them.
            recheck_s: `approval.recheck`.
            now_s: the time, seconds since the epoch.
            tell: is told now and then how many approvals were read.
        """
        self.order = order
        self.bites_by_s = max(now_s, order.not_before_s or 0.0) + recheck_s
        self.approvals = self.over = self.renewed = self.read = self.unreadable = 0
        self.images: dict[str, Image] = {}
        self._stored, self._now_s, self._tell = stored, now_s, tell

    def __iter__(self) -> Iterator[tuple[Approval, tuple[str, ...]]]:
        """Each approval that is hit, and which of its images; counting as it goes."""
        for _, found in counted(self._stored, self._tell):
            if isinstance(found, approvals.UnreadableError):
                self.unreadable += 1
                continue
            self.read += 1
            images = selected(self.order, found)
            if images and found.registry_expires_s <= self._now_s:
                self.over += 1
            elif images and self.order.action == orders.REVALIDATE and self.order.id in found.validated_under:
                self.renewed += 1
            elif images:
                self._count(found, images)
                yield found, images

    def _count(self, approval: Approval, images: Iterable[str]) -> None:
        self.approvals += 1
        for image in images:
            before = self.images.get(image, Image(0, 0.0))
            self.images[image] = Image(before.approvals + 1, max(before.passwords_end_s, approval.registry_expires_s))

    def ends_too_soon(self) -> bool:
        """Whether the order is over before it bites everywhere."""
        return self.order.expires_s is not None and self.order.expires_s < self.bites_by_s


def selected(order: Order, approval: Approval) -> tuple[str, ...]:
    """The images of an approval that an order is about."""
    who = (approval.namespace, approval.service_account)
    return tuple(image for image in approval.repositories if orders.matches(order, *who, image, approval.identity))


def document(order: Order, *, new: bool, hits: Hits) -> dict[str, Any]:
    """What giving an order has come to. The arrays are iterators, to be read in their order.

    Args:
        order: as it is stored.
        new: whether it was not there before.
        hits: of the order, not iterated over.
    """
    return {
        "order": order_form.encode(order),
        "created": new,
        "bitesBy": moments.text(hits.bites_by_s),
        "endsTooSoon": hits.ends_too_soon(),
        "approvals": (_hit(approval, images) for approval, images in hits),
        "images": (
            {"image": image, "approvals": found.approvals, "passwordsEnd": moments.text(found.passwords_end_s)}
            for image, found in _once(hits.images)
        ),
        "staysOpen": stays_open(order),
    }


def _once(images: dict[str, Image]) -> Iterator[tuple[str, Image]]:
    """The images, looked at only when they are asked for: after the approvals."""
    yield from sorted(images.items())


def _hit(approval: Approval, images: Iterable[str]) -> dict[str, Any]:
    account = {"namespace": approval.namespace, "name": approval.service_account, "uid": approval.uid}
    return {
        "id": approval.key,
        "state": approval.state,
        "serviceAccount": account if approval.namespace else None,
        "identity": approval.identity,
        "images": list(images),
        "lastValidated": moments.text(approval.last_validated_s),
        "registryExpires": moments.text(approval.registry_expires_s),
    }


def stays_open(order: Order) -> list[str]:
    """What the order can't close, in words."""
    return [*OPEN, *([STILL_ALLOWED] if order.action == orders.REVALIDATE else [])]
