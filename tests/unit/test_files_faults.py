"""Files on disks that fail: full, read-only, broken at each step of a write, or changed while they are read."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import tracing
from pullpass.store import files

LIBRARY = str(Path(files.__file__).parents[2])
BEGIN = f"import json, os, subprocess, sys\nsys.path.append({LIBRARY!r})\nfrom pullpass.store import files\n"

# Replaces a file, and says by which error it could not.
WRITE = f"""\
{BEGIN}
try:
    path, mode, sync = sys.argv[1:]
    files.write_atomic(path, b"new, and longer than the old", mode=int(mode, 8), sync=sync == "sync")
    print(json.dumps(0))
except OSError as error:
    print(json.dumps(error.errno))
"""

# Mounts something of its own over a directory, and tells what writing there comes to.
ON_A_FULL_DISK = f"""\
{BEGIN}
place = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place], check=True)
path = place + "/file"
files.write_atomic(path, b"old", sync=True)
outcomes = []
for size in (65536, 200_000):
    for sync in (False, True):
        try:
            files.write_atomic(path, b"n" * size, sync=sync)
        except OSError as error:
            outcomes.append([error.errno, os.listdir(place), open(path).read()])
files.write_atomic(path, b"new", sync=True)
outcomes.append([0, os.listdir(place), open(path).read()])
print(json.dumps(outcomes))
"""
ON_A_READ_ONLY_DISK = f"""\
{BEGIN}
place = sys.argv[1]
path = place + "/file"
files.write_atomic(path, b"old")
open(place + "/.file.1.ab.tmp", "w").close()
subprocess.run(["mount", "--bind", place, place], check=True)
subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
outcomes = []
deeds = [
    lambda: files.write_atomic(path, b"new"),
    lambda: files.write_atomic(path, b"new", sync=True),
    lambda: files.remove_leftovers(place, 1e12),
    lambda: files.private_directory(place + "/sub"),
]
for deed in deeds:
    try:
        deed()
    except OSError as error:
        outcomes.append(error.errno)
