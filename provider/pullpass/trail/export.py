"""The trail in formats that other programs read.

JSON lines are the stored bytes, so that the chain can be checked from them. CSV and Parquet have the columns below, one
row a line; what a line has besides is in `more`, as JSON.
"""

from __future__ import annotations

import csv
import json
import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass.errors import PullpassError, outside
from pullpass.trail import selection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import IO

    from pullpass.trail.selection import Found

ROWS = 20_000  # a row group: some ten megabytes in memory
EXTRA = "parquet"

_TEXT, _NUMBER, _TEXTS = "text", "number", "texts"
_ACCOUNT = {"namespace": "namespace", "name": "serviceAccount", "uid": "serviceAccountUid"}
_MADE = {*_ACCOUNT.values(), "outcome", "more"}  # columns that are not members of the same name
COLUMNS: dict[str, str] = {
    "seq": _NUMBER,
    "prev": _TEXT,
    "time": _TEXT,
    "event": _TEXT,
    "outcome": _TEXT,
    "cluster": _TEXT,
    "namespace": _TEXT,
    "serviceAccount": _TEXT,
    "serviceAccountUid": _TEXT,
    "pod": _TEXT,
    "node": _TEXT,
    "image": _TEXT,
    "registry": _TEXT,
    "opens": _TEXT,
    "identity": _TEXT,
    "via": _TEXT,
    "grant": _TEXT,
    "approval": _TEXT,
    "source": _TEXT,
    "code": _TEXT,
    "message": _TEXT,
    "expires": _TEXT,
    "registryExpires": _TEXT,
    "cacheDurationS": _NUMBER,
    "credentialHash": _TEXT,
    "principal": _TEXT,
    "jti": _TEXT,
    "accessKeyId": _TEXT,
    "requestIds": _TEXTS,
    "orders": _TEXTS,
    "more": _TEXT,
}
# How a spreadsheet knows a formula. A message of the cloud must not become one on an auditor's desk.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Format(NamedTuple):
    """A format.

    Attributes:
        check: raises `PullpassError` when it can't be written here.
        write: writes lines to an open binary file; returns how many.
    """

    check: Callable[[], None]
    write: Callable[[IO[bytes], Iterable[Found]], int]


def row(members: dict[str, Any]) -> dict[str, Any]:
    """A line as a row: a value for each of `COLUMNS`, None where the line has none.

    A member of an unexpected kind goes to `more`, whole, rather than into a column as something else.
    """
    account = members.get("serviceAccount")
    # Only these three, only text: anything else is not ours, and is left whole.
    parts = account if isinstance(account, dict) else {}
    is_plain = account is None or (parts and parts.keys() <= _ACCOUNT.keys() and all(map(_is_text, parts.values())))
    made: dict[str, Any] = {column: parts.get(name) if is_plain else None for name, column in _ACCOUNT.items()}
    made["outcome"] = selection.outcome(members.get("event"))
    plain = {
        name: members[name] for name, kind in COLUMNS.items() if name not in _MADE and _fits(members.get(name), kind)
    }
    known = {*plain, "serviceAccount"} if is_plain else plain
    more = {name: value for name, value in members.items() if name not in known}
    made["more"] = json.dumps(more, separators=(",", ":")) if more else None
    return {name: made[name] if name in _MADE else plain.get(name) for name in COLUMNS}


def _fits(value: Any, kind: str) -> bool:
    """Whether a column can hold a value as it is: a hand-made line may have anything."""
    if kind == _NUMBER:
        return type(value) is int and abs(value) < 2**63
    if kind == _TEXT:
        return _is_text(value)
    return isinstance(value, list) and all(_is_text(item) for item in value)


def _is_text(value: Any) -> bool:
    """Whether this is text that UTF-8 can write: JSON can hold half a surrogate pair."""
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _nothing() -> None:
    """Every Python has what it takes."""


def _write_jsonl(file: IO[bytes], found: Iterable[Found]) -> int:
    count = 0
    for line in found:
        file.write(line.raw + b"\n")
        count += 1
    return count


class _Encoded:
    """What `csv` writes text to."""

    def __init__(self, file: IO[bytes]) -> None:
        """Write to `file`."""
        self._file = file

    def write(self, text: str) -> int:
        """Write a row."""
        return self._file.write(text.encode())


def _write_csv(file: IO[bytes], found: Iterable[Found]) -> int:
    writer = csv.writer(_Encoded(file), lineterminator="\r\n")  # RFC 4180
    writer.writerow(COLUMNS)
    count = 0
    for line in found:
        writer.writerow([_cell(value) for value in row(line.members).values()])
        count += 1
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        value = " ".join(value)
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return value


def _check_parquet() -> None:
    if find_spec("pyarrow") is None:
        what = "Parquet needs pyarrow, which is not installed"
        raise PullpassError("extra-missing", what, f"pip install 'pullpass[{EXTRA}]', or choose another format")


def _write_parquet(file: IO[bytes], found: Iterable[Found]) -> int:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    kinds = {_TEXT: arrow.string(), _NUMBER: arrow.int64(), _TEXTS: arrow.list_(arrow.string())}
    schema = arrow.schema([(name, kinds[kind]) for name, kind in COLUMNS.items()])
    count = 0
    with parquet.ParquetWriter(file, schema) as writer:
        for rows in _groups(found):
            writer.write_table(arrow.Table.from_pylist(rows, schema=schema), row_group_size=ROWS)
            count += len(rows)
    return count


def _groups(found: Iterable[Found]) -> Iterator[list[dict[str, Any]]]:
    rows: list[dict[str, Any]] = []
    for line in found:
        rows.append(row(line.members))
        if len(rows) == ROWS:
            yield rows
            rows = []
    if rows:
        yield rows


FORMATS = {
    "jsonl": Format(_nothing, _write_jsonl),
    "csv": Format(_nothing, _write_csv),
    "parquet": Format(_check_parquet, _write_parquet),
}


def export(found: Iterable[Found], name: str, path: str) -> int:
    """Write lines to a file, which is there as a whole or not at all, for its owner alone.

    Args:
        found: the lines.
        name: a key of `FORMATS`.
        path: the file; an existing one is replaced.

    Returns:
        How many lines were written.

    Raises:
        PullpassError: `extra-missing`; `export-failed` when the file can't be written; what reading raises.
    """
    form = FORMATS[name]
    form.check()
    directory, base = os.path.split(os.path.abspath(path))
    temporary = os.path.join(directory, f".{base}.{os.getpid()}.{os.urandom(8).hex()}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                count = form.write(file, found)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise PullpassError("export-failed", f"{outside(path)} can't be written: {error.strerror or error}") from None
    return count


def to_stdout(found: Iterable[Found], name: str) -> int:
    """Write lines to standard output, as they come.

    Args:
        found: the lines.
        name: a key of `FORMATS`, but for `parquet`.

    Returns:
        How many lines were written.

    Raises:
        PullpassError: `export-failed` when they can't be written; what reading raises.
        BrokenPipeError: the reader has gone.
    """
    try:
        # A duplicate: what could not be written must not be tried again when Python exits.
        with open(os.dup(1), "wb") as file:
            return FORMATS[name].write(file, found)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise PullpassError("export-failed", f"standard output can't be written: {error.strerror or error}") from None
