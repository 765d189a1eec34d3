"""Orders: what an operator says over approvals, `revalidate` or `block`, and what it means for a request.

Rules:

* `STATE/orders/<id>.json` is one local order, `STATE/orders/remote.json` the set that `orders sync` has taken over.
  Both are read at every request; writing them is `approvals.order_store`, their form `approvals.order_form`.
* Whatever can't be read as an order fails closed: it may be the one that blocks. So does a foreign file, which may be
  an order under a mistyped name. Names that begin with a dot are ours (temporary files, the lock, notes of a change).
* An absent directory is no orders.
* An order selects by what a request is, never by when: an approval holds the ids of the `revalidate` orders it was
  validated under, so no clock is compared with another one. Only an order's own `notBefore` and `expires` are compared,
  with this node's clock.
"""

from __future__ import annotations

import errno
import os
import stat

from pullpass import patterns
from pullpass.approvals.order_form import (
    ACTIONS,
    BLOCK,
    REMOTE_ID,
    REVALIDATE,
    Order,
    decode,
    decode_list,
    is_id,
    told,
)
from pullpass.errors import PullpassError, outside, shell_word
from pullpass.store import files, strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn

    from pullpass.identity import Subject

__all__ = [
    "ACTIONS",
    "BLOCK",
    "REVALIDATE",
    "Order",
    "UnreadableOrdersError",
    "applying",
    "conflict",
    "directory",
    "in_force",
    "lift_word",
    "local_names",
    "local_path",
    "matches",
    "read",
    "read_local",
    "read_named",
    "read_remote",
    "remote_path",
    "revalidate_ids",
]

# Of local orders, and of a remote set: every request reads them all, and an approval holds the ids of those in force.
LIMIT = 1000
LOCAL_LIMIT_BYTES = 64 * 1024  # three times the longest order, every character of it escaped
# A ConfigMap has at most 1 MiB, and a character takes up to three times its bytes when it is escaped.
REMOTE_LIMIT_BYTES = 4 * 1024 * 1024

# What reading says of a link, of what is no regular file, and of a file that is too long.
NEVER_A_FILE = (errno.ELOOP, errno.EINVAL, errno.EFBIG)

_REMOTE_NAME = f"{REMOTE_ID}.json"


class UnreadableOrdersError(PullpassError):
    """`order-unreadable`: a file of orders is not one, or can't be read; or their directory.

    Attributes:
        damaged: whether it is the file's fault, so that reading it again can't help.
        command: what takes the file away; "" for the directory.
    """

    def __init__(self, path: str, why: str, remedy: str = "", *, command: str = "", damaged: bool = True) -> None:
        """Make the error.

        Args:
            path: the file, or the directory.
            why: what is wrong with it.
            remedy: what puts it right where it is, if that can be said.
            command: what takes the file away.
            damaged: whether that is the file's fault.
        """
        super().__init__("order-unreadable", f"{outside(path)}: {why}")
        self.damaged = damaged
        self.command = command
        self._remedy = remedy
        self._say()

    def under(self, config: str) -> UnreadableOrdersError:
        """The same, with a command that is about the same node.

        Args:
            config: the path of its configuration, where a command would not look for it by itself; otherwise "".
        """
        if self.command and config:
            self.command += f" --config {shell_word(config)}"
            self._say()
        return self

    def _say(self) -> None:
        verb = "replace" if self.command.startswith("pullpass orders sync") else "remove"
        removal = f"{verb} this file by `{self.command}`" if self.command else ""
        ways = filter(None, (self._remedy, removal))
        doubt = "it may be a block" if self.command else "a block may be missing"
        self.hint = f"{doubt}, so nothing is answered: {', or '.join(ways)}"


# --- reading


def directory(state: str) -> str:
    """Where the orders of a state directory are."""
    return os.path.join(state, "orders")


def local_path(state: str, order_id: str) -> str:
    """The file of a local order."""
    return os.path.join(directory(state), f"{order_id}.json")


def remote_path(state: str) -> str:
    """The file of the remote set."""
    return os.path.join(directory(state), _REMOTE_NAME)


def read(state: str) -> tuple[Order, ...]:
    """Every order, local and remote, in no particular order.

    Args:
        state: the state directory.

    Raises:
        PullpassError: `order-unreadable`, which names the file: one that is no order, can't be read, or does not belong
            to the caller alone; or an id that is both local and remote.
    """
    names = local_names(state)
    return () if names is None else read_named(state, names)


