"""The kubelet's cache of credentials: what is stored, under which key, until when.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/plugin/plugin.go` (`provide`, `getCachedCredentials`,
`generateCacheKey`, `generateServiceAccountCacheKey`, `cacheExpirationPolicy`). Time is the clock that the runner gives
to the registered providers.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Any

import pytest

from conformance.kubelet import Pod
from conformance.scripted import provider, response, token_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from conformance.rig import Rig

AUTH = {"r.io": ("user", "word")}
TOKEN_MODE = token_attributes(optionalServiceAccountAnnotationKeys=["a.example/role", "b.example/more"])
OTHER_POD = Pod(name="web-1", uid="0b6f0f0e-8a3c-4a53-8f0c-2d8ea9a1b002")


def prefixed(data: str | bytes) -> bytes:
    """`cacheKeyBuilder.addString`: two bytes of length, then the bytes."""
    raw = data.encode() if isinstance(data, str) else data
    return struct.pack(">H", len(raw)) + raw


def account_part(uid: str, annotations: Mapping[str, str], token: str | None = None) -> bytes:
    """`generateServiceAccountCacheKey`, for the account team-a/web."""
    part = prefixed("team-a") + prefixed("web") + prefixed(uid) + struct.pack(">I", len(annotations))
    for key in sorted(annotations):
        part += prefixed(key) + prefixed(annotations[key])
    if token is not None:
        part += prefixed("token") + prefixed(f"sha256:{hashlib.sha256(token.encode()).hexdigest()}")
    return part


def asked(node: Rig, repository: str = "r.io/app", pod: Pod | None = None) -> bool:
    """Look a repository up, which must give a credential; was the plugin run for it?"""
    seen = node.kubelet.lookup(repository, pod)
    assert seen.credentials != []
    return bool(seen.executions)


@pytest.mark.parametrize(
    ("key_type", "base"), [("Image", "r.io/team/app"), ("Registry", "r.io"), ("Global", "<global>")]
)
def test_keys(rig: Callable[..., Rig], key_type: str, base: str) -> None:
    """The three key types, without a service account."""
    node = rig()
    node.plugin.answer(response(AUTH, key_type=key_type, duration="10m"))
    assert asked(node, "r.io/team/app")
    assert node.kubelet.cache_keys("scripted") == [prefixed(base) + prefixed(b"")]
    assert not asked(node, "r.io/team/app")


def test_registry_key_has_the_port(rig: Callable[..., Rig]) -> None:
    """A registry is the text before the first slash."""
    node = rig(provider(match=["r.io:5000"]))
    node.plugin.answer(response({"r.io:5000": ("u", "p")}, key_type="Registry", duration="10m"))
    assert asked(node, "r.io:5000/app")
    assert node.kubelet.cache_keys("scripted") == [prefixed("r.io:5000") + prefixed(b"")]


@pytest.mark.parametrize(
    ("key_type", "same_image", "neighbour", "other_registry"),
    [("Image", False, True, True), ("Registry", False, False, True), ("Global", False, False, False)],
)
def test_who_shares_an_answer(
    rig: Callable[..., Rig], key_type: str, same_image: bool, neighbour: bool, other_registry: bool
) -> None:
    """Which repositories are answered from the cache after one was asked for."""
    node = rig(provider(match=["r.io", "other.io"]))
    node.plugin.answer(response({"*.io": ("u", "p")}, key_type=key_type, duration="10m"))
    assert asked(node, "r.io/app")
    assert asked(node, "r.io/app") is same_image
    assert asked(node, "r.io/app2") is neighbour
    assert asked(node, "other.io/app") is other_registry


def test_a_wide_key_with_a_narrow_credential_hides_the_registry(rig: Callable[..., Rig]) -> None:
    """Why a repository's credential must be cached under `Image`: under `Registry` its neighbours get none at all."""
    node = rig()
    node.plugin.answer(response({"r.io/app": ("u", "p")}, key_type="Registry", duration="10m"))
    assert asked(node, "r.io/app")
    seen = node.kubelet.lookup("r.io/other")
    assert seen.credentials == []
    assert seen.executions == []


def test_image_wins_over_registry(rig: Callable[..., Rig]) -> None:
    """The look-up tries the image first, then the registry, then the global key."""
    node = rig()
    for key_type, word, repository in (("Image", "image", "r.io/app"), ("Registry", "registry", "r.io/other")):
        node.plugin.answer(response({"r.io": ("u", word)}, key_type=key_type, duration="10m"))
        assert asked(node, repository)
    assert [c.password for c in node.kubelet.lookup("r.io/app").credentials] == ["image"]
    assert [c.password for c in node.kubelet.lookup("r.io/third").credentials] == ["registry"]


