"""google-auth's variables and files, and those of the HTTP libraries under it: all hostile at once, and none has a say.

Each test has its control: what the same environment does to the library itself. Without that, a variable that lost its
meaning in some release would go on being "ignored" here for ever.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cloud.gcp.world import NODE_ACCOUNT, PULL_ACCOUNT
from integration.exchanging_gcp import IAM, STS, impersonating, make_node_plan, make_plan, mint
from integration.hostile import google

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud
    from integration.traps import Trap

OURS = """
import json, sys
from pullpass.clock import Deadline, SystemClock
from pullpass.exchange import load, plan_gcp
from pullpass.secret import Secret

fields, token = json.load(sys.stdin)
make = plan_gcp.GoogleNodePlan if fields["kind"] == "gcr-node" else plan_gcp.GooglePlan
clock = SystemClock()
credential = load(fields["kind"])(make(**fields), Secret(token), Deadline(clock, 30), clock)
print(credential.principal)
"""
# What anybody would write who trusts the library.
CREDENTIALS = """
import json, sys
import google.auth
import google.auth.transport.requests
from google.auth import identity_pool

fields, token = json.load(sys.stdin)

class Supplier(identity_pool.SubjectTokenSupplier):
    def get_subject_token(self, context, request):
        return token

credentials = identity_pool.Credentials(
    audience=fields["audience"], subject_token_type="urn:ietf:params:oauth:token-type:jwt",
    token_url=fields["token_url"], subject_token_supplier=Supplier(), scopes=[fields["scope"]],
)
"""
REFRESH = (
    CREDENTIALS
    + """
session = google.auth.transport.requests.Request()
if {verify}:
    session.session.verify = fields["ca_bundle"]
credentials.refresh(session)
"""
)
DEFAULT = (
    CREDENTIALS
    + """
credentials, project = google.auth.default(scopes=[fields["scope"]])
credentials.refresh(google.auth.transport.requests.Request())
"""
)
METADATA = (
    CREDENTIALS
    + """
from google.auth.compute_engine import _metadata
_metadata.get(google.auth.transport.requests.Request(), "instance/", retry_count=1)
"""
)
LOGGED = (
    CREDENTIALS
    + """
