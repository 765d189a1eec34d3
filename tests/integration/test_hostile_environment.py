"""The SDK's variables, profiles, files and rule sets: all hostile at once, and none has a say.

Each test has its control: what the same environment does to boto3 itself. Without that, a variable that lost its
meaning in some release would go on being "ignored" here for ever.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from integration.exchanging import make_plan
from integration.hostile import JUNK, breaking, node_environment, redirecting

if TYPE_CHECKING:
    from cloud import Cloud
    from integration.traps import Trap

OURS = """
import json, sys
from pullpass.clock import Deadline, SystemClock
from pullpass.exchange import load, plan_aws
from pullpass.secret import Secret

fields, token = json.load(sys.stdin)
fields["hops"] = [plan_aws.Hop(*hop) for hop in fields["hops"]]
clock = SystemClock()
deadline = Deadline(clock, 30)
credential = load(fields["kind"])(plan_aws.AwsPlan(**fields), Secret(token) if token else None, deadline, clock)
print(credential.principal)
"""
# What anybody would write who trusts the SDK.
CONTROL = """
import json, sys
import boto3

fields, token = json.load(sys.stdin)
sts = boto3.client("sts", region_name=fields["region"], endpoint_url={endpoint}, verify=fields["ca_bundle"])
sts.assume_role_with_web_identity(
    RoleArn=fields["identity"], RoleSessionName=fields["session_name"], WebIdentityToken=token
)
"""
# The same of whoever lets the SDK find the node's keys.
NODE_CONTROL = """
import boto3

print(boto3.Session(region_name="us-west-2").get_credentials().access_key)
"""


def run(
    cloud: Cloud, program: str, home: Path, environment: dict[str, str], *, node: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a program with a plan and a token on stdin, or as the node without one, in exactly this environment."""
    planned = make_plan(cloud, tls=True, token=not node, **({"identity": "node"} if node else {}))
    stdin = json.dumps([planned._replace(calls=())._asdict(), "" if node else cloud.mint_token()])
    return subprocess.run(
        [sys.executable, "-c", program],
        input=stdin,
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **environment},
        cwd=home,
        check=False,
        timeout=60,
    )


def test_everything_at_once(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """With every variable and file set against it, the exchange sends its two requests, and nothing to anybody else."""
    (tmp_path / "junk").write_text(JUNK)
    environment = redirecting(tmp_path, trap) | breaking(tmp_path)
    done = run(cloud, OURS, tmp_path, environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1_team-a_web\n"
    sent = [request for request in cloud.requests() if request.service != "issuer"]
    assert [request.where for request in sent] == ["sts.AssumeRoleWithWebIdentity", "ecr.GetAuthorizationToken"]
    assert trap.caught == []
    for request in sent:
        assert "hostile" not in str(request.headers).lower()
    left = {path.relative_to(tmp_path).parts[0] for path in tmp_path.rglob("*")}
    assert left == {".aws", "data", "junk"}, "a key log, say"


def test_control(cloud: Cloud, tmp_path: Path) -> None:
    """In a clean environment the control succeeds, so what stops it below is the environment."""
    assert run(cloud, CONTROL.format(endpoint="fields['sts_url']"), tmp_path, {}).returncode == 0


@pytest.mark.parametrize("name", sorted(breaking(Path())))
def test_each_that_breaks(cloud: Cloud, tmp_path: Path, name: str) -> None:
    """Each variable that stops boto3, alone, does not stop the exchange."""
    (tmp_path / "junk").write_text(JUNK)
    environment = {name: breaking(tmp_path)[name]}
    assert run(cloud, OURS, tmp_path, environment).returncode == 0
    control = run(cloud, CONTROL.format(endpoint="fields['sts_url']"), tmp_path, environment)
    assert control.returncode != 0


def test_node_with_everything_at_once(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """As the node, the metadata service of the configuration is asked, and nobody else; no key of a file is used."""
    (tmp_path / "junk").write_text(JUNK)
    done = run(cloud, OURS, tmp_path, node_environment(tmp_path, trap), node=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "role/node-prod-1\n"
    assert cloud.counts() == {
        "imds.token": 1, "imds.role": 1, "imds.credentials": 1, "ecr.GetAuthorizationToken": 1,
    }  # fmt: skip
    assert trap.caught == []
    for request in cloud.requests():
        assert "hostile" not in str(request.headers).lower()


NODE_REDIRECTING = {
    "metadata endpoint": ("AWS_EC2_METADATA_SERVICE_ENDPOINT",),
    "proxy": ("HTTP_PROXY",),
    "keys in the environment": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "keys in a file": (),
}


@pytest.mark.parametrize("name", sorted(NODE_REDIRECTING))
def test_each_that_redirects_the_node(cloud: Cloud, trap: Trap, tmp_path: Path, name: str) -> None:
    """What gives boto3 other keys, or has it ask elsewhere for the node's, gives pullpass the node's."""
    every = node_environment(tmp_path, trap)
    environment = {variable: every[variable] for variable in NODE_REDIRECTING[name]}
    if name in ("metadata endpoint", "proxy"):
        (tmp_path / ".aws" / "credentials").unlink()
    assert run(cloud, OURS, tmp_path, environment, node=True).stdout == "role/node-prod-1\n"
    assert trap.caught == []
    control = run(cloud, NODE_CONTROL, tmp_path, environment)
    assert trap.caught or control.stdout == "AKIAHOSTILE\n"


def test_container_endpoint_is_asked_by_a_node_alone(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """What names a container's endpoint makes no call in a workload's exchange; it does in the node's."""
    environment = {"AWS_CONTAINER_CREDENTIALS_FULL_URI": trap.url, "AWS_CONTAINER_AUTHORIZATION_TOKEN": "shown"}
    assert run(cloud, OURS, tmp_path, environment).returncode == 0
    assert trap.caught == []
    assert run(cloud, OURS, tmp_path, environment, node=True).returncode != 0
    assert b"shown" in b"".join(trap.caught)


REDIRECTING = {
    "endpoint variable": ("AWS_ENDPOINT_URL_STS", "None"),
    "global endpoint variable": ("AWS_ENDPOINT_URL", "None"),
    "rule set by variable": ("AWS_DATA_PATH", "'https://sts.us-west-2.amazonaws.com'"),
    "rule set at home": ("", "'https://sts.us-west-2.amazonaws.com'"),
}


@pytest.mark.parametrize("name", sorted(REDIRECTING))
def test_each_that_redirects(cloud: Cloud, trap: Trap, tmp_path: Path, name: str) -> None:
    """Each way of sending boto3's requests elsewhere catches nothing of the exchange; the control is caught."""
    variable, endpoint = REDIRECTING[name]
    every = redirecting(tmp_path, trap)
    environment = {variable: every[variable]} if variable else {}
    assert run(cloud, OURS, tmp_path, environment).returncode == 0
    assert trap.caught == []
    control = run(cloud, CONTROL.format(endpoint=endpoint), tmp_path, environment)
    assert control.returncode != 0
    assert b"AssumeRoleWithWebIdentity" in b"".join(trap.caught)
