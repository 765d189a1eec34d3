"""The lines of the trail and the names of its files.

A line is what `make` writes, byte for byte: `{"seq":N,"prev":"HASH","time":"TIME",...}`, ASCII, so that the chain can
be followed without reading JSON.
"""

from __future__ import annotations

import os

from pullpass.lean import NamedTuple, sha256, to_json

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

CHUNK_BYTES = 1 << 20
# The longest line that is looked into. Ours have about a kilobyte; of a longer one only length and hash are kept.
LINE_LIMIT_BYTES = 1 << 20

_SUFFIX = ".jsonl"
_SEQ = b'{"seq":'
_PREV = b',"prev":"'
_TIME = b'","time":"'
_DIGITS = frozenset("0123456789")
_HEX = frozenset("0123456789abcdef")
NO_HASH = "0" * 64  # what the first line has for its predecessor
EDGE_BYTES = LINE_LIMIT_BYTES + 2  # where a file's first and last line are: the longest, and line feeds around it


class Name(NamedTuple):
    """The name of a trail file; names are ordered as the files were begun.

    Attributes:
        day: `YYYY-MM-DD`, UTC.
        number: counts from 1 within the day.
    """

    day: str
    number: int

    def text(self) -> str:
        """The file's name."""
        return f"{self.day}-{self.number:03d}{_SUFFIX}"


def parse_name(name: str) -> Name | None:
    """The parts of a trail file's name; None when it is the name of something else."""
    day, number = name[:10], name[11:].removesuffix(_SUFFIX)
    shape = "".join("0" if char in _DIGITS else char for char in day)
    if shape != "0000-00-00" or not number or not _DIGITS.issuperset(number):
        return None
    parts = Name(day, int(number))
    return parts if parts.number and parts.text() == name else None


def names(directory: str) -> list[Name]:
    """The trail's files in their order. Numbers count as numbers: `-1000` comes after `-999`.

    Raises:
        OSError: the directory can't be read.
    """
    return sorted(name for entry in os.listdir(directory) if (name := parse_name(entry)))


def make(seq: int, prev: str, time: str, body: dict[str, object]) -> bytes:
    """A line, without its line feed.

    Args:
        seq: its number.
        prev: the hash of the line before it.
        time: RFC 3339.
        body: the other members; not empty.
    """
    front = to_json({"seq": seq, "prev": prev, "time": time})
    return f"{front[:-1]},{to_json(body)[1:]}".encode("ascii")


def digest(line: bytes) -> str:
    """The hash by which the next line names this one."""
    return str(sha256(line).hexdigest())


def is_hash(value: object) -> bool:
    """Whether this is a SHA-256 in lower-case hex."""
    return isinstance(value, str) and len(value) == 64 and _HEX.issuperset(value)


class Front(NamedTuple):
    """What the chain needs of a line."""

    seq: int
    prev: str


def front(line: bytes) -> Front | None:
    """The front of a line; None when it is not one of ours."""
    comma = line.find(_PREV, 0, 40)
    if not line.startswith(_SEQ) or comma < 0:
        return None
    digits, start = line[7:comma], comma + 9
    prev = line[start : start + 64].decode("ascii", "replace")
    if not digits.isdigit() or digits.startswith(b"0") or not is_hash(prev):
        return None
    return Front(int(digits), prev) if line.startswith(_TIME, start + 64) and line.endswith(b"}") else None


def time_of(line: bytes) -> str:
    """The `time` of a line whose front was read."""
    start = line.index(_TIME) + len(_TIME)
    return line[start : line.index(b'"', start)].decode("ascii", "replace")


def first(descriptor: int) -> bytes:
    """The first line of an open file; b"" when it has none, or a longer one than ours are.

    Raises:
        OSError: it can't be read.
    """
    line, feed, _ = os.pread(descriptor, EDGE_BYTES, 0).partition(b"\n")
    return line if feed else b""


def last(descriptor: int) -> bytes:
    """The last whole line of an open file; b"" when it has none, or a longer one than ours are.

    Raises:
        OSError: it can't be read.
    """
    start = max(0, os.fstat(descriptor).st_size - EDGE_BYTES)
    before, feed, _ = os.pread(descriptor, EDGE_BYTES, start).rpartition(b"\n")
    line = before.rpartition(b"\n")
    return line[2] if feed and (line[1] or not start) else b""


class Raw(NamedTuple):
    """A line as it stands in a file.

    Attributes:
        data: its bytes without the line feed; of one above `LINE_LIMIT_BYTES` nothing.
        length: how many bytes it has.
        hash: of all of them.
        whole: whether a line feed ends it.
    """

    data: bytes
    length: int
    hash: str
    whole: bool


def read(descriptor: int, start: int, end: int, make_hash: Callable[[bytes], Any] = sha256) -> Iterator[Raw]:
    """The lines of an open file between two offsets, in memory for one chunk and one line.

    Args:
        descriptor: the file.
        start: where to begin, in bytes.
        end: where to stop.
        make_hash: SHA-256; who reads millions of lines passes OpenSSL's, which is faster and slower to load.

    Raises:
        OSError: it can't be read.
    """
    line, length, hashed = b"", 0, make_hash(b"")
    while start < end and (chunk := os.pread(descriptor, min(CHUNK_BYTES, end - start), start)):
        start += len(chunk)
        *wholes, rest = chunk.split(b"\n")
        for part in wholes:
            if length:
                hashed.update(part)
                length += len(part)
                yield Raw(line + part if length <= LINE_LIMIT_BYTES else b"", length, hashed.hexdigest(), True)
                line, length, hashed = b"", 0, make_hash(b"")
            else:
                yield Raw(part, len(part), make_hash(part).hexdigest(), True)
        hashed.update(rest)
        length += len(rest)
        line = line + rest if length <= LINE_LIMIT_BYTES else b""
    if length:
        yield Raw(line, length, hashed.hexdigest(), False)
