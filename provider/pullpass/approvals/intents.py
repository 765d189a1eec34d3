"""Intents, `runtime/intents/<key>`: that an exchange for a key is under way, and the lock that makes it the only one.

Rules:

* It is written once the lock is held, before anything is sent, and removed after the approval is stored. Whoever gets
  the lock and finds one has found a leftover: its writer died in between, and the kernel gave its lock back.
* It is on a tmpfs and never synced: after a reboot nothing is under way.
"""

from __future__ import annotations

import os

from pullpass.lean import NamedTuple, to_json
from pullpass.store import files, lock, moments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.clock import Clock

NAME = "intents"


class Intent(NamedTuple):
    """A held lock.

    Attributes:
        path: the file.
        descriptor: holds the lock.
        leftover: whether a crash had left one here.
    """

    path: str
    descriptor: int
    leftover: bool


def enter(runtime: str, key: str, clock: Clock, wait_s: float) -> Intent | None:
    """Get the lock of a key, and write down that an exchange begins.

    Args:
        runtime: `paths.runtime`.
        key: of the plan.
        clock: the run's clock.
        wait_s: how long to wait for another holder; 0: not at all.

    Returns:
        None when another process still held it.

    Raises:
        OSError: the lock can't be made: the directory is not writable, or something else stands there.
        PullpassError: `state-path` when somebody else could change the directory.
    """
    intent = hold(runtime, key, clock, wait_s)
    if intent is None:
        return None
    try:
        document = {"apiVersion": "pullpass/v1", "kind": "PullIntent", "id": key, "pid": os.getpid()}
        document["began"] = moments.text(clock.now_s())
        # Over a leftover, which is cut to length afterwards: a crash in between must not leave an empty file, which
        # would tell the next one that nothing had happened.
        written = os.pwrite(intent.descriptor, to_json(document).encode("ascii") + b"\n", 0)
        os.ftruncate(intent.descriptor, written)
    except BaseException:
        os.close(intent.descriptor)
        raise
    return intent


def hold(runtime: str, key: str, clock: Clock, wait_s: float) -> Intent | None:
    """Get the lock of a key without writing anything down: for work on a key that is no exchange.

    Args, what is returned and raised: as `enter`. Who is killed while holding it leaves no trace of an exchange.
    """
    place = os.path.join(runtime, NAME)
    files.private_directory(place)
    path = f"{place}/{key}"
    descriptor = lock.lock(path, clock, wait_s)
    if descriptor is None:
        return None
    return Intent(path, descriptor, os.fstat(descriptor).st_size > 0)


def release(intent: Intent) -> None:
    """Give back what `hold` got. A leftover stays where it is: the next exchange of the key reports it.

    Raises:
        OSError: as `leave`.
    """
    if intent.leftover:
        os.close(intent.descriptor)
    else:
        leave(intent)


def leave(intent: Intent) -> None:
    """Remove the intent and give the lock back, in this order: a waiter that gets the lock finds the name gone.

    Raises:
        OSError: it can't be removed; the lock is given back, and the next one finds a leftover.
    """
    try:
        os.unlink(intent.path)
    finally:
        os.close(intent.descriptor)
