"""What stops a kubelet: configuration and binaries at its start.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/plugin/config.go` (`readCredentialProviderConfig`,
`validateCredentialProviderConfig`) and `plugin.go` (`RegisterCredentialProviderPlugins`).
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest

from conformance.kubelet import TokenAttributes
from conformance.scripted import CONFIG_API, EXEC_API, Plugin, provider, response, token_attributes, write_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conformance.kubelet import Kubelet, Registered

GATE = "KubeletServiceAccountTokenForCredentialProviders"

REFUSED = [
    pytest.param({"name": "a/b"}, "provider name cannot contain '/'", id="path"),
    pytest.param({"name": "a b"}, "provider name cannot contain spaces", id="space"),
    pytest.param({"name": ".."}, "provider name cannot be '..'", id="parent"),
    pytest.param({"name": "absent"}, "plugin binary executable", id="no-binary"),
    pytest.param({"matchImages": []}, "at least 1 item in matchImages is required", id="no-images"),
    pytest.param({"matchImages": ["app[12].k8s.io"]}, "match image is invalid", id="pattern"),
    pytest.param({"matchImages": ["r.io:*"]}, "match image is invalid", id="port-glob"),
    pytest.param({"defaultCacheDuration": "-1s"}, "must be greater than or equal to 0", id="negative-duration"),
    pytest.param({"defaultCacheDuration": None}, "defaultCacheDuration: Required value", id="no-duration"),
    pytest.param({"apiVersion": EXEC_API + "beta2"}, "Unsupported value", id="version"),
    pytest.param({"apiVersion": None}, "providers.apiVersion: Required value", id="no-version"),
    pytest.param({"Args": []}, 'unknown field "providers[0].Args"', id="case-of-a-key"),
    pytest.param({"timeout": "5s"}, 'unknown field "providers[0].timeout"', id="unknown-key"),
    pytest.param({"tokenAttributes": {}}, "serviceAccountTokenAudience: Required value", id="no-audience"),
    pytest.param(
        {"tokenAttributes": token_attributes(cacheType=None)}, "cacheType is required to be set", id="no-cache-type"
    ),
    pytest.param({"tokenAttributes": token_attributes(cacheType="Image")}, "Unsupported value", id="cache-type"),
    pytest.param(
        {"tokenAttributes": token_attributes(requireServiceAccount=None)}, "requireServiceAccount", id="no-require"
    ),
    pytest.param(
        {
            "tokenAttributes": token_attributes(
                requireServiceAccount=False, requiredServiceAccountAnnotationKeys=["a.example/x"]
            )
        },
        "requireServiceAccount cannot be false when requiredServiceAccountAnnotationKeys is set",
        id="required-keys-without-account",
    ),
    pytest.param(
        {
            "tokenAttributes": token_attributes(
                requiredServiceAccountAnnotationKeys=["a.example/x"],
                optionalServiceAccountAnnotationKeys=["a.example/x"],
            )
        },
        "annotation keys cannot be both required and optional",
        id="key-in-both",
    ),
    pytest.param(
        {"apiVersion": EXEC_API + "beta1", "tokenAttributes": token_attributes()},
        "tokenAttributes is only supported for",
        id="version-without-tokens",
    ),
]


def without_nulls(value: Any) -> Any:
    """The document without members that are None."""
    if isinstance(value, dict):
        return {key: without_nulls(member) for key, member in value.items() if member is not None}
    return value


@pytest.mark.parametrize(("changes", "error"), REFUSED)
def test_refused(tmp_path: Path, new_kubelet: Callable[..., Kubelet], changes: dict[str, Any], error: str) -> None:
    """An entry that stops the kubelet, and the words it stops with."""
    bin_dir = str(tmp_path / "bin")
    Plugin(bin_dir, "scripted")
    config = write_config(str(tmp_path / "config.json"), [without_nulls(provider(**changes))])
    assert error in new_kubelet().register(config, bin_dir).error


def register(tmp_path: Path, kubelet: Kubelet, text: str, gates: dict[str, bool] | None = None) -> Registered:
    """Register with a configuration as written."""
    bin_dir = str(tmp_path / "bin")
    Plugin(bin_dir, "scripted")
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return kubelet.register(str(path), bin_dir, gates)


def document(*providers: dict[str, Any], api: str = CONFIG_API) -> str:
    """A configuration file's text."""
    return json.dumps({"apiVersion": api, "kind": "CredentialProviderConfig", "providers": providers})


