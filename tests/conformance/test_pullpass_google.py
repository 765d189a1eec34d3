"""pullpass's launcher for Google's registries, run by the kubelet's own code against the local cloud.

What both launchers have in common stands in `test_pullpass.py`, what they are to each other in `test_two_clouds.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from cloud import AUDIENCE
from cloud.gcp import clients
from cloud.gcp.world import PULL_ACCOUNT, principal
from conformance.examine import examine
from conformance.installed import GOOGLE_ANNOTATION, GOOGLE_HOST, HOST, google_entry, grant
from conformance.interview import Options
from conformance.kubelet import BARE_ENVIRONMENT
from conformance.scripted import write_config

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud
    from conformance.installed import Installed
    from conformance.kubelet import Seen

DIRECT = f"{GOOGLE_HOST}/proj/team-b/web"
IMPERSONATED = "gcr.io/proj/app"
ANNOTATED = {GOOGLE_ANNOTATION: PULL_ACCOUNT}


@pytest.fixture
def google(node: Installed) -> Installed:
    """A node whose kubelet knows the entry for Google, and team-b's annotated account."""
    node.install()
    node.start(google_entry())
    node.account("team-b", annotations=ANNOTATED)
    return node


def direct(images: str) -> str:
    """A grant of these images to team-b, as itself."""
    return f'[[grant]]\nservice_accounts = ["team-b/*"]\nimages = ["{images}"]\nidentity = "principal"\n'


def pulls(cloud: Cloud, image: str, password: str) -> int:
    """The registry's status for an image's manifest."""
    host, _, path = image.partition("/")
    return clients.pull(cloud, f"{path}/manifests/v1", password, host=host).status


def opens(seen: Seen) -> str:
    """The password of a look-up that found one credential."""
    assert seen.errors == []
    (credential,) = seen.credentials
    assert credential.username == "oauth2accesstoken"
    return credential.password


# --- answers


@pytest.mark.parametrize(
    ("image", "identity"),
    [
        pytest.param(DIRECT, principal("team-b", "web"), id="direct"),
        pytest.param(IMPERSONATED, f"serviceAccount:{PULL_ACCOUNT}", id="impersonated"),
    ],
)
def test_answer(google: Installed, image: str, identity: str) -> None:
    """The credential is found for its image, belongs to the account, and is whose the grant says."""
    account = google.account("team-b", annotations=ANNOTATED)
    seen = google.look(image, "team-b")
    password = opens(seen)
    assert seen.credentials[0].account == account
    answer = seen.executions[0].response
    assert answer is not None
    assert (answer.cache_key_type, answer.cache_s, list(answer.auth)) == ("Image", 600.0, [image])
    assert google.cloud.google.tokens[password].identity.name == identity
    assert pulls(google.cloud, image, password) == 200
    assert pulls(google.cloud, f"{GOOGLE_HOST}/proj/team-a/app", password) == 403
    assert google.look(image, "team-b").executions == []


@pytest.mark.parametrize(
    "neighbour",
    [
        f"{GOOGLE_HOST}/proj/team-b/web2", f"{GOOGLE_HOST}/proj/team-b/we", f"{GOOGLE_HOST}/proj/team-b/web/sub",
        f"{GOOGLE_HOST}/proj/team-a/app", "us-docker.pkg.dev/proj/team-b/web", "gcr.io/proj/team-b/web",
    ],
)  # fmt: skip
def test_neighbours_get_nothing(node: Installed, neighbour: str) -> None:
    """An access token opens all that IAM lets it; the kubelet gets none for what policy did not name, cached or not."""
    node.install(direct(DIRECT))
    node.start(google_entry())
    node.account("team-b")
    opens(node.look(DIRECT, "team-b"))
    seen = node.look(neighbour, "team-b")
    assert seen.credentials == []
    assert "pullpass: no-grant:" in seen.errors[0].error


@pytest.mark.parametrize(
    "image",
    [
        "us-docker.pkg.dev/proj/team/app",
        "docker.europe-west4.rep.pkg.dev/proj/team/app",
        "gcr.io/proj/app",
        "eu.gcr.io/example.com/proj/a/b/c",
        "registry.example.com/proj/team/app",
        f"{GOOGLE_HOST}/proj/v2/v1/app.x__y",
    ],
)
def test_host_forms(node: Installed, image: str) -> None:
    """Every name of Google's registries, and a configured one, is asked for and found under itself."""
    host = image.partition("/")[0]
    node.install(direct(f"{host}/**"), gcr='hosts = ["registry.example.com"]')
    node.start(google_entry())
    node.account("team-b")
    opens(node.look(image, "team-b"))


