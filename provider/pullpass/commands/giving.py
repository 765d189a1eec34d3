"""Giving an order: what `revalidate` and `block` have in common."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from pullpass import admin, config
from pullpass.approvals import order_store
from pullpass.approvals.orders import Order
from pullpass.clock import SystemClock
from pullpass.commands import Output
from pullpass.errors import ANSWERED, PullpassError, outside
from pullpass.store import moments

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

MOMENT = "a moment in UTC such as 2026-11-24T16:00:00Z (`date -u -d '+2 hours' +%FT%TZ` writes one)"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare selector, reason, times and who says so."""
    selector = parser.add_argument_group("SELECTOR", "what it is about; several are joined by and")
    selector.add_argument("--all", action="store_true", help="everything, requests without a token included")
    selector.add_argument("--image", metavar="GLOB", help="HOST/REPOSITORY; * within a segment, ** any depth")
    selector.add_argument("--service-account", metavar="NS/NAME", help="a service account, or a glob of them")
    selector.add_argument("--identity", metavar="GLOB", help="what the workload becomes: a role ARN, an e-mail, ...")
    parser.add_argument("--reason", metavar="T", required=True, help="why; refusals and the audit trail show it")
    parser.add_argument(
        "--not-before", metavar="T", help=f"when it begins, {MOMENT}; at once by default".replace("%", "%%")
    )
    parser.add_argument("--expires", metavar="T", help="when it ends; never by default")
    parser.add_argument("--id", metavar="ID", help="of a-z, 0-9 and -; the same command again is one order then")
    add_by(parser)


def add_by(parser: argparse.ArgumentParser) -> None:
    """Declare who says so."""
    parser.add_argument("--by", metavar="WHO", help="who says so (default: the user, before sudo where it is known)")


def who(arguments: argparse.Namespace) -> str:
    """Who says so."""
    return arguments.by or admin.operator(os.environ.get("SUDO_USER"))


def run(action: str, arguments: argparse.Namespace) -> Output:
    """Give the order, and tell what it hits.

    Args:
        action: `revalidate` or `block`.
        arguments: as `add_arguments` declares them.

    Raises:
        PullpassError: `usage`; those of the configuration and of `order_store.create`.
    """
    wanted = _order(action, arguments)
    settings = config.load(arguments.config)
    clock = SystemClock()
    try:
        order, new = order_store.create(admin.desk(settings, clock, wanted.by), wanted)
    except ValueError as error:
        raise PullpassError("usage", outside(str(error)), f"see `pullpass {action} --help`") from None
    now_s = clock.now_s()
    hits = admin.Hits(settings.paths.state, order, settings.approval.recheck_s, now_s, progress("approvals read"))
    return Output(
        ANSWERED, admin.document(order, new=new, hits=hits), admin.text(order, new=new, hits=hits, now_s=now_s)
    )


def progress(what: str) -> Callable[[int], None] | None:
    """Tells a person who watches how far a long scan has come; None when nobody does."""
    if sys.stderr is None or not sys.stderr.isatty():
        return None

    def tell(count: int) -> None:
        sys.stderr.write(f"{count} {what}\n")

    return tell


def _order(action: str, arguments: argparse.Namespace) -> Order:
    globs = (arguments.image, arguments.service_account, arguments.identity)
    hint = f"see `pullpass {action} --help`"
    if not arguments.all and not any(globs):
        raise PullpassError("usage", "nothing is selected: --all, --image, --service-account or --identity", hint)
    if arguments.all and any(glob is not None for glob in globs):
        raise PullpassError("usage", "--all stands beside another selector", hint)
    if "" in globs:
        raise PullpassError("usage", "a selector is empty, which would select everything", hint)
    now_s = SystemClock().now_s()
    expires_s = _moment(arguments.expires, "--expires", hint)
    if expires_s is not None and expires_s <= now_s:
        raise PullpassError("usage", f"--expires {outside(arguments.expires)} is over already", hint)
    return Order(
        arguments.id or order_store.new_id(action, now_s),
        action,
        arguments.image or "",
        arguments.service_account or "",
        arguments.identity or "",
        now_s,
        _moment(arguments.not_before, "--not-before", hint),
        expires_s,
        arguments.reason,
        who(arguments),
        remote=False,
    )


def _moment(written: str | None, option: str, hint: str) -> float | None:
    if written is None:
        return None
    try:
        return moments.parse(written)
    except ValueError:
        raise PullpassError("usage", f"{option} is {outside(written, 64)}, expected {MOMENT}", hint) from None
