"""The storm: as many plugin processes as may live at once, over mixed keys, some of them killed at a random time."""

from __future__ import annotations

import os
import random
import subprocess
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from soak.stage import Ask, Stage

KILLED = 0.3  # this share of the processes
WINDOW = 4  # so many accounts are asked for at once ...
WINDOWS = 4  # ... and so often the window moves on in a storm
POLL_S = 0.01
NICE = 5
WAIT_S = 70.0  # a run's deadline, and what a machine with hundreds of processes takes to start one
KINDS = {"ecr": 6, "google": 6, "anonymous": 1, "refused": 2, "denied": 2, "garbage": 1}


class Run(NamedTuple):
    """One process that has ended; times on the clock of the trail, seconds since the epoch.

    Attributes:
        killed: whether it was killed; it may have answered before.
        status: its exit status; None when it had to be killed because it did not end.
    """

    ask: Ask
    began_s: float
    ended_s: float
    killed: bool
    status: int | None
    stdout: bytes
    stderr: bytes


class _Live:
    """One process that runs."""

    def __init__(self, stage: Stage, ask: Ask, kill_after_s: float | None) -> None:
        self.ask = ask
        self.killed = False
        self.began_s = time.time()
        self.kill_at_s = None if kill_after_s is None else time.monotonic() + kill_after_s
        self.late_at_s = time.monotonic() + WAIT_S
        with ask.path.open("rb") as request:
            self.process = subprocess.Popen(
                [str(stage.launcher)],
                stdin=request,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env={},
                cwd="/",
            )
        # Otherwise the one process that starts them would get as little of the machine as each of them.
        os.setpriority(os.PRIO_PROCESS, self.process.pid, NICE)

    def look(self) -> Run | None:
        """Kill it when it is time; what became of it when it has ended."""
        if self.process.poll() is None:
            now_s = time.monotonic()
            if self.kill_at_s is not None and now_s >= self.kill_at_s:
                self.process.kill()
                self.killed = True
            elif now_s >= self.late_at_s:
                self.process.kill()
            return None
        # What it wrote fits into the pipes, so it can be read after its end.
        stdout, stderr = self.process.communicate()
        late = self.process.returncode == -9 and not self.killed
        status = None if late else self.process.returncode
        return Run(self.ask, self.began_s, time.time(), self.killed, status, stdout, stderr)


class Storm:
    """Runs processes until its time is over, and waits for those that are left."""

    def __init__(self, stage: Stage, processes: int, duration_s: float, seed: int) -> None:
        self.stage, self.processes, self.duration_s = stage, processes, duration_s
        self.chance = random.Random(seed)
        self.runs: list[Run] = []
        self.most_alive = 0
        self._takes_s = 0.5  # a process, on average: when to kill depends on it

    def blow(self) -> None:
        """Run it."""
        began_s = time.monotonic()
        live: list[_Live] = []
        while (passed_s := time.monotonic() - began_s) < self.duration_s or live:
            if passed_s < self.duration_s and len(live) < self.processes:
                live.append(self._start(passed_s / self.duration_s))
                self.most_alive = max(self.most_alive, len(live))
                if len(live) % 8:  # looking at all of them takes as long as starting some
                    continue
            else:
                time.sleep(POLL_S)
            live = [one for one in live if not self._ended(one)]

    def _start(self, passed: float) -> _Live:
        kind = self.chance.choices(list(KINDS), list(KINDS.values()))[0]
        first = int(passed * WINDOWS) * 2
        numbers = {-1, *range(first, first + WINDOW)}
        ask = self.chance.choice([ask for ask in self.stage.asks if ask.kind == kind and ask.number in numbers])
        is_doomed = self.chance.random() < KILLED
        return _Live(self.stage, ask, self.chance.uniform(0.0, 1.5 * self._takes_s) if is_doomed else None)

    def _ended(self, one: _Live) -> bool:
        run = one.look()
        if run is None:
            return False
        self.runs.append(run)
        if not run.killed:
            self._takes_s += (run.ended_s - run.began_s - self._takes_s) * 0.05
        return True
