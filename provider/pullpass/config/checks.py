"""What a single value of the configuration may be, and how values are put together into tables and arrays.

Rules:

* A `Check` has the expected form in words and a function that returns the value or raises `Wrong`. A check never looks
  at anything but the value it was given; where the value stands is added on the way out, by the table or array that
  holds it.
* A table or array gathers the findings of everything in it before it raises, so that one run shows them all.
* `found` values are shown escaped and cut. A URL with user information is not shown: that may be a password.
* Positions count from 1, as people and `grant N` do: `grant[2].images[1]`.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any, NamedTuple

from pullpass.errors import outside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

SHOWN_BYTES = 160
# No name, host, path or ARN is longer (IAM's limit for ARNs is the widest), and what takes apart a text need not be
# fast for a longer one.
TEXT_LIMIT = 2048
REQUIRED = object()


class Finding(NamedTuple):
    """One thing that is wrong.

    Attributes:
        at: key path, such as `grant[2].identity`; "" for the whole document.
        problem: what is there.
        expected: what should be there, in words.
    """

    at: str
    problem: str
    expected: str

    def __str__(self) -> str:
        return f"{self.at.removeprefix('.') or 'the document'} {self.problem}, expected {self.expected}"


class Wrong(Exception):  # noqa: N818 - carries findings up to `schema.check`, and never leaves the package
    """A value, or things in it, are not what they should be; positions are relative to it."""

    def __init__(self, *findings: Finding) -> None:
        """Carry `findings`, at least one."""
        super().__init__(*findings)
        self.findings = findings


class Check(NamedTuple):
    """What a value may be.

    Attributes:
        expected: the form, in words that fit after "expected".
        read: returns the value as the program uses it, or raises `Wrong`.
        keys: of a table, or of the tables in an array: their keys.
    """

    expected: str
    read: Callable[[object], Any]
    keys: Mapping[str, Key] = {}


class Key(NamedTuple):
    """One key of a table.

    Attributes:
        field: the name of its value in the record.
        check: what its value may be.
        default: the record's value where the key is absent, or `REQUIRED`.
    """

    field: str
    check: Check
    default: Any = REQUIRED


def shown(value: object) -> str:
    """A value of a TOML document in a few words that are safe to print."""
    if isinstance(value, str):
        return f'"{outside(value, SHOWN_BYTES)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):  # hexadecimal integers can be longer than Python turns into decimals
        return f"the integer {value}" if abs(value) < 10**18 else "a huge integer"
    if isinstance(value, float):
        return f"the float {value:g}"
    if value == []:
        return "an empty array"
    kinds: dict[type, str] = {list: "an array", dict: "a table"}
    return kinds.get(type(value), "a date or time")


def wrong(value: object, expected: str, at: str = "") -> Wrong:
    """The one finding that `value` is not what was expected."""
    return Wrong(Finding(at, f"is {shown(value)}", expected))


@contextlib.contextmanager
def gathered(findings: list[Finding], at: str = "") -> Iterator[None]:
    """Move what is wrong inside to `findings`, with its position."""
    try:
        yield
    except Wrong as error:
        findings.extend(finding._replace(at=at + finding.at) for finding in error.findings)


# --- values


def text(expected: str, fits: Callable[[str], bool]) -> Check:
    """A string that fits."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not fits(value):
            raise wrong(value, expected)
        return value

    return Check(expected, read)


def explained(expected: str, check: Callable[[str], object]) -> Check:
    """A string for which `check` raises no ValueError; what the error says is told."""

    def read(value: object) -> str:
        if not isinstance(value, str):
            raise wrong(value, expected)
        if len(value) > TEXT_LIMIT:
            raise Wrong(Finding("", f"is {shown(value)} (it has more than {TEXT_LIMIT} characters)", expected))
        try:
            check(value)
        except ValueError as error:
            raise Wrong(Finding("", f"is {shown(value)} ({error})", expected)) from None
        return value

    return Check(expected, read)


def pattern(expected: str, regex: str) -> Check:
    """A string that matches `regex` as a whole."""
    compiled = re.compile(regex, re.ASCII)
    return text(expected, lambda value: compiled.fullmatch(value) is not None)


def one_of(*words: str) -> Check:
    """One of a few words."""
    return text(" or ".join(f'"{word}"' for word in words), lambda value: value in words)


def _read_boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise wrong(value, BOOLEAN.expected)
    return value


BOOLEAN = Check("true or false", _read_boolean)

