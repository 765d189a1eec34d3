"""The local cloud as a registry: images that independent clients accept, and who may pull what."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from typing import Any

import pytest

from cloud import ACCOUNT, Cloud, role_arn
from cloud.clients import authorization, credentials, password, policy, pull, request
from cloud.images import digest
from cloud.world import REGION, pull_document

HOST = f"{ACCOUNT}.dkr.ecr.{REGION}.amazonaws.com"
LOGIN = {"Effect": "Allow", "Action": "ecr:GetAuthorizationToken", "Resource": "*"}
ARN = f"arn:aws:ecr:{REGION}:{ACCOUNT}:repository/"
OTHER_ACCOUNT = "444455556666"


def pulling(*repositories: str, actions: Any = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")) -> str:
    """A session policy to log in and pull from these repositories."""
    resources = [ARN + name for name in repositories]
    return policy(LOGIN, {"Effect": "Allow", "Action": list(actions), "Resource": resources})


def refusal(cloud: Cloud, path: str, login: str | None, **options: Any) -> tuple[int, str, str]:
    """Status, code and message of the registry's refusal."""
    reply = pull(cloud, path, login, **options)
    (error,) = json.loads(reply.body)["errors"]
    return reply.status, error["code"], error["message"]


# --- images


@pytest.mark.parametrize("tag", ["v1", "multi"])
def test_an_image_is_whole(cloud: Cloud, tag: str) -> None:
    """From the tag, every manifest, configuration and layer is found under its digest and says what it should."""
    login = password(cloud)
    top = pull(cloud, f"team-a/app/manifests/{tag}", login)
    assert top.headers["docker-content-digest"] == digest(top.body)
    document = json.loads(top.body)
    assert document["mediaType"] == top.headers["content-type"]
    manifests = [
        json.loads(pull(cloud, f"team-a/app/manifests/{each['digest']}", login).body)
        for each in document.get("manifests", [])
    ] or [document]
    assert len(manifests) == (2 if tag == "multi" else 1)
    for manifest in manifests:
        for blob in [manifest["config"], *manifest["layers"]]:
            got = pull(cloud, f"team-a/app/blobs/{blob['digest']}", login)
            assert (digest(got.body), len(got.body)) == (blob["digest"], blob["size"])
        config = json.loads(pull(cloud, f"team-a/app/blobs/{manifest['config']['digest']}", login).body)
        layer = gzip.decompress(pull(cloud, f"team-a/app/blobs/{manifest['layers'][0]['digest']}", login).body)
        assert config["rootfs"]["diff_ids"] == [digest(layer)]
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            content = tar.extractfile("hello.txt")
            assert content is not None
            assert content.read() == f"team-a/app:{tag} for {config['architecture']}\n".encode()


def test_head_tells_digest_and_length(cloud: Cloud) -> None:
    """HEAD answers as GET does, without the body."""
    login = password(cloud)
    whole, head = (pull(cloud, "team-a/app/manifests/v1", login, method) for method in ("GET", "HEAD"))
    assert head.body == b""
    assert head.headers["content-length"] == str(len(whole.body))
    assert head.headers["docker-content-digest"] == whole.headers["docker-content-digest"]


def test_a_pushed_image_is_there(cloud: Cloud) -> None:
    """A test may add repositories and tags; what is not there is not found, in the registry's words."""
    cloud.push("team-a/new", "v7")
    login = password(cloud)
    assert pull(cloud, "team-a/new/manifests/v7", login).status == 200
    assert refusal(cloud, "team-a/new/manifests/v8", login)[:2] == (404, "MANIFEST_UNKNOWN")
    assert refusal(cloud, f"team-a/new/blobs/{digest(b'x')}", login)[:2] == (404, "BLOB_UNKNOWN")
    assert refusal(cloud, "team-a/none/manifests/v1", login)[:2] == (404, "NAME_UNKNOWN")
    assert refusal(cloud, "team-a/new/uploads", login)[:2] == (405, "UNSUPPORTED")
    assert refusal(cloud, "team-a/new/manifests/v7", login, method="PUT")[:2] == (405, "UNSUPPORTED")


# --- who is let in


