"""Changing orders so that the audit trail tells of it, whatever fails in between.

A change is made in four steps under one lock:

1. a note of what is about to be done is written (`.change.json`, synced);
2. the lines go to the trail, synced;
3. the change itself is made, synced: from here on it counts;
4. the note is removed.

So no order is in force, and none is gone, without its line. The other way round a line may stand for a change that was
never made, when the process is killed or the disk fails between 2 and 3. The note is still there then, and whoever
changes orders next compares it with what is there and writes a `warning` line that explains it (code
`order-unfinished`). Nothing is done again: the operator saw the command fail, and may have decided otherwise since.

An id is used once. An approval remembers ids, so another order under a used id would find approvals that seem to have
been validated under it. `.used.json` keeps the ids of what was lifted, each with a hash of its action and selector.
"""

from __future__ import annotations

import contextlib
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from pullpass.approvals import orders
from pullpass.errors import PullpassError, outside
from pullpass.lean import to_json
from pullpass.store import digest, files, lock, strict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from pullpass.approvals.orders import Order
    from pullpass.clock import Clock

LOCK = ".lock"
NOTE = ".change.json"
USED = ".used.json"
LOCK_WAIT_S = 10.0
LEFTOVER_AGE_S = 3600.0
LIMIT_BYTES = 64 * 1024 * 1024  # of the two files above: half a million ids

CREATED = "created"
LIFTED = "lifted"
SYNCED = "synced"


class Desk(NamedTuple):
    """Where orders are changed, and how it is written down.

    Attributes:
        state: the state directory.
        cluster: its name, for the lines.
        by: who changes them.
        clock: the run's clock.
        write: appends lines to the audit trail, synced; raises `PullpassError`.
    """

    state: str
    cluster: str
    by: str
    clock: Clock
    write: Callable[[list[dict[str, object]]], None]


class Change(NamedTuple):
    """What is about to be done.

    Attributes:
        done: `CREATED`, `LIFTED` or `SYNCED`.
        names: of the files that come, go or are replaced.
        content: SHA-256 of what the remote set will be; "" otherwise.
    """

    done: str
    names: tuple[str, ...]
    content: str = ""


def body(desk: Desk, done: str, order: Mapping[str, object], message: str = "") -> dict[str, object]:
    """The trail line of a change.

    Args:
        desk: who writes it.
        done: `CREATED`, `LIFTED` or `SYNCED`.
        order: its document.
        message: what else there is to say; "" for nothing.
    """
    line: dict[str, object] = {
        "event": "order",
        "cluster": desk.cluster,
        "done": done,
        "by": desk.by,
        "order": dict(order),
    }
    return line | {"message": message} if message else line


def warning(desk: Desk, code: str, message: str) -> dict[str, object]:
    """The trail line of something that an operator should look at."""
    return {"event": "warning", "cluster": desk.cluster, "code": code, "message": message, "by": desk.by}


def unwritable(path: str, error: OSError) -> PullpassError:
    """The error that something in the directory of orders can't be changed."""
    return PullpassError("order-unwritable", f"{outside(path)} can't be changed: {error.strerror}")


@contextlib.contextmanager
def changing(desk: Desk) -> Iterator[None]:
    """Hold the lock of the orders, with the last change explained if it was not finished.

    Raises:
        PullpassError: `state-path`, `order-unwritable`, and what `desk.write` raises.
    """
    place = orders.directory(desk.state)
    path = os.path.join(place, LOCK)
    try:
        files.private_directory(place)
        descriptor = lock.lock(path, desk.clock, LOCK_WAIT_S)
    except OSError as error:
        raise unwritable(path, error) from None
    if descriptor is None:
        what = f"{outside(path)}: another command has been changing orders for {LOCK_WAIT_S:g}s"
        raise PullpassError("order-unwritable", what, "try again when it has ended")
    try:
        _explain(desk)
        yield
    finally:
        with contextlib.suppress(OSError):  # nothing was written through it, and the lock ends with the process
            os.close(descriptor)


def apply(desk: Desk, change: Change, lines: list[dict[str, object]], make: Callable[[], None]) -> None:
    """Make a change, inside `changing`.

    Args:
        desk: where.
        change: what it is.
        lines: of the trail, written before it counts.
        make: does it; what it has done must outlast a power failure when it returns.

    Raises:
        PullpassError: `order-unwritable`; what `desk.write` raises, and nothing was changed then.
    """
    note = os.path.join(orders.directory(desk.state), NOTE)
    try:
        files.write_atomic(note, to_json(change._asdict()).encode("ascii"), sync=True)
        files.remove_leftovers(orders.directory(desk.state), desk.clock.now_s() - LEFTOVER_AGE_S)
    except OSError as error:
        raise unwritable(note, error) from None
    desk.write(lines)  # when it fails the note stays: the lines may be there all the same
    try:
        make()
        os.unlink(note)
    except OSError as error:
        failure = unwritable(str(error.filename or note), error)
        if _is_made(desk.state, change):
            failure.what += "; the change counts all the same, but may not outlast a power failure"
        # Explained at once where that is possible, and by the next command where it is not: the note stays.
        with contextlib.suppress(PullpassError):
            _explain(desk)
        raise failure from None


