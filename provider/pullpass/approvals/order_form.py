"""The form of orders: their JSON documents, read strictly and written.

Rules:

* Globs are those of grants, matched segment by segment. Images may leave the host open, which a grant may not: an order
  that selects too much closes, and a grant that does opens.
* A glob that nothing can match (an image without a host, with a tag) is wrong: it would look like a closed door.
* `schemas/order.json` and `schemas/order-list.json` say the same, but for ids that stand twice in a set.
"""

from __future__ import annotations

from pullpass import patterns
from pullpass.errors import outside
from pullpass.lean import NamedTuple
from pullpass.store import moments, strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

API_VERSION = "pullpass/v1"
KIND = "PullOrder"
LIST_KIND = "PullOrderList"
REVALIDATE = "revalidate"
BLOCK = "block"
ACTIONS = (REVALIDATE, BLOCK)
REMOTE_ID = "remote"  # no order can have it: its file would be that of the remote set

ID_MAX_CHARS = 64
GLOB_MAX_CHARS = 2048  # no image, account or identity is longer
REASON_MAX_CHARS = 1024
BY_MAX_CHARS = 256

_ID = frozenset("abcdefghijklmnopqrstuvwxyz0123456789-")
_DIGITS = frozenset("0123456789")
_PATH = _ID | frozenset("._*")
_IDENTITY = frozenset(map(chr, range(0x21, 0x7F))) - frozenset("?")  # no identity has one, and it looks like a wildcard
_IMAGE_WORDS = "lower-case letters, digits, . _ - and the wildcards * and **, without tag and digest"
_NEEDED = ("apiVersion", "kind", "id", "action", "selector", "created", "reason", "by")
_KNOWN = frozenset((*_NEEDED, "notBefore", "expires"))


class Order(NamedTuple):
    """One order.

    Attributes:
        id: its name; an approval remembers it.
        action: `REVALIDATE` or `BLOCK`.
        image: glob of images, `HOST/REPOSITORY`; "": any.
        service_account: glob of service accounts, `NAMESPACE/NAME`; "": any, and requests without a token.
        identity: glob of identities; "": any.
        created_s: when it was written, seconds since the epoch; for people, nothing is decided by it.
        not_before_s: from when it is in force; None: at once.
        expires_s: from when it no longer is; None: never.
        reason: why.
        by: who says so.
        remote: whether it came by `orders sync`.
    """

    id: str
    action: str
    image: str
    service_account: str
    identity: str
    created_s: float
    not_before_s: float | None
    expires_s: float | None
    reason: str
    by: str
    remote: bool


class MemberError(ValueError):
    """A member of an order's document is wrong. The text names it, as `selector.image` where it is of the selector.

    Attributes:
        member: the member.
        why: what is wrong with it, the end of a sentence that begins with it.
    """

    def __init__(self, member: str, why: str) -> None:
        """Make the error."""
        super().__init__(f"{member} {why}")
        self.member, self.why = member, why


def is_id(text: str) -> bool:
    """Whether an order may have this id."""
    return 0 < len(text) <= ID_MAX_CHARS and _ID.issuperset(text) and text != REMOTE_ID


def decode(document: object, *, remote: bool = False) -> Order:
    """The order that a JSON document is: `schemas/order.json`.

    Args:
        document: as `strict.parse` returns it.
        remote: where it came from.

    Raises:
        ValueError: says what is wrong, escaped.
    """
    members = _members(document, KIND, _KNOWN)
    for name in _NEEDED:
        if name not in members:
            raise ValueError(f"{name} is missing")
    order_id = members["id"]
    if not isinstance(order_id, str) or not is_id(order_id):
        why = f"is {strict.shown(members, 'id')}, expected 1 to {ID_MAX_CHARS} of a-z, 0-9 and -, and not {REMOTE_ID}"
        raise MemberError("id", why)
    if members["action"] not in ACTIONS:
        raise ValueError(f"action is {strict.shown(members, 'action')}, expected {' or '.join(ACTIONS)}")
    image, service_account, identity = _selector(members["selector"])
    return Order(
        order_id,
        str(members["action"]),
        image,
        service_account,
        identity,
        _moment(members, "created"),
        _moment(members, "notBefore") if "notBefore" in members else None,
        _moment(members, "expires") if "expires" in members else None,
        _text(members, "reason", REASON_MAX_CHARS),
        _text(members, "by", BY_MAX_CHARS),
        remote,
    )


def decode_list(document: object) -> tuple[Order, ...]:
    """The set that a JSON document is: `schemas/order-list.json`, and no id in it twice.

    Args:
        document: as `strict.parse` returns it.

    Returns:
        The orders, as remote ones.

    Raises:
        ValueError: says what is wrong, escaped.
    """
    members = _members(document, LIST_KIND, frozenset(("apiVersion", "kind", "items")))
    items = members.get("items")
    if isinstance(items, list):
        return check_unique([(f"item {number}", _item(number, item)) for number, item in enumerate(items, 1)])
    raise ValueError(f"items is {strict.shown(members, 'items')}, expected an array")


def check_unique(placed: Iterable[tuple[str, Order]]) -> tuple[Order, ...]:
    """The orders, when no two have one id.

    Args:
        placed: each with where it stands, for people.

    Raises:
        ValueError: names the id, and where the two stand.
    """
    seen: dict[str, tuple[str, Order]] = {}
    for where, order in placed:
        if order.id in seen:
            first, other = seen[order.id]
            raise ValueError(
                f"the id {order.id} is there twice: {first} is a {told(other)}, and {where} is a {told(order)}"
            )
        seen[order.id] = where, order
    return tuple(order for _, order in seen.values())


