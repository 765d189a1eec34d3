"""The installed launcher with Google: each flow, and each of Google's error codes, over real sockets."""

from __future__ import annotations

import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cloud.gcp.world import GOOGLE_AUDIENCE, NODE_ACCOUNT, PULL_ACCOUNT, principal, provider_name
from factories import make_request
from integration.exchanging_gcp import IAM, STS, mint, secrets_of
from integration.launchers import ask, install
from pullpass.codes import google

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Mapping
    from pathlib import Path

    from cloud import Cloud

HOST = "europe-docker.pkg.dev"
CONFIG = """\
version = 1
[node]
cluster = "prod-1"
issuers = ["{issuer}"]
deadline = "{deadline}"
google_metadata = "{gmetadata}"
[paths]
state = "{directory}/state"
runtime = "{directory}/run"
[gcr]
audience = "{audience}"
provider = "{provider}"
token_url = "{gsts}/v1/token"
iam_credentials_url = "{iamcredentials}"
hosts = ["registry.example.com"]
[[grant]]
name = "direct"
service_accounts = ["team-a/*"]
images = ["{host}/proj/team-a/**", "gcr.io/proj/**", "registry.example.com/**"]
identity = "principal"
[[grant]]
name = "impersonating"
service_accounts = ["team-b/*"]
images = ["{host}/proj/team-b/**"]
identity = {{ annotation = "iam.gke.io/gcp-service-account", allow = ["pull@proj.iam.gserviceaccount.com"] }}
[[grant]]
name = "add-ons"
service_accounts = ["kube-system/*"]
images = ["{host}/proj/system/**"]
identity = "node"
[[grant]]
name = "static pods"
node = true
images = ["{host}/proj/system/**"]
identity = "node"
"""
ANNOTATIONS = {"iam.gke.io/gcp-service-account": PULL_ACCOUNT}


def write(cloud: Cloud, directory: Path, **changes: str) -> Path:
    """The launcher for Google's registries, with a configuration that points at the local cloud."""
    at = cloud.endpoints
    values = {"deadline": "45s", "provider": provider_name(), "gmetadata": at.gmetadata, "gsts": at.gsts} | changes
    config = directory / "config.toml"
    config.write_text(
        CONFIG.format(
            issuer=at.issuer,
            directory=directory,
            audience=GOOGLE_AUDIENCE,
            iamcredentials=at.iamcredentials,
            host=HOST,
            **values,
        )
    )
    config.chmod(0o600)
    return install(directory, config).with_name("pullpass-gcr")


@pytest.fixture
def launcher(cloud: Cloud, tmp_path: Path) -> Path:
    """An installed launcher."""
    return write(cloud, tmp_path)


def answered(done: subprocess.CompletedProcess[bytes]) -> dict[str, Any]:
    """The answer of a run that ended well."""
    assert (done.returncode, done.stderr) == (0, b"")
    answer: dict[str, Any] = json.loads(done.stdout)
    assert (answer["kind"], answer["cacheKeyType"]) == ("CredentialProviderResponse", "Image")
    return answer


def password(done: subprocess.CompletedProcess[bytes], image: str) -> str:
    """The one password of an answer, which is for `image` alone."""
    auth = answered(done)["auth"]
    assert list(auth) == [image]
    assert auth[image]["username"] == "oauth2accesstoken"
    text: str = auth[image]["password"]
    return text


# --- the flows


@pytest.mark.parametrize("image", [f"{HOST}/proj/team-a/app", "gcr.io/proj/app", "registry.example.com/team-a/app"])
def test_direct(cloud: Cloud, launcher: Path, image: str) -> None:
    """A pod's token becomes the workload's own access token, for every host of Google's and every configured one."""
    done = ask(launcher, make_request(mint(cloud, "team-a"), image))
    assert cloud.google.tokens[password(done, image)].identity.name == principal("team-a", "web")
    assert (cloud.count(STS), cloud.count(IAM)) == (1, 0)


def test_short_token_is_kept_for_a_short_time(cloud: Cloud, launcher: Path) -> None:
    """The kubelet keeps a federated credential no longer than the pod's token lives, less the margin."""
    done = ask(launcher, make_request(mint(cloud, "team-a", lifetime_s=300), f"{HOST}/proj/team-a/app"))
    assert 120 <= int(answered(done)["cacheDuration"].removesuffix("s")) <= 180


def test_impersonation(cloud: Cloud, launcher: Path) -> None:
    """An annotation chooses the account that the grant allows."""
    image = f"{HOST}/proj/team-b/web"
    done = ask(launcher, make_request(mint(cloud), image, ANNOTATIONS))
    assert cloud.google.tokens[password(done, image)].identity.name == f"serviceAccount:{PULL_ACCOUNT}"
    assert answered(done)["cacheDuration"] == "600s"
    assert (cloud.count(STS), cloud.count(IAM)) == (1, 1)


