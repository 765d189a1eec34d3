"""`scripts/bench`: what it says of each kind of process. Times are whatever they are; what is loaded is not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
CACHE = {"cryptography"}
TOKEN = {"cryptography", "jwt"}
AWS = {"boto3", "botocore", "urllib3"}
GOOGLE = {"google"}


def measured(*words: str) -> Any:
    """What a measurement prints as JSON."""
    command = [sys.executable, "-P", "-m", "bench", *words, "--json"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "tests")}
    done = subprocess.run(command, env=environment, cwd="/", capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def figures() -> dict[str, dict[str, Any]]:
    """The rows of one round, by name."""
    return {row["name"]: row for row in measured("start", "--rounds", "1", "--latency", "0.01")}


ROWS: dict[str, tuple[int, set[str], set[str]]] = {
    "bare interpreter": (0, set(), TOKEN | AWS | GOOGLE),
    "refusal": (0, set(), TOKEN | AWS | GOOGLE),
    "explain": (0, TOKEN, AWS | GOOGLE),
    "exchange: ECR": (2, TOKEN | AWS, GOOGLE),
    "cache hit": (0, CACHE, {"jwt"} | AWS | GOOGLE),
    "exchange: ECR, node": (4, CACHE | AWS, {"jwt"} | GOOGLE),
    "exchange: Google, direct": (1, TOKEN | GOOGLE, AWS),
    "exchange: Google, impersonated": (2, TOKEN | GOOGLE, AWS),
    "exchange: Google, node": (2, CACHE, {"jwt"} | AWS | GOOGLE),
}


def test_rows(figures: dict[str, dict[str, Any]]) -> None:
    """Every row is there, and its ratio is to the first."""
    assert list(figures) == list(ROWS)
    assert figures["bare interpreter"]["ratio"] == 1.0
    for row in figures.values():
        assert row["ratio"] == pytest.approx(row["median_ms"] / figures["bare interpreter"]["median_ms"])


@pytest.mark.parametrize("name", ROWS)
def test_what_is_loaded(figures: dict[str, dict[str, Any]], name: str) -> None:
    """A process loads the libraries that it needs, and neither cloud's loads the other's."""
    calls, needed, spared = ROWS[name]
    row = figures[name]
    third = set(row["third_parties"])
    assert row["calls"] == calls
    assert needed <= third
    assert not spared & third
    assert calls or row["modules"] <= figures["explain"]["modules"]


def test_look_ups() -> None:
    """Every tier is measured, every look-up finds its approval, and others store meanwhile."""
    rows = measured("approvals", "--approvals", "20", "--seconds", "0.3")
    assert {row["tier"] for row in rows} >= {"disk", "memory"}
    for row in rows:
        assert row["lookups"] > 0
        assert row["failed"] == 0
        assert row["p50_us"] <= row["p99_us"] <= row["p999_us"] <= row["most_us"]
    assert sum(row["saves"] for row in rows) > 0


def test_a_hit() -> None:
    """The whole process and its parts are there."""
    found = measured("hit", "--rounds", "1")
    assert found["processes"][0]["name"] == "bare interpreter"
    assert {"cache hit", "exchange, 40 ms a round trip"} <= {row["name"] for row in found["processes"]}
    assert {"the whole hit", "trail line"} <= {row["name"] for row in found["inside"]}
    assert all(row["median_ms"] > 0 for rows in found.values() for row in rows)


def test_counts() -> None:
    """Bursts of a few pods cost what big ones do."""
    rows = measured("counts", "--pods", "5")
    assert [row["exchanges"] for row in rows] == [10, 10, 10, 1, 4]
    assert [row["refused"] for row in rows] == [0] * 5


def test_a_trail() -> None:
    """Every command on a trail is measured, and has done its work."""
    found = measured("trail", "--lines", "3000")
    rows = {row["name"]: row for row in found["rows"]}
    assert {name.partition(",")[0] for name in rows} == {"verify", "show", "export"}
    assert rows["export, JSON lines"]["written_bytes"] > found["bytes"] * 0.99 > 3000 * 900
    assert all(row["cpu_s"] > 0 and row["peak_bytes"] > 0 for row in rows.values())
