"""Strict reading of one JSON document that somebody else wrote.

Rules, each of which closes a way in which two readers could see two documents in the same bytes:

* UTF-8 without a byte order mark, and no lone surrogate behind an escape;
* exactly one document, with nothing but blanks around it;
* no key twice in an object, at any depth;
* no `NaN` or `Infinity`, and no number that overflows to one;
* at most `DEPTH_LIMIT` levels (a string or number is one as well), whatever the interpreter would take.

The caller bounds the length, and turns a `DocumentError` into an error with a code of its own.
"""

from __future__ import annotations

from pullpass.errors import outside
from pullpass.lean import JsonReader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

DEPTH_LIMIT = 32
NUMBER_LIMIT_CHARS = 32  # a 64-bit integer has 20, the longest double 24

_BLANKS = " \t\r\n"
_INFINITY = float("inf")
_KINDS = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


class DocumentError(Exception):
    """The bytes are not one strict JSON document.

    Attributes:
        problem: `empty`, `encoding`, `syntax`, `trailing-data`, `duplicate-key` or `nesting`; codes are made of it.
        what: the end of a sentence that begins with the document's name.
    """

    def __init__(self, problem: str, what: str) -> None:
        """Make the error."""
        super().__init__(problem, what)
        self.problem = problem
        self.what = what


def parse(raw: bytes) -> object:
    """Read one document.

    Raises:
        DocumentError: it breaks a rule of this module; nothing of the document is quoted but a short key.
    """
    text = _decode(raw)
    start = len(text) - len(text.lstrip(_BLANKS))
    if start == len(text):
        raise DocumentError("empty", "is empty")
    # "from None": a JSONDecodeError holds the whole text, and that text may hold a token.
    try:
        document, end = _READER.read(text, start)
    except ValueError as error:
        place, why = getattr(error, "pos", start), getattr(error, "msg", "a number of too many digits")
        # Some messages of the scanner end in " at", for a place to follow; it is named before.
        raise DocumentError("syntax", f"is not JSON at character {place}: {why.removesuffix(' at')}") from None
    except RecursionError:
        _refuse_depth()
    rest = text[end:].lstrip(_BLANKS)
    if rest:
        follower = "a second document" if rest[0] in "{[" else "more data"
        raise DocumentError("trailing-data", f"has {follower} at character {len(text) - len(rest)}")
    # What was decoded from UTF-8 holds no surrogate, so one can only come by an escape; and there is no depth without
    # that many openings. Our own files are done with that, and walking through them took a third of the time.
    has_escapes = "\\u" in text
    if has_escapes or text.count("{") + text.count("[") >= DEPTH_LIMIT:
        _check(document, has_escapes=has_escapes)
    return document


def describe(value: object) -> str:
    """What kind of JSON value this is, with its article, for an error."""
    return _KINDS.get(type(value), "a number")


def shown(document: dict[str, object], name: str) -> str:
    """A member of an object for an error: a short text or number itself, or the kind of value, or "absent"."""
    if name not in document:
        return "absent"
    value = document[name]
    if isinstance(value, str):
        return f'"{outside(value, 64)}"'
    return str(value) if isinstance(value, float) or type(value) is int else describe(value)


def _decode(raw: bytes) -> str:
    if raw.startswith(b"\xef\xbb\xbf"):
        raise DocumentError("encoding", "starts with a byte order mark")
    # A JSON text starts with ASCII, so in UTF-16 and UTF-32 one of the first four bytes is zero.
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw[:4]:
        raise DocumentError("encoding", "is in UTF-16 or UTF-32")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError("encoding", f"is not UTF-8 at byte {error.start}") from None


def _check(document: object, *, has_escapes: bool) -> None:
    """Refuse what the parser lets through: depth, and surrogates that escapes brought in."""
    level, depth = [document], 1
    while level:
        if depth > DEPTH_LIMIT:
            _refuse_depth()
        below: list[object] = []
        for value in level:
            if isinstance(value, dict):
                below.extend(value)
                below.extend(value.values())
            elif isinstance(value, list):
                below.extend(value)
            elif has_escapes and isinstance(value, str):
                _check_text(value)
        level, depth = below, depth + 1


def _check_text(text: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise DocumentError("encoding", "has half of a surrogate pair in a string") from None


def _refuse_depth() -> NoReturn:
    raise DocumentError("nesting", f"is nested deeper than {DEPTH_LIMIT} levels") from None


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    document: dict[str, object] = {}
    for key, value in pairs:
        if key in document:
            raise DocumentError("duplicate-key", f'has the key "{outside(key, 64)}" twice in one object')
        document[key] = value
    return document


def _integer(text: str) -> int:
    if len(text) > NUMBER_LIMIT_CHARS:
        raise DocumentError("syntax", f"has a number of {len(text)} digits")
    return int(text)


def _float(text: str) -> float:
    value = float(text)
    if value in (_INFINITY, -_INFINITY):
        raise DocumentError("syntax", "has a number that no double can hold")
    return value


def _constant(text: str) -> NoReturn:
    raise DocumentError("syntax", f"has {text}, which is not JSON")


_READER = JsonReader(_object, _integer, _float, _constant)
