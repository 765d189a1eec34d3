"""Fixtures of several tests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serving import Run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(name="run")
def _run(tmp_path: Path) -> Run:
    """A node on which nothing has happened yet."""
    return Run(tmp_path)


@pytest.fixture(name="lived")
def _lived(run: Run) -> Run:
    """A node with an approval and its credential; the trail so far was looked at."""
    run.answer(run.request())
    run.lines()
    return run
