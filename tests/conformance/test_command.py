"""`scripts/conformance plugin` on plugins that misbehave on purpose: each check finds what it is for, and nothing else.

A well-behaved plugin has no findings; every other case differs from it in one respect.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from conformance import command
from conformance.build import GO_MISSING, ROOT
from conformance.checks import CHECKS, FINDING, Report, broken, claims
from conformance.examine import examine
from conformance.interview import Options
from conformance.kubelet import BARE_ENVIRONMENT
from conformance.scripted import EXEC_API, Plugin, provider, token_attributes, write_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

IMAGE = "r.io/team/app"
PASSWORD = "the-password-it-got"
SCRIPT = os.path.join(ROOT, "scripts", "conformance")


def token() -> str:
    """A token such as the kubelet gets, with a signature that the plugin below believes in."""
    claims = {
        "kubernetes.io": {"namespace": "ns", "serviceaccount": {"name": "sa", "uid": "u-1"}, "pod": {"name": "p"}}
    }
    parts = [json.dumps({"alg": "RS256"}), json.dumps(claims), "a signature that is good"]
    return ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)


# A plugin that checks what it is given. `{...}` is where a case changes it.
PROGRAM = """\
#!{python} -I
import json, os, sys, time
GOOD = {token!r}
def fail(why, status=3):
    sys.stderr.write("plugin: " + why + "\\n")
    sys.exit(status)
raw = sys.stdin.read()
try:
    request = json.loads(raw)
except ValueError as error:
    fail("not a request: %s" % error, 2)
if not isinstance(request, dict) or request.get("kind") != "CredentialProviderRequest":
    fail("another kind", 2)
image, token = request["image"], request.get("serviceAccountToken", "")
{before}
if token != GOOD:
    fail({refusal})
