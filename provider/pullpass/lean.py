"""What every run needs of the standard library, without the modules that would come along.

`typing` and `json` both load `re`; together the three take as long as all the rest that a refusal loads. What is here
is the same C code that they use, reached directly, with the standard front as the fallback where an interpreter lacks
it. The standard library goes the same way in `random`, which takes its hash from the small module.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

try:
    from _json import encode_basestring_ascii as _quote
    from _json import make_scanner as _make_scanner
except ImportError:
    from json.decoder import JSONDecoder as _Decoder
    from json.encoder import encode_basestring_ascii as _quote

    def _make_scanner(reader: JsonReader) -> Any:  # type: ignore[no-redef]
        # A scanner in Python asks for more than the attributes of `JsonReader`.
        hooks = ("object_pairs_hook", "parse_int", "parse_float", "parse_constant")
        return _Decoder(**{hook: getattr(reader, hook) for hook in hooks}).scan_once  # type: ignore[attr-defined]


try:
    from _sha2 import sha256  # type: ignore[import-not-found]
except ImportError:
    try:
        from _sha256 import sha256  # type: ignore[import-not-found]  # before Python 3.12
    except ImportError:
        from hashlib import sha256
try:
    from _collections import _tuplegetter  # type: ignore[import-not-found]
except ImportError:
    from operator import itemgetter

    def _tuplegetter(index: int, doc: str) -> Any:
        return property(itemgetter(index), doc=doc)


__all__ = ["JsonReader", "NamedTuple", "sha256", "to_json"]


if TYPE_CHECKING:
    from typing import NamedTuple
else:

    class _Fields(type):
        """Makes the annotations of a class body the fields of a tuple."""

        def __new__(mcs, name: str, bases: tuple[type, ...], body: dict[str, Any]) -> type:
            if isinstance(bases[0], mcs) and bases[0]._fields:  # a class below one that has fields adds none
                return super().__new__(mcs, name, bases, body)
            fields = tuple(body.get("__annotations__", ()))
            defaults = {field: body.pop(field) for field in fields if field in body}
            members = {field: _tuplegetter(place, field) for place, field in enumerate(fields)}
            return super().__new__(
                mcs, name, bases, {**body, **members, "__slots__": (), "_fields": fields, "_field_defaults": defaults}
            )

    class NamedTuple(tuple, metaclass=_Fields):  # noqa: SLOT001 - its metaclass does
        """`typing.NamedTuple`, as far as this package uses it."""

        def __new__(cls, /, *values: Any, **named: Any) -> NamedTuple:  # noqa: PYI034, D102 - Self is in typing
            if len(values) == len(cls._fields) and not named:
                return tuple.__new__(cls, values)
            # The usual call by name: every field there, and nothing else. What is wrong otherwise is found below.
            if not values and len(whole := {**cls._field_defaults, **named}) == len(cls._fields):
                try:
                    return tuple.__new__(cls, [whole[field] for field in cls._fields])
                except KeyError:
                    pass
            given = dict(zip(cls._fields, values, strict=False))
            if len(values) > len(cls._fields) or given.keys() & named.keys() or named.keys() - set(cls._fields):
                raise TypeError(f"{cls.__name__} takes {', '.join(cls._fields)}, each once")
            given |= named
            missing = [field for field in cls._fields if field not in given and field not in cls._field_defaults]
            if missing:
                raise TypeError(f"{cls.__name__} also needs {', '.join(missing)}")
            return tuple.__new__(cls, ((cls._field_defaults | given)[field] for field in cls._fields))

        def __getnewargs__(self) -> tuple[Any, ...]:
            return tuple(self)

        def __repr__(self) -> str:
            shown = (f"{field}={value!r}" for field, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({', '.join(shown)})"

        def _asdict(self) -> dict[str, Any]:
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, /, **named: Any) -> NamedTuple:
            return type(self)(**(self._asdict() | named))


class JsonReader:
    """Reads one JSON value: `json.JSONDecoder.raw_decode`, by the same C scanner.

    Its attributes are what the scanner looks up in the decoder that it is made for.
    """

    strict = True
    object_hook = None

    def __init__(
        self,
        object_pairs_hook: Callable[[list[tuple[str, Any]]], Any] | None = None,
        parse_int: Callable[[str], Any] = int,
        parse_float: Callable[[str], Any] = float,
        parse_constant: Callable[[str], Any] = float,
    ) -> None:
        """Make one; the arguments are those of `json.JSONDecoder`."""
        self.object_pairs_hook = object_pairs_hook
        self.parse_int, self.parse_float, self.parse_constant = parse_int, parse_float, parse_constant
        self._scan = _make_scanner(self)  # type: ignore[arg-type]  # it asks for these attributes, not for a class

    def read(self, text: str, start: int) -> tuple[Any, int]:
        """The value that begins at `start`, and where it ends.

        Raises:
            ValueError: there is none; it may hold the text.
        """
        try:
            value, end = self._scan(text, start)
        except StopIteration as error:
            from json import JSONDecodeError  # noqa: PLC0415 - the C scanner loads it for every other error itself

            raise JSONDecodeError("Expecting value", text, error.value) from None
        return value, end


def to_json(value: Any) -> str:
    """Compact JSON in ASCII: `json.dumps(value, separators=(",", ":"))` for what it takes.

    Args:
        value: of dicts with text keys, lists, tuples, texts, whole numbers, truths and None.

    Raises:
        TypeError: there is something else in it; a fraction, for one, has no place in our files.
    """
    if isinstance(value, str):
        return str(_quote(value))
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, dict):
        return "{" + ",".join([f"{_quote(name)}:{to_json(member)}" for name, member in value.items()]) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([to_json(member) for member in value]) + "]"
    raise TypeError(f"a {type(value).__name__} in a document")
