"""The local cloud as ECR Public: two permissions, one region, and a registry for everybody."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloud import role_arn
from cloud.clients import Reply, assume, client, policy, pull, refused, request
from cloud.world import CHINA_ACCOUNT, PUBLIC_STATEMENT

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cloud import Cloud

LOGIN = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
FOR_OTHERS = {"StringEquals": {"sts:AWSServiceName": "codeartifact.amazonaws.com"}}
BUSYBOX = "docker/library/busybox"


def public_login(cloud: Cloud, keys: Mapping[str, str], region: str = "us-east-1") -> dict[str, Any]:
    """What ECR Public answers to GetAuthorizationToken."""
    with client("ecr-public", cloud.endpoints.ecr_public, region, credentials=keys) as ecr:
        answer: dict[str, Any] = ecr.get_authorization_token()
        return answer


def public(cloud: Cloud, path: str, headers: Mapping[str, str] | None = None) -> Reply:
    """A request to the public registry."""
    return request(f"http://{cloud.endpoints.public}{path}", headers=headers)


def basic(login: str) -> dict[str, str]:
    """The header of Basic authentication."""
    return {"Authorization": f"Basic {base64.b64encode(login.encode()).decode()}"}


def public_keys(cloud: Cloud) -> dict[str, str]:
    """Credentials of a role that may log in to ECR Public."""
    keys: dict[str, str] = assume(cloud, "pull-public")["Credentials"]
    return keys


def test_a_login_to_ecr_public(cloud: Cloud) -> None:
    """One object instead of a list, no endpoint, 12 hours; signed for us-east-1."""
    data = public_login(cloud, public_keys(cloud))["authorizationData"]
    assert set(data) == {"authorizationToken", "expiresAt"}
    user, _, secret = base64.b64decode(data["authorizationToken"]).decode().partition(":")
    assert user == "AWS"
    assert abs(data["expiresAt"].timestamp() - cloud.world.public_passwords[secret].expires_s) < 0.01
    assert cloud.counts()["ecr-public.GetAuthorizationToken"] == 1
    assert cloud.last("ecr-public").region == "us-east-1"
    assert pull(cloud, "", f"AWS:{secret}").status == 401, "no password of the private registry"


@pytest.mark.parametrize(
    ("role_policy", "session_policy"),
    [
        (policy({**PUBLIC_STATEMENT, "Action": "ecr-public:GetAuthorizationToken"}), None),
        (policy({**PUBLIC_STATEMENT, "Action": "sts:GetServiceBearerToken"}), None),
        (policy(LOGIN), None),
        (policy(PUBLIC_STATEMENT), policy(LOGIN)),
        (policy({**PUBLIC_STATEMENT, "Condition": FOR_OTHERS}), None),
    ],
)
def test_ecr_public_wants_two_permissions(cloud: Cloud, role_policy: str, session_policy: str | None) -> None:
    """The API's own and the one for bearer tokens, of the role and of the session."""
    cloud.set_role("pull-public", policy=role_policy)
    keys = assume(cloud, "pull-public", **({} if session_policy is None else {"Policy": session_policy}))["Credentials"]
    assert refused(lambda: public_login(cloud, keys))[:2] == ("AccessDeniedException", 400)
    condition = {"StringEquals": {"sts:AWSServiceName": "ecr-public.amazonaws.com"}}
    cloud.set_role("pull-public", policy=policy({**PUBLIC_STATEMENT, "Condition": condition}))
    assert public_login(cloud, public_keys(cloud))


def test_ecr_public_is_in_one_region(cloud: Cloud) -> None:
    """Elsewhere the action is not supported, and no partition but one has it."""
    assert refused(lambda: public_login(cloud, public_keys(cloud), "us-west-2"))[0] == "UnsupportedCommandException"
    china = assume(cloud, role_arn("pull-team-a", CHINA_ACCOUNT, "aws-cn"))["Credentials"]
    assert refused(lambda: public_login(cloud, china))[0] == "UnrecognizedClientException"
    wrong = public_keys(cloud) | {"SecretAccessKey": "wrong"}
    assert refused(lambda: public_login(cloud, wrong))[0] == "InvalidSignatureException"
    cloud.remove_role("pull-public")
    with client("ecr-public", cloud.endpoints.ecr_public, "us-east-1") as ecr:
        assert refused(ecr.describe_registries)[0] == "UnknownOperationException"