@pytest.mark.parametrize("tokenless", [True, False])
def test_node(cloud: Cloud, launcher: Path, tokenless: bool) -> None:
    """A static pod, and an add-on whose grant says so, get the node's account; a token, if any, stays here."""
    image = f"{HOST}/proj/system/pause"
    token = None if tokenless else mint(cloud, "kube-system", "agent")
    done = ask(launcher, make_request(token, image))
    assert cloud.google.tokens[password(done, image)].identity.name == f"serviceAccount:{NODE_ACCOUNT}"
    assert cloud.counts() == {"gmetadata.email": 1, "gmetadata.token": 1}


def test_token_for_the_other_cloud(cloud: Cloud, launcher: Path) -> None:
    """A token that was made for ECR is refused before anything is sent."""
    done = ask(launcher, make_request(cloud.mint_token("team-a"), f"{HOST}/proj/team-a/app"))
    assert (done.returncode, done.stdout) == (3, b"")
    assert done.stderr.startswith(b"pullpass: token-audience: ")
    assert cloud.counts() == {}


# --- the codes


class Case(NamedTuple):
    """How a code comes about.

    Attributes:
        faults: where and what.
        token: how the token is made.
        node: whether the node's identity is asked for.
        message: what Google says.
    """

    faults: tuple[tuple[str, str], ...] = ()
    token: Mapping[str, Any] = MappingProxyType({})
    node: bool = False
    message: str = ""


CASES = {
    "gcp-token-algorithm": Case(token={"header": {"alg": "ES384"}}),
    "gcp-token-age": Case(token={"issued_s": -25 * 3600, "lifetime_s": 26 * 3600}),
    "gcp-sts-denied": Case(((STS, "PERMISSION_DENIED"),)),
    "gcp-condition-rejected": Case(((STS, "unauthorized_client"),)),
    "gcp-impersonation-denied": Case(((IAM, "PERMISSION_DENIED"),)),
    "gcp-node-denied": Case((("gmetadata.token", "Forbidden"),), node=True),
    "gcp-token-expired": Case(((STS, "invalid_grant/expired"),)),
    "gcp-audience-rejected": Case(((STS, "invalid_grant/audience"),)),
    "gcp-issuer-mismatch": Case(((STS, "invalid_grant/issuer"),)),
    "gcp-signature-rejected": Case(((STS, "invalid_grant/signature"),)),
    "gcp-token-rejected": Case(((STS, "invalid_grant/claim"),)),
    "gcp-issuer-unreachable": Case(((STS, "invalid_grant/connect"),)),
    "gcp-provider-invalid": Case(((STS, "invalid_request/audience"),)),
    "gcp-provider-unknown": Case(((STS, "invalid_target"),)),
    "gcp-subject-too-long": Case(((STS, "invalid_request/subject"),)),
    "gcp-lifetime": Case(((IAM, "INVALID_ARGUMENT"),), message="The lifetime cannot exceed 3600 seconds."),
    "gcp-api-disabled": Case(((IAM, "SERVICE_DISABLED"),)),
    "gcp-session-rejected": Case(((IAM, "UNAUTHENTICATED"),)),
    "gcp-request-invalid": Case(((STS, "invalid_scope"),)),
    "gcp-refused": Case(((STS, "NOT_FOUND"),)),
    "gcp-metadata-foreign": Case((("gmetadata.email", "html"),), node=True),
}


@pytest.mark.parametrize("code", google.CODES)
def test_code(cloud: Cloud, tmp_path: Path, code: str) -> None:
    """Every code of Google's ends a launcher with its status and one line, and leaves no secret anywhere."""
    case = CASES[code]
    launcher = write(cloud, tmp_path, deadline="2s")
    for where, kind in case.faults:
        cloud.fault(where, kind, None, **({"message": case.message} if case.message else {}))
    token = mint(cloud, **case.token)
    if case.node:
        raw = make_request(None, f"{HOST}/proj/system/pause")
    else:
        raw = make_request(token, f"{HOST}/proj/team-b/web", ANNOTATIONS)
    done = ask(launcher, raw)
    status, _, hint = google.CODES[code]
    assert (done.returncode, done.stdout) == (status, b"")
    line = done.stderr.decode()
    assert line.startswith(f"pullpass: {code}: ")
    assert line.endswith(f"; {hint}\n")
    assert line.count("\n") == 1
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    for secret in secrets_of(cloud, token):
        assert secret not in line
        assert not any(secret.encode() in content for content in written)


def test_metadata_server_that_is_absent(cloud: Cloud, tmp_path: Path) -> None:
    """A node outside Google Cloud says so at once, and never hangs."""
    launcher = write(cloud, tmp_path, deadline="2s", gmetadata=f"http://{cloud.dead_end('refused')}")
    done = ask(launcher, make_request(None, f"{HOST}/proj/system/pause"))
    assert done.returncode == 5
    assert done.stderr.startswith(b"pullpass: cloud-unreachable: metadata:email: ")
    assert b"node.google_metadata" in done.stderr
