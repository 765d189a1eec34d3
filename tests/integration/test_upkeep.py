"""The commands over the stores, each as a process, on a state that the launcher's own way has made."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from factories import HOST, IMAGE, make_request
from integration.launchers import write_config

if TYPE_CHECKING:
    from pathlib import Path

    from cloud import Cloud

OTHER = f"{HOST}/team-a/other"
ACCOUNTS = (("team-a", "web", IMAGE), ("team-a", "api", IMAGE), ("team-b", "web", OTHER))


class Node:
    """A node with three living approvals.

    Attributes:
        passwords: that were handed out.
        tokens: that were exchanged.
    """

    def __init__(self, directory: Path, cloud: Cloud) -> None:
        self.directory, self.cloud = directory, cloud
        self.config = write_config(directory, cloud)
        self.state, self.runtime = directory / "state", directory / "run"
        self.passwords: set[str] = set()
        self.tokens: set[str] = set()
        for namespace, account, image in ACCOUNTS:
            self.pull(namespace, account, image)

    def pull(self, namespace: str, account: str, image: str = IMAGE) -> None:
        """Ask for a credential as a kubelet does, and keep what must not be seen."""
        token = self.cloud.mint_token(namespace, account)
        done = self.run("get-credentials", stdin=make_request(token, image))
        assert (done.returncode, done.stderr.decode()) == (0, "")
        self.tokens.add(token)
        self.passwords |= {json.loads(done.stdout)["auth"][image]["password"]}

    def run(self, *words: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        """Run `pullpass WORDS --config F`."""
        return subprocess.run(
            [sys.executable, "-m", "pullpass", *words, "--config", str(self.config)],
            input=stdin,
            capture_output=True,
            check=False,
            cwd="/",
        )

    def text(self, *words: str) -> str:
        """What a command that succeeds prints for people; none of it may be a secret."""
        done = self.run(*words)
        assert (done.returncode, done.stderr) == (0, b"")
        shown = done.stdout.decode()
        assert not [secret for secret in self.secrets() if secret in shown]
        return shown

    def json(self, *words: str) -> Any:
        """What it prints as JSON."""
        return json.loads(self.text(*words, "--json"))

    def secrets(self) -> set[str]:
        """Passwords, as they are and as a registry gets them, tokens and their signatures."""
        found = self.passwords | self.tokens | {token.rpartition(".")[2] for token in self.tokens}
        return found | {base64.b64encode(f"AWS:{password}".encode()).decode() for password in self.passwords}

    def error(self, *words: str) -> tuple[int, str]:
        """Status and code of a command that fails."""
        done = self.run(*words)
        assert done.stderr.count(b"\n") == 1
        return done.returncode, done.stderr.decode().split(":")[1].strip()

    def lines(self, event: str) -> list[dict[str, Any]]:
        """The trail's lines of one event."""
        names = sorted((self.state / "audit").glob("*.jsonl"))
        every = [json.loads(line) for name in names for line in name.read_bytes().splitlines()]
        return [line for line in every if line["event"] == event]

    def end(self, path: Path, ago_s: float) -> None:
        """Let an approval have been over for so long."""
        document = json.loads(path.read_bytes())
        for name in ("expires", "sessionExpires", "registryExpires", "lastValidated"):
            document[name] = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() - ago_s))
        path.write_text(json.dumps(document))


@pytest.fixture(name="node")
def _node(tmp_path: Path, cloud: Cloud) -> Node:
    return Node(tmp_path, cloud)


def test_approvals_are_listed(node: Node) -> None:
    """As the stored documents, and as a table with the beginning of each key."""
    documents = node.json("approvals", "list")
    stored = {path.stem: json.loads(path.read_bytes()) for path in (node.state / "approvals").glob("*.json")}
    for document in documents:
        assert document.pop("status") == {"standing": "living", "stands": document["expires"]}
    assert [document["id"] for document in documents] == sorted(stored)
    assert {document["id"]: document for document in documents} == stored
    heading, *rows = node.text("approvals", "list").splitlines()
    assert heading.split() == [
        "KEY", "SERVICE", "ACCOUNT", "IDENTITY", "OPENS",
        "STANDING", "VALIDATED", "EXPIRES", "ROTATIONS", "REPOSITORIES",
    ]  # fmt: skip
    assert {row.split()[0] for row in rows} == {key[:12] for key in stored}
    assert rows == sorted(rows)
    assert all(row.split()[-2:] == ["0", "1"] for row in rows)


