"""Pruning and another key for the cache, stopped or failed at each of their changes on disk, which a trace finds."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest

import tracing
from factories import HOST, IMAGE, make_config, make_paths
from pullpass.cache import rotation
from pullpass.clock import SystemClock
from pullpass.trail import verify
from pullpass.upkeep import credentials, pruning
from serving import Run
from support import NOW_S, FakeClock

pytestmark = pytest.mark.own

OTHER = f"{HOST}/team-a/other"
LATER_S = 2 * pruning.DAY_S
TESTS = Path(__file__).parents[1]

# As the commands do it, but at a time of the test's own.
DRIVER = f"""
import sys
sys.path.insert(0, {str(TESTS)!r})
from pathlib import Path
from integration.test_upkeep_faults import work
work(sys.argv[1], Path(sys.argv[2]))
"""
CHANGES = {"rename", "unlink", "write", "pwrite64", "link"}
FAULTS = ("signal=KILL", "error=EIO", "error=ENOSPC")


def work(what: str, place: Path) -> None:
    """Do one of the two; run in a process of its own."""
    config = make_config(paths=make_paths(place))
    if what == "rotate":
        credentials.rotate(config, FakeClock(NOW_S + 60))
    else:
        pruning.prune(config, FakeClock(NOW_S + LATER_S), pruning.Wish())


class World:
    """A node with two approvals, copied for each run."""

    def __init__(self, directory: Path) -> None:
        self.original, self.place, self.directory = directory / "original", directory / "copy", directory
        run = Run(self.original)
        self.passwords = [run.password(run.request(image), image) for image in (IMAGE, OTHER)]

    def run(self, what: str, *faults: str) -> tracing.Run:
        """Do it once more, to a fresh copy."""
        shutil.rmtree(self.place, ignore_errors=True)
        shutil.copytree(self.original, self.place)
        driver = self.directory / "driver.py"
        driver.write_text(DRIVER)
        command = [sys.executable, str(driver), what, str(self.place)]
        return tracing.run(command, self.place, self.directory, *faults)

    def node(self, after_s: float) -> Run:
        """The copy, some time after its approvals were made."""
        run = Run(self.place)
        run.clock.advance(after_s)
        return run


def changes(world: World, what: str) -> list[tracing.Step]:
    """The steps of a run without a fault that change something."""
    clean = world.run(what)
    assert (clean.status, clean.stderr) == (0, "")
    found = [step for step in clean.steps if step.call in CHANGES]
    assert {"rename" if what == "rotate" else "write", "unlink"} <= {step.call for step in found}
    return found


@pytest.mark.needs("strace")
@pytest.mark.parametrize("fault", FAULTS)
def test_no_credential_is_lost_while_the_key_changes(tmp_path: Path, fault: str) -> None:
    """Whatever step is the last, everything is served from the cache, and the next rotation ends well."""
    world = World(tmp_path)
    for step in changes(world, "rotate"):
        done = world.run("rotate", f"{step.call}:{fault}:when={step.when}")
        assert (done.status == -9) == (fault == "signal=KILL"), step
        node = world.node(60)
        assert [node.password(node.request(image), image) for image in (IMAGE, OTHER)] == world.passwords, step
        assert node.cloud.asked == [], step
        assert credentials.rotate(node.config, node.clock) == credentials.Rotated(2, 0, 0), step
        assert not rotation.is_pending(str(node.runtime)), step
        assert [node.password(node.request(image), image) for image in (IMAGE, OTHER)] == world.passwords, step
        assert node.cloud.asked == [], step


def expired(node: Run) -> list[str]:
    """The approvals that the trail says have gone; half a line, which the next writer names, is none."""
    found = []
    for path in sorted((node.state / "audit").glob("*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                document = json.loads(line)
            except ValueError:
                continue
            found += [document["approval"]] if document["event"] == "expired" else []
    return found


@pytest.mark.needs("strace")
@pytest.mark.parametrize("fault", FAULTS)
def test_no_approval_goes_without_its_line(tmp_path: Path, fault: str) -> None:
    """Whatever step is the last, what is gone stands in the trail, the trail is whole, and the next pruning ends it."""
    world = World(tmp_path)
    keys = {path.stem for path in (world.original / "state" / "approvals").glob("*.json")}
    assert len(keys) == 2
    for step in changes(world, "prune"):
        done = world.run("prune", f"{step.call}:{fault}:when={step.when}")
        assert (done.status == -9) == (fault == "signal=KILL"), step
        node = world.node(LATER_S)
        there = {path.stem for path in (node.state / "approvals").glob("*.json")}
        assert keys - there <= set(expired(node)), step
        assert pruning.prune(node.config, node.clock, pruning.Wish()).removed == len(there), step
        assert list((node.state / "approvals").glob("*.json")) == [], step
        assert set(expired(node)) == keys, step
        report = verify.verify(str(node.state / "audit"), SystemClock(), [], lambda *_: None)
        assert not report.found, step
        assert node.password(node.request()) == node.cloud.password
        assert node.approval["firstApproved"] > "2027-01-17"
