"""Pruning as tests look at it: what it counted, and the lines it left, each by its schema."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from jsonschema import Draft202012Validator

from pullpass.upkeep import pruning
from pullpass.upkeep.pruning import Wish
from trails import SCHEMA

if TYPE_CHECKING:
    from serving import Run

TRAIL_LINE = Draft202012Validator(json.loads(SCHEMA.read_text()))


def prune(run: Run, **wish: Any) -> dict[str, int]:
    """Prune, and what of it was not nothing."""
    done = pruning.prune(run.config, run.clock, Wish(**wish))
    return {name: count for name, count in vars(done).items() if count}


def lines(run: Run) -> list[dict[str, Any]]:
    """The trail's lines since the last call, each by its schema."""
    found = run.lines()
    for line in found:
        TRAIL_LINE.validate(line)
    return found
