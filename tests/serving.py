"""Requests served in this process: the whole pipeline with real files, a clock that tests own, and a made-up cloud."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from factories import IMAGE, make_config, make_paths, make_request
from pullpass import pipeline
from pullpass.exchange import Credential
from pullpass.secret import Secret
from support import FakeClock, make_claims, make_token

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pullpass.clock import Clock, Deadline
    from pullpass.config import Config, Grant
    from pullpass.exchange import Plan

HOUR_S = 3600.0


class FakeCloud:
    """An exchanger that remembers what it was asked and answers as it was told.

    Attributes:
        life_s: how long its passwords live.
        session_s: how long the session behind them.
        takes_s: how long an exchange takes.
        failure: raised instead of an answer.
        password: the first one; later ones have a number.
        during: called once within the next exchange.
        asked: kind, plan, token and what was left of the deadline, for each exchange.
    """

    def __init__(self, life_s: float = 12 * HOUR_S, session_s: float = HOUR_S, takes_s: float = 0.0) -> None:
        self.life_s, self.session_s, self.takes_s = life_s, session_s, takes_s
        self.failure: Exception | None = None
        self.password = "pass word"
        self.during: list[Callable[[], object]] = []
        self.asked: list[tuple[str, Plan, str, float]] = []

    def load(self, kind: str) -> Callable[..., Credential]:
        """As `exchange.load`."""

        def exchange(plan: Plan, token: Secret | None, deadline: Deadline, clock: Clock) -> Credential:
            self.asked.append((kind, plan, token.reveal() if token else "", deadline.remaining_s()))
            count = len(self.asked)
            now_s = clock.now_s()
            clock.sleep(self.takes_s)
            if self.during:
                self.during.pop(0)()
            if self.failure:
                raise self.failure
            password = self.password if count == 1 else f"{self.password} {count}"
            ends_s = (now_s + self.life_s, now_s + self.session_s)
            return Credential("AWS", Secret(password), *ends_s, "arn", "A", (f"request-{count}",))

        return exchange


class Run:
    """One node: configuration, clock, cloud, and directories of its own, to serve requests with."""

    def __init__(self, directory: Path, *grants: Grant, cloud: FakeCloud | None = None, **fields: Any) -> None:
        self.clock = FakeClock()
        self.cloud = cloud or FakeCloud()
        self.config: Config = make_config(*grants, **{"paths": make_paths(directory), **fields})
        self.state, self.runtime = directory / "state", directory / "runtime"
        self._seen = 0

    def set(self, **approval: float) -> None:
        """Change `[approval]`."""
        self.config = self.config._replace(approval=self.config.approval._replace(**approval))

    @property
    def deps(self) -> pipeline.Deps:
        """What a run needs."""
        return pipeline.Deps(lambda: self.config, self.clock, self.cloud.load)

    def serve(self, raw: bytes) -> pipeline.Answer:
        """Serve one request."""
        return pipeline.serve(raw, self.deps)

    def answer(self, raw: bytes) -> dict[str, Any]:
        """The response to a request that is answered."""
        answer = self.serve(raw)
        assert (answer.status, answer.stderr) == (0, b"")
        document: dict[str, Any] = json.loads(answer.stdout)
        return document

    def password(self, raw: bytes, image: str = IMAGE) -> str:
        """The password in the response to a request that is answered with one."""
        return str(self.answer(raw)["auth"][image]["password"])

    def refusal(self, raw: bytes) -> str:
        """The code of the refusal of a request."""
        answer = self.serve(raw)
        assert (answer.status != 0, answer.stdout) == (True, b"")
        program, code, _ = answer.stderr.decode().split(":", 2)
        assert program == "pullpass"
        return code.strip()

    def request(self, image: str = IMAGE, life_s: float = HOUR_S) -> bytes:
        """A request of team-a/web with a token that was issued now, when the clock says."""
        return make_request(make_token(make_claims(now_s=self.clock.now_s(), life_s=life_s)), image)

    # --- what is on disk

    def lines(self) -> list[dict[str, Any]]:
        """The lines of the trail since the last call; each must be JSON."""
        names = sorted((self.state / "audit").glob("*.jsonl"))
        every = [json.loads(line) for name in names for line in name.read_bytes().splitlines()]
        new, self._seen = every[self._seen :], len(every)
        return new

    def events(self) -> list[tuple[str, str]]:
        """Event and code, or source, of each line since the last call."""
        return [(line["event"], line.get("code", line.get("source", ""))) for line in self.lines()]

    @property
    def approval_path(self) -> Path:
        """The only approval's file."""
        [path] = (self.state / "approvals").glob("*.json")
        return path

    @property
    def approval(self) -> dict[str, Any]:
        """The only approval."""
        document: dict[str, Any] = json.loads(self.approval_path.read_bytes())
        return document

    @property
    def cache_path(self) -> Path:
        """The cache entry of the only approval."""
        return self.runtime / "cache" / self.approval_path.stem

    def edit(self, **members: Any) -> None:
        """Change members of the only approval's file."""
        self.approval_path.write_text(json.dumps(self.approval | members))
