"""`scripts/verify-cloud` itself: its command line, its report, and what must never stand in it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloud import ACCOUNT, role_arn
from cloud.gcp.world import GOOGLE_AUDIENCE
from integration.verifying import AWS_IMAGES, GOOGLE_IMAGES, ROOT, point, secrets
from pullpass.secret import Secret
from verify import aws, google
from verify.__main__ import main
from verify.points import hide

if TYPE_CHECKING:
    from integration.verifying import Place, TravellingClock

# --- secrets


def test_what_a_registry_quotes_is_hidden(place: Place) -> None:
    """A registry that repeats what it was sent puts no secret into the report, also where its words are cut."""
    path = place.token()
    token = Path(path).read_text(encoding="ascii").strip()
    place.cloud.fault("registry.manifest", "DENIED", times=None, message=f"not with {token}, and not with {token}")
    document = place.run("aws", path, AWS_IMAGES, ())
    seen = point(document, "repository-scope")["saw"]
    assert seen[0] == "image A with the limited password: HTTP 403 DENIED: not with [hidden], and not with [hidden]"
    assert token.split(".")[1][:40] not in json.dumps(document)


def test_only_what_is_long_enough_to_be_a_secret_is_hidden() -> None:
    """The token's parts are hidden one by one, but not the words in front of them."""
    secret = Secret("ya29.c.abcdefghijklmnopqrstuvwxyz")
    text = "a cat; ya29.c.abcdefghijklmnopqrstuvwxyz; abcdefghijklmnopqrstuvwxyz"
    assert hide(text, [secret]) == "a cat; [hidden]; [hidden]"


# --- the command line


def command(place: Place, cloud: str, *options: str) -> list[str]:
    """How `scripts/verify-cloud` starts it."""
    images = AWS_IMAGES if cloud == "aws" else GOOGLE_IMAGES
    line = [sys.executable, "-P", "-m", "verify", cloud, "--config", str(place.config), "--token-file", "-"]
    return [*line, "--image", images[0], "--image", images[1], *options]


def environment(place: Place) -> dict[str, str]:
    """The environment of a process that reaches the local cloud."""
    return {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT / "tests"), "HTTPS_PROXY": place.cloud.endpoints.proxy}


@pytest.mark.parametrize(
    ("cloud", "token"),
    [("aws", {}), ("google", {"namespace": "team-b", "audience": GOOGLE_AUDIENCE, "lifetime_s": 1200})],
)
def test_a_process(place: Place, cloud: str, token: dict[str, Any]) -> None:
    """The report for people: every claim, what is left open, a summary without names, and no secret anywhere."""
    text = place.cloud.mint_token(**token)
    done = subprocess.run(
        command(place, cloud), input=text, capture_output=True, text=True, env=environment(place), cwd="/", check=False
    )
    assert done.returncode == 1, done.stderr
    claims = aws.CLAIMS if cloud == "aws" else google.CLAIMS
    for number, claim in enumerate(claims, 1):
        assert re.search(rf"^{number}\. {claim.name}: [A-Z ]+\n   claim ", done.stdout, re.MULTILINE)
    assert done.stderr.splitlines()[-1].endswith(": not settled")
    summary = done.stdout.partition("Summary, ")[2].partition("\n\n")[2]
    assert len(summary.splitlines()) == len(claims) + 1
    for name in (ACCOUNT, "team-", "proj"):
        assert name not in summary
    for secret in secrets(place.cloud, text):
        assert secret not in done.stdout + done.stderr
    assert max(map(len, done.stdout.partition("Summary, ")[0].splitlines())) <= 120


def test_json(place: Place) -> None:
    """One document on stdout."""
    done = subprocess.run(
        command(place, "aws", "--json"), input=place.cloud.mint_token(), capture_output=True, text=True,
        env=environment(place), check=False,
    )  # fmt: skip
    document = json.loads(done.stdout)
    assert (done.returncode, document["cloud"], document["settled"]) == (1, "aws", False)
    assert document["images"] == {"A": AWS_IMAGES[0], "B": AWS_IMAGES[1]}


def test_exit_status_0(place: Place, clock: TravellingClock, capsys: pytest.CaptureFixture[str]) -> None:
    """When every claim is confirmed."""
    words = command(place, "aws", "--wait")[4:]
    words[words.index("-")] = place.token()
    assert main(words, clock) == 0
    assert "password-outlives-session  confirmed" in capsys.readouterr().out


def test_interrupted(place: Place, clock: TravellingClock, capsys: pytest.CaptureFixture[str]) -> None:
    """Whoever does not want to wait any more is told that nothing was changed."""

    def interrupt() -> None:
        raise KeyboardInterrupt

    clock.arrived = interrupt
    words = command(place, "aws", "--wait")[4:]
    words[words.index("-")] = place.token()
    assert main(words, clock) == 130
    assert capsys.readouterr().err.endswith("interrupted; nothing was changed in the cloud\n")


