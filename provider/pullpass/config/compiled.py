"""The compiled form: a validated configuration as `config.json` in the runtime directory.

Rules:

* It is used only when its stamp is the source's: program version, path, device, inode, size, mtime and ctime. The ctime
  is set by the kernel alone, so a change of owner or mode, or of content under a restored mtime, is seen as well; that
  is why a reader need not check the source's permissions again.
* It is used only when it and its directory belong to the caller and nobody else may write them.
* It is used only when every value has its type. Anything else (cut short, an older form, another program's file) is
  "not there": the source is compiled again and the file replaced.
"""

from __future__ import annotations

import os
import stat

import pullpass
from pullpass.config.values import Alias, ApprovalTimes, Audit, Config, Ecr, Gcr, Grant, Node, Paths
from pullpass.errors import PullpassError
from pullpass.lean import JsonReader
from pullpass.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Reader = Callable[[object], Any]

NAME = "config.json"
# The source has at most 1 MiB, most of it strings, and an escaped character takes up to three times its bytes (two
# bytes of UTF-8 become the six of `\u00fc`).
LIMIT_BYTES = 4 * 1024 * 1024

_READER = JsonReader()


def _one(kind: type) -> Reader:
    def read(value: object) -> object:
        if type(value) is not kind:  # not isinstance: true is an int
            raise ValueError
        return value

    return read


def _many(item: Reader) -> Reader:
    def read(value: object) -> tuple[object, ...]:
        if type(value) is not list:
            raise ValueError
        return tuple(item(part) for part in value)

    return read


def _maybe(item: Reader) -> Reader:
    return lambda value: None if value is None else item(value)


def _record(make: Callable[..., object], *fields: Reader) -> Reader:
    def read(value: object) -> object:
        if type(value) is not list or len(value) != len(fields):
            raise ValueError
        return make(*(field(part) for field, part in zip(fields, value, strict=True)))

    return read


_TEXT, _WHOLE, _NUMBER, _TRUTH = _one(str), _one(int), _one(float), _one(bool)
_TEXTS = _many(_TEXT)
_ALIAS = _record(Alias, _TEXT, _TEXT, _TEXT)
_GRANT = _record(Grant, _TEXT, _TEXTS, _TEXTS, _TRUTH, _TEXT, _TEXTS, _TEXTS, _TEXT, _TRUTH)
_CONFIG = _record(
    Config,
    _record(Node, _TEXT, _TEXTS, _TEXT, _NUMBER, _TEXT, _TEXT, _TEXT),
    _record(Paths, _TEXT, _TEXT, _TEXT),
    _record(ApprovalTimes, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER, _NUMBER),
    _TEXT,
    _record(Audit, _NUMBER, _TEXT),
    _maybe(_record(Ecr, _TEXT, _TEXT, _WHOLE, _TEXT, _TEXT, _TEXT, _many(_ALIAS))),
    _maybe(_record(Gcr, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT, _WHOLE, _TEXTS)),
    _many(_GRANT),
)


def _stamp(path: str, status: os.stat_result) -> list[object]:
    state = (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return [pullpass.__version__, path, *state]


def read(path: str, runtime: str) -> Config | None:
    """The compiled form of the configuration at `path`, or None when it has to be compiled.

    Args:
        path: the TOML file.
        runtime: the runtime directory.
    """
    try:
        stamp = _stamp(path, os.stat(path))
        directory = os.lstat(runtime)
        if not stat.S_ISDIR(directory.st_mode) or not files.owned(directory):
            return None  # whoever may write the directory may move another file of root's into it
        data, status = files.read_regular(os.path.join(runtime, NAME), LIMIT_BYTES)
        if not files.owned(status):
            return None
        document, _ = _READER.read(data.decode("ascii"), 0)
        if type(document) is not dict or document.get("stamp") != stamp:
            return None
        config: Config = _CONFIG(document.get("config"))
    except (OSError, ValueError, RecursionError):
        return None
    return config


def write(path: str, runtime: str, status: os.stat_result, config: Config) -> None:
    """Keep the compiled form, if the runtime directory can be written.

    Args:
        path: the TOML file.
        runtime: the runtime directory; made when it is absent.
        status: of the file as it was read, so that a change after that makes the stamp another one.
        config: what its content came to.
    """
    import json  # noqa: PLC0415 - only where the file has changed

    document = {"stamp": _stamp(path, status), "config": config}
    try:
        files.private_directory(runtime)
        files.write_atomic(os.path.join(runtime, NAME), json.dumps(document, separators=(",", ":")).encode("ascii"))
    except (OSError, PullpassError):
        return  # the design: where the directory can't be written, every run works from the TOML
