"""Exchanges with Google's side of the local cloud, in this process, over real sockets."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloud.gcp.world import GOOGLE_AUDIENCE, PULL_ACCOUNT, provider_name
from factories import make_config, make_gcr, make_subject
from integration.exchanging import LONG_S, ImpatientClock, shown
from pullpass import exchange
from pullpass.clock import Deadline
from pullpass.errors import PullpassError
from pullpass.exchange import gcp, gcp_node, plan_gcp
from pullpass.policy import Decision
from pullpass.secret import Secret

if TYPE_CHECKING:
    from cloud import Cloud
    from pullpass.exchange import Credential
    from pullpass.exchange.plan_gcp import GoogleNodePlan, GooglePlan

STS = "gsts.token"
IAM = "iamcredentials.generateAccessToken"
ACTIONS = {STS: plan_gcp.EXCHANGE_TOKEN, IAM: plan_gcp.GENERATE_TOKEN}


def make_plan(cloud: Cloud, *, tls: bool = False, **fields: Any) -> GooglePlan:
    """The plan for team-b/web at the local cloud, direct unless `identity` says otherwise.

    Args:
        cloud: whose endpoints are configured.
        tls: over TLS, trusting the cloud's CA.
        fields: of [gcr], `identity`, `namespace`, `service_account` and `ca_bundle`.
    """
    at = cloud.endpoints
    section: dict[str, Any] = {
        "audience": GOOGLE_AUDIENCE,
        "provider": provider_name(),
        "token_url": f"{at.gsts_tls if tls else at.gsts}/v1/token",
        "iam_credentials_url": at.iamcredentials_tls if tls else at.iamcredentials,
    }
    section |= {name: fields.pop(name) for name in list(fields) if name in make_gcr()._fields}
    ca_bundle = fields.pop("ca_bundle", at.ca_file if tls else "")
    decision = Decision("team images", fields.pop("identity", "principal"), "", pull_through=False)
    subject = make_subject(**({"namespace": "team-b"} | fields))
    gcr = make_gcr(**section)
    config = make_config(gcr=gcr)
    config = config._replace(node=config.node._replace(ca_bundle=ca_bundle))
    made = plan_gcp.make(subject, decision, config, gcr)
    assert isinstance(made, plan_gcp.GooglePlan)
    return made


def impersonating(cloud: Cloud, **fields: Any) -> GooglePlan:
    """The plan for team-b/web as the account that it may impersonate."""
    return make_plan(cloud, **({"identity": PULL_ACCOUNT} | fields))


def make_node_plan(url: str) -> GoogleNodePlan:
    """The plan for the node's own identity, with its metadata server at `url`."""
    config = make_config()
    config = config._replace(node=config.node._replace(google_metadata=url))
    made = plan_gcp.make(None, Decision("system", "node", "", pull_through=False), config, make_gcr())
    assert isinstance(made, plan_gcp.GoogleNodePlan)
    return made


def mint(cloud: Cloud, namespace: str = "team-b", account: str = "web", **fields: Any) -> str:
    """A token for Google."""
    return cloud.mint_token(namespace, account, **({"audience": GOOGLE_AUDIENCE} | fields))


def run(
    cloud: Cloud,
    planned: GooglePlan | GoogleNodePlan | None = None,
    *,
    token: str | None = None,
    deadline_s: float = LONG_S,
    clock: ImpatientClock | None = None,
) -> Credential:
    """Exchange a token of team-b/web, or ask for the node's, with the shortest waits there are."""
    clock = clock or ImpatientClock()
    deadline = Deadline(clock, deadline_s)
    planned = planned or make_plan(cloud)
    if isinstance(planned, plan_gcp.GoogleNodePlan):
        assert exchange.load(planned.kind) is gcp_node.exchange
        sent = None if token is None else Secret(token)
        return gcp_node.exchange(planned, sent, deadline, clock, jitter=lambda: 0.0)
    assert exchange.load(planned.kind) is gcp.exchange
    token = mint(cloud) if token is None else token
    return gcp.exchange(planned, Secret(token), deadline, clock, jitter=lambda: 0.0)


def refused(
    cloud: Cloud,
    planned: GooglePlan | GoogleNodePlan | None = None,
    *,
    token: str | None = None,
    deadline_s: float = LONG_S,
    clock: ImpatientClock | None = None,
) -> PullpassError:
    """The error of an exchange that fails, after a look for secrets in it."""
    token = mint(cloud) if token is None else token
    started_s = time.monotonic()
    with pytest.raises(PullpassError) as caught:
        run(cloud, planned, token=token, deadline_s=deadline_s, clock=clock)
    error = caught.value
    assert time.monotonic() - started_s < deadline_s + 5, "it outlasted its deadline"
    assert error.__cause__ is None, "a chained error would be printed with its text"
    assert shown(error.line(), secrets_of(cloud, token)) == []
    assert error.line().isprintable()
    return error


def secrets_of(cloud: Cloud, token: str) -> list[str]:
    """Everything that must not be seen: the token and its parts, and every access token that Google has issued."""
    return [part for part in (token, *token.split(".")) if part] + list(cloud.google.tokens)
