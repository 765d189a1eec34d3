"""The audit trail between real processes: many writers, killed writers, a reader beside them, a full disk."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pullpass.clock import SystemClock
from pullpass.trail import verify
from trails import Trail, nothing

if TYPE_CHECKING:
    from pathlib import Path

WRITE = """\
import sys
from pullpass import trail
from pullpass.clock import SystemClock
state, name, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
for number in range(count):
    body = {"event": "refused", "code": "no-grant", "message": f"{name} {number}"}
    trail.append(state, [body], SystemClock(), wait_s=60, sync=number % 50 == 0, keep_s=1e9)
"""
ON_A_FULL_DISK = """\
import json, os, subprocess, sys
from pullpass import errors, trail
from pullpass.clock import SystemClock
place = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", place], check=True)
def append(size):
    body = {"event": "refused", "code": "no-grant", "message": "x" * size}
    trail.append(place, [body], SystemClock(), wait_s=1, sync=False, keep_s=1e9)
append(10)
path = next(os.path.join(place, "audit", name) for name in os.listdir(place + "/audit") if name != "head")
before = open(path, "rb").read()
try:
    append(100_000)
except errors.PullpassError as error:
    refused = [error.code, error.what.rpartition(": ")[2]]
kept = open(path, "rb").read() == before
append(10)
subprocess.run(["cp", "-a", place + "/audit", sys.argv[2]], check=True)
print(json.dumps([refused, kept]))
"""


def start(state: Path, name: str, count: int) -> subprocess.Popen[bytes]:
    """A process that writes lines."""
    return subprocess.Popen([sys.executable, "-c", WRITE, str(state), name, str(count)], stderr=subprocess.PIPE)


def findings(trail: Trail) -> list[str]:
    """What a reader beside real writers finds; it waits for them by the real clock."""
    return [found.code for found in verify.verify(str(trail.directory), SystemClock(), [], nothing).findings]


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """How it has ended, and what it said."""
    _, complaint = process.communicate(timeout=300)
    return process.returncode, complaint


def test_many_writers_at_once(tmp_path: Path) -> None:
    """No line is lost, mixed with another one or out of its writer's order; a reader beside them finds nothing."""
    trail = Trail(tmp_path / "state")
    writers = [start(trail.state, str(number), 200) for number in range(8)]
    while any(writer.poll() is None for writer in writers):
        assert findings(trail) == []
    assert [ended(writer) for writer in writers] == [(0, b"")] * 8
    told = [line["message"].split() for line in trail.lines()]
    assert len(told) == 1600
    for name in map(str, range(8)):
        assert [int(number) for writer, number in told if writer == name] == list(range(200))
    report = trail.verify()
    assert (report.lines, report.found, report.noted) == (1600, 0, 0)


def test_writers_that_are_killed(tmp_path: Path) -> None:
    """At any moment: the next ones go on, and a crash is no finding."""
    trail = Trail(tmp_path / "state")
    for round_number in range(5):
        writers = [start(trail.state, str(number), 10_000) for number in range(3)]
        while not trail.directory.exists() or len(trail.raw()) < 50 * (round_number + 1):
            assert all(writer.poll() is None for writer in writers)
        for writer in writers:
            writer.kill()
        assert [ended(writer)[0] for writer in writers] == [-9] * 3
        assert trail.codes() == []
    trail.append()
    assert trail.codes() == []


@pytest.mark.needs("root", "mount namespaces")
def test_a_full_disk(tmp_path: Path) -> None:
    """What fits of a line that does not fit is taken back; the next line that fits is written."""
    (tmp_path / "disk").mkdir(mode=0o700)
    (tmp_path / "state").mkdir(mode=0o700)
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", ON_A_FULL_DISK]
    done = subprocess.run(
        [*command, str(tmp_path / "disk"), str(tmp_path / "state" / "audit")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == [["trail-unwritable", "No space left on device"], True]
    trail = Trail(tmp_path / "state")
    assert [line["seq"] for line in trail.lines()] == [1, 2]
    assert trail.codes() == []