def test_the_challenge(cloud: Cloud) -> None:
    """Nobody gets in without a password, and the answer says how to bring one."""
    reply = pull(cloud, "", None)
    assert reply.status == 401
    assert reply.headers["www-authenticate"] == f'Basic realm="https://{HOST}/",service="ecr.amazonaws.com"'
    assert pull(cloud, "", password(cloud)).status == 200


@pytest.mark.parametrize("login", ["AWS:wrong", "AWS:", ":", "nobody", "AWS"])
def test_a_wrong_password(cloud: Cloud, login: str) -> None:
    """What was not issued does not open."""
    assert refusal(cloud, "team-a/app/manifests/v1", login)[:2] == (401, "UNAUTHORIZED")


def test_the_user_is_aws(cloud: Cloud) -> None:
    """A right password under another user's name does not open."""
    secret = password(cloud).partition(":")[2]
    assert refusal(cloud, "", f"admin:{secret}")[0] == 401


@pytest.mark.parametrize("header", ["Bearer abc", "Basic %%%", "Basic /////w==", "Basic", ""])
def test_an_unreadable_authorization(cloud: Cloud, header: str) -> None:
    """Anything may stand in the header."""
    assert request(f"http://{cloud.endpoints.registry}/v2/", headers={"Authorization": header}).status == 401


def test_an_expired_password(cloud: Cloud) -> None:
    """After twelve hours the password is refused and the text says why."""
    login = password(cloud)
    cloud.configure(skew_s=12 * 3600 - 60)
    assert pull(cloud, "team-a/app/manifests/v1", login).status == 200
    cloud.configure(skew_s=12 * 3600 + 60)
    status, _, message = refusal(cloud, "team-a/app/manifests/v1", login)
    assert (status, "expired" in message) == (401, True)


def test_a_short_password(cloud: Cloud) -> None:
    """The password's life is a knob, and whether it ends with the session is another."""
    cloud.configure(password_life_s=7200, passwords_outlive_sessions=False)
    login = password(cloud)
    cloud.configure(skew_s=3601)
    assert pull(cloud, "", login).status == 401
    cloud.configure(passwords_outlive_sessions=True)
    assert pull(cloud, "", login).status == 200
    cloud.configure(skew_s=7201)
    assert pull(cloud, "", login).status == 401


@pytest.mark.parametrize(
    ("limit", "while_it_lives", "afterwards"),
    [("always", 403, 403), ("never", 200, 200), ("with-session", 403, 200)],
)
def test_whether_a_limit_holds_is_a_knob(cloud: Cloud, limit: str, while_it_lives: int, afterwards: int) -> None:
    """A password's limit to what its session's policy names can be missing, or end with the session."""
    cloud.configure(password_limit=limit)
    login = password(cloud, Policy=pulling("team-a/app"))
    other = "team-a/other/manifests/v1"
    assert pull(cloud, other, login).status == while_it_lives
    cloud.configure(skew_s=3601)
    assert (pull(cloud, other, login).status, pull(cloud, "team-a/app/manifests/v1", login).status) == (afterwards, 200)


# --- what they may pull


def test_a_role_opens_its_teams_repositories(cloud: Cloud) -> None:
    """Without a session policy, what the role may read is open, and nothing else."""
    login = password(cloud)
    opened = {
        name: pull(cloud, f"{name}/manifests/v1", login).status
        for name in ("team-a/app", "team-a/other", "shared/base", "team-b/app", "team-c/none")
    }
    assert opened == {"team-a/app": 200, "team-a/other": 200, "shared/base": 200, "team-b/app": 403, "team-c/none": 403}


def test_a_session_policy_narrows(cloud: Cloud) -> None:
    """A password of a session that is limited to one repository opens that one; manifests and blobs alike."""
    login = password(cloud, Policy=pulling("team-a/app"))
    manifest = json.loads(pull(cloud, "team-a/app/manifests/v1", login).body)
    blob = manifest["layers"][0]["digest"]
    assert pull(cloud, f"team-a/app/blobs/{blob}", login).status == 200
    status, code, message = refusal(cloud, "team-a/other/manifests/v1", login)
    assert (status, code) == (403, "DENIED")
    assert message == (
        f"User: arn:aws:sts::{ACCOUNT}:assumed-role/pull-team-a/prod-1.team-a.web is not authorized to perform: "
        f"ecr:BatchGetImage on resource: {ARN}team-a/other "
        "because no session policy allows the ecr:BatchGetImage action"
    )
    assert refusal(cloud, f"team-a/other/blobs/{blob}", login)[:2] == (403, "DENIED")


