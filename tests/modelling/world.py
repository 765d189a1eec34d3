"""Directories, a clock, a cloud and orders: where modelled requests are served, and what happens to their files."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from factories import make_request
from modelling.asking import Settings, configuration
from modelling.cloud import FakeCloud, Need
from modelling.laws import kubelet_hash, seconds
from pullpass import pipeline, trail
from pullpass.approvals import order_form, order_store
from pullpass.approvals.order_changes import Desk
from pullpass.cache import disk
from support import FakeClock

if TYPE_CHECKING:
    from modelling.asking import Ask
    from pullpass.approvals.orders import Order

# What is in the cache for a need.
GOOD, ABSENT, DAMAGED, FOREIGN = "good", "absent", "damaged", "foreign"


class Outcome(NamedTuple):
    """What came of one request.

    Attributes:
        ask: the request.
        settings: of the configuration that was in use.
        now_s: the clock when the answer was there.
        calls: how many exchanges it began.
        status: its exit status.
        code: of the refusal, or "".
        password: that was handed out, or "".
        cache_s: how long the kubelet may keep the answer; -1 for a refusal.
        lines: the trail's lines of this run.
        approval: the document in the approval's file; None when there is none that can be read, or none is needed.
    """

    ask: Ask
    settings: Settings
    now_s: float
    calls: int
    status: int
    code: str
    password: str
    cache_s: int
    lines: list[dict[str, Any]]
    approval: dict[str, Any] | None

    @property
    def line(self) -> dict[str, Any]:
        """The line about the answer."""
        return self.lines[-1]


class WholeClock(FakeClock):
    """A clock that shows whole microseconds, as files do: between two of its moments real time would have passed."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return round(super().now_s(), 6)


