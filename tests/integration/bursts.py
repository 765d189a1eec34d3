"""Bursts of pods, and what they cost: the same for the tests, which hold the counts, and `scripts/bench counts`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from cloud import AUDIENCE
from cloud.gcp.world import GOOGLE_AUDIENCE
from cloud.tokens import uid
from factories import HOST, make_request
from integration import crowd
from integration.flows import BY_TOKEN, ECR, GOOGLE, GOOGLE_HOST
from integration.launchers import install, write_config
from pullpass import approvals
from pullpass.approvals import Approval
from pullpass.cache import disk

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloud import Cloud
    from integration.crowd import Told

GRANTS = f"""
[[grant]]
service_accounts = ["team-a/*"]
images = ["{HOST}/team-a/**"]
identity = "arn:aws:iam::111122223333:role/pull-{{namespace}}"
[[grant]]
service_accounts = ["team-b/*"]
images = ["{GOOGLE_HOST}/proj/**"]
identity = "principal"
"""
PODS = 25
WIDTH = 32


class Burst(NamedTuple):
    """Pods that start at once.

    Attributes:
        name: for a table.
        namespace: of all of them.
        accounts: how many service accounts they have.
        pods: how many there are of each; each has a token of its own, and the images in turn.
        images: what they start.
        aged_s: how much older everything that is stored is made before.
    """

    name: str
    namespace: str
    accounts: int
    pods: int
    images: tuple[str, ...]
    aged_s: float = 0.0

    @property
    def requests(self) -> int:
        """How many processes it takes."""
        return self.accounts * self.pods


class Count(NamedTuple):
    """What a burst came to.

    Attributes:
        exchanges: how many tokens were sent to a cloud, by its own count.
        passwords: how many passwords ECR gave out, likewise; 0 of Google, whose access token is the password.
        refused: how many processes did not answer.
        approvals: how many there are then.
        repositories: how many each of them lists, at least and at most.
        rotations: of each of them, at least and at most.
        took_s: how long it took on this machine.
    """

    requests: int
    exchanges: int
    passwords: int
    refused: int
    approvals: int
    repositories: tuple[int, int]
    rotations: tuple[int, int]
    took_s: float


ECR_IMAGE = f"{HOST}/team-a/app"
GOOGLE_IMAGES = tuple(f"{GOOGLE_HOST}/proj/repo-{number}/app" for number in range(5))
# Half of an hour's life is gone, and a tenth of it for the jitter; nothing has ended yet.
ROTATION_S = 3600 * 0.65
# `approval.max_age` is longer, so that it is the life that ends.
APPROVAL = '[approval]\nmax_age = "2h"\n'

# One node for each group; the bursts of a group follow each other there.
GROUPS: tuple[tuple[Burst, ...], ...] = (
    (Burst("10 service accounts, 1 ECR repository", "team-a", 10, PODS, (ECR_IMAGE,)),),
    (
        Burst("10 service accounts, 5 Artifact Registry repositories", "team-b", 10, PODS, GOOGLE_IMAGES),
        Burst("the same, one rotation later", "team-b", 10, PODS, GOOGLE_IMAGES, ROTATION_S),
    ),
    (Burst("1 service account, 1 ECR repository", "team-a", 1, PODS, (ECR_IMAGE,)),),
    (
        Burst(
            "1 service account, 4 ECR repositories",
            "team-a",
            1,
            PODS,
            tuple(f"{HOST}/team-a/app-{number}" for number in range(4)),
        ),
    ),
)


class Node:
    """A node with nothing stored yet."""

    def __init__(self, directory: Path, cloud: Cloud) -> None:
        self.directory, self.cloud = directory, cloud
        path = write_config(directory, cloud, node='deadline = "55s"', gcr="", grants=f"{APPROVAL}{GRANTS}")
        self.launcher = install(directory, path)
        self.state, self.runtime = str(directory / "state"), str(directory / "run")

    def start(self, burst: Burst) -> tuple[Count, list[Told]]:
        """Start the pods of a burst."""
        if burst.aged_s:
            age(self.state, self.runtime, burst.aged_s)
        calls = list(self.calls(burst))
        before = [self.cloud.count(BY_TOKEN) + self.cloud.count(GOOGLE), self.cloud.count(ECR)]
        began_s = time.monotonic()
        told = crowd.burst(calls, WIDTH)
        took_s = time.monotonic() - began_s
        stored = [found for _, found in approvals.scan(self.state) if isinstance(found, Approval)]
        lists, rotations = [len(one.repositories) for one in stored], [one.rotations for one in stored]
        count = Count(
            requests=len(told),
            exchanges=self.cloud.count(BY_TOKEN) + self.cloud.count(GOOGLE) - before[0],
            passwords=self.cloud.count(ECR) - before[1],
            refused=sum(one.status != 0 for one in told),
            approvals=len(stored),
            repositories=(min(lists), max(lists)),
            rotations=(min(rotations), max(rotations)),
            took_s=took_s,
        )
        return count, told

    def calls(self, burst: Burst) -> Iterator[crowd.Call]:
        """The burst's requests, those of one account together, so that as many as possible meet at one key."""
        for number in range(burst.accounts):
            for pod in range(burst.pods):
                image = burst.images[pod % len(burst.images)]
                token = pod_token(
                    self.cloud, burst.namespace, f"web-{number}", pod, google=image.startswith(GOOGLE_HOST)
                )
                yield crowd.Call(self.launcher, make_request(token, image))


def pod_token(cloud: Cloud, namespace: str, account: str, pod: int, *, google: bool) -> str:
    """The token of one of several pods of a service account."""
    name = f"{account}-{pod}"
    bound = {
        "namespace": namespace,
        "node": {"name": "node-1", "uid": uid("node", "node-1")},
        "pod": {"name": name, "uid": uid("pod", namespace, name)},
        "serviceaccount": {"name": account, "uid": uid("sa", namespace, account)},
    }
    audience = GOOGLE_AUDIENCE if google else AUDIENCE
    return cloud.mint_token(namespace, account, audience=audience, claims={"kubernetes.io": bound})


def age(state: str, runtime: str, by_s: float) -> None:
    """Make every approval and its cached credential older, as if that much time had passed since they were made."""
    place = approvals.directory(state)
    for _, found in list(approvals.scan(state)):
        assert isinstance(found, Approval)
        credential = disk.get(runtime, found.key, found.last_validated_s)
        assert credential is not None
        older = found._replace(
            registry_expires_s=found.registry_expires_s - by_s,
            session_expires_s=found.session_expires_s - by_s,
            first_approved_s=found.first_approved_s - by_s,
            last_validated_s=found.last_validated_s - by_s,
            expires_s=found.expires_s - by_s,
            token_expires_s=found.token_expires_s - by_s,
        )
        aged = credential._replace(
            registry_expires_s=older.registry_expires_s, session_expires_s=older.session_expires_s
        )
        disk.put(runtime, found.key, older.last_validated_s, aged)
        approvals.save(place, older)
