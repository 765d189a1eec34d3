"""The local cloud as what a node finds on its link: both metadata servers, and the credentials of containers."""

from __future__ import annotations

import json
import socket
import threading
from typing import TYPE_CHECKING, Any

import pytest
import urllib3
from botocore.utils import ContainerMetadataFetcher, InstanceMetadataFetcher
from google.auth.compute_engine import _metadata
from google.auth.transport.urllib3 import Request as Transport

from cloud import ACCOUNT, role_arn
from cloud.clients import Reply, authorization, client, refused, request
from cloud.gcp.clients import pull
from cloud.gcp.world import CLOUD_SCOPE, NODE_ACCOUNT
from cloud.node import INSTANCE, TASK
from cloud.world import EC2, assume_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud import Cloud

TTL = "X-aws-ec2-metadata-token-ttl-seconds"
TOKEN = "X-aws-ec2-metadata-token"
ROLES = "/latest/meta-data/iam/security-credentials/"
NODE_ARN = f"arn:aws:sts::{ACCOUNT}:assumed-role/node-prod-1/{INSTANCE}"
READ_ONLY = "https://www.googleapis.com/auth/devstorage.read_only"


def imds(cloud: Cloud, path: str, method: str = "GET", **headers: str) -> Reply:
    """A request to the instance metadata service; `_` in header names is `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return request(cloud.endpoints.imds + path, method, headers=named)


def session_token(cloud: Cloud, ttl: str = "60") -> str:
    """A session token of the service."""
    reply = imds(cloud, "/latest/api/token", "PUT", **{TTL: ttl})
    assert reply.status == 200
    return reply.body.decode()


def keys(document: Mapping[str, Any]) -> dict[str, str]:
    """Credentials as metadata servers show them, as STS shows them."""
    return {
        "AccessKeyId": document["AccessKeyId"],
        "SecretAccessKey": document["SecretAccessKey"],
        "SessionToken": document["Token"],
    }


def who(cloud: Cloud, document: Mapping[str, Any]) -> str:
    """The ARN of whom credentials stand for."""
    with client("sts", cloud.endpoints.sts, credentials=keys(document)) as sts:
        return str(sts.get_caller_identity()["Arn"])


# --- EC2


def test_botocore_finds_the_nodes_role(cloud: Cloud) -> None:
    """The SDK gets a session token, the role's name and its credentials, and they are the node's."""
    found = InstanceMetadataFetcher(base_url=cloud.endpoints.imds, env={}).retrieve_iam_role_credentials()
    assert found["role_name"] == "node-prod-1"
    document = {"AccessKeyId": found["access_key"], "SecretAccessKey": found["secret_key"], "Token": found["token"]}
    assert who(cloud, document) == NODE_ARN
    assert authorization(cloud, keys(document))["authorizationData"]
    counts = cloud.counts()
    assert {name: counts[name] for name in counts if name.startswith("imds")} == {
        "imds.token": 1, "imds.role": 1, "imds.credentials": 1,
    }  # fmt: skip
    assert cloud.last("imds.credentials").principal == NODE_ARN
    assert cloud.last("imds.token").parameters == {"ttl": "21600"}


def test_the_same_credentials_until_they_are_old(cloud: Cloud) -> None:
    """Credentials come again while they are fresh, and new ones before they end."""

    def asked() -> dict[str, Any]:
        reply = imds(cloud, f"{ROLES}node-prod-1", **{TOKEN: session_token(cloud)})
        return dict(json.loads(reply.body))

    first = asked()
    assert first["Code"] == "Success"
    assert asked()["AccessKeyId"] == first["AccessKeyId"]
    cloud.configure(skew_s=6 * 3600 - 60)
    assert asked()["AccessKeyId"] != first["AccessKeyId"]


def test_without_a_session_token(cloud: Cloud) -> None:
    """Version 1 is refused, unless it is allowed; a token that is unknown or has ended is refused in any case."""
    assert imds(cloud, ROLES).status == 401
    assert imds(cloud, ROLES, **{TOKEN: "AQAAunknown=="}).status == 401
    token = session_token(cloud, "1")
    assert imds(cloud, ROLES, **{TOKEN: token}).body == b"node-prod-1"
    cloud.configure(skew_s=1)
    assert imds(cloud, ROLES, **{TOKEN: token}).status == 401
    cloud.configure(imds_v1=True)
    assert imds(cloud, ROLES).status == 200
    assert imds(cloud, ROLES, **{TOKEN: token}).status == 401


@pytest.mark.parametrize("ttl", ["0", "21601", "", "x", "-1", "6.5"])
def test_lives_that_a_session_token_cannot_have(cloud: Cloud, ttl: str) -> None:
    """One second to six hours."""
    assert imds(cloud, "/latest/api/token", "PUT", **{TTL: ttl}).status == 400


def test_what_the_token_is_not_given_for(cloud: Cloud) -> None:
    """The header is needed, a proxy is not let through, and there is no other method."""
    assert imds(cloud, "/latest/api/token", "PUT").status == 400
    assert imds(cloud, "/latest/api/token", "PUT", X_Forwarded_For="10.0.0.1", **{TTL: "60"}).status == 403
    assert imds(cloud, "/latest/api/token", **{TTL: "60"}).status == 405
    assert imds(cloud, ROLES, "POST", **{TOKEN: session_token(cloud)}).status == 405


def test_no_more_hops_than_allowed(cloud: Cloud) -> None:
    """To a caller too far away the answer to PUT never arrives: from a container, with a limit of one."""
    cloud.configure(imds_hops=2)
    host, port = cloud.endpoints.imds.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=0.5) as connection:
        connection.sendall(f"PUT /latest/api/token HTTP/1.1\r\nHost: {host}\r\n{TTL}: 60\r\n\r\n".encode())
        assert len(cloud.wait_for("imds.token")) == 1
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert cloud.last("imds.token").status is None
    cloud.configure(imds_hop_limit=2)
    assert session_token(cloud)


def test_who_hangs_does_not_keep_the_cloud_from_stopping(cloud: Cloud) -> None:
    """A reset lets go of those whom no answer reaches."""
    cloud.configure(imds_hops=2)
    answers: list[object] = []

    def ask() -> None:
        try:
            answers.append(session_token(cloud))
        except OSError as error:
            answers.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    cloud.wait_for("imds.token")
    cloud.reset()
    thread.join(timeout=8)
    assert not thread.is_alive()
    assert answers


def test_a_node_without_a_role(cloud: Cloud) -> None:
    """No role, another role's name, and a role that EC2 may not assume."""
    token = session_token(cloud)
    assert imds(cloud, f"{ROLES}other", **{TOKEN: token}).status == 404
    cloud.set_role("node-prod-1", trust=assume_document({"Service": ["lambda.amazonaws.com"]}))
    refusal = json.loads(imds(cloud, f"{ROLES}node-prod-1", **{TOKEN: token}).body)
    assert refusal["Code"] == "AssumeRoleUnauthorizedAccess"
    assert "AccessKeyId" not in refusal
    cloud.configure(node_role=None)
    assert imds(cloud, ROLES, **{TOKEN: token}).status == 404
    assert imds(cloud, f"{ROLES}node-prod-1", **{TOKEN: token}).status == 404
    cloud.configure(imds_enabled=False)
    assert imds(cloud, "/latest/api/token", "PUT", **{TTL: "60"}).status == 403


