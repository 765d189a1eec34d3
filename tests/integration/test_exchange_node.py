"""The node's own identity over real sockets: metadata service, container credentials, what is in their place."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloud import REGION, role_arn
from cloud.container import POD_AUDIENCE
from cloud.node import INSTANCE, TASK
from cloud.world import FURTHER_ACCOUNT, NODE_ROLE, assume_document, pull_document, with_statements
from integration.exchanging import PUBLIC, VIA, ImpatientClock, make_plan, refused, run
from pullpass.exchange import aws_node

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from cloud import Cloud
    from pullpass.errors import PullpassError
    from pullpass.exchange import Credential
    from pullpass.exchange.plan_aws import AwsPlan

TOKEN, ROLE, KEYS = "imds.token", "imds.role", "imds.credentials"
CONTAINER = "container.credentials"
HOP = "sts.AssumeRole"
ECR = "ecr.GetAuthorizationToken"
PUBLIC_ECR = "ecr-public.GetAuthorizationToken"
POD_PATH = "/v1/credentials"


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may be in a container that has credentials; a node is not."""
    for name in aws_node.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def node_plan(cloud: Cloud, **fields: Any) -> AwsPlan:
    """The plan for a static pod's image."""
    return make_plan(cloud, token=False, **{"identity": "node", "repository": "system/pause"} | fields)


def as_node(cloud: Cloud, **fields: Any) -> Credential:
    """The node's credential."""
    return run(cloud, node_plan(cloud, **fields), token="")


def no_node(cloud: Cloud, **fields: Any) -> PullpassError:
    """The error of a node that gets no credential."""
    return refused(cloud, node_plan(cloud, **fields), token="")


# --- the instance metadata service


def test_node(cloud: Cloud) -> None:
    """A session token, the role's name, its keys; then the password, which the node's role stands behind."""
    credential = as_node(cloud)
    assert cloud.counts() == {TOKEN: 1, ROLE: 1, KEYS: 1, ECR: 1}
    session = cloud.world.passwords[credential.secret.reveal()].session
    assert session.arn == f"arn:aws:sts::111122223333:assumed-role/{NODE_ROLE}/{INSTANCE}"
    assert credential.principal == f"role/{NODE_ROLE}"
    assert credential.access_key_id == session.access_key
    assert credential.session_expires_s == pytest.approx(session.expires_s, abs=1)
    assert credential.registry_expires_s > credential.session_expires_s == credential.life_ends_s
    assert len(credential.request_ids) == 1


def test_how_the_service_is_asked(cloud: Cloud) -> None:
    """Version 2 by its letter: PUT for a token that lives a minute, and no request without it."""
    as_node(cloud)
    token, role, keys = (cloud.last(where) for where in (TOKEN, ROLE, KEYS))
    assert token.method == "PUT"
    assert token.headers["x-aws-ec2-metadata-token-ttl-seconds"] == "60"
    assert token.headers["content-length"] == "0"
    assert "x-forwarded-for" not in token.headers
    for request in (role, keys):
        assert request.method == "GET"
        assert request.headers["x-aws-ec2-metadata-token"]
    assert keys.path.endswith(f"/{NODE_ROLE}")
    for request in (token, role, keys):
        assert request.headers["user-agent"].startswith("pullpass/")


def test_node_under_a_service_account(cloud: Cloud) -> None:
    """With a token in the request, the node's identity is the same, and nobody is sent the token."""
    token = cloud.mint_token()
    run(cloud, make_plan(cloud, identity="node"), token=token)
    assert cloud.counts() == {TOKEN: 1, ROLE: 1, KEYS: 1, ECR: 1}
    for request in cloud.requests():
        assert token not in f"{request.headers}{request.body!r}{request.path}{request.query}"


def test_node_and_public(cloud: Cloud) -> None:
    """The node may have a password of ECR Public."""
    credential = run(cloud, make_plan(cloud, **PUBLIC | {"identity": "node"}, token=False), token="")
    assert cloud.counts() == {TOKEN: 1, ROLE: 1, KEYS: 1, PUBLIC_ECR: 1}
    assert credential.secret.reveal() in cloud.world.public_passwords


def hop(cloud: Cloud) -> dict[str, str]:
    """Let the node become the further account's role; what a plan for its image has."""
    node = role_arn(NODE_ROLE)
    may = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": VIA}
    cloud.set_role(node, policy=with_statements(pull_document("system/"), may))
    cloud.set_role(VIA, trust=assume_document({"AWS": [node]}))
    return {"via": VIA, "account": FURTHER_ACCOUNT, "repository": "shared/base"}


