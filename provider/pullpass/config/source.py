"""The TOML file itself: who may have written it, and its bytes as a document."""

from __future__ import annotations

import errno
import os
import stat
import tomllib  # noqa: TID253 - this module is imported lazily, when the file has changed
from typing import Any

from pullpass.errors import PullpassError, outside
from pullpass.store import files

LIMIT_BYTES = 1024 * 1024


def read(path: str) -> tuple[dict[str, Any], os.stat_result]:
    """Read the file, as far as TOML goes.

    Args:
        path: the file; it may be a symbolic link.

    Returns:
        The document, and the status of the file that was read.

    Raises:
        PullpassError: `config-missing`, `config-unreadable`, `config-permissions`, or `config-invalid` when it is no
            TOML.
    """
    data, status, directories = _read_bytes(path)
    _check_owner(path, status, path)
    for directory, its_status in directories.items():
        _check_owner(directory, its_status, path)
    return _parse(path, data), status


def _read_bytes(path: str) -> tuple[bytes, os.stat_result, dict[str, os.stat_result]]:
    """The file's bytes and status, and the status of the directories that say which file has this name.

    Whoever may write the directory may put another file in this one's place, an old configuration of root's for
    example, which has the right owner and mode. With a symbolic link, that holds at both ends.
    """
    try:
        data, status = files.read_regular(path, LIMIT_BYTES, follow=True)
        directories = {os.path.dirname(os.path.abspath(path)), os.path.dirname(os.path.realpath(path))}
        return data, status, {directory: os.stat(directory) for directory in sorted(directories)}
    except (FileNotFoundError, NotADirectoryError):
        raise PullpassError("config-missing", f"{outside(path)} does not exist") from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            what = f"{outside(path)} is longer than {LIMIT_BYTES} bytes, expected a configuration"
            raise PullpassError("config-invalid", what) from None
        raise PullpassError("config-unreadable", f"{outside(path)}: {error.strerror}") from None


def _check_owner(path: str, status: os.stat_result, config: str) -> None:
    """Refuse what somebody other than root and the caller could have written."""
    where = outside(path) if path == config else f"{outside(config)}: its directory {outside(path)}"
    if status.st_uid not in (0, os.geteuid()):
        raise PullpassError(
            "config-permissions", f"{where} belongs to user {status.st_uid}, expected root or {os.geteuid()}"
        )
    if status.st_mode & files.OTHERS_MAY_WRITE:
        if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
            return  # in a sticky directory nobody can replace the caller's files
        raise PullpassError(
            "config-permissions",
            f"{where} may be written by others (mode {stat.S_IMODE(status.st_mode):04o}), expected its owner alone",
        )


def _parse(path: str, data: bytes) -> dict[str, Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise PullpassError("config-invalid", f"{outside(path)}: line {line} is not UTF-8, expected TOML") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        # The message names line and column, and quotes at most one character of the file.
        raise PullpassError("config-invalid", f"{outside(path)}: no TOML: {outside(str(error))}") from None
    except RecursionError:
        raise PullpassError(
            "config-invalid", f"{outside(path)}: nested too deeply, expected tables as in the example"
        ) from None
    except ValueError as error:
        # A decimal number of more digits than Python converts; the parser lets that one through.
        raise PullpassError("config-invalid", f"{outside(path)}: no TOML: {outside(str(error))}") from None
