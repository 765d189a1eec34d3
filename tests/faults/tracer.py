"""What a process asks of the kernel about a site, and a fault under one of these calls: `strace`, and its injection.

`strace` counts the calls of a name in each thread, so a step is known by its name and number, and only the first thread
is given a fault: others, which load libraries and talk to clouds, may come to the same number earlier. That they touch
nothing of the site is seen by following them where there is no fault. Whether the fault has hit what it was meant for
is read from the trace afterwards. Anything else is an error of the test.
"""

from __future__ import annotations

import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

CHANGING = (
    "openat,write,pwrite64,fsync,fdatasync,rename,renameat,renameat2,unlink,unlinkat,flock,link,linkat,ftruncate,"
    "mkdir,mkdirat,rmdir,symlink,symlinkat,fchmod,fchmodat,chmod,truncate,fallocate,sendfile,copy_file_range,pwritev"
)
READING = "read,pread64,getdents64,newfstatat,statx,readlink"
KILL, SHORT, SHORT_KILL = "KILL", "short", "short, then KILL"
TIMEOUT_S = 60.0

_LINE = re.compile(r"^(?:(\d+) +)?(\w+)\((.*)$")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_KEY = re.compile(r"\b[0-9a-f]{64}\b")
_TEMPORARY = re.compile(r"\.\d+\.[0-9a-f]{16}\.tmp")
_LENGTH = re.compile(r", (\d+)\) +=")
_FLAGS = re.compile(r"O_(?:RDONLY|WRONLY|RDWR)[A-Z_|]*|LOCK_[A-Z_|]*")


class Step(NamedTuple):
    """One call about a file of the site, or about the answer.

    Attributes:
        call: its name.
        when: how many calls of that name the process has made, this one included.
        what: the path or paths below the site, with keys, days and random parts taken out; flags of an open.
        length_bytes: of a write.
    """

    call: str
    when: int
    what: str
    length_bytes: int = 0

    @property
    def label(self) -> str:
        """For the table."""
        return f"{self.call} {self.what}"


class Fault(NamedTuple):
    """What happens instead of a step.

    Attributes:
        name: an `errno`'s; `KILL` before the call is made; `SHORT` for a write that finds room for a half, and none
            for the rest; `SHORT_KILL` for one that is killed behind the half.
        step: where.
        limit_bytes: how long a file may become, for the last two.
    """

    name: str
    step: Step
    limit_bytes: int = 0

    @property
    def options(self) -> list[str]:
        """In `strace`'s words."""
        call, when = self.step.call, self.step.when
        if self.name == SHORT:
            return []
        if self.name in (KILL, SHORT_KILL):
            # With the error the call is not made, so that the disk is as it was before it.
            when += self.name == SHORT_KILL
            return ["-e", f"inject={call}:error=EIO:signal=KILL:when={when}"]
        return ["-e", f"inject={call}:error={self.name}:when={when}"]


class Run(NamedTuple):
    """How a process ended.

    Attributes:
        status: its exit status, or minus the signal's number.
        stdout: what it answered.
        stderr: its line.
        steps: what it did about the site.
        injected: the steps that failed by injection.
    """

    status: int
    stdout: bytes
    stderr: bytes
    steps: list[Step]
    injected: list[Step]


class MissedError(AssertionError):
    """A fault has not hit the step it was meant for: the matrix would show a green field that nothing was done in."""


def run(command: Sequence[str], raw: bytes, root: Path, fault: Fault | None = None, *, reads: bool = False) -> Run:
    """Run a process under `strace`.

    Args:
        command: what to run.
        raw: its stdin.
        root: the site.
        fault: what goes wrong.
        reads: whether reads are steps as well.

    Raises:
        MissedError: the fault has hit nothing, or something else; or there is a step outside the first thread.
    """
    trace = root / "trace"
    calls = f"{CHANGING},{READING}" if reads else CHANGING
    words = ["strace", *([] if fault else ["-f"]), "-y", "-s", "0", "-o", str(trace), "-e", f"trace={calls}"]
    limit = [str(shutil.which("prlimit")), f"--fsize={fault.limit_bytes}"] if fault and fault.limit_bytes else []
    done = subprocess.run(
        [*words, *(fault.options if fault else []), *limit, *command],
        input=raw,
        capture_output=True,
        env={},
        cwd="/",
        check=False,
        timeout=TIMEOUT_S,
    )
    lines = trace.read_text(errors="surrogateescape").splitlines()
    steps, injected = _steps(lines, root)
    found = Run(done.returncode, done.stdout, done.stderr, steps, injected)
    if fault is not None:
        _check(found, fault)
    return found


def _check(found: Run, fault: Fault) -> None:
    """See that the fault, and nothing else, has hit its step."""
    if fault.name in (SHORT, SHORT_KILL):
        hit = [step for step in found.steps if (step.call, step.when) == (fault.step.call, fault.step.when)]
        again = [step for step in found.steps if (step.call, step.when) == (fault.step.call, fault.step.when + 1)]
        hits = [step.what for step in hit + again] == [fault.step.what] * 2
    elif fault.name == KILL:
        hits = bool(found.steps) and found.steps[-1][:3] == fault.step[:3]
    else:
        hits = [step[:3] for step in found.injected] == [fault.step[:3]]
    if (found.status == -signal.SIGKILL) != (fault.name in (KILL, SHORT_KILL)):
        hits = False
    if not hits:
        last = found.steps[-1] if found.steps else None
        raise MissedError(f"{fault}: status {found.status}, last {last}, injected {found.injected}, {found.stderr!r}")


def _steps(lines: list[str], root: Path) -> tuple[list[Step], list[Step]]:
    counts: dict[tuple[str, str], int] = {}
    steps, injected = [], []
    first = None
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue  # a signal, or the end of a process
        thread, call, rest = match.groups(default="")
        first = thread if first is None else first
        counts[thread, call] = when = counts.get((thread, call), 0) + 1
        what = _subject(call, rest, root)
        if what and thread != first:
            raise MissedError(f"a step outside the first thread, where no fault would hit it: {line}")
        if what:
            steps.append(Step(call, when, what, _length(call, rest)))
            if "(INJECTED)" in rest:
                injected.append(steps[-1])
    return steps, injected


def _length(call: str, rest: str) -> int:
    match = _LENGTH.search(rest) if call == "write" else None
    return int(match[1]) if match else 0


def _subject(call: str, rest: str, root: Path) -> str:
    """What a call is about, if it is about the site or the answer."""
    if call == "write" and rest[:2] in ("1<", "2<"):
        return "stdout" if rest[0] == "1" else "stderr"
    paths = re.findall(rf"{re.escape(str(root))}/((?:state|run)\b[^\">]*)", rest.partition(" = ")[0])
    if not paths:
        return ""
    flags = _FLAGS.search(rest)
    return " -> ".join(map(plain, paths)) + (f" {flags[0].replace('|O_CLOEXEC', '')}" if flags else "")


def plain(text: str) -> str:
    """A path, or a text with paths, without what differs from run to run."""
    return _TEMPORARY.sub(".*.tmp", _KEY.sub("KEY", text)).removesuffix(" (deleted)")
