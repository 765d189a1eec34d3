"""Private, atomic, strict files.

Rules:

* A directory is made with mode 0700 and must belong to the caller; its ancestors must be directories that nobody else
  may change (root's or the caller's; a sticky one, such as /tmp, is accepted). No symbolic link is followed at or below
  a directory of ours.
* A file is written under a name of its own in the same directory (`O_EXCL`, `O_NOFOLLOW`, mode 0600 from the first
  byte) and renamed over its target, so that a reader sees the old bytes or the new ones and never a part. A leftover is
  removed on failure.
* A read is bounded and refuses what is not a regular file.
* An operator's file (`check_trusted`) must be root's or the caller's, and so must the way to it, link by link: whoever
  may change a directory on it may put another file of root's there, an old one for example.
"""

from __future__ import annotations

import errno
import os
import stat

from pullpass.errors import PullpassError, outside, shell_word

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

OTHERS_MAY_WRITE = stat.S_IWGRP | stat.S_IWOTH
LINKS_LIMIT = 40  # as the kernel's


def _refuse(path: str, why: str, hint: str | None = None) -> NoReturn:
    raise PullpassError("state-path", f"{outside(path)} {why}", hint)


def _close(path: str) -> str:
    # Not 0700: an operator may let others look into it, and one above may not be ours.
    return f"if nobody else has put something there, `chmod go-w {shell_word(path)}`"


def _fault_on_way(path: str) -> tuple[str, str] | None:
    """What somebody else could change about where `path` leads, in words, and what mends it; None for nothing.

    Names are looked up one by one, as the kernel does it: a link may lead through directories that neither its own path
    nor the end of the way shows.

    Raises:
        OSError: a part of the way can't be looked at.
    """
    names = path.split("/")[::-1]
    place = "/"
    links = 0
    fault = _fault_of_directory(place, os.lstat(place))
    while names and not fault:
        name = names.pop()
        if name == "..":
            place = os.path.dirname(place)
        if name in ("", ".", ".."):
            continue
        found = os.path.join(place, name)
        status = os.lstat(found)
        if stat.S_ISLNK(status.st_mode):
            links += 1
            if links > LINKS_LIMIT:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = os.readlink(found)
            place = "/" if target.startswith("/") else place
            names += target.split("/")[::-1]
            fault = _fault_of_owner(found, status)
        elif stat.S_ISDIR(status.st_mode):
            place = found
            fault = _fault_of_directory(found, status)
    return fault


def _fault_of_owner(path: str, status: os.stat_result) -> tuple[str, str] | None:
    if status.st_uid in (0, os.geteuid()):
        return None
    what = f"{outside(path)} belongs to user {status.st_uid}, who could replace what is there"
    # -h: of a symbolic link the link itself; of anything else it changes nothing.
    return what, f"if it should be root's, `chown -h root {shell_word(path)}`, or configure another directory"


def _fault_of_directory(path: str, status: os.stat_result) -> tuple[str, str] | None:
    if fault := _fault_of_owner(path, status):
        return fault
    # In a sticky directory, such as /tmp, nobody can replace what is the caller's.
    if status.st_mode & OTHERS_MAY_WRITE and not status.st_mode & stat.S_ISVTX:
        mode = stat.S_IMODE(status.st_mode)
        return f"{outside(path)} may be written by others (mode {mode:04o}) and is not sticky", _close(path)
    return None


def check_trusted(path: str, status: os.stat_result, code: str) -> None:
    """Refuse a file that somebody other than root and the caller could have written, or put there.

    Args:
        path: the file; it may be a symbolic link.
        status: of what was read there.
        code: of the error.

    Raises:
        PullpassError: `code`.
    """
    where = outside(path)
    if status.st_uid not in (0, os.geteuid()):
        raise PullpassError(code, f"{where} belongs to user {status.st_uid}, expected root or {os.geteuid()}")
    if status.st_mode & OTHERS_MAY_WRITE:
        mode = stat.S_IMODE(status.st_mode)
        raise PullpassError(code, f"{where} may be written by others (mode {mode:04o}), expected its owner alone")
    try:
        # Not `abspath`, which takes `link/..` out, where the kernel follows the link.
        fault = _fault_on_way(os.path.join(os.getcwd(), path))
    except OSError as error:
        raise PullpassError(code, f"{where}: the way to it can't be looked at: {error.strerror}") from None
    if fault:
        raise PullpassError(code, f"{where}: {fault[0]}")


def _check_ancestors(path: str) -> None:
    """Refuse a directory above `path` in which somebody else could put another `path`."""
    if fault := _fault_on_way(os.path.dirname(path)):
        raise PullpassError("state-path", *fault)


def check_way(path: str) -> None:
    """Refuse a place where somebody else could put another `path`, for who only looks.

    It is what `private_directory` says of the directories above, and nothing is made. An absent one is no fault.

    Args:
        path: absolute; it need not be there.

    Raises:
        PullpassError: `state-path`.
        OSError: a part of the way can't be looked at.
    """
    try:
        _check_ancestors(path)
    except FileNotFoundError:  # and so is what would be below it
        return


