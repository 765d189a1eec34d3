"""The launchers' door: the request on stdin, the answer on stdout, the exit status.

`pullpass install` writes launchers that call `main` here, with the paths fixed inside. They run as root, from any
directory, in whatever environment the kubelet has, so nothing here looks at arguments or the environment. Only built-in
modules are imported before the request has been read.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed knows it by the name of its front alone
import gc
import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

    from pullpass.pipeline import Answer

READ_LIMIT_BYTES = 1024 * 1024 + 1  # one more than a request may have, so that a longer one is seen to be longer


def main(config: str, runtime: str) -> NoReturn:
    """Serve one request and leave the process.

    Args:
        config: path of the operator's configuration.
        runtime: directory of the compiled configuration.

    Raises:
        Exception: the program can't be loaded; a file cut short by a power failure raises anything.
    """
    gc.disable()  # loading modules sets it off over and over, and what a run leaves in cycles ends with the process
    leave_on_signals()
    silence()
    raw = read_request()
    from pullpass import config as configuration  # noqa: PLC0415 - after the request, see above
    from pullpass import pipeline  # noqa: PLC0415
    from pullpass.clock import SystemClock  # noqa: PLC0415

    deps = pipeline.Deps(lambda: configuration.load(config, runtime=runtime), SystemClock())
    leave(pipeline.serve(raw, deps))


def read_request() -> bytes:
    """What is on stdin, up to `READ_LIMIT_BYTES`; nothing when stdin is closed or can't be read."""
    parts = []
    left = READ_LIMIT_BYTES
    try:
        while left and (part := posix.read(0, left)):
            parts.append(part)
            left -= len(part)
    except OSError:
        return b""  # refused as an empty request, which is what it is
    return b"".join(parts)


def leave_on_signals() -> None:
    """Make SIGTERM and SIGINT end the run with one line instead of silence, also in the middle of an exchange.

    `_signal` is built in; `signal` would import two modules before the request has been read.
    """

    def stop(number: int, _frame: object) -> None:
        from pullpass.errors import PullpassError  # noqa: PLC0415 - only when it comes to that

        name = "SIGINT" if number == _signal.SIGINT else "SIGTERM"
        error = PullpassError("terminated", f"{name} ended the run before it had an answer")
        write_error(error.line().encode() + b"\n")
        posix._exit(error.status)

    for number in (_signal.SIGTERM, _signal.SIGINT):
        _signal.signal(number, stop)


class Nowhere:
    """Takes what is written and forgets it."""

    def write(self, text: str) -> int:
        """Write nothing."""
        return len(text)

    def flush(self) -> None:
        """There is nothing to flush."""


def silence() -> None:
    """Keep stdout and stderr for the answer and the one line, which are written past Python's own streams.

    Libraries warn of interpreters, dates and keys, log where nobody has set up logs, and print tracebacks of threads:
    in the kubelet's log that would stand before the line that tells the reason. None in the place of the streams would
    not do: `print` takes it for stdout.
    """
    sys.stdout = sys.stderr = Nowhere()


def leave(answer: Answer) -> NoReturn:
    """Write the answer and end the process at once: a thread that hangs in name resolution must not hold it."""
    if answer.stdout:
        try:
            write_all(1, answer.stdout)
        except OSError as error:
            from pullpass.errors import PullpassError  # noqa: PLC0415

            failure = PullpassError("stdout-closed", f"the answer could not be written to stdout ({error.strerror})")
            write_error(failure.line().encode() + b"\n")
            posix._exit(failure.status)
    write_error(answer.stderr)
    posix._exit(answer.status)


def write_error(line: bytes) -> None:
    """Write to stderr; a closed stderr changes nothing about the answer."""
    try:
        write_all(2, line)
    except OSError:
        pass


def write_all(descriptor: int, data: bytes) -> None:
    """Write `data`: in one call, unless the system takes only a part."""
    while data:
        data = data[posix.write(descriptor, data) :]