def read_named(state: str, names: Iterable[str]) -> tuple[Order, ...]:
    """The remote orders, and the local ones in files of these names.

    Args:
        state: the state directory.
        names: as `local_names` gives them; a file that was removed since is an order that was lifted.

    Raises:
        PullpassError: `order-unreadable`.
    """
    found = read_remote(state) or ()
    remote = {order.id: order for order in found}
    for name in names:
        order = read_local(state, name)
        if order is None:
            continue
        if order.id in remote:
            raise conflict(state, order, remote[order.id])
        found += (order,)
    return found


def conflict(state: str, local: Order, remote: Order) -> UnreadableOrdersError:
    """The error that two orders have one id: an approval that remembers it can't say which of them.

    Args:
        state: the state directory.
        local: the one in a file of its own.
        remote: the one in the remote set.
    """
    path = local_path(state, local.id)
    why = f"there is a remote order of the same id, in {outside(remote_path(state))}: this one is a {told(local)}, "
    remedy = "take the remote one out of the set that `pullpass orders sync` reads, and sync"
    return UnreadableOrdersError(path, f"{why}that one a {told(remote)}", remedy, command=_removal(path))


def lift_word(name: str) -> str:
    """What `orders lift` takes for a file of local orders: the id where the name has one, or the whole name."""
    stem = name.removesuffix(".json")
    return stem if stem != name and is_id(stem) else name


def local_names(state: str) -> tuple[str, ...] | None:
    """The names of the files of local orders, and of foreign files, which are to be refused by their reader.

    Args:
        state: the state directory.

    Returns:
        None when there is no directory of orders.

    Raises:
        PullpassError: `order-unreadable`: the directory can't be read, or is not the caller's alone.
    """
    path = directory(state)
    try:
        status = os.lstat(path)
        if not stat.S_ISDIR(status.st_mode):
            remedy = f"put it away (`mv {shell_word(path)} {shell_word(path)}.old`), and give its orders again"
            raise UnreadableOrdersError(path, "is not a directory (a symbolic link is not followed)", remedy)
        if not files.owned(status):
            raise UnreadableOrdersError(path, *_not_ours(path, status, 0o700))
        return tuple(name for name in os.listdir(path) if not name.startswith(".") and name != _REMOTE_NAME)
    except FileNotFoundError:
        return None
    except OSError as error:
        remedy = f"run it as the user that pullpass runs as, and see `ls -ld {shell_word(path)}`"
        raise UnreadableOrdersError(path, f"can't be read: {error.strerror}", remedy) from None


def read_local(state: str, name: str) -> Order | None:
    """The local order in a file.

    Args:
        state: the state directory.
        name: the file's, with its suffix.

    Returns:
        None when the file is not there: it was lifted since its name was read.

    Raises:
        PullpassError: `order-unreadable`.
    """
    path = os.path.join(directory(state), name)
    order_id, dot, suffix = name.rpartition(".")
    if dot + suffix != ".json" or not is_id(order_id):
        _refuse(path, "is no file of pullpass: the name must be ID.json, ID of a-z, 0-9 and -")
    document = _document(path, LOCAL_LIMIT_BYTES)
    if document is None:
        return None
    try:
        order = decode(document)
    except ValueError as error:
        _refuse(path, str(error))
    if order.id != order_id:
        _refuse(path, f"its id is {order.id}, and the file's name says {order_id}")
    return order


def read_remote(state: str) -> tuple[Order, ...] | None:
    """The remote set.

    It is opened by its name, whether the directory's listing has it or not: a listing may miss a file that is replaced
    while it is made.

    Args:
        state: the state directory.

    Returns:
        None when there is none.

    Raises:
        PullpassError: `order-unreadable`.
    """
    path = remote_path(state)
    document = _document(path, REMOTE_LIMIT_BYTES)
    if document is None:
        return None
    try:
        return decode_list(document)
    except ValueError as error:
        _refuse(path, str(error))


