"""The demo: its story is true, it notices when it is not, and it leaves nothing behind."""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cloud import ACCOUNT
from cloud.gcp.world import PULL_ACCOUNT
from demo.__main__ import perform, run
from demo.clients import Http
from demo.lasting import Audited, Revalidated, Rotated, Survived
from demo.scenes import Outcome, Shared, UnexpectedError
from demo.stage import GRANTS, HOST, DemoError, Stage, configuration
from demo.story import SCENES
from demo.telling import Teller

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_PATH = "/usr/bin:/bin"
CODES = [
    "-", "DENIED", "no-grant", "registry-unknown", "token-expired", "token-audience", "identity-not-allowed",
    "-", "-", "token-audience", "-", "-", "-", "blocked-by-order", "-", "-",
]  # fmt: skip
FIRST = SCENES[:12]  # those that wait for nothing
NOBODY = "http://127.0.0.1:9"  # the discard port: nothing listens there


def environment(tmp_path: Path, path: str = SYSTEM_PATH, **more: str) -> dict[str, str]:
    """What a demo in a process of its own gets; its temporary files go below `tmp_path`."""
    (tmp_path / "tmp").mkdir()
    return {"PATH": path, "PYTHONPATH": str(ROOT / "tests"), "TMPDIR": str(tmp_path / "tmp"), **more}


def command(*options: str) -> list[str]:
    """How `scripts/demo` starts it, with the interpreter of the tests."""
    return [sys.executable, "-P", "-m", "demo", *options]


def left_behind(tmp_path: Path) -> list[str]:
    """What lies in the demo's temporary directory."""
    return sorted(os.listdir(tmp_path / "tmp"))


def table(output: str) -> list[list[str]]:
    """The rows of the table at the end, cell by cell."""
    head, _, rows = output.partition("\nscene  ")
    assert head
    assert rows, output
    return [re.split(r" {2,}", line) for line in rows.partition("\n\n")[0].splitlines()[1:]]


