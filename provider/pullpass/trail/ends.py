"""The end of the trail, open and locked: what is written there, and under which conditions a file is ours."""

from __future__ import annotations

import os
import stat

from pullpass.errors import PullpassError
from pullpass.lean import NamedTuple
from pullpass.store import files
from pullpass.trail import head, lines

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.trail.head import Head

    Body = dict[str, object]


class Place(NamedTuple):
    """Where and when lines are appended.

    Attributes:
        directory: the trail's.
        lock: the head, open and locked.
        now_s: seconds since the epoch.
        time: the same, as the lines have it.
        keep_s: how long lines are kept.
    """

    directory: str
    lock: int
    now_s: float
    time: str
    keep_s: float


class End(NamedTuple):
    """The end of the trail.

    Attributes:
        head: where it is; the file is exactly `offset` long.
        descriptor: the head's file, open for reading and appending.
        lead: bytes that must stand before the next line.
        warnings: bodies of the lines to be written first.
    """

    head: Head
    descriptor: int
    lead: bytes
    warnings: list[Body]


def open_file(directory: str, name: str, *, create: bool = False) -> int:
    """Open a file of the trail for reading and appending.

    Raises:
        OSError: it can't be opened.
        PullpassError: it is not ours.
    """
    # O_NONBLOCK: a fifo planted under the name must not stop the run.
    flags = os.O_RDWR | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | (os.O_CREAT if create else 0)
    descriptor = os.open(os.path.join(directory, name), flags, 0o600)
    try:
        check_ours(descriptor, name)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def check_ours(descriptor: int, name: str) -> None:
    """Refuse what somebody else has put, or may write, in the place of a file of ours.

    Raises:
        PullpassError: `trail-unwritable`.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):
        raise PullpassError("trail-unwritable", f"{name} is not a regular file")
    if not files.owned(status):
        mode = stat.S_IMODE(status.st_mode)
        raise PullpassError("trail-unwritable", f"{name} belongs to user {status.st_uid} and has mode {mode:04o}")


def write(place: Place, end: End, bodies: list[Body]) -> Head:
    """Write lines, and then the head.

    Args:
        place: where and when.
        end: where the trail ends; its warnings are not looked at.
        bodies: of the lines.

    Returns:
        The new head.

    Raises:
        OSError: the lines were not written. When only the head was not, they stay, and the next writer adopts them:
            after an error nobody knows what the head has become, and one that promises lines which were taken back
            would look like a cut.
        PullpassError: `trail-unwritable`: a line is too long.
    """
    parts, seq, last = [end.lead], end.head.seq, end.head.hash
    for body in bodies:
        seq += 1
        line = lines.make(seq, last, place.time, body)
        if len(line) > lines.LINE_LIMIT_BYTES:  # nobody would read it
            limit = lines.LINE_LIMIT_BYTES
            raise PullpassError("trail-unwritable", f"the line has {len(line)} bytes, at most {limit} are read")
        last = lines.digest(line)
        parts.append(line + b"\n")
    data = b"".join(parts)
    try:
        view = memoryview(data)
        while view:  # a write that was cut short says why when it is asked for the rest
            view = view[os.write(end.descriptor, view) :]
    except BaseException:
        os.ftruncate(end.descriptor, end.head.offset)
        raise
    new = end.head._replace(seq=seq, hash=last, offset=end.head.offset + len(data))
    head.write(place.lock, new)
    return new
