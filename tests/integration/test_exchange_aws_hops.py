"""A second hop, and ECR Public, over real sockets: who signs what, what each session may do, and who refuses."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING

import pytest

from cloud import REGION, role_arn
from cloud.world import FURTHER_ACCOUNT, assume_document, pull_document
from integration.exchanging import PUBLIC, ROLE, SHARED, VIA, make_plan, refused, run

if TYPE_CHECKING:
    from cloud import Cloud

STS = "sts.AssumeRoleWithWebIdentity"
HOP = "sts.AssumeRole"
ECR = "ecr.GetAuthorizationToken"
PUBLIC_ECR = "ecr-public.GetAuthorizationToken"
NAME = "prod-1_team-a_web"


def sent(cloud: Cloud) -> list[str]:
    """What AWS was sent, in order."""
    return [request.where for request in cloud.requests() if request.service != "issuer"]


# --- a second hop


def test_second_hop(cloud: Cloud) -> None:
    """Three requests: the token for a session, that for another account's session, and that for the password."""
    before_s = time.time()
    credential = run(cloud, make_plan(cloud, **SHARED))
    assert sent(cloud) == [STS, HOP, ECR]
    password = cloud.world.passwords[credential.secret.reveal()]
    assert credential.principal == password.session.arn
    assert credential.principal == f"arn:aws:sts::{FURTHER_ACCOUNT}:assumed-role/pull-shared/{NAME}"
    assert credential.access_key_id == password.session.access_key
    assert credential.session_expires_s == pytest.approx(before_s + 3600, abs=10), "its own end, not the first one's"
    assert len(set(credential.request_ids)) == 3


def test_who_signs_what(cloud: Cloud) -> None:
    """The token is sent once, unsigned; each session signs the next request, and no other."""
    token = cloud.mint_token()
    run(cloud, make_plan(cloud, **SHARED), token=token)
    first, second = cloud.world.sessions.values()
    sts, hop, ecr = (cloud.last(where) for where in (STS, HOP, ECR))
    assert "authorization" not in sts.headers
    assert f"Credential={first.access_key}/" in hop.headers["authorization"]
    assert f"/{REGION}/sts/aws4_request" in hop.headers["authorization"]
    assert f"Credential={second.access_key}/" in ecr.headers["authorization"]
    for request in (hop, ecr):
        assert token.encode() not in request.body
        assert token not in str(request.headers)
    policy = make_plan(cloud, **SHARED).hops[1].session_policy
    assert hop.parameters == {
        "Action": "AssumeRole",
        "Version": "2011-06-15",
        "RoleArn": VIA,
        "RoleSessionName": NAME,
        "DurationSeconds": "3600",
        "Policy": policy,
    }


def test_what_each_session_may_do(cloud: Cloud) -> None:
    """The first may become the second and nothing else; the second may pull from the one repository."""
    run(cloud, make_plan(cloud, **SHARED))
    first, second = map(cloud.world.principal, cloud.world.sessions.values())
    assert first is not None
    assert second is not None
    base = f"arn:aws:ecr:{REGION}:{{}}:repository/{{}}"
    own, shared, other = base.format("111122223333", "team-a/app"), *(
        base.format(FURTHER_ACCOUNT, name) for name in ("shared/base", "shared/other")
    )  # fmt: skip
    trust = cloud.world.roles[VIA].trust
    assert not first.refused("sts:AssumeRole", VIA, trust, FURTHER_ACCOUNT, trust=True)
    another = role_arn("pull-other", FURTHER_ACCOUNT)
    assert first.refused("sts:AssumeRole", another, trust, FURTHER_ACCOUNT, trust=True)
    assert first.refused("ecr:BatchGetImage", own, None, "111122223333")
    assert first.refused("ecr:GetAuthorizationToken", "*", None, "111122223333")
    assert not second.refused("ecr:BatchGetImage", shared, None, FURTHER_ACCOUNT)
    assert second.refused("ecr:BatchGetImage", other, None, FURTHER_ACCOUNT)


