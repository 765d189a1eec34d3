"""Exchanges against the local cloud, in this process, over real sockets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloud import role_arn
from cloud.world import FURTHER_ACCOUNT
from factories import make_config, make_ecr, make_subject, make_target
from pullpass import exchange, registry
from pullpass.clock import Deadline, SystemClock
from pullpass.config import Node
from pullpass.errors import PullpassError
from pullpass.exchange import aws, plan_aws
from pullpass.policy import Decision
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud
    from pullpass.exchange import Credential
    from pullpass.exchange.plan_aws import AwsPlan

ROLE = role_arn("pull-team-a")
VIA = role_arn("pull-shared", FURTHER_ACCOUNT)
# What is asked for by a second hop: a repository of the further account.
SHARED: dict[str, Any] = {"via": VIA, "account": FURTHER_ACCOUNT, "repository": "shared/base"}
PUBLIC: dict[str, Any] = {
    **registry.match("public.ecr.aws/docker/library/busybox")._asdict(),
    "identity": role_arn("pull-public"),
}
# As long as no server hangs, nothing waits for it.
LONG_S = 30.0
# For servers that never answer.
SHORT_S = 2.0


class ImpatientClock(SystemClock):
    """The machine's clock, which does not wait between attempts.

    Attributes:
        slept: how long it was asked to sleep, each time.
        between: called instead of sleeping.
    """

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.between: Callable[[], None] = lambda: None

    def sleep(self, duration_s: float) -> None:
        """Note the wait."""
        self.slept.append(duration_s)
        self.between()


def make_plan(cloud: Cloud, *, tls: bool = False, token: bool = True, **fields: Any) -> AwsPlan:
    """The plan for team-a/web and its image at the local cloud.

    Args:
        cloud: whose endpoints are configured.
        tls: over TLS, trusting the cloud's CA.
        token: whether there is a subject.
        fields: of [ecr], of the target, of the decision, of [node], or `namespace`.
    """
    at = cloud.endpoints
    section = {"sts_endpoint": at.sts, "ecr_endpoint": at.ecr, "ecr_public_endpoint": at.ecr_public}
    if tls:
        section = {"sts_endpoint": at.sts_tls, "ecr_endpoint": at.ecr_tls, "ecr_public_endpoint": at.ecr_public_tls}
    section |= {name: fields.pop(name) for name in list(fields) if name in make_ecr()._fields}
    node: dict[str, Any] = {"ca_bundle": at.ca_file if tls else "", "aws_metadata": at.imds}
    node |= {name: fields.pop(name) for name in list(fields) if name in Node._fields}
    subject = make_subject(namespace=fields.pop("namespace", "team-a")) if token else None
    target = make_target(**{name: fields.pop(name) for name in list(fields) if name in make_target()._fields})
    decision = Decision("team images", ROLE, "", pull_through=False)._replace(**fields)
    ecr = make_ecr(**section)
    config = make_config(ecr=ecr)
    config = config._replace(node=config.node._replace(**node))
    return plan_aws.make(subject, target, decision, config, ecr)


def run(
    cloud: Cloud,
    planned: AwsPlan | None = None,
    *,
    token: str | None = None,
    deadline_s: float = LONG_S,
    clock: ImpatientClock | None = None,
) -> Credential:
    """Exchange a token of team-a/web, or "" for none, with the shortest waits there are."""
    clock = clock or ImpatientClock()
    token = cloud.mint_token() if token is None else token
    planned = planned or make_plan(cloud)
    exchanger = exchange.load(planned.kind)
    assert exchanger is aws.exchange
    deadline = Deadline(clock, deadline_s)
    return aws.exchange(planned, Secret(token) if token else None, deadline, clock, jitter=lambda: 0.0)


def refused(
    cloud: Cloud,
    planned: AwsPlan | None = None,
    *,
    token: str | None = None,
    deadline_s: float = LONG_S,
    clock: ImpatientClock | None = None,
) -> PullpassError:
    """The error of an exchange that fails, after a look for secrets in it."""
    token = cloud.mint_token() if token is None else token
    started_s = time.monotonic()
    with pytest.raises(PullpassError) as caught:
        run(cloud, planned, token=token, deadline_s=deadline_s, clock=clock)
    error = caught.value
    assert time.monotonic() - started_s < deadline_s + 5, "it outlasted its deadline"
    assert error.__cause__ is None, "a chained error would be printed with its text"
    assert shown(error.line(), secrets_of(cloud, token)) == []
    assert error.line().isprintable()
    return error


def shown(line: str, secrets: list[str]) -> list[str]:
    """What of these secrets stands in a line: whole ones, and pieces of 16 characters."""
    return [
        secret[start : start + 16]
        for secret in secrets
        for start in range(max(1, len(secret) - 15))
        if secret[start : start + 16] in line
    ]


def secrets_of(cloud: Cloud, token: str) -> list[str]:
    """Everything that must not be seen: the token and its parts, what STS and ECR issued."""
    found = [part for part in (token, *token.split(".")) if part]
    for session in cloud.world.sessions.values():
        found += [session.secret_key, session.token]
    return [*found, *cloud.world.passwords, *cloud.world.public_passwords]
