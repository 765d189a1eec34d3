"""A node with both entries and their two audiences: which launcher the kubelet asks for which image, and with what.

Static pods come without a token where an entry says `requireServiceAccount: false`; the node's identity is theirs by a
grant alone.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from cloud import AUDIENCE, clients, role_arn
from cloud.gcp.clients import pull as google_pull
from cloud.gcp.world import GOOGLE_AUDIENCE, NODE_ACCOUNT, PULL_ACCOUNT
from cloud.world import NODE_ROLE
from conformance.build import ROOT
from conformance.checks import claims
from conformance.installed import ANNOTATION, GOOGLE_ANNOTATION, GOOGLE_HOST, HOST, entry, google_entry
from conformance.kubelet import Pod

if TYPE_CHECKING:
    from cloud import Cloud
    from conformance.installed import Installed

SHIPPED = os.path.join(ROOT, "config", "credential-provider-config.yaml")
ECR, GOOGLE = "pullpass-ecr", "pullpass-gcr"
AUDIENCES = {ECR: AUDIENCE, GOOGLE: GOOGLE_AUDIENCE}
APP = f"{HOST}/team-a/app"
WEB = f"{GOOGLE_HOST}/proj/team-b/web"
SYSTEM = {ECR: f"{HOST}/system/pause", GOOGLE: f"{GOOGLE_HOST}/proj/system/pause"}
BOTH = {ANNOTATION: role_arn("pull-team-b"), GOOGLE_ANNOTATION: PULL_ACCOUNT}


@pytest.fixture
def both(node: Installed) -> Installed:
    """A node whose kubelet knows both entries; static pods are asked for by either."""
    node.install()
    node.start(entry(requireServiceAccount=False), google_entry(requireServiceAccount=False))
    return node


def registry_status(cloud: Cloud, image: str, username: str, password: str) -> int:
    """What an image's registry answers to who has a credential."""
    host, _, path = image.partition("/")
    if username == "AWS":
        return clients.pull(cloud, f"{path}/manifests/v1", f"AWS:{password}").status
    return google_pull(cloud, f"{path}/manifests/v1", password, host=host).status


# --- which launcher is asked

ASKED = {
    APP: ECR,
    "111122223333.dkr.ecr-fips.us-west-2.amazonaws.com/team-a/app": ECR,
    "111122223333.dkr-ecr.us-west-2.on.aws/team-a/app": ECR,
    "111122223333.vpce-0a1b2c-x1.dkr.ecr.us-west-2.vpce.amazonaws.com/team-a/app": ECR,
    "222233334444.dkr.ecr.cn-north-1.amazonaws.com.cn/team-a/app": ECR,
    "111122223333.dkr.ecr.eusc-de-east-1.amazonaws.eu/team-a/app": ECR,
    "public.ecr.aws/docker/library/busybox": ECR,
    "images.example.com/team-a/app": ECR,
    WEB: GOOGLE,
    "docker.europe-west4.rep.pkg.dev/proj/team/app": GOOGLE,
    "gcr.io/proj/app": GOOGLE,
    "eu.gcr.io/proj/app": GOOGLE,
    "docker.io/library/busybox": None,
    "registry.k8s.io/pause": None,
    "ghcr.io/team/app": None,
    "gcr.io.example.com/proj/app": None,
    "111122223333.dkr.ecr.us-west-2.amazonaws.com.example.com/team-a/app": None,
    "europe-python.pkg.dev/proj/team/app": None,
}


def test_which_launcher_is_asked(node: Installed) -> None:
    """The shipped configuration: each image is asked about by one launcher or none, with a token for its audience."""
    node.install()
    node.start(config=SHIPPED)
    node.account(annotations=BOTH)
    asked = {}
    for image in ASKED:
        seen = node.look(image)
        asked[image] = next((run.provider for run in seen.executions), None)
        assert len(seen.executions) <= 1, image
        for run in seen.executions:
            audience = AUDIENCES[run.provider]
            assert [call.audiences for call in seen.calls if call.verb == "token"] == [(audience,)]
            assert claims(run.token)["aud"] == [audience]
            key = {ECR: ANNOTATION, GOOGLE: GOOGLE_ANNOTATION}[run.provider]
            assert run.annotations == {key: BOTH[key]}
    assert asked == ASKED


