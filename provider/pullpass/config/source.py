"""The TOML file itself: who may have written it, and its bytes as a document."""

from __future__ import annotations

import errno
import tomllib  # noqa: TID253 - this module is imported lazily, when the file has changed
from typing import TYPE_CHECKING, Any

from pullpass.errors import PullpassError, outside
from pullpass.store import files

if TYPE_CHECKING:
    import os

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
    data, status = _read_bytes(path)
    files.check_trusted(path, status, "config-permissions")
    return _parse(path, data), status


def _read_bytes(path: str) -> tuple[bytes, os.stat_result]:
    try:
        return files.read_regular(path, LIMIT_BYTES, follow=True)
    except (FileNotFoundError, NotADirectoryError):
        raise PullpassError("config-missing", f"{outside(path)} does not exist") from None
    except OSError as error:
        if error.errno == errno.EFBIG:
            what = f"{outside(path)} is longer than {LIMIT_BYTES} bytes, expected a configuration"
            raise PullpassError("config-invalid", what) from None
        raise PullpassError("config-unreadable", f"{outside(path)}: {error.strerror}") from None


def _parse(path: str, data: bytes) -> dict[str, Any]:
    if data.startswith(b"\xef\xbb\xbf"):
        raise PullpassError("config-invalid", f"{outside(path)}: begins with a byte order mark, expected plain UTF-8")
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
