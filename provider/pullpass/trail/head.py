"""`audit/head`: where the trail ends. It is the lock of the trail as well.

One line of fixed width, rewritten in place: replacing the file would take the lock from under whoever waits for it. 256
bytes at the beginning of a file are one sector, so that no reader after a crash sees half of it.
"""

from __future__ import annotations

import os

from pullpass.errors import PullpassError
from pullpass.lean import NamedTuple, to_json
from pullpass.store import strict
from pullpass.trail import lines

NAME = "head"
WIDTH_BYTES = 256
VERSION = 1


class Head(NamedTuple):
    """The end of the trail.

    Attributes:
        seq: of the last line; 0 before the first.
        hash: of the last line, without its line feed; `lines.NO_HASH` before the first.
        file: the name of the file that is written to.
        offset: bytes of that file that hold whole lines.
        synced: the highest `seq` that is known to have reached the disk.
    """

    seq: int
    hash: str
    file: str
    offset: int
    synced: int


def render(head: Head) -> bytes:
    """The line."""
    members = {"version": VERSION, **dict(zip(head._fields, head, strict=True))}
    return to_json(members).encode().ljust(WIDTH_BYTES - 1) + b"\n"


def parse(raw: bytes) -> Head | None:
    """What `render` wrote.

    Returns:
        None when it is something else, or cut.

    Raises:
        PullpassError: `trail-unwritable`: a later version of the program wrote it. Taking it for a lost one would
            write over what that version still needs.
    """
    if len(raw) != WIDTH_BYTES or not raw.endswith(b"\n"):
        return None
    try:
        members = strict.parse(raw)
    except strict.DocumentError:
        return None
    if not isinstance(members, dict) or type(version := members.pop("version", None)) is not int:
        return None
    if version > VERSION:
        raise PullpassError("trail-unwritable", f"the head of the trail has version {version}, known is {VERSION}")
    found = Head(**members) if _is_head(members) else None
    return found if found and render(found) == raw else None


def _is_head(members: dict[str, object]) -> bool:
    if members.keys() != set(Head._fields):
        return False
    seq, offset, synced = (members[name] for name in ("seq", "offset", "synced"))
    if type(seq) is not int or type(offset) is not int or type(synced) is not int:
        return False
    if offset < 0 or not 0 <= synced <= seq:
        return False
    file = members["file"]
    return lines.is_hash(members["hash"]) and isinstance(file, str) and lines.parse_name(file) is not None


def read(descriptor: int) -> bytes:
    """The bytes of an open head, one more than there should be when it is too long."""
    return os.pread(descriptor, WIDTH_BYTES + 1, 0)


def write(descriptor: int, head: Head) -> None:
    """Replace the line in an open head.

    Raises:
        OSError: it can't be written; what stands there may be the old line, or damaged.
    """
    view = memoryview(render(head))
    place = 0
    while place < len(view):  # a write that was cut short says why when it is asked for the rest
        place += os.pwrite(descriptor, view[place:], place)