def test_other_metadata_of_the_instance(cloud: Cloud) -> None:
    """The little that the SDK may ask besides."""
    cloud.configure(node_region="eu-west-1")
    token = session_token(cloud)
    for path, body in (
        ("placement/region", b"eu-west-1"),
        ("placement/availability-zone/", b"eu-west-1a"),
        ("instance-id", INSTANCE.encode()),
    ):
        assert imds(cloud, f"/latest/meta-data/{path}", **{TOKEN: token}).body == body
    assert imds(cloud, "/latest/user-data", **{TOKEN: token}).status == 404


def test_the_nodes_rights_are_its_own(cloud: Cloud) -> None:
    """A deleted role ends its sessions, as everywhere."""
    document = json.loads(imds(cloud, f"{ROLES}node-prod-1", **{TOKEN: session_token(cloud)}).body)
    cloud.remove_role("node-prod-1")
    assert refused(lambda: authorization(cloud, keys(document)))[0] == "UnrecognizedClientException"
    assert json.loads(imds(cloud, f"{ROLES}node-prod-1", **{TOKEN: session_token(cloud)}).body)["Code"] != "Success"


@pytest.mark.parametrize(
    ("host", "service"), [("169.254.169.254", "imds"), ("[fd00:ec2::254]", "imds"), ("sts.amazonaws.com", "unknown"),
                          ("metadata.google.internal", "unknown"), ("169.254.170.2", "unknown")],
)  # fmt: skip
def test_where_the_instance_metadata_is(cloud: Cloud, host: str, service: str) -> None:
    """On the addresses of the link, and not on other services' hosts."""
    imds(cloud, "/latest/api/token", "PUT", Host=host, **{TTL: "60"})
    assert cloud.last().service == service


# --- containers


