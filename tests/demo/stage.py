"""The node of the demo: a configuration, the installed launchers, and the kubelet's way to run one.

Nothing of the program is imported: it is installed and run as an operator and a kubelet would.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

from cloud import ACCOUNT, AUDIENCE, CLUSTER, REGION
from cloud.gcp.world import GOOGLE_AUDIENCE, PULL_ACCOUNT, provider_name

if TYPE_CHECKING:
    from cloud import Cloud, Request

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
GOOGLE_HOST = "europe-docker.pkg.dev"
ANNOTATION = "eks.amazonaws.com/ecr-role-arn"
API_VERSION = "credentialprovider.kubelet.k8s.io/v1"
KUBELET_PATIENCE_S = 60  # kubelet, pkg/credentialprovider/plugin: a provider that takes longer is killed

GRANTS = f"""\
[[grant]]
name = "images of team-a"
service_accounts = ["team-a/*"]
images = ["{HOST}/team-a/**"]
identity = "arn:aws:iam::{ACCOUNT}:role/pull-{{namespace}}"

[[grant]]
name = "shared images"
service_accounts = ["team-a/*", "team-b/*"]
images = ["{HOST}/shared/**"]
identity.annotation = "{ANNOTATION}"
identity.allow = ["arn:aws:iam::{ACCOUNT}:role/pull-{{namespace}}"]

[[grant]]
name = "team-b at Google, as itself"
service_accounts = ["team-b/*"]
images = ["{GOOGLE_HOST}/proj/team-b/**"]
identity = "principal"

[[grant]]
name = "team-b at Google, as an account"
service_accounts = ["team-b/web"]
images = ["gcr.io/proj/**"]
identity = "{PULL_ACCOUNT}"

[[grant]]
name = "static pods, which have no token"
node = true
images = ["{HOST}/system/**"]
identity = "node"

[[grant]]
name = "public images"
service_accounts = ["*/*"]
images = ["gcr.io/distroless/**"]
identity = "anonymous"
"""


class DemoError(Exception):
    """The demo can't be played at all: what is in the way, and the next step, in one line."""


class Reply(NamedTuple):
    """What the kubelet got from a launcher.

    Attributes:
        status: the exit status; None when it did not end in time.
        stdout: the response, or nothing.
        stderr: the one line of a refusal, or nothing.
        sent: the requests that reached the cloud meanwhile.
    """

    status: int | None
    stdout: bytes
    stderr: str
    sent: list[Request]


def configuration(cloud: Cloud, directory: str, *, scope: str = "repository", grants: str = GRANTS) -> str:
    """The operator's configuration, for this cloud.

    Args:
        cloud: whose issuer and endpoints are named.
        directory: where the node keeps its files.
        scope: how far a password reaches: `repository` or `registry`.
        grants: the policy.
    """
    # A JSON string is a TOML string as well.
    at = cloud.endpoints
    # A JSON string is a TOML string as well.
    authority, state, runtime = (
        json.dumps(path, ensure_ascii=False)
        for path in (at.ca_file, os.path.join(directory, "state"), os.path.join(directory, "run"))
    )
    return f"""\
version = 1

[node]
cluster = "{CLUSTER}"
issuers = ["{cloud.issuer}"]
ca_bundle = {authority}
aws_metadata = "{at.imds}"

[paths]
state = {state}
runtime = {runtime}

[ecr]
audience = "{AUDIENCE}"
scope = "{scope}"
sts_endpoint = "{at.sts_tls}"
ecr_endpoint = "{at.ecr_tls}"

[gcr]
audience = "{GOOGLE_AUDIENCE}"
provider = "{provider_name()}"
token_url = "{at.gsts_tls}/v1/token"
iam_credentials_url = "{at.iamcredentials_tls}"

{grants}"""


def request(image: str, token: str | None, annotations: dict[str, str] | None = None) -> bytes:
    """A request as the kubelet writes it: compact JSON and a line feed; without token or annotations, no key."""
    document: dict[str, Any] = {"kind": "CredentialProviderRequest", "apiVersion": API_VERSION, "image": image}
    if token:
        document["serviceAccountToken"] = token
    if annotations:
        document["serviceAccountAnnotations"] = annotations
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


class Stage:
    """A cloud and one node before it."""

    def __init__(self, cloud: Cloud, directory: str, config: str) -> None:
        """Write the configuration; `install` comes next.

        Args:
            cloud: a cloud that is serving.
            directory: an empty one of our own, absolute.
            config: the configuration's text.
        """
        self.cloud = cloud
        self.directory = directory
        self.config_file = os.path.join(directory, "config.toml")
        self.bin_dir = os.path.join(directory, "bin")
        self.write("config.toml", config.encode())

    def write(self, name: str, content: bytes) -> str:
        """Put a file into the node's directory, for this user alone, and return its path."""
        path = os.path.join(self.directory, name)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as stream:
            stream.write(content)
        return path

    def install(self) -> None:
        """Run `pullpass install`.

        Raises:
            DemoError: it failed.
        """
        done = self.pullpass("install", "--bin-dir", self.bin_dir)
        if done.returncode:
            raise DemoError(f"`pullpass install` failed: {_text(done.stderr).strip()}")

    def explain(self, raw: bytes) -> str:
        """What `pullpass explain` prints of a request."""
        done = self.pullpass("explain", stdin=raw)
        return _text(done.stdout) + _text(done.stderr)

    def ask(self, raw: bytes, launcher: str = "pullpass-ecr") -> Reply:
        """Run a launcher as the kubelet does: request on stdin, no arguments, from `/`, in a bare environment.

        Raises:
            DemoError: the launcher can't be started.
        """
        program = os.path.join(self.bin_dir, launcher)
        before = len(self.cloud.requests())
        status: int | None
        try:
            done = subprocess.run(
                [program], input=raw, capture_output=True, cwd="/", env={}, timeout=KUBELET_PATIENCE_S, check=False
            )
        except subprocess.TimeoutExpired as late:
            status, stdout, stderr = None, late.stdout or b"", late.stderr or b""
        except OSError as error:
            hint = "if that file system is mounted noexec, set TMPDIR to a directory on another one"
            raise DemoError(f"{program} can't be started ({error.strerror}); {hint}") from None
        else:
            status, stdout, stderr = done.returncode, done.stdout, done.stderr
        return Reply(status, stdout, _text(stderr), self.cloud.requests()[before:])

    def pullpass(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run a command of the program that is installed beside this interpreter."""
        line = [sys.executable, "-I", "-m", "pullpass", *words, "--config", self.config_file]
        return subprocess.run(line, input=stdin, capture_output=True, cwd="/", env={}, check=False)


def _text(output: bytes) -> str:
    return output.decode("utf-8", "backslashreplace")
