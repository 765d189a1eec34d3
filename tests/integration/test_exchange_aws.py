"""The exchange with AWS over real sockets: what is sent where, and what comes of it."""

from __future__ import annotations

import json
import logging
import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from cloud import REGION, role_arn
from integration.exchanging import LONG_S, ROLE, ImpatientClock, make_plan, refused, run, secrets_of
from pullpass.clock import Deadline
from pullpass.errors import PullpassError
from pullpass.exchange import aws, aws_sdk
from pullpass.exchange.redaction import Redactor
from pullpass.secret import Secret

if TYPE_CHECKING:
    from cloud import Cloud

STS = "sts.AssumeRoleWithWebIdentity"
ECR = "ecr.GetAuthorizationToken"


def test_credential(cloud: Cloud) -> None:
    """The credential is the password that ECR issued to the workload's session, with both ends and all proof."""
    before_s = time.time()
    credential = run(cloud)
    password = cloud.world.passwords[credential.secret.reveal()]
    session = password.session
    assert credential.username == "AWS"
    assert credential.principal == session.arn == "arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1_team-a_web"
    assert credential.access_key_id == session.access_key
    assert credential.registry_expires_s == pytest.approx(password.expires_s, abs=0.01)
    assert credential.session_expires_s == pytest.approx(before_s + 3600, abs=10)
    assert credential.life_ends_s == credential.session_expires_s
    assert len(set(credential.request_ids)) == 2
    assert all(credential.request_ids)


def test_two_requests_and_no_more(cloud: Cloud) -> None:
    """STS is sent the token, unsigned; ECR is sent a signature, and no token."""
    token = cloud.mint_token()
    run(cloud, token=token)
    assert cloud.counts() | {"issuer.discovery": 1, "issuer.jwks": 1} == {
        STS: 1, ECR: 1, "issuer.discovery": 1, "issuer.jwks": 1,
    }  # fmt: skip
    (hop,) = make_plan(cloud).hops
    sts, ecr = cloud.last(STS), cloud.last(ECR)
    assert sts.parameters == {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": ROLE,
        "RoleSessionName": "prod-1_team-a_web",
        "WebIdentityToken": token,
        "DurationSeconds": "3600",
        "Policy": hop.session_policy,
    }
    assert "authorization" not in sts.headers
    assert ecr.parameters == {}
    assert token.encode() not in ecr.body
    assert token not in str(ecr.headers)
    assert f"/{REGION}/ecr/aws4_request" in ecr.headers["authorization"]
    for request in (sts, ecr):
        assert "pullpass/" in request.headers["user-agent"]
        assert request.headers["amz-sdk-request"].startswith("attempt=1")


def test_session_policy_is_in_force(cloud: Cloud) -> None:
    """The session that the password stands for may pull from the one repository only."""
    run(cloud)
    (session,) = cloud.world.sessions.values()
    assert session.policy_text == make_plan(cloud).hops[0].session_policy
    principal = cloud.world.principal(session)
    assert principal is not None
    base = "arn:aws:ecr:us-west-2:111122223333:repository/"
    assert not principal.refused("ecr:BatchGetImage", base + "team-a/app", None, "111122223333")
    assert principal.refused("ecr:BatchGetImage", base + "team-a/other", None, "111122223333")


def test_registry_scope_and_duration(cloud: Cloud) -> None:
    """With scope = "registry" no policy is sent, and the configured duration is asked for."""
    credential = run(cloud, make_plan(cloud, scope="registry", session_duration_s=900))
    assert "Policy" not in cloud.last(STS).parameters
    assert cloud.last(STS).parameters["DurationSeconds"] == "900"
    assert credential.session_expires_s < time.time() + 901


def test_longer_than_the_role_allows(cloud: Cloud) -> None:
    """A duration above the role's maximum is a request that AWS does not take."""
    error = refused(cloud, make_plan(cloud, session_duration_s=43200))
    assert error.code == "aws-request-invalid"
    assert "MaxSessionDuration" in error.what
    assert "ecr.session_duration" in error.hint


@pytest.mark.parametrize(
    ("token", "code"),
    [
        pytest.param({"namespace": "team-b"}, "aws-sts-denied", id="not-in-the-trust-policy"),
        pytest.param({"audience": "sts.amazonaws.com"}, "aws-token-rejected", id="audience"),
        pytest.param({"lifetime_s": -60}, "aws-token-expired", id="expired"),
        pytest.param({"key": "wrong"}, "aws-token-rejected", id="signature"),
        pytest.param({"alg": "none"}, "aws-token-rejected", id="unsigned"),
    ],
)
def test_token_that_sts_refuses(cloud: Cloud, token: dict[str, Any], code: str) -> None:
    """What STS itself finds wrong with a token comes out as that, after one request."""
    assert refused(cloud, token=cloud.mint_token(**token)).code == code
    assert (cloud.count(STS), cloud.count(ECR)) == (1, 0)


