"""`Cloud`: the whole local cloud as one object."""

from __future__ import annotations

import shutil
import ssl
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cloud import control, knobs
from cloud import world as contents
from cloud.accounts import Accounts
from cloud.answers import Answer, Lost, Refused, Service
from cloud.clusters import Clusters
from cloud.container import ContainerCredentials
from cloud.ecr import Ecr
from cloud.ecr_public import EcrPublic, PublicRegistry
from cloud.faults import Delivery, Faults, changed
from cloud.gcp.credentials import IamCredentials
from cloud.gcp.metadata import Metadata
from cloud.gcp.project import Google
from cloud.gcp.registry import ArtifactRegistry
from cloud.gcp.sts import GoogleSts
from cloud.gcp.world import GoogleWorld
from cloud.imds import Imds
from cloud.issuer import IssuerService
from cloud.jwks import KeySets
from cloud.node import Node
from cloud.places import place
from cloud.records import Journal, Request
from cloud.registry import Registry
from cloud.server import DEAD_ENDS, House
from cloud.sts import Sts
from cloud.tls import MODES, Authority

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from cloud.world import World


class Endpoints(NamedTuple):
    """Where everything is. URLs have no trailing slash; those of registries are HOST:PORT."""

    issuer: str
    sts: str
    sts_tls: str
    ecr: str
    ecr_tls: str
    registry: str
    registry_tls: str
    proxy: str
    elsewhere: str
    elsewhere_tls: str
    control: str
    ca_file: str
    gsts: str
    gsts_tls: str
    iamcredentials: str
    iamcredentials_tls: str
    artifact: str
    artifact_tls: str
    ecr_public: str
    ecr_public_tls: str
    public: str
    public_tls: str
    imds: str
    container: str
    gmetadata: str


