"""pullpass's launchers, run by the kubelet's own code against the local cloud.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/plugin/plugin.go` and `pkg/credentialprovider/keyring.go`; what
those do by themselves is held by the other suites here.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from cloud import ACCOUNT, AUDIENCE, REGION, clients, role_arn
from cloud.world import trust_document
from conformance.examine import examine
from conformance.installed import ANNOTATION, HOST, entry, grant
from conformance.interview import Options
from conformance.kubelet import BARE_ENVIRONMENT, Pod
from conformance.scripted import write_config

if TYPE_CHECKING:
    from pathlib import Path

    from conformance.installed import Installed

IMAGE = f"{HOST}/team-a/app"


# --- answers


def test_answer(ready: Installed) -> None:
    """The credential is found, belongs to the account, and opens its repository and no other."""
    account = ready.account()
    seen = ready.look(IMAGE)
    assert seen.errors == []
    (credential,) = seen.credentials
    assert (credential.username, credential.account) == ("AWS", account)
    login = f"AWS:{credential.password}"
    pulls = {
        name: clients.pull(ready.cloud, f"{name}/manifests/v1", login).status for name in ("team-a/app", "team-a/other")
    }
    assert pulls == {"team-a/app": 200, "team-a/other": 403}
    answer = seen.executions[0].response
    assert answer is not None
    assert answer.cache_key_type == "Image"
    assert list(answer.auth) == [IMAGE]


AWKWARD = [
    "app", "a/b/c/d/e/f", "a.b-c__d/e", "0/1", "app.d", "v1", "v2", "v1/app", "v2/app", "v2/v2/app", "v1/v2/app",
    "v2app/x", "v3/app", "app/v2/x", "team-a/v1", "team-a/manifests/v1", "library/app", "x" * 200,
]  # fmt: skip


def test_awkward_repositories(node: Installed) -> None:
    """Whatever a repository is called, the keyring finds its credential, and it opens that repository."""
    node.install(grant([f"{HOST}/**"]))
    node.start()
    node.account()
    node.cloud.set_role("pull-team-a", policy=_pull_everything())
    for name in AWKWARD:
        node.cloud.push(name)
        image = node.kubelet.parse(f"{HOST}/{name}:v1")
        seen = node.look(image.repository)
        assert [c.username for c in seen.credentials] == ["AWS"], (name, [line.text() for line in seen.errors])
        policy = node.cloud.last("sts").parameters["Policy"]
        resources = [r for s in json.loads(policy)["Statement"] for r in _listed(s["Resource"]) if r != "*"]
        assert {resource.rpartition(":repository/")[2] for resource in resources} == {name}
        reply = clients.pull(node.cloud, f"{name}/manifests/v1", f"AWS:{seen.credentials[0].password}")
        assert reply.status == 200, name


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else value


def _pull_everything() -> dict[str, Any]:
    allow = {"Effect": "Allow", "Action": "ecr:*", "Resource": "*"}
    return {"Version": "2012-10-17", "Statement": [allow]}


@pytest.mark.parametrize(
    "neighbour", ["team-a/app2", "team-a/ap", "team-a/app-x", "team-a/app/sub", "team-a", "team-b/app", "v2/team-a/app"]
)
def test_neighbours_get_nothing(node: Installed, neighbour: str) -> None:
    """A repository that is not granted gets nothing from the answer for one that is, cached as that may be."""
    node.install(grant([IMAGE]))
    node.start()
    node.account()
    assert len(node.look(IMAGE).credentials) == 1
    assert node.look(IMAGE).executions == []
    seen = node.look(f"{HOST}/{neighbour}")
    assert seen.credentials == []
    assert "pullpass: no-grant:" in seen.errors[0].error


@pytest.mark.parametrize(
    "host",
    [
        f"111122223333.dkr.ecr-fips.{REGION}.amazonaws.com",
        f"111122223333.dkr-ecr.{REGION}.on.aws",
        "111122223333.dkr.ecr.eu-central-1.amazonaws.com",
        "images.example.com",
    ],
)
def test_other_host_forms(node: Installed, host: str) -> None:
    """FIPS, dual-stack, other regions and configured names are asked for and found under their own name."""
    alias = f'[[ecr.alias]]\nhost = "images.example.com"\naccount = "111122223333"\nregion = "{REGION}"\n'
    node.install(grant([f"{host}/team-a/**"]), ecr=alias)
    node.start()
    node.account()
    seen = node.look(f"{host}/team-a/app")
    assert [c.username for c in seen.credentials] == ["AWS"], [line.text() for line in seen.errors]


def test_tokens_in_every_signature(ready: Installed) -> None:
    """RSA and elliptic curves."""
    ready.account(alg="ES256")
    assert len(ready.look(IMAGE).credentials) == 1


# --- the kubelet's cache


def test_pods_of_an_account_share(ready: Installed) -> None:
    """`cacheType: ServiceAccount`: one exchange for the pods of an account, whatever their tokens, and its own."""
    account = ready.account()
    first = ready.look(IMAGE)
    ready.account()
    second = ready.look(IMAGE)
    assert second.executions == []
    assert second.credentials == first.credentials
    assert second.credentials[0].account == account
    other = ready.account(name="api", uid="another-uid")
    third = ready.look(IMAGE, name="api")
    assert len(third.executions) == 1
    assert third.credentials[0].account == other
    assert ready.cloud.count("sts.AssumeRoleWithWebIdentity") == 2


def test_an_account_made_again_is_asked_for_again(ready: Installed) -> None:
    """Another uid under the same name."""
    ready.account()
    ready.look(IMAGE)
    ready.account(uid="made-again")
    assert len(ready.look(IMAGE).executions) == 1


@pytest.mark.parametrize(
    ("approval", "kept"),
    [
        pytest.param("", "10m", id="default"),
        pytest.param('recheck = "90s"', "1m30s", id="recheck"),
        pytest.param('recheck = "1s"', "1s", id="shortest-recheck"),
    ],
)
def test_recheck_is_when_the_kubelet_asks_again(node: Installed, approval: str, kept: str) -> None:
    """`cacheDuration` is `recheck` where nothing ends sooner, and the kubelet keeps to it to the nanosecond."""
    node.install(approval=approval)
    node.start()
    node.account()
    assert len(node.look(IMAGE).credentials) == 1
    node.kubelet.advance(kept)
    assert node.look(IMAGE).executions == []
    node.kubelet.advance("1ns")
    again = node.look(IMAGE)
    assert len(again.executions) == len(again.credentials) == 1


def test_what_ends_soon_is_not_kept(ready: Installed) -> None:
    """A password that ends within the margin is handed out with `0s`: the kubelet stores nothing."""
    ends = int(ready.cloud.now()) + 90
    ready.cloud.fault("ecr", "set", None, fields={"authorizationData.0.expiresAt": ends})
    for _ in range(2):
        seen = ready.look(IMAGE)
        assert len(seen.credentials) == 1
        answer = seen.executions[0].response
        assert answer is not None
        assert answer.cache_s == 0.0
        assert ready.kubelet.cache_keys("pullpass-ecr") == []


def test_anonymous_is_an_empty_answer_that_is_kept(ready: Installed) -> None:
    """Public images: no credential, no error, no exchange, and the kubelet does not ask again for a while."""
    seen = ready.look(f"{HOST}/public/app")
    assert (seen.credentials, seen.errors, len(seen.executions)) == ([], [], 1)
    assert ready.look(f"{HOST}/public/app").executions == []
    ready.kubelet.advance("10m1ns")
    assert len(ready.look(f"{HOST}/public/app").executions) == 1
    assert ready.cloud.count("sts") == 0


def test_ecr_public(node: Installed) -> None:
    """A password for limits of its own; where the cloud fails, an answer without one, kept for a minute."""
    image = "public.ecr.aws/docker/library/busybox"
    node.install(grant(["public.ecr.aws/**"]).replace("pull-team-a", "pull-public"))
    node.start(entry(match=["public.ecr.aws"]))
    account = node.account()
    (credential,) = node.look(image).credentials
    assert (credential.username, credential.account) == ("AWS", account)
    assert credential.password in node.cloud.world.public_passwords
    node.cloud.fault("ecr-public", "AccessDeniedException", None)
    node.account(name="api", uid="another-uid")
    seen = node.look(image, name="api")
    answer = seen.executions[0].response
    assert answer is not None
    assert (answer.auth, answer.cache_s, seen.errors) == ({}, 60.0, [])


# --- annotations


def test_annotation_chooses_among_what_is_allowed(ready: Installed) -> None:
    """The role of the annotation is assumed; changing it takes effect at once, in spite of the cache."""
    image = f"{HOST}/shared/base"
    ready.account("team-b", annotations={ANNOTATION: role_arn("pull-team-b")})
    seen = ready.look(image, "team-b")
    assert len(seen.credentials) == 1
    assert ready.cloud.last("sts").parameters["RoleArn"] == role_arn("pull-team-b")
    ready.account("team-b", annotations={ANNOTATION: role_arn("pull-team-a")})
    refused = ready.look(image, "team-b")
    assert refused.credentials == []
    assert "exit status 3: pullpass: identity-not-allowed:" in refused.errors[0].error


def test_annotation_missing(ready: Installed) -> None:
    """A grant that needs an annotation says which."""
    assert ANNOTATION in ready.refusal(ready.look(f"{HOST}/shared/base"), 3, "annotation-missing")


# --- refusals


def test_no_grant(ready: Installed) -> None:
    """Deny by default, without a request to anybody."""
    error = ready.refusal(ready.look(f"{HOST}/team-b/app"), 3, "no-grant")
    assert "team-a/web" in error
    assert ready.cloud.counts() == {}


def test_foreign_registry(node: Installed) -> None:
    """An image that the kubelet asks about by mistake: the token goes nowhere."""
    node.install()
    node.start(entry(match=["evil.example.com"]))
    node.account()
    assert "evil.example.com" in node.refusal(node.look("evil.example.com/team-a/app"), 3, "registry-unknown")
    assert node.cloud.counts() == {}


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        pytest.param({"audience": "other.example"}, 3, "token-audience", id="audience"),
        pytest.param({"issued_s": -7200, "lifetime_s": 3600}, 3, "token-expired", id="expired"),
        pytest.param({"issued_s": 600}, 3, "token-not-yet-valid", id="not-yet-valid"),
        pytest.param({"claims": {"iss": "https://other.example"}}, 3, "token-issuer", id="issuer"),
        pytest.param({"alg": "none"}, 2, "token-algorithm", id="no-signature"),
        pytest.param({"payload": b"not a document"}, 2, "token-malformed", id="payload"),
        pytest.param({"remove": ["kubernetes.io"]}, 2, "token-claims", id="claims"),
        pytest.param({"key": "wrong"}, 4, "aws-token-rejected", id="signature"),
    ],
)
def test_tokens(ready: Installed, token: dict[str, Any], status: int, code: str) -> None:
    """A token that is not good enough; only its signature is left to the cloud."""
    ready.account(**token)
    ready.refusal(ready.look(IMAGE), status, code)
    assert ready.cloud.count("sts") == (status == 4)


def test_the_cloud_refuses(ready: Installed) -> None:
    """A role that trusts somebody else."""
    issuer = ready.cloud.issuer
    provider = ready.cloud.world.providers[ACCOUNT, issuer].arn
    subject = "system:serviceaccount:team-b:*"
    ready.cloud.set_role("pull-team-a", trust=trust_document(issuer, provider, AUDIENCE, subject))
    ready.refusal(ready.look(IMAGE), 4, "aws-sts-denied")


def test_the_cloud_is_away(node: Installed) -> None:
    """Nobody listens: the last of the statuses, well within the kubelet's minute."""
    node.install(node='deadline = "5s"')
    node.start()
    node.account()
    node.cloud.fault("sts", "cut", None)
    node.refusal(node.look(IMAGE), 5, "cloud-unreachable")


