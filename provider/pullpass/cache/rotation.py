"""Another key for the cache, while it is in use.

The order, under a lock of its own, so that only one at a time does it:

1. the key that is there is copied to `cache.key.previous`;
2. a new `cache.key` takes its place, in one rename: what is kept from here on is kept under it;
3. each entry is opened and kept again, under its key's intent lock;
4. `cache.key.previous` is removed.

A reader tries the key before where the new one does not open an entry, so credentials are served all the while, and a
crash at any point loses none: the copy is still there, entries under either key open, and the next rotation first
finishes this one. Without the copy, a crash between 2 and 3 would make an exchange of every entry, and a cloud that
can't be reached at that moment would make it a refusal.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

from pullpass.cache import disk
from pullpass.errors import PullpassError
from pullpass.store import files
from pullpass.store.lock import lock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.clock import Clock

LOCK_NAME = ".cache.key.lock"


@contextlib.contextmanager
def alone(runtime: str, clock: Clock) -> Iterator[None]:
    """Hold the lock of the key's change.

    Raises:
        PullpassError: `rotation-unfinished`: another command is at it; `state-path`.
        OSError: the lock can't be made.
    """
    files.private_directory(runtime)
    descriptor = lock(os.path.join(runtime, LOCK_NAME), clock, 0.0)
    if descriptor is None:
        raise PullpassError("rotation-unfinished", "another command is changing the key of the cache")
    try:
        yield
    finally:
        os.close(descriptor)


def is_pending(runtime: str) -> bool:
    """Whether a rotation was begun and not finished."""
    return os.path.lexists(os.path.join(runtime, disk.PREVIOUS_NAME))


def begin(runtime: str) -> None:
    """Put a new key in the place of the one that is there, which stays beside it. None must be pending.

    Raises:
        OSError: it can't be written; the key is the old one, or the new one with the old beside it.
    """
    before = disk.read_key(runtime)
    if before is not None:
        files.write_atomic(os.path.join(runtime, disk.PREVIOUS_NAME), before)
    files.write_atomic(os.path.join(runtime, disk.KEY_NAME), os.urandom(disk.KEY_BYTES))


def recode(runtime: str, key: str, validated_s: float) -> None:
    """Keep an entry under the key that counts now. The caller holds the intent lock of its key.

    Args:
        runtime: `paths.runtime`.
        key: of the plan.
        validated_s: the approval's `last_validated_s`.

    Raises:
        DamagedError: it does not open under either key.
        OSError: it can't be written, and is as it was.
    """
    credential = disk.get(runtime, key, validated_s)
    if credential is not None:
        disk.put(runtime, key, validated_s, credential)


def finish(runtime: str) -> None:
    """Remove the key before, once no entry needs it.

    Raises:
        OSError: it is still there.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(runtime, disk.PREVIOUS_NAME))
