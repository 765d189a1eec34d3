"""Runs a plugin as the kubelet does, but without the kubelet, to see what the kubelet hides.

The kubelet drops the standard error of a success and the standard output of a failure, and shows the decoded answer
alone. Here the bytes are kept, and whether somebody still holds the output after the plugin has ended.
"""

from __future__ import annotations

import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LIMIT_S = 60.0
"""The kubelet's own limit (`plugin.go`, ExecPlugin)."""

GRACE_S = 2.0
"""How long after a plugin's end its output may stay open: children that are about to go are none."""


class Outcome(NamedTuple):
    """What one run came to.

    Attributes:
        status: the exit status; minus the signal's number; None when it was still running after the limit.
        stdout: all of it.
        stderr: all of it.
        seconds: from start to the end of its output.
        lingering: somebody holds its output after its end, which blocks a kubelet.
    """

    status: int | None
    stdout: bytes
    stderr: bytes
    seconds: float
    lingering: bool

    def stderr_lines(self) -> list[str]:
        """The lines of standard error that are not blank."""
        return [line for line in self.stderr.decode(errors="replace").splitlines() if line.strip()]


def run(
    command: Sequence[str], environment: Mapping[str, str], stdin: bytes, directory: str = "/", limit_s: float = LIMIT_S
) -> Outcome:
    """Run it to its end, or to the limit, when it is killed (its children are not, as with the kubelet).

    Raises:
        OSError: it can't be started.
    """
    start = time.monotonic()
    process = subprocess.Popen(
        list(command),
        env=dict(environment),
        cwd=directory,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    stdout, stderr = b"", b""
    data: bytes | None = stdin
    ended: float | None = None
    killed = lingering = False
    while True:
        try:
            stdout, stderr = process.communicate(data, timeout=0.1)
            break
        except subprocess.TimeoutExpired as late:
            data = None  # what was not written yet is remembered
            stdout, stderr = late.stdout or b"", late.stderr or b""
        now = time.monotonic()
        if process.poll() is not None:
            ended = ended or now
            if now - ended > GRACE_S:
                lingering = not killed
                break
        elif now - start > limit_s:
            process.kill()
            killed = True
    seconds = time.monotonic() - start
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            try:
                stream.close()
            except BrokenPipeError:
                pass  # input that it did not read
    return Outcome(None if killed else process.wait(), stdout, stderr, seconds, lingering)
