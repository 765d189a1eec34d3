"""Another process that is faster, or a disk that fails, at a chosen moment: just before a file is opened.

Python tells an audit hook about every file that it opens. The hook does nothing but while a test has asked for it.
"""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_waiting: list[tuple[str, Callable[[], object]]] = []
_hooked: list[bool] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _waiting or event != "open":
        return
    part, action = _waiting[0]
    if isinstance(arguments[0], str) and part in arguments[0]:
        _waiting.clear()
        action()


def failing(number: int) -> Callable[[], object]:
    """An action that makes the opening fail, by an `errno`: the file system is full, or broken."""

    def fail() -> None:
        raise OSError(number, os.strerror(number))

    return fail


@contextlib.contextmanager
def before_opening(part: str, action: Callable[[], object]) -> Iterator[None]:
    """Do something once, just before a file is opened whose path has `part` in it; it must come to that.

    Args:
        part: of a path.
        action: what another process would do.
    """
    if not _hooked:
        sys.addaudithook(_hook)
        _hooked.append(True)
    _waiting[:] = [(part, action)]
    try:
        yield
        assert not _waiting, f"nothing with {part} in its path was opened"
    finally:
        _waiting.clear()
