"""The stage: a cloud in a process of its own, an installed node, and the requests that its pods make."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, NamedTuple, Self, cast

from cloud import AUDIENCE, Cloud, Endpoints
from cloud.gcp.world import GOOGLE_AUDIENCE
from cloud.remote import Remote
from factories import HOST, make_request
from integration.flows import GOOGLE_HOST
from integration.launchers import install, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator

ACCOUNTS = 12
TOKENS = 2  # of each account
# Short lives, so that a minute sees approvals expire, rotate and be pruned; not so short that a machine of two cores
# has nothing but exchanges to do, each of which loads an SDK.
SETTINGS = f"""
[approval]
max_age = "20s"
recheck = "1s"
margin = "1s"
min_life = "1s"
outage = "6s"
denied_for = "10s"
[[grant]]
service_accounts = ["team-a/*"]
images = ["{HOST}/team-a/**"]
identity = "arn:aws:iam::111122223333:role/pull-{{namespace}}"
[[grant]]
name = "the cloud knows no such role"
service_accounts = ["team-c/*"]
images = ["{HOST}/team-c/**"]
identity = "arn:aws:iam::111122223333:role/pull-{{namespace}}"
[[grant]]
service_accounts = ["team-b/*"]
images = ["{GOOGLE_HOST}/proj/team-b/**"]
identity = "principal"
[[grant]]
service_accounts = ["*/*"]
images = ["gcr.io/distroless/**"]
identity = "anonymous"
"""


class Ask(NamedTuple):
    """One request that is made over and over.

    Attributes:
        kind: `ecr`, `google`, `anonymous`, `refused` (by policy), `denied` (by the cloud) or `garbage`.
        account: NAMESPACE/NAME; "" of garbage.
        number: of the account, or -1: which are asked for moves on with the time.
        image: HOST/REPOSITORY.
        path: the file with the request.
    """

    kind: str
    account: str
    number: int
    image: str
    path: Path

    @property
    def label(self) -> str:
        """Who asks for what."""
        return f"{self.kind}: {self.account} {self.image}"


class Stage:
    """A node whose state directory is `directory`/state. Use as a context manager."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cloud = Remote.start(directory / "cloud")
        endpoints = SimpleNamespace(endpoints=Endpoints(**self.cloud.endpoints))
        # Only the endpoints are looked at, and those of a cloud elsewhere are the same.
        self.config = write_config(directory, cast("Cloud", endpoints), gcr="", grants=SETTINGS)
        self.launcher = install(directory, self.config)
        self.state, self.runtime = directory / "state", directory / "run"
        self.asks = list(self._asks())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cloud.stop()

    def pullpass(self, *words: str) -> subprocess.Popen[bytes]:
        """Start a command of the people's command line."""
        command = [sys.executable, "-P", "-m", "pullpass", *words, "--config", str(self.config)]
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def weight(self) -> tuple[int, int]:
        """The cloud's resident memory in bytes, and how many files it has open."""
        process = Path("/proc") / str(self.cloud.process.pid)
        pages = int((process / "statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(process / "fd"))

    def _asks(self) -> Iterator[Ask]:
        kinds = (
            ("ecr", "team-a", AUDIENCE, (f"{HOST}/team-a/app", f"{HOST}/team-a/other")),
            ("google", "team-b", GOOGLE_AUDIENCE, tuple(f"{GOOGLE_HOST}/proj/team-b/{name}" for name in "xyz")),
            ("denied", "team-c", AUDIENCE, (f"{HOST}/team-c/app",)),
            ("refused", "team-a", AUDIENCE, (f"{HOST}/team-b/app",)),
            ("anonymous", "team-b", GOOGLE_AUDIENCE, ("gcr.io/distroless/static",)),
        )
        for kind, namespace, audience, images in kinds:
            for number in range(ACCOUNTS):
                for _ in range(TOKENS):
                    name = f"web-{number}"
                    token = self.cloud.call("mint_token", namespace=namespace, service_account=name, audience=audience)
                    for image in images:
                        path = self._written(make_request(token, image))
                        yield Ask(kind, f"{namespace}/{name}", number, image, path)
        yield Ask("garbage", "", -1, "", self._written(b'{"kind":'))

    def _written(self, raw: bytes) -> Path:
        place = self.directory / "requests"
        place.mkdir(exist_ok=True)
        path = place / str(len(list(place.iterdir())))
        path.write_bytes(raw)
        return path
