"""A configuration and its two directories, on a real disk: kept as they are before a run, and put back."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import cryptography
import jwt

import pullpass
from factories import HOST, make_request
from faults.upstream import StandingClock, Upstream
from pullpass import config, pipeline
from support import AUDIENCE, ISSUER, NOW_S, make_claims, make_token

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock
    from pullpass.config import Config
    from pullpass.pipeline import Answer

CONFIG = f"""\
version = 1
[node]
cluster = "prod-1"
issuers = ["{ISSUER}"]
deadline = "20s"
[paths]
state = "{{root}}/state"
runtime = "{{root}}/run"
[audit]
keep = "2d"
when_full = "{{when_full}}"
[ecr]
audience = "{AUDIENCE}"
{{ecr}}
[[grant]]
name = "team images"
service_accounts = ["team-a/*"]
images = ["{HOST}/team-a/**"]
identity = "arn:aws:iam::111122223333:role/pull-{{{{namespace}}}}"
[[grant]]
name = "public"
service_accounts = ["*/*"]
images = ["{HOST}/public/**"]
identity = "anonymous"
"""
# Old enough for every moment at which it is shown.
TOKEN = make_token(make_claims(now_s=NOW_S - 2 * 3600, life_s=8 * 3600))
PROGRAM = Path(__file__).with_name("program.py")
PLACES = (pullpass.__file__, cryptography.__file__, jwt.__file__, str(PROGRAM))
LIBRARIES = list(dict.fromkeys(str(Path(place).parents[1]) for place in PLACES))


class Site:
    """A directory that holds a configuration, the state directory and the runtime directory.

    Attributes:
        root: the directory.
        upstream: the cloud of requests in this process.
        clock: their clock; it stands.
        libraries: where a process finds the program.
    """

    def __init__(self, root: Path, *, when_full: str = "refuse", ecr: str = "") -> None:
        self.root = root
        self.upstream = Upstream()
        self.clock = StandingClock(NOW_S)
        self.libraries = LIBRARIES
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.path = root / "config.toml"
        self.path.write_text(CONFIG.format(root=root, when_full=when_full, ecr=ecr))
        self.path.chmod(0o600)
        (root / "kept").mkdir(exist_ok=True)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.root / "state"

    @property
    def runtime(self) -> Path:
        """The runtime directory."""
        return self.root / "run"

    def load(self) -> Config:
        """The configuration, as a launcher loads it."""
        return config.load(str(self.path), runtime=str(self.runtime))

    def serve(self, raw: bytes, *, clock: Clock | None = None, load: Callable[[], Config] | None = None) -> Answer:
        """Serve a request in this process, on the real files."""
        return pipeline.serve(raw, pipeline.Deps(load or self.load, clock or self.clock, self.upstream.load))

    def command(self, mood: str) -> list[str]:
        """A process that serves one request.

        Args:
            mood: of its cloud.
        """
        words = [str(self.path), str(self.runtime), repr(self.clock.at_s), mood]
        return [sys.executable, "-IS", str(PROGRAM), *words, *self.libraries]

    def settle(self, raw: bytes) -> None:
        """Have each process from now on make the same calls as the one before.

        What a request loads late is loaded and compiled here, and the program is copied: a source that somebody edits
        meanwhile would have calls counted anew.

        Args:
            raw: the request.
        """
        self.serve(raw)
        self.restore()
        self.upstream.asked = 0
        place = self.root / "program"
        for package in (Path(pullpass.__file__).parent, PROGRAM.parent):
            shutil.copytree(package, place / package.name)
        ours = {str(Path(pullpass.__file__).parents[1]), str(PROGRAM.parents[1])}
        self.libraries = [str(place), *(library for library in LIBRARIES if library not in ours)]

    def keep(self) -> None:
        """Remember both directories as they are."""
        self._copy(self.root, self.root / "kept")

    def restore(self) -> None:
        """Put both directories back as they were kept."""
        self._copy(self.root / "kept", self.root)

    @staticmethod
    def _copy(source: Path, target: Path) -> None:
        for name in ("state", "run"):
            shutil.rmtree(target / name, ignore_errors=True)
            if (source / name).exists():
                shutil.copytree(source / name, target / name, symlinks=True)


def request(image: str = f"{HOST}/team-a/app", token: str | None = TOKEN) -> bytes:
    """A request of team-a/web."""
    return make_request(token, image)
