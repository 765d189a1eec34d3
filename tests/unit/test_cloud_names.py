"""The local cloud under AWS's own host names, and what skopeo makes of its registry."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cloud import ACCOUNT, Cloud, role_arn
from cloud.clients import client, password, policy, pull, refused
from cloud.images import digest
from cloud.world import REGION

if TYPE_CHECKING:
    from pathlib import Path

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
LOGIN = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/"
OTHER_ACCOUNT = "444455556666"

needs_skopeo = pytest.mark.needs("skopeo")


def pulling(*repositories: str, actions: Any = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")) -> str:
    """A session policy to log in and pull from these repositories."""
    resources = [ARN + name for name in repositories]
    return policy(LOGIN, {"Effect": "Allow", "Action": list(actions), "Resource": resources})


def skopeo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run skopeo with an environment that has no credentials of its own."""
    kept = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(["skopeo", *arguments], env=kept | environment, text=True, capture_output=True, check=False)


@needs_skopeo
def test_skopeo_pulls_what_is_granted(cloud: Cloud, tmp_path: Path) -> None:
    """Skopeo inspects and copies the granted image, and is refused the other one with the reason."""
    login = password(cloud, Policy=pulling("team-a/app"))
    at = f"docker://{cloud.endpoints.registry}"
    inspected = skopeo("inspect", "--tls-verify=false", "--no-tags", "--creds", login, f"{at}/team-a/app:v1")
    manifest = pull(cloud, "team-a/app/manifests/v1", login)
    assert json.loads(inspected.stdout)["Digest"] == digest(manifest.body)
    copied = skopeo("copy", "--src-tls-verify=false", "--src-creds", login, "--insecure-policy",
                    f"{at}/team-a/app:v1", f"dir:{tmp_path / 'image'}")  # fmt: skip
    assert copied.returncode == 0, copied.stderr
    assert (tmp_path / "image" / "manifest.json").read_bytes() == manifest.body
    denied = skopeo("inspect", "--tls-verify=false", "--no-tags", "--creds", login, f"{at}/team-a/other:v1")
    assert denied.returncode
    assert "no session policy allows the ecr:BatchGetImage action" in denied.stderr
    nobody = skopeo("inspect", "--tls-verify=false", "--no-tags", f"{at}/team-a/app:v1")
    assert nobody.returncode
    assert cloud.last("registry").status == 401


@needs_skopeo
def test_skopeo_under_the_registrys_own_name(cloud: Cloud) -> None:
    """Through the proxy door skopeo uses the name in the pod's specification, over verified TLS."""
    inspected = skopeo("inspect", "--no-tags", "--creds", password(cloud), f"docker://{HOST}/shared/base:multi",
                       HTTPS_PROXY=cloud.endpoints.proxy, SSL_CERT_FILE=cloud.endpoints.ca_file)  # fmt: skip
    assert inspected.returncode == 0, inspected.stderr
    last = cloud.last("registry")
    assert (last.host, last.tls, last.proxied, last.account, last.region) == (HOST, True, True, ACCOUNT, REGION)


@pytest.mark.newest
@pytest.mark.parametrize(
    ("region", "options", "sts_host", "ecr_host"),
    [
        ("us-west-2", {}, "sts.us-west-2.amazonaws.com", "api.ecr.us-west-2.amazonaws.com"),
        ("us-west-2", {"use_fips_endpoint": True}, "sts-fips.us-west-2.amazonaws.com",
         "api.ecr-fips.us-west-2.amazonaws.com"),
        ("eu-west-1", {"use_dualstack_endpoint": True}, "sts.eu-west-1.api.aws", "ecr.eu-west-1.api.aws"),
        ("eusc-de-east-1", {}, "sts.eusc-de-east-1.amazonaws.eu", "api.ecr.eusc-de-east-1.amazonaws.eu"),
        ("cn-north-1", {}, "sts.cn-north-1.amazonaws.com.cn", "api.ecr.cn-north-1.amazonaws.com.cn"),
        ("us-iso-east-1", {}, "sts.us-iso-east-1.c2s.ic.gov", "api.ecr.us-iso-east-1.c2s.ic.gov"),
    ],
)  # fmt: skip
def test_awss_own_names(cloud: Cloud, region: str, options: dict[str, Any], sts_host: str, ecr_host: str) -> None:
    """Through the proxy door boto3 finds STS and ECR where its own rules say they are; partitions do not mix."""
    partition = {"eusc-de-east-1": "aws-eusc", "cn-north-1": "aws-cn", "us-iso-east-1": "aws-iso"}.get(region, "aws")
    role = role_arn("pull-team-a", partition=partition)
    old = cloud.world.roles[role_arn("pull-team-a")]
    cloud.world.roles[role] = type(old)(role, old.trust, old.policy, old.max_session_s)
    through: dict[str, Any] = {
        "proxies": {"https": cloud.endpoints.proxy},
        "verify": cloud.endpoints.ca_file,
        **options,
    }
    with client("sts", None, region, **through) as sts:
        answer = sts.assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="x-y", WebIdentityToken=cloud.mint_token()
        )
    assert (cloud.last("sts").host, cloud.last("sts").region) == (sts_host, region)
    assert answer["AssumedRoleUser"]["Arn"].startswith(f"arn:{partition}:sts:")
    with client("ecr", None, region, credentials=answer["Credentials"], **through) as ecr:
        data = ecr.get_authorization_token()["authorizationData"][0]
    assert (cloud.last("ecr").host, cloud.last("ecr").region) == (ecr_host, region)
    assert data["proxyEndpoint"].startswith(f"https://{ACCOUNT}.dkr.ecr.{region}.")


def test_partitions_and_regions_of_sts(cloud: Cloud) -> None:
    """A role of another partition is unknown where it is asked for; a region may be switched off."""
    through: dict[str, Any] = {"proxies": {"https": cloud.endpoints.proxy}, "verify": cloud.endpoints.ca_file}

    def ask(region: str) -> object:
        with client("sts", None, region, **through) as sts:
            return sts.assume_role_with_web_identity(
                RoleArn=role_arn("pull-team-a"), RoleSessionName="x-y", WebIdentityToken=cloud.mint_token()
            )

    assert refused(lambda: ask("cn-north-1"))[:2] == ("AccessDenied", 403)
    cloud.configure(disabled_regions=["ap-east-1"])
    assert refused(lambda: ask("ap-east-1"))[:2] == ("RegionDisabledException", 403)
    assert ask("us-west-2")