@pytest.mark.parametrize(
    ("duration", "default", "step", "again"),
    [
        pytest.param("10m", "0s", "10m", False, id="at-the-end"),
        pytest.param("10m", "0s", "10m0.000000001s", True, id="just-after-the-end"),
        pytest.param("1ns", "0s", "0s", False, id="a-nanosecond"),
        pytest.param("1ns", "0s", "2ns", True, id="after-a-nanosecond"),
        pytest.param("0s", "10m", "0s", True, id="zero-is-not-stored"),
        pytest.param("0", "10m", "0s", True, id="zero-without-unit"),
        pytest.param("-5m", "10m", "0s", True, id="negative-has-expired"),
        pytest.param(None, "10m", "10m", False, id="default"),
        pytest.param(None, "10m", "10m1s", True, id="default-has-passed"),
        pytest.param(None, "0s", "0s", True, id="default-of-zero"),
        pytest.param("5m", "10m", "6m", True, id="the-answer-overrides-the-default"),
    ],
)
def test_durations(rig: Callable[..., Rig], duration: str | None, default: str, step: str, again: bool) -> None:
    """How long an answer is served without asking; it ends strictly after its duration."""
    node = rig(provider(defaultCacheDuration=default))
    node.plugin.answer(response(AUTH, duration=duration))
    assert asked(node)
    node.kubelet.advance(step)
    assert asked(node) is again


def test_zero_stores_nothing_and_negative_stores(rig: Callable[..., Rig]) -> None:
    """Zero never enters the cache; a negative duration does, expired already."""
    node = rig()
    node.plugin.answer(response(AUTH, duration="0s"))
    assert asked(node)
    assert node.kubelet.cache_keys("scripted") == []
    node.plugin.answer(response(AUTH, duration="-1s"))
    assert asked(node)
    assert len(node.kubelet.cache_keys("scripted")) == 1


def test_an_answer_without_credentials_is_cached(rig: Callable[..., Rig]) -> None:
    """An empty answer silences the plugin for its duration: why a refusal must be an error."""
    node = rig()
    node.plugin.answer(response({}, duration="10m"))
    assert node.kubelet.lookup("r.io/app").credentials == []
    node.plugin.answer(response(AUTH))
    seen = node.kubelet.lookup("r.io/app")
    assert (seen.credentials, seen.executions) == ([], [])
    node.kubelet.advance("10m1s")
    assert asked(node)


def test_a_failure_is_not_cached(rig: Callable[..., Rig]) -> None:
    """After a failure the plugin is asked at the next look-up; what was cached before is served all the same."""
    node = rig()
    node.plugin.answer(response(AUTH, duration="10m"), status=1)
    assert node.kubelet.lookup("r.io/app").credentials == []
    node.plugin.answer(response(AUTH, duration="10m"))
    assert asked(node)
    node.plugin.answer("", status=1)
    assert not asked(node)


def test_expired_entries_go_at_the_first_lookup_after_a_quarter_of_an_hour(rig: Callable[..., Rig]) -> None:
    """Nothing but a look-up removes entries: its own at once, all the others every 15 minutes."""
    node = rig()
    node.plugin.answer(response(AUTH, duration="1m"))
    assert asked(node, "r.io/a")
    assert asked(node, "r.io/b")
    node.plugin.answer(response(AUTH))
    node.kubelet.advance("15m")
    assert asked(node, "r.io/a")
    assert node.kubelet.cache_keys("scripted") == [prefixed("r.io/b") + prefixed(b"")]
    node.kubelet.advance("1ns")
    assert asked(node, "r.io/a")
    assert node.kubelet.cache_keys("scripted") == []


def test_service_account_key(rig: Callable[..., Rig]) -> None:
    """`cacheType: ServiceAccount`: pods of one account share, whatever their tokens."""
    node = rig(provider(tokenAttributes=TOKEN_MODE))
    node.plugin.answer(response(AUTH, duration="10m"))
    annotations = {"b.example/more": "x", "a.example/role": "y"}
    account = node.kubelet.service_account(annotations={**annotations, "c.example/ignored": "z"}, token="first")
    assert asked(node, pod=Pod())
    expected = prefixed("r.io/app") + prefixed(account_part(account.uid, annotations))
    assert node.kubelet.cache_keys("scripted") == [expected]
    node.kubelet.service_account(annotations={**annotations, "c.example/ignored": "other"}, token="second")
    assert not asked(node, pod=OTHER_POD)


