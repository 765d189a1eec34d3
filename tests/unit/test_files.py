"""Private directories, atomic writes, bounded reads."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

from pullpass.errors import PullpassError
from pullpass.store import files

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SOMEBODY = 12345


def mode(path: Path) -> int:
    """The permission bits."""
    return stat.S_IMODE(path.lstat().st_mode)


def refusal(path: Path | str) -> str:
    """Why a directory is refused; the error must be the one for such paths, on one line."""
    with pytest.raises(PullpassError) as caught:
        files.private_directory(str(path))
    assert (caught.value.code, caught.value.status) == ("state-path", 6)
    return caught.value.what


# --- private directories


def test_a_directory_is_made_with_its_parents_for_the_caller_alone(tmp_path: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        files.private_directory(str(tmp_path / "a" / "b"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "a") == mode(tmp_path / "a" / "b") == 0o700


def test_a_directory_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """An operator may let others look into it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o755)
    files.private_directory(str(tmp_path / "state"))
    assert mode(tmp_path / "state") == 0o755


def test_who_only_looks_makes_nothing(tmp_path: Path) -> None:
    """What is absent stays so; what is there must be private all the same."""
    files.private_directory(str(tmp_path / "a" / "b"), make=False)
    assert not (tmp_path / "a").exists()
    (tmp_path / "a").mkdir(mode=0o700)
    files.private_directory(str(tmp_path / "a"), make=False)
    (tmp_path / "a").chmod(0o777)
    with pytest.raises(PullpassError, match="may be written by others"):
        files.private_directory(str(tmp_path / "a"), make=False)