def test_role_that_may_not_log_in(cloud: Cloud) -> None:
    """A role without ecr:GetAuthorizationToken gets a session and no password."""
    elsewhere = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"}
    cloud.set_role("pull-team-a", policy={"Version": "2012-10-17", "Statement": [elsewhere]})
    error = refused(cloud)
    assert error.code == "aws-ecr-denied"
    assert "ecr:GetAuthorizationToken" in error.hint


def test_role_that_is_gone(cloud: Cloud) -> None:
    """STS does not tell a missing role from one that may not be assumed."""
    cloud.remove_role("pull-team-a")
    assert refused(cloud).code == "aws-sts-denied"


def test_clocks_that_disagree(cloud: Cloud) -> None:
    """A session that ends later than was asked for shows that this node's clock is behind."""
    cloud.configure(skew_s=600)
    error = refused(cloud, token=cloud.mint_token(lifetime_s=7200))
    assert error.code == "cloud-answer-expired"
    assert "clock" in error.hint
    assert cloud.count(ECR) == 0


def test_many_at_once(cloud: Cloud) -> None:
    """Exchanges in threads of one process do not mix up workloads, as in a resident agent."""
    namespaces = ["team-a", "team-b"] * 4

    def one(namespace: str) -> tuple[str, str]:
        planned = make_plan(cloud, namespace=namespace, identity=role_arn(f"pull-{namespace}"))
        return namespace, run(cloud, planned, token=cloud.mint_token(namespace)).secret.reveal()

    with ThreadPoolExecutor(8) as pool:
        for namespace, password in pool.map(one, namespaces):
            assert cloud.world.passwords[password].session.arn.endswith(f"/pull-{namespace}/prod-1_{namespace}_web")
    assert (cloud.count(STS), cloud.count(ECR)) == (8, 8)


def test_nothing_is_logged(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Even in a process that logs everything, the SDK's logs show no secret."""
    caplog.set_level(logging.DEBUG)
    token = cloud.mint_token()
    run(cloud, token=token)
    for secret in secrets_of(cloud, token):
        assert secret not in caplog.text


def test_sdk_cannot_choose_another_host(cloud: Cloud) -> None:
    """A request that the SDK would send elsewhere than the plan says is not sent at all."""
    clock = ImpatientClock()
    sdk = aws_sdk.Sdk("", Redactor((), ()), Deadline(clock, LONG_S), clock, jitter=lambda: 0.0)

    def send_elsewhere(request: Any, **_: object) -> None:
        request.url = cloud.endpoints.elsewhere

    sdk._session.events.register("request-created.sts", send_elsewhere)
    place = aws_sdk.Place(cloud.endpoints.sts, REGION)
    with pytest.raises(PullpassError, match="internal: sts:GetCallerIdentity: the SDK would send to"):
        sdk.call("sts:GetCallerIdentity", place, {})
    assert cloud.counts() == {}


def test_variables_are_gone_before_the_sdk_looks(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the SDK would read from the environment is dropped; what others read stays."""
    monkeypatch.setenv("AWS_PROFILE", "")
    monkeypatch.setenv("AWS_ENDPOINT_URL", cloud.endpoints.elsewhere)
    monkeypatch.setenv("PULLPASS_CONFIG", "/etc/pullpass/config.toml")
    run(cloud)
    assert not [name for name in os.environ if name.startswith("AWS_")]
    assert os.environ["PULLPASS_CONFIG"] == "/etc/pullpass/config.toml"
    assert cloud.count("elsewhere") == 0


def test_jitter_is_random_by_default(cloud: Cloud) -> None:
    """A thousand nodes that failed together do not come back together."""
    waits = set()
    for _ in range(3):
        cloud.fault(STS, "status", 1, status=503)
        clock = ImpatientClock()
        aws.exchange(make_plan(cloud), Secret(cloud.mint_token()), Deadline(clock, LONG_S), clock)
        waits.update(clock.slept)
        assert 0.5 <= clock.slept[0] <= 1.0
    assert len(waits) == 3


def test_policy_is_sent_as_compact_json(cloud: Cloud) -> None:
    """The policy counts by its characters, so no blank is sent."""
    run(cloud, make_plan(cloud, pull_through=True))
    policy = cloud.last(STS).parameters["Policy"]
    assert policy == json.dumps(json.loads(policy), separators=(",", ":"))