def test_node_by_a_second_hop(cloud: Cloud) -> None:
    """What the node becomes is a session under a name that no workload has, limited to the repository."""
    credential = as_node(cloud, **hop(cloud))
    assert cloud.counts() == {TOKEN: 1, ROLE: 1, KEYS: 1, HOP: 1, ECR: 1}
    session = cloud.world.passwords[credential.secret.reveal()].session
    assert credential.principal == session.arn == f"arn:aws:sts::{FURTHER_ACCOUNT}:assumed-role/pull-shared/prod-1_node"
    assert credential.session_expires_s == pytest.approx(time.time() + 3600, abs=10)
    principal = cloud.world.principal(session)
    assert principal is not None
    base = f"arn:aws:ecr:{REGION}:{FURTHER_ACCOUNT}:repository/shared/"
    assert not principal.refused("ecr:BatchGetImage", f"{base}base", None, FURTHER_ACCOUNT)
    assert principal.refused("ecr:BatchGetImage", f"{base}other", None, FURTHER_ACCOUNT)


def test_node_that_may_not_hop(cloud: Cloud) -> None:
    """A node without the right to become the second role gets nothing instead: no password of its own."""
    error = no_node(cloud, via=VIA, account=FURTHER_ACCOUNT, repository="shared/base")
    assert error.code == "aws-via-denied"
    assert cloud.count(ECR) == 0


def test_base_url_with_a_slash(cloud: Cloud) -> None:
    """A slash at the end of the configured URL changes nothing."""
    assert as_node(cloud, aws_metadata=f"{cloud.endpoints.imds}/").username == "AWS"


def test_proxy_is_not_asked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy sees no request for metadata, which would reach another machine's service through it."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, cloud.endpoints.proxy)
    as_node(cloud)
    assert cloud.counts() == {TOKEN: 1, ROLE: 1, KEYS: 1, ECR: 1}


# --- a node that has none


def test_no_role(cloud: Cloud) -> None:
    """An instance without a role has no identity."""
    cloud.configure(node_role=None)
    error = no_node(cloud)
    assert error.code == "aws-node-role"
    assert cloud.counts() == {TOKEN: 1, ROLE: 1}


def test_role_that_is_gone_between_two_requests(cloud: Cloud) -> None:
    """The role's name was there, and its keys are not."""
    cloud.fault(KEYS, "NotFound")
    assert no_node(cloud).code == "aws-node-role"


def test_role_that_ec2_may_not_assume(cloud: Cloud) -> None:
    """EC2 says so with status 200; what it says reaches the user."""
    cloud.set_role(NODE_ROLE, trust=assume_document({"AWS": [role_arn("somebody")]}))
    error = no_node(cloud)
    assert error.code == "aws-node-role"
    assert "AssumeRoleUnauthorizedAccess: EC2 cannot assume the role" in error.what


def test_switched_off(cloud: Cloud) -> None:
    """A metadata service that is switched off says 403."""
    cloud.configure(imds_enabled=False)
    error = no_node(cloud)
    assert error.code == "aws-metadata-denied"
    assert cloud.counts() == {TOKEN: 1}


def test_node_that_may_not_log_in(cloud: Cloud) -> None:
    """A node whose role has no right to ECR is told which one is missing."""
    cloud.set_role(NODE_ROLE, policy=pull_document("system/", account="999999999999") | {"Statement": [
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "*"},
    ]})  # fmt: skip
    assert no_node(cloud).code == "aws-ecr-denied"


def test_too_many_hops(cloud: Cloud) -> None:
    """An answer that does not travel far enough is an absent service after two seconds; the hint names the limit."""
    cloud.configure(imds_hops=2)
    started_s = time.monotonic()
    error = no_node(cloud)
    assert error.code == "aws-metadata-unreachable"
    assert "hop limit" in error.hint
    assert time.monotonic() - started_s < aws_node.REQUEST_LIMIT_S + 3
    assert set(cloud.counts()) == {TOKEN}


@pytest.mark.parametrize("kind", ["refused", "silent", "black-hole"])
def test_absent(cloud: Cloud, kind: str) -> None:
    """Where there is no metadata service, the run ends soon, whatever its deadline."""
    started_s = time.monotonic()
    error = no_node(cloud, aws_metadata=f"http://{cloud.dead_end(kind)}")
    assert error.code == "aws-metadata-unreachable"
    assert time.monotonic() - started_s < aws_node.REQUEST_LIMIT_S + 3
    assert cloud.counts() == {}


@pytest.mark.parametrize("url", ["http://10.0.0.1", "http://localhost:1", "https://169.254.169.254"])
def test_service_that_is_not_the_nodes(cloud: Cloud, url: str) -> None:
    """The configuration takes no such URL; if one came through all the same, nothing would be asked there."""
    error = no_node(cloud, aws_metadata=url)
    assert error.code == "internal"
    assert "would be asked over" in error.what


def test_version_1_is_not_spoken(cloud: Cloud) -> None:
    """A service without session tokens is asked for nothing, though it would answer."""
    cloud.configure(imds_v1=True)
    cloud.fault(TOKEN, "MethodNotAllowed", None)
    assert no_node(cloud).code == "aws-metadata-foreign"
    assert cloud.counts() == {TOKEN: 1}