def test_a_session_policy_does_not_widen(cloud: Cloud) -> None:
    """A session policy for what the role may not read opens nothing."""
    login = password(cloud, Policy=pulling("team-b/app", "team-a/app"))
    assert "no identity-based policy" in refusal(cloud, "team-b/app/manifests/v1", login)[2]
    assert pull(cloud, "team-a/app/manifests/v1", login).status == 200


@pytest.mark.parametrize(
    ("resource", "name", "opens"),
    [
        ("team-a/*", "team-a/app", True),
        ("team-a/a??", "team-a/app", True),
        ("team-a/a?", "team-a/app", False),
        ("*", "team-a/app", True),
        ("team-a", "team-a/app", False),
        ("team-a/ap", "team-a/app", False),
        ("TEAM-A/app", "team-a/app", False),
        ("team-a/app/*", "team-a/app", False),
        ("*/app", "team-a/deep/app", True),
    ],
)
def test_resources_match_as_in_iam(cloud: Cloud, resource: str, name: str, opens: bool) -> None:
    """`*` crosses slashes, `?` is one character, and case counts."""
    cloud.push(name)
    login = password(cloud, Policy=pulling(resource))
    assert pull(cloud, f"{name}/manifests/v1", login).status == (200 if opens else 403)


@pytest.mark.parametrize(
    ("actions", "manifest", "blob"),
    [
        (["ecr:*"], 200, 200),
        (["ECR:batchgetimage"], 200, 403),
        (["ecr:GetDownloadUrlForLayer"], 403, 200),
        (["ecr:*Image"], 200, 403),
        (["s3:*"], 403, 403),
    ],
)
def test_actions_match_as_in_iam(cloud: Cloud, actions: list[str], manifest: int, blob: int) -> None:
    """Manifests need one action, blobs another; case does not count in actions."""
    login = password(cloud, Policy=pulling("*", actions=actions))
    config = digest(b"none")
    assert pull(cloud, "team-a/app/manifests/v1", login).status == manifest
    assert pull(cloud, f"team-a/app/blobs/{config}", login).status == (404 if blob == 200 else 403)


def test_a_deny_wins(cloud: Cloud) -> None:
    """An explicit deny closes what an allow opens; `NotResource` and `NotAction` are understood."""
    everything = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    deny = {"Effect": "Deny", "NotAction": "ecr:GetAuthorizationToken", "NotResource": ARN + "team-a/app"}
    login = password(cloud, Policy=policy(everything, deny))
    assert pull(cloud, "team-a/app/manifests/v1", login).status == 200
    assert "explicit deny in a session policy" in refusal(cloud, "shared/base/manifests/v1", login)[2]
    cloud.set_role(
        "pull-team-a", policy=policy(everything, {**everything, "Effect": "Deny", "Resource": ARN + "*/app"})
    )
    assert "explicit deny in an identity-based policy" in refusal(cloud, "team-a/app/manifests/v1", login)[2]
    cloud.remove_role("pull-team-a")
    assert refusal(cloud, "team-a/app/manifests/v1", login)[:2] == (403, "DENIED")


def test_tags_need_an_action_of_their_own(cloud: Cloud) -> None:
    """A pull does not list."""
    assert pull(cloud, "team-a/app/tags/list", password(cloud)).status == 403
    cloud.set_role("pull-team-a", policy=policy({"Effect": "Allow", "Action": "*", "Resource": "*"}))
    assert json.loads(pull(cloud, "team-a/app/tags/list", password(cloud)).body)["tags"] == ["latest", "multi", "v1"]


