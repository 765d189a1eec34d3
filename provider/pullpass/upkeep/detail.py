"""Everything about one approval: what is stored, what is in the cache, and what would come of it now."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pullpass import approvals, stored
from pullpass.approvals import UnreadableError, codec, orders
from pullpass.cache import disk
from pullpass.errors import PullpassError, outside, shell_word
from pullpass.store import digest, moments
from pullpass.upkeep import listing

if TYPE_CHECKING:
    from pullpass.approvals import Approval
    from pullpass.approvals.orders import Order
    from pullpass.config import Config
    from pullpass.upkeep.listing import Item, Outlook

PREFIX_CHARS = 8  # of a key, at least: fewer begin more than one in a store of some thousands

# What an order in force does about an approval.
REFUSES = "refuses"
VOIDS = "voids"
VALIDATED = "validated"

# What comes of each standing; `_next` knows about a living one.
NEXT = {
    approvals.EXPIRED: "the next request makes an exchange",
    approvals.AHEAD: "the next request makes an exchange: it is from the future, so a clock was wrong, or is",
    approvals.VOIDED: "the next request makes an exchange, under the order",
    approvals.REMEMBERED: "requests are refused without asking the cloud, until the denial counts no more",
    listing.LAPSED: "the next request asks the cloud again",
    listing.BLOCKED: "requests are refused until the order is over or lifted",
    listing.STOPPED: "every request is refused until the order can be read",
    listing.UNREADABLE: "the next request makes an exchange, and the file is replaced",
}
IN_THE_WAY = "the next request fails: a directory stands in the place of the approval that it would write"


def find(config: Config, outlook: Outlook, beginning: str) -> Item:
    """The approval whose key begins like this.

    Args:
        config: the operator's configuration.
        outlook: of now.
        beginning: of the key, at least `PREFIX_CHARS`, or the whole of it.

    Raises:
        PullpassError: `usage` when it is too short; `approval-unknown` when there is none, or more than one;
            `state-path`.
        OSError: the directory can't be listed.
    """
    state = config.paths.state
    keys = [key for key in approvals.keys(state) if key.startswith(beginning)]
    if beginning in keys:
        keys = [beginning]
    elif len(beginning) < PREFIX_CHARS:
        raise PullpassError("usage", f"the key {outside(beginning)} has less than {PREFIX_CHARS} characters")
    if len(keys) != 1:
        some = f"{len(keys)} approvals begin" if keys else "no approval begins"
        raise PullpassError("approval-unknown", f"{some} with {outside(beginning)}")
    try:
        approval = approvals.find(approvals.directory(state, make=False), keys[0])
    except UnreadableError as error:
        return listing.Item(keys[0], None, error.what, listing.UNREADABLE)
    if approval is None:
        raise PullpassError("approval-unknown", f"{keys[0]} was removed just now")
    return listing.judged(keys[0], approval, outlook)


def document(config: Config, item: Item, outlook: Outlook, other_config: str = "") -> dict[str, Any]:
    """All of it.

    Args:
        config: the operator's configuration.
        item: of `find`.
        outlook: of now.
        other_config: the configuration's path where a command needs to be told it; "" where it is the default.

    Returns:
        `approval` (the stored document, or null), `file`, `problem` (why there is none), `remedy` (of a problem),
        `standing`, `next` (what the next request comes to, as far as policy and token let it come), `repositories`
        (each with its own standing, since orders select images), `orders` (those in force that are about it, each with
        its `effect`: it `refuses`, it `voids`, or the approval was `validated` under it), `cache` (never what is in
        it), `stands` (until when it stands, or stood: `expires`, or sooner when `approval.max_age` was lowered since;
        null where its age is not what counts), `renewedFrom` (null when it is not renewed before its end), `usedUntil`
        (should the cloud be out of reach; null when it would not be used then).
    """
    approval = item.approval
    path = os.path.join(approvals.directory(config.paths.state, make=False), f"{item.key}.json")
    found: dict[str, Any] = {
        "approval": codec.document(approval) if approval else None,
        "file": path,
        "problem": item.problem or None,
        "remedy": None if approval else _remedy(item.key, path, other_config),
        "standing": item.standing,
    }
    cache = _cache(config, approval) if approval else None
    found["next"] = _next(item, outlook, cache) if approval else _next_without(item.key, path)
    found["cache"] = cache
    found["repositories"] = _repositories(approval, outlook) if approval else []
    found["orders"] = _orders(approval, outlook) if approval else []
    return found | _moments(item, outlook, is_cached=bool(cache and cache["decrypts"]))


def _remedy(key: str, path: str, other_config: str) -> str:
    """What to do about a file that can't be read."""
    options = "-r " if _is_directory(path) else ""  # which pruning leaves
    remove = f"`rm {options}{shell_word(path)}` removes it"
    command = f"pullpass approvals prune --unreadable{f' --config {shell_word(other_config)}' if other_config else ''}"
    prune = "" if options else f"; `{command}` removes all such, with a line in the trail each"
    after = "the next request makes it anew" if digest.is_sha256(key) else "no request makes one of this name"
    return f"{remove}{prune}; {after}"


