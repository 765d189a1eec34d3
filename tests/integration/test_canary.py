"""No secret is anywhere but in the answer: every output, file and error of many runs is searched for all of them.

A run is one of the launcher, of `explain` and of `get-credentials`, over a success and every way the cloud can fail,
some of which put the secrets themselves into what the cloud says.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from cloud import Cloud
from factories import HOST, IMAGE, make_request
from integration.launchers import ask, install, write_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# operation, kind of fault, options; `{token}` and `{password}` are filled in before a fault is set.
FAULTS: list[tuple[str, str, dict[str, Any]]] = [
    ("sts", "AccessDenied", {"message": "no {token} here"}),
    ("sts", "ExpiredTokenException", {"message": "expired: {token}"}),
    ("sts", "InvalidIdentityToken", {"message": "{token}"}),
    ("sts", "status", {"status": 403, "body": "{token}", "content_type": "text/plain"}),
    ("sts", "status", {"status": 200, "body": "{token}", "content_type": "text/xml"}),
    ("sts", "garbage", {}),
    ("sts", "truncate", {}),
    ("sts", "expiration-past", {}),
    ("ecr", "truncate", {}),
    ("ecr", "password-without-colon", {}),
    ("ecr", "expires-null", {}),
    ("ecr", "AccessDeniedException", {"message": "the key {token} of the session"}),
    ("ecr", "status", {"status": 200, "body": "{token}", "content_type": "application/json"}),
    ("ecr", "cut-mid-body", {}),
]


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One local cloud for the module."""
    with Cloud() as running:
        yield running


def secrets(cloud: Cloud, token: str) -> set[str]:
    """What must not be seen: the token's signature and every key, session token and password the cloud made."""
    found = {token, token.rpartition(".")[2]}
    for session in cloud.world.sessions.values():
        found |= {session.secret_key, session.token}
    for password in cloud.world.passwords.values():
        login = f"AWS:{password.password}".encode()
        found |= {password.password, base64.b64encode(login).decode()}
    return found


def everything_under(directory: Path) -> str:
    """The content of every file below a directory."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    assert files
    return "\n".join(path.read_text(errors="replace") for path in files)


@pytest.mark.parametrize(("where", "kind", "options"), FAULTS, ids=[f"{row[0]} {row[1]}" for row in FAULTS])
def test_no_fault_brings_a_secret_out(
    cloud: Cloud, tmp_path: Path, where: str, kind: str, options: dict[str, Any]
) -> None:
    """A cloud that fails, or quotes our own secrets back at us, does not get them into a log or a file."""
    cloud.reset()
    token = cloud.mint_token("team-a", "web")
    config = write_config(tmp_path, cloud, node='deadline = "5s"')
    launcher = install(tmp_path, config)
    filled = {key: value.format(token=token) if isinstance(value, str) else value for key, value in options.items()}
    cloud.fault(where, kind, None, **filled)
    done = ask(launcher, make_request(token))
    assert (done.returncode != 0, done.stdout) == (True, b"")
    shown = done.stderr.decode() + everything_under(tmp_path)
    assert not [secret for secret in secrets(cloud, token) if secret in shown]
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("image", [IMAGE, f"{HOST}/team-b/app", "evil.example/team-a/app"])
def test_no_success_or_refusal_leaves_a_secret_behind(cloud: Cloud, tmp_path: Path, image: str) -> None:
    """The password is in the answer and nowhere else; the token is nowhere."""
    cloud.reset()
    token = cloud.mint_token("team-a", "web")
    config = write_config(tmp_path, cloud)
    launcher = install(tmp_path, config)
    raw = make_request(token, image, {"example.com/note": "x"})
    shown = ""
    for words in (["explain"], ["explain", "--json"], ["get-credentials"]):
        done = subprocess.run(
            [sys.executable, "-m", "pullpass", *words, "--config", str(config)],
            input=raw,
            capture_output=True,
            check=False,
        )
        shown += done.stderr.decode() + ("" if words == ["get-credentials"] else done.stdout.decode())
    done = ask(launcher, raw)
    shown += done.stderr.decode() + everything_under(tmp_path)
    found = secrets(cloud, token)
    if image == IMAGE:
        password = json.loads(done.stdout)["auth"][IMAGE]["password"]
        assert password in found
        assert len(found) > 2
    assert not [secret for secret in found if secret in shown]


def test_a_secret_that_is_no_token_is_not_shown_either(cloud: Cloud, tmp_path: Path) -> None:
    """Whatever stands where a token belongs may be somebody's password."""
    launcher = install(tmp_path, write_config(tmp_path, cloud))
    for canary in ("hunter2-hunter2", "a.b.hunter2-hunter2", "hunter2-hunter2\n"):
        done = ask(launcher, make_request(canary))
        assert done.returncode == 2
        assert b"hunter2" not in done.stderr