def test_shipped_entries_are_understood(node: Installed) -> None:
    """What the kubelet takes from the shipped configuration: both launchers, their patterns and audiences, no more."""
    node.install()
    registered = node.start(config=SHIPPED)
    assert [provider.name for provider in registered.providers] == [ECR, GOOGLE]
    with open(SHIPPED, encoding="utf-8") as stream:
        document = yaml.safe_load(stream)
    for provider, written in zip(registered.providers, document["providers"], strict=True):
        attributes = provider.token_attributes
        assert attributes is not None
        assert (attributes.audience, attributes.cache_type) == (AUDIENCES[provider.name], "ServiceAccount")
        assert provider.match_images == tuple(written["matchImages"])
        assert (provider.args, provider.env, provider.default_cache_s) == ((), {}, 0.0)


def test_shipped_configuration_answers(node: Installed) -> None:
    """Either cloud's image gets its credential by the shipped entries."""
    node.install()
    node.start(config=SHIPPED)
    node.account()
    node.account("team-b")
    found = [node.look(APP).credentials, node.look(WEB, "team-b").credentials]
    assert [[credential.username for credential in each] for each in found] == [["AWS"], ["oauth2accesstoken"]]


def test_a_pod_pulls_from_both(both: Installed) -> None:
    """Two images at once, of two clouds: each gets its own credential, which opens it and is no use at the other."""
    account = both.account("team-b", annotations=BOTH)
    shared = f"{HOST}/shared/base"
    pod = Pod("team-b", "web")
    seen = both.kubelet.lookup_together([(shared, pod), (WEB, pod)])
    assert seen.errors == []
    (aws,), (google,) = seen.all_credentials
    assert (aws.username, google.username) == ("AWS", "oauth2accesstoken")
    assert (aws.account, google.account) == (account, account)
    assert registry_status(both.cloud, shared, aws.username, aws.password) == 200
    assert registry_status(both.cloud, WEB, google.username, google.password) == 200
    assert registry_status(both.cloud, shared, "AWS", google.password) == 401
    assert registry_status(both.cloud, WEB, "oauth2accesstoken", aws.password) == 401
    shown = {run.provider: run.token for run in seen.executions}
    assert both.cloud.last("sts").parameters["WebIdentityToken"] == shown[ECR]
    assert both.cloud.last("gsts").parameters["subject_token"] == shown[GOOGLE]


@pytest.mark.parametrize(("image", "namespace", "right"), [(APP, "team-a", ECR), (WEB, "team-b", GOOGLE)])
def test_an_image_that_both_entries_match(node: Installed, image: str, namespace: str, right: str) -> None:
    """Both are asked, each with its own token: who has the wrong one sends nothing, and the other one answers."""
    node.install()
    host = image.partition("/")[0]
    node.start(entry(match=[host]), google_entry(match=[host]))
    node.account(namespace)
    seen = node.look(image, namespace)
    assert {run.provider for run in seen.executions} == {ECR, GOOGLE}
    assert len(seen.credentials) == 1
    (failed,) = seen.errors
    assert "exit status 3: pullpass: token-audience: " in failed.error
    (refused,) = [run for run in seen.executions if run.response is None]
    assert refused.provider != right
    assert (node.cloud.count("sts"), node.cloud.count("gsts")) == ((1, 0) if right == ECR else (0, 1))


# --- static pods


