"""Credentials, by the code that ships: each is the answer to a request such as the kubelet's, up to its rendering."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from pullpass import pipeline, renewal, request
from pullpass.clock import Deadline
from pullpass.errors import PullpassError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock
    from pullpass.config import Config
    from pullpass.exchange import Credential, Exchanger, Plan
    from pullpass.secret import Secret
    from verify.inputs import Image
    from verify.names import Probe

# A clock is allowed to be wrong by this much, in both directions together, before a difference counts.
TOLERANCE_S = 90
STEP_S = 30.0


class World(NamedTuple):
    """What a run needs from outside.

    Attributes:
        clock: the run's clock; it also does the waiting.
        load: resolves the kind of a plan to what exchanges it.
        probe: whether a host of this name answers over TLS.
        tell: shows a line of progress.
    """

    clock: Clock
    load: Callable[[str], Exchanger]
    probe: Probe
    tell: Callable[[str], None]


class Obtained(NamedTuple):
    """A credential with what it was asked for by.

    Attributes:
        name: what it is called in the report.
        credential: what came.
        plan: what was sent.
        asked_s: when, seconds since the epoch.
    """

    name: str
    credential: Credential
    plan: Plan
    asked_s: float

    @property
    def life_s(self) -> float:
        """How long the password is good for by what the cloud said, from when it was asked for."""
        return self.credential.registry_expires_s - self.asked_s


class Obtainer:
    """Asks for credentials with one token."""

    def __init__(self, token: Secret, world: World, secrets: list[Secret]) -> None:
        """Prepare; nothing is asked yet.

        Args:
            token: the service-account token.
            world: the clock and the exchangers.
            secrets: all that must not be shown; every password is added.
        """
        self._token = token
        self._world = world
        self._secrets = secrets

    def credential(self, name: str, image: Image, config: Config) -> Obtained:
        """A fresh credential for an image, as `pipeline.serve` gets one.

        Args:
            name: what it is called in the report.
            image: what is to be pulled.
            config: the configuration to follow.

        Raises:
            PullpassError: it could not be had.
        """
        clock = self._world.clock
        deps = pipeline.Deps(lambda: config, clock, self._world.load)
        found = pipeline.Found()
        document = {
            "kind": request.REQUEST_KIND,
            "apiVersion": request.API_VERSION,
            "image": image.target.image,
            "serviceAccountToken": self._token.reveal(),
        }
        pipeline.decide(json.dumps(document).encode(), deps, found)
        if found.plan is None:
            raise PullpassError("internal", "nothing would be exchanged")
        renewal.verify(found.case, deps)
        asked_s = clock.now_s()
        deadline = Deadline(clock, config.node.deadline_s)
        credential = deps.load(found.plan.kind)(found.plan, self._token, deadline, clock)
        self._secrets.append(credential.secret)
        return Obtained(name, credential, found.plan, asked_s)


def wait_until(moment_s: float, what: str, world: World) -> None:
    """Wait for a moment by the wall clock, which goes on while a laptop sleeps.

    Args:
        moment_s: seconds since the epoch.
        what: what is waited for.
        world: whose clock waits, and who is told.
    """
    left_s = moment_s - world.clock.now_s()
    if left_s > 0:
        world.tell(f"waiting {duration(left_s)} for {what}")
    while left_s > 0:
        world.clock.sleep(min(left_s, STEP_S))
        left_s = moment_s - world.clock.now_s()


def duration(seconds: float) -> str:
    """A duration for people: `12h 0m`, `15m 3s`, `40s`."""
    if round(seconds) >= 3600:
        return "{}h {}m".format(*divmod(round(seconds / 60), 60))
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"
