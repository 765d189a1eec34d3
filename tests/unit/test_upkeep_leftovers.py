"""What crashes have left behind, as pruning finds it: intents that nobody has come across, and temporary files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from pullpass.approvals import intents
from pullpass.upkeep import pruning
from pullpass.upkeep.pruning import DAY_S
from serving import Run
from support import NOW_S
from upkeeping import lines, prune

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("held", [False, True])
def test_a_leftover_intent_is_reported_as_a_request_would(tmp_path: Path, held: bool) -> None:
    """One whose lock is free and that is an hour old; not while somebody holds it, nor sooner."""
    run = Run(tmp_path)
    run.answer(run.request())
    approval = run.approval
    intent = intents.enter(str(run.runtime), approval["id"], run.clock, 0.0)
    assert intent is not None
    os.utime(intent.path, (NOW_S, NOW_S))
    if not held:
        os.close(intent.descriptor)
    lines(run)
    run.clock.advance(pruning.LEFTOVER_AGE_S)
    assert prune(run) == {}
    run.clock.advance(1)
    if held:
        assert prune(run) == {"busy": 1}
        intents.leave(intent)
        return
    assert prune(run) == {"intents": 1}
    assert not os.path.exists(intent.path)
    [line] = lines(run)
    assert (line["event"], line["code"], line["approval"]) == ("recovered", "intent-leftover", approval["id"])
    assert line["serviceAccount"]["name"] == "web"
    assert run.approval == approval


def test_a_leftover_intent_without_approval(tmp_path: Path) -> None:
    """The line has the key; an empty file, under which nothing was begun, goes without one; a fifo is nobody's."""
    run = Run(tmp_path)
    run.answer(run.request())
    lines(run)
    place = run.runtime / "intents"
    for name, content in (("b" * 64, "x"), ("c" * 64, "")):
        (place / name).write_text(content)
        os.utime(place / name, (NOW_S, NOW_S))
    os.mkfifo(place / "fifo")
    os.utime(place / "fifo", (NOW_S, NOW_S))
    run.clock.advance(pruning.LEFTOVER_AGE_S + 1)
    assert prune(run) == {"intents": 1}
    [line] = lines(run)
    assert (line["approval"], line["cluster"]) == ("b" * 64, "prod-1")
    assert [path.name for path in place.iterdir()] == ["fifo"]


def test_a_leftover_and_an_approval_that_is_over(tmp_path: Path) -> None:
    """Both lines, in the order of what happened."""
    run = Run(tmp_path)
    run.answer(run.request())
    intent = intents.enter(str(run.runtime), run.approval_path.stem, run.clock, 0.0)
    assert intent is not None
    os.close(intent.descriptor)
    run.clock.advance(2 * DAY_S)
    lines(run)
    assert prune(run) == {"removed": 1, "intents": 1}
    assert [line["event"] for line in lines(run)] == ["recovered", "expired"]


def test_temporary_files_of_a_crash_are_removed_after_an_hour(tmp_path: Path) -> None:
    """In each directory that is written to."""
    run = Run(tmp_path)
    run.answer(run.request())
    places = [run.state / "approvals", run.runtime, run.runtime / "cache", run.runtime / "intents"]
    for place in places:
        (place / ".old.1.2.tmp").write_text("")
        os.utime(place / ".old.1.2.tmp", (NOW_S, NOW_S))
        (place / ".new.1.2.tmp").write_text("")
        os.utime(place / ".new.1.2.tmp", (NOW_S + 1, NOW_S + 1))
    run.clock.advance(pruning.LEFTOVER_AGE_S + 1)
    assert prune(run) == {"leftovers": 4}
    assert [[path.name for path in place.glob(".*.tmp")] for place in places] == [[".new.1.2.tmp"]] * 4