_UNITS_NS = {
    "ns": 1,
    "us": 10**3,
    "\u00b5s": 10**3,  # the micro sign
    "\u03bcs": 10**3,  # the Greek letter; Go takes both
    "ms": 10**6,
    "s": 10**9,
    "m": 60 * 10**9,
    "h": 3600 * 10**9,
    "d": 86400 * 10**9,
}
_NUMBER_AND_UNIT = re.compile(r"(?=\.?[0-9])([0-9]*)(?:\.([0-9]*))?(ns|us|\u00b5s|\u03bcs|ms|s|m|h|d)")
_DURATION_LIMIT = 64  # characters; more digits than that are no duration anybody means


def duration_ns(value: str) -> int:
    """Nanoseconds of a duration as Go's time.ParseDuration reads it, with `d` for 24 hours and without signs.

    Raises:
        ValueError: it is none.
    """
    if value == "0":
        return 0
    total = end = 0
    while end < len(value) <= _DURATION_LIMIT:
        match = _NUMBER_AND_UNIT.match(value, end)
        if match is None:
            break
        whole, fraction, unit = match[1] or "0", match[2] or "0", _UNITS_NS[match[3]]
        total += int(whole) * unit + int(fraction) * unit // 10 ** len(fraction)
        end = match.end()
    if not value or end < len(value):
        raise ValueError
    return total


def duration(least: str, most: str, *, whole: bool = False) -> Check:
    """A duration, in seconds.

    Args:
        least: the shortest.
        most: the longest.
        whole: whether it must be whole seconds; the value is an int then.
    """
    least_ns, most_ns = duration_ns(least), duration_ns(most)
    kind = "a duration in whole seconds" if whole else "a duration"
    expected = f'{kind} such as "90s", "1h30m" or "2d", from {least} to {most}'

    def read(value: object) -> float | int:
        try:
            value_ns = duration_ns(value) if isinstance(value, str) else -1
        except ValueError:
            value_ns = -1
        if not least_ns <= value_ns <= most_ns or (whole and value_ns % 10**9):
            raise wrong(value, expected)
        return value_ns // 10**9 if whole else value_ns / 10**9

    return Check(expected, read)


# --- tables and arrays


def each(check: Check, *, unique: str = "") -> Check:
    """An array with at least one element, each of which passes `check`.

    Args:
        check: for the elements.
        unique: the field that no two elements may share; "" for the whole element, which counts for strings.
    """
    expected = f"an array of at least one element, each {check.expected}"

    def read(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list) or not value:
            raise wrong(value, expected)
        findings: list[Finding] = []
        elements: list[Any] = []
        seen: dict[str, int] = {}
        for number, raw in enumerate(value, 1):
            with gathered(findings, f"[{number}]"):
                element = check.read(raw)
                elements.append(element)
                mark = getattr(element, unique) if unique else element
                if isinstance(mark, str) and seen.setdefault(mark, number) != number:
                    at = f".{unique}" if unique else ""
                    raise Wrong(Finding(at, f"is {shown(mark)} again", f"something else than in [{seen[mark]}]"))
        if findings:
            raise Wrong(*findings)
        return tuple(elements)

    return Check(expected, read, check.keys)


def one_or_each(check: Check) -> Check:
    """A value, or an array of such values, as a tuple."""
    several = each(check)
    expected = f"{check.expected}, or an array of such"

    def read(value: object) -> Any:
        return several.read(value) if isinstance(value, list) else (check.read(value),)

    return Check(expected, read)


_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _position(key: str) -> str:
    return f".{key}" if _BARE_KEY.fullmatch(key) else f'."{outside(key, 64)}"'


def table(expected: str, make: Callable[..., Any], keys: Mapping[str, Key], *rules: Callable[[Any], None]) -> Check:
    """A table with these keys and no others.

    Args:
        expected: what the table is, in words.
        make: makes the record of the fields.
        keys: the keys.
        rules: what must hold between the fields; each may raise `Wrong`. They are asked when every key is right.
    """

    def read(value: object) -> Any:
        if not isinstance(value, dict):
            raise wrong(value, expected)
        known = f"one of {', '.join(keys)}"
        findings = [Finding(_position(key), "is not a known key", known) for key in value if key not in keys]
        fields = {}
        for name, key in keys.items():
            if name in value:
                with gathered(findings, f".{name}"):
                    fields[key.field] = key.check.read(value[name])
            elif key.default is REQUIRED:
                findings.append(Finding(f".{name}", "is missing", key.check.expected))
            else:
                fields[key.field] = key.default
        if findings:
            raise Wrong(*findings)
        record = make(**fields)
        for rule in rules:
            with gathered(findings):
                rule(record)
        if findings:
            raise Wrong(*findings)
        return record

    return Check(expected, read, keys)