def _document(path: str, limit_bytes: int) -> object:
    """The JSON document in a file of ours, or None when there is no file; `null` is refused with the rest."""
    try:
        raw, status = files.read_regular(path, limit_bytes)
    except FileNotFoundError:
        return None
    except OSError as error:
        damaged = error.errno in NEVER_A_FILE
        why = f"can't be read: {error.strerror}"
        raise UnreadableOrdersError(path, why, command=_removal(path), damaged=damaged) from None
    if not files.owned(status):
        raise UnreadableOrdersError(path, *_not_ours(path, status, 0o600), command=_removal(path))
    try:
        document = strict.parse(raw)
    except strict.DocumentError as error:
        _refuse(path, error.what)
    if not isinstance(document, dict):
        _refuse(path, f"is {strict.describe(document)}, expected an object")
    return document


def _refuse(path: str, why: str) -> NoReturn:
    raise UnreadableOrdersError(path, why, "put it right", command=_removal(path)) from None


def _removal(path: str) -> str:
    """The command that takes a file of orders away."""
    name = os.path.basename(path)
    if name == _REMOTE_NAME:
        return "pullpass orders sync --from DIR"
    return f"pullpass orders lift {shell_word(lift_word(name))}"


def _not_ours(path: str, status: os.stat_result, mode: int) -> tuple[str, str]:
    """What is wrong with somebody else's file or directory, and the commands that make it the caller's alone."""
    ours, word = os.geteuid(), shell_word(path)
    why = f"belongs to user {status.st_uid} and has mode {stat.S_IMODE(status.st_mode):04o}"
    owner = f"chown {ours} {word} && " if status.st_uid != ours else ""
    # To be looked at first: who could write there may have taken a block away, or put an order in.
    remedy = f"see whether others have changed it, then `{owner}chmod {mode:04o} {word}`"
    return f"{why}, expected user {ours}, and nobody else who may write it", remedy


# --- meaning


def in_force(orders: Iterable[Order], now_s: float) -> tuple[Order, ...]:
    """Those in force at a moment: `notBefore` has come and `expires` has not.

    Args:
        orders: as `read` gives them.
        now_s: the moment, seconds since the epoch.
    """
    return tuple(
        order
        for order in orders
        if (order.not_before_s is None or order.not_before_s <= now_s)
        and (order.expires_s is None or now_s < order.expires_s)
    )


def revalidate_ids(orders_in_force: Iterable[Order]) -> tuple[str, ...]:
    """The ids of all `revalidate` orders in force, sorted, whatever they select: what an exchange is made under."""
    return tuple(sorted(order.id for order in orders_in_force if order.action == REVALIDATE))


def applying(orders_in_force: Iterable[Order], subject: Subject | None, image: str, identity: str) -> tuple[str, ...]:
    """The ids of the `revalidate` orders that a request must have been validated under, sorted.

    Args:
        orders_in_force: as `in_force` gives them.
        subject: who asks; None without a token.
        image: `HOST/REPOSITORY`.
        identity: what policy gave, `anonymous` and `node` included.

    Raises:
        PullpassError: `blocked-by-order`: a `block` matches. Of several the first by id is named.
    """
    namespace, account = ("", "") if subject is None else (subject.namespace, subject.service_account)
    found = [order for order in orders_in_force if matches(order, namespace, account, image, identity)]
    blocks = [order for order in found if order.action == BLOCK]
    if blocks:
        order = min(blocks, key=lambda block: block.id)
        who = f"service account {namespace}/{account}" if subject else "a request without a token"
        raise PullpassError(
            "blocked-by-order",
            f"order {order.id} by {outside(order.by, 64)} blocks {who}, image {outside(image)}, as "
            f"{outside(identity)}: {outside(order.reason)}",
        )
    return revalidate_ids(found)


def matches(order: Order, namespace: str, service_account: str, image: str, identity: str) -> bool:
    """Whether an order selects a request, or one repository of an approval.

    Args:
        order: the order.
        namespace: of the service account; "" without a token.
        service_account: its name; "" without a token, which no glob of service accounts matches.
        image: `HOST/REPOSITORY`.
        identity: of the request or the approval.
    """
    if order.service_account and not (
        namespace and patterns.glob_matches(order.service_account, f"{namespace}/{service_account}")
    ):
        return False
    if order.image and not patterns.glob_matches(order.image, image):
        return False
    return not order.identity or patterns.glob_matches(order.identity, identity)