@pytest.mark.parametrize("skew_s", [600, -600])
def test_clocks_that_disagree(cloud: Cloud, skew_s: int) -> None:
    """AWS refuses a signature of another time; the hint is to look at the clock."""
    cloud.configure(skew_s=skew_s)
    error = no_node(cloud)
    assert error.code == "aws-session-rejected"
    assert "clock" in error.hint


# --- container credentials


def in_container(monkeypatch: pytest.MonkeyPatch, variables: Mapping[str, str]) -> None:
    """Set the variables of a container's environment."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def test_task_of_ecs(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment names a credentials endpoint, it is asked, and the metadata service is not."""
    in_container(monkeypatch, {aws_node.FULL_URI: f"{cloud.endpoints.container}/v2/credentials/{TASK}"})
    credential = as_node(cloud)
    assert cloud.counts() == {CONTAINER: 1, ECR: 1}
    assert credential.principal == role_arn(NODE_ROLE)
    assert "authorization" not in cloud.last(CONTAINER).headers


@pytest.mark.parametrize("by_file", [True, False])
def test_pod_of_eks(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, by_file: bool) -> None:
    """The agent of EKS is shown the token of the file or variable that the environment names."""
    token = cloud.mint_token("kube-system", "pullpass", audience=POD_AUDIENCE)
    (tmp_path / "token").write_text(f"{token}\n")
    shown = {aws_node.TOKEN_FILE: str(tmp_path / "token"), aws_node.TOKEN: "another"}
    in_container(
        monkeypatch,
        {aws_node.FULL_URI: f"{cloud.endpoints.container}{POD_PATH}"} | (shown if by_file else {aws_node.TOKEN: token}),
    )
    credential = as_node(cloud)
    assert cloud.counts() == {CONTAINER: 1, ECR: 1}
    assert cloud.last(CONTAINER).headers["authorization"] == token
    assert credential.principal == "", "the agent does not say whose keys these are"
    for request in cloud.requests(ECR):
        assert token not in str(request.headers)


def test_container_by_a_second_hop(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container's credentials may be the first step as well."""
    in_container(monkeypatch, {aws_node.FULL_URI: f"{cloud.endpoints.container}/v2/credentials/{TASK}"})
    as_node(cloud, **hop(cloud))
    assert cloud.counts() == {CONTAINER: 1, HOP: 1, ECR: 1}


def test_variables_outlive_an_exchange(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a resident process the second exchange finds them like the first."""
    in_container(monkeypatch, {aws_node.FULL_URI: f"{cloud.endpoints.container}/v2/credentials/{TASK}"})
    run(cloud)
    as_node(cloud)
    as_node(cloud)
    assert cloud.count(CONTAINER) == 2


@pytest.mark.parametrize(
    ("path", "token", "code"),
    [
        (f"/v2/credentials/{TASK[::-1]}", "", "aws-metadata-denied"),
        (POD_PATH, "", "aws-metadata-denied"),
        (POD_PATH, "no.such.token", "aws-metadata-denied"),
        (POD_PATH, {"audience": "pull.ecr.prod-1"}, "aws-metadata-denied"),
        (POD_PATH, {"lifetime_s": -60}, "aws-metadata-denied"),
        (POD_PATH, {"service_account": "other"}, "aws-node-role"),
        ("/nothing/here", "", "aws-node-role"),
    ],
    ids=["task", "no token", "no JWT", "audience", "expired", "no association", "path"],
)
def test_container_that_is_refused(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, path: str, token: Any, code: str
) -> None:
    """A credentials endpoint that says no has not been found wanting: whoever asks has no role by it."""
    if isinstance(token, dict):
        asked: dict[str, Any] = {"service_account": "pullpass", "audience": POD_AUDIENCE} | token
        token = cloud.mint_token("kube-system", **asked)
    in_container(monkeypatch, {aws_node.FULL_URI: f"{cloud.endpoints.container}{path}", aws_node.TOKEN: token})
    error = no_node(cloud)
    assert error.code == code
    if token:
        assert token not in error.line()
    assert not {TOKEN, ROLE, KEYS, ECR} & set(cloud.counts()), "there is no falling back"


def test_container_that_is_absent(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint where nobody is does not make the metadata service a second choice."""
    in_container(monkeypatch, {aws_node.FULL_URI: f"http://{cloud.dead_end('refused')}/x"})
    assert no_node(cloud).code == "aws-metadata-unreachable"
    assert cloud.counts() == {}


def test_time_that_is_left_is_shared(cloud: Cloud) -> None:
    """With hardly any time left for the whole run, asking the node's own service does not take more than that."""
    clock = ImpatientClock()
    error = refused(cloud, node_plan(cloud), token="", deadline_s=0.0, clock=clock)
    assert error.code == "aws-metadata-unreachable"
    assert cloud.counts() == {}
