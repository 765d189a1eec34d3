"""The commands over the stores with 100,000 approvals: none holds them, whatever it does with them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from factories import make_approval
from integration.launchers import write_config
from pullpass import approvals
from pullpass.approvals import codec

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud

pytestmark = pytest.mark.own

APPROVALS = 100_000
OVER_EVERY = 10  # of them one has been over for long; the others live
LIMIT_KIB = 150 * 1024
# What a process is said to have used includes what its parent had when it was started, and the tests have a lot.
BETWEEN = """\
import os, sys
child = os.fork()
if not child:
    os.dup2(os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), 1)
    os.execv(sys.argv[2], sys.argv[2:])
_, status, used = os.wait4(child, 0)
print(os.waitstatus_to_exitcode(status), used.ru_maxrss)
"""
KEY = "k" * 64  # stands for each key
LONG_AGO_S = 1_000_000_000.0
HOUR_S = 3600.0


class Store:
    """A node with many approvals.

    Attributes:
        output: what the last command has printed.
    """

    def __init__(self, directory: Path, cloud: Cloud) -> None:
        self.state, self.output = directory / "state", directory / "output"
        self.config = write_config(directory, cloud)
        self.place = approvals.directory(str(self.state))
        over, living = _template(LONG_AGO_S), _template(time.time() - 1)
        for number in range(APPROVALS):
            self.write(f"{number:064x}", living if number % OVER_EVERY else over)

    def write(self, key: str, template: bytes) -> None:
        """One approval; not synced, or this would take minutes."""
        descriptor = os.open(f"{self.place}/{key}.json", os.O_WRONLY | os.O_CREAT, 0o600)
        os.write(descriptor, template.replace(KEY.encode(), key.encode()))
        os.close(descriptor)

    def run(self, *words: str) -> None:
        """Run a command, and see that it never has more memory than it may."""
        command = [sys.executable, "-m", "pullpass", *words, "--config", str(self.config)]
        between = [sys.executable, "-ISc", BETWEEN, str(self.output), *command]
        done = subprocess.run(between, stdout=subprocess.PIPE, check=True)
        status, most_kib = map(int, done.stdout.split())
        assert status == 0
        assert most_kib < LIMIT_KIB

    def keys(self, front: bytes) -> set[bytes]:
        """What follows `front` in the lines of the output that begin with it, each once."""
        with self.output.open("rb") as lines:
            found = [line.removeprefix(front)[:64] for line in lines if line.startswith(front)]
        assert len(found) == len(set(found))
        return set(found)


def _template(sent_s: float) -> bytes:
    """The file of an approval by an exchange at this moment, which stands for an hour."""
    times = dict.fromkeys(("first_approved_s", "last_validated_s"), sent_s)
    ends = dict.fromkeys(("expires_s", "registry_expires_s", "session_expires_s"), sent_s + HOUR_S)
    return codec.render(make_approval(key=KEY, **times, **ends))


@pytest.fixture(name="store")
def _store(tmp_path: Path, cloud: Cloud) -> Store:
    return Store(tmp_path, cloud)


def test_a_large_store_is_listed_and_pruned_without_holding_it(store: Store) -> None:
    """All as a table, those that are over as JSON; these go, with a line each."""
    keys = {f"{number:064x}" for number in range(APPROVALS)}
    over = {f"{number:064x}" for number in range(0, APPROVALS, OVER_EVERY)}
    store.run("approvals", "list")
    with store.output.open("rb") as lines:
        next(lines)
        shown = [line[:12] for line in lines]
    assert shown == [key[:12].encode() for key in sorted(keys)]
    store.run("approvals", "list", "--expired", "--json")
    assert {key.decode() for key in store.keys(b'    "id": "')} == over
    store.run("approvals", "prune", "--json")
    assert json.loads(store.output.read_bytes())["removed"] == len(over)
    assert {name.removesuffix(".json") for name in os.listdir(store.place)} == keys - over
    written: set[str] = set()
    for name in (store.state / "audit").glob("*.jsonl"):
        with name.open("rb") as lines:
            written |= {json.loads(line)["approval"] for line in lines}
    assert written == over