key, key_type, duration, user, password = image, "Image", "10m", "user", {password!r}
{change}
answer = {{"kind": "CredentialProviderResponse", "apiVersion": {api!r}, "cacheKeyType": key_type,
          "cacheDuration": duration, "auth": {{key: {{"username": user, "password": password}}}}}}
{after}
sys.stdout.write(json.dumps(answer))
{end}
"""


class Case(NamedTuple):
    """What a plugin does differently, and which checks must find it."""

    findings: tuple[str, ...]
    notes: tuple[str, ...] = ()
    before: str = ""
    refusal: str = '"the signature is not good"'
    change: str = ""
    after: str = ""
    end: str = ""
    entry: dict[str, Any] = {}  # noqa: RUF012 - never changed


CASES = {
    "good": Case(()),
    "host-key": Case((), change='key, key_type = image.partition("/")[0], "Registry"'),
    "not-kept": Case((), change='duration = "0s"'),
    "no-duration": Case((), ("cache-duration",), after='del answer["cacheDuration"]'),
    "dead-pattern": Case(("match-images",), entry={"matchImages": ["r.io", "https://r.io", "r.io/*", "R.io?x"]}),
    "no-env": Case(("runs", "decodes"), ("failure",), before='os.environ["HOME"]'),
    "relative-path": Case(("runs", "decodes"), ("failure",), before='open("etc/hostname-of-the-plugin")'),
    "log-on-stdout": Case(("one-document", "decodes"), before='print("looking up " + image)'),
    "second-document": Case(("one-document", "decodes"), end='print("{}")'),
    "unknown-field": Case(("decodes",), after='answer["expires"] = "soon"'),
    "other-version": Case(("decodes",), after='answer["apiVersion"] += "beta1"'),
    "key-type": Case(("decodes",), change='key_type = "image"'),
    "echo": Case(("decodes",), change="password = token"),
    "bad-duration": Case(("decodes",), change='duration = "600"'),
    "other-host": Case(("auth-key",), change='key = "other.io"'),
    "v2-stripped": Case(("auth-key",), change='key = image.replace("r.io/", "r.io/v2/x/")'),
    "unparsable-key": Case(("auth-key",), change='key = "r.io:x"'),
    "empty-answer": Case(("auth-key",), after='answer["auth"] = {}'),
    "narrow-key-wide-cache": Case(("cache-key-type",), change='key_type = "Registry"'),
    "global-cache": Case(
        ("cache-key-type",), change='key, key_type = "r.io", "Global"', entry={"matchImages": ["r.io", "other.io"]}
    ),
    "negative": Case(("cache-duration",), change='duration = "-5m"'),
    "wrong-unit": Case(("cache-duration",), change='duration = "21600us"'),
    "for-ever": Case(("cache-duration",), change='duration = "1000h"'),
    "believes-any-token": Case(("bad-token",), before="GOOD = token"),
    "hides-refusals": Case(
        (), ("bad-token",), before='if token != GOOD: print(json.dumps({"kind": "CredentialProviderResponse",'
        '"apiVersion": request["apiVersion"], "cacheKeyType": "Image"})); sys.exit(0)'
    ),
    "silent": Case(("failure",), before="if token != GOOD: sys.exit(7)"),
    "wordy": Case((), ("failure",), refusal='"one\\ntwo\\nthree"'),
    "says-too-much-in-success": Case((), ("failure",), before='sys.stderr.write("asking\\n")'),
    "token-on-stderr": Case(("no-secrets",), refusal='"no such token: " + token'),
    "claims-on-stderr": Case(("no-secrets",), refusal='"claims " + token.split(".")[1]'),
    "password-on-stderr": Case(("no-secrets",), ("failure",), change='sys.stderr.write("got " + password + "\\n")'),
    "leaves-a-child": Case(("leaves-nothing",), end="sys.stdout.flush()\nif not os.fork(): time.sleep(4); os._exit(0)"),
}  # fmt: skip


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., Options]:
    """Writes the plugin of a case with its configuration, and says how to examine it."""

    def write(case: Case, *, images: tuple[str, ...] = (IMAGE,), refuse: tuple[str, ...] = ()) -> Options:
        bin_dir = tmp_path / "bin"
        bin_dir.mkdir()
        text = PROGRAM.format(
            python=os.path.realpath(sys.executable), token=token(), api=EXEC_API, password=PASSWORD,
            before=case.before, refusal=case.refusal, change=case.change, after=case.after, end=case.end,
        )  # fmt: skip
        (bin_dir / "plugin").write_text(text, encoding="utf-8")
        (bin_dir / "plugin").chmod(0o700)
        (tmp_path / "token").write_text(token(), encoding="utf-8")
        entry = {**provider("plugin", tokenAttributes=token_attributes()), **case.entry}
        config = write_config(str(tmp_path / "providers.json"), [entry])
        return Options(str(bin_dir), config, images, refuse, token(), {}, BARE_ENVIRONMENT)

    return write


@pytest.mark.parametrize("name", list(CASES))
def test_findings(kubelet_program: str, options: Callable[..., Options], name: str) -> None:
    """Each fault is found by the checks that are for it, and by no other."""
    case = CASES[name]
    report = examine(kubelet_program, options(case))
    found = {check.name for check in report.checks if check.result == FINDING}
    assert found == set(case.findings), command.table(report, "")
    noted = {check.name for check in report.checks if check.result == "note"}
    assert noted == set(case.notes), command.table(report, "")
    for text in (command.table(report, ""), command.document(report, "")):
        assert PASSWORD not in text
        assert not [part for part in token().split(".")[1:] if part in text]


def test_every_check_is_found_wanting_once() -> None:
    """No check that no case above or below makes fail."""
    elsewhere = {"registers", "asked", "refuses", "bad-input", "attribution", "cached", "time"}
    assert {name for case in CASES.values() for name in case.findings} == set(CHECKS) - elsewhere


def results(report: Report, name: str) -> list[tuple[str, str]]:
    """What a check came to."""
    return [(check.result, check.image) for check in report.checks if check.name == name]


def test_images(kubelet_program: str, options: Callable[..., Options]) -> None:
    """Images that no provider is asked for, or that are none, are findings where a credential must come."""
    asked = (IMAGE, "other.io/app:1", "r.io/App")
    report = examine(kubelet_program, options(CASES["good"], images=asked, refuse=("other.io/x", "r.io/team/other")))
    assert results(report, "asked") == [("FINDING", "r.io/App"), ("FINDING", "other.io/app"), ("ok", IMAGE)]
    assert results(report, "refuses") == [("ok", "other.io/x"), ("FINDING", "r.io/team/other")]


def test_required_annotation(kubelet_program: str, options: Callable[..., Options]) -> None:
    """A plugin that the kubelet skips was not asked, and the kubelet's reason is shown."""
    entry = {"tokenAttributes": token_attributes(requiredServiceAccountAnnotationKeys=["a.example/role"])}
    given = options(CASES["good"]._replace(entry=entry))
    (skipped,) = [c for c in examine(kubelet_program, given).checks if c.name == "asked"]
    assert skipped.result == "FINDING"
    assert "required annotation a.example/role not found" in skipped.text
    assert examine(kubelet_program, given._replace(annotations={"a.example/role": "x"})).findings == 0


