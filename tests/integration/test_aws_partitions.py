"""AWS's real host names, by a proxy that leads to the local cloud: calls go where the region's hosts are."""

from __future__ import annotations

from typing import Any

import pytest

from aws_hosts import ALIASES, HOSTS
from cloud import ACCOUNT, AUDIENCE, Cloud, role_arn
from cloud.world import PUBLIC_STATEMENT, assume_document, pull_document, trust_document, with_statements
from integration.exchanging import PUBLIC, make_plan, run
from pullpass import registry

AWS = {"sts", "ecr", "ecr-public"}
# By the configuration's own words, nothing but what AWS has.
NOWHERE: dict[str, Any] = {"sts_endpoint": "", "ecr_endpoint": "", "ecr_public_endpoint": ""}


@pytest.fixture(autouse=True)
def real_names(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every name lead to the local cloud, whose certificates are for whatever name is asked."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy)


def furnish(cloud: Cloud, partition: str, region: str) -> tuple[str, str]:
    """A role for team-a, and one behind it, in another partition; their ARNs."""
    provider = cloud.set_provider(cloud.issuer, [AUDIENCE], ACCOUNT, partition)
    first, second = (role_arn(name, ACCOUNT, partition) for name in ("first", "second"))
    hop = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": second}
    pull = pull_document("team-a/", region=region)
    trust = trust_document(cloud.issuer, provider.arn, AUDIENCE, "system:serviceaccount:team-a:*")
    cloud.set_role(first, trust=trust, policy=with_statements(pull, hop, PUBLIC_STATEMENT))
    cloud.set_role(second, trust=assume_document({"AWS": [first]}), policy=pull)
    return first, second


@pytest.mark.parametrize(("host", "sts", "ecr"), HOSTS, ids=[row[0] for row in HOSTS])
def test_every_host(cloud: Cloud, host: str, sts: str, ecr: str) -> None:
    """All three calls of the longest way go to the hosts of the registry's region, variant and partition."""
    target = registry.match(f"{host}/team-a/app", ALIASES)
    first, second = furnish(cloud, target.partition, target.region)
    fields = target._asdict() | NOWHERE | {"ca_bundle": cloud.endpoints.ca_file}
    credential = run(cloud, make_plan(cloud, **fields, identity=first, via=second))
    assert credential.principal == f"arn:{target.partition}:sts::{ACCOUNT}:assumed-role/second/prod-1_team-a_web"
    asked = [(request.where, f"https://{request.host}") for request in cloud.requests() if request.service in AWS]
    assert asked == [
        ("sts.AssumeRoleWithWebIdentity", sts),
        ("sts.AssumeRole", sts),
        ("ecr.GetAuthorizationToken", ecr),
    ]
    assert cloud.count("elsewhere") == 0


@pytest.mark.parametrize(
    ("host", "sts", "api"),
    [
        ("public.ecr.aws", "sts.us-east-1.amazonaws.com", "api.ecr-public.us-east-1.amazonaws.com"),
        ("ecr-public.aws.com", "sts.us-east-1.api.aws", "ecr-public.us-east-1.api.aws"),
    ],
)
def test_public(cloud: Cloud, host: str, sts: str, api: str) -> None:
    """Both names of ECR Public lead to us-east-1, the one with IPv6 to hosts that have it too."""
    target = registry.match(f"{host}/docker/library/busybox")
    fields = PUBLIC | target._asdict() | NOWHERE | {"ca_bundle": cloud.endpoints.ca_file}
    credential = run(cloud, make_plan(cloud, **fields))
    assert credential.secret.reveal() in cloud.world.public_passwords
    assert [request.host for request in cloud.requests() if request.service in AWS] == [sts, api]


def test_endpoint_of_another_region(cloud: Cloud) -> None:
    """One regional STS may be configured for all registries: what is signed for it is signed for its region."""
    first, second = furnish(cloud, "aws", "us-west-2")
    fields = NOWHERE | {"sts_endpoint": "https://sts.eu-central-1.amazonaws.com", "ca_bundle": cloud.endpoints.ca_file}
    assert run(cloud, make_plan(cloud, **fields, identity=first, via=second)).username == "AWS"
    assert "/eu-central-1/sts/" in cloud.last("sts.AssumeRole").headers["authorization"]
    assert "/us-west-2/ecr/" in cloud.last("ecr").headers["authorization"]
