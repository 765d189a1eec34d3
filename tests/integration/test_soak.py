"""The soak in its short form: `scripts/soak` does the same with 200 processes for a minute."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.own

ROOT = Path(__file__).resolve().parents[2]


def test_a_short_storm_leaves_nothing_to_find() -> None:
    """Twenty processes at once for ten seconds, killed at random, with orders and pruning in between."""
    command = [sys.executable, "-P", "-m", "soak", "--duration", "10", "--processes", "20", "--json"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    summary = json.loads(done.stdout)
    assert summary["findings"] == [], summary
    assert done.returncode == 0
    assert summary["atOnce"] == 20
    assert summary["processes"] >= 20
    assert summary["killed"] > 0
    assert summary["answered"] > 0
    assert sum(summary["commands"].values()) > 0
    assert summary["events"]["issued"] > 0
