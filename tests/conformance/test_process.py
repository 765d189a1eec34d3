"""How the kubelet runs a plugin, and what it makes of its end.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/plugin/plugin.go` (`ExecPlugin`, `runPlugin`, `mergeEnvVars`, the
echo guard in `provide`) and `metrics.go`.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from conformance.kubelet import BARE_ENVIRONMENT, Pod
from conformance.rig import Rig
from conformance.scripted import provider, response, token_attributes

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conformance.kubelet import Kubelet, Seen

AUTH = {"r.io": ("user", "word")}


def test_arguments_environment_directory(rig: Callable[..., Rig]) -> None:
    """Only the configured arguments; the kubelet's environment with the configured one over it; its directory."""
    environment = {**BARE_ENVIRONMENT, "HTTPS_PROXY": "http://kubelet.example", "REGION": "the-kubelet's"}
    entry = provider(args=["--one", "two three"], env=[{"name": "REGION", "value": "configured"}])
    node = rig(entry, environment=environment)
    node.kubelet.lookup("r.io/app")
    run = node.plugin.runs[0]
    assert run.argv[1:] == ["--one", "two three"]
    assert run.directory == "/"
    given = {name: run.environment[name] for name in ("PATH", "HTTPS_PROXY", "REGION")}
    assert given == {**environment, "REGION": "configured"}


def test_failure(rig: Callable[..., Rig]) -> None:
    """A status other than zero: no credential, standard output ignored however good, standard error in the log."""
    node = rig()
    node.plugin.answer(response(AUTH, duration="10m"), status=3, stderr="pullpass: no-grant: nobody granted it; ask\n")
    seen = node.kubelet.lookup("r.io/app")
    assert seen.credentials == []
    expected = (
        "failed to get credential from external registry credential provider: error execing credential provider plugin "
        "scripted for image r.io/app: exit status 3: pullpass: no-grant: nobody granted it; ask\n"
    )
    assert [line.error for line in seen.errors] == [expected]
    assert "word" not in seen.errors[0].text()


def test_success_hides_standard_error(rig: Callable[..., Rig]) -> None:
    """What a plugin that succeeds says on standard error is in no log, at any level."""
    node = rig()
    node.plugin.answer(response(AUTH), stderr="a warning\n")
    seen = node.kubelet.lookup("r.io/app")
    assert len(seen.credentials) == 1
    assert not any("a warning" in line.text() for line in seen.logs)


def test_a_plugin_need_not_read_its_input(rig: Callable[..., Rig]) -> None:
    """More input than a pipe holds, not read by the plugin, is no error."""
    node = rig(provider(tokenAttributes=token_attributes()))
    node.plugin.answer(response(AUTH), read=False)
    node.kubelet.service_account(token="t" * (1 << 20))
    assert len(node.kubelet.lookup("r.io/app", Pod()).credentials) == 1


def test_not_executable_any_more(rig: Callable[..., Rig], tmp_path: Path) -> None:
    """A binary that went away after the kubelet started is an error at each look-up."""
    node = rig()
    (tmp_path / "bin" / "scripted").unlink()
    seen = node.kubelet.lookup("r.io/app")
    assert seen.credentials == []
    assert "no such file or directory" in seen.errors[0].error


@pytest.mark.parametrize(
    ("cache_type", "key", "accepted"),
    [("ServiceAccount", "r.io", False), ("Token", "r.io", True), ("ServiceAccount", "unrelated.example", False)],
)
def test_echo_guard(rig: Callable[..., Rig], cache_type: str, key: str, accepted: bool) -> None:
    """The token may come back as a password only where the cache is by token, under whatever key it comes."""
    node = rig(provider(tokenAttributes=token_attributes(cacheType=cache_type)))
    answer = response({key: ("user", "THE-TOKEN"), "r.io/app": ("other", "fine")}, duration="10m")
    node.plugin.answer(answer, echo=True)
    node.kubelet.service_account(token="the-pod's-token")
    seen = node.kubelet.lookup("r.io/app", Pod())
    passwords = [c.password for c in seen.credentials]
    assert passwords == (["fine", "the-pod's-token"] if accepted else [])
    assert len(node.kubelet.cache_keys("scripted")) == accepted
    complaint = "credential provider plugin returned the service account token as the password"
    assert any(complaint in line.error for line in seen.errors) is not accepted


def test_echo_guard_looks_at_passwords_alone(rig: Callable[..., Rig]) -> None:
    """The token as a user name, or as a part of a password, is not noticed."""
    node = rig(provider(tokenAttributes=token_attributes()))
    node.plugin.answer(response({"r.io": ("THE-TOKEN", "x-THE-TOKEN")}), echo=True)
    node.kubelet.service_account(token="tok")
    seen = node.kubelet.lookup("r.io/app", Pod())
    assert [(c.username, c.password) for c in seen.credentials] == [("tok", "x-tok")]


def test_metrics(rig: Callable[..., Rig]) -> None:
    """Failed runs are counted; answers that don't decode are not, nor answers from the cache."""
    node = rig()
    node.plugin.answer(response(AUTH), status=1)
    node.kubelet.lookup("r.io/app")
    node.plugin.answer("no document")
    node.kubelet.lookup("r.io/app")
    node.plugin.answer(response(AUTH, duration="10m"))
    node.kubelet.lookup("r.io/app")
    node.kubelet.lookup("r.io/app")
    metrics = node.kubelet.metrics()
    assert metrics.errors == {"scripted": 1}
    assert metrics.executions == {"scripted": 3} == {"scripted": len(node.plugin.runs)}


def test_the_kubelet_waits_a_minute_and_for_whoever_holds_the_output(
    tmp_path: Path, new_kubelet: Callable[..., Kubelet]
) -> None:
    """A plugin that hangs is killed after a minute; so long a child with its output open blocks, and success is lost.

    It takes a little over a minute, since the kubelet's limit is fixed.
    """
    sleep_s = {"hangs": 90.0, "leaves-a-child": 0.0}
    seen: dict[str, Seen] = {}
    counted: dict[str, dict[str, float]] = {}

    def look(name: str) -> None:
        (tmp_path / name).mkdir()
        node = Rig(tmp_path / name, new_kubelet, [provider()])
        node.plugin.answer(response(AUTH), sleep_s=sleep_s[name], child_s=62.0)
        seen[name] = node.kubelet.lookup("r.io/app")
        counted[name] = node.kubelet.metrics().errors

    threads = [threading.Thread(target=look, args=(name,)) for name in sleep_s]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in sleep_s:
        assert seen[name].credentials == []
        assert "context deadline exceeded" in seen[name].errors[0].error
        assert counted[name] == {"scripted": 1}
