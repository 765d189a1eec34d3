"""A value that must not be seen."""

from __future__ import annotations


class Secret:
    """Text that hides itself: tokens and passwords travel in it and are taken out by `reveal` alone.

    It has no useful `str`, `repr` or format, can't be pickled, and compares in constant time, so that a record printed
    by accident, a traceback with local variables or a timing probe tells nothing.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        """Hide `value`."""
        self._value = value

    def reveal(self) -> str:
        """The text itself. Every call of this is a place to review."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(...)"

    __str__ = __repr__

    def __format__(self, spec: str) -> str:
        return repr(self)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        from hmac import compare_digest  # noqa: PLC0415 - compared on the miss path and in tests only

        mine, theirs = (text.encode("utf-8", "surrogatepass") for text in (self._value, other._value))
        return compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a secret can't be pickled or copied")