def test_many_may_make_a_directory_at_once(tmp_path: Path) -> None:
    """Pods start together: whoever is faster made it for all."""
    barrier = threading.Barrier(8)
    failures: list[BaseException] = []

    def make(path: str) -> None:
        barrier.wait()
        try:
            files.private_directory(path)
        except BaseException as error:  # noqa: BLE001 - looked at below
            failures.append(error)

    for attempt in range(20):
        path = str(tmp_path / str(attempt) / "deep" / "er")
        threads = [threading.Thread(target=make, args=(path,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert os.path.isdir(path)
    assert not failures


@pytest.mark.parametrize("path", ["relative", "", "/tmp/a/", "/tmp//a", "/tmp/./a", "/tmp/a/../b"])  # noqa: S108
def test_a_path_that_is_not_in_its_normal_form_is_refused(path: str) -> None:
    """A slash at the end would follow a link, a relative path depend on where the kubelet runs."""
    assert "not an absolute path in its normal form" in refusal(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """Neither at the directory itself, nor at a parent that has to be made."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "dangling").symlink_to(tmp_path / "absent")
    assert "is not a directory" in refusal(tmp_path / "link")
    assert "is not a directory" in refusal(tmp_path / "dangling" / "sub")
    assert not (tmp_path / "absent").exists()


def test_a_link_above_may_lead_to_a_safe_place(tmp_path: Path) -> None:
    """On most machines /var/run is one."""
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "real")
    files.private_directory(str(tmp_path / "run" / "pullpass"))
    assert mode(tmp_path / "real" / "pullpass") == 0o700


def test_a_link_above_must_not_lead_below_an_open_directory(tmp_path: Path) -> None:
    """Where it leads decides, as well as where it stands."""
    (tmp_path / "open" / "inner").mkdir(parents=True)
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "run").symlink_to(tmp_path / "open" / "inner")
    assert f"{tmp_path}/open may be written by others (mode 0777) and is not sticky" in refusal(tmp_path / "run" / "x")
    assert not list((tmp_path / "open" / "inner").iterdir())


@pytest.mark.parametrize("kind", ["file", "fifo"])
def test_what_is_no_directory_is_refused(kind: str, tmp_path: Path) -> None:
    """Somebody put something else under the name."""
    if kind == "file":
        (tmp_path / "x").touch()
    else:
        os.mkfifo(tmp_path / "x")
    assert "is not a directory" in refusal(tmp_path / "x")


def test_what_can_not_be_made_is_the_systems_error(tmp_path: Path) -> None:
    """Not a refusal: the caller says what it means for the run."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        files.private_directory(str(tmp_path / "file" / "x"))


@pytest.mark.parametrize("bits", [0o720, 0o702, 0o777, 0o1777])
def test_a_directory_that_others_may_write_is_refused(bits: int, tmp_path: Path) -> None:
    """Sticky or not: others could put files into it."""
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(bits)
    assert f"may be written by others (mode {bits:04o})" in refusal(tmp_path / "state")


def test_an_open_directory_above_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    """In it somebody else could put another directory under the name."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert "may be written by others (mode 0777) and is not sticky" in refusal(tmp_path / "open" / "state")
    assert not (tmp_path / "open" / "state").exists()
    (tmp_path / "open" / "state").mkdir(mode=0o700)
    assert "is not sticky" in refusal(tmp_path / "open" / "state")


def test_a_sticky_directory_above_is_accepted(tmp_path: Path) -> None:
    """In /tmp nobody can rename what belongs to another."""
    (tmp_path / "sticky").mkdir()
    (tmp_path / "sticky").chmod(0o1777)
    files.private_directory(str(tmp_path / "sticky" / "state"))
    assert mode(tmp_path / "sticky" / "state") == 0o700


@pytest.mark.needs("root")
def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    """Itself, one above it, and a link above it, wherever that leads now."""
    for name in ("theirs", "safe", "sticky"):
        (tmp_path / name).mkdir(mode=0o700)
    os.chown(tmp_path / "theirs", SOMEBODY, SOMEBODY)
    (tmp_path / "sticky").chmod(0o1777)
    (tmp_path / "sticky" / "link").symlink_to(tmp_path / "safe")
    os.chown(tmp_path / "sticky" / "link", SOMEBODY, SOMEBODY, follow_symlinks=False)
    assert f"belongs to user {SOMEBODY}, not to 0" in refusal(tmp_path / "theirs")
    assert f"belongs to user {SOMEBODY}, who could replace" in refusal(tmp_path / "theirs" / "state")
    assert f"belongs to user {SOMEBODY}, who could replace" in refusal(tmp_path / "sticky" / "link" / "state")
    assert not list((tmp_path / "safe").iterdir())


def _give_to_somebody(path: Path) -> None:
    os.chown(path, SOMEBODY, SOMEBODY)


def _link_of_somebody(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")
    os.chown(path, SOMEBODY, SOMEBODY, follow_symlinks=False)
    path.parent.chmod(0o1777)


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("name", ["state", "it's $HOME"])
@pytest.mark.parametrize(
    ("place", "spoil"),
    [
        pytest.param("{}/approvals", lambda path: path.chmod(0o777), id="itself open"),
        pytest.param("{}", lambda path: path.chmod(0o777), id="one above open"),
        pytest.param("{}/approvals", _give_to_somebody, id="itself a stranger's", marks=pytest.mark.needs("root")),
        pytest.param("{}", _give_to_somebody, id="one above a stranger's", marks=pytest.mark.needs("root")),
        pytest.param("{}", _link_of_somebody, id="a stranger's link", marks=pytest.mark.needs("root")),
        pytest.param("{}/approvals", _link, id="a link"),
    ],
)
def test_the_command_that_is_told_puts_it_right(
    tmp_path: Path, name: str, place: str, spoil: Callable[[Path], None]
) -> None:
    """As it stands there, and for the path that is at fault, whatever that is called."""
    path = str(tmp_path / name / "approvals")
    files.private_directory(path)
    spoil(tmp_path / place.format(name))
    with pytest.raises(PullpassError) as caught:
        files.private_directory(path)
    _, command, _ = caught.value.hint.split("`")
    subprocess.run(["sh", "-c", command], check=True)
    files.private_directory(path)


# --- atomic writes


@pytest.mark.parametrize("sync", [False, True])
def test_a_file_is_replaced_as_a_whole(sync: bool, tmp_path: Path) -> None:
    """The old file's mode and content are gone, and nothing else is in the directory."""
    path = tmp_path / "file"
    path.write_bytes(b"old, and longer than the new")
    path.chmod(0o666)
    files.write_atomic(str(path), b"new", sync=sync)
    assert path.read_bytes() == b"new"
    assert mode(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    """And another mode is what was asked for, whatever the umask."""
    for umask in (0, 0o077):
        before = os.umask(umask)
        try:
            files.write_atomic(str(tmp_path / "private"), b"x")
            files.write_atomic(str(tmp_path / "launcher"), b"x", mode=0o755)
        finally:
            os.umask(before)
        assert mode(tmp_path / "private") == 0o600
        assert mode(tmp_path / "launcher") == 0o755


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_every_byte_is_written(size: int, tmp_path: Path) -> None:
    """None is a size as well."""
    data = os.urandom(size)
    files.write_atomic(str(tmp_path / "file"), data)
    assert (tmp_path / "file").read_bytes() == data


def test_a_link_under_the_name_is_replaced_and_not_followed(tmp_path: Path) -> None:
    """What it leads to stays as it is."""
    (tmp_path / "victim").write_bytes(b"victim")
    (tmp_path / "file").symlink_to(tmp_path / "victim")
    files.write_atomic(str(tmp_path / "file"), b"new")
    assert not (tmp_path / "file").is_symlink()
    assert (tmp_path / "victim").read_bytes() == b"victim"


def test_a_failed_write_leaves_nothing_behind(tmp_path: Path) -> None:
    """A directory stands under the name: what is there stays, and the temporary file goes."""
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "content").touch()
    with pytest.raises(OSError, match="directory"):
        files.write_atomic(str(tmp_path / "file"), b"new")
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
    assert (tmp_path / "file" / "content").exists()


def test_a_missing_directory_is_said(tmp_path: Path) -> None:
    """With nothing made."""
    with pytest.raises(FileNotFoundError):
        files.write_atomic(str(tmp_path / "absent" / "file"), b"new")
    assert not list(tmp_path.iterdir())


def test_a_reader_sees_the_old_bytes_or_the_new_ones(tmp_path: Path) -> None:
    """While writers replace the file without pause, each read is one of the whole contents."""
    path = str(tmp_path / "file")
    contents = {bytes([65 + number]) * 100_000 for number in range(4)}
    files.write_atomic(path, min(contents))
    stop = threading.Event()

    def write(data: bytes) -> None:
        while not stop.is_set():
            files.write_atomic(path, data)

    threads = [threading.Thread(target=write, args=(data,)) for data in contents]
    for thread in threads:
        thread.start()
    try:
        seen = {files.read_regular(path, 200_000)[0] for _ in range(300)}
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert seen <= contents
    assert os.listdir(tmp_path) == ["file"]


# --- bounded reads


def test_a_file_is_read_with_its_status(tmp_path: Path) -> None:
    """Up to the limit, and one byte more is too long."""
    path = tmp_path / "file"
    path.write_bytes(b"x" * 100_000)
    data, status = files.read_regular(str(path), 100_000)
    assert data == b"x" * 100_000
    assert (status.st_ino, status.st_size) == (path.stat().st_ino, 100_000)
    with pytest.raises(OSError, match="longer than 99999 bytes") as caught:
        files.read_regular(str(path), 99_999)
    assert caught.value.errno == errno.EFBIG


def test_an_empty_file_is_read(tmp_path: Path) -> None:
    """As nothing."""
    (tmp_path / "file").touch()
    assert files.read_regular(str(tmp_path / "file"), 0)[0] == b""


@pytest.mark.parametrize("follow", [False, True])
def test_what_is_no_regular_file_is_refused(follow: bool, tmp_path: Path) -> None:
    """A directory, a device, and a pipe that nobody writes to, which must not stop the run."""
    os.mkfifo(tmp_path / "pipe")
    for path in (str(tmp_path), os.devnull, str(tmp_path / "pipe")):
        with pytest.raises(OSError, match="not a regular file") as caught:
            files.read_regular(path, 10, follow=follow)
        assert caught.value.errno == errno.EINVAL


def test_a_link_is_read_only_where_it_may_be(tmp_path: Path) -> None:
    """An operator's file may be one, a file of ours may not."""
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert files.read_regular(str(tmp_path / "link"), 1, follow=True)[0] == b"x"
    with pytest.raises(OSError, match="symbolic links") as caught:
        files.read_regular(str(tmp_path / "link"), 1)
    assert caught.value.errno == errno.ELOOP


def test_an_absent_file_is_the_systems_error(tmp_path: Path) -> None:
    """Which a caller tells from a damaged one."""
    with pytest.raises(FileNotFoundError):
        files.read_regular(str(tmp_path / "absent"), 1)


def test_no_read_leaves_a_descriptor_open(tmp_path: Path) -> None:
    """The agent reads for weeks; reads that fail count too."""
    (tmp_path / "file").write_bytes(b"xx")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(20):
        files.read_regular(str(tmp_path / "file"), 2)
        with pytest.raises(OSError, match="longer than"):
            files.read_regular(str(tmp_path / "file"), 1)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(("bits", "owned"), [(0o600, True), (0o644, True), (0o620, False), (0o602, False)])
def test_a_file_is_ours_when_nobody_else_may_write_it(bits: int, owned: bool, tmp_path: Path) -> None:
    """Reading by others is not the question."""
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(bits)
    assert files.owned((tmp_path / "file").stat()) is owned


@pytest.mark.needs("root")
def test_a_file_of_somebody_else_is_not_ours(tmp_path: Path) -> None:
    """Whatever its mode is now."""
    (tmp_path / "file").touch(0o600)
    os.chown(tmp_path / "file", SOMEBODY, SOMEBODY)
    assert not files.owned((tmp_path / "file").stat())
