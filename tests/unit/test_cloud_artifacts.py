"""The local cloud as Artifact Registry: what skopeo and others can pull, who may, and under which names."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest

from cloud.clients import Reply, request
from cloud.gcp.clients import access_token, account_token, pull, subject_token
from cloud.gcp.hosts import parse
from cloud.gcp.world import CLOUD_SCOPE, principal
from cloud.images import digest

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud

needs_skopeo = pytest.mark.needs("skopeo")
WEB = "proj/team-b/web"
HOST = "europe-docker.pkg.dev"
DEVSTORAGE = "https://www.googleapis.com/auth/devstorage.read_only"


def skopeo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run skopeo with an environment that has no credentials of its own."""
    kept = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    return subprocess.run(["skopeo", *arguments], env=kept | environment, text=True, capture_output=True, check=False)


def errors(reply: Reply) -> tuple[int, str, str]:
    """Status, code and message of a registry's refusal."""
    (error,) = json.loads(reply.body)["errors"]
    return reply.status, error["code"], error["message"]


def registry_token(cloud: Cloud, access: str | None, scope: str, **options: Any) -> Reply:
    """What the token endpoint answers."""
    return pull(cloud, f"token?service=x&scope={quote(scope)}", access, **options)


def with_token(cloud: Cloud, path: str, token: str) -> Reply:
    """A request with a registry token."""
    return request(f"http://{cloud.endpoints.artifact}/v2/{path}", headers={"Authorization": f"Bearer {token}"})


# --- real clients


@needs_skopeo
@pytest.mark.parametrize("way", ["direct", "impersonated"])
def test_skopeo_pulls_what_is_granted(cloud: Cloud, tmp_path: Path, way: str) -> None:
    """By registry tokens, skopeo copies the granted image and is refused the other one."""
    access = access_token(cloud) if way == "direct" else account_token(cloud)
    at, creds = f"docker://{cloud.endpoints.artifact}", f"oauth2accesstoken:{access}"
    copied = skopeo("copy", "--src-tls-verify=false", "--src-creds", creds, "--insecure-policy",
                    f"{at}/{WEB}:v1", f"dir:{tmp_path / 'image'}")  # fmt: skip
    assert copied.returncode == 0, copied.stderr
    manifest = pull(cloud, f"{WEB}/manifests/v1", access)
    assert (tmp_path / "image" / "manifest.json").read_bytes() == manifest.body
    assert cloud.count("artifact.token") >= 1
    denied = skopeo("inspect", "--tls-verify=false", "--no-tags", "--creds", creds, f"{at}/proj/team-a/app:v1")
    assert denied.returncode
    assert cloud.last("artifact").status == 403
    assert cloud.last("artifact").where == "artifact.token"


@needs_skopeo
@pytest.mark.parametrize(
    ("host", "image"),
    [
        (HOST, WEB), ("docker.europe-west1.rep.pkg.dev", WEB), ("gcr.io", "proj/app"), ("us.gcr.io", "proj/app"),
        ("eu.gcr.io", "proj/app"), ("asia.gcr.io", "proj/app"), ("us-docker.pkg.dev", "proj/gcr.io/app"),
    ],
)  # fmt: skip
def test_skopeo_under_the_registrys_own_names(cloud: Cloud, host: str, image: str) -> None:
    """Regional, multi-regional and gcr.io names lead to the repository that each stands for."""
    parsed = parse(host, ())
    assert parsed is not None
    repository = parsed.repository or image.split("/")[1]
    cloud.push_artifact(image.rsplit("/", maxsplit=1)[-1], repository, location=str(parsed.location))
    cloud.set_artifacts(repository, location=str(parsed.location), readers=[principal("team-b", "web")])
    creds = f"_token:{access_token(cloud)}"
    inspected = skopeo("inspect", "--no-tags", "--creds", creds, f"docker://{host}/{image}:v1",
                       HTTPS_PROXY=cloud.endpoints.proxy, SSL_CERT_FILE=cloud.endpoints.ca_file)  # fmt: skip
    assert inspected.returncode == 0, inspected.stderr
    last = cloud.last("artifact")
    assert (last.host, last.tls, last.region) == (host, True, parsed.location)


