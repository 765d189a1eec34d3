"""Orders of a whole fleet: a directory that is written elsewhere, a mounted ConfigMap above all, taken over as one set.

Rules:

* A ConfigMap is mounted as a link `..data` to a directory of its own for each version, swapped by a rename. It is
  resolved once, and everything is read from the directory behind it; if it leads elsewhere afterwards, or anything
  there has changed, what was read is thrown away and read again. A plain directory has no such link: that its files
  stay as they are while they are read is all that can be seen.
* All or nothing: one wrong file, and the last good set stays. A wrong set must neither open what was blocked nor stop
  every pull of a fleet.
* No set is no empty set. A plain directory without files is a mount that is not there yet; a ConfigMap without keys,
  or a list without items, is an operator who has no more orders.
* An id is one action and one selector for ever (`order_changes`); reason and times may change.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pullpass.approvals import order_form, order_store, orders
from pullpass.approvals.order_changes import (
    LIFTED,
    SYNCED,
    Change,
    apply,
    body,
    changing,
    fingerprint,
    use,
    used,
    warning,
)
from pullpass.errors import PullpassError, outside
from pullpass.lean import to_json
from pullpass.store import digest, files, strict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pullpass.approvals.order_changes import Desk
    from pullpass.approvals.orders import Order
    from pullpass.clock import Clock

DATA = "..data"  # of kubelet's atomic writer, pkg/volume/util/atomic_writer.go
ATTEMPTS = 20
PAUSE_S = 0.05


class Synced(NamedTuple):
    """What a sync has done; ids, sorted.

    Attributes:
        added: orders that were not in the last set.
        changed: orders with another reason, author or time.
        removed: orders that are no longer in the set.
        kept: orders that are as they were.
    """

    added: tuple[str, ...]
    changed: tuple[str, ...]
    removed: tuple[str, ...]
    kept: tuple[str, ...]


class _WrongSetError(Exception):
    """The set can't be taken over; the text says why."""


def sync(desk: Desk, source: str) -> Synced:
    """Take over the orders in a directory as the remote set.

    Args:
        desk: where, and how it is written down.
        source: the directory.

    Raises:
        PullpassError: `order-set`, with a warning in the trail: the last good set stays. `order-unwritable`,
            `order-unreadable`, and those of the trail.
    """
    with changing(desk):
        try:
            found = read_set(source, desk.clock)
            return _take(desk, source, found)
        except _WrongSetError as error:
            what = f"{outside(source)}: {error}"
        try:
            desk.write([warning(desk, "order-set", what)])
        except PullpassError as error:
            what += f"; and the trail can't say so ({error.code}: {error.what})"
        raise PullpassError("order-set", what)


def _take(desk: Desk, source: str, found: tuple[Order, ...]) -> Synced:
    lines = []
    try:
        before = orders.read_remote(desk.state)
    except orders.UnreadableOrdersError as error:
        if not error.damaged:  # it may be as good as ever, and what is no longer in it would be forgotten
            raise
        before = None
        message = f"the last good set can't be read and is replaced by one of {len(found)} orders: {error.what}"
        lines.append(warning(desk, "order-unreadable", message))
    old = {order.id: order for order in before or ()}
    new = {order.id: order for order in found}
    _check_ids(desk.state, old, new)
    if len(new) > orders.LIMIT:
        raise _WrongSetError(
            f"the set has {len(new)} orders, at most {orders.LIMIT} are taken: every request reads them"
        )
    raw = to_json(order_form.encode_list(new[order_id] for order_id in sorted(new))).encode("ascii") + b"\n"
    if len(raw) > orders.REMOTE_LIMIT_BYTES:
        raise _WrongSetError(f"the set is longer than {orders.REMOTE_LIMIT_BYTES} bytes")
    done = Synced(
        tuple(sorted(new.keys() - old.keys())),
        tuple(sorted(name for name in new.keys() & old.keys() if new[name] != old[name])),
        tuple(sorted(old.keys() - new.keys())),
        tuple(sorted(name for name in new.keys() & old.keys() if new[name] == old[name])),
    )
    why = f"no longer in the set of {outside(source)}"
    lines += [body(desk, SYNCED, order_form.encode(new[name])) for name in (*done.added, *done.changed)]
    lines += [body(desk, LIFTED, order_form.encode(old[name]), why) for name in done.removed]
    if lines:
        gone = {name: fingerprint(old[name]) for name in done.removed}
        change = Change(SYNCED, (os.path.basename(orders.remote_path(desk.state)),), digest.sha256_hex(raw))
        apply(desk, change, lines, lambda: _replace(desk.state, raw, gone))
    return done