files.private_directory(place)
print(json.dumps([outcomes, sorted(os.listdir(place)), open(path).read()]))
"""


def names(path: Path) -> list[str]:
    """What is in a directory."""
    return sorted(os.listdir(path))


# --- disks


def in_a_mount_namespace(program: str, place: Path) -> Any:
    """What a program prints that may mount what it likes."""
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-IS", "-c", program, str(place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


@pytest.mark.needs("root", "mount namespaces")
def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    """Whether nothing at all fits or only a part: the old content stays, alone; and what fits is written again."""
    (tmp_path / "disk").mkdir()
    *failed, last = in_a_mount_namespace(ON_A_FULL_DISK, tmp_path / "disk")
    assert failed == [[errno.ENOSPC, ["file"], "old"]] * 4
    assert last == [0, ["file"], "new"]


@pytest.mark.needs("root", "mount namespaces")
def test_a_read_only_disk_changes_nothing(tmp_path: Path) -> None:
    """Every change is refused as what it is; looking still works."""
    (tmp_path / "disk").mkdir(mode=0o700)
    errors, left, content = in_a_mount_namespace(ON_A_READ_ONLY_DISK, tmp_path / "disk")
    assert errors == [errno.EROFS] * 4
    assert (left, content) == ([".file.1.ab.tmp", "file"], "old")


# --- each step of a write

FAULTS = {
    "openat": ("ENOSPC", "EIO", "EROFS", "EMFILE"),
    "write": ("ENOSPC", "EIO", "EDQUOT"),
    "fchmod": ("EIO", "EPERM"),
    "fsync": ("EIO", "ENOSPC"),
    "close": ("EIO", "ENOSPC"),
    "rename": ("EIO", "ENOSPC", "EROFS"),
}
SYNCED = ["openat", "write", "fsync", "close", "rename", "openat", "fsync", "close"]


def write(tmp_path: Path, *faults: str, mode: str = "600", sync: bool = True) -> tracing.Run:
    """Replace `state/file` in a process of its own, with faults."""
    (tmp_path / "state").mkdir(exist_ok=True)
    (tmp_path / "state" / "file").write_bytes(b"old")
    arguments = [str(tmp_path / "state" / "file"), mode, "sync" if sync else ""]
    done = tracing.run([sys.executable, "-ISc", WRITE, *arguments], tmp_path / "state", tmp_path, *faults)
    assert done.stderr == ""
    return done


@pytest.mark.needs("strace")
@pytest.mark.parametrize(
    ("mode", "sync", "expected"),
    [
        ("600", True, SYNCED),
        ("755", True, [*SYNCED[:2], "fchmod", *SYNCED[2:]]),
        ("600", False, ["openat", "write", "close", "rename"]),
    ],
)
def test_the_steps_of_a_write(tmp_path: Path, mode: str, sync: bool, expected: list[str]) -> None:
    """Content is on the disk before the name leads to it, and the name before this returns; unasked, nothing waits."""
    done = write(tmp_path, mode=mode, sync=sync)
    assert json.loads(done.stdout) == 0
    assert [step.call for step in done.steps] == expected
    first, *_ = done.steps
    assert "O_WRONLY|O_CREAT|O_EXCL|O_NOFOLLOW|O_CLOEXEC, 0600" in first.text
    syncs = [step.text for step in done.steps if step.call == "fsync"]
    assert [f"{tmp_path}/state>" in text for text in syncs] == [False, True][: len(syncs)]
    assert [".tmp>" in text for text in syncs] == [True, False][: len(syncs)]


@pytest.mark.needs("strace")
def test_a_fault_at_any_step_leaves_old_or_new(tmp_path: Path) -> None:
    """With the error said; nothing else is left, and what was changed before the rename failed is nothing."""
    steps = write(tmp_path, mode="640").steps
    renamed = [step.call for step in steps].index("rename")
    for number, step in enumerate(steps):
        for name in FAULTS[step.call]:
            done = write(tmp_path, f"{step.call}:error={name}:when={step.when}", mode="640")
            hit = [other.call for other in done.steps if "(INJECTED)" in other.text]
            assert hit == [step.call]
            assert json.loads(done.stdout) == getattr(errno, name), step
            assert names(tmp_path / "state") == ["file"], step
            content = (tmp_path / "state" / "file").read_bytes()
            assert content == (b"old" if number <= renamed else b"new, and longer than the old"), step


@pytest.mark.needs("strace")
def test_a_kill_at_any_step_leaves_old_or_new(tmp_path: Path) -> None:
    """And a temporary file, which is found and removed later."""
    steps = write(tmp_path).steps
    renamed = [step.call for step in steps].index("rename")
    for number, step in enumerate(steps):
        done = write(tmp_path, f"{step.call}:error=EIO:signal=KILL:when={step.when}")
        assert (done.status, done.stdout) == (-signal.SIGKILL, "")
        content = (tmp_path / "state" / "file").read_bytes()
        assert content == (b"old" if number <= renamed else b"new, and longer than the old"), step
        left = [name for name in names(tmp_path / "state") if name != "file"]
        assert len(left) == (0 < number <= renamed), step
        assert files.remove_leftovers(str(tmp_path / "state"), 1e12) == left
        assert names(tmp_path / "state") == ["file"]


@pytest.mark.needs("strace")
def test_an_interrupted_write_goes_on(tmp_path: Path) -> None:
    """A signal that nobody minds."""
    steps = write(tmp_path).steps
    for step in steps:
        if step.call not in ("write", "openat", "fsync"):
            continue
        done = write(tmp_path, f"{step.call}:error=EINTR:when={step.when}")
        assert json.loads(done.stdout) == 0
        assert (tmp_path / "state" / "file").read_bytes() == b"new, and longer than the old"


@pytest.mark.needs("strace")
def test_what_failed_first_is_said(tmp_path: Path) -> None:
    """When not even the temporary file can be removed."""
    done = write(tmp_path, "rename:error=EROFS", "unlink:error=EIO")
    assert json.loads(done.stdout) == errno.EROFS
    left = [name for name in names(tmp_path / "state") if name != "file"]
    assert len(left) == 1
    assert (tmp_path / "state" / "file").read_bytes() == b"old"
    assert files.remove_leftovers(str(tmp_path / "state"), 1e12) == left


def test_a_temporary_file_that_somebody_removes_is_said(tmp_path: Path) -> None:
    """As by a cleaner that takes a young one for a leftover: the write fails, and changes nothing."""
    path = str(tmp_path / "file")
    data = [bytes([65 + number]) * 1_000_000 for number in range(2)]
    files.write_atomic(path, data[0])
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            files.remove_leftovers(str(tmp_path), 1e12)

    thread = threading.Thread(target=clean)
    thread.start()
    written, failed = data[0], False
    try:
        for _ in range(10_000):
            try:
                files.write_atomic(path, data[written == data[0]])
            except FileNotFoundError:
                failed = True
                break
            written = data[written == data[0]]
    finally:
        over.set()
        thread.join()
    assert failed
    assert Path(path).read_bytes() == written
    assert names(tmp_path) == ["file"]


# --- names on the disk


def test_a_directory_is_synced_or_why_not_is_said(tmp_path: Path) -> None:
    """A link to it is none."""
    files.sync_directory(str(tmp_path))
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for name, error in (("absent", FileNotFoundError), ("file", NotADirectoryError), ("link", NotADirectoryError)):
        with pytest.raises(error):
            files.sync_directory(str(tmp_path / name))
    assert len(os.listdir("/proc/self/fd")) == before


# --- leftovers


def test_old_temporary_files_are_removed(tmp_path: Path) -> None:
    """And neither a young one, whose writer may be at work, nor what has another name or is no file."""
    for number, name in enumerate((".a.1.00.tmp", ".b.2.00.tmp", ".young.3.00.tmp", "a", "c.tmp", ".c.tmp.json")):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (1000, 1000 + number))
    (tmp_path / ".dir.tmp").mkdir()
    (tmp_path / ".link.tmp").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / ".pipe.tmp")
    old = [".a.1.00.tmp", ".b.2.00.tmp"]
    assert sorted(files.leftovers(str(tmp_path), 1002)) == old
    kept = [".c.tmp.json", ".dir.tmp", ".link.tmp", ".pipe.tmp", ".young.3.00.tmp", "a", "c.tmp"]
    assert names(tmp_path) == sorted([*kept, *old])
    assert sorted(files.remove_leftovers(str(tmp_path), 1002)) == old
    assert names(tmp_path) == kept
    assert files.remove_leftovers(str(tmp_path), 1002) == []


def test_a_leftover_of_a_killed_write_is_one(tmp_path: Path) -> None:
    """Found by the name that `write_atomic` gives it: see the kills above, and this for where there is no `strace`."""
    watched: list[str] = []
    over = threading.Event()

    def watch() -> None:
        while not over.is_set():
            watched.extend(name for name in os.listdir(tmp_path) if name != "file")

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        while not watched:
            files.write_atomic(str(tmp_path / "file"), b"x" * 1_000_000)
    finally:
        over.set()
        thread.join()
    (tmp_path / watched[0]).touch()
    assert files.remove_leftovers(str(tmp_path), 1e12) == [watched[0]]


def test_many_may_remove_leftovers_at_once(tmp_path: Path) -> None:
    """Each file by one of them; that another was faster is no error."""
    left = sorted(f".file.{number}.tmp" for number in range(2000))
    for name in left:
        (tmp_path / name).touch()
    barrier = threading.Barrier(4)
    removed: list[str] = []

    def remove() -> None:
        barrier.wait()
        removed.extend(files.remove_leftovers(str(tmp_path), 1e12))

    threads = [threading.Thread(target=remove) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(removed) == left
    assert names(tmp_path) == []


def test_a_leftover_may_go_while_it_is_looked_at(tmp_path: Path) -> None:
    """Its writer has renamed it, or another process has removed it."""
    left = {f".file.{number}.tmp" for number in range(300)}

    def remove(names: list[str]) -> None:
        for name in names:
            os.unlink(tmp_path / name)

    for _ in range(30):
        for name in left:
            (tmp_path / name).touch()
        # Against the order in which they are looked at, so that the two meet.
        thread = threading.Thread(target=remove, args=(os.listdir(tmp_path)[::-1],))
        thread.start()
        found = files.leftovers(str(tmp_path), 1e12)
        thread.join()
        assert left.issuperset(found)
        assert files.leftovers(str(tmp_path), 1e12) == []


def test_a_directory_without_leftovers_may_not_be_absent(tmp_path: Path) -> None:
    """That it can't be read is the caller's to judge."""
    with pytest.raises(FileNotFoundError):
        files.remove_leftovers(str(tmp_path / "absent"), 1e12)


# --- files that change while they are read


def test_a_file_is_read_up_to_the_size_it_had() -> None:
    """The kernel's own files say 0, or a page, and hold more, or less: as if they had changed since."""
    data, status = files.read_regular("/proc/self/status", 10)
    assert (data, status.st_size) == (b"", 0)
    data, status = files.read_regular("/sys/devices/system/cpu/online", 100_000)
    assert 0 < len(data) < status.st_size


def test_a_growing_file_is_read_as_it_was(tmp_path: Path) -> None:
    """The status that comes with the bytes is of these bytes, none too many."""
    path = tmp_path / "file"
    whole = os.urandom(200_000)
    path.touch()

    def grow() -> None:
        with path.open("ab", buffering=0) as stream:
            for at in range(0, len(whole), 20):
                stream.write(whole[at : at + 20])

    thread = threading.Thread(target=grow)
    thread.start()
    try:
        data = b""
        while len(data) < len(whole):
            data, status = files.read_regular(str(path), len(whole))
            assert data == whole[: status.st_size]
    finally:
        thread.join()


def test_a_shrinking_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    """Never for ever, and never more than there was."""
    path = tmp_path / "file"
    over = threading.Event()
    path.write_bytes(b"x" * 100_000)

    def shrink() -> None:
        while not over.is_set():
            os.truncate(path, 10)
            os.truncate(path, 100_000)

    thread = threading.Thread(target=shrink)
    thread.start()
    try:
        for _ in range(500):
            data, status = files.read_regular(str(path), 100_000)
            assert 10 <= len(data) <= status.st_size
    finally:
        over.set()
        thread.join()
