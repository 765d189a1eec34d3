"""`pullpass orders`: those of this node, lifted, and taken over from a fleet's set."""

from __future__ import annotations

import os
from itertools import chain
from typing import TYPE_CHECKING, Any

from pullpass import admin, config
from pullpass.approvals import order_form, order_store, order_sync, orders
from pullpass.clock import SystemClock
from pullpass.commands import Output, Subcommand, giving, showing
from pullpass.errors import ANSWERED, escape, number_of

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from pullpass.approvals.order_store import Listed

DESCRIPTION = """The orders that requests on this node are held to. They are given by `pullpass revalidate` and
`pullpass block`, or come for a whole fleet by `pullpass orders sync`."""
EXAMPLE = "  pullpass orders list"

HEADINGS = ("ID", "ACTION", "STATE", "FROM", "SELECTS", "EXPIRES", "BY", "REASON")


def _no_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def _lift_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("ids", metavar="ID", nargs="+", help="an order, or the name of a file that can't be read")
    giving.add_by(parser)


def _sync_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        metavar="DIR",
        dest="source",
        required=True,
        help="a mounted ConfigMap, or a directory of *.json files",
    )
    giving.add_by(parser)


def _list(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    found = order_store.listing(settings.paths.state, SystemClock().now_s())
    place = orders.directory(settings.paths.state)
    text = chain(showing.table(HEADINGS, map(_row, found), "no orders"), _remedies(found, arguments))
    return Output(ANSWERED, (_document(listed, place) for listed in found), text)


def _remedies(found: list[Listed], arguments: argparse.Namespace) -> Iterator[str]:
    """What to do about each file that can't be read: under the table, where a command stands on a line of its own."""
    for listed in found:
        if listed.problem is not None:
            problem = listed.problem.under(arguments.other_config)
            yield f"\n{escape(listed.shown)}: {escape(problem.what)}\n  {escape(problem.hint)}\n"


def _row(listed: Listed) -> tuple[str, ...]:
    order = listed.order
    if order is None:
        source = "remote" if listed.name == os.path.basename(orders.remote_path("")) else "local"
        return listed.shown, "", "UNREADABLE", source, "stops every request", "", "", ""
    expires = "never" if order.expires_s is None else showing.second(order.expires_s)
    starts = listed.state
    if listed.state == order_store.SCHEDULED and order.not_before_s is not None:
        starts = f"{listed.state} {showing.second(order.not_before_s)}"
    source = "remote" if order.remote else "local"
    return order.id, order.action, starts, source, order_form.selects(order), expires, order.by, order.reason


def _document(listed: Listed, place: str) -> dict[str, Any]:
    """The stored document, and where it stands."""
    status = {"state": listed.state, "file": os.path.join(place, listed.name)}
    if listed.order is not None:
        return {**order_form.encode(listed.order), "status": {**status, "remote": listed.order.remote}}
    problem = listed.problem
    return {"status": status | ({"problem": problem.what, "hint": problem.hint} if problem else {})}


def _lift(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    with giving.at_this_node(arguments):
        names = order_store.lift(admin.desk(settings, SystemClock(), giving.who(arguments)), arguments.ids)
    lifted = [orders.lift_word(name) for name in names]
    document = {"lifted": lifted, "files": list(names)}
    return Output(ANSWERED, document, "".join(f"lifted {escape(word)}\n" for word in lifted))


def _sync(arguments: argparse.Namespace) -> Output:
    settings = config.load(arguments.config)
    desk = admin.desk(settings, SystemClock(), giving.who(arguments))
    with giving.at_this_node(arguments):
        done = order_sync.sync(desk, os.path.abspath(arguments.source))
    lines = [f"{word} {name}\n" for word, names in done._asdict().items() if word != "kept" for name in names]
    lines.append(f"{number_of(len(done.kept), 'order')} unchanged\n")
    return Output(ANSWERED, done._asdict(), "".join(lines))


SUBCOMMANDS = {
    "list": Subcommand(
        "the orders of this node, in force or not, and files that are none",
        "  pullpass orders list --json | jq '.[] | select(.status.state == \"in force\") | .id'",
        _no_arguments,
        _list,
    ),
    "lift": Subcommand(
        "remove local orders: all that are named, or none", "  pullpass orders lift incident-17", _lift_arguments, _lift
    ),
    "sync": Subcommand(
        "take over the set of orders in a directory, all or nothing",
        "  pullpass orders sync --from /etc/pullpass/orders",
        _sync_arguments,
        _sync,
    ),
}