def test_a_refusal_is_asked_about_again(ready: Installed) -> None:
    """The kubelet keeps no failure: once the grant is there, the next look-up gets its credential."""
    image = f"{HOST}/new/app"
    assert ready.look(image).credentials == []
    ready.install(grant([f"{HOST}/new/**"]))
    assert len(ready.look(image).credentials) == 1


# --- without a token


def test_static_pod(node: Installed) -> None:
    """Asked without a token where the entry says so, and refused: nobody granted anything to the node."""
    node.install()
    node.start(entry(requireServiceAccount=False))
    seen = node.kubelet.lookup(IMAGE, None)
    assert seen.executions[0].token == ""
    node.refusal(seen, 3, "no-grant")
    assert node.cloud.counts() == {}


def test_static_pod_of_an_entry_that_requires_an_account(ready: Installed) -> None:
    """The kubelet does not ask."""
    seen = ready.kubelet.lookup(IMAGE, None)
    assert (seen.executions, seen.credentials, seen.errors) == ([], [], [])


# --- both launchers


def test_either_launcher_serves_by_the_audience(node: Installed) -> None:
    """pullpass-gcr under an entry with ECR's audience is ECR's."""
    node.install()
    node.start(entry("pullpass-gcr"))
    node.account()
    assert len(node.look(IMAGE).credentials) == 1


