"""What operators do meanwhile: orders given and lifted, approvals pruned; some of these commands are killed as well."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from soak.stage import Ask, Stage

PAUSE_S = 0.3
KILLED = 0.15
ALIVE = 3  # orders in force at once, so that most requests are answered
OLD = "5s"
TIME_OUT_S = 120.0


class Given(NamedTuple):
    """An order that is known to have been in force; times in seconds since the epoch.

    Attributes:
        action: `block` or `revalidate`.
        option: of the selector.
        value: likewise.
        asked_s: when the command that gives it was started.
        from_s: when that had ended.
        until_s: when the command that lifts it was started.
    """

    order: str
    action: str
    option: str
    value: str
    asked_s: float
    from_s: float
    until_s: float = float("inf")

    def selects(self, ask: Ask) -> bool:
        """Whether it is about a request."""
        return self.value == (ask.account if self.option == "--service-account" else ask.image)


class Meddler(threading.Thread):
    """Does one thing after the other until it is told to stop, and lifts every order then.

    Attributes:
        given: the orders that were given by commands which ended well.
        commands: how many commands of each kind were run.
        killed: how many of them were killed.
        faults: what commands said that they should not have.
    """

    def __init__(self, stage: Stage, seed: int) -> None:
        super().__init__(name="meddler")
        self.stage, self.chance = stage, random.Random(seed)
        self.stopping = threading.Event()
        self.given: list[Given] = []
        self.commands: dict[str, int] = {}
        self.killed = 0
        self.faults: list[str] = []
        self._orders: list[str] = []  # that may be in force

    def run(self) -> None:
        """Meddle."""
        try:
            while not self.stopping.wait(PAUSE_S):
                what = self.chance.choice(["give", "give", "lift", "prune"])
                if what == "prune":
                    self._command(["approvals", "prune", "--older-than", OLD], mortal=True)
                elif what == "lift" or len(self._orders) >= ALIVE:
                    self._lift(mortal=True)
                else:
                    self._give()
            while self._orders:
                self._lift(mortal=False)
        except Exception as error:  # noqa: BLE001 - for whoever looks at the faults
            self.faults.append(f"the meddler failed: {error!r}")

    def _give(self) -> None:
        action = self.chance.choice(["block", "revalidate", "revalidate"])
        ask = self.chance.choice([ask for ask in self.stage.asks if ask.kind in ("ecr", "google")])
        option = self.chance.choice(["--service-account", "--service-account", "--image"])
        value = ask.account if option == "--service-account" else ask.image
        order = f"soak-{len(self.given) + sum(self.commands.values())}"
        asked_s = time.time()
        self._orders.append(order)
        if self._command([action, option, value, "--reason", "soak", "--id", order], mortal=True):
            self.given.append(Given(order, action, option, value, asked_s, time.time()))

    def _lift(self, *, mortal: bool) -> None:
        if not self._orders:
            return
        order = self.chance.choice(self._orders)
        now_s = time.time()
        self.given = [
            one._replace(until_s=min(one.until_s, now_s)) if one.order == order else one for one in self.given
        ]
        # Of one whose command was killed nobody knows whether it is there.
        if self._command(["orders", "lift", order], mortal=mortal, allowed=(0, 2)):
            self._orders.remove(order)

    def _command(self, words: list[str], *, mortal: bool, allowed: tuple[int, ...] = (0,)) -> bool:
        """Run a command; whether it was left to its end."""
        name = " ".join(words[:2]) if words[0] in ("approvals", "orders") else words[0]
        self.commands[name] = self.commands.get(name, 0) + 1
        process = self.stage.pullpass(*words)
        doomed = mortal and self.chance.random() < KILLED
        try:
            _, stderr = process.communicate(timeout=self.chance.uniform(0.1, 1.0) if doomed else TIME_OUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            self.killed += 1
            if not doomed:
                self.faults.append(f"{name} had not ended after {TIME_OUT_S:g} s")
            return False
        if process.returncode not in allowed:
            self.faults.append(f"{name} left with {process.returncode}: {stderr.decode(errors='replace').strip()}")
        return True
