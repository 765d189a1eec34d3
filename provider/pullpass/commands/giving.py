"""Giving an order: what `revalidate` and `block` have in common."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pullpass import admin, approvals, config, patterns
from pullpass.approvals import order_form, order_store, orders
from pullpass.approvals.orders import Order
from pullpass.clock import SystemClock
from pullpass.commands import Output, showing
from pullpass.errors import ANSWERED, PullpassError, escape, number_of, outside
from pullpass.store import moments
from pullpass.upkeep import NO_TOKEN, faults

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable, Iterator

    from pullpass.admin import Hits
    from pullpass.approvals import Approval
    from pullpass.config import Config

SHOWN_ROWS = 20  # of a table; `--json` has all
APPROVALS = ("SERVICE ACCOUNT", "IDENTITY", "IMAGES", "VALIDATED", "PASSWORD ENDS")
IMAGES = ("IMAGE", "APPROVALS", "BITES BY", "PASSWORDS END")
# member of an order's document -> the option that it comes from
OPTIONS = {
    "id": "--id",
    "reason": "--reason",
    "by": "--by",
    "selector.image": "--image",
    "selector.serviceAccount": "--service-account",
    "selector.identity": "--identity",
}
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
    """Who says so.

    Raises:
        PullpassError: `usage`: the option says nothing, or more than a line of the trail should hold.
    """
    by: str | None = arguments.by
    if by is None:
        return admin.operator(os.environ.get("SUDO_USER"))
    if not 0 < len(by) <= order_form.BY_MAX_CHARS or not _is_utf8(by):
        expected = f"1 to {order_form.BY_MAX_CHARS} characters in UTF-8"
        hint = f"see `{arguments.words} --help`"
        raise PullpassError("usage", f'--by is "{outside(by, 64)}", expected {expected}', hint)
    return by


def _is_utf8(word: str) -> bool:
    """Whether a word of the command line was UTF-8: Python has let half a surrogate pair stand for what was not."""
    return not any("\ud800" <= char <= "\udfff" for char in word)


@contextlib.contextmanager
def at_this_node(arguments: argparse.Namespace) -> Iterator[None]:
    """Have an error about an order's file name a command that is about the same node, wherever its configuration is."""
    try:
        yield
    except orders.UnreadableOrdersError as error:
        raise error.under(arguments.other_config) from None


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
        with at_this_node(arguments):
            order, new = order_store.create(admin.desk(settings, clock, wanted.by), wanted)
    except ValueError as error:
        raise PullpassError("usage", outside(_in_options(error)), f"see `pullpass {action} --help`") from None
    now_s = clock.now_s()
    tell = showing.progress("approvals read")
    hits = admin.Hits(order, _stored(settings), settings.approval.recheck_s, now_s, tell)
    return Output(ANSWERED, admin.document(order, new=new, hits=hits), _text(hits, new=new, now_s=now_s))


def _in_options(error: ValueError) -> str:
    """What is wrong with an order, by the options that it was given by."""
    if isinstance(error, order_form.MemberError):
        return f"{OPTIONS.get(error.member, error.member)} {error.why}"
    return str(error)


def _stored(settings: Config) -> admin.Stored:
    with faults(settings.paths):
        yield from approvals.scan(settings.paths.state)


def _order(action: str, arguments: argparse.Namespace) -> Order:
    globs = (arguments.image, arguments.service_account, arguments.identity)
    hint = f"see `pullpass {action} --help`"
    if not arguments.all and not any(globs):
        raise PullpassError("usage", "nothing is selected: --all, --image, --service-account or --identity", hint)
    if arguments.all and any(glob is not None for glob in globs):
        raise PullpassError("usage", "--all stands beside another selector", hint)
    if "" in globs:
        raise PullpassError("usage", "a selector is empty, which would select everything", hint)
    if not _is_utf8(arguments.reason):
        raise PullpassError("usage", "--reason is not UTF-8, and could not be read again from the order's file", hint)
    _check_identity(arguments.identity, hint)
    now_s = SystemClock().now_s()
    expires_s = _moment(arguments.expires, "--expires", hint)
    if expires_s is not None and expires_s <= now_s:
        raise PullpassError("usage", f"--expires {outside(arguments.expires)} is over already", hint)
    not_before_s = _moment(arguments.not_before, "--not-before", hint)
    if expires_s is not None and not_before_s is not None and expires_s <= not_before_s:
        raise PullpassError("usage", "--expires is not after --not-before, so it would never be in force", hint)
    return Order(
        order_store.new_id(action, now_s) if arguments.id is None else arguments.id,
        action,
        arguments.image or "",
        arguments.service_account or "",
        arguments.identity or "",
        now_s,
        not_before_s,
        expires_s,
        arguments.reason,
        who(arguments),
        remote=False,
    )