def test_two_entries_do_not_disturb_each_other(node: Installed) -> None:
    """An image that both entries match is answered by the one whose audience is right; the other only logs."""
    node.install()
    node.start(entry("pullpass-gcr", serviceAccountTokenAudience="another.audience"), entry("pullpass-ecr"))
    node.account()
    seen = node.look(IMAGE)
    assert [call.audiences for call in seen.calls if call.verb == "token"] == [("another.audience",), (AUDIENCE,)]
    assert {e.provider for e in seen.executions} == {"pullpass-gcr", "pullpass-ecr"}
    assert {c.username for c in seen.credentials} == {"AWS"}


def test_simultaneous_pods(ready: Installed) -> None:
    """Eight pods at once, of two accounts: every one of them gets its credential."""
    ready.account()
    ready.account(name="api", uid="another-uid")
    pods = [(f"{HOST}/team-a/{name}", Pod(service_account=who)) for name in ("app", "other") for who in ("web", "api")]
    seen = ready.kubelet.lookup_together(pods * 2)
    assert [len(credentials) for credentials in seen.all_credentials] == [1] * 8
    assert seen.errors == []


# --- `scripts/conformance plugin`


def test_no_findings(node: Installed, kubelet_program: str, tmp_path: Path) -> None:
    """What is examined of any plugin finds nothing: a good token, a broken one, other images, no request at all."""
    node.install()
    config = write_config(str(tmp_path / "providers.json"), [entry()])
    refuse = (f"{HOST}/team-b/app", f"{HOST}/system/pause", "images.example.com/team-a/app")
    options = Options(node.bin_dir, config, (f"{IMAGE}:v1",), refuse, node.cloud.mint_token(), {}, BARE_ENVIRONMENT)
    report = examine(kubelet_program, options)
    assert [check for check in report.checks if check.result != "ok"] == []
    assert {check.name for check in report.checks if check.image == IMAGE} >= {"auth-key", "bad-token", "attribution"}
