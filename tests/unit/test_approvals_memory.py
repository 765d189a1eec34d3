"""Approvals in memory: served without the disk for a stated time, and never beyond what the disk says after that."""

from __future__ import annotations

import os
import threading
import time
from typing import TYPE_CHECKING

import pytest

from pullpass import approvals
from pullpass.approvals import APPROVED, Approval, UnreadableError
from pullpass.approvals.memory import RECHECK_S, SETTLED_S, Approvals
from pullpass.errors import PullpassError
from support import FakeClock

if TYPE_CHECKING:
    from pathlib import Path


def key_of(number: int = 0) -> str:
    """The key of one of several approvals."""
    return f"{number:064x}"


def make_approval(number: int = 0, rotations: int = 0) -> Approval:
    """An approval; its file has the same length for every one-digit number of rotations."""
    return Approval(
        key=key_of(number),
        state=APPROVED,
        cluster="prod-1",
        issuer="https://oidc.example.test/c1",
        namespace="team-a",
        service_account="web",
        uid="1",
        identity="arn:aws:iam::111122223333:role/pull-team-a",
        opens="ecr:aws:111122223333:us-west-2:team-a/app",
        credential_hash="0" * 64,
        registry_expires_s=2e9,
        session_expires_s=2e9,
        first_approved_s=1e9,
        last_validated_s=1e9,
        expires_s=2e9,
        rotations=rotations,
    )


class Shelf:
    """A directory of approvals and a memory over it, a while after whatever was stored first."""

    def __init__(self, state: Path, *, limit: int = 10, recheck_s: float = RECHECK_S) -> None:
        self.clock = FakeClock(now_s=time.time())  # it is compared with what the kernel dates files by
        self.place = approvals.directory(str(state))
        self.memory = Approvals(self.place, self.clock, limit=limit, recheck_s=recheck_s)

    def store(self, approval: Approval, *, settled: bool = True) -> None:
        """Store one as another process does it."""
        approvals.save(self.place, approval, sync=False)
        if settled:
            self.clock.advance(SETTLED_S + 1)

    def path(self, number: int = 0) -> str:
        """The file of one."""
        return f"{self.place}/{key_of(number)}.json"

    def rotations(self, number: int = 0) -> int | None:
        """What the memory says, by the member that tests change."""
        found = self.memory.get(key_of(number))
        return None if found is None else found.rotations


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    """One with the default bound."""
    return Shelf(tmp_path / "state")


def test_it_is_what_is_stored(shelf: Shelf) -> None:
    """The same values as from the directory, at the first and at every further time."""
    shelf.store(make_approval(rotations=3))
    assert shelf.memory.get(key_of()) == approvals.find(shelf.place, key_of()) == make_approval(rotations=3)
    assert shelf.memory.get(key_of()) is shelf.memory.get(key_of())
    assert len(shelf.memory) == 1


def test_the_disk_is_not_looked_at_within_the_bound(shelf: Shelf) -> None:
    """A deletion by somebody else is seen once the bound is over, and not before."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    os.unlink(shelf.path())
    shelf.clock.advance(RECHECK_S * 0.99)
    assert shelf.rotations() == 0
    shelf.clock.advance(RECHECK_S * 0.01)
    assert shelf.rotations() is None
    assert len(shelf.memory) == 0


def test_the_bound_counts_from_the_last_look(shelf: Shelf) -> None:
    """Being asked for does not make it longer."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    shelf.store(make_approval(rotations=1), settled=False)
    for _ in range(9):
        shelf.clock.advance(RECHECK_S * 0.1)
        assert shelf.rotations() == 0
    shelf.clock.advance(RECHECK_S * 0.11)
    assert shelf.rotations() == 1


def test_an_unchanged_file_is_served_on(shelf: Shelf) -> None:
    """After the bound the file is looked at, and not read again."""
    shelf.store(make_approval())
    first = shelf.memory.get(key_of())
    shelf.clock.advance(10 * RECHECK_S)
    assert shelf.memory.get(key_of()) is first


def test_an_edit_under_the_old_times_is_seen(shelf: Shelf) -> None:
    """Same inode, same size, mtime put back: the ctime is the kernel's."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    before = os.stat(shelf.path())
    with open(shelf.path(), "r+b") as file:
        text = file.read()
        file.seek(0)
        file.write(text.replace(b'"rotations":0', b'"rotations":7'))
    os.utime(shelf.path(), ns=(before.st_atime_ns, before.st_mtime_ns))
    after = os.stat(shelf.path())
    assert (before.st_ino, before.st_size, before.st_mtime_ns) == (after.st_ino, after.st_size, after.st_mtime_ns)
    shelf.clock.advance(RECHECK_S)
    assert shelf.rotations() == 7


def test_a_bound_of_nothing_looks_each_time(tmp_path: Path) -> None:
    """For who must see a denial at once."""
    shelf = Shelf(tmp_path / "state", recheck_s=0.0)
    shelf.store(make_approval())
    first = shelf.memory.get(key_of())
    assert shelf.memory.get(key_of()) is first
    shelf.store(make_approval(rotations=1), settled=False)
    assert shelf.rotations() == 1
    os.unlink(shelf.path())
    assert shelf.rotations() is None


def test_what_was_changed_just_now_is_not_kept(shelf: Shelf) -> None:
    """Another change within the same tick could not be told from it."""
    shelf.store(make_approval(), settled=False)
    assert shelf.rotations() == 0
    assert len(shelf.memory) == 0
    shelf.store(make_approval(rotations=1), settled=False)
    assert shelf.rotations() == 1
    shelf.clock.advance(SETTLED_S + 1)
    assert shelf.rotations() == 1
    assert len(shelf.memory) == 1


def test_a_file_of_the_future_is_not_kept(shelf: Shelf) -> None:
    """The clock was put back: what changes now may get times that were used before."""
    shelf.store(make_approval())
    shelf.clock.advance(-3600)
    assert shelf.rotations() == 0
    assert len(shelf.memory) == 0


def test_a_clock_that_goes_back_shortens_the_bound(shelf: Shelf) -> None:
    """The monotonic clock never does; were it to, the file would be looked at."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    os.unlink(shelf.path())
    shelf.clock.advance(-0.5)
    assert shelf.rotations() is None


