"""`scripts/verify-cloud google` against the local cloud: each verdict, whichever it must be."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from cloud.gcp.world import PULL_ACCOUNT, provider_name
from integration.verifying import GOOGLE_IMAGES, brief, point, verdicts
from verify import google

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud
    from integration.verifying import Place

CONFIRMED = dict.fromkeys((claim.name for claim in google.CLAIMS), "confirmed")
LIFE, READ_ONLY, STORAGE = "federated-life", "read-only-scope", "storage-scope"
HOSTS, IMPERSONATED, CARRIED = "one-token-all-hosts", "impersonated-life", "registry-token-outlives"


def test_google_confirms_everything(place: Place) -> None:
    """With a cloud as the documents describe it and the patience to wait, every claim is confirmed."""
    place.cloud.configure(registry_tokens_outlive=True)
    document = place.google("--wait")
    assert verdicts(document) == CONFIRMED
    assert document["settled"] is True
    assert brief(document, LIFE) == "subject token 20m, access token 20m"
    assert brief(document, READ_ONLY) == "direct 200, impersonated 200"
    assert brief(document, IMPERSONATED) == "subject token 20m, asked for 60m, got 60m"
    assert document["where"] == "a workload identity pool, hosts europe-docker.pkg.dev and gcr.io"


def test_google_sends_what_pullpass_sends(place: Place) -> None:
    """Directly and by impersonation, with the scopes that are tried; nothing but manifests is asked for."""
    place.google()
    scopes = [request.parameters["scope"] for request in place.cloud.requests("gsts")]
    direct = [google.SCOPE, google.SCOPE, google.READ_ONLY, google.STORAGE]
    assert [scope for scope in scopes if scope != "https://www.googleapis.com/auth/iam"] == direct
    asked = [request.parameters["scope"] for request in place.cloud.requests("iamcredentials")]
    assert asked == [[google.SCOPE], [google.READ_ONLY], [google.STORAGE], [google.SCOPE]]
    assert {request.operation for request in place.cloud.requests("artifact")} == {"ping", "token", "manifest"}
    assert {request.method for request in place.cloud.requests("artifact")} == {"GET"}


def test_google_by_a_provider_alone(place: Place) -> None:
    """Without a configuration and a service account, what concerns the workload itself is settled."""
    place.cloud.configure(registry_tokens_outlive=True)
    document = place.google("--wait", "--provider", provider_name())
    assert verdicts(document) == CONFIRMED | {IMPERSONATED: "not settled"}
    assert brief(document, HOSTS) == "direct 200"
    assert place.cloud.count("iamcredentials") == 0


def no_direct_rights(cloud: Cloud) -> None:
    """Only the service account may read the repositories."""
    account = f"serviceAccount:{PULL_ACCOUNT}"
    cloud.set_artifacts("team-b", readers=[account])
    cloud.set_artifacts("gcr.io", location="us", readers=[account])


def nobody_may(cloud: Cloud) -> None:
    """Nobody may read image A."""
    cloud.set_artifacts("team-b", readers=[])


def public(cloud: Cloud) -> None:
    """Everybody may read image B."""
    cloud.set_artifacts("gcr.io", location="us", readers=["allUsers"])


def longer(cloud: Cloud) -> None:
    """STS says that an access token lives for an hour, whatever the token has left."""
    cloud.fault("gsts", "set", times=None, fields={"expires_in": 3600})


def shorter(cloud: Cloud) -> None:
    """Impersonated tokens end in ten minutes."""
    ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(cloud.now() + 600))
    cloud.fault("iamcredentials", "set", times=None, fields={"expireTime": ends})


PULLS = {READ_ONLY: "not settled", STORAGE: "not settled", HOSTS: "not settled", CARRIED: "not settled"}
GOOGLE_WORLDS: list[tuple[str, Callable[[Cloud], object], dict[str, str], str]] = [
    ("registry-token-ends", lambda _: None, {CARRIED: "refuted"},
     "after the end: registry token 401 UNAUTHORIZED, access token 401 UNAUTHORIZED"),
    ("no-direct-rights", no_direct_rights, {CARRIED: "refuted"}, "after the end: registry token 401 UNAUTHORIZED"),
    ("nobody-may", nobody_may, PULLS, "image A is refused"),
    ("public", public, PULLS, "public"),
    ("only-the-wide-scope", lambda c: c.configure(pull_scopes=[google.SCOPE]),
     {READ_ONLY: "refuted", STORAGE: "refuted", CARRIED: "refuted"}, "direct 403 DENIED, impersonated 403 DENIED"),
    ("no-storage-scope", lambda c: c.configure(pull_scopes=[google.SCOPE, google.READ_ONLY]),
     {STORAGE: "refuted", CARRIED: "refuted"}, "direct 403 DENIED, impersonated 403 DENIED"),
    ("federated-longer", longer, {LIFE: "refuted", CARRIED: "not settled"}, "subject token 20m, access token 60m"),
    ("impersonated-shorter", shorter, {IMPERSONATED: "refuted", CARRIED: "refuted"},
     "subject token 20m, asked for 60m, got 10m"),
    ("sts-refuses", lambda c: c.set_pool(disabled=True), PULLS | {LIFE: "not settled", IMPERSONATED: "not settled"},
     "gcp-provider-unknown"),
    ("registry-fails", lambda c: c.fault("artifact.manifest", "UNAVAILABLE", times=None), PULLS, "cloud-failing"),
]  # fmt: skip


@pytest.mark.parametrize(("make", "expected", "said"), [pytest.param(*row[1:], id=row[0]) for row in GOOGLE_WORLDS])
def test_google_verdicts(place: Place, make: Callable[[Cloud], object], expected: dict[str, str], said: str) -> None:
    """What is not as claimed is refuted, what can't be told is left open, and everything else is confirmed."""
    make(place.cloud)
    document = place.google("--wait")
    assert verdicts(document) == CONFIRMED | expected
    first = next(each for each in document["points"] if each["verdict"] != "confirmed")
    assert brief(document, first["name"]).startswith(said)
    assert first["means"]
    assert document["settled"] is False