@pytest.mark.parametrize("launcher", [ECR, GOOGLE])
def test_static_pod(both: Installed, launcher: str) -> None:
    """Without a token, a granted image gets the node's own identity, and what the kubelet records is node-wide."""
    image = SYSTEM[launcher]
    seen = both.kubelet.lookup(image, None)
    assert (seen.errors, seen.calls) == ([], [])
    assert [(run.provider, run.token, run.annotations) for run in seen.executions] == [(launcher, "", {})]
    (credential,) = seen.credentials
    assert credential.account is None
    answer = seen.executions[0].response
    assert answer is not None
    assert (answer.cache_key_type, answer.cache_s, list(answer.auth)) == ("Image", 600.0, [image])
    if launcher == ECR:
        session = both.cloud.world.passwords[credential.password].session
        assert session.role_arn == role_arn(NODE_ROLE)
    else:
        assert both.cloud.google.tokens[credential.password].identity.name == f"serviceAccount:{NODE_ACCOUNT}"
    assert registry_status(both.cloud, image, credential.username, credential.password) == 200
    assert both.kubelet.lookup(image, None).executions == []


@pytest.mark.parametrize("launcher", [ECR, GOOGLE])
def test_static_pod_beyond_its_grants(both: Installed, launcher: str) -> None:
    """The node's identity is given for the granted images alone, whatever else the node may read."""
    seen = both.kubelet.lookup({ECR: APP, GOOGLE: WEB}[launcher], None)
    assert seen.executions[0].provider == launcher
    both.refusal(seen, 3, "no-grant")
    assert both.cloud.counts() == {}


@pytest.mark.parametrize("launcher", [ECR, GOOGLE])
def test_a_pod_with_a_token_is_no_static_pod(both: Installed, launcher: str) -> None:
    """A workload gets nothing of the node's, and nobody asks for it, although the node has got its own already."""
    image = SYSTEM[launcher]
    assert len(both.kubelet.lookup(image, None).credentials) == 1
    before = both.cloud.counts()
    both.account()
    seen = both.look(image)
    assert seen.credentials == []
    assert "exit status 3: pullpass: no-grant: " in seen.errors[0].error
    assert both.cloud.counts() == before


@pytest.mark.parametrize("launcher", [ECR, GOOGLE])
def test_add_on(both: Installed, launcher: str) -> None:
    """A service account whose grant says `node` gets that, recorded under itself; its token goes to nobody."""
    account = both.account("kube-system", "agent")
    seen = both.look(SYSTEM[launcher], "kube-system", "agent")
    assert seen.errors == []
    assert [credential.account for credential in seen.credentials] == [account]
    token = seen.executions[0].token
    assert token
    sent: list[Any] = [(request.target, request.headers, request.body) for request in both.cloud.requests()]
    assert not [request for request in sent if token in str(request)]


def test_shipped_configuration_and_static_pods(node: Installed) -> None:
    """The shipped entries let static pods through to pullpass-ecr, and not to pullpass-gcr, as their comments say."""
    node.install()
    node.start(config=SHIPPED)
    aws = node.kubelet.lookup(SYSTEM[ECR], None)
    assert [credential.account for credential in aws.credentials] == [None]
    google = node.kubelet.lookup(SYSTEM[GOOGLE], None)
    assert (google.executions, google.credentials, google.errors) == ([], [], [])


def test_moving_a_cluster_over(node: Installed) -> None:
    """With `unmatched = "node"`, what no grant names gets the node's identity of either cloud; foreign hosts don't."""
    node.install(
        '[policy]\nunmatched = "node"\n\n[[grant]]\nnode = true\nimages = ["gcr.io/x/**"]\nidentity = "node"\n'
    )
    node.start(entry(match=["*.dkr.ecr.*.amazonaws.com", "registry.example.net"]), google_entry())
    account = node.account()
    for image in SYSTEM.values():
        seen = node.look(image)
        assert [credential.account for credential in seen.credentials] == [account]
    foreign = node.look("registry.example.net/team-a/app")
    assert foreign.credentials == []
    assert "exit status 3: pullpass: registry-unknown: " in foreign.errors[0].error
