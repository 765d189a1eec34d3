"""New files of the trail, and old ones that go: loaded when a file is begun.

Rules:

* A file is begun for each UTC day, and when the one before is full. Its name never sorts before an existing one: while
  the clock is behind the last name, numbers are counted on under that name's day.
* Before the first line goes into the new file, the old one, the new name and the head that names it are on disk:
  otherwise a power failure could leave a hole in the middle of the chain, or a head that does not know the new file.
* Files are pruned when their day has ended longer than `keep` ago. The clock alone is not believed: one that jumps
  ahead by a year would take the whole trail with it. The newest line must say so as well, so nothing goes before the
  second day of a wrong clock, and a new file takes at most `PRUNE_LIMIT` old ones with it, so that it is noticed before
  everything is gone. A lowered `keep` therefore takes some days to be reached.
* A file's time is that of its first and last line, and not later than those of the files after it: names and lines of
  the hours in which a clock was wrong say little by themselves.
* The `pruned` line is on disk before the first file goes. The oldest goes first, and none behind one that can't be
  removed. After a crash in between, the next new file finishes it.
"""

from __future__ import annotations

import os

from pullpass.store import files, moments
from pullpass.trail import ends, head, lines, repair
from pullpass.trail.ends import End
from pullpass.trail.head import Head

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.trail.ends import Body, Place

PRUNE_LIMIT = 8
DAY_S = 86400
PRUNE_FAILED = "prune-failed"
_NEVER_S = float("inf")
_NO_NAME = lines.Name("", 0)


def begin(place: Place, warnings: list[Body]) -> End:
    """Begin a trail.

    Args:
        place: where and when.
        warnings: what is to be said first.

    Raises:
        OSError: a file can't be made.
        PullpassError: what is there is not ours.
    """
    files.sync_directory(os.path.dirname(place.directory))
    end = _new_file(place, Head(0, lines.NO_HASH, "", 0, 0))
    return end._replace(warnings=warnings + end.warnings)


def go_on(place: Place, lost: Head, warnings: list[Body]) -> End:
    """Go on in a new file, because the head's is gone.

    Args:
        place: where and when.
        lost: the head.
        warnings: what is to be said besides.

    Raises:
        OSError: a file can't be made.
        PullpassError: what is there is not ours.
    """
    end = _new_file(place, lost)
    return end._replace(warnings=[*warnings, repair.missing(lost), *end.warnings])


def rotate(place: Place, end: End) -> End:
    """Go on in a new file, because it is time; remove old ones.

    Args:
        place: where and when.
        end: the end of the trail; its file stays open.

    Raises:
        OSError: a file can't be made or synced, or the `pruned` line not written.
        PullpassError: what is there is not ours.
    """
    os.fsync(end.descriptor)
    new = _new_file(place, end.head._replace(synced=end.head.seq))
    new = new._replace(warnings=end.warnings + new.warnings)
    try:
        return _prune(place, end, new)
    except BaseException:
        os.close(new.descriptor)
        raise


def is_due_behind(descriptor: int, now_s: float) -> bool:
    """Whether a file is full of another day although its name lies ahead of the clock.

    A clock that is put back by less than a day writes on in the same file: around midnight it may go to and fro.

    Args:
        descriptor: the last file of the trail.
        now_s: seconds since the epoch.

    Raises:
        OSError: it can't be read.
    """
    begun_s = _time_s(lines.first(descriptor))
    if begun_s == _NEVER_S:
        return False
    return begun_s // DAY_S < now_s // DAY_S or begun_s - now_s > DAY_S


def _new_file(place: Place, before: Head) -> End:
    """Make the next file, and have the head point to it."""
    known = lines.parse_name(before.file) or _NO_NAME
    name = max([*lines.names(place.directory), known])
    # A later file that the head does not know of was left by a crash, or put there: `follow` finds out what it holds.
    if name == known:
        day = place.time[:10]
        name = lines.Name(day, 1) if day > known.day else lines.Name(known.day, known.number + 1)
    descriptor = ends.open_file(place.directory, name.text(), create=True)
    try:
        files.sync_directory(place.directory)
        new = before._replace(file=name.text(), offset=0)
        head.write(place.lock, new)
        os.fsync(place.lock)
        found = repair.follow(new, descriptor)  # somebody may have put it there
    except BaseException:
        os.close(descriptor)
        raise
    return End(found.head, descriptor, found.lead, found.warnings)


def _prune(place: Place, old: End, new: End) -> End:
    """Remove what is too old, and say so first.

    Args:
        place: where and when.
        old: the end before the new file.
        new: the new file.
    """
    names = [name for name in lines.names(place.directory) if name.text() <= old.head.file]
    newest_s = _time_s(lines.last(old.descriptor))
    count = 0 if newest_s == _NEVER_S else _too_old(place, names[:-1], min(place.now_s, newest_s))
    through = _through(place, names[count:]) if count else None
    if through is None:
        return new
    gone = [name.text() for name in names[:count]]
    body: Body = {"event": "pruned", "files": gone, "through": through}
    written = ends.write(place, new, [*new.warnings, body])
    os.fsync(new.descriptor)
    warnings: list[Body] = []
    for name in gone:
        warning = _remove(place, name)
        if warning is not None:  # the later ones stay as well: a hole behind it would look like lines taken out
            warnings.append(warning)
            break
    return End(written, new.descriptor, b"", warnings)


def _remove(place: Place, name: str) -> Body | None:
    """Remove a file; the warning about it when that can't be done."""
    try:
        os.unlink(os.path.join(place.directory, name))
    except OSError as error:
        return {"event": "warning", "code": PRUNE_FAILED, "file": name, "message": error.strerror}
    return None


def _too_old(place: Place, names: list[lines.Name], reference_s: float) -> int:
    """How many of the first files are to go."""
    ends_s: list[float] = []
    bound_s = reference_s
    for name in reversed(names):
        bound_s = min(bound_s, _end_s(place, name))
        ends_s.insert(0, bound_s)
    count = 0
    for end_s in ends_s[:PRUNE_LIMIT]:
        if (end_s // DAY_S + 1) * DAY_S + place.keep_s > reference_s:
            break
        count += 1
    return count


def _end_s(place: Place, name: lines.Name) -> float:
    """The later one of the times of a file's first and last line."""
    first, last, _ = _edges(place, name)
    return max(_time_s(first), _time_s(last))


def _time_s(line: bytes) -> float:
    """The time of a line; never, when it is not one of ours."""
    if lines.front(line) is None:
        return _NEVER_S
    try:
        return moments.parse(lines.time_of(line))
    except ValueError:
        return _NEVER_S


def _through(place: Place, names: list[lines.Name]) -> dict[str, object] | None:
    """The line that the rest is chained to, as its first line says; None when that can't be read: then nothing goes."""
    # One of them is the file that was just left, which has lines.
    edges = (_edges(place, name) for name in names)
    front = lines.front(next(first for first, _, size in edges if size))
    return None if front is None else {"seq": front.seq - 1, "hash": front.prev}


def _edges(place: Place, name: lines.Name) -> tuple[bytes, bytes, int]:
    """The first and last line of a file, and its size.

    A file that can't be read has none: an old one that is damaged must not keep new lines from being written. `verify`
    tells of it.
    """
    path = os.path.join(place.directory, name.text())
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            return lines.first(descriptor), lines.last(descriptor), os.fstat(descriptor).st_size
        finally:
            os.close(descriptor)
    except OSError:
        return b"", b"", -1