def test_short_tokens_are_not_kept_longer(google: Installed) -> None:
    """A federated credential ends with the pod's token, and the kubelet asks again before that."""
    google.account("team-b", lifetime_s=600)
    answer = google.look(DIRECT, "team-b").executions[0].response
    assert answer is not None
    assert answer.cache_s is not None
    assert 420 <= answer.cache_s <= 480
    google.kubelet.advance(f"{answer.cache_s:g}s")
    assert google.look(DIRECT, "team-b").executions == []
    google.kubelet.advance("1ns")
    assert len(google.look(DIRECT, "team-b").executions) == 1


def test_pods_of_an_account_share(google: Installed) -> None:
    """One exchange for the pods of an account, and its own for another account."""
    first = opens(google.look(DIRECT, "team-b"))
    google.account("team-b", annotations=ANNOTATED)
    assert opens(google.look(DIRECT, "team-b")) == first
    google.account("team-b", "api", uid="another-uid")
    assert opens(google.look(DIRECT, "team-b", "api")) != first
    assert google.cloud.count("gsts.token") == 2


# --- refusals


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        pytest.param({"audience": AUDIENCE}, 3, "token-audience", id="ecr"),
        pytest.param({"issued_s": -7200, "lifetime_s": 3600}, 3, "token-expired", id="expired"),
        pytest.param({"claims": {"iss": "https://other.example"}}, 3, "token-issuer", id="issuer"),
        pytest.param({"key": "wrong"}, 4, "gcp-signature-rejected", id="signature"),
    ],
)
def test_tokens(google: Installed, token: dict[str, Any], status: int, code: str) -> None:
    """A token that is not good enough, ECR's among them; only its signature is left to the cloud."""
    google.account("team-b", **token)
    google.refusal(google.look(DIRECT, "team-b"), status, code)
    assert google.cloud.count("gsts") == (status == 4)


@pytest.mark.parametrize(
    ("annotations", "code"),
    [
        pytest.param({}, "annotation-missing", id="none"),
        pytest.param({GOOGLE_ANNOTATION: "other@proj.iam.gserviceaccount.com"}, "identity-not-allowed", id="other"),
        pytest.param({GOOGLE_ANNOTATION: "no e-mail"}, "identity-invalid", id="nonsense"),
    ],
)
def test_annotations(google: Installed, annotations: dict[str, str], code: str) -> None:
    """The account's owner chooses among what the operator allowed; changing the choice takes effect at once."""
    opens(google.look(IMPERSONATED, "team-b"))
    google.account("team-b", annotations=annotations)
    seen = google.look(IMPERSONATED, "team-b")
    assert seen.credentials == []
    assert f"exit status 3: pullpass: {code}: " in seen.errors[0].error


def test_impersonation_denied(google: Installed) -> None:
    """STS answered, and the account does not trust the workload: no credential, not the workload's own either."""
    google.cloud.set_service_account(PULL_ACCOUNT, impersonators=[])
    google.refusal(google.look(IMPERSONATED, "team-b"), 4, "gcp-impersonation-denied")
    assert google.cloud.count("gsts.token") == 1


def test_google_is_away(node: Installed) -> None:
    """Nobody listens: the last of the statuses, well within the kubelet's minute."""
    node.install(node='deadline = "5s"')
    node.start(google_entry())
    node.account("team-b")
    node.cloud.fault("gsts", "cut", None)
    node.refusal(node.look(DIRECT, "team-b"), 5, "cloud-unreachable")


def test_not_configured(node: Installed) -> None:
    """Without [gcr], an image of Google's is refused by that reason."""
    node.install(grant([f"{HOST}/**"]), gcr=None)
    node.start(google_entry())
    node.account("team-b")
    node.refusal(node.look(DIRECT, "team-b"), 3, "registry-not-configured")
    assert node.cloud.counts() == {}


# --- `scripts/conformance plugin`


def test_no_findings(node: Installed, kubelet_program: str, tmp_path: Path) -> None:
    """What is examined of any plugin finds nothing: a good token, a broken one, other images, no request at all."""
    node.install()
    config = write_config(str(tmp_path / "providers.json"), [google_entry()])
    token = clients.subject_token(node.cloud)
    refuse = (f"{GOOGLE_HOST}/proj/team-a/app", f"{GOOGLE_HOST}/proj/system/pause", "us.gcr.io/proj/app")
    options = Options(node.bin_dir, config, (f"{DIRECT}:v1", IMPERSONATED), refuse, token, ANNOTATED, BARE_ENVIRONMENT)
    report = examine(kubelet_program, options)
    assert [check for check in report.checks if check.result != "ok"] == []
    assert {check.name for check in report.checks if check.image == DIRECT} >= {"auth-key", "bad-token", "attribution"}