def test_botocore_finds_a_tasks_role(cloud: Cloud) -> None:
    """ECS tells tasks apart by the path."""
    fetcher = ContainerMetadataFetcher()
    document = fetcher.retrieve_full_uri(f"{cloud.endpoints.container}/v2/credentials/{TASK}")
    assert who(cloud, document) == f"arn:aws:sts::{ACCOUNT}:assumed-role/node-prod-1/{TASK.replace('-', '')}"
    assert document["RoleArn"] == role_arn("node-prod-1")
    request(f"{cloud.endpoints.container}/v2/credentials/{TASK[:-1]}")
    assert cloud.last().where == "registry.other", "not the form of an id"
    other = TASK.replace("0", "1")
    reply = request(f"{cloud.endpoints.container}/v2/credentials/{other}")
    assert (reply.status, json.loads(reply.body)["code"]) == (400, "InvalidIdInRequest")


def test_botocore_finds_a_pods_role(cloud: Cloud) -> None:
    """The agent gives the role that is associated with the service account whose token is shown."""
    token = cloud.mint_token("kube-system", "pullpass", audience="pods.eks.amazonaws.com")
    url = f"{cloud.endpoints.container}/v1/credentials"
    document = ContainerMetadataFetcher().retrieve_full_uri(url, headers={"Authorization": token})
    assert who(cloud, document).startswith(f"arn:aws:sts::{ACCOUNT}:assumed-role/node-prod-1/eks-prod-1-pullpass")
    assert document["AccountId"] == ACCOUNT
    cloud.configure(pod_roles={"team-a/web": role_arn("node-prod-1")})
    assert request(url, headers={"Authorization": token}).status == 404
    web = cloud.mint_token("team-a", "web", audience="pods.eks.amazonaws.com")
    assert request(url, headers={"Authorization": web}).status == 200


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"audience": "sts.amazonaws.com"}, "InvalidTokenException"),
        ({"claims": {"aud": "pods.eks.amazonaws.com.example.test"}}, "InvalidTokenException"),
        ({"claims": {"aud": 7}}, "InvalidTokenException"),
        ({"claims": {"iss": "https://other.example.test"}}, "InvalidTokenException"),
        ({"claims": {"sub": "user:x"}}, "InvalidTokenException"),
        ({"claims": {"exp": "soon"}}, "InvalidTokenException"),
        ({"key": "wrong"}, "InvalidTokenException"),
        ({"key": "unknown"}, "InvalidTokenException"),
        ({"alg": "none"}, "InvalidTokenException"),
        ({"payload": b"x"}, "InvalidTokenException"),
        ({"lifetime_s": 0}, "ExpiredTokenException"),
    ],
    ids=str,
)
def test_tokens_that_the_agent_refuses(cloud: Cloud, change: dict[str, Any], code: str) -> None:
    """The token is verified, for the agent's own audience."""
    options = {"audience": "pods.eks.amazonaws.com"} | change
    token = cloud.mint_token("kube-system", "pullpass", **options)
    reply = request(f"{cloud.endpoints.container}/v1/credentials", headers={"Authorization": token})
    assert (reply.status, cloud.last("container").code) == (400, code)
    assert code.encode() in reply.body


def test_no_token_and_no_trust(cloud: Cloud) -> None:
    """Nobody gets nothing, and a role must trust the service that assumes it."""
    url = f"{cloud.endpoints.container}/v1/credentials"
    assert request(url).status == 400
    cloud.set_role("node-prod-1", trust=assume_document({"Service": [EC2]}))
    token = cloud.mint_token("kube-system", "pullpass", audience="pods.eks.amazonaws.com")
    assert request(url, headers={"Authorization": token}).status == 400
    assert cloud.last("container").code == "AccessDeniedException"
    cloud.configure(task_roles={})
    assert request(f"{cloud.endpoints.container}/v2/credentials/{TASK}").status == 400
    assert request(url, "POST").status == 404


# --- Google


def gmetadata(cloud: Cloud, path: str, method: str = "GET", flavor: str | None = "Google", **headers: str) -> Reply:
    """A request below /computeMetadata/v1/."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if flavor is not None:
        named["Metadata-Flavor"] = flavor
    return request(f"{cloud.endpoints.gmetadata}/computeMetadata/v1/{path}", method, headers=named)


TOKEN_PATH = "instance/service-accounts/default/token"


def test_google_auth_finds_the_nodes_account(cloud: Cloud) -> None:
    """The library finds the server, the account and a token, which is the node's."""
    pool = urllib3.PoolManager(retries=False)
    transport = Transport(pool)  # type: ignore[no-untyped-call]
    root = f"{cloud.endpoints.gmetadata}/computeMetadata/v1/"
    info = _metadata.get(transport, "instance/service-accounts/default/", root=root, recursive=True)  # type: ignore[no-untyped-call]
    document = _metadata.get(transport, TOKEN_PATH, root=root)  # type: ignore[no-untyped-call]
    pool.clear()
    assert info["email"] == NODE_ACCOUNT
    assert document["token_type"] == "Bearer"
    assert 3500 < document["expires_in"] <= 3600
    assert pull(cloud, "proj/system/pause/manifests/v1", document["access_token"]).status == 200
    assert pull(cloud, "proj/team-b/web/manifests/v1", document["access_token"]).status == 403
    assert cloud.last("gmetadata.token").principal == f"serviceAccount:{NODE_ACCOUNT}"
    assert cloud.counts()["gmetadata.account"] == 1


