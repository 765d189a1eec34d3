"""The matrix is made with a cloud in the process; here the launcher itself is killed at each step, with the SDK."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from faults import invariants, tracer
from faults.scenarios import BY_NAME
from faults.site import Site, request
from faults.tracer import KILL, Fault, Step
from integration.launchers import ask, install, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud

pytestmark = pytest.mark.needs("strace")


class Installed:
    """A site whose requests are a launcher's.

    Attributes:
        site: its directories.
        launcher: its program.
        raw: a request.
    """

    def __init__(self, root: Path, cloud: Cloud) -> None:
        self.site = Site(root)
        write_config(root, cloud)
        self.launcher = install(root, self.site.path)
        self.raw = request(token=cloud.mint_token())

    def trace(self, fault: Fault | None = None) -> tracer.Run:
        """One request under `strace`."""
        self.site.restore()
        return tracer.run([str(self.launcher)], self.raw, self.site.root, fault)

    def works(self) -> None:
        """The next request is answered, with an approval and a line, and the trail is whole."""
        before = max([line["seq"] for line in invariants.lines(self.site)], default=0)
        done = ask(self.launcher, self.raw)
        assert (done.returncode, done.stderr) == (0, b"")
        self.site.clock.at_s = time.time()
        assert invariants.of_answer(self.site, done.stdout, before) == []
        assert invariants.of_files(self.site, leftovers=True, half_line=False) + invariants.of_trail(self.site) == []


@pytest.mark.parametrize("name", ["first issue", "cache hit"])
def test_a_launcher_that_is_killed(tmp_path: Path, cloud: Cloud, name: str) -> None:
    """At each step, and they are those of the matrix: nothing was answered or half written, and the next one works."""
    installed = Installed(tmp_path / "launcher", cloud)
    if name == "cache hit":
        assert ask(installed.launcher, installed.raw).returncode == 0
    installed.site.keep()
    clean = installed.trace()
    assert (clean.status, clean.stderr) == (0, b"")
    scenario = BY_NAME[name]
    other = scenario.site(tmp_path / "matrix")
    theirs = tracer.run(other.command(scenario.mood), scenario.raw, other.root).steps
    assert _what(clean.steps) == _what(theirs)
    for step in clean.steps:
        done = installed.trace(Fault(KILL, step))
        assert (done.stdout, done.stderr) == (b"", b"")
        assert invariants.of_files(installed.site, leftovers=True, half_line=False) == [], step.label
        installed.works()


def _what(steps: list[Step]) -> list[str]:
    """The steps, whatever day it is."""
    return [tracer.plain(f"{step.call} {tracer.DAY.sub('DAY', step.what)}") for step in steps]