@pytest.mark.parametrize(
    ("text", "error"),
    [
        pytest.param(document(), "at least 1 item in plugins is required", id="no-provider"),
        pytest.param(document(provider(), provider()), 'duplicate provider name "scripted"', id="twice"),
        pytest.param(
            document(provider(tokenAttributes=token_attributes()), api="kubelet.config.k8s.io/v1beta1"),
            'unknown field "providers[0].tokenAttributes"',
            id="old-version-with-tokens",
        ),
        pytest.param(document(provider()).replace("ProviderConfig", "ProviderConf"), "no kind", id="kind"),
        pytest.param(
            document(provider()).replace('"name":', '"name": "other", "name":'), "duplicate field", id="duplicate"
        ),
        pytest.param("", "Object 'Kind' is missing", id="empty"),
    ],
)
def test_refused_file(tmp_path: Path, new_kubelet: Callable[..., Kubelet], text: str, error: str) -> None:
    """A file that stops the kubelet."""
    assert error in register(tmp_path, new_kubelet(), text).error


def test_gate_off(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> None:
    """Token attributes with the gate off stop the kubelet."""
    text = document(provider(tokenAttributes=token_attributes()))
    assert "tokenAttributes is not supported" in register(tmp_path, new_kubelet(), text, {GATE: False}).error


def test_not_executable(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> None:
    """A binary that may not be executed stops the kubelet."""
    plugin = Plugin(str(tmp_path / "bin"), "scripted")
    config = write_config(str(tmp_path / "config.json"), [provider()])
    (tmp_path / "bin" / "scripted").chmod(0o644)
    assert "permission denied" in new_kubelet().register(config, plugin.bin_dir).error


def test_dead_patterns_are_taken(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> None:
    """Nothing at start says that a pattern can never match."""
    text = document(provider(match=["https://r.io", "", "r.io/*"]))
    assert register(tmp_path, new_kubelet(), text).error == ""


def test_what_was_understood(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> None:
    """Settings as the kubelet holds them, and only the first document of a YAML file."""
    text = """\
apiVersion: kubelet.config.k8s.io/v1
kind: CredentialProviderConfig
providers:
- name: scripted
  apiVersion: credentialprovider.kubelet.k8s.io/v1
  matchImages: ["r.io", "*.r.io"]
  defaultCacheDuration: 1h30m
  args: ["-v"]
  env: [{name: A, value: b}]
  tokenAttributes:
    serviceAccountTokenAudience: aud
    cacheType: Token
    requireServiceAccount: true
    requiredServiceAccountAnnotationKeys: ["a.example/x"]
    optionalServiceAccountAnnotationKeys: ["b.example/y"]
---
this: is not looked at
"""
    registered = register(tmp_path, new_kubelet(), text)
    assert registered.error == ""
    (understood,) = registered.providers
    assert understood.match_images == ("r.io", "*.r.io")
    assert (understood.args, understood.env, understood.default_cache_s) == (("-v",), {"A": "b"}, 5400.0)
    assert understood.token_attributes == TokenAttributes("aud", "Token", True, ("a.example/x",), ("b.example/y",))


def test_directory_of_files(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> None:
    """Files in the order of their names; other names and directories are passed over; the hash covers each file."""
    bin_dir = str(tmp_path / "bin")
    for name in ("a", "b"):
        Plugin(bin_dir, name).answer(response({"r.io": (name, "p")}))
    configs = tmp_path / "configs"
    (configs / "sub.json").mkdir(parents=True)
    write_config(str(configs / "20.json"), [provider("a")])
    write_config(str(configs / "10.yml"), [provider("b")])
    (configs / "30.JSON").write_text("passed over", encoding="utf-8")
    kubelet = new_kubelet()
    registered = kubelet.register(str(configs), bin_dir)
    assert [p.name for p in registered.providers] == ["b", "a"]
    assert [c.username for c in kubelet.lookup("r.io/app").credentials] == ["b", "a"]
    digest = hashlib.sha256()
    for name in ("10.yml", "20.json"):
        raw = (configs / name).read_bytes()
        digest.update(struct.pack(">Q", len(raw)) + raw)
    assert kubelet.metrics().config_hash == f"sha256:{digest.hexdigest()}"


def test_directory_without_files(tmp_path: Path, new_kubelet: Callable[..., Kubelet]) -> None:
    """A directory in which nothing counts stops the kubelet."""
    (tmp_path / "bin").mkdir()
    error = new_kubelet().register(str(tmp_path), str(tmp_path / "bin")).error
    assert "no configuration files found" in error
