"""`scripts/conformance plugin` on AWS's own plugin, ecr-credential-provider, against the local cloud.

Nobody here wrote it, so it proves that the command works for plugins of others: it passes where it should, and each
finding below is what its source says (k8s.io/cloud-provider-aws v1.37.1, `cmd/ecr-credential-provider/main.go`).
"""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from cloud import AUDIENCE, role_arn
from conformance.build import ROOT, build
from conformance.installed import ANNOTATION, HOST
from conformance.scripted import provider, token_attributes, write_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloud import Cloud

IMAGE = f"{HOST}/team-a/app"
NAME = "ecr-credential-provider"
Report = tuple[int, dict[str, list[tuple[str, str]]]]


@pytest.fixture
def examine(tmp_path: Path, cloud: Cloud, kubelet_program: str) -> Callable[..., Report]:
    """Runs the command on it: exit status, and for each check its results and texts."""
    (tmp_path / "bin").mkdir()
    os.symlink(build(NAME), tmp_path / "bin" / NAME)
    (tmp_path / "token").write_text(cloud.mint_token(), encoding="utf-8")

    def run(*arguments: str, annotated: bool = True, **environment: str) -> Report:
        at = cloud.endpoints
        given = {"AWS_ENDPOINT_URL_STS": at.sts, "AWS_ENDPOINT_URL_ECR": at.ecr, "AWS_EC2_METADATA_DISABLED": "true"}
        entry = provider(
            NAME,
            ["*.dkr.ecr.*.amazonaws.com", "*.dkr.ecr.*.amazonaws.com:5000", "evil.example.com"],
            env=[{"name": name, "value": value} for name, value in (given | environment).items()],
            tokenAttributes=token_attributes(
                serviceAccountTokenAudience=AUDIENCE, optionalServiceAccountAnnotationKeys=[ANNOTATION]
            ),
        )
        config = write_config(str(tmp_path / "providers.json"), [entry])
        command = [os.path.join(ROOT, "scripts", "conformance"), "plugin", "--json"]
        command += ["--bin-dir", str(tmp_path / "bin"), "--config", config, "--token-file", str(tmp_path / "token")]
        if annotated:
            command += ["--annotation", f"{ANNOTATION}={role_arn('pull-team-a')}"]
        done = subprocess.run([*command, *arguments], capture_output=True, text=True, cwd="/", check=False)
        assert done.stderr == ""
        document: dict[str, Any] = json.loads(done.stdout)
        results: dict[str, list[tuple[str, str]]] = {}
        for check in document["checks"]:
            results.setdefault(check["name"], []).append((check["result"], check["text"]))
        return done.returncode, results

    return run


def test_no_findings(examine: Callable[..., Report], cloud: Cloud) -> None:
    """With a token and a role it passes: half of twelve hours, for the registry, refused for a broken token."""
    status, results = examine("--image", f"{IMAGE}:v1")
    assert status == 0, results
    assert results["asked"] == [("ok", "once")]
    assert results["auth-key"] == [("ok", f"user 'AWS' under {HOST!r}")]
    assert results["cache-key-type"] == [("ok", "Registry")]
    ((result, kept),) = results["cache-duration"]
    assert result == "ok"
    assert 21_590 <= float(kept.removesuffix(" s")) <= 21_600
    assert results["cached"] == [("ok", "not asked again")]
    assert results["attribution"] == [("ok", "team-a/web")]
    assert results["bad-token"] == [("ok", "refused")]
    assert results["no-secrets"] == [("ok", "none shown")]
    # Asked by the kubelet and run directly, with the good token and with the broken one.
    assert cloud.count("sts.AssumeRoleWithWebIdentity") >= 4
    assert cloud.count("ecr.GetAuthorizationToken") == 2


def test_a_port_is_lost(examine: Callable[..., Report]) -> None:
    """It answers for the host without its port, which the keyring does not find (`parseHostFromImageReference`)."""
    status, results = examine("--image", f"{HOST}:5000/team-a/app")
    assert status == 1
    assert results["auth-key"] == [("FINDING", f"the keyring finds nothing under {HOST!r}")]
    assert results["cache-key-type"][0][0] == "FINDING"


def test_a_password_opens_the_whole_registry(examine: Callable[..., Report]) -> None:
    """An image of another team gets the same password, and so does a host that is not ECR's."""
    status, results = examine(
        "--refuse", f"{HOST}/team-b/app", "--refuse", "evil.example.com/app", AWS_REGION="us-west-2"
    )
    assert status == 1
    assert results["refuses"] == [("FINDING", "a credential, user 'AWS'")] * 2


def test_the_node_answers_for_an_account_without_role(examine: Callable[..., Report], cloud: Cloud) -> None:
    """Without the annotation it asks as the node, whatever the token is worth (`buildCredentialsProvider`)."""
    from cloud.clients import credentials  # noqa: PLC0415 - imports boto3

    keys = credentials(cloud)
    status, results = examine(
        "--image", IMAGE, annotated=False, AWS_ACCESS_KEY_ID=keys["AccessKeyId"],
        AWS_SECRET_ACCESS_KEY=keys["SecretAccessKey"], AWS_SESSION_TOKEN=keys["SessionToken"],
    )  # fmt: skip
    assert status == 1
    assert results["attribution"] == [("ok", "team-a/web")]
    assert results["bad-token"] == [("FINDING", "a credential all the same, user 'AWS', in the account's name")]


def test_a_refusal_is_shown(examine: Callable[..., Report], cloud: Cloud) -> None:
    """A role that is not there: the plugin's own words."""
    cloud.remove_role("pull-team-a")
    status, results = examine("--image", IMAGE)
    assert status == 1
    assert results["runs"][0][0] == "FINDING"
    assert "AccessDenied" in results["decodes"][0][1]