@pytest.mark.parametrize(
    ("words", "count"),
    [
        (["--service-account", "team-a/*"], 2),
        (["--service-account", "*/web", "--image", "*/team-a/app"], 1),
        (["--identity", "**/pull-team-b"], 1),
        (["--state", "approved", "--living"], 3),
        (["--expired"], 0),
        (["--state", "denied"], 0),
    ],
    ids=str,
)
def test_approvals_are_filtered(node: Node, words: list[str], count: int) -> None:
    """Filters are joined by and."""
    assert len(node.json("approvals", "list", *words)) == count
    if not count:
        assert node.text("approvals", "list", *words) == "no approvals match (3 in all)\n"


@pytest.mark.parametrize(
    "words",
    [
        ["approvals", "list", "--image", "app:v1"],
        ["approvals", "list", "--service-account", "team-a"],
        ["approvals", "list", "--identity", "a//b"],
        ["approvals", "list", "--living", "--expired"],
        ["approvals", "prune", "--older-than", "soon"],
        ["approvals", "show", "0123"],
    ],
    ids=" ".join,
)
def test_what_could_select_nothing_is_a_wrong_command_line(node: Node, words: list[str]) -> None:
    """It is said, and is not an empty list."""
    assert node.error(*words) == (2, "usage")


def test_one_approval_is_shown_by_the_beginning_of_its_key(node: Node) -> None:
    """With what a request would come to, and whether the cache has its credential."""
    key = node.json("approvals", "list", "--service-account", "team-b/web")[0]["id"]
    document = node.json("approvals", "show", key[:8])
    assert document == node.json("approvals", "show", key)
    assert document["approval"] == json.loads((node.state / "approvals" / f"{key}.json").read_bytes())
    assert (document["standing"], document["next"]) == ("living", "requests are served from the cache")
    assert document["cache"] == {
        "file": str(node.runtime / "cache" / key),
        "present": True,
        "decrypts": True,
        "problem": None,
    }
    assert [item["image"] for item in document["repositories"]] == [OTHER]
    text = node.text("approvals", "show", key[:8])
    for name, member in (("stands until", "stands"), ("renewed from", "renewedFrom"), ("used until", "usedUntil")):
        assert f"{name:<18} {document[member]}" in text
    assert f"repository         {OTHER}, by grant 'team images' since " in text
    assert "service account    team-b/web, uid " in text
    assert f"cache entry        {node.runtime}/cache/{key}: opens\n" in text
    assert node.error("approvals", "show", "f" * 64) == (2, "approval-unknown")


def test_one_that_is_not_renewed_ahead_is_told_so(node: Node) -> None:
    """With `max_age` below half of the session, and once it is over when that was; only what is true is there."""
    node.config.write_text(f"{node.config.read_text()}\n[approval]\nmax_age = '20m'\n")
    [path] = [p for p in (node.state / "approvals").glob("*.json") if b"team-b" in p.read_bytes()]
    text = node.text("approvals", "show", path.stem)
    document = node.json("approvals", "show", path.stem)
    assert f"\nstands until       {document['stands']}\n" in text
    assert "\nrenewed from       its end: not ahead, so the next request after it makes the exchange" in text
    assert f"\nused until         {document['usedUntil']}, should" in text
    node.end(path, 60)
    text = node.text("approvals", "show", path.stem)
    assert f"\nstood until        {node.json('approvals', 'show', path.stem)['stands']}\n" in text
    assert not [name for name in ("stands until", "renewed from", "used until") if f"\n{name}" in text]