def private_directory(path: str, *, make: bool = True) -> None:
    """Make sure that `path` is a directory of the caller's own, and make it (0700, with parents) when it is absent.

    Args:
        path: absolute, in its normal form. (`lstat` would follow a symbolic link that has a slash behind it.)
        make: False for who only looks: an absent one stays absent, and nothing can be found below it.

    Raises:
        PullpassError: `state-path` when it, or one above it, is open to others, a symbolic link or no directory.
        OSError: it can't be made or read.
    """
    if not os.path.isabs(path) or os.path.normpath(path) != path:
        _refuse(path, "is not an absolute path in its normal form")
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        if not make:
            return
        parent = os.path.dirname(path)
        if not os.path.isdir(parent):
            private_directory(parent)
        _check_ancestors(path)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:  # another process was faster
            pass
        status = os.lstat(path)
    if not stat.S_ISDIR(status.st_mode):
        why = "is not a directory (a symbolic link is not followed)"
        _refuse(path, why, f"move it away, `mv {shell_word(path)} {shell_word(path + '.old')}`: it is made anew")
    if status.st_uid != os.geteuid():
        hint = f"run it as user {status.st_uid}, or, if all in it is ours, `chown -R {os.geteuid()} {shell_word(path)}`"
        _refuse(path, f"belongs to user {status.st_uid}, not to {os.geteuid()}", hint)
    if status.st_mode & OTHERS_MAY_WRITE:
        _refuse(path, f"may be written by others (mode {stat.S_IMODE(status.st_mode):04o})", _close(path))
    _check_ancestors(path)


def write_atomic(path: str, data: bytes, *, mode: int = 0o600, sync: bool = False) -> None:
    """Replace the content of `path` by `data` in one step, readable by the caller alone.

    Args:
        path: absolute; its directory must exist.
        data: the whole new content.
        mode: the file's mode, whatever the umask says, for what is not private (a launcher).
        sync: whether content and name must outlast a power failure once this returns.

    Raises:
        OSError: nothing was changed; or the new content is in place, and `sync` could not be had for its name. A
            temporary file is left only where it can't be removed.
    """
    directory, name = os.path.split(path)
    temporary = os.path.join(directory, f".{name}.{os.getpid()}.{os.urandom(8).hex()}.tmp")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(temporary, flags, 0o600)
    try:
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            if mode != 0o600:
                os.fchmod(descriptor, mode)
            if sync:
                os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:  # what failed first is what counts; `remove_leftovers` finds the file
            pass
        raise
    if sync:
        sync_directory(directory)


def sync_directory(path: str) -> None:
    """Make the names in a directory outlast a power failure.

    Raises:
        OSError: it can't be done.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def leftovers(directory: str, older_than_s: float) -> list[str]:
    """The names of temporary files that a killed `write_atomic` has left behind.

    Args:
        directory: where to look.
        older_than_s: those changed before this moment, seconds since the epoch: a younger one may be in use.

    Raises:
        OSError: the directory can't be read.
    """
    found = []
    for name in os.listdir(directory):
        if not name.startswith(".") or not name.endswith(".tmp"):
            continue
        try:
            status = os.lstat(os.path.join(directory, name))
        except FileNotFoundError:  # its writer has renamed it
            continue
        if stat.S_ISREG(status.st_mode) and status.st_mtime < older_than_s:
            found.append(name)
    return found


def remove_leftovers(directory: str, older_than_s: float) -> list[str]:
    """Remove temporary files that a killed `write_atomic` has left behind.

    Args:
        directory: where to look.
        older_than_s: those changed before this moment, seconds since the epoch: a younger one may be in use.

    Returns:
        The names of those removed.

    Raises:
        OSError: the directory can't be read, or a file not removed.
    """
    removed = []
    for name in leftovers(directory, older_than_s):
        try:
            os.unlink(os.path.join(directory, name))
        except FileNotFoundError:  # another process was faster
            continue
        removed.append(name)
    return removed


def read_regular(path: str, limit_bytes: int, *, follow: bool = False) -> tuple[bytes, os.stat_result]:
    """Read a regular file of at most `limit_bytes`, and the status of what was read.

    The caller decides from the status whom the file may belong to.

    Args:
        path: the file.
        limit_bytes: a longer file is refused.
        follow: whether `path` may be a symbolic link (an operator's file may, a file of ours may not).

    Raises:
        OSError: it is absent (`ENOENT`), not readable, not a regular file (`EINVAL`), a symbolic link (`ELOOP`), or too
            long (`EFBIG`).
    """
    # O_NONBLOCK: a fifo planted under the name must not stop the run.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", path)
        if status.st_size > limit_bytes:
            raise OSError(errno.EFBIG, f"longer than {limit_bytes} bytes", path)
        # One call, where a loop up to the empty read would take two: on a slow disk the second costs as much. A file
        # that grows in between is read as it was, one that shrinks as far as it goes.
        data = b""
        while len(data) < status.st_size and (part := os.read(descriptor, status.st_size - len(data))):
            data += part
        return data, status
    finally:
        os.close(descriptor)


def owned(status: os.stat_result) -> bool:
    """Whether the file belongs to the caller and nobody else may write it."""
    return status.st_uid == os.geteuid() and not status.st_mode & OTHERS_MAY_WRITE
