"""A lock of one file, held across processes, that ends with its holder.

Rules:

* `flock`: the kernel gives it back when the holder dies, however it dies. A pid in a file would have to be believed.
* A holder may remove the file before it lets go. Whoever waited for it then holds the lock of a file that nobody else
  can find, so after locking the name is looked up again, and another file there means another attempt.
* Waiting is asking again, at growing intervals: a blocking call could not be bounded without signals or threads.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.clock import Clock

FIRST_PAUSE_S = 0.001
LONGEST_PAUSE_S = 0.05


def lock(path: str, clock: Clock, wait_s: float) -> int | None:
    """Lock a file, which is made (mode 0600) when it is absent.

    Args:
        path: the file; its directory must exist. A symbolic link is not followed.
        clock: for waiting.
        wait_s: how long to wait for another holder; 0: not at all.

    Returns:
        A descriptor, open for reading and writing; closing it gives the lock back. None when the time was over first.

    Raises:
        OSError: the file can't be opened or locked, or is none: a symbolic link (`ELOOP`), a directory (`EISDIR`), or
            something else that was planted under the name (`EINVAL`).
    """
    end_s = clock.monotonic_s() + wait_s
    pause_s = FIRST_PAUSE_S
    while True:
        descriptor, mine = _open(path)
        try:
            while not _is_taken(descriptor):
                left_s = end_s - clock.monotonic_s()
                if left_s <= 0:
                    os.close(descriptor)
                    return None
                clock.sleep(min(pause_s, left_s))
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            if _is_still(path, mine):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(path: str) -> tuple[int, os.stat_result]:
    # O_NONBLOCK: a fifo planted under the name must not stop the run.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o600)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode):  # it can be locked all the same, and does not hold what is written to it
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor, status


def _is_taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: str, mine: os.stat_result) -> bool:
    """Whether the name still leads to the file that is locked."""
    try:
        there = os.lstat(path)
    except FileNotFoundError:
        return False
    return (there.st_dev, there.st_ino) == (mine.st_dev, mine.st_ino)
