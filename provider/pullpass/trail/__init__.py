"""The audit trail: lines that are chained by hashes, appended by many processes at once.

Rules:

* `STATE/audit/<YYYY-MM-DD>-<NNN>.jsonl` holds the lines, `STATE/audit/head` says where they end (`trail.head`). The
  head is the lock: whoever writes holds it. It is never replaced.
* One append is one write, so that lines of two processes never mix and a killed writer leaves at most one half line.
  First the line, then the head: a writer that dies in between leaves a line that the next one adopts (`trail.repair`).
  The other way round, the head would promise a line that there is not, and look like a cut.
* A write that fails is taken back by cutting the file to what it was, while the lock is held.
* The disk is waited for after the lock was given back. One sync covers everything before it in the file, so writers at
  once cost about one. `synced` in the head is noted afterwards where nobody is in the way; it can be too low and never
  too high, so that a line up to it which is missing was not taken by a power failure.
* A new file is begun by day and by size (`trail.rotation`), never under a name that sorts before the current one.

What it proves, and what not, is in `docs/audit.md`.
"""

from __future__ import annotations

import fcntl
import os

from pullpass.errors import PullpassError, outside
from pullpass.store import files, moments
from pullpass.store.lock import lock
from pullpass.trail import ends, head, lines
from pullpass.trail.ends import End, Place

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.clock import Clock
    from pullpass.trail.ends import Body
    from pullpass.trail.head import Head

DIRECTORY = "audit"
FILE_LIMIT_BYTES = 64 << 20  # a reader that needs one day does not read a year, and pruning has something to remove


def append(  # noqa: PLR0913 - the last three are said by name
    state: str, bodies: list[dict[str, object]], clock: Clock, *, wait_s: float, sync: bool, keep_s: float
) -> None:
    """Append lines to the trail, all in one write under one lock.

    Args:
        state: the state directory; `audit` in it is made when it is absent.
        bodies: the members of each line without `seq`, `prev` and `time`, which are added in front.
        clock: for the lines' time, and for waiting.
        wait_s: how long to wait for other writers.
        sync: whether the lines must outlast a power failure once this returns.
        keep_s: how long lines are kept: older files may be removed when a new one is begun.

    Raises:
        PullpassError: `trail-unwritable`, whatever stood in the way. The lines were not written; or, when only what
            follows them failed (the head, the sync), they stand there and may not last.
    """
    if not bodies:
        return
    directory = os.path.join(state, DIRECTORY)
    try:
        files.private_directory(directory)
        descriptor = _lock(directory, clock, wait_s)
        try:
            now_s = clock.now_s()
            _append_locked(Place(directory, descriptor, now_s, moments.text(now_s), keep_s), bodies, sync=sync)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unwritable(directory, error.strerror or type(error).__name__) from None
    except PullpassError as error:
        raise _unwritable(directory, error.what) from None


def _lock(directory: str, clock: Clock, wait_s: float) -> int:
    descriptor = lock(os.path.join(directory, head.NAME), clock, wait_s)
    if descriptor is None:
        raise PullpassError("trail-unwritable", f"another process has kept its lock for {wait_s:g}s")
    return descriptor


def _unwritable(directory: str, why: str) -> PullpassError:
    return PullpassError("trail-unwritable", f"the audit trail in {outside(directory)} can't be written: {why}")


def _append_locked(place: Place, bodies: list[Body], *, sync: bool) -> None:
    end = _open_end(place)
    descriptors = [end.descriptor]
    try:
        if _wants_new_file(end, place):
            from pullpass.trail import rotation  # noqa: PLC0415 - once a day

            end = rotation.rotate(place, end)
            descriptors.append(end.descriptor)
        written = ends.write(place, end, end.warnings + bodies)
        if sync:
            fcntl.flock(place.lock, fcntl.LOCK_UN)
            os.fsync(end.descriptor)
            _note_synced(place.lock, written.seq)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _note_synced(lock: int, seq: int) -> None:
    """Note in the head what has reached the disk, unless another writer is at work, who may note more."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return
    now = head.parse(head.read(lock))
    if now is not None and now.synced < seq:
        head.write(lock, now._replace(synced=seq))


def _open_end(place: Place) -> End:
    """Open the trail's last file where the head says, or find out what has happened to it.

    Raises:
        OSError: something can't be read.
        PullpassError: the head or the file is not ours.
    """
    ends.check_ours(place.lock, head.NAME)
    raw = head.read(place.lock)
    found = head.parse(raw)
    if found is None:
        return _find_end(place, raw)
    try:
        descriptor = ends.open_file(place.directory, found.file)
    except FileNotFoundError:
        from pullpass.trail import rotation  # noqa: PLC0415 - somebody has removed the last file

        return rotation.go_on(place, found, [])
    return _at_end(found, descriptor, [])


def _find_end(place: Place, raw: bytes) -> End:
    """The end of a trail without a head; `raw` is what stands in its place."""
    from pullpass.trail import repair, rotation  # noqa: PLC0415 - once in a trail's life

    names = [name for name in lines.names(place.directory) if _size(place, name)]
    if len(raw) > head.WIDTH_BYTES:  # the line that is written over it would not cover it
        os.ftruncate(place.lock, head.WIDTH_BYTES)
    if not names:
        return rotation.begin(place, [repair.head_lost("")] if raw else [])
    found, warning = repair.rebuild(place.directory, names)
    return _at_end(found, ends.open_file(place.directory, found.file), [warning])


def _size(place: Place, name: lines.Name) -> int:
    return os.lstat(os.path.join(place.directory, name.text())).st_size


def _at_end(found: Head, descriptor: int, warnings: list[Body]) -> End:
    try:
        if os.fstat(descriptor).st_size == found.offset and not warnings:
            return End(found, descriptor, b"", [])
        from pullpass.trail import repair  # noqa: PLC0415 - after a crash

        repaired = repair.follow(found, descriptor)
    except BaseException:
        os.close(descriptor)
        raise
    return End(repaired.head, descriptor, repaired.lead, warnings + repaired.warnings)


def _wants_new_file(end: End, place: Place) -> bool:
    if end.lead:  # first the half line is closed off
        return False
    if end.head.offset >= FILE_LIMIT_BYTES:
        return True
    day, begun = place.time[:10], end.head.file[:10]
    if day >= begun:
        return day > begun
    from pullpass.trail import rotation  # noqa: PLC0415 - the clock was put back

    return rotation.is_due_behind(end.descriptor, place.now_s)
