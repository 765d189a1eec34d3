"""Reading the trail while others write to it: what there is at one moment.

Only people's commands read. What is in the picture stays as it is, since a file only grows behind it, with one
exception: a file that is pruned meanwhile is gone (`Gone`), and the reader takes another picture.
"""

from __future__ import annotations

import fcntl
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pullpass.errors import PullpassError, outside
from pullpass.trail import head, lines

if TYPE_CHECKING:
    from pullpass.clock import Clock
    from pullpass.trail.head import Head

LOCK_WAIT_S = 10.0
_PAUSE_S = 0.002


class Gone(Exception):  # noqa: N818 - no fault
    """A file of the picture was pruned."""


class Part(NamedTuple):
    """One file.

    Attributes:
        name: its name.
        size_bytes: its length in the picture.
    """

    name: lines.Name
    size_bytes: int


class Picture(NamedTuple):
    """The trail at one moment, at which nobody wrote.

    Attributes:
        directory: where it is.
        head: None when it is absent or unreadable.
        head_bytes: what there is of it; None when there is no such file.
        parts: the files in their order.
        others: names of what does not belong there.
    """

    directory: str
    head: Head | None
    head_bytes: int | None
    parts: list[Part]
    others: list[str]


def unreadable(path: str, error: OSError) -> PullpassError:
    """The error that something of the trail can't be read."""
    return PullpassError("trail-unreadable", f"{outside(path)} can't be read: {error.strerror}")


def take(directory: str, clock: Clock) -> Picture:
    """Take a picture, with writers kept out for that moment.

    Args:
        directory: the trail's; there may be none yet.
        clock: for waiting for a writer.

    Raises:
        PullpassError: `trail-unreadable`.
    """
    path = os.path.join(directory, head.NAME)
    try:
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except FileNotFoundError:  # and with it the lock
            return _look(directory, None)
        try:
            _keep_writers_out(descriptor, path, clock)
            return _look(directory, descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(path, error) from None


def _keep_writers_out(descriptor: int, path: str, clock: Clock) -> None:
    end_s = clock.monotonic_s() + LOCK_WAIT_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            if clock.monotonic_s() >= end_s:
                what = f"{outside(path)}: a writer has kept its lock for {LOCK_WAIT_S:g}s"
                raise PullpassError(
                    "trail-unreadable", what, "see which process holds it: `fuser` on that file"
                ) from None
            clock.sleep(_PAUSE_S)
        else:
            return


def _look(directory: str, descriptor: int | None) -> Picture:
    raw = None if descriptor is None else head.read(descriptor)
    try:
        found = head.parse(raw) if raw else None
    except PullpassError as error:  # of another version
        raise PullpassError("trail-unreadable", error.what, "read it with the version that wrote it") from None
    try:
        entries = sorted(os.listdir(directory))
    except FileNotFoundError:
        entries = []
    parts, others = [], []
    for entry in entries:
        name = lines.parse_name(entry)
        status = os.lstat(os.path.join(directory, entry))
        if name is not None and stat.S_ISREG(status.st_mode):
            parts.append(Part(name, status.st_size))
        elif entry != head.NAME:
            others.append(entry)
    return Picture(directory, found, None if raw is None else len(raw), sorted(parts), others)


def open_part(picture: Picture, part: Part) -> int:
    """Open a file of the picture.

    Raises:
        Gone: it was pruned.
        PullpassError: `trail-unreadable`.
    """
    path = os.path.join(picture.directory, part.name.text())
    try:
        return os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        raise Gone(path) from None
    except OSError as error:
        raise unreadable(path, error) from None