class Cloud(Clusters, Accounts, Google):
    """One local cloud. Use as a context manager, or `start` and `stop`."""

    def __init__(self, state_dir: str | Path | None = None, now: Callable[[], float] = time.time) -> None:
        """Make a cloud; nothing listens before `start`.

        Args:
            state_dir: where the CA's certificate and the TLS keys go; a temporary directory when not given.
            now: the clock of cluster and cloud, seconds since the epoch; `skew_s` is added for the cloud.
        """
        self._own_dir = state_dir is None
        self.state_dir = Path(tempfile.mkdtemp(prefix="cloud-")) if state_dir is None else Path(state_dir)
        self.state_dir.mkdir(parents=True, exist_ok=True)
        self.skew_s = 0.0
        # Set when those whom no answer reaches are let go.
        self._unheard = threading.Event()
        self.journal = Journal()
        self.authority = Authority(self.state_dir)
        self._house = House(self.journal, self.authority, self._serve, self.now)
        self._doors = {
            "http": self._house.door("cloud"),
            "https": self._house.door("cloud", tls=True),
            "artifact": self._house.door("artifact"),
            "artifact_tls": self._house.door("artifact", tls=True),
            "public": self._house.door("public"),
            "public_tls": self._house.door("public", tls=True),
            "proxy": self._house.door("proxy"),
            "elsewhere": self._house.door("elsewhere"),
            "elsewhere_tls": self._house.door("elsewhere", tls=True),
            "control": self._house.door("control"),
        }
        super().__init__(f"https://127.0.0.1:{self._doors['https'].port}", now)
        self._furnish()

    def _furnish(self) -> None:
        """Make services over a new default world."""
        self.world: World = contents.World()
        self.restore_issuers()
        self.world.furnish(self.issuer)
        self.google = GoogleWorld()
        self.google.furnish(self.issuer)
        self.keys = KeySets(self._client_context)
        self.google_keys = KeySets(self._client_context)
        self.default_registry = (contents.ACCOUNT, contents.REGION)
        self.sts = Sts(self.world, self.keys, self.now)
        self.ecr = Ecr(self.world, self.now)
        self.ecr_public = EcrPublic(self.world, self.now)
        self.registry = Registry(self.world, self.now)
        self.node = Node(self.world, self.now, contents.role_arn(contents.NODE_ROLE), contents.REGION)
        self.imds = Imds(self.node, self.now)
        self.gsts = GoogleSts(self.google, self.google_keys, self.now)
        self.artifact = ArtifactRegistry(self.google, self.now)
        self.gmetadata = Metadata(self.google, self.now)
        # The order counts on the bare ports, where no host's name says who is meant: the narrower first.
        self.services: list[Service] = [
            self.artifact,
            PublicRegistry(self.world, self.now),
            ContainerCredentials(self.node, self.issuers, self.now),
            self.registry,
            IssuerService(self.issuers),
            self.imds,
            self.gmetadata,
            self.gsts,
            IamCredentials(self.google, self.now),
            self.ecr,
            self.ecr_public,
            self.sts,
        ]
        self.faults = Faults(self.services, self._elsewhere)

    # --- running

    def start(self) -> Cloud:
        """Serve from now on."""
        self._house.open()
        return self

    def stop(self) -> None:
        """Stop serving, at once, whatever hangs; a second time it does nothing.

        Raises:
            RuntimeError: the cloud itself had a defect while it served.
        """
        if self._house.stopping.is_set():
            return
        self._house.stopping.set()
        self._unheard.set()
        self.faults.clear()
        self._house.close()
        if self._own_dir:
            shutil.rmtree(self.state_dir, ignore_errors=True)
        if self._house.defects:
            raise RuntimeError("the local cloud failed:\n" + "\n".join(self._house.defects))

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def now(self) -> float:
        """The cloud's time: the clock's, plus the skew."""
        return self._now() + self.skew_s

    @property
    def endpoints(self) -> Endpoints:
        """Where everything is."""
        at = {name: f"127.0.0.1:{door.port}" for name, door in self._doors.items()}
        plain, tls = f"http://{at['http']}", f"https://{at['https']}"
        return Endpoints(
            self.issuer, plain, tls, plain, tls, at["http"], at["https"], f"http://{at['proxy']}",
            f"http://{at['elsewhere']}", f"https://{at['elsewhere_tls']}", f"http://{at['control']}",
            str(self.authority.ca_file), plain, tls, plain, tls, at["artifact"], at["artifact_tls"], plain, tls,
            at["public"], at["public_tls"], plain, plain, plain,
        )  # fmt: skip

    def _elsewhere(self, tls: bool) -> str:
        return self.endpoints.elsewhere_tls if tls else self.endpoints.elsewhere

    def _client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.authority.ca_file))

    # --- serving

    def _serve(self, request: Request) -> tuple[Answer, Delivery]:
        if request.site == "control":
            return control.answer(self, request), Delivery()
        known = place(request, self.world, self.google, self.default_registry)
        if request.site == "elsewhere" or not known:
            request.service, request.operation = "elsewhere", request.method
            self.journal.add(request)
            return Answer(200, b"", {"Content-Type": "text/plain"}), Delivery()
        for service in self.services:
            operation = service.operation(request) if service.name in (request.named or (service.name,)) else None
            if operation is not None:
                request.service, request.operation = service.name, operation
                self.journal.add(request)
                return self._answer(service, request)
        self.journal.add(request)
        return Answer(404, b"not a service of this cloud\n", {"Content-Type": "text/plain"}, "unknown"), Delivery()

    def _answer(self, service: Service, request: Request) -> tuple[Answer, Delivery]:
        struck = self.faults.strike(service, request)
        answer = struck.instead
        if answer is None:
            try:
                answer = service.answer(request)
            except Refused as refused:
                status, message = service.errors.get(refused.code, (400, ""))
                answer = service.refusal(request, refused.code, status, refused.message or message)
            except Lost:
                struck.delivery.waits.append((self._unheard, None))
                struck.delivery.before = "cut"
                answer = Answer(504, b"")
        for fault in struck.changes:
            answer = changed(service.name, answer, fault, self.now())
        return answer, struck.delivery

    def forget_keys(self) -> None:
        """Have both clouds fetch issuers' keys anew."""
        self.keys.forget()
        self.google_keys.forget()

    # --- faults and records

    def fault(self, where: str, kind: str, times: int | None = 1, **options: Any) -> None:
        """Make something go wrong: see `cloud.faults` for the kinds and their options.

        Args:
            where: `*`, a service (`sts`), or an operation (`sts.AssumeRoleWithWebIdentity`).
            kind: what goes wrong.
            times: how often; None for until it is cleared.
            options: of the kind.
        """
        if where == "*" or where.startswith("issuer"):
            self.forget_keys()
        self.faults.add(where, kind, times, options)

    def clear(self, where: str | None = None) -> None:
        """Remove the faults that were set for `where`, or all; what hangs on them goes on."""
        self.faults.clear(where)

    def requests(self, where: str = "*") -> list[Request]:
        """The requests that came, oldest first."""
        return self.journal.select(where)

    def last(self, where: str = "*") -> Request:
        """The newest request.

        Raises:
            LookupError: there was none.
        """
        found = self.journal.select(where)
        if not found:
            raise LookupError(f"no request of {where}; there were {self.counts()}")
        return found[-1]

    def count(self, where: str = "*") -> int:
        """How many requests came."""
        return len(self.journal.select(where))

    def counts(self) -> dict[str, int]:
        """How many requests of each `service.operation` came."""
        return self.journal.counts()

    def wait_for(self, where: str, count: int = 1, timeout_s: float = 10.0) -> list[Request]:
        """Wait until that many requests have come (answered or not).

        Raises:
            TimeoutError: they did not.
        """
        return self.journal.wait_for(where, count, timeout_s)

    def reset(self) -> None:
        """The default world again: no faults, no records, no skew, good certificates, no rotated keys."""
        self._unheard.set()
        self._unheard = threading.Event()
        self.faults.clear()
        self.journal.clear()
        self.skew_s = 0.0
        self.authority.mode = "good"
        self._furnish()

    # --- what is what

    def configure(self, **settings: Any) -> None:
        """Turn knobs, by name: see `cloud.knobs`.

        Raises:
            ValueError: there is no such knob.
        """
        for name, value in settings.items():
            knobs.turn(self, name, value)

    def dead_end(self, kind: str) -> str:
        """HOST:PORT where nothing is: `refused`, `silent` (accepts, never a byte), `black-hole` (no SYN-ACK)."""
        if kind not in DEAD_ENDS:
            raise ValueError(f"{kind!r} is none of {DEAD_ENDS}")
        return self._house.dead_end(kind)

    def certificates(self, mode: str) -> None:
        """Show `good`, `expired`, `wrong-name` or `unknown-ca` certificates from now on."""
        if mode not in MODES:
            raise ValueError(f"{mode!r} is none of {MODES}")
        self.authority.mode = mode