def test_a_registry_is_chosen_by_its_host(cloud: Cloud) -> None:
    """Account and region come from the host, or from an alias; a password is good in its region only."""
    cloud.push("team-a/app", "eu", region="eu-west-1")
    login = password(cloud)
    assert pull(cloud, "team-a/app/manifests/v1", login, host=HOST).status == 200
    assert pull(cloud, "team-a/app/manifests/v1", login, host=HOST.replace("us-west-2", "eu-west-1")).status == 401
    signer = credentials(cloud)
    cloud.set_role("pull-team-a", policy=pull_document("team-a/", region="eu-west-1"))
    data = authorization(cloud, signer, region="eu-west-1")["authorizationData"][0]
    assert data["proxyEndpoint"] == "https://" + HOST.replace("us-west-2", "eu-west-1")
    cloud.configure(default_registry=[ACCOUNT, "eu-west-1"], aliases={"images.example.com": [ACCOUNT, "us-west-2"]})
    assert pull(cloud, "", login).status == 401
    assert pull(cloud, "", login, host="images.example.com").status == 200


def test_another_accounts_repository_needs_both_sides(cloud: Cloud) -> None:
    """Across accounts the role and the repository's own policy must both allow."""
    host = HOST.replace(ACCOUNT, OTHER_ACCOUNT)
    cloud.push("team-a/app", "v1", account=OTHER_ACCOUNT)
    login = password(cloud)
    grant = {"Effect": "Allow", "Action": "ecr:BatchGetImage", "Principal": {"AWS": role_arn("pull-team-a")}}
    cloud.set_role("pull-team-a", policy=policy(LOGIN, {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}))
    assert "no resource-based policy" in refusal(cloud, "team-a/app/manifests/v1", login, host=host)[2]
    cloud.set_repository("team-a/app", account=OTHER_ACCOUNT, policy=policy(grant))
    assert pull(cloud, "team-a/app/manifests/v1", login, host=host).status == 200
    cloud.set_role("pull-team-a", policy=pull_document("team-a/"))
    assert "no identity-based policy" in refusal(cloud, "team-a/app/manifests/v1", login, host=host)[2]


def test_a_repositorys_own_policy(cloud: Cloud) -> None:
    """In one account a grant to the role is limited by the session policy, one to the session is not; a deny closes."""
    login = password(cloud, Policy=pulling("team-a/app"))
    session = f"arn:aws:sts::{ACCOUNT}:assumed-role/pull-team-a/prod-1.team-a.web"
    grant = {"Effect": "Allow", "Action": "ecr:*", "Principal": {"AWS": role_arn("pull-team-a")}}
    cloud.set_repository("team-b/app", policy=policy(grant))
    assert "no session policy" in refusal(cloud, "team-b/app/manifests/v1", login)[2]
    assert pull(cloud, "team-b/app/manifests/v1", password(cloud)).status == 200
    cloud.set_repository("team-b/app", policy=policy({**grant, "Principal": {"AWS": session}}))
    assert pull(cloud, "team-b/app/manifests/v1", login).status == 200
    cloud.set_repository("team-a/app", policy=policy({**grant, "Effect": "Deny", "Principal": "*"}))
    assert "explicit deny in a resource-based policy" in refusal(cloud, "team-a/app/manifests/v1", login)[2]


def test_pull_through_needs_more(cloud: Cloud) -> None:
    """A repository that is fed from upstream wants the importing actions as well, until it exists and after."""
    cloud.push("team-a/cache")
    cloud.set_repository("team-a/cache", pull_through=True, created=False)
    cloud.set_role("pull-team-a", policy=policy({"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}))
    plain = ["ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    more = [*plain, "ecr:BatchImportUpstreamImage"]
    for actions, missing in ((plain, "BatchImportUpstreamImage"), (more, "CreateRepository")):
        login = password(cloud, Policy=pulling("team-a/cache", actions=actions))
        assert f"ecr:{missing} action" in refusal(cloud, "team-a/cache/manifests/v1", login)[2]
    login = password(cloud, Policy=pulling("team-a/cache", actions=[*more, "ecr:CreateRepository"]))
    assert pull(cloud, "team-a/cache/manifests/v1", login).status == 200
    login = password(cloud, Policy=pulling("team-a/cache", actions=more))
    assert pull(cloud, "team-a/cache/manifests/v1", login).status == 200
