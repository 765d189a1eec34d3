"""Approvals in the memory of a resident process, over their directory.

Rules:

* The directory is the truth: other processes write there, and an operator may delete a file. What is kept is served
  without a look at the disk for `recheck_s` at most, by the monotonic clock; after that the file must be the one that
  was read: same device, inode, size, mtime and ctime. The ctime is the kernel's own, so a change under a restored mtime
  is seen too.
* So for `recheck_s` a denial, a rotation or a deletion by another process may not be seen. Who must see it (who holds
  the key's intent, for one) calls `approvals.find`, or has a `recheck_s` of 0.
* What this process saves itself is seen at once.
* A file that was changed only just now is not kept. Two changes within one tick of the file system's clock can leave
  the same size, times and, as numbers are used again, inode. One whose ctime lies in the future never is: then one of
  the clocks was put back, and there is no telling.
* Nothing is kept of what is absent or unreadable: an approval that appears, or is put right, counts at once.
"""

from __future__ import annotations

import os
import threading

from pullpass import approvals

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.approvals import Approval
    from pullpass.clock import Clock

    Stamp = tuple[int, int, int, int, int]

RECHECK_S = 1.0
# Ten ticks of the slowest clock that Linux dates files by (CONFIG_HZ=100).
SETTLED_S = 0.1
LIMIT = 10_000  # a node has hundreds; each takes some kilobytes


class _Kept:
    """One approval, and when the file was last seen to be the one that it was read from."""

    __slots__ = ("approval", "checked_s", "stamp")

    def __init__(self, approval: Approval, stamp: Stamp, checked_s: float) -> None:
        self.approval, self.stamp, self.checked_s = approval, stamp, checked_s


class Approvals:
    """The approvals of one directory. Safe for threads."""

    def __init__(self, place: str, clock: Clock, *, recheck_s: float = RECHECK_S, limit: int = LIMIT) -> None:
        """Begin with nothing kept.

        Args:
            place: of `approvals.directory`.
            clock: the process's.
            recheck_s: for how long an approval is served without a look at its file; 0: there is one each time.
            limit: how many are kept; of more, those go first that were not asked for the longest.
        """
        self._place = place
        self._clock = clock
        self._monotonic_s = clock.monotonic_s
        self._recheck_s = recheck_s
        self._limit = limit
        self._lock = threading.Lock()  # held for what changes `_kept`; reading one entry needs none
        self._kept: dict[str, _Kept] = {}  # in the order in which they were last checked
        self._forgotten = 0  # how often something was: what was read before that is not kept after it

    def __len__(self) -> int:
        """How many are kept."""
        return len(self._kept)

    def get(self, key: str) -> Approval | None:
        """As `approvals.find`, from memory where that may be.

        Args:
            key: of the plan.

        Returns:
            None when there is none.

        Raises:
            UnreadableError: what is there is not this key's approval.
        """
        kept = self._kept.get(key)
        # The comparison fails closed should the clock ever go back.
        if kept is not None and 0.0 <= self._monotonic_s() - kept.checked_s < self._recheck_s:
            return kept.approval
        return self._look(key, kept)

    def save(self, approval: Approval, *, sync: bool = True) -> None:
        """As `approvals.save`; the next `get` sees it.

        Args:
            approval: what to store.
            sync: whether it must outlast a power failure.

        Raises:
            PullpassError: `state-unwritable`; the one before is still there.
        """
        try:
            approvals.save(self._place, approval, sync=sync)
        finally:  # after a failed sync of the directory, the new one may be there all the same
            self.forget(approval.key)

    def forget(self, key: str) -> None:
        """Have the next `get` of a key read the file."""
        with self._lock:
            self._kept.pop(key, None)
            self._forgotten += 1

    def _look(self, key: str, kept: _Kept | None) -> Approval | None:
        # The time before the look: the bound counts from the last moment at which the file is known to be the same.
        checked_s, forgotten, path = self._monotonic_s(), self._forgotten, f"{self._place}/{key}.json"
        before = _stamp(path)
        if kept is not None and before == kept.stamp:
            with self._lock:
                kept.checked_s = checked_s
                if self._kept.get(key) is kept:  # and not forgotten, or read anew, meanwhile
                    del self._kept[key]
                    self._kept[key] = kept  # at the end of the order
            return kept.approval
        with self._lock:
            if self._kept.get(key) is kept:
                self._kept.pop(key, None)
        found = approvals.find(self._place, key)
        # What was read is the file with this stamp only if it was there before and after.
        if found is not None and before is not None and before == _stamp(path) and self._is_settled(before):
            with self._lock:
                if self._forgotten == forgotten:
                    self._kept.pop(key, None)
                    self._kept[key] = _Kept(found, before, checked_s)
                if len(self._kept) > self._limit:
                    del self._kept[next(iter(self._kept))]
        return found

    def _is_settled(self, stamp: Stamp) -> bool:
        return self._clock.now_s() - stamp[-1] / 1_000_000_000 >= SETTLED_S


def _stamp(path: str) -> Stamp | None:
    """What tells one state of a file from another; None when it can't be looked at."""
    try:
        status = os.lstat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