def test_reader_gone(place: Place) -> None:
    """When what reads the report goes away, there is no traceback."""
    process = subprocess.Popen(
        command(place, "aws"), env=environment(place), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.close()
    _, errors = process.communicate(place.cloud.mint_token(), timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors


GOOD = {"--token-file": "TOKEN", "--config": "CONFIG"}
# The options, some of them changed (None: left out), the images, and what is said.
WRONG: list[tuple[str, str, dict[str, str | None], tuple[str, ...], str]] = [
    ("one-image", "aws", {}, AWS_IMAGES[:1], "--image is given twice, and not 1 times"),
    ("three-images", "aws", {}, (*AWS_IMAGES, AWS_IMAGES[0]), "--image is given twice, and not 3 times"),
    ("no-tag", "aws", {}, (AWS_IMAGES[0][:-3], AWS_IMAGES[1]), "expected HOST/REPOSITORY:TAG or HOST/"),
    ("one-repository", "aws", {}, (AWS_IMAGES[0], AWS_IMAGES[0][:-2] + "latest"), "must be in two repositories"),
    ("two-registries", "aws", {}, (AWS_IMAGES[0], AWS_IMAGES[1].replace("west", "east")), "must be in one registry"),
    ("other-cloud", "aws", {}, GOOGLE_IMAGES, "both images must be in private ECR registries"),
    ("other-cloud-google", "google", {}, AWS_IMAGES, "both images must be in Artifact Registry or gcr.io"),
    ("one-google-image", "google", {}, (GOOGLE_IMAGES[0], GOOGLE_IMAGES[0]), "two different ones"),
    ("no-registry", "aws", {}, ("docker.io/library/a:1", "docker.io/library/b:1"), "registry-unknown: "),
    ("no-role", "aws", {"--config": None}, AWS_IMAGES, "name the role by --role"),
    ("no-provider", "google", {"--config": None}, GOOGLE_IMAGES, "name the workload identity provider by --provider"),
    ("bad-role", "aws", {"--role": "pull-team-a"}, AWS_IMAGES, "--role pull-team-a: it is not of the form"),
    ("bad-account", "google", {"--service-account": "pull"}, GOOGLE_IMAGES, "--service-account pull: expected NAME@"),
    ("bad-provider", "google", {"--config": None, "--provider": "p"}, GOOGLE_IMAGES, "config-invalid: the command"),
    ("no-token-file", "aws", {"--token-file": "/nowhere"}, AWS_IMAGES, "--token-file /nowhere can't be read: No such"),
    ("empty-token", "aws", {"--token-file": "EMPTY"}, AWS_IMAGES, "is empty; `kubectl create token`"),
    ("no-token", "aws", {"--token-file": "CONFIG"}, AWS_IMAGES, "token-malformed: "),
    ("binary-token", "aws", {"--token-file": "BINARY"}, AWS_IMAGES, "can't be read: it is no text"),
    ("no-config", "aws", {"--config": "/nowhere"}, AWS_IMAGES, "config-missing: "),
    ("not-granted", "google", {}, GOOGLE_IMAGES, "no-grant: "),
    ("unknown-option", "aws", {"--wait-for": "it"}, AWS_IMAGES, "unrecognized arguments: --wait-for it; see `scripts/"),
    ("abbreviated", "aws", {"--conf": "CONFIG"}, AWS_IMAGES, "unrecognized arguments: --conf"),
]  # fmt: skip


@pytest.mark.parametrize(("cloud", "changes", "images", "said"), [pytest.param(*row[1:], id=row[0]) for row in WRONG])
def test_usage(
    place: Place,
    capsys: pytest.CaptureFixture[str],
    *,
    cloud: str,
    changes: dict[str, str | None],
    images: tuple[str, ...],
    said: str,
) -> None:
    """What is wrong with a command line is said in one line, and nothing is sent."""
    (place.directory / "empty").touch()
    (place.directory / "binary").write_bytes(b"\xff\xfe")
    paths = {
        "TOKEN": place.token(), "CONFIG": str(place.config), "EMPTY": str(place.directory / "empty"),
        "BINARY": str(place.directory / "binary"),
    }  # fmt: skip
    words = [cloud]
    for name, value in (GOOD | changes).items():
        words += [] if value is None else [name, paths.get(value, value)]
    for image in images:
        words += ["--image", image]
    assert main(words, place.clock) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert err.startswith("scripts/verify-cloud: ")
    assert said in err
    assert place.cloud.requests() == []


@pytest.mark.parametrize(
    ("identities", "said"),
    [
        (("anonymous", "anonymous"), "the configuration gives the identity anonymous; name another by --role"),
        (("{annotation = 'k', allow = ['arn:aws:iam::111122223333:role/*']}",) * 2, "annotation-missing: "),
        ((f"'{role_arn('one')}'", f"'{role_arn('two')}'"), "name one by --role"),
    ],
)
def test_a_configuration_that_gives_no_one_identity(
    place: Place, capsys: pytest.CaptureFixture[str], identities: tuple[str, str], said: str
) -> None:
    """The two images must be asked for as the same identity, one that is got for a token."""
    text = place.config.read_text(encoding="utf-8").partition("[[grant]]")[0]
    for image, identity in zip(AWS_IMAGES, identities, strict=True):
        value = f'"{identity}"' if identity == "anonymous" else identity
        text += f'[[grant]]\nservice_accounts = ["*/*"]\nimages = ["{image[:-3]}"]\nidentity = {value}\n'
    place.config.write_text(text, encoding="utf-8")
    words = command(place, "aws")[4:]
    words[words.index("-")] = place.token()
    assert main(words, place.clock) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status"), [(["--help"], 0), (["aws", "--help"], 0), (["-h"], 0), ([], 2), (["azure"], 2)]
)
def test_help(words: list[str], status: int) -> None:
    """Help and a wrong first word are answered before anything is made, also where there is no interpreter."""
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/verify-cloud"), *words], env={"PATH": "/usr/bin:/bin", "PYTHON": "/nowhere"},
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == status
    said = done.stdout if status == 0 else done.stderr
    assert said.startswith("Usage: bash scripts/verify-cloud aws ")
    for option in (
        "--token-file",
        "--image",
        "--config",
        "--role",
        "--provider",
        "--service-account",
        "--wait",
        "--json",
    ):
        assert f"\n  {option}" in said
    assert os.access(ROOT / "scripts/verify-cloud", os.X_OK)