def test_first_role_that_may_not_hop(cloud: Cloud) -> None:
    """A first role without sts:AssumeRole on the second is told so, and nothing else is sent."""
    cloud.set_role(ROLE, policy=pull_document("team-a/"))
    error = refused(cloud, make_plan(cloud, **SHARED))
    assert error.code == "aws-via-denied"
    assert "sts:AssumeRole" in error.hint
    assert sent(cloud) == [STS, HOP]


def test_second_role_that_does_not_trust_the_first(cloud: Cloud) -> None:
    """The second role's trust policy has the last word."""
    cloud.set_role(VIA, trust=assume_document({"AWS": [role_arn("somebody-else")]}))
    error = refused(cloud, make_plan(cloud, **SHARED))
    assert error.code == "aws-via-denied"
    assert VIA in error.what


def test_second_role_that_may_not_log_in(cloud: Cloud) -> None:
    """A second role without ecr:GetAuthorizationToken gets a session and no password."""
    elsewhere = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    cloud.set_role(VIA, policy={"Version": "2012-10-17", "Statement": [elsewhere]})
    assert refused(cloud, make_plan(cloud, **SHARED)).code == "aws-ecr-denied"
    assert sent(cloud) == [STS, HOP, ECR]


def test_longer_session_than_a_hop_may_have(cloud: Cloud) -> None:
    """A longer duration in the configuration is cut to what STS gives a session of a session."""
    run(cloud, make_plan(cloud, **SHARED, session_duration_s=7200))
    assert cloud.last(STS).parameters["DurationSeconds"] == "900"
    assert cloud.last(HOP).parameters["DurationSeconds"] == "3600"


def test_first_session_dies_before_the_hop(cloud: Cloud) -> None:
    """A session that AWS has forgotten, or whose clock is another, is a session that it rejects."""
    cloud.fault(HOP, "ExpiredToken")
    assert refused(cloud, make_plan(cloud, **SHARED)).code == "aws-session-rejected"


# --- ECR Public


def test_public(cloud: Cloud) -> None:
    """A password of ECR Public comes from us-east-1, to a session that may ask for it and do nothing else."""
    credential = run(cloud, make_plan(cloud, **PUBLIC))
    assert sent(cloud) == [STS, PUBLIC_ECR]
    password = cloud.world.public_passwords[credential.secret.reveal()]
    assert credential.username == "AWS"
    assert credential.principal == password.session.arn == f"arn:aws:sts::111122223333:assumed-role/pull-public/{NAME}"
    assert credential.registry_expires_s == pytest.approx(password.expires_s, abs=0.01)
    assert credential.life_ends_s == credential.session_expires_s
    assert len(set(credential.request_ids)) == 2
    assert "/us-east-1/ecr-public/aws4_request" in cloud.last(PUBLIC_ECR).headers["authorization"]
    policy = json.loads(cloud.last(STS).parameters["Policy"])
    assert policy["Statement"] == [
        {
            "Effect": "Allow",
            "Action": ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"],
            "Resource": "*",
        }
    ]


@pytest.mark.parametrize("missing", ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"])
def test_public_takes_two_permissions(cloud: Cloud, missing: str) -> None:
    """A role with one of the two permissions gets no password; the hint names both."""
    allowed = {"ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"} - {missing}
    statement = {"Effect": "Allow", "Action": sorted(allowed), "Resource": "*"}
    cloud.set_role("pull-public", policy={"Version": "2012-10-17", "Statement": [statement]})
    error = refused(cloud, make_plan(cloud, **PUBLIC))
    assert error.code == "aws-public-denied"
    assert missing in error.what
    assert missing in error.hint


def test_public_by_a_second_hop(cloud: Cloud) -> None:
    """Nothing is special about ECR Public behind a hop."""
    cloud.set_role(VIA, policy={"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Action": ["ecr-public:*", "sts:GetServiceBearerToken"], "Resource": "*"},
    ]})  # fmt: skip
    credential = run(cloud, make_plan(cloud, **PUBLIC | {"identity": ROLE, "via": VIA}))
    assert sent(cloud) == [STS, HOP, PUBLIC_ECR]
    assert credential.secret.reveal() in cloud.world.public_passwords