def test_a_host_that_does_not_take_the_token(place: Place) -> None:
    """Unknown to the registry of image B, and known to that of image A: one token does not open all hosts."""
    place.after[STORAGE] = lambda: place.cloud.fault("artifact.token", "UNAUTHORIZED", times=2)
    document = place.google()
    assert (verdicts(document)[HOSTS], brief(document, HOSTS)) == (
        "refuted",
        "direct 401 UNAUTHORIZED, impersonated 401 UNAUTHORIZED",
    )


def test_an_image_that_may_not_be_read_says_nothing_of_its_host(place: Place) -> None:
    """Without the right, nobody knows whether the token would open it."""
    place.cloud.set_artifacts("gcr.io", location="us", readers=[])
    document = place.google()
    assert (verdicts(document)[HOSTS], brief(document, HOSTS)) == (
        "not settled",
        "direct 403 DENIED, impersonated 403 DENIED",
    )


def test_two_images_of_one_host_settle_nothing_of_hosts(place: Place) -> None:
    """It takes two hosts."""
    place.cloud.push_artifact("api", "team-b", "v1")
    document = place.google(images=(GOOGLE_IMAGES[0], "europe-docker.pkg.dev/proj/team-b/api:v1"))
    assert (verdicts(document)[HOSTS], brief(document, HOSTS)) == (
        "not settled",
        "direct 200, impersonated 200, one host",
    )


def test_a_token_that_lives_long_settles_nothing_of_lives(place: Place) -> None:
    """A token with two hours left bounds nothing that lives for one."""
    document = place.google(life_s=7200)
    assert verdicts(document)[LIFE] == verdicts(document)[IMPERSONATED] == "not settled"
    assert brief(document, LIFE) == "subject token 120m, access token 60m"
    assert "--duration 20m" in point(document, LIFE)["means"]
    assert brief(document, CARRIED) == "not waited for"


@pytest.mark.parametrize(
    "realm", ["https://elsewhere.example.net/v2/token", "http://europe-docker.pkg.dev/v2/token", ""]
)
def test_a_credential_is_sent_to_no_other_host(place: Place, realm: str) -> None:
    """A registry that wants the credential sent elsewhere, or in the clear, does not get its way."""
    challenge = f'Bearer realm="{realm}",service="elsewhere"'
    place.cloud.fault("artifact.ping", "header", times=None, name="Www-Authenticate", value=challenge)
    document = place.google()
    assert verdicts(document) == CONFIRMED | PULLS
    assert brief(document, READ_ONLY) == "cloud-answer"
    assert place.cloud.count("artifact.token") == place.cloud.count("elsewhere") == 0
    assert all("authorization" not in request.headers for request in place.cloud.requests("artifact"))


def test_a_token_endpoint_that_gives_none(place: Place) -> None:
    """An answer without a token is no answer."""
    place.cloud.fault("artifact.token", "html", times=None, status=200)
    assert verdicts(place.google()) == CONFIRMED | PULLS