def _check_identity(glob: str | None, hint: str) -> None:
    """Refuse a word that no request can have for its identity: its order would look like a closed door.

    Only here, and not where orders are read: a stored order may be of a version that knows more identities, and one
    that can't be read stops every request. A glob with a `*` is not judged: `what it hits` shows what that is about.
    """
    if glob is None or "*" in glob:
        return
    why = "it is no identity of a request" if glob == patterns.REFUSE or "{" in glob else ""
    try:
        order_form.check_identity(glob)
        patterns.check_identity(glob)
    except ValueError as error:
        why = str(error)
    if why:
        known = "a role ARN, the e-mail address of a service account, principal, node, anonymous"
        what = f'--identity is "{outside(glob)}": {why}; expected {known}, or a glob of these with *'
        raise PullpassError("usage", what, hint)


def _moment(written: str | None, option: str, hint: str) -> float | None:
    if written is None:
        return None
    try:
        return moments.parse(written)
    except ValueError:
        raise PullpassError("usage", f"{option} is {outside(written, 64)}, expected {MOMENT}", hint) from None


# --- what it came to, for people


def _text(hits: Hits, *, new: bool, now_s: float) -> Iterator[str]:
    order = hits.order
    was = "" if new else " already, unchanged"
    yield _lines([f"order {order.id} is {order_store.state_of(order, now_s)}{was}", *_told(order), ""])
    rows: list[tuple[str, ...]] = []
    for approval, images in hits:
        if len(rows) < SHOWN_ROWS:
            rows.append(_row(approval, images))
    if rows:
        yield from showing.table(APPROVALS, rows, "")
        yield _lines(_more(hits.approvals, "approvals"))
    yield _lines(_counted(hits))
    if hits.images:
        yield "\n"
        yield from showing.table(IMAGES, _image_rows(hits), "")
        yield _lines(_more(len(hits.images), "images"))
    yield _lines(
        ["", f"It bites by {showing.second(hits.bites_by_s)} at the latest: until then the kubelet may hold an answer."]
    )
    if hits.ends_too_soon():
        yield _lines(["It ends before that, so what the kubelet holds may never meet it."])
    yield _lines(["What it does not close:", *(f"  - {what}" for what in admin.stays_open(order))])


def _told(order: Order) -> Iterator[str]:
    yield f"  action   {order.action}"
    yield f"  selects  {order_form.selects(order)}"
    if order.not_before_s is not None:
        yield f"  begins   {moments.text(order.not_before_s)}"
    if order.expires_s is not None:
        yield f"  expires  {moments.text(order.expires_s)}"
    yield f"  reason   {order.reason}"
    yield f"  by       {order.by}, {moments.text(order.created_s)}"


def _row(approval: Approval, images: tuple[str, ...]) -> tuple[str, ...]:
    account = f"{approval.namespace}/{approval.service_account}" if approval.namespace else NO_TOKEN
    more = f" +{len(images) - 1}" if len(images) > 1 else ""
    times = (approval.last_validated_s, approval.registry_expires_s)
    return (account, approval.identity, images[0] + more, *map(showing.second, times))


def _counted(hits: Hits) -> Iterator[str]:
    over = f"; {hits.over} more it selects, whose password has ended already" if hits.over else ""
    if hits.approvals:
        yield f"It hits {number_of(hits.approvals, 'stored approval')}{over}"
    elif hits.renewed:
        yield f"It hits no approval that is stored now; {hits.renewed} it selects, validated under it already{over}"
    elif hits.over:
        yield f"It hits no approval that is stored now{over}"
    else:
        # Right for an order that comes before what it is about; and what a mistyped glob looks like.
        yield f"It matches no approval that is stored now, of {hits.read}. It selects {order_form.selects(hits.order)}:"
        yield "see that this is what you mean; `pullpass approvals list` shows what there is"
    if hits.unreadable:
        yield f"{number_of(hits.unreadable, 'file')} in the store can't be read; a request for each starts afresh"


def _image_rows(hits: Hits) -> Iterator[tuple[str, ...]]:
    most_first = sorted(hits.images.items(), key=lambda item: (-item[1].approvals, item[0]))
    for image, found in most_first[:SHOWN_ROWS]:
        yield image, str(found.approvals), showing.second(hits.bites_by_s), showing.second(found.passwords_end_s)


def _more(count: int, what: str) -> list[str]:
    return [f"... and {count - SHOWN_ROWS} more {what} (--json has all)"] if count > SHOWN_ROWS else []


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{escape(line)}\n" for line in lines)