def _next_without(key: str, path: str) -> str:
    """What a request comes to whose approval can't be read: a file in its way is replaced, a directory is not."""
    if not digest.is_sha256(key):
        return "no request is about one of this name"
    return IN_THE_WAY if _is_directory(path) else NEXT[listing.UNREADABLE]


def _is_directory(path: str) -> bool:
    return os.path.isdir(path) and not os.path.islink(path)


def _next(item: Item, outlook: Outlook, cache: dict[str, Any] | None) -> str:
    if item.approval is None or item.standing != approvals.LIVING:
        return NEXT[item.standing]
    if item.approval.life_ends_s - outlook.now_s < outlook.times.min_life_s:
        return "the next request makes an exchange: less than approval.min_life is left of the credential"
    if cache and cache["decrypts"]:
        return "requests are served from the cache"
    return "the next request makes an exchange: the cache has no credential for it"


def _cache(config: Config, approval: Approval) -> dict[str, Any]:
    path = disk.path(config.paths.runtime, approval.key)
    credential, damages = stored.cached(config, approval, make=False)
    return {
        "file": path,
        "present": os.path.lexists(path),
        "decrypts": credential is not None,
        "problem": "; ".join(damage.message for damage in damages) or None,
    }


def _repositories(approval: Approval, outlook: Outlook) -> list[dict[str, Any]]:
    return [
        {
            "image": image,
            "grant": item.grant,
            "firstApproved": moments.text(item.first_approved_s),
            "standing": listing.standing(approval, outlook, image),
        }
        for image, item in approval.repositories.items()
    ]


def _orders(approval: Approval, outlook: Outlook) -> list[dict[str, Any]]:
    return [
        {
            "id": order.id,
            "action": order.action,
            "effect": _effect(order, approval),
            "reason": order.reason,
            "by": order.by,
        }
        for order in listing.applying(approval, outlook.orders)
    ]


def _effect(order: Order, approval: Approval) -> str:
    if order.action == orders.BLOCK:
        return REFUSES
    return VALIDATED if order.id in approval.validated_under else VOIDS


def _moments(item: Item, outlook: Outlook, *, is_cached: bool) -> dict[str, str | None]:
    """What is coming, and when; null for what won't be."""
    approval, ends_s, times = item.approval, item.stands_s, outlook.times
    found: dict[str, str | None] = dict.fromkeys(("stands", "renewedFrom", "usedUntil"))
    if approval is None or ends_s is None:
        return found
    found["stands"] = moments.text(ends_s)
    if not is_cached:  # there is nothing that could be renewed, or used on
        return found
    served_until_s = min(ends_s, approval.life_ends_s - times.min_life_s)
    renewed_s = stored.renewed_from_s(approval)
    if item.standing == approvals.LIVING and renewed_s < served_until_s:
        found["renewedFrom"] = moments.text(renewed_s)
    used_until_s = min(ends_s + times.outage_s, approval.registry_expires_s - times.min_life_s)
    if times.outage_s and used_until_s > max(served_until_s, outlook.now_s):
        found["usedUntil"] = moments.text(used_until_s)
    return found