def test_its_own_changes_are_seen_at_once(shelf: Shelf) -> None:
    """And what it saves is what other processes read."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    shelf.memory.save(make_approval(rotations=1))
    assert shelf.rotations() == 1
    found = approvals.find(shelf.place, key_of())
    assert found is not None
    assert found.rotations == 1


def test_a_save_that_fails_is_told_and_nothing_is_believed_any_more(shelf: Shelf) -> None:
    """The directory is gone, and with it what was kept of the key."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    os.rename(shelf.place, f"{shelf.place}.away")
    with pytest.raises(PullpassError) as caught:
        shelf.memory.save(make_approval(rotations=1), sync=False)
    assert caught.value.code == "state-unwritable"
    assert shelf.rotations() is None


def test_absence_is_not_kept(shelf: Shelf) -> None:
    """An approval counts from the moment it is there."""
    assert shelf.rotations() is None
    shelf.store(make_approval(), settled=False)
    assert shelf.rotations() == 0


def test_damage_is_not_kept(shelf: Shelf) -> None:
    """It is told each time, and what is put right counts at once."""
    shelf.store(make_approval(1))
    os.rename(shelf.path(1), shelf.path(0))
    for _ in range(2):
        with pytest.raises(UnreadableError) as caught:
            shelf.memory.get(key_of())
        assert caught.value.what == "is the approval of another key"
    shelf.store(make_approval())
    assert shelf.rotations() == 0


def test_a_file_that_others_may_write_is_refused_after_the_bound(shelf: Shelf) -> None:
    """Its content is the same, and is not believed any more."""
    shelf.store(make_approval())
    assert shelf.rotations() == 0
    os.chmod(shelf.path(), 0o666)  # noqa: S103 - which is the point
    shelf.clock.advance(RECHECK_S)
    with pytest.raises(UnreadableError):
        shelf.memory.get(key_of())
    assert len(shelf.memory) == 0


def test_those_that_nobody_asks_for_go_first(tmp_path: Path) -> None:
    """Of more than the limit; each further one is read from the disk, not refused."""
    shelf = Shelf(tmp_path / "state", limit=3)
    for number in range(4):
        shelf.store(make_approval(number))
    for number in (0, 1, 2):
        shelf.rotations(number)
    shelf.clock.advance(RECHECK_S)
    shelf.rotations(0)
    shelf.rotations(3)
    assert len(shelf.memory) == 3
    for number in range(4):
        os.unlink(shelf.path(number))
    assert [shelf.rotations(number) for number in range(4)] == [0, None, None, 0]


class Interrupting(FakeClock):
    """A clock that does something when it is asked for the time of day, once."""

    def __init__(self) -> None:
        super().__init__(now_s=time.time() + SETTLED_S + 1)
        self.memory: Approvals | None = None

    def now_s(self) -> float:
        """The time of day, after what comes in between."""
        memory, self.memory = self.memory, None
        if memory is not None:
            memory.save(make_approval(rotations=1), sync=False)
        return super().now_s()


def test_a_save_while_another_thread_reads_is_seen(tmp_path: Path) -> None:
    """What was read before it is not kept after it."""
    clock = Interrupting()
    place = approvals.directory(str(tmp_path / "state"))
    memory = Approvals(place, clock)
    approvals.save(place, make_approval(), sync=False)
    clock.memory = memory
    before = memory.get(key_of())
    assert before is not None
    assert before.rotations == 0
    after = memory.get(key_of())
    assert after is not None
    assert after.rotations == 1


class Watcher(threading.Thread):
    """Reads approvals over and over, and notes one that is gone or goes back in time."""

    def __init__(self, shelf: Shelf, keys: int) -> None:
        super().__init__()
        self.shelf, self.seen, self.over = shelf, [0] * keys, threading.Event()
        self.faults: list[str] = []

    def run(self) -> None:
        """Until it is over."""
        try:
            while not self.over.is_set():
                for number, last in enumerate(self.seen):
                    now = self.shelf.rotations(number)
                    if now is None or now < last:
                        self.faults.append(f"{number}: {now} after {last}")
                    self.seen[number] = now or 0
        except Exception as error:  # noqa: BLE001 - for the thread that looks at the faults
            self.faults.append(repr(error))


def test_threads_at_once(tmp_path: Path) -> None:
    """Readers, a writer and a limit that is always reached: no reader ever sees an approval go back in time."""
    shelf = Shelf(tmp_path / "state", limit=2)
    for number in range(4):
        shelf.store(make_approval(number))
    shelf.clock.advance(3600)  # everything is kept, whatever is written
    watchers = [Watcher(shelf, 4) for _ in range(4)]
    for watcher in watchers:
        watcher.start()
    for rotation in range(1, 60):
        for number in range(4):
            shelf.memory.save(make_approval(number, rotation), sync=False)
    for watcher in watchers:
        watcher.over.set()
        watcher.join()
    assert [watcher.faults for watcher in watchers] == [[]] * 4
    assert len(shelf.memory) <= 2