def _explain(desk: Desk) -> None:
    """Write down that the last change was not finished, if it was not, and remove its note."""
    path = os.path.join(orders.directory(desk.state), NOTE)
    try:
        raw, _ = files.read_regular(path, LIMIT_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unwritable(path, error) from None
    change = _change(raw)
    if change is None:
        message = f"{outside(path)} is damaged: a change of orders was not finished, and which is not known"
        desk.write([warning(desk, "order-unfinished", message)])
    elif not _is_made(desk.state, change):
        desk.write([warning(desk, "order-unfinished", _unfinished(desk.state, change))])
    try:
        os.unlink(path)
    except OSError as error:
        raise unwritable(path, error) from None


def _change(raw: bytes) -> Change | None:
    """The change that a note tells of; None for one that is damaged."""
    try:
        document = strict.parse(raw)
    except strict.DocumentError:
        return None
    if not isinstance(document, dict) or set(document) != set(Change._fields):
        return None
    done, names, content = document["done"], document["names"], document["content"]
    if not isinstance(done, str) or not isinstance(content, str) or not isinstance(names, list):
        return None
    return Change(done, tuple(map(str, names)), content)


def _there(state: str, names: tuple[str, ...]) -> list[str]:
    return [name for name in names if os.path.lexists(os.path.join(orders.directory(state), name))]


def _is_made(state: str, change: Change) -> bool:
    there = _there(state, change.names)
    if change.done == SYNCED:
        return bool(there) and _content(state) == change.content
    return len(there) == (0 if change.done == LIFTED else len(change.names))


def _content(state: str) -> str:
    try:
        raw, _ = files.read_regular(orders.remote_path(state), orders.REMOTE_LIMIT_BYTES)
    except OSError:
        return "unreadable"  # which is not the hash of anything
    return digest.sha256_hex(raw)


def _unfinished(state: str, change: Change) -> str:
    if change.done == SYNCED:
        return "a sync of the remote orders was interrupted: the last good set is in force, whatever a line before says"
    there = ", ".join(_there(state, change.names)) or "none"
    return (
        f"a change was interrupted: {outside(', '.join(change.names))} should have been {change.done}; "
        f"of these {outside(there)} is there now, whatever a line before says"
    )


# --- ids that were used


def fingerprint(order: Order) -> str:
    """What of an order can't be changed under its id: action and selector, hashed."""
    fields = [order.action, order.image, order.service_account, order.identity]
    return digest.sha256_hex(to_json(fields).encode("ascii"))


def used(state: str) -> dict[str, str]:
    """The ids of the orders that were here and are no longer, with their fingerprints ("": it was not readable).

    Raises:
        PullpassError: `order-unreadable`.
    """
    path = os.path.join(orders.directory(state), USED)
    try:
        raw, status = files.read_regular(path, LIMIT_BYTES)
        ids = strict.parse(raw) if files.owned(status) else None
    except FileNotFoundError:
        return {}
    except OSError as error:
        what = f"{outside(path)}: can't be read: {error.strerror}"
        raise PullpassError(
            "order-unreadable", what, "requests go on without it, changes of orders don't: put it right"
        ) from None
    except strict.DocumentError:
        ids = None
    if not isinstance(ids, dict) or not all(isinstance(value, str) for value in ids.values()):
        what = f"{outside(path)}: is not the list of used ids that pullpass wrote"
        raise PullpassError("order-unreadable", what, "remove it, and use no id again")
    return ids


def use(state: str, ids: Mapping[str, str]) -> None:
    """Add to the used ids.

    Args:
        state: the state directory.
        ids: with their fingerprints.

    Raises:
        OSError: it can't be written.
        PullpassError: `order-unreadable`.
    """
    path = os.path.join(orders.directory(state), USED)
    known = used(state)
    if any(known.get(order_id) != value for order_id, value in ids.items()):
        data = to_json(known | dict(ids)).encode("ascii")
        if len(data) > LIMIT_BYTES:  # `used` would refuse it, and with it every later change
            raise OSError(errno.EFBIG, "it has no room for more used ids", path)
        files.write_atomic(path, data, sync=True)
