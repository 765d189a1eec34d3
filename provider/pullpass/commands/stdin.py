"""A request on stdin, for the commands that take one."""

from __future__ import annotations

import os

from pullpass import exec_client
from pullpass.errors import PullpassError


def read() -> bytes:
    """The request's bytes.

    Raises:
        PullpassError: `usage` when stdin is a terminal: nobody types a request, so it was forgotten.
    """
    try:
        forgotten = os.isatty(0)
    except OSError:
        forgotten = False
    if forgotten:
        raise PullpassError("usage", "a request is read from stdin, and stdin is a terminal", "add `< request.json`")
    return exec_client.read_request()
