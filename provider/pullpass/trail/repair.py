"""What a writer finds when the trail does not end where its head says: loaded only then.

The next writer goes on in every case, and says in a `warning` line what it found; judging it is `verify`'s business.

* Whole lines behind the head's end that go on with the chain: their writer died between line and head. Adopted.
* A half line at the end: its writer was killed within the write. Closed off by a line feed and named (`half-line`) with
  its length and hash. One that lacks nothing but its line feed is whole, and gets it: naming it half would leave a
  line that the chain could go on from twice. One that was closed off by a writer that was killed in its turn is known
  by its beginning, which is that of the next line.
* Whole lines that are not of the chain: left where they are and counted (`foreign-line`). So much that no writer of
  ours can have left it is not read at all: a sparse file of a terabyte must not hold up every request of the node.
* A file that is gone, or shorter than the head says: `trail-cut`. The chain goes on behind what the head knew, so that
  the hole stays to be seen.
* No head although there are files: taken from the last line that can be read, with the warning `head-lost`.
"""

from __future__ import annotations

import os

from pullpass.lean import NamedTuple, sha256
from pullpass.store import strict
from pullpass.trail import lines
from pullpass.trail.head import Head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

HALF_LINE = "half-line"
FOREIGN_LINE = "foreign-line"
TRAIL_CUT = "trail-cut"
HEAD_LOST = "head-lost"
# More than a full file and one append behind it.
TAIL_LIMIT_BYTES = 128 << 20


class Repaired(NamedTuple):
    """Where the trail really ends.

    Attributes:
        head: the end; `offset` is the file's whole length.
        lead: bytes to be written before the next line: the line feed that is missing, or nothing.
        warnings: bodies of the lines to be written first.
    """

    head: Head
    lead: bytes
    warnings: list[dict[str, object]]


def follow(head: Head, descriptor: int) -> Repaired:
    """Look at what stands in the head's file behind the head's end, or before it when the file is too short.

    Args:
        head: what the head says, or what was taken for it.
        descriptor: its file.

    Raises:
        OSError: the file can't be read.
    """
    size = os.fstat(descriptor).st_size
    if size < head.offset:
        return _cut(head, descriptor, size)
    if size - head.offset > TAIL_LIMIT_BYTES:
        return _swollen(head, descriptor, size)
    seq, last = head.seq, head.hash
    foreign, first_foreign, lead = 0, 0, b""
    warnings: list[dict[str, object]] = []
    place = head.offset
    for raw in lines.read(descriptor, head.offset, size):
        if _goes_on(raw, seq, last):
            seq, last = seq + 1, raw.hash
            # A half line that this one names was named by a writer that died before the head.
            warnings = [half for half in warnings if f'"sha256":"{half["sha256"]}"'.encode() not in raw.data]
        elif not raw.whole or is_cut_off(raw, seq, last):
            warnings.append(_warning(HALF_LINE, head.file, _half(raw)))
        else:
            first_foreign = first_foreign if foreign else place
            foreign += 1
        place += raw.length + raw.whole
        lead = b"" if raw.whole else b"\n"
    if foreign:
        facts = {"lines": foreign, "offset": first_foreign}
        warnings.insert(0, _warning(FOREIGN_LINE, head.file, facts))
    return Repaired(head._replace(seq=seq, hash=last, offset=size), lead, warnings)


def missing(head: Head) -> dict[str, object]:
    """The warning about a head whose file is gone."""
    return _warning(TRAIL_CUT, head.file, {"message": "the file is missing", **_loss(head)})


def rebuild(directory: str, names: list[lines.Name]) -> tuple[Head, dict[str, object]]:
    """A head for a trail that has files and no head: the beginning of the last file that has a line of ours.

    `follow` finds the rest.

    Args:
        directory: the trail's.
        names: its files in their order; not empty.

    Returns:
        The head and the warning that names it.

    Raises:
        OSError: a file can't be read.
    """
    head = Head(0, lines.NO_HASH, names[-1].text(), 0, 0)
    for name in reversed(names):
        path = os.path.join(directory, name.text())
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            found = _first(descriptor)
        finally:
            os.close(descriptor)
        if found is not None:
            head = Head(found.seq - 1, found.prev, name.text(), 0, 0)
            break
    return head, head_lost(head.file)


def head_lost(file: str) -> dict[str, object]:
    """The warning about a head that was absent or unreadable.

    Args:
        file: what it was taken from; "" when there was nothing.
    """
    return _warning(HEAD_LOST, file, {"message": "the head was absent or unreadable"})


def _first(descriptor: int) -> lines.Front | None:
    """The front of the first line of ours in a file."""
    for raw in lines.read(descriptor, 0, min(os.fstat(descriptor).st_size, TAIL_LIMIT_BYTES)):
        front = lines.front(raw.data)
        if front is not None:
            return front
    return None


def _goes_on(raw: lines.Raw, seq: int, last: str) -> bool:
    front = lines.front(raw.data)
    if front is None or front.seq != seq + 1 or front.prev != last:
        return False
    try:
        strict.parse(raw.data)
    except strict.DocumentError:
        return False
    return True


def is_cut_off(raw: lines.Raw, seq: int, last: str) -> bool:
    """Whether a line begins as the next one would, and no more than that can be said of it.

    Args:
        raw: the line.
        seq: of the line before.
        last: the hash of that line.
    """
    start = lines.make(seq + 1, last, "", {"": ""}).partition(b'""')[0]
    known = raw.data[: len(start)]
    return bool(known) and start.startswith(known) and not raw.data.endswith(b"}")


def _half(raw: lines.Raw) -> dict[str, Any]:
    return {"bytes": raw.length, "sha256": raw.hash}


def _cut(head: Head, descriptor: int, size: int) -> Repaired:
    facts: dict[str, Any] = {"message": f"the file has {size} bytes, expected {head.offset}", **_loss(head)}
    half = _unfinished(descriptor, size)
    if half:
        facts |= {"bytes": len(half), "sha256": sha256(half).hexdigest()}
    return Repaired(head._replace(offset=size), b"\n" if half else b"", [_warning(TRAIL_CUT, head.file, facts)])


def _swollen(head: Head, descriptor: int, size: int) -> Repaired:
    message = f"{size - head.offset} bytes behind the end of the trail, which are not read"
    facts = {"lines": 1, "offset": head.offset, "message": message}
    lead = b"" if os.pread(descriptor, 1, size - 1) == b"\n" else b"\n"
    return Repaired(head._replace(offset=size), lead, [_warning(FOREIGN_LINE, head.file, facts)])


def _unfinished(descriptor: int, size: int) -> bytes:
    """The bytes behind the last line feed."""
    start = max(0, size - lines.LINE_LIMIT_BYTES)
    return os.pread(descriptor, size - start, start).rpartition(b"\n")[2]


def _loss(head: Head) -> dict[str, Any]:
    """The line that should be the last, and what tells a power failure (it takes what was not synced) from a hand."""
    return {"last": {"seq": head.seq, "hash": head.hash}, "synced": head.synced}


def _warning(code: str, file: str, facts: dict[str, Any]) -> dict[str, object]:
    return {"event": "warning", "code": code, **({"file": file} if file else {}), **facts}