class World:
    """One node. Use it in a `with` statement, which removes its files."""

    def __init__(self) -> None:
        # Not below /run or a tmpfs: what is synced there proves nothing, but neither does it here.
        self._home = tempfile.TemporaryDirectory(prefix="pullpass-model-")
        self.state, self.runtime = (os.path.join(self._home.name, name) for name in ("state", "run"))
        self.clock = WholeClock()
        self.orders: dict[str, Order] = {}
        self.cloud = FakeCloud(self.revalidating)
        self.keys: dict[Need, str] = {}
        self.cloud.notify = self._learn
        self.trail = TrailReader(os.path.join(self.state, "audit"))
        self.settings = Settings()
        self.configure(self.settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._home.cleanup()

    def configure(self, settings: Settings) -> None:
        """Use another configuration from now on."""
        self.settings = settings
        self.config = configuration(settings, self.state, self.runtime)
        self.cloud.cluster = settings.cluster

    def _learn(self, verdict: Any) -> None:
        known = self.keys.setdefault(verdict.need, verdict.key)
        assert known == verdict.key, "two keys for one need"
        assert list(self.keys.values()).count(known) == 1, "one key for two needs"

    def learn_from_intents(self, need: Need) -> None:
        """The key of a need whose first exchange a crash may have prevented: that of the intent nobody knows."""
        place = f"{self.runtime}/intents"
        unknown = set(os.listdir(place) if os.path.isdir(place) else ()) - set(self.keys.values())
        assert len(unknown) <= 1
        if unknown:
            self.keys[need] = unknown.pop()

    # --- requests

    def serve(self, ask: Ask, clock: Any = None) -> tuple[pipeline.Answer, int]:
        """Serve a request; the answer, and how many exchanges were begun."""
        before = self.cloud.begun
        deps = pipeline.Deps(lambda: self.config, clock or self.clock, self.cloud.load)
        answer = pipeline.serve(make_request(ask.token or None, ask.image), deps)
        return answer, self.cloud.begun - before

    def ask(self, ask: Ask, need: Need | None) -> Outcome:
        """Serve a request and collect everything that came of it."""
        answer, calls = self.serve(ask)
        return self.outcome(ask, need, answer, calls)

    def outcome(self, ask: Ask, need: Need | None, answer: pipeline.Answer, calls: int) -> Outcome:
        """What came of a request that was answered just now."""
        code, password, cache_s = "", "", -1
        if answer.status:
            assert answer.stdout == b""
            assert answer.stderr.count(b"\n") == 1
            code = answer.stderr.decode().split(": ")[1]
        else:
            assert answer.stderr == b""
            response = json.loads(answer.stdout)
            assert response["cacheKeyType"] == "Image"
            cache_s = int(response["cacheDuration"].removesuffix("s"))
            auth = response.get("auth") or {}
            assert set(auth) <= {ask.image}
            password = auth[ask.image]["password"] if auth else ""
        return Outcome(
            ask,
            self.settings,
            self.clock.now_s(),
            calls,
            answer.status,
            code,
            password,
            cache_s,
            self.trail.new(),
            self.approval(need) if need else None,
        )

    # --- files

    def approval_path(self, need: Need) -> str:
        """The file of an approval; of a need that was never sent, one that is not there."""
        return f"{self.state}/approvals/{self.keys.get(need, 'unknown')}.json"

    def cache_path(self, need: Need) -> str:
        """The file of a cache entry."""
        return f"{self.runtime}/cache/{self.keys.get(need, 'unknown')}"

    def intent_is_left(self, need: Need) -> bool:
        """Whether there is an intent although nobody is at work."""
        path = f"{self.runtime}/intents/{self.keys.get(need, 'unknown')}"
        return os.path.exists(path) and os.path.getsize(path) > 0

    def approval(self, need: Need) -> dict[str, Any] | None:
        """The document of an approval; None when there is none that can be read."""
        try:
            with open(self.approval_path(need), "rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o022:
                    return None
                document: dict[str, Any] = json.load(file)
        except (FileNotFoundError, ValueError):
            return None
        return document if document.get("id") == self.keys[need] else None

    def peek(self, need: Need) -> str:
        """What a look at the cache would find: for after a crash, when nobody knows what was written last."""
        document = self.approval(need)
        if not os.path.exists(self.cache_path(need)):
            return ABSENT
        try:
            sent_s = seconds(document["lastValidated"]) if document else None
            found = disk.get(self.runtime, self.keys[need], sent_s or 0.0)
        except disk.DamagedError as error:
            return FOREIGN if error.foreign else DAMAGED
        is_it = document and found and kubelet_hash(found.secret.reveal()) == document["credentialHash"]
        return GOOD if is_it else DAMAGED

    def secrets_in_files(self, secrets: list[bytes]) -> list[str]:
        """The files in which one of these stands."""
        found = []
        for directory, _, names in os.walk(self._home.name):
            for name in names:
                with open(os.path.join(directory, name), "rb") as file:
                    data = file.read()
                found += [name for secret in secrets if secret in data]
        return found

    def lose_runtime(self) -> None:
        """What a reboot does to a tmpfs."""
        shutil.rmtree(self.runtime, ignore_errors=True)

    def jump(self, duration_s: float) -> None:
        """Set the clock forward or back, without time passing."""
        self.clock._now_s += duration_s

    # --- orders

    def revalidating(self, now_s: float) -> tuple[str, ...]:
        """Ids of the `revalidate` orders in force."""
        return tuple(sorted(order.id for order in self.in_force(now_s) if order.action == "revalidate"))

    def in_force(self, now_s: float) -> list[Order]:
        """The orders in force at a moment."""
        return [
            order
            for order in self.orders.values()
            if (order.not_before_s or 0.0) <= now_s and (order.expires_s is None or now_s < order.expires_s)
        ]

    def give(self, document: dict[str, Any]) -> None:
        """Put an order in force, as the command does."""
        order, is_new = order_store.create(self._desk(), order_form.decode(document))
        assert is_new
        self.orders[order.id] = order

    def lift(self, order_id: str) -> None:
        """Lift an order, as the command does."""
        order_store.lift(self._desk(), [order_id])
        del self.orders[order_id]

    def _desk(self) -> Desk:
        def write(bodies: list[dict[str, object]]) -> None:
            trail.append(self.state, bodies, self.clock, wait_s=1.0, sync=False, keep_s=self.config.audit.keep_s)
            assert [line["event"] for line in self.trail.new()] == ["order"]

        return Desk(self.state, self.settings.cluster, "alice", self.clock, write)


class TrailReader:
    """Reads what was appended to the trail, and follows the chain while it does."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._places: dict[str, int] = {}
        self._seq, self._hash = 0, "0" * 64

    @property
    def count(self) -> int:
        """How many lines were read."""
        return self._seq

    def new(self) -> list[dict[str, Any]]:
        """The lines since the last call."""
        found: list[dict[str, Any]] = []
        names = sorted(os.listdir(self._directory)) if os.path.isdir(self._directory) else []
        for name in names:
            if not name.endswith(".jsonl"):
                continue
            with open(os.path.join(self._directory, name), "rb") as file:
                file.seek(self._places.get(name, 0))
                data = file.read()
            self._places[name] = self._places.get(name, 0) + len(data)
            *lines, rest = data.split(b"\n")
            assert rest == b"", "a half line"
            found += [self._follow(line) for line in lines]
        return found

    def _follow(self, raw: bytes) -> dict[str, Any]:
        line: dict[str, Any] = json.loads(raw)
        assert (line["seq"], line["prev"]) == (self._seq + 1, self._hash)
        self._seq, self._hash = line["seq"], hashlib.sha256(raw).hexdigest()
        return line
