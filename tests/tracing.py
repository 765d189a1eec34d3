"""What a process asks of the kernel in a directory, and faults put there: `strace`, and its injection.

The steps are found by a run without a fault, so that no list of them has to be kept.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

_LINE = re.compile(r"(\w+)\((.*)")


class Step(NamedTuple):
    """One system call about something in the directory.

    Attributes:
        call: its name.
        when: how many calls of that name the process has made, this one included: what `strace` counts by.
        text: its arguments and result, with the paths behind descriptors.
    """

    call: str
    when: int
    text: str


class Run(NamedTuple):
    """How a traced process ended: status (minus the signal's number), what it printed, its steps."""

    status: int
    stdout: str
    stderr: str
    steps: list[Step]


def run(command: Sequence[str], directory: Path, place: Path, *faults: str) -> Run:
    """Run a command to its end under `strace`.

    Args:
        command: what to run; only its first process is traced.
        directory: whose calls are steps.
        place: a directory for the trace's file.
        faults: what to inject, each in `strace`'s words: `rename:error=EIO:when=1`.
    """
    trace = place / "trace"
    options = [word for fault in faults for word in ("-e", f"inject={fault}")]
    done = subprocess.run(
        ["strace", "-y", "-o", str(trace), *options, *command], capture_output=True, text=True, check=False
    )
    counts: dict[str, int] = {}
    steps = []
    for line in trace.read_text(errors="replace").splitlines():
        if (match := _LINE.match(line)) is None:
            continue  # a signal, or the end
        call, text = match.groups()
        counts[call] = counts.get(call, 0) + 1
        if f"{directory}" in text and call != "execve":
            steps.append(Step(call, counts[call], text))
    return Run(done.returncode, done.stdout, done.stderr, steps)