@needs_skopeo
def test_skopeo_pulls_public_images_as_nobody(cloud: Cloud) -> None:
    """A repository for all users needs no credential, and refuses one that is no good."""
    at = f"docker://{cloud.endpoints.artifact}/proj/public/base:v1"
    assert skopeo("inspect", "--tls-verify=false", "--no-tags", at).returncode == 0
    assert cloud.last("artifact").principal == "allUsers"
    bad = skopeo("inspect", "--tls-verify=false", "--no-tags", "--creds", "oauth2accesstoken:ya29.old", at)
    assert bad.returncode
    assert cloud.last("artifact").status == 401
    private = skopeo("inspect", "--tls-verify=false", "--no-tags", f"docker://{cloud.endpoints.artifact}/{WEB}:v1")
    assert private.returncode
    assert cloud.last("artifact").status == 403, "so a 403 does not prove that there was a credential"


# --- who may


@pytest.mark.parametrize("user", ["oauth2accesstoken", "_token", "_dcgcr_2_1_34_token"])
def test_the_users_that_stand_for_an_access_token(cloud: Cloud, user: str) -> None:
    """Three spellings are taken, and nothing else is."""
    access = access_token(cloud)
    assert pull(cloud, f"{WEB}/manifests/v1", access, user=user).status == 200
    for wrong in ("", "AWS", "_json_key", f"{user}x"):
        assert pull(cloud, f"{WEB}/manifests/v1", access, user=wrong).status == 401


@pytest.mark.parametrize(
    "path", [f"{WEB}/manifests/v1", "token?service=x", "token?scope=repository:proj/public/base:pull", ""]
)
def test_a_token_that_is_no_good(cloud: Cloud, path: str) -> None:
    """An unknown token, a subject token and one that has expired are refused everywhere."""
    access = access_token(cloud, subject_token(cloud, lifetime_s=60))
    assert pull(cloud, path, access).status == 200
    for wrong in ("ya29.unknown", "", subject_token(cloud)):
        assert errors(pull(cloud, path, wrong))[:2] == (401, "UNAUTHORIZED")
    cloud.configure(skew_s=60)
    assert errors(pull(cloud, path, access))[:2] == (401, "UNAUTHORIZED")


@pytest.mark.parametrize("header", ["Basic", "Basic %%%", "Basic /w==", "Bearer x", "Digest x"])
def test_headers_that_say_nothing(cloud: Cloud, header: str) -> None:
    """Whatever else is in the header is nobody, and not the public's nobody."""
    for path in ("", "proj/public/base/manifests/v1", "token"):
        url = f"http://{cloud.endpoints.artifact}/v2/{path}"
        assert request(url, headers={"Authorization": header}).status == 401


def test_an_access_token_as_a_bearer_is_refused(cloud: Cloud) -> None:
    """Docker's side of the registry wants Basic, or its own token."""
    assert with_token(cloud, f"{WEB}/manifests/v1", access_token(cloud)).status == 401


def test_without_a_credential_comes_a_challenge(cloud: Cloud) -> None:
    """The challenge leads to the token endpoint of the host that was asked."""
    for path in ("", f"{WEB}/manifests/v1", "proj/public/base/manifests/v1"):
        reply = pull(cloud, path, None)
        assert errors(reply)[:2] == (401, "UNAUTHORIZED")
        at = cloud.endpoints.artifact
        assert reply.headers["www-authenticate"] == f'Bearer realm="http://{at}/v2/token",service="{at}"'
    reply = pull(cloud, "", None, host=HOST)
    assert urlsplit(reply.headers["www-authenticate"].split('"')[1]).netloc == HOST