def test_the_flavor_is_demanded_and_shown(cloud: Cloud) -> None:
    """Without the header there is nothing, and every answer has it, unless somebody else is there."""
    for flavor in (None, "google", ""):
        assert gmetadata(cloud, TOKEN_PATH, flavor=flavor).status == 403
    assert gmetadata(cloud, TOKEN_PATH, X_Forwarded_For="10.0.0.1").status == 403
    assert gmetadata(cloud, TOKEN_PATH).headers["metadata-flavor"] == "Google"
    assert gmetadata(cloud, "nothing").headers["metadata-flavor"] == "Google"
    assert (
        request(f"{cloud.endpoints.gmetadata}/", headers={"Metadata-Flavor": "x"}).headers["metadata-flavor"]
        == "Google"
    )
    cloud.configure(metadata_impostor=True)
    reply = gmetadata(cloud, TOKEN_PATH)
    assert (reply.status, "metadata-flavor" in reply.headers) == (200, False)
    cloud.configure(metadata_impostor=False)
    cloud.fault("gmetadata.email", "no-header", name="metadata-flavor")
    assert "metadata-flavor" not in gmetadata(cloud, "instance/service-accounts/default/email").headers


def test_the_same_token_until_it_is_old(cloud: Cloud) -> None:
    """A token comes again with what it has left, and a new one for its last five minutes."""
    first = json.loads(gmetadata(cloud, TOKEN_PATH).body)
    cloud.configure(skew_s=3000)
    again = json.loads(gmetadata(cloud, TOKEN_PATH).body)
    assert again["access_token"] == first["access_token"]
    assert 598 <= again["expires_in"] <= 600
    cloud.configure(skew_s=3302)
    assert json.loads(gmetadata(cloud, TOKEN_PATH).body)["access_token"] != first["access_token"]


def test_scopes_of_the_nodes_token(cloud: Cloud) -> None:
    """The node's own, or those that are asked for."""
    cloud.configure(google_node_scopes=[READ_ONLY])
    token = json.loads(gmetadata(cloud, TOKEN_PATH).body)["access_token"]
    assert cloud.google.tokens[token].scopes == {READ_ONLY}
    token = json.loads(gmetadata(cloud, f"{TOKEN_PATH}?scopes={CLOUD_SCOPE},{READ_ONLY}").body)["access_token"]
    assert cloud.google.tokens[token].scopes == {CLOUD_SCOPE, READ_ONLY}
    assert gmetadata(cloud, "instance/service-accounts/default/scopes").body == READ_ONLY.encode()


def test_other_metadata_of_google(cloud: Cloud) -> None:
    """The little that a client may ask besides; by the account's own name as well."""
    for path, body in (
        ("instance/service-accounts/default/email", NODE_ACCOUNT),
        (f"instance/service-accounts/{NODE_ACCOUNT}/email", NODE_ACCOUNT),
        ("instance/service-accounts/", f"default/\n{NODE_ACCOUNT}/\n"),
        ("project/project-id", "proj"),
        ("project/numeric-project-id", "123"),
        ("universe/universe-domain", "googleapis.com"),
    ):
        assert gmetadata(cloud, path).body.decode() == body
    for path in ("instance/service-accounts/other@proj.iam.gserviceaccount.com/token", "instance/attributes/x",
                 "instance/service-accounts/default/identity"):  # fmt: skip
        assert gmetadata(cloud, path).status == 404
    assert gmetadata(cloud, TOKEN_PATH, "POST").status == 405


def test_a_node_without_an_account(cloud: Cloud) -> None:
    """Nothing about an account then."""
    cloud.configure(google_node_account=None)
    for path in (TOKEN_PATH, "instance/service-accounts/default/email", "instance/service-accounts/default/scopes"):
        assert gmetadata(cloud, path).status == 404
    assert gmetadata(cloud, "instance/service-accounts/").body == b""


@pytest.mark.parametrize(
    ("host", "service"), [("169.254.169.254", "gmetadata"), ("metadata.google.internal", "gmetadata"),
                          ("metadata.google.internal.", "gmetadata"), ("[fd00:ec2::254]", "unknown")],
)  # fmt: skip
def test_where_googles_metadata_is(cloud: Cloud, host: str, service: str) -> None:
    """On the address of the link, which is the same in both clouds, and under its names."""
    gmetadata(cloud, TOKEN_PATH, Host=host)
    assert cloud.last().service == service
