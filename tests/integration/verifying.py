"""A machine that runs `scripts/verify-cloud`, and the local cloud behind the clouds' real names."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cloud import ACCOUNT, AUDIENCE, role_arn
from cloud.gcp.world import GOOGLE_AUDIENCE, PULL_ACCOUNT, provider_name
from pullpass import exchange
from pullpass.clock import SystemClock
from verify import inputs
from verify.__main__ import parser, run
from verify.names import NetworkProbe
from verify.obtaining import World

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud
    from verify.names import Probe

ROOT = Path(__file__).resolve().parents[2]
HOST = f"{ACCOUNT}.dkr.ecr.us-west-2.amazonaws.com"
AWS_IMAGES = (f"{HOST}/team-a/app:v1", f"{HOST}/team-a/other:v1")
GOOGLE_IMAGES = ("europe-docker.pkg.dev/proj/team-b/web:v1", "gcr.io/proj/app:v1")


class TravellingClock(SystemClock):
    """The machine's clock, for which a wait is over at once; cluster and cloud go by it too."""

    def __init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Be here again, and expect nothing."""
        self.ahead_s = 0.0
        self.arrived: Callable[[], object] = lambda: None

    def now_s(self) -> float:
        """Seconds since the epoch, with all waits."""
        return super().now_s() + self.ahead_s

    def sleep(self, duration_s: float) -> None:
        """Be there."""
        self.ahead_s += duration_s
        self.arrived()


class Place:
    """A local cloud behind the clouds' own names, and a machine in front of it."""

    def __init__(self, cloud: Cloud, clock: TravellingClock, directory: Path) -> None:
        self.cloud = cloud
        self.clock = clock
        self.directory = directory
        self.told: list[str] = []
        # Done when the line of progress that begins so is told.
        self.after: dict[str, Callable[[], object]] = {}
        self.config = directory / "config.toml"
        self.write_config()
        self.probe: Probe = NetworkProbe(clock, cloud.endpoints.ca_file)

    def write_config(self, **replaced: str) -> None:
        """A configuration for both clouds, with the endpoints left to their names; some text of it replaced."""
        text = f"""\
version = 1
[node]
cluster = "prod-1"
issuers = ["{self.cloud.issuer}"]
ca_bundle = "{self.cloud.endpoints.ca_file}"
[ecr]
audience = "{AUDIENCE}"
[gcr]
audience = "{GOOGLE_AUDIENCE}"
provider = "{provider_name()}"
[[grant]]
service_accounts = ["team-a/*"]
images = ["{HOST}/**"]
identity = "{role_arn("pull-{namespace}")}"
[[grant]]
service_accounts = ["team-b/*"]
images = ["europe-docker.pkg.dev/proj/**", "gcr.io/proj/**"]
identity = "{PULL_ACCOUNT}"
"""
        for old, new in replaced.items():
            assert old in text
            text = text.replace(old, new)
        self.config.write_text(text, encoding="utf-8")
        self.config.chmod(0o600)

    def token(self, **options: Any) -> str:
        """The path of a file with a token; `options` are those of `Cloud.mint_token`."""
        path = self.directory / "token"
        path.write_text(f"{self.cloud.mint_token(**options)}\n", encoding="ascii")
        return str(path)

    def aws(self, *options: str, images: tuple[str, str] = AWS_IMAGES, **token: Any) -> dict[str, Any]:
        """Try AWS."""
        return self.run("aws", self.token(**token), images, options)

    def google(
        self, *options: str, images: tuple[str, str] = GOOGLE_IMAGES, life_s: int = 1200, **token: Any
    ) -> dict[str, Any]:
        """Try Google, with a token that has 20 minutes left."""
        chosen = {"namespace": "team-b", "audience": GOOGLE_AUDIENCE, "lifetime_s": life_s} | token
        return self.run("google", self.token(**chosen), images, options)

    def tell(self, line: str) -> None:
        """Take a line of progress."""
        self.told.append(line)
        self.after.get(line.partition(":")[0], lambda: None)()

    def run(self, cloud: str, token: str, images: tuple[str, str], options: tuple[str, ...]) -> dict[str, Any]:
        """Try what a command line says, and look for secrets in what came."""
        line = [cloud, "--token-file", token, "--image", images[0], "--image", images[1], *options]
        if "--role" not in options and "--provider" not in options:
            line += ["--config", str(self.config)]
        case = inputs.read(parser().parse_args(line))
        # What is put together from options trusts the system's certificates.
        node = case.config.node._replace(ca_bundle=self.cloud.endpoints.ca_file)
        case = case._replace(config=case.config._replace(node=node))
        document = run(case, World(self.clock, exchange.load, self.probe, self.tell))
        told = json.dumps(document) + "\n".join(self.told)
        for secret in secrets(self.cloud, case.token.reveal()):
            assert secret not in told
        for name in (ACCOUNT, "team-a", "team-b", PULL_ACCOUNT, "pull-team"):
            assert name not in "\n".join(document["summary"])
        return document


def secrets(cloud: Cloud, token: str) -> list[str]:
    """The token and its signature, and everything that the clouds have given out."""
    found = [token, token.rpartition(".")[2], *cloud.world.passwords, *cloud.google.tokens]
    for session in cloud.world.sessions.values():
        found += [session.secret_key, session.token]
    return found


def verdicts(document: dict[str, Any]) -> dict[str, str]:
    """The verdict of each claim."""
    return {point["name"]: point["verdict"] for point in document["points"]}


def brief(document: dict[str, Any], name: str) -> str:
    """What was seen of a claim, with durations in whole minutes: no machine is exact to the second."""

    def minutes(match: re.Match[str]) -> str:
        hours, minutes, seconds = (int(part or 0) for part in match.groups())
        return f"{round(hours * 60 + minutes + seconds / 60)}m"

    return re.sub(r"(?:(\d+)h )?(\d+)m(?: (\d+)s)?", minutes, point(document, name)["brief"])


def point(document: dict[str, Any], name: str) -> dict[str, Any]:
    """One claim with all that was found."""
    (found,) = [each for each in document["points"] if each["name"] == name]
    return found  # type: ignore[no-any-return]