def test_token_key(rig: Callable[..., Rig]) -> None:
    """`cacheType: Token`: the token's hash is part of the key, so that each pod has its own entry."""
    node = rig(provider(tokenAttributes={**TOKEN_MODE, "cacheType": "Token"}))
    node.plugin.answer(response(AUTH, duration="10m"))
    account = node.kubelet.service_account(token="first")
    assert asked(node, pod=Pod())
    assert not asked(node, pod=Pod())
    expected = prefixed("r.io/app") + prefixed(account_part(account.uid, {}, "first"))
    assert node.kubelet.cache_keys("scripted") == [expected]
    node.kubelet.service_account(token="second")
    assert asked(node, pod=OTHER_POD)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"uid": "another-uid"}, id="account-made-again"),
        pytest.param({"annotations": {"a.example/role": "other"}}, id="annotation-changed"),
        pytest.param({"annotations": {}}, id="annotation-removed"),
    ],
)
def test_what_makes_another_key(rig: Callable[..., Rig], change: Mapping[str, Any]) -> None:
    """Changing an annotation that the plugin sees, or making the account again, takes effect at the next look-up."""
    node = rig(provider(tokenAttributes=TOKEN_MODE))
    node.plugin.answer(response(AUTH, duration="10m"))
    usual: dict[str, Any] = {"uid": "a-uid", "annotations": {"a.example/role": "role"}, "token": "t"}
    node.kubelet.service_account(**usual)
    assert asked(node, pod=Pod())
    node.kubelet.service_account(**{**usual, **change})
    assert asked(node, pod=Pod())


def test_accounts_do_not_share(rig: Callable[..., Rig]) -> None:
    """Another name or namespace is another key; so is a pod without an account."""
    node = rig(provider(tokenAttributes=token_attributes(requireServiceAccount=False)))
    node.plugin.answer(response(AUTH, key_type="Global", duration="10m"))
    for namespace, name in (("team-a", "web"), ("team-a", "api"), ("team-b", "web"), ("team", "a-web")):
        node.kubelet.service_account(namespace, name, uid="same", token="t")
        assert asked(node, pod=Pod(namespace, name))
    assert asked(node, pod=None)
    assert len(node.kubelet.cache_keys("scripted")) == 5


def test_one_lookup_does_all_the_work_before_the_cache(rig: Callable[..., Rig]) -> None:
    """A cached answer is of no use when the account can't be read or no token is issued."""
    node = rig(provider(tokenAttributes=TOKEN_MODE))
    node.plugin.answer(response(AUTH, duration="10m"))
    node.kubelet.service_account(token="t")
    assert asked(node, pod=Pod())
    node.kubelet.service_account(get_error="the API server is away")
    gone = node.kubelet.lookup("r.io/app", Pod())
    node.kubelet.service_account(token_error="audience not allowed")
    refused = node.kubelet.lookup("r.io/app", Pod())
    assert (gone.credentials, refused.credentials) == ([], [])
    assert "failed to get service account: the API server is away" in gone.errors[0].error
    assert "failed to get service account token: audience not allowed" in refused.errors[0].error


TOO_LONG = "error generating service account cache key: cryptobyte: pending child length 65536 exceeds 2-byte length"


@pytest.mark.parametrize(("size", "works"), [(65_000, True), (65_536, False)])
def test_huge_annotations(rig: Callable[..., Rig], size: int, works: bool) -> None:
    """An annotation of 64 KiB or more fits no cache key: the provider yields nothing and is not even run."""
    node = rig(provider(tokenAttributes=TOKEN_MODE))
    node.plugin.answer(response(AUTH, duration="10m"))
    node.kubelet.service_account(annotations={"a.example/role": "x" * size}, token="t")
    seen = node.kubelet.lookup("r.io/app", Pod())
    assert bool(seen.credentials) is works
    assert bool(seen.executions) is works
    assert [line.error for line in seen.errors] == ([] if works else [f"{TOO_LONG} prefix"])


def test_simultaneous_pulls_of_one_repository_share_a_run(rig: Callable[..., Rig]) -> None:
    """Without a token one repository is asked for once at a time; another repository is another run."""
    node = rig()
    node.plugin.answer(response(AUTH), sleep_s=2)
    seen = node.kubelet.lookup_together([("r.io/app", None)] * 4 + [("r.io/other", None)])
    assert all(credentials != [] for credentials in seen.all_credentials)
    assert sorted(e.image for e in seen.executions) == ["r.io/app", "r.io/other"]


def test_simultaneous_pods_of_one_account_share_nothing(rig: Callable[..., Rig]) -> None:
    """A wide cache key is no help while calls are in flight: one run for each repository and token."""
    node = rig(provider(tokenAttributes=TOKEN_MODE))
    node.plugin.answer(response(AUTH, key_type="Global", duration="10m"), sleep_s=2)
    node.kubelet.service_account(token="t")
    node.kubelet.service_account("team-a", "api", token="u")
    pods = [("r.io/app", Pod()), ("r.io/app", Pod()), ("r.io/app", Pod(service_account="api")), ("r.io/other", Pod())]
    seen = node.kubelet.lookup_together(pods)
    assert sorted((e.image, e.token) for e in seen.executions) == [
        ("r.io/app", "t"), ("r.io/app", "u"), ("r.io/other", "t")
    ]  # fmt: skip