def told(order: Order) -> str:
    """What tells an order from another one of its id, in words."""
    return f"{order.action} of {selects(order)} by {outside(order.by, 64)}"


def selects(order: Order) -> str:
    """What an order selects, in words."""
    globs = (("image", order.image), ("service account", order.service_account), ("identity", order.identity))
    return " and ".join(f"{name} {glob}" for name, glob in globs if glob) or "everything"


def _item(number: int, item: object) -> Order:
    try:
        return decode(item, remote=True)
    except ValueError as error:
        raise ValueError(f"item {number}: {error}") from None


def encode(order: Order) -> dict[str, object]:
    """The JSON document of an order."""
    document: dict[str, object] = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "id": order.id,
        "action": order.action,
        "selector": selector(order),
        "created": moments.text(order.created_s),
    }
    for name, moment_s in (("notBefore", order.not_before_s), ("expires", order.expires_s)):
        if moment_s is not None:
            document[name] = moments.text(moment_s)
    return document | {"reason": order.reason, "by": order.by}


def encode_list(orders: Iterable[Order]) -> dict[str, object]:
    """The JSON document of a set."""
    return {"apiVersion": API_VERSION, "kind": LIST_KIND, "items": [encode(order) for order in orders]}


def selector(order: Order) -> dict[str, object]:
    """The selector of an order's document."""
    globs = (("image", order.image), ("serviceAccount", order.service_account), ("identity", order.identity))
    return {name: glob for name, glob in globs if glob} or {"all": True}


def check_image(glob: str) -> None:
    """Check a glob of images, `HOST/REPOSITORY`, of which the host may be left open.

    Raises:
        ValueError: says what is wrong.
    """
    host, *path = glob.split("/")
    name, colon, port = host.partition(":")
    is_port = bool(colon and port) and _DIGITS.issuperset(port)
    if path and colon and not is_port:
        raise ValueError("its host has a : without a port")
    # Before the path is missed: `[` and `app:1.0` are wrong by what they have.
    _check_characters([name if is_port else host, *path], _PATH, _IMAGE_WORDS)
    if not path:
        raise ValueError("it has no path after the host (**/app leaves the host open)")
    if not colon and name != "localhost" and not frozenset(".*").intersection(name):
        raise ValueError("it begins with no registry host (*/app leaves the host open)")
    _check_segments([name, *path])


def check_identity(glob: str) -> None:
    """Check a glob of identities: `*` within a segment, `**` any depth, segments parted by `/` as in an ARN.

    Raises:
        ValueError: says what is wrong.
    """
    segments = glob.split("/")
    _check_characters(segments, _IDENTITY, "printable ASCII without blanks and ?")
    _check_segments(segments)


_SELECTOR = {
    "image": check_image,
    "serviceAccount": patterns.check_service_account_glob,
    "identity": check_identity,
}


def _selector(document: object) -> tuple[str, str, str]:
    members = _object(document, "selector")
    _check_known(members, "selector", frozenset(("all", *_SELECTOR)))
    if "all" in members:
        if members != {"all": True} or members["all"] is not True:
            raise ValueError('selector has "all", which must be true and stand alone')
        return "", "", ""
    if not members:
        raise ValueError('selector is empty, expected {"all":true}, or image, serviceAccount, identity')
    for name, glob in members.items():
        if not isinstance(glob, str) or len(glob) > GLOB_MAX_CHARS:
            why = f"is {strict.shown(members, name)}, expected a glob of at most {GLOB_MAX_CHARS} characters"
            raise MemberError(f"selector.{name}", why)
        try:
            _SELECTOR[name](glob)
        except ValueError as error:
            raise MemberError(f"selector.{name}", f"is {strict.shown(members, name)}: {error}") from None
    image, service_account, identity = (str(members.get(name, "")) for name in _SELECTOR)
    return image, service_account, identity


def _check_characters(segments: list[str], characters: frozenset[str], words: str) -> None:
    for segment in segments:
        if not characters.issuperset(segment):
            found = next(char for char in segment if char not in characters)
            raise ValueError(f'it has other characters than {words}: "{outside(found)}"')


def _check_segments(segments: list[str]) -> None:
    for segment in segments:
        if not segment:
            raise ValueError("it has an empty segment")
        if "**" in segment and segment != "**":
            raise ValueError("** must be a whole segment between slashes")


def _members(document: object, kind: str, known: frozenset[str]) -> dict[str, object]:
    """The members of a document of this kind, none of them unknown."""
    members = _object(document, "it")
    for name, expected in (("apiVersion", API_VERSION), ("kind", kind)):  # first: another version has other keys
        if members.get(name) != expected:
            raise ValueError(f"{name} is {strict.shown(members, name)}, expected {expected}")
    _check_known(members, "it", known)
    return members


def _object(document: object, what: str) -> dict[str, object]:
    if isinstance(document, dict):
        return document
    raise ValueError(f"{what} is {strict.describe(document)}, expected an object")


def _check_known(members: dict[str, object], what: str, known: frozenset[str]) -> None:
    for name in members:
        if name not in known:
            raise ValueError(f'{what} has the unknown key "{outside(name, 64)}"')


def _moment(members: dict[str, object], name: str) -> float:
    value = members[name]
    if isinstance(value, str):
        try:
            return moments.parse(value)
        except ValueError:
            pass
    raise MemberError(name, f"is {strict.shown(members, name)}, expected a moment such as 2026-11-24T16:00:00Z")


def _text(members: dict[str, object], name: str, limit_chars: int) -> str:
    value = members[name]
    if not isinstance(value, str) or not 0 < len(value) <= limit_chars:
        raise MemberError(name, f"is {strict.shown(members, name)}, expected 1 to {limit_chars} characters")
    return value
