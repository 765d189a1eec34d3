"""Changes of orders that are killed, or whose disk fails, at each of their steps: the steps are found by a trace.

After each: no order is in force or gone without its line, a line for what did not happen is explained by the next
change, no file is half written, what was not to be changed is as it was, and the trail verifies.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

import pullpass
import tracing
from integration.order_changing import desk_of
from ordering import make_document, make_list, make_order
from pullpass import trail
from pullpass.approvals import order_store, order_sync, orders

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = pytest.mark.own

PATHS = [str(Path(pullpass.__file__).parents[1]), str(Path(__file__).parents[1])]

CHANGE = """\
import json, sys
sys.path[:0] = sys.argv[1].split(":")
from integration.order_changing import change
sys.exit(change(*sys.argv[2:5], json.loads(sys.argv[5])))
"""


class World(NamedTuple):
    """A state directory with two local orders and a remote set, and the next set."""

    state: Path
    source: Path


def make_world(place: Path) -> World:
    """A world to be copied for each fault."""
    state, source = place / "state", place / "source"
    source.mkdir(mode=0o755)
    desk = desk_of(str(state))
    for name in ("a", "b"):
        order_store.create(desk, make_order(name))
    path = source / "set.json"
    path.write_text(json.dumps(make_list(make_document("kept"), make_document("gone"))))
    order_sync.sync(desk, str(source))
    path.write_text(json.dumps(make_list(make_document("kept", reason="new"), make_document("come"))))
    return World(state, source)


def run(what: str, world: World, place: Path, *faults: str) -> tracing.Run:
    """Make a change in a process of its own, in a copy of the world."""
    copy = place / "copy"
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(world.state, copy)
    words = [":".join(PATHS), what, str(copy), str(world.source), json.dumps(make_document("new"))]
    return tracing.run([sys.executable, "-ISc", CHANGE, *words], copy, place, *faults)


# What is there before and after each change: ids of the orders, with their reasons.
OLD, NEW = "keys were rotated", "new"
BEFORE = {"a": OLD, "b": OLD, "kept": OLD, "gone": OLD}
AFTER = {
    "create": BEFORE | {"new": OLD},
    "lift": {"kept": OLD, "gone": OLD},
    "sync": {"a": OLD, "b": OLD, "kept": NEW, "come": OLD},
}
DONE = {
    "create": {("created", "new")},
    "lift": {("lifted", "a"), ("lifted", "b")},
    "sync": {("synced", "kept"), ("synced", "come"), ("lifted", "gone")},
}


def told(lines: Iterable[dict[str, Any]]) -> tuple[set[tuple[str, str]], bool]:
    """What the lines say was done, and whether one explains that it was not."""
    done, explained = set(), False
    for line in lines:
        if line["event"] == "order":
            done.add((line["done"], line["order"]["id"]))
            explained = False
        explained = explained or line.get("code") == "order-unfinished"
    return done, explained


def trail_of(state: Path) -> list[dict[str, Any]]:
    """Every whole line of the trail."""
    found = []
    for path in sorted((state / trail.DIRECTORY).glob("*.jsonl")):
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # half a line, which a warning names
                continue
    return found


def check(what: str, state: Path, status: int, lines_before: int) -> None:
    """Hold what is there after a fault to what the module promises."""
    there = {order.id: order.reason for order in orders.read(str(state))}
    assert status in {0, 6, -9}
    if status == 0:
        assert there == AFTER[what]
    elif what == "lift":
        assert AFTER[what].items() <= there.items() <= BEFORE.items()
    else:
        assert there in (BEFORE, AFTER[what])
    done, _ = told(trail_of(state)[lines_before:])
    if there != BEFORE:
        assert done == DONE[what]
    order_store.create(desk_of(str(state)), make_order("next"))
    lines = trail_of(state)[lines_before:]
    done, explained = told(lines[:-1])
    assert done in (set(), DONE[what])
    if done and there != AFTER[what]:
        assert explained, lines
    if there == AFTER[what]:
        assert not explained
    assert {order.id: order.reason for order in orders.read(str(state))} == there | {"next": OLD}
    left = [path.name for path in (state / "orders").iterdir() if path.name.startswith(".")]
    assert {name for name in left if not name.endswith(".tmp")} <= {".lock", ".used.json"}


# Before which of its steps a change is killed makes a difference where they change something.
CHANGING = {"openat", "mkdir", "write", "pwrite64", "ftruncate", "fsync", "rename", "unlink", "close", "flock"}
FULL = {"openat", "write", "pwrite64", "fsync", "rename"}
FAULTS = {"signal=KILL": CHANGING, "error=ENOSPC": FULL, "error=EIO": None}


def broken_steps(steps: list[tracing.Step], calls: set[str] | None) -> list[tracing.Step]:
    """The steps to break: of these calls, or of any; of those that are the same to the letter the first and last."""
    wanted = [step for step in steps if calls is None or step.call in calls]
    first = {(step.call, step.text): step for step in reversed(wanted)}
    last = {(step.call, step.text): step for step in wanted}
    return sorted({*first.values(), *last.values()}, key=steps.index)


@pytest.mark.needs("strace")
@pytest.mark.parametrize("what", ["create", "lift", "sync"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_change_that_fails_at_any_step(what: str, fault: str, tmp_path: Path) -> None:
    """Each step that a run without a fault takes is one run with it."""
    world = make_world(tmp_path)
    lines_before = len(trail_of(world.state))
    clean = run(what, world, tmp_path)
    assert (clean.status, clean.stderr) == (0, "")
    check(what, tmp_path / "copy", 0, lines_before)
    steps = broken_steps(clean.steps, FAULTS[fault])
    assert {"openat", "write", "fsync", "rename"} <= {step.call for step in steps}
    for step in steps:
        done = run(what, world, tmp_path, f"{step.call}:{fault}:when={step.when}")
        assert "Traceback" not in done.stderr, (step, done.stderr)
        check(what, tmp_path / "copy", done.status, lines_before)
