"""Service-account mode: when a plugin is asked, with what, and whom its credential belongs to.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/plugin/plugin.go` (`provide`, `getServiceAccountData`,
`getServiceAccountToken`), `plugins.go` (`Lookup`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.kubelet import Call, Pod
from conformance.scripted import provider, response, token_attributes

if TYPE_CHECKING:
    from collections.abc import Callable

    from conformance.rig import Rig

GATE = "KubeletServiceAccountTokenForCredentialProviders"
AUTH = {"r.io": ("user", "word")}


def test_attribution(rig: Callable[..., Rig]) -> None:
    """With a token, the credential is the account's; from the cache as well."""
    node = rig(provider(tokenAttributes=token_attributes()))
    node.plugin.answer(response(AUTH, duration="10m"))
    account = node.kubelet.service_account(token="t")
    first = node.kubelet.lookup("r.io/app", Pod())
    second = node.kubelet.lookup("r.io/app", Pod())
    assert second.executions == []
    assert [c.account for c in (*first.credentials, *second.credentials)] == [account, account]


def test_attribution_is_by_provider(rig: Callable[..., Rig]) -> None:
    """Beside one that gives to the account, a provider without token attributes gives to the whole node."""
    node = rig(provider("by-account", tokenAttributes=token_attributes()), provider("by-node"))
    for plugin in node.plugins:
        plugin.answer(response({"r.io": (plugin.name, "p")}))
    account = node.kubelet.service_account(token="t")
    seen = node.kubelet.lookup("r.io/app", Pod())
    assert [(c.username, c.account) for c in seen.credentials] == [("by-account", account), ("by-node", None)]
    assert "serviceAccountToken" not in node.plugins[1].runs[0].request


def test_calls_to_the_api_server(rig: Callable[..., Rig]) -> None:
    """The account is read, then a token asked for: one audience, bound to the pod, for this very account's uid."""
    node = rig(provider(tokenAttributes=token_attributes()))
    account = node.kubelet.service_account(token="t")
    pod = Pod()
    expected = [
        Call("get", "team-a", "web", "", (), None, ("", "", "")),
        Call("token", "team-a", "web", account.uid, ("audience",), None, ("Pod", pod.name, pod.uid)),
    ]
    assert node.kubelet.lookup("r.io/app", pod).calls == expected


def test_static_pod_is_skipped_where_an_account_is_required(rig: Callable[..., Rig]) -> None:
    """No run, and a word in the log at level 5 only."""
    node = rig(provider(tokenAttributes=token_attributes(requireServiceAccount=True)))
    seen = node.kubelet.lookup("r.io/app", None)
    assert (seen.credentials, seen.executions, seen.errors, seen.calls) == ([], [], [], [])
    assert ("Service account name is empty", 5) in [(line.message, line.verbosity) for line in seen.logs]


def test_static_pod_is_asked_for_where_none_is_required(rig: Callable[..., Rig]) -> None:
    """The plugin gets neither token nor annotations; the credential is the node's."""
    node = rig(provider(tokenAttributes=token_attributes(requireServiceAccount=False)))
    node.plugin.answer(response(AUTH))
    seen = node.kubelet.lookup("r.io/app", None)
    assert [c.account for c in seen.credentials] == [None]
    assert seen.calls == []
    assert set(node.plugin.runs[0].request) == {"kind", "apiVersion", "image"}


@pytest.mark.parametrize(
    ("annotations", "runs"),
    [({"a.example/role": "x"}, 1), ({"a.example/role": ""}, 1), ({"b.example/role": "x"}, 0), ({}, 0)],
)
def test_required_annotations(rig: Callable[..., Rig], annotations: dict[str, str], runs: int) -> None:
    """Without a required annotation the plugin is skipped; an empty value will do."""
    keys = ["a.example/role"]
    node = rig(provider(tokenAttributes=token_attributes(requiredServiceAccountAnnotationKeys=keys)))
    node.plugin.answer(response(AUTH))
    node.kubelet.service_account(annotations=annotations, token="t")
    seen = node.kubelet.lookup("r.io/app", Pod())
    assert len(seen.executions) == runs
    assert len(seen.credentials) == runs
    skipped = [line for line in seen.logs if "required annotation a.example/role not found" in line.error]
    assert len(skipped) == 1 - runs
    assert [call.verb for call in seen.calls] == ["get", "token"][: 1 + runs]


@pytest.mark.parametrize(
    ("get_error", "token_error", "error"),
    [
        ("serviceaccounts is forbidden", "", "failed to get service account: serviceaccounts is forbidden"),
        ("", "not authorized", "failed to get service account token: not authorized"),
    ],
)
def test_api_server_refuses(rig: Callable[..., Rig], get_error: str, token_error: str, error: str) -> None:
    """The plugin is skipped, with an error that names provider, image, pod and account."""
    node = rig(provider(tokenAttributes=token_attributes()))
    node.kubelet.service_account(get_error=get_error, token_error=token_error)
    seen = node.kubelet.lookup("r.io/app", Pod())
    assert (seen.credentials, seen.executions) == ([], [])
    assert [line.error for line in seen.errors] == [error]
    assert seen.errors[0].message == "Failed to provide credentials for image"
    named = {key: seen.errors[0].values[key] for key in ("provider", "image", "pod", "serviceAccount")}
    assert named == {
        "provider": "scripted", "image": "r.io/app", "pod": "team-a/web-0", "serviceAccount": "team-a/web"
    }  # fmt: skip


def test_empty_token_is_no_token(rig: Callable[..., Rig]) -> None:
    """A plugin that never saw a token still gives its credential to the account."""
    node = rig(provider(tokenAttributes=token_attributes()))
    node.plugin.answer(response(AUTH))
    account = node.kubelet.service_account(token="")
    assert [c.account for c in node.kubelet.lookup("r.io/app", Pod()).credentials] == [account]
    assert "serviceAccountToken" not in node.plugin.runs[0].request


def test_images_of_others_are_not_asked_for(rig: Callable[..., Rig]) -> None:
    """An image that `matchImages` does not cover costs no call to the API server."""
    node = rig(provider(tokenAttributes=token_attributes()))
    seen = node.kubelet.lookup("other.io/app", Pod())
    assert (seen.credentials, seen.executions, seen.calls) == ([], [], [])


def test_gate_off_without_token_attributes(rig: Callable[..., Rig]) -> None:
    """With the gate off, a provider without token attributes works as ever."""
    node = rig(provider(), gates={GATE: False})
    node.plugin.answer(response(AUTH))
    assert [c.account for c in node.kubelet.lookup("r.io/app", Pod()).credentials] == [None]


def test_gate_for_records_off(rig: Callable[..., Rig]) -> None:
    """Without the gate of pull records a credential has no hash and no owner (`NewTrackedAuthConfig`)."""
    node = rig(provider(tokenAttributes=token_attributes()), gates={"KubeletEnsureSecretPulledImages": False})
    node.plugin.answer(response(AUTH))
    node.kubelet.service_account(token="t")
    seen = node.kubelet.lookup("r.io/app", Pod())
    assert [(c.hash, c.account) for c in seen.credentials] == [("", None)]
