"""What else would write to stderr, or leave no word there: whole launchers, and one line each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from factories import IMAGE, make_request
from integration.exchanging_gcp import mint
from integration.launchers import GRANTS, ask, forget, install, write_config

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud

STS = "sts.AssumeRoleWithWebIdentity"
ISSUED = "Credentials.Expiration"
GOOGLE_IMAGE = "europe-docker.pkg.dev/proj/team-b/app"
GOOGLE_GRANT = """
[[grant]]
service_accounts = ["team-b/*"]
images = ["europe-docker.pkg.dev/proj/team-b/**"]
identity = "principal"
"""

# A library in front of one that the SDK loads; it does to stdout and stderr what libraries do, and then is the other.
NOISY = """\
import logging, os, sys, threading, warnings

logging.getLogger("noisy").error("noise of a log that nobody has set up")
warnings.warn("noise of a warning")
print("noise on stderr", file=sys.stderr, flush=True)
print("noise on stdout", flush=True)
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()
with open({mark!r}, "w") as mark:
    mark.write("loaded")
sys.path.remove(os.path.dirname(os.path.abspath(__file__)))
del sys.modules[__name__]
import jmespath
"""


@pytest.fixture
def launcher(cloud: Cloud, tmp_path: Path) -> Path:
    """A launcher for the local cloud."""
    return install(tmp_path, write_config(tmp_path, cloud))


def told(done: subprocess.CompletedProcess[bytes], code: str) -> str:
    """The one line of a run that failed with this code."""
    lines = done.stderr.decode().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith(f"pullpass: {code}: ")
    assert done.stdout == b""
    return lines[0]


def test_libraries_that_write(cloud: Cloud, launcher: Path, tmp_path: Path) -> None:
    """Warnings, logs, prints and tracebacks of threads are in neither stream, whether it ends well or not."""
    noisy, mark = tmp_path / "noisy", tmp_path / "mark"
    noisy.mkdir()
    (noisy / "jmespath.py").write_text(NOISY.format(mark=str(mark)))
    launcher.write_text(launcher.read_text().replace("sys.path.extend([", f"sys.path.extend([{str(noisy)!r}, "))
    raw = make_request(cloud.mint_token())
    config = str(tmp_path / "config.toml")
    command = [sys.executable, "-m", "pullpass", "get-credentials", "--config", config]
    before = os.environ.get("PYTHONPATH")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(noisy), *([before] if before else [])])}

    def people() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(command, input=raw, env=environment, capture_output=True, check=False)

    def kubelet() -> subprocess.CompletedProcess[bytes]:
        return ask(launcher, raw)

    for run in (kubelet, people):
        done = run()
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.startswith(b'{"kind":"CredentialProviderResponse"')
        assert b"noise" not in done.stdout
        assert mark.read_text() == "loaded"
        mark.unlink()
        forget(launcher)
        cloud.fault(STS, "AccessDenied")
        told(run(), "aws-sts-denied")
        assert mark.exists()
        forget(launcher)
        cloud.clear()


@pytest.mark.parametrize(
    "moment",
    ["2199-11-24T13:00:00 XYZ", "2199-11-24T13:00:00", "23:59Z", "24 Nov 2199 13:00 GMT", "2199-02-30T00:00:00Z"],
)
def test_moments_that_are_guesses(cloud: Cloud, launcher: Path, moment: str) -> None:
    """An end that has no zone, or leaves something out, is none; nothing is said about how it was read."""
    cloud.fault(STS, "set", fields={ISSUED: moment})
    line = told(ask(launcher, make_request(cloud.mint_token())), "cloud-answer")
    assert "the answer has no usable Expiration" in line


@pytest.mark.parametrize("jwks", [False, True])
@pytest.mark.parametrize("image", [IMAGE, GOOGLE_IMAGE])
def test_openssl_that_can_not_start(cloud: Cloud, tmp_path: Path, image: str, *, jwks: bool) -> None:
    """A configuration of OpenSSL that it does not take is told by name, in one line, and is nobody's defect."""
    broken = tmp_path / "openssl.cnf"
    broken.write_text(
        "openssl_conf = i\n[i]\nproviders = p\n[p]\nabsent = e\n[e]\nmodule = /nonexistent.so\nactivate = 1\n"
    )
    node = ""
    if jwks:
        (tmp_path / "jwks.json").write_text(json.dumps(cloud.issuers["prod-1"].jwks()))
        node = f'jwks = "{tmp_path}/jwks.json"'
    config = write_config(tmp_path, cloud, tls=True, node=node, gcr="", grants=GRANTS + GOOGLE_GRANT)
    launcher = install(tmp_path, config)
    raw = make_request(mint(cloud) if image == GOOGLE_IMAGE else cloud.mint_token(), image)
    done = ask(launcher, raw, {"OPENSSL_CONF": str(broken)})
    assert done.returncode == 2, done.stderr
    assert f"OpenSSL can't start with {broken} (" in told(done, "openssl")
    assert cloud.counts() == {}
    assert ask(launcher, raw).returncode == 0


def test_bundle_that_is_a_pipe(cloud: Cloud, tmp_path: Path) -> None:
    """It ends the run at once, and not at the deadline."""
    os.mkfifo(tmp_path / "ca.pem")
    config = write_config(tmp_path, cloud, tls=True)
    config.write_text(config.read_text().replace(cloud.endpoints.ca_file, str(tmp_path / "ca.pem")))
    done = ask(install(tmp_path, config), make_request(cloud.mint_token()))
    assert done.returncode == 2
    assert f"{tmp_path}/ca.pem: not a regular file" in told(done, "ca-bundle")