import logging
print(logging.getLogger("google").isEnabledFor(logging.DEBUG))
"""
)


def run(
    cloud: Cloud, program: str, home: Path, environment: dict[str, str], planned: Any
) -> subprocess.CompletedProcess[str]:
    """Run a program with a plan and a token on stdin, in exactly this environment."""
    return subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps([planned._replace(calls=())._asdict(), mint(cloud)]),
        capture_output=True,
        text=True,
        env={"HOME": str(home), "PATH": "/usr/bin:/bin", **environment},
        cwd=home,
        check=False,
        timeout=120,
    )


FLOWS = {
    "direct": (make_plan, [STS]),
    "impersonated": (impersonating, [STS, IAM]),
}


@pytest.mark.parametrize("flow", FLOWS)
def test_everything_at_once(cloud: Cloud, trap: Trap, tmp_path: Path, flow: str) -> None:
    """With every variable and file set against it, an exchange sends its requests, and nothing to anybody else."""
    make, calls = FLOWS[flow]
    planned = make(cloud, tls=True)
    environment = google(tmp_path, trap)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    done = run(cloud, OURS, tmp_path, environment, planned)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{planned.principal}\n"
    sent = [request for request in cloud.requests() if request.service != "issuer"]
    assert [request.where for request in sent] == calls
    assert all(request.tls for request in sent)
    assert trap.caught == []
    for request in sent:
        assert "hostile" not in str(request.headers).lower()
        assert "aG9zdGls" not in str(request.headers), "a password of .netrc, in Base64"
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before, "a key log, say"


def test_everything_at_once_for_the_node(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """The metadata server that is asked is the configured one, directly."""
    planned = make_node_plan(cloud.endpoints.gmetadata)
    done = run(cloud, OURS, tmp_path, google(tmp_path, trap), planned)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{NODE_ACCOUNT}\n", "")
    assert cloud.counts() == {"gmetadata.email": 1, "gmetadata.token": 1}
    assert trap.caught == []


def test_no_file_of_the_user_is_read(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """Files in the well-known places of a home directory have no say either, without any variable."""
    google(tmp_path, trap)
    done = run(cloud, OURS, tmp_path, {}, impersonating(cloud))
    assert (done.returncode, done.stdout) == (0, f"{PULL_ACCOUNT}\n")
    assert cloud.count(STS) == cloud.count(IAM) == 1
    assert trap.caught == []
    control = run(cloud, DEFAULT, tmp_path, {}, make_plan(cloud))
    assert control.returncode != 0
    assert b"".join(trap.caught).startswith(b"POST /v1/token")


# --- controls: each of these, alone, has its way with the library


def test_control(cloud: Cloud, tmp_path: Path) -> None:
    """In a clean environment the control succeeds, so what stops it below is the environment."""
    assert run(cloud, REFRESH.format(verify=True), tmp_path, {}, make_plan(cloud, tls=True)).returncode == 0
    assert run(cloud, LOGGED, tmp_path, {}, make_plan(cloud)).stdout == "False\n"


def only(home: Path, trap: Trap, name: str) -> dict[str, str]:
    """One of the hostile variables, without the files that count by their place alone."""
    value = google(home, trap)[name]
    (home / ".netrc").unlink()
    (home / ".config" / "gcloud" / "application_default_credentials.json").unlink()
    return {name: value}


class Redirecting(NamedTuple):
    """A variable, the program that it leads astray, and how the request begins that is then caught."""

    name: str
    control: str
    asked: bytes


REDIRECTING = (
    Redirecting("GOOGLE_APPLICATION_CREDENTIALS", DEFAULT, b"POST /v1/token"),
    Redirecting("GCE_METADATA_HOST", METADATA, b"GET /computeMetadata/"),
    Redirecting("GCE_METADATA_ROOT", METADATA, b"GET /computeMetadata/"),
    Redirecting("HTTPS_PROXY", REFRESH.format(verify=True), b"CONNECT 127.0.0.1:"),
    Redirecting("ALL_PROXY", REFRESH.format(verify=True), b"CONNECT 127.0.0.1:"),
)


@pytest.mark.parametrize("case", REDIRECTING, ids=[case.name for case in REDIRECTING])
def test_each_that_redirects(cloud: Cloud, trap: Trap, tmp_path: Path, case: Redirecting) -> None:
    """Each way of sending the library's requests elsewhere catches nothing of the exchange; the control is caught."""
    environment = only(tmp_path, trap, case.name)
    assert run(cloud, OURS, tmp_path, environment, make_plan(cloud, tls=True)).returncode == 0
    assert trap.caught == []
    assert run(cloud, case.control, tmp_path, environment, make_plan(cloud, tls=True)).returncode != 0
    assert b"".join(trap.caught).startswith(case.asked)


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_each_that_breaks(cloud: Cloud, trap: Trap, tmp_path: Path, name: str) -> None:
    """Each variable that stops the library, alone, does not stop the exchange."""
    environment = only(tmp_path, trap, name)
    assert run(cloud, OURS, tmp_path, environment, make_plan(cloud, tls=True)).returncode == 0
    assert run(cloud, REFRESH.format(verify=False), tmp_path, environment, make_plan(cloud, tls=True)).returncode != 0


def test_netrc(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """A password file makes the library send an Authorization header to STS, which may not have one."""
    environment = only(tmp_path, trap, "NETRC")
    assert run(cloud, OURS, tmp_path, environment, make_plan(cloud)).returncode == 0
    assert "authorization" not in cloud.last(STS).headers
    assert run(cloud, REFRESH.format(verify=False), tmp_path, environment, make_plan(cloud)).returncode != 0
    assert cloud.last(STS).headers["authorization"].startswith("Basic ")


def test_key_log(cloud: Cloud, trap: Trap, tmp_path: Path) -> None:
    """What would give away what the connections carry."""
    environment = only(tmp_path, trap, "SSLKEYLOGFILE")
    assert run(cloud, OURS, tmp_path, environment, make_plan(cloud, tls=True)).returncode == 0
    assert not (tmp_path / "keys.log").exists()
    control = REFRESH.format(verify=True)
    assert run(cloud, control, tmp_path, environment, make_plan(cloud, tls=True)).returncode == 0
    assert (tmp_path / "keys.log").exists()