def test_what_is_not_there_and_what_one_may_not_read(cloud: Cloud) -> None:
    """A repository that is not there is refused like one that is somebody else's."""
    access = access_token(cloud)
    for path in ("proj/team-a/app", "proj/none/app", "other/team-b/web"):
        status, code, message = errors(pull(cloud, f"{path}/manifests/v1", access))
        assert (status, code) == (403, "DENIED")
        assert "(or it may not exist)" in message
    assert errors(pull(cloud, f"{WEB}/manifests/v1", access, host="us-docker.pkg.dev"))[0] == 403
    assert errors(pull(cloud, "proj/team-b/none/manifests/v1", access))[:2] == (404, "NAME_UNKNOWN")
    assert errors(pull(cloud, f"{WEB}/manifests/none", access))[:2] == (404, "MANIFEST_UNKNOWN")
    assert errors(pull(cloud, f"{WEB}/blobs/{digest(b'none')}", access))[:2] == (404, "BLOB_UNKNOWN")
    assert errors(pull(cloud, "proj/team-b/manifests/v1", access))[:2] == (400, "NAME_INVALID")
    assert errors(pull(cloud, "proj/manifests/v1", access))[:2] == (400, "NAME_INVALID")
    assert errors(pull(cloud, f"{WEB}/uploads/x", access))[:2] == (405, "UNSUPPORTED")
    assert json.loads(pull(cloud, f"{WEB}/tags/list", access).body)["tags"] == ["latest", "v1"]


def test_a_changed_policy_counts_at_once(cloud: Cloud) -> None:
    """Rights are those of now, also behind a registry token."""
    access = access_token(cloud)
    token = json.loads(registry_token(cloud, access, f"repository:{WEB}:pull").body)["token"]
    assert with_token(cloud, f"{WEB}/manifests/v1", token).status == 200
    cloud.set_artifacts("team-b", readers=[])
    assert with_token(cloud, f"{WEB}/manifests/v1", token).status == 403
    assert pull(cloud, f"{WEB}/manifests/v1", access).status == 403


def test_a_domain_scoped_project(cloud: Cloud) -> None:
    """`example.com:proj` is two segments of the path."""
    cloud.push_artifact("app", "repo", project="example.com:proj")
    cloud.set_artifacts("repo", project="example.com:proj", readers=[principal("team-b", "web")])
    assert pull(cloud, "example.com/proj/repo/app/manifests/v1", access_token(cloud)).status == 200


def test_images_below_images(cloud: Cloud) -> None:
    """What follows the repository is the image's name, however deep."""
    cloud.push_artifact("a/b/c", "team-b")
    assert pull(cloud, "proj/team-b/a/b/c/manifests/v1", access_token(cloud)).status == 200


def test_names_in_front_and_the_default_location(cloud: Cloud) -> None:
    """A name of one's own stands for a location; the bare port for the default one."""
    cloud.configure(google_aliases={"images.example.com": "europe"})
    access = access_token(cloud)
    assert pull(cloud, f"{WEB}/manifests/v1", access, host="images.example.com").status == 200
    cloud.configure(default_location="asia")
    assert pull(cloud, f"{WEB}/manifests/v1", access).status == 403
    assert pull(cloud, f"{WEB}/manifests/v1", access, host="other.example.com").headers["content-length"] == "0"
    assert cloud.last().service == "elsewhere"


# --- registry tokens


def test_a_registry_token_is_for_what_was_asked(cloud: Cloud) -> None:
    """It opens the image that its scope names, as the one whose access token it was given for."""
    cloud.push_artifact("other", "team-b")
    reply = registry_token(cloud, access_token(cloud), f"repository:{WEB}:pull")
    token = json.loads(reply.body)["token"]
    assert with_token(cloud, f"{WEB}/manifests/v1", token).status == 200
    assert cloud.last("artifact").principal == principal("team-b", "web")
    assert with_token(cloud, "", token).status == 200
    assert with_token(cloud, "proj/team-b/other/manifests/v1", token).status == 401
    assert with_token(cloud, f"{WEB}/manifests/v1", token + "x").status == 401


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ("", 200), (f"repository:{WEB}:pull repository:proj/public/base:pull", 200), (f"repository:{WEB}:push", 403),
        (f"repository:{WEB}:pull,push", 403), ("repository:proj/team-a/app:pull", 403), ("registry:catalog:*", 403),
        (f"repository:{WEB}:pull repository:proj/team-a/app:pull", 403), ("repository:proj:pull", 400),
    ],
)  # fmt: skip
def test_scopes(cloud: Cloud, scope: str, status: int) -> None:
    """A token is given for pulls of what may be pulled, all of it or none."""
    assert registry_token(cloud, access_token(cloud), scope).status == status