def test_an_order_is_seen_at_once(node: Node) -> None:
    """Given by one command, told by the next."""
    key = node.json("approvals", "list", "--service-account", "team-b/web")[0]["id"]
    words = ("--service-account", "team-b/*", "--reason", "keys leaked", "--by", "alice")
    node.text("revalidate", *words, "--id", "again")
    assert node.json("approvals", "show", key)["standing"] == "voided by an order"
    node.text("block", *words, "--id", "stop")
    document = node.json("approvals", "show", key)
    assert document["standing"] == document["repositories"][0]["standing"] == "blocked by an order"
    assert [(order["id"], order["effect"]) for order in document["orders"]] == [("again", "voids"), ("stop", "refuses")]
    text = node.text("approvals", "show", key)
    assert "block              order stop by alice, keys leaked: requests that it selects are refused\n" in text
    assert "revalidate         order again by alice, keys leaked: voids it\n" in text
    assert not [name for name in ("stands until", "renewed from", "used until") if f"\n{name}" in text]
    assert len(node.json("approvals", "list", "--living")) == 2


def test_what_is_wrong_is_told_and_stops_nothing(node: Node) -> None:
    """A file that is no approval, a denied one, an order that can't be read: for people as well."""
    broken, denied, _ = sorted((node.state / "approvals").glob("*.json"))
    broken.write_text("{")
    document = json.loads(denied.read_bytes())
    moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    denied.write_text(json.dumps(document | {"state": "denied", "deniedAt": moment, "deniedCode": "aws-sts-denied"}))
    rows = {row.split()[0]: row for row in node.text("approvals", "list").splitlines()}
    assert "  unreadable: is not JSON at character 1" in rows[broken.stem[:12]]
    assert node.text("approvals", "list").splitlines()[-1] == (
        f"1 file can't be read and counts for nothing; why, and what to do: `pullpass approvals show {broken.stem}"
        f" --config {node.config}`"
    )
    assert node.text("approvals", "list", "--state", "denied").splitlines()[-1].startswith("1 file can't be read")
    text = node.text("approvals", "show", broken.stem)
    assert f"file               {broken}\n" in text
    assert "problem            it is not JSON at character 1" in text
    prune = f"`pullpass approvals prune --unreadable --config {node.config}`"
    assert f"remedy             `rm {broken}` removes it; {prune} removes all such" in text
    text = node.text("approvals", "show", denied.stem)
    assert ", aws-sts-denied\n" in text
    assert "used until" not in text
    assert len(node.json("approvals", "list", "--state", "denied")) == 1
    (node.state / "orders").mkdir(mode=0o700)
    (node.state / "orders" / "x.json").write_text("{")
    text = node.text("approvals", "list")
    assert text.count("stopped: an order is unreadable") == 2
    assert f"{node.state}/orders/x.json" in text.splitlines()[-1]
    assert f"`pullpass orders lift x --config {node.config}`" in text.splitlines()[-1]
    assert len(node.json("approvals", "list")) == 3


def test_explaining_a_living_approval_shows_no_secret(node: Node) -> None:
    """Neither what is in the cache nor the token."""
    token = node.cloud.mint_token("team-a", "web")
    node.tokens.add(token)
    for words in (["explain"], ["explain", "--json"]):
        done = node.run(*words, stdin=make_request(token, IMAGE))
        assert (done.returncode, done.stderr) == (0, b"")
        assert not [secret for secret in node.secrets() if secret in done.stdout.decode()]
    document = json.loads(done.stdout)
    assert (document["source"], document["approval"]["standing"], document["calls"]) == ("cache", "living", [])