@pytest.mark.parametrize("program", ["skopeo", "http"])
def test_story(tmp_path: Path, program: str) -> None:
    """With either client, and proxies and cloud settings that lead astray, all sixteen scenes are as expected."""
    if program == "skopeo" and shutil.which("skopeo", path=SYSTEM_PATH) is None:
        pytest.skip("skopeo is not installed: apt-get install skopeo")
    astray = dict.fromkeys(["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy", "ALL_PROXY", "all_proxy"], NOBODY)
    astray |= {"no_proxy": "*", "AWS_ENDPOINT_URL": NOBODY, "AWS_PROFILE": "nobody", "PULLPASS_CONFIG": "/nowhere"}
    astray |= {"AWS_CONTAINER_CREDENTIALS_FULL_URI": NOBODY, "GOOGLE_APPLICATION_CREDENTIALS": "/nowhere"}
    variables = environment(tmp_path, SYSTEM_PATH if program == "skopeo" else str(tmp_path), **astray)
    done = subprocess.run(command(), env=variables, cwd="/", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = table(done.stdout)
    assert [row[-2:] for row in rows] == [[code, "yes"] for code in CODES]
    assert [row[0].partition(" ")[0] for row in rows] == [str(number) for number in range(1, 17)]
    assert done.stdout.endswith("all 16 scenes as expected\n")
    assert ("Images are pulled with skopeo version" in " ".join(done.stdout.split())) == (program == "skopeo")
    assert "would send      sts:AssumeRoleWithWebIdentity" in done.stdout
    assert "the credential is the node's own" in done.stdout
    assert "\x1b" not in done.stdout
    assert left_behind(tmp_path) == []


def test_no_secret_is_told(cloud: Cloud, tmp_path: Path) -> None:
    """No password, no token of either side and no session's keys stand in the story, in the document or in a file."""
    story = io.StringIO()
    document = perform(cloud, str(tmp_path), configuration(cloud, str(tmp_path)), Teller(story))
    told = story.getvalue() + json.dumps(document)
    issued = [*cloud.world.passwords, *cloud.google.tokens]
    assert len(cloud.google.tokens) == 3, "one of which only led to another"
    assert len(cloud.world.passwords) > 4, "two in the first scenes, two in the rotation, and more after that"
    secrets = list(issued)
    for session in cloud.world.sessions.values():
        secrets += [session.secret_key, session.token]
    for token in sent(cloud):
        secrets += [token, token.rpartition(".")[2]]
    assert [secret for secret in secrets if secret in told] == []
    prints = [hashlib.sha256(password.encode()).hexdigest()[:12] for password in cloud.world.passwords]
    assert [print_ in told for print_ in prints[:4]] == [True] * 4
    files = [path.read_text("latin-1") for path in tmp_path.rglob("*") if path.is_file()]
    assert not [secret for secret in issued if any(secret in text for text in files)]


def sent(cloud: Cloud) -> list[str]:
    """The tokens of pods that the clouds were shown."""
    tokens = [request.parameters["WebIdentityToken"] for request in cloud.requests("sts")]
    return tokens + [request.parameters["subject_token"] for request in cloud.requests("gsts")]


def test_refusals_show_their_line(cloud: Cloud, tmp_path: Path) -> None:
    """Each refused scene shows the one line that the kubelet would log."""
    document = perform(cloud, str(tmp_path), configuration(cloud, str(tmp_path)), None, FIRST)
    lines = [fact["text"] for row in document["scenes"] for fact in row["facts"] if fact["what"] == "stderr"]
    codes = [re.match(r"pullpass: ([a-z-]+): .+; .+", line)[1] for line in lines]  # type: ignore[index]
    assert codes == [code for code in CODES[:12] if code.islower()]


def opened(cloud: Cloud) -> None:
    """A role that may do everything."""
    everything = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    cloud.set_role("pull-team-a", policy={"Version": "2012-10-17", "Statement": [everything]})


def as_it_is(cloud: Cloud) -> None:
    """Nothing is wrong with the cloud."""


def poor(cloud: Cloud) -> None:
    """Four who were allowed something are not any more: each concerns one scene."""
    cloud.set_artifacts("team-b", readers=[])
    cloud.set_service_account(PULL_ACCOUNT, impersonators=[])
    cloud.configure(node_role=None)
    cloud.set_artifacts("gcr.io", "distroless", "us", readers=[])


def faulty(where: str, kind: str, cloud: Cloud) -> None:
    """Something goes wrong at every request."""
    cloud.fault(where, kind, times=None)


FOR_ALL = f"""
[[grant]]
service_accounts = ["*/*"]
images = ["{HOST}/team-a/**"]
identity = "arn:aws:iam::{ACCOUNT}:role/pull-team-a"
"""
ANY_ROLE = GRANTS.replace(':role/pull-{namespace}"]', ':role/*"]')
OTHERS = {
    '"principal"': f'"{PULL_ACCOUNT}"',
    f'"{PULL_ACCOUNT}"': '"principal"',
    '"node"': '"refuse"',
    '"anonymous"': '"principal"',
}
OTHER_IDENTITIES = re.sub(r'(?<=^identity = )".*"', lambda it: OTHERS.get(it[0], it[0]), GRANTS, flags=re.MULTILINE)

# What is wrong, what is changed in the cloud, the settings of the configuration, and which scenes must show it.
WRONG: list[tuple[str, Callable[[Cloud], object], dict[str, str], list[int]]] = [
    ("nothing", as_it_is, {}, []),
    ("role-opens-everything", opened, {}, []),
    ("password-opens-the-registry", opened, {"scope": "registry"}, [2]),
    ("role-is-gone", lambda cloud: cloud.remove_role("pull-team-a"), {}, [1, 2]),
    ("everybody-is-granted", as_it_is, {"grants": GRANTS + FOR_ALL}, [3]),
    ("any-role-is-allowed", as_it_is, {"grants": ANY_ROLE}, [7]),
    ("registry-fails", partial(faulty, "registry.manifest", "UNKNOWN"), {}, [1, 2, 11]),
    ("password-is-not-known", partial(faulty, "registry.manifest", "UNAUTHORIZED"), {}, [1, 2, 11]),
    ("blobs-are-garbage", partial(faulty, "registry.blob", "garbage"), {}, [1, 11]),
    ("blobs-are-cut", partial(faulty, "registry.blob", "truncate"), {}, [1, 11]),
    ("google-is-asked-twice", lambda cloud: cloud.fault("gsts", "UNAVAILABLE"), {}, [8]),
    ("pool-is-gone", lambda cloud: cloud.set_pool(deleted=True), {}, [8, 9]),
    ("clouds-give-nothing", poor, {}, [8, 9, 11, 12]),
    ("grants-give-something-else", as_it_is, {"grants": OTHER_IDENTITIES}, [8, 9, 11, 12]),
    ("artifacts-are-garbage", partial(faulty, "artifact.blob", "garbage"), {}, [8, 9, 12]),
]


# What concerns the pull is tried with either client, the rest with one.
CASES = [
    pytest.param(program, *row[1:], id=f"{row[0]}-{program}")
    for row in WRONG
    for program in (["http", "skopeo"] if {1, 2} & set(row[3]) else ["http"])
]


@pytest.mark.parametrize(("program", "spoil", "settings", "wrong"), CASES)
def test_what_is_wrong_is_noticed(
    *,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    program: str,
    spoil: Callable[[Cloud], object],
    settings: dict[str, str],
    wrong: list[int],
) -> None:
    """The exit status and the scenes concerned tell that policy, cloud or password are not as they should be."""
    if program == "skopeo" and shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed: apt-get install skopeo")
    if program == "http":
        monkeypatch.setenv("PATH", "/nowhere")

    def prepare(cloud: Cloud, directory: str) -> str:
        spoil(cloud)
        return configuration(cloud, directory, **settings)

    status = run(keep=False, as_json=True, prepare=prepare, story=FIRST)
    document = json.loads(capsys.readouterr().out)
    surprises = {row["scene"]: row["surprise"] for row in document["scenes"] if not row["asExpected"]}
    assert list(surprises) == wrong
    assert all(surprises.values())
    assert status == (1 if wrong else 0)
    assert document["asExpected"] == (not wrong)


LONG = '\n[approval]\nmax_age = "1h"\n'


def test_what_lasts_is_noticed_when_it_does_not(cloud: Cloud, tmp_path: Path) -> None:
    """With the times of every day nothing is renewed, forced or survived within seconds; and an edit that was there."""
    text = configuration(cloud, str(tmp_path), grants=GRANTS + LONG)
    lasting = tuple(scene for scene in SCENES if isinstance(scene, Rotated | Revalidated | Survived | Audited))
    assert lasting == SCENES[12:]
    document = perform(cloud, str(tmp_path), text, None, lasting)
    assert [row["scene"] for row in document["scenes"] if not row["asExpected"]] == [1, 2, 3]
    trail = next((tmp_path / "state" / "audit").glob("*.jsonl"))
    trail.write_bytes(trail.read_bytes().replace(b'"code":"credential-too-short"', b'"code":"credential-too-shy"'))
    with pytest.raises(UnexpectedError, match=r"`pullpass audit verify` left with 1, and not with 0"):
        SCENES[-1].play(Stage(cloud, str(tmp_path), text), Shared(Http(cloud)), Outcome())


OTHER_AUDIENCES = [
    ({"pull.ecr.prod-1": "https://kubernetes.default.svc"}, [1, 2, 3, 6, 7]),
    ({"pull.ecr.prod-1": "pull.gcr.prod-1", "pull.gcr.prod-1": "pull.ecr.prod-1"}, [1, 2, 3, 7, 8, 9, 10, 12]),
]


@pytest.mark.parametrize(("changed", "wrong"), OTHER_AUDIENCES, ids=["foreign", "swapped"])
def test_the_audience_is_what_refuses(cloud: Cloud, tmp_path: Path, changed: dict[str, str], wrong: list[int]) -> None:
    """With other audiences configured, the scenes that count on the right ones are not as expected."""
    config = re.sub(
        r'(?<=^audience = ")[^"]+',
        lambda found: changed.get(found[0], found[0]),
        configuration(cloud, str(tmp_path)),
        flags=re.MULTILINE,
    )
    document = perform(cloud, str(tmp_path), config, None, FIRST)
    assert [row["scene"] for row in document["scenes"] if not row["asExpected"]] == wrong


def test_surprises_are_told(cloud: Cloud, tmp_path: Path) -> None:
    """A scene that is not as expected says so, and why, and so does the end."""
    cloud.remove_role("pull-team-a")
    story = io.StringIO()
    perform(cloud, str(tmp_path), configuration(cloud, str(tmp_path)), Teller(story), FIRST)
    told = story.getvalue()
    assert "not as expected: no answer, but exit status 4 and 'pullpass: aws-sts-denied: " in told
    assert [row[-1] for row in table(told)] == ["no", "no", *["yes"] * 10]
    assert told.endswith("2 of 12 scenes not as expected\n")


def test_keep(tmp_path: Path) -> None:
    """`--keep` leaves the files, and the command that it prints explains the first scene's request."""
    done = subprocess.run(command("--keep"), env=environment(tmp_path), capture_output=True, text=True, check=True)
    (name,) = left_behind(tmp_path)
    directory = tmp_path / "tmp" / name
    assert f"kept in {directory};" in done.stdout
    line = done.stdout.splitlines()[-1]
    assert line == f"$ pullpass explain --config {directory}/config.toml < {directory}/request.json"
    assert {"bin", "cloud", "config.toml", "pulled", "request.json"} <= set(os.listdir(directory))
    pullpass = [sys.executable, "-m", "pullpass", "explain", "--config", str(directory / "config.toml"), "--json"]
    explained = subprocess.run(
        pullpass, input=(directory / "request.json").read_bytes(), capture_output=True, check=True
    )
    assert json.loads(explained.stdout)["verdict"] == "issue"


def test_json(tmp_path: Path) -> None:
    """`--json` prints one document and no story."""
    done = subprocess.run(command("--json"), env=environment(tmp_path), capture_output=True, text=True, check=True)
    document: dict[str, Any] = json.loads(done.stdout)
    assert document["asExpected"] is True
    assert document["kept"] is None
    assert [row["code"] for row in document["scenes"]] == [None if code == "-" else code for code in CODES]


@pytest.mark.parametrize(
    ("number", "options"), [(signal.SIGINT, []), (signal.SIGTERM, ["--keep"]), (signal.SIGHUP, ["--json"])]
)
def test_interrupted(tmp_path: Path, number: signal.Signals, options: list[str]) -> None:
    """A signal in the middle of a pull ends the demo and its client, and leaves no file."""
    mark = tmp_path / "pid"
    fake = tmp_path / "skopeo"
    fake.write_text(
        f'#!/bin/sh\n[ "$1" = --version ] && exit\necho $$ > {mark}.new\nmv {mark}.new {mark}\nexec sleep 60\n'
    )
    fake.chmod(0o755)
    variables = environment(tmp_path, f"{tmp_path}:{SYSTEM_PATH}")
    # What runs in the background of a shell without job control inherits that SIGINT is ignored; below nohup, SIGHUP.
    words = ["env", "--default-signal=INT,HUP", *command(*options)]
    demo = subprocess.Popen(words, env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not mark.exists():
        assert demo.poll() is None
        time.sleep(0.02)
    assert left_behind(tmp_path)
    demo.send_signal(number)
    _, errors = demo.communicate(timeout=30)
    assert (demo.returncode, errors) == (130, "scripts/demo: interrupted; nothing is left running\n")
    assert left_behind(tmp_path) == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(mark.read_text()), 0)


def test_reader_gone(tmp_path: Path) -> None:
    """When what reads the story goes away, the demo ends without a traceback and cleans up."""
    demo = subprocess.Popen(command(), env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert demo.stdout is not None
    assert demo.stderr is not None
    demo.stdout.close()
    errors = demo.stderr.read()
    demo.stderr.close()
    assert (demo.wait(timeout=60), errors) == (1, b"")
    assert left_behind(tmp_path) == []


@pytest.mark.parametrize("options", [[], ["--json"], ["--keep"]])
def test_output_full(tmp_path: Path, options: list[str]) -> None:
    """When the output can't be written, one line says so, and nothing is left."""
    with open("/dev/full", "w", encoding="ascii") as full:
        done = subprocess.run(
            command(*options), env=environment(tmp_path), stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert done.returncode == 1
    assert re.fullmatch(r"scripts/demo: [^\n]*No space left on device[^\n]*\n", done.stderr)
    assert left_behind(tmp_path) == []


def test_can_not_be_installed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """When `pullpass install` refuses, its own line is handed on, and nothing is left."""
    with pytest.raises(DemoError, match=r"`pullpass install` failed: pullpass: config-invalid: [^\n]+$"):
        run(keep=False, as_json=True, prepare=lambda _cloud, _directory: "version = 1\n")
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(("option", "status"), [("--help", 0), ("-h", 0), ("--verbose", 2), ("now", 2)])
def test_usage(option: str, status: int) -> None:
    """Help and a wrong option are answered before anything is made, also where there is no interpreter."""
    variables = {"PATH": SYSTEM_PATH, "PYTHON": "/nowhere/python"}
    done = subprocess.run(
        ["bash", str(ROOT / "scripts/demo"), option],
        env=variables,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status
    said = done.stdout if status == 0 else done.stderr
    assert "Usage: bash scripts/demo [--keep] [--json]" in said
    assert "Example: bash scripts/demo" in said