def test_registry_tokens_end(cloud: Cloud) -> None:
    """They end with the access token, by default, and with its pool in any case."""
    access = access_token(cloud, subject_token(cloud, lifetime_s=600))
    document = json.loads(registry_token(cloud, access, f"repository:{WEB}:pull").body)
    assert 590 < document["expires_in"] <= 600
    cloud.configure(registry_tokens_outlive=True)
    longer = json.loads(registry_token(cloud, access, f"repository:{WEB}:pull").body)
    cloud.configure(skew_s=601)
    assert with_token(cloud, f"{WEB}/manifests/v1", document["token"]).status == 401
    assert with_token(cloud, f"{WEB}/manifests/v1", longer["token"]).status == 200
    cloud.set_pool(disabled=True)
    assert with_token(cloud, f"{WEB}/manifests/v1", longer["token"]).status == 401
    cloud.set_pool(disabled=False)
    cloud.configure(skew_s=3700)
    assert with_token(cloud, f"{WEB}/manifests/v1", longer["token"]).status == 401


def test_scopes_of_the_access_token(cloud: Cloud) -> None:
    """Which are enough is a knob, because nobody has settled it."""
    access = access_token(cloud, scope=DEVSTORAGE)
    assert pull(cloud, f"{WEB}/manifests/v1", access).status == 200
    cloud.configure(pull_scopes=[CLOUD_SCOPE])
    assert "insufficient" in errors(pull(cloud, f"{WEB}/manifests/v1", access))[2]


def test_the_bare_ports_are_apart(cloud: Cloud) -> None:
    """ECR's port does not serve Google's images, nor the other way round."""
    access = access_token(cloud)
    url = f"http://{cloud.endpoints.registry}/v2/{WEB}/manifests/v1"
    assert request(url, headers={"Authorization": "Basic x"}).status == 401
    assert cloud.last().where == "registry.manifest"
    assert pull(cloud, "team-a/app/manifests/v1", access).status == 400
    assert cloud.last().where == "artifact.manifest"


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("gcr.io", ("artifact", "us", "gcr.io")),
        ("eu.gcr.io", ("artifact", "europe", "eu.gcr.io")),
        ("europe-west1-docker.pkg.dev", ("artifact", "europe-west1", None)),
        ("docker.us-central1.rep.pkg.dev", ("artifact", "us-central1", None)),
        ("sts.googleapis.com", ("gsts", None, None)),
        ("sts-psc.p.googleapis.com", ("gsts", None, None)),
        ("sts.apis-s3ns.fr", ("gsts", None, None)),
        ("iamcredentials.googleapis.com", ("iamcredentials", None, None)),
        ("iamcredentials.apis-s3ns.fr", ("iamcredentials", None, None)),
        ("k8s.gcr.io", None),
        ("docker.pkg.dev", None),
        ("europe-python.pkg.dev", None),
        ("europe-docker.pkg.dev.example.test", None),
        ("xgcr.io", None),
        ("sts.googleapis.com.example.test", None),
        ("sts.example.test", None),
        ("sts.", None),
        ("apis-s3ns.fr", None),
        ("storage.googleapis.com", None),
    ],
)
def test_host_names(host: str, said: tuple[str, str | None, str | None] | None) -> None:
    """Google's names, and those that only look like them."""
    assert parse(host, {"apis-s3ns.fr"}) == said


def test_a_universe_exists_when_it_was_made(cloud: Cloud) -> None:
    """A universe domain typed wrong leads elsewhere."""
    cloud.configure(universes=["example-universe.goog"])
    for universe, service in (("example-universe.goog", "gsts"), ("example-univers.goog", "elsewhere")):
        request(f"{cloud.endpoints.gsts}/v1/token", "POST", headers={"Host": f"sts.{universe}"})
        assert cloud.last().service == service
