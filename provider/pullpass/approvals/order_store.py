"""Orders for people: make one, list them, lift them. How a change is made safe is in `order_changes`.

Rules:

* Declarative: making an order twice is making it once. Who made it and when are not compared, so that a configuration
  tool may run the same command again as somebody else; the first stands.
* An order is never changed, only lifted; the ids of what was lifted are not used again.
* A file that can't be read as an order stops every request, so it can be seen in the list and lifted by its name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from pullpass.approvals import order_form, orders
from pullpass.approvals.order_changes import CREATED, LIFTED, Change, apply, body, changing, fingerprint, use, used
from pullpass.errors import PullpassError, outside
from pullpass.lean import to_json
from pullpass.store import files, moments, strict

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pullpass.approvals.order_changes import Desk
    from pullpass.approvals.orders import Order

SCHEDULED = "scheduled"
IN_FORCE = "in force"
EXPIRED = "expired"
UNREADABLE = "unreadable"


class Listed(NamedTuple):
    """One order, or a file that is none.

    Attributes:
        name: of its file, in the directory of orders.
        order: None for what can't be read.
        problem: why not; None for an order.
        state: `SCHEDULED`, `IN_FORCE`, `EXPIRED` or `UNREADABLE`.
    """

    name: str
    order: Order | None
    problem: orders.UnreadableOrdersError | None
    state: str

    @property
    def shown(self) -> str:
        """What people call it: its id, or the name of a file that has none."""
        return self.order.id if self.order else orders.lift_word(self.name)


def new_id(action: str, now_s: float) -> str:
    """An id that no other order has: the action, the time, and three random bytes.

    Args:
        action: of the order.
        now_s: the time, seconds since the epoch.
    """
    digits = "".join(char for char in moments.text(now_s) if char.isdigit())
    return f"{action}-{digits[:8]}-{digits[8:14]}-{os.urandom(3).hex()}"


def render(order: Order) -> bytes:
    """The file of an order, after everything that its readers will ask of it.

    Args:
        order: any; what is wrong with it would stop every request.

    Raises:
        ValueError: says what is wrong.
    """
    check_times(order)
    try:
        raw = to_json(order_form.encode(order)).encode("ascii") + b"\n"
        order_form.decode(strict.parse(raw))
    except strict.DocumentError as error:
        raise ValueError(f"the order {error.what}") from None
    return raw


def check_times(order: Order) -> None:
    """Refuse an order that could never be in force.

    Raises:
        ValueError: its end is not after its begin.
    """
    if order.expires_s is not None and order.not_before_s is not None and order.expires_s <= order.not_before_s:
        raise ValueError("expires is not after notBefore, so it would never be in force")


def create(desk: Desk, order: Order) -> tuple[Order, bool]:
    """Put a local order in force, or find it there.

    Args:
        desk: where, and how it is written down.
        order: the order.

    Returns:
        The order as it is stored, and whether it was not there before.

    Raises:
        ValueError: as `render`.
        PullpassError: `order-conflict` for a used id; `order-unreadable`, `order-unwritable`, and those of the trail.
    """
    raw = render(order)
    name = f"{order.id}.json"
    with changing(desk):
        there = orders.read_local(desk.state, name)
        if there is not None:
            if there._replace(created_s=0.0, by="") != order._replace(created_s=0.0, by=""):
                path = outside(orders.local_path(desk.state, order.id))
                what = f"there is another order of the id {order.id}, {path}: a {order_form.told(there)}"
                raise PullpassError("order-conflict", f'{what}, reason "{outside(there.reason, 64)}"')
            return there, False
        for remote in orders.read_remote(desk.state) or ():
            if remote.id == order.id:
                path = outside(orders.remote_path(desk.state))
                what = f"there is a remote order of the id {order.id}, in {path}: a {order_form.told(remote)}"
                raise PullpassError("order-conflict", what)
        if order.id in used(desk.state):
            raise PullpassError("order-conflict", f"the id {order.id} belonged to an order that was lifted")
        if len(orders.local_names(desk.state) or ()) >= orders.LIMIT:
            what = f"there are {orders.LIMIT} local orders, and every request reads them all"
            raise PullpassError("order-conflict", what, "lift those that are over: `pullpass orders list` shows them")
        apply(
            desk,
            Change(CREATED, (name,)),
            [body(desk, CREATED, order_form.encode(order))],
            lambda: files.write_atomic(orders.local_path(desk.state, order.id), raw, sync=True),
        )
    return order, True


def listing(state: str, now_s: float) -> list[Listed]:
    """Every order, and every file that is none, by name.

    Args:
        state: the state directory.
        now_s: the time, seconds since the epoch.

    Raises:
        PullpassError: `order-unreadable`, for the whole directory only; `state-path`, as every request is refused then.
    """
    names = orders.local_names(state)
    # Whoever may change a directory above can put another one here: no request believes what it finds then.
    files.check_way(orders.directory(state))
    if names is None:
        return []
    remote_name = os.path.basename(orders.remote_path(state))
    found = []
    remote: tuple[Order, ...] = ()
    try:
        remote = orders.read_remote(state) or ()
    except orders.UnreadableOrdersError as error:
        found.append(Listed(remote_name, None, error, UNREADABLE))
    found += [Listed(remote_name, order, None, state_of(order, now_s)) for order in remote]
    by_id = {order.id: order for order in remote}
    for name in names:
        try:
            order = orders.read_local(state, name)
            if order is not None and order.id in by_id:
                raise orders.conflict(state, order, by_id[order.id])
        except orders.UnreadableOrdersError as error:
            found.append(Listed(name, None, error, UNREADABLE))
            continue
        if order is not None:
            found.append(Listed(name, order, None, state_of(order, now_s)))
    return sorted(found, key=lambda listed: (listed.shown, listed.name))


def state_of(order: Order, now_s: float) -> str:
    """`SCHEDULED`, `IN_FORCE` or `EXPIRED` at a moment, seconds since the epoch."""
    if orders.in_force([order], now_s):
        return IN_FORCE
    return SCHEDULED if order.not_before_s is not None and now_s < order.not_before_s else EXPIRED


def lift(desk: Desk, words: Iterable[str]) -> tuple[str, ...]:
    """Remove local orders, all or none.

    Args:
        desk: where, and how it is written down.
        words: ids, or names of files that are no readable orders.

    Returns:
        The names of the files removed.

    Raises:
        PullpassError: `order-unknown`, `order-remote`, `order-unwritable`, and those of the trail.
    """
    with changing(desk):
        names = _names(desk.state, words)
        lines: list[dict[str, object]] = []
        ids: dict[str, str] = {}
        for name in names:
            document, fingerprinted = _lifted(desk.state, name)
            lines.append(body(desk, LIFTED, document))
            ids |= fingerprinted
        apply(desk, Change(LIFTED, names), lines, lambda: _remove(desk.state, names, ids))
    return names


def _names(state: str, words: Iterable[str]) -> tuple[str, ...]:
    there = set(orders.local_names(state) or ())
    names: dict[str, None] = {}  # a set in order
    unknown = []
    for word in words:
        found = next((name for name in (f"{word}.json", word) if name in there), None)
        if found is None:
            unknown.append(word)
        else:
            names[found] = None
    if unknown:
        _refuse(state, unknown)
    return tuple(names)


def _refuse(state: str, unknown: list[str]) -> None:
    """Say why these can't be lifted."""
    path = orders.remote_path(state)
    if {order_form.REMOTE_ID, os.path.basename(path)} & set(unknown):
        what = f"{outside(path)} holds all remote orders"
        raise PullpassError("order-remote", what, "`pullpass orders sync --from DIR` replaces it, readable or not")
    remote = {order.id for order in orders.read_remote(state) or ()}
    if found := remote.intersection(unknown):
        raise PullpassError("order-remote", f"{', '.join(sorted(found))} came by `orders sync`")
    raise PullpassError("order-unknown", f"there is no order {outside(', '.join(unknown))}; nothing was lifted")


def _lifted(state: str, name: str) -> tuple[dict[str, object], dict[str, str]]:
    """What the trail says of an order that is to go, and what is kept of it."""
    try:
        order = orders.read_local(state, name)
    except PullpassError as error:
        document: dict[str, object] = {"file": name, "problem": error.what}
        stem = name.removesuffix(".json")
        return ({"id": stem} | document, {stem: ""}) if order_form.is_id(stem) else (document, {})
    if order is None:  # removed by hand just now
        raise PullpassError("order-unknown", f"there is no order {outside(name)} any more; nothing was lifted")
    return order_form.encode(order), {order.id: fingerprint(order)}


def _remove(state: str, names: Iterable[str], ids: dict[str, str]) -> None:
    place = orders.directory(state)
    use(state, ids)  # first: an id must not come free for a moment
    for name in names:
        os.unlink(os.path.join(place, name))
    files.sync_directory(place)
