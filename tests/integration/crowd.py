"""Many plugin processes at once: started before the first of them has its request, and what each of them said.

A launcher reads its whole request before it loads anything else, so a process whose standard input is still open has
done nothing yet. Who wants processes to meet starts them all and gives them their requests afterwards.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from integration.launchers import ask

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path
    from types import TracebackType
    from typing import Any, Self

WAIT_S = 60.0
POLL_S = 0.005


class Call(NamedTuple):
    """A launcher, and what is on its standard input."""

    launcher: Path
    raw: bytes


class Told(NamedTuple):
    """What one process said."""

    status: int
    stdout: bytes
    stderr: bytes

    @property
    def code(self) -> str:
        """The code of its refusal; "" of an answer."""
        return self.stderr.decode().split(": ")[1] if self.stderr else ""

    @property
    def credential(self) -> tuple[str, str]:
        """Username and password of its answer, which has one."""
        [entry] = json.loads(self.stdout)["auth"].values()
        return entry["username"], entry["password"]


def burst(calls: Iterable[Call], width: int) -> list[Told]:
    """Run calls, `width` at a time, and return what they said in their order."""

    def one(call: Call) -> Told:
        done = ask(call.launcher, call.raw, timeout_s=WAIT_S)
        return Told(done.returncode, done.stdout, done.stderr)

    with ThreadPoolExecutor(width) as pool:
        return list(pool.map(one, calls))


class Plugin:
    """One launcher that was started and waits for its request. Use as a context manager: it is killed at the end."""

    def __init__(self, launcher: Path) -> None:
        self.process = subprocess.Popen(
            [str(launcher)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={},
            cwd="/",
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.communicate()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.process.pid

    def give(self, raw: bytes) -> None:
        """Give it its request."""
        assert self.process.stdin is not None
        self.process.stdin.write(raw)
        self.process.stdin.close()
        self.process.stdin = None

    def told(self) -> Told:
        """What it says at its end."""
        stdout, stderr = self.process.communicate(timeout=WAIT_S)
        return Told(self.process.returncode, stdout, stderr)

    def has_open(self, path: Path) -> bool:
        """Whether it has this file open: whoever waits for a lock has."""
        place = f"/proc/{self.pid}/fd"
        with contextlib.suppress(FileNotFoundError):  # it has ended
            for number in os.listdir(place):
                with contextlib.suppress(FileNotFoundError):  # it has closed it just now
                    if os.readlink(f"{place}/{number}") == str(path):
                        return True
        return False


@contextlib.contextmanager
def plugins(launcher: Path, count: int) -> Iterator[list[Plugin]]:
    """Launchers that wait for their requests; whatever is left of them is killed at the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(Plugin(launcher)) for _ in range(count)]


def wait_until(what: Callable[[], bool]) -> None:
    """Wait until something is so.

    Raises:
        TimeoutError: it was not within a minute.
    """
    end_s = time.monotonic() + WAIT_S
    while not what():
        if time.monotonic() > end_s:
            raise TimeoutError
        time.sleep(POLL_S)


def trail(state: Path) -> list[dict[str, Any]]:
    """The lines of an audit trail, in their order."""
    files = sorted((state / "audit").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]


def events(state: Path) -> dict[str, int]:
    """How many lines of each event a trail has."""
    names = [str(line["event"]) for line in trail(state)]
    return {name: names.count(name) for name in sorted(set(names))}