def test_approvals_that_are_over_are_pruned_after_their_line(node: Node) -> None:
    """A dry run counts; the removal leaves a line, and nothing that could be served."""
    [path] = [p for p in (node.state / "approvals").glob("*.json") if b"team-b" in p.read_bytes()]
    node.end(path, 2 * 86400)
    assert node.json("approvals", "prune", "--dry-run")["removed"] == 1
    done = node.json("approvals", "prune", "--older-than", "3d")
    assert (done["removed"], done["olderThanSeconds"], done["raisedToSeconds"]) == (0, 3 * 86400, None)
    done = node.json("approvals", "prune", "--older-than", "90m", "--dry-run")
    assert (done["removed"], done["olderThanSeconds"], done["raisedToSeconds"]) == (1, 5400, 14400)
    assert node.text("approvals", "prune", "--older-than", "90m", "--dry-run").splitlines()[0] == (
        "approvals: 1h30m was raised to 4h, approval.outage: for so long they may count on while the cloud is out of "
        "reach; denials: 1h30m"
    )
    assert path.exists()
    assert node.text("approvals", "prune").startswith("1 approval removed\n")
    assert not path.exists()
    assert not (node.runtime / "cache" / path.stem).exists()
    [line] = node.lines("expired")
    assert (line["approval"], line["serviceAccount"]["namespace"], line["image"]) == (path.stem, "team-b", OTHER)
    assert node.run("audit", "verify").returncode == 0
    assert len(node.json("approvals", "list")) == 2
    node.pull("team-b", "web", OTHER)
    assert len(node.json("approvals", "list", "--living")) == 3


def test_the_cache_gets_another_key_and_goes_on(node: Node) -> None:
    """The same credentials are served afterwards, without another exchange."""
    before = (node.runtime / "cache.key").read_bytes()
    entries = {path.name: path.read_bytes() for path in (node.runtime / "cache").iterdir()}
    asked = node.cloud.count("sts")
    assert node.json("cache", "rotate-key") == {"kept": 3, "removed": 0, "foreign": 0}
    assert (node.runtime / "cache.key").read_bytes() != before
    assert {path.name for path in (node.runtime / "cache").iterdir()} == set(entries)
    assert all(path.read_bytes() != entries[path.name] for path in (node.runtime / "cache").iterdir())
    handed = set(node.passwords)
    for account in ACCOUNTS:
        node.pull(*account)
    assert node.passwords == handed
    assert node.cloud.count("sts") == asked
    assert node.text("cache", "rotate-key").startswith("the cache has a new key: 3 entries are kept under it, ")


def test_the_cache_is_listed_and_pruned(node: Node) -> None:
    """Whose each entry is, whether it opens, and only what no approval makes usable goes."""
    listed = node.json("cache", "list")
    assert [entry["id"] for entry in listed] == sorted(entry["id"] for entry in listed)
    assert [(entry["decrypts"], entry["problem"]) for entry in listed] == [(True, None)] * 3
    path = next((node.state / "approvals").glob("*.json"))
    path.unlink()
    gone = next(entry for entry in node.json("cache", "list") if entry["id"] == path.stem)
    assert (gone["decrypts"], gone["problem"], gone["serviceAccount"]) == (False, "has no approval", None)
    heading, *rows = node.text("cache", "list").splitlines()
    assert heading.split()[-3:] == ["DECRYPTS", "ENDS", "PROBLEM"]
    assert sorted(row.split()[0] for row in rows) == sorted(entry["id"][:12] for entry in listed)
    assert node.json("cache", "prune", "--dry-run")["removed"] == 1
    assert node.json("cache", "prune") == {"dryRun": False, "removed": 1, "kept": 2, "busy": 0, "foreign": 0}
    assert len(list((node.runtime / "cache").iterdir())) == 2
    assert node.text("cache", "prune") == "0 entries removed, 2 kept, 0 in use, 0 of another version or no entries\n"


def test_nothing_here_makes_a_state_that_there_was_not(tmp_path: Path, cloud: Cloud) -> None:
    """Looking at a node that has served nothing yet is not an error, and leaves no trace."""
    config = write_config(tmp_path, cloud)
    for words in (["approvals", "list"], ["cache", "list"], ["approvals", "prune", "--dry-run"], ["cache", "prune"]):
        done = subprocess.run(
            [sys.executable, "-m", "pullpass", *words, "--config", str(config)], capture_output=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, b"")
    assert os.listdir(tmp_path) == ["config.toml"]
