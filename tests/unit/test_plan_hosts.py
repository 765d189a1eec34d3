"""Which endpoints a registry host leads to, in every partition."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from aws_hosts import ALIASES, HOSTS
from factories import ROLE, make_config, make_ecr, make_subject, make_target
from pullpass import registry
from pullpass.exchange import plan_aws
from pullpass.policy import Decision

if TYPE_CHECKING:
    from pullpass.registry import Target

VIA = "arn:aws:iam::444455556666:role/registry/reader"


def make(target: Target, **section: str) -> plan_aws.AwsPlan:
    """The plan for a target, by roles of its partition."""
    identity, via = (role.replace("arn:aws:", f"arn:{target.partition}:") for role in (ROLE, VIA))
    decision = Decision("team images", identity, via, pull_through=False)
    ecr = make_ecr(**section)
    return plan_aws.make(make_subject(), target, decision, make_config(ecr=ecr), ecr)


@pytest.mark.parametrize(("host", "sts", "ecr"), HOSTS, ids=[row[0] for row in HOSTS])
def test_endpoints_follow_the_host(host: str, sts: str, ecr: str) -> None:
    """FIPS, dual-stack, region and partition of a registry host, or of an alias, choose the API endpoints."""
    target = registry.match(f"{host}/team-a/app", ALIASES)
    made = make(target)
    assert (made.sts_url, made.password_url, made.sts_region) == (sts, ecr, target.region)
    arn = f"arn:{target.partition}:ecr:{target.region}:111122223333:repository/team-a/app"
    assert json.loads(made.hops[-1].session_policy)["Statement"][1]["Resource"] == arn
    assert made.opens == f"ecr:{target.partition}:111122223333:{target.region}:team-a/app"


def test_configured_endpoints_win() -> None:
    """Endpoints of the configuration are used whatever the host says, and each stands for itself."""
    target = make_target(fips=True)
    made = make(target, sts_endpoint="https://sts.example.com/base")
    assert made.sts_url == "https://sts.example.com/base"
    assert made.password_url == "https://api.ecr-fips.us-west-2.amazonaws.com"
    assert make(target, ecr_endpoint="http://127.0.0.1:5000").password_url == "http://127.0.0.1:5000"
    assert make(target, ecr_public_endpoint="http://127.0.0.1:5000").password_url == made.password_url


@pytest.mark.parametrize(
    ("url", "region"),
    [
        ("https://sts.eu-central-1.amazonaws.com", "eu-central-1"),
        ("https://vpce-0a1b-2c.sts.us-east-2.vpce.amazonaws.com/", "us-east-2"),
        ("https://sts.example.com", "us-west-2"),
        ("http://127.0.0.1:5000", "us-west-2"),
    ],
)
def test_region_of_an_endpoint(url: str, region: str) -> None:
    """What is signed for STS is signed for the region of a configured endpoint, which may serve other registries."""
    made = make(make_target(), sts_endpoint=url)
    assert (made.sts_region, made.region) == (region, "us-west-2")