@pytest.mark.parametrize(
    ("body", "code"),
    [(b"[]", "SerializationException"), (b'{"registryIds": []}', "InvalidParameterException"), (b"{}", None)],
)
def test_ecr_public_takes_no_parameters(cloud: Cloud, body: bytes, code: str | None) -> None:
    """The body is an empty object."""
    keys = public_keys(cloud)
    target = "SpencerFrontendService.GetAuthorizationToken"
    made = AWSRequest("POST", f"{cloud.endpoints.ecr_public}/", {"X-Amz-Target": target}, body)
    signer = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    SigV4Auth(signer, "ecr-public", "us-east-1").add_auth(made)
    reply = request(cloud.endpoints.ecr_public, "POST", body, {**made.headers})
    assert json.loads(reply.body).get("__type") == code


def test_a_role_that_is_gone(cloud: Cloud) -> None:
    """Its sessions sign for nothing any more."""
    keys = public_keys(cloud)
    cloud.remove_role("pull-public")
    assert refused(lambda: public_login(cloud, keys))[0] == "UnrecognizedClientException"


def test_pulls_from_ecr_public(cloud: Cloud) -> None:
    """Everybody may, with a registry token for nobody or for somebody; a bad password is refused all the same."""
    encoded = public_login(cloud, public_keys(cloud))["authorizationData"]["authorizationToken"]
    login = base64.b64decode(encoded).decode()
    for headers, principal in (({}, "anonymous"), (basic(login), "assumed-role/pull-public/")):
        reply = public(cloud, f"/token/?service=public.ecr.aws&scope=repository:{BUSYBOX}:pull", headers)
        bearer = {"Authorization": f"Bearer {json.loads(reply.body)['token']}"}
        assert public(cloud, "/v2/", bearer).status == 200
        assert public(cloud, f"/v2/{BUSYBOX}/manifests/v1", bearer).status == 200
        assert principal in str(cloud.last("public").principal)
        assert public(cloud, "/v2/none/none/manifests/v1", bearer).status == 404
        assert public(cloud, f"/v2/{BUSYBOX}/manifests/none", bearer).status == 404
    assert public(cloud, f"/v2/{BUSYBOX}/manifests/v1", basic(login)).status == 200
    for bad in (basic("AWS:wrong"), basic("root:x"), {"Authorization": "Bearer x"}, {"Authorization": "Basic %"}):
        assert public(cloud, f"/v2/{BUSYBOX}/manifests/v1", bad).status == 401
    reply = public(cloud, f"/v2/{BUSYBOX}/manifests/v1")
    at = cloud.endpoints.public
    assert reply.headers["www-authenticate"] == f'Bearer realm="http://{at}/token/",service="{at}",scope="aws"'
    cloud.configure(skew_s=3601)
    assert public(cloud, f"/v2/{BUSYBOX}/manifests/v1", bearer).status == 401
    cloud.configure(skew_s=12 * 3600 + 1)
    assert public(cloud, f"/v2/{BUSYBOX}/manifests/v1", basic(login)).status == 403
    assert public(cloud, f"/v2/{BUSYBOX}/uploads/x", basic(login)).status == 405


@pytest.mark.needs("skopeo")
@pytest.mark.parametrize("host", ["public.ecr.aws", "ecr-public.aws.com"])
def test_skopeo_under_the_names_of_ecr_public(cloud: Cloud, host: str) -> None:
    """Anonymous and with a password, under both names."""
    cloud.push_public("team/app")
    encoded = public_login(cloud, public_keys(cloud))["authorizationData"]["authorizationToken"]
    for creds in ([], ["--creds", base64.b64decode(encoded).decode()]):
        done = subprocess.run(
            ["skopeo", "inspect", "--no-tags", *creds, f"docker://{host}/team/app:v1"],
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent", "HTTPS_PROXY": cloud.endpoints.proxy,
                 "SSL_CERT_FILE": cloud.endpoints.ca_file},
            text=True, capture_output=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert (cloud.last("public").host, cloud.last("public").status) == (host, 200)
