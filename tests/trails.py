"""An audit trail for tests, written by the program with a clock that the test owns, and what tests do to it."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pullpass
from pullpass import trail
from pullpass.trail import verify
from support import FakeClock

if TYPE_CHECKING:
    from pullpass.trail.verify import Report

SCHEMA = Path(pullpass.__file__).parent / "schemas" / "trail-line.json"
DAY_S = 86400.0
ZEROS = "0" * 64


def nothing(done: int, total: int) -> None:
    """Tell nobody how far it has come."""


class Trail:
    """A state directory with a trail."""

    def __init__(self, state: Path, clock: FakeClock | None = None) -> None:
        self.state = state
        self.clock = clock or FakeClock()
        self.directory = state / "audit"
        self.head = self.directory / "head"

    def append(
        self, *bodies: dict[str, Any], wait_s: float = 1, sync: bool = False, keep_s: float = 90 * DAY_S
    ) -> None:
        """Append lines; one about image `x` when none is given."""
        given = list(bodies) or [{"event": "refused", "code": "no-grant", "message": "no", "image": "x"}]
        trail.append(str(self.state), given, self.clock, wait_s=wait_s, sync=sync, keep_s=keep_s)

    def days(self, count: int, each: int = 2) -> None:
        """Append so many lines on so many days."""
        for _ in range(count):
            for _ in range(each):
                self.append()
            self.clock.advance(DAY_S)

    @property
    def files(self) -> list[Path]:
        """The files of lines, in their order."""
        return sorted(path for path in self.directory.iterdir() if path.suffix == ".jsonl")

    @property
    def last(self) -> Path:
        """The file that was written to last."""
        return self.files[-1]

    def raw(self) -> list[bytes]:
        """Every line of every file."""
        return [line for path in self.files for line in path.read_bytes().splitlines()]

    def lines(self) -> list[dict[str, Any]]:
        """Every line that is JSON."""
        found = []
        for line in self.raw():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def lines_after(self, seq: int) -> list[dict[str, Any]]:
        """The lines with higher numbers; what is no regular file is passed over."""
        raw = [line for path in self.files if path.is_file() for line in path.read_bytes().splitlines()]
        return [members for line in raw if (members := json.loads(line))["seq"] > seq]

    def read_head(self) -> dict[str, Any]:
        """What the head says."""
        head: dict[str, Any] = json.loads(self.head.read_bytes())
        return head

    def verify(self, *expected: str) -> Report:
        """Check it."""
        wanted = [verify.parse_expected(text) for text in expected]
        return verify.verify(str(self.directory), self.clock, wanted, nothing)

    def codes(self, severity: str = "finding") -> list[str]:
        """The codes of what checking it finds."""
        return [found.code for found in self.verify().findings if found.severity == severity]

    def edit(self, path: Path, change: Any) -> None:
        """Rewrite a file's lines: `change` gets the list of lines with their line feeds."""
        kept = path.read_bytes().splitlines(keepends=True)
        change(kept)
        path.write_bytes(b"".join(kept))


def digest(line: bytes) -> str:
    """The hash that the next line names."""
    return hashlib.sha256(line).hexdigest()
