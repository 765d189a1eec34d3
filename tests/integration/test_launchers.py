"""The built launchers, driven as the kubelet drives them, against the local cloud over real sockets."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import pullpass
from cloud import Cloud
from factories import HOST, IMAGE, make_request
from integration.launchers import ask, forget, install, write_config
from pullpass.install import LAUNCHERS

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One local cloud for the module; each test starts from its default world."""
    with Cloud() as running:
        yield running


@pytest.fixture(autouse=True)
def default_world(cloud: Cloud) -> None:
    """Forget faults and requests of the test before."""
    cloud.reset()


@pytest.fixture(scope="module")
def installed(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`pullpass-ecr`, installed for the local cloud over TLS."""
    directory = tmp_path_factory.mktemp("node")
    return install(directory, write_config(directory, cloud, tls=True))


@pytest.fixture
def launcher(installed: Path) -> Path:
    """The launcher of a node that has answered nothing yet."""
    forget(installed)
    return installed


def password(done: subprocess.CompletedProcess[bytes], image: str = IMAGE) -> str:
    """The password in an answer."""
    assert (done.returncode, done.stderr) == (0, b"")
    document = json.loads(done.stdout)
    assert set(document["auth"]) == {image}
    assert document["auth"][image]["username"] == "AWS"
    return str(document["auth"][image]["password"])


def pull(cloud: Cloud, repository: str, secret: str) -> int:
    """Pull an image over the registry's API; the status of the first request that failed, or 200."""
    login = "Basic " + base64.b64encode(f"AWS:{secret}".encode()).decode()

    def get(path: str) -> tuple[int, bytes]:
        url = f"http://{cloud.endpoints.registry}/v2/{repository}/{path}"
        request = urllib.request.Request(url, headers={"Authorization": login, "Accept": "*/*"})
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return int(answer.status), answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return int(error.code), b""

    status, manifest = get("manifests/v1")
    if status != 200:
        return status
    document = json.loads(manifest)
    for part in (document["config"], *document["layers"]):
        status, blob = get(f"blobs/{part['digest']}")
        if status != 200:
            return status
        assert "sha256:" + hashlib.sha256(blob).hexdigest() == part["digest"]
        assert len(blob) == part["size"]
    return 200


def test_a_token_becomes_a_credential_for_one_repository(cloud: Cloud, launcher: Path) -> None:
    """The whole way: token in, credential out, image pulled, and no other repository opened by it."""
    token = cloud.mint_token("team-a", "web")
    secret = password(ask(launcher, make_request(token)))
    assert pull(cloud, "team-a/app", secret) == 200
    assert pull(cloud, "team-a/other", secret) in {401, 403}
    assert cloud.counts() == cloud.counts() | {"sts.AssumeRoleWithWebIdentity": 1, "ecr.GetAuthorizationToken": 1}
    assert cloud.last("sts").parameters["WebIdentityToken"] == token
    assert cloud.last("sts").parameters["RoleSessionName"] == "prod-1_team-a_web"


def test_registry_scope_opens_what_the_role_may_read(cloud: Cloud, tmp_path: Path) -> None:
    """`scope = "registry"` sends no session policy, and `session_duration` is what the session lasts."""
    config = write_config(tmp_path, cloud, ecr='scope = "registry"\nsession_duration = "30m"')
    secret = password(ask(install(tmp_path, config), make_request(cloud.mint_token("team-a", "web"))))
    assert pull(cloud, "team-a/app", secret) == 200
    assert pull(cloud, "team-a/other", secret) == 200
    assert pull(cloud, "team-b/app", secret) in {401, 403}
    sent = cloud.last("sts").parameters
    assert "Policy" not in sent
    assert sent["DurationSeconds"] == "1800"


def test_both_launchers_serve_any_target(cloud: Cloud, launcher: Path) -> None:
    """The audience decides, not the file name."""
    assert {path.name for path in launcher.parent.iterdir()} == set(LAUNCHERS)
    for name in LAUNCHERS:
        assert stat.S_IMODE((launcher.parent / name).stat().st_mode) == 0o755
        password(ask(launcher.parent / name, make_request(cloud.mint_token("team-a", "web"))))


def test_the_cloud_refuses_a_role_that_does_not_trust_the_account(cloud: Cloud, launcher: Path) -> None:
    """A grant is no right: team-b's role has none for team-a's image, and its refusal reaches the kubelet's log."""
    done = ask(launcher, make_request(cloud.mint_token("team-b", "web")))
    secret = password(done)
    assert pull(cloud, "team-a/app", secret) in {401, 403}
    cloud.remove_role("pull-team-a")
    done = ask(launcher, make_request(cloud.mint_token("team-a", "web")))
    assert (done.returncode, done.stdout) == (4, b"")
    assert done.stderr.startswith(b"pullpass: aws-sts-denied: ")


def test_a_hostile_environment_changes_nothing(cloud: Cloud, launcher: Path, tmp_path: Path) -> None:
    """The launchers look at no variable of ours, and Python's own variables do not reach a process of root."""
    (tmp_path / "json.py").write_text("raise SystemExit('taken over')")
    environment = {
        "PULLPASS_CONFIG": "/nonexistent",
        "PYTHONPATH": str(tmp_path),
        "PYTHONSTARTUP": str(tmp_path / "json.py"),
        "PYTHONHOME": "/nonexistent",
        "PYTHONINSPECT": "1",
        "PYTHONWARNINGS": "error",
        "PATH": str(tmp_path),
        "HOME": str(tmp_path),
        "LC_ALL": "C",
    }
    password(ask(launcher, make_request(cloud.mint_token("team-a", "web")), environment))


def test_arguments_are_ignored(cloud: Cloud, launcher: Path) -> None:
    """The provider entry's `args` can't change the configuration of a launcher."""
    done = subprocess.run(
        [str(launcher), "--config", "/nonexistent"],
        input=make_request(cloud.mint_token("team-a", "web")),
        capture_output=True,
        env={},
        check=False,
    )
    password(done)


def test_an_answer_without_a_credential(cloud: Cloud, launcher: Path) -> None:
    """A public image is answered with nothing, and no call is made."""
    done = ask(launcher, make_request(cloud.mint_token("team-a", "web"), f"{HOST}/public/tool"))
    assert (done.returncode, done.stderr) == (0, b"")
    assert not json.loads(done.stdout).get("auth")
    assert cloud.count("*") == 0


def test_a_closed_stdout_is_told(cloud: Cloud, launcher: Path) -> None:
    """Nobody reads the answer: one line, the status of local trouble, no traceback."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [str(launcher)],
            input=make_request(cloud.mint_token("team-a", "web")),
            stdout=writing,
            stderr=subprocess.PIPE,
            env={},
            check=False,
        )
    finally:
        os.close(writing)
    assert done.returncode == 6
    assert done.stderr.startswith(b"pullpass: stdout-closed: ")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_mid_exchange_is_told(cloud: Cloud, launcher: Path, number: signal.Signals) -> None:
    """A run that is stopped while it waits for the cloud says so, at once."""
    cloud.fault("sts.AssumeRoleWithWebIdentity", "hang")
    with subprocess.Popen(
        [str(launcher)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={}
    ) as process:
        assert process.stdin is not None
        process.stdin.write(make_request(cloud.mint_token("team-a", "web")))
        process.stdin.close()
        process.stdin = None
        cloud.wait_for("sts", 1)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stdout) == (5, b"")
    assert stderr.startswith(b"pullpass: terminated: SIG")
    assert stderr.count(b"\n") == 1


def test_a_cloud_that_never_answers_ends_within_the_deadline(cloud: Cloud, tmp_path: Path) -> None:
    """The run ends by its own deadline, before the kubelet's minute."""
    launcher = install(tmp_path, write_config(tmp_path, cloud, node='deadline = "2s"'))
    cloud.fault("sts.AssumeRoleWithWebIdentity", "hang", times=None)
    began_s = time.monotonic()
    done = ask(launcher, make_request(cloud.mint_token("team-a", "web")))
    assert (done.returncode, done.stdout) == (5, b"")
    assert time.monotonic() - began_s < 20
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize(
    ("raw", "code"),
    [
        (b"", "request-empty"),
        (b"{}", "request-version"),
        (b"\xff\xfe{", "request-encoding"),
        (b"[" * 100_000, "request-nesting"),
        (b" " * (1 << 20), "request-empty"),
        (b" " * (1 << 20) + b" ", "request-too-long"),
        (b" " * (1 << 22), "request-too-long"),
    ],
    ids=range(7),
)
def test_garbage_on_stdin_is_one_line(launcher: Path, raw: bytes, code: str) -> None:
    """Status 2, nothing on stdout; one byte more than a request may have is read, so that it is seen."""
    done = ask(launcher, raw)
    assert (done.returncode, done.stdout) == (2, b"")
    assert done.stderr.startswith(f"pullpass: {code}: ".encode())
    assert done.stderr.count(b"\n") == 1


def test_a_closed_stdin_is_an_empty_request(launcher: Path) -> None:
    """No stdin at all is no crash."""
    done = subprocess.run(["sh", "-c", f"exec {launcher} <&-"], capture_output=True, check=False)
    assert (done.returncode, done.stderr[:24]) == (2, b"pullpass: request-empty:")


class TestStaleLaunchers:
    """A launcher that no longer fits what is installed says so in one readable line."""

    def check(self, launcher: Path, what: str) -> None:
        """Run it and look for the line."""
        done = ask(launcher, make_request())
        line = done.stderr.decode()
        assert (done.returncode, done.stdout) == (6, b"")
        assert line.startswith("pullpass: launcher-stale: ")
        assert what in line
        assert "-m pullpass install --bin-dir" in line
        assert line.count("\n") == 1

    def change(self, launcher: Path, directory: Path, old: str, new: str) -> Path:
        """A copy of the launcher with a changed line."""
        text = launcher.read_text()
        assert old in text
        path = directory / launcher.name
        path.write_text(text.replace(old, new))
        path.chmod(0o755)
        return path

    def test_another_python(self, launcher: Path, tmp_path: Path) -> None:
        """The interpreter behind the path was upgraded."""
        here = f"{sys.version_info[0]}, {sys.version_info[1]}"
        self.check(self.change(launcher, tmp_path, f"!= ({here})", "!= (3, 8)"), "written for Python")

    def test_libraries_gone(self, launcher: Path, tmp_path: Path) -> None:
        """The environment that holds the package was removed."""
        self.check(self.change(launcher, tmp_path, "sys.path.extend([", "sys.path.extend(['/gone'] or ["), "pullpass")

    def test_another_version(self, launcher: Path, tmp_path: Path) -> None:
        """The package was upgraded, and takes other arguments than the launcher gives it."""
        self.check(self.change(launcher, tmp_path, "    main(", "    main(1, "), "TypeError")

    def test_a_closed_stderr(self, launcher: Path, tmp_path: Path) -> None:
        """The line can't be written, and the status is the same."""
        changed = self.change(launcher, tmp_path, "    main(", "    main(1, ")
        done = subprocess.run(["sh", "-c", f"exec {changed} 2>&-"], input=b"", capture_output=True, check=False)
        assert (done.returncode, done.stdout) == (6, b"")

    @pytest.mark.parametrize("damage", ["", "x = (", "x\0"], ids=["empty", "cut short", "a NUL"])
    def test_a_damaged_library(self, launcher: Path, tmp_path: Path, damage: str) -> None:
        """A power failure left a module of the package cut short or full of NULs."""
        package = Path(pullpass.__file__).parent
        shutil.copytree(package, tmp_path / "lib" / "pullpass", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / "lib" / "pullpass" / "pipeline.py").write_text(damage)
        libraries = f"sys.path.extend([{str(tmp_path / 'lib')!r}, "
        done = ask(self.change(launcher, tmp_path, "sys.path.extend([", libraries), make_request())
        assert (done.returncode, done.stdout) == (6, b"")
        assert done.stderr.startswith((b"pullpass: launcher-stale: ", b"pullpass: internal: "))
        assert done.stderr.count(b"\n") == 1

    def test_it_writes_no_bytecode(self, launcher: Path, tmp_path: Path) -> None:
        """A process of root leaves no files behind that somebody's umask decides about."""
        package = Path(pullpass.__file__).parent
        shutil.copytree(package, tmp_path / "lib" / "pullpass", ignore=shutil.ignore_patterns("__pycache__"))
        libraries = f"sys.path.extend([{str(tmp_path / 'lib')!r}, "
        ask(self.change(launcher, tmp_path, "sys.path.extend([", libraries), make_request())
        assert not list((tmp_path / "lib").rglob("*.pyc"))

    def test_half_of_the_libraries_gone(self, cloud: Cloud, launcher: Path, tmp_path: Path) -> None:
        """The package is there, and its SDK is not."""
        changed = self.change(
            launcher,
            tmp_path,
            "from pullpass.exec_client",
            "sys.modules['boto3'] = None\n    from pullpass.exec_client",
        )
        done = ask(changed, make_request(cloud.mint_token("team-a", "web")))
        assert done.returncode == 2
        assert b"pip install 'pullpass[aws]'" in done.stderr
        assert done.stderr.count(b"\n") == 1

    def test_a_moved_runtime_directory(self, cloud: Cloud, tmp_path: Path) -> None:
        """`paths.runtime` was changed after the launchers were written."""
        config = write_config(tmp_path, cloud)
        launcher = install(tmp_path, config)
        config.write_text(config.read_text().replace("/run", "/elsewhere"))
        done = ask(launcher, make_request())
        assert (done.returncode, done.stdout) == (2, b"")
        assert b"config-runtime-moved" in done.stderr
        assert b"install" in done.stderr