def _replace(state: str, raw: bytes, gone: dict[str, str]) -> None:
    use(state, gone)
    files.write_atomic(orders.remote_path(state), raw, sync=True)


def _check_ids(state: str, old: dict[str, Order], new: dict[str, Order]) -> None:
    """Refuse ids that mean, or meant, something else."""
    local = {name.removesuffix(".json"): name for name in orders.local_names(state) or ()}
    past = used(state) | {name: fingerprint(order) for name, order in old.items()}
    for name, order in new.items():
        if name in local:
            path = outside(os.path.join(orders.directory(state), local[name]))
            what = f"the id {name} belongs to a local order of this node, {path}"
            raise _WrongSetError(f"{what}, and here to a {order_form.told(order)}")
        if past.get(name, fingerprint(order)) != fingerprint(order):
            raise _WrongSetError(
                f"the id {name} had another action or selector before, and approvals remember it: choose another id"
            )


# --- reading a set


def read_set(source: str, clock: Clock) -> tuple[Order, ...]:
    """The orders in a directory, all of one version of it.

    Args:
        source: the directory.
        clock: for the pauses between attempts.

    Raises:
        _WrongSetError: there is no valid set, or it was changed each time it was read.
    """
    for _ in range(ATTEMPTS):
        place = _version(source)
        before = _look(place)
        try:
            found = _orders(place, before, mounted=place != source)
            failure = None
        except (_WrongSetError, OSError) as error:
            found, failure = (), error
        if place == _version(source) and before == _look(place):
            if failure is None:
                return found
            why = failure.strerror if isinstance(failure, OSError) else failure
            raise _WrongSetError(str(why)) from None
        clock.sleep(PAUSE_S)
    raise _WrongSetError(f"it was changed each of the {ATTEMPTS} times that it was read")


class _File(NamedTuple):
    """What tells one state of a file from another."""

    name: str
    inode: int
    size: int
    mtime_ns: int
    ctime_ns: int


def _version(source: str) -> str:
    """The directory that holds the files now: behind `..data` where there is one."""
    try:
        return os.path.join(source, os.readlink(os.path.join(source, DATA)))
    except FileNotFoundError:
        return source
    except OSError as error:
        raise _WrongSetError(f"{DATA} can't be followed: {error.strerror}") from None


def _look(place: str) -> tuple[_File, ...] | None:
    """The files in a version, by name; None when it is not there (any more)."""
    found = []
    try:
        for name in os.listdir(place):
            if name.startswith("."):
                continue
            status = os.stat(os.path.join(place, name))
            found.append(_File(name, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _WrongSetError(f"can't be read: {error.strerror}") from None
    return tuple(sorted(found))


def _orders(place: str, there: Sequence[_File] | None, *, mounted: bool) -> tuple[Order, ...]:
    if there is None:
        raise _WrongSetError("is not there, or holds a link that leads nowhere")
    _check_owner("the directory", os.stat(place))
    found: list[tuple[str, Order]] = []
    if not there and not mounted:
        raise _WrongSetError("is empty and no mounted ConfigMap: is the mount there?")
    for name in [file.name for file in there]:
        if not name.endswith(".json"):
            raise _WrongSetError(f"{outside(name)} is no *.json file")
        try:
            found += _read_file(os.path.join(place, name), name)
            order_form.check_unique(found)
        except ValueError as error:
            raise _WrongSetError(f"{outside(name)}: {error}") from None
        except strict.DocumentError as error:
            raise _WrongSetError(f"{outside(name)} {error.what}") from None
        except OSError as error:
            raise _WrongSetError(f"{outside(name)} can't be read: {error.strerror}") from None
    return tuple(order for _, order in found)


def _read_file(path: str, name: str) -> list[tuple[str, Order]]:
    """One order, or one list of them, each with where it stands."""
    raw, status = files.read_regular(path, orders.REMOTE_LIMIT_BYTES, follow=True)
    _check_owner(outside(name), status)
    document = strict.parse(raw)
    if isinstance(document, dict) and document.get("kind") == order_form.LIST_KIND:
        items = order_form.decode_list(document)
        found = [(f"item {number} of {outside(name)}", order) for number, order in enumerate(items, 1)]
    else:
        found = [(outside(name), order_form.decode(document, remote=True))]
    for _, order in found:
        order_store.check_times(order)
    return found


def _check_owner(what: str, status: os.stat_result) -> None:
    """Refuse what somebody else could have written: a set without its blocks opens what they close.

    The mount point of a ConfigMap may be written by everybody as far as its mode goes, and is not looked at: the
    kubelet keeps others away from all of it.
    """
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & files.OTHERS_MAY_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        raise _WrongSetError(f"{what} belongs to user {status.st_uid} and has mode {mode:04o}: others may write it")