def test_accepts_anything(kubelet_program: str, tmp_path: Path) -> None:
    """A plugin that answers whatever it is sent."""
    plugin = Plugin(str(tmp_path / "bin"), "plugin")
    config = write_config(str(tmp_path / "providers.json"), [provider("plugin")])
    report = examine(kubelet_program, Options(plugin.bin_dir, config, (), (), None, {}, BARE_ENVIRONMENT))
    assert [check.name for check in report.checks if check.result == FINDING] == ["bad-input"]


def test_not_registered(kubelet_program: str, options: Callable[..., Options]) -> None:
    """What stops a kubelet is the one result."""
    given = options(CASES["good"]._replace(entry={"tokenAttributes": token_attributes(cacheType=None)}))
    report = examine(kubelet_program, given)
    assert [(check.name, check.result) for check in report.checks] == [("registers", FINDING)]


def run(*arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run the script, by bash as its documentation says it works too."""
    return subprocess.run(
        ["bash", SCRIPT, *arguments], capture_output=True, text=True, cwd="/", env=environment, check=False
    )


def test_script(options: Callable[..., Options], tmp_path: Path) -> None:
    """The same as a command: readable, as JSON, and by exit status."""
    given = options(CASES["good"])
    arguments = ["plugin", "--bin-dir", given.bin_dir, "--config", given.config, "--image", f"{IMAGE}:v1"]
    arguments += ["--token-file", str(tmp_path / "token")]
    readable = run(*arguments)
    assert (readable.returncode, readable.stderr) == (0, "")
    assert f"plugin, {IMAGE}\n" in readable.stdout
    assert "  ok       auth-key         user 'user' under 'r.io/team/app'\n" in readable.stdout
    found = run(*arguments, "--refuse", "r.io/x", "--json")
    assert (found.returncode, found.stderr) == (1, "")
    document = json.loads(found.stdout)
    assert document["findings"] == 1
    assert {check["name"] for check in document["checks"]} <= set(CHECKS)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["plugin"], "the following arguments are required: --bin-dir, --config"),
        (["plugin", "--bin-dir", "/", "--config", "/", "--token-file", "/no/token"], "No such file or directory"),
        (["plugin", "--bin-dir", "/", "--config", "/", "--annotation", "x"], "--annotation takes KEY=VALUE, not 'x'"),
        (["suite"], "invalid choice: 'suite'"),
    ],
)
def test_usage(arguments: list[str], said: str) -> None:
    """Mistakes of the caller are neither findings nor tracebacks."""
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("arguments", [[], ["plugin", "--bin-dir", "/", "--config", "/"]])
def test_without_go(tmp_path: Path, arguments: list[str]) -> None:
    """Without Go it fails with what to install: it does not skip."""
    done = run(*arguments, environment={**os.environ, "GO": str(tmp_path / "go")})
    assert done.returncode == 2
    assert GO_MISSING in done.stderr


def test_broken_tokens_are_no_tokens() -> None:
    """What the `bad-token` check sends is for a service account and a pod that no cache knows, badly signed."""
    bound = {"namespace": "a", "serviceaccount": {"name": "b", "uid": "u1"}, "pod": {"name": "c", "uid": "u2"}}
    body = base64.urlsafe_b64encode(json.dumps({"sub": "s", "kubernetes.io": bound}).encode()).rstrip(b"=").decode()
    head, forged, signature = broken(f"e30.{body}.c2lnbmVk").split(".")
    seen = claims(f"{head}.{forged}.{signature}")
    assert (head, signature) == ("e30", "AAAAAAAA")
    assert (seen["sub"], seen["kubernetes.io"]["namespace"]) == ("s", "a")
    assert seen["kubernetes.io"]["serviceaccount"]["name"] == "b"
    uids = {seen["kubernetes.io"][holder]["uid"] for holder in ("serviceaccount", "pod")}
    assert len(uids) == 2
    assert not uids & {"u1", "u2"}
    assert broken("no token") == "AAAAAAAA"
