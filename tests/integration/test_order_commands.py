"""Orders from the command line to the kubelet's next request, each command and each request a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft202012Validator

import pullpass
from factories import HOST, IMAGE, make_approval, make_request
from integration.launchers import write_config
from ordering import make_document, make_list, plant
from pullpass import approvals
from pullpass.clock import SystemClock

if TYPE_CHECKING:
    from cloud import Cloud

SCHEMAS = Path(pullpass.__file__).parent / "schemas"
WHY = ("--reason", "because")
OTHER = f"{HOST}/team-a/other"


class Node:
    """A node with a configuration, and nothing yet."""

    def __init__(self, directory: Path, cloud: Cloud) -> None:
        self.cloud = cloud
        self.config = write_config(directory, cloud)
        self.state = directory / "state"

    def run(self, *words: str, stdin: bytes = b"", sudo_user: str = "") -> subprocess.CompletedProcess[bytes]:
        """Run `pullpass WORDS --config F` in a bare environment."""
        return subprocess.run(
            [sys.executable, "-m", "pullpass", *words, "--config", str(self.config)],
            input=stdin,
            capture_output=True,
            env={"PATH": os.defpath} | ({"SUDO_USER": sudo_user} if sudo_user else {}),
            check=False,
            cwd="/",
        )

    def text(self, *words: str, sudo_user: str = "") -> str:
        """What a command that succeeds prints for people."""
        done = self.run(*words, sudo_user=sudo_user)
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    def json(self, *words: str) -> Any:
        """What a command that succeeds prints for programs."""
        return json.loads(self.text(*words, "--json"))

    def fails(self, *words: str) -> tuple[int, str, str]:
        """Status, code and line of a command that prints nothing."""
        done = self.run(*words)
        line = done.stderr.decode()
        assert (done.stdout, line.count("\n")) == (b"", 1)
        return done.returncode, line.split(": ")[1], line

    def pull(self, image: str = IMAGE, account: str = "web") -> tuple[int, str]:
        """Ask for a credential as a kubelet does: status, and the code of a refusal."""
        done = self.run("get-credentials", stdin=make_request(self.cloud.mint_token("team-a", account), image))
        return done.returncode, done.stderr.decode().split(": ")[1] if done.stderr else ""

    def trail(self) -> list[dict[str, Any]]:
        """The lines of the audit trail that are about orders, each of which has the form of the schema."""
        schema = Draft202012Validator(json.loads((SCHEMAS / "trail-line.json").read_text()))
        lines = [
            json.loads(line)
            for path in sorted((self.state / "audit").glob("*.jsonl"))
            for line in path.read_text().splitlines()
        ]
        for line in lines:
            schema.validate(line)
        return [line for line in lines if line["event"] in {"order", "warning"}]

    def exchanges(self) -> int:
        """How often the cloud was asked for a session."""
        return self.cloud.count("sts.AssumeRoleWithWebIdentity")


@pytest.fixture
def node(tmp_path: Path, cloud: Cloud) -> Node:
    """A node of its own."""
    return Node(tmp_path, cloud)


# --- what an order does


def test_a_block_refuses_until_it_is_lifted(node: Node) -> None:
    """The kubelet reads who says so and why; the credential that was there is served again afterwards."""
    assert node.pull() == (0, "")
    shown = node.text("block", "--image", "*/team-a/**", "--reason", "CVE-1", "--id", "incident-1", "--by", "alice")
    assert "order incident-1 is in force\n" in shown
    assert "It hits 1 stored approval\n" in shown
    assert node.pull() == (3, "blocked-by-order")
    assert node.pull(OTHER) == (3, "blocked-by-order")
    done = node.run("get-credentials", stdin=make_request(node.cloud.mint_token("team-a", "web")))
    assert b"order incident-1 by alice blocks service account team-a/web, image" in done.stderr
    assert b": CVE-1; " in done.stderr
    assert node.text("orders", "lift", "incident-1") == "lifted incident-1\n"
    assert node.pull() == (0, "")
    assert node.exchanges() == 1


def test_a_revalidation_costs_one_exchange(node: Node) -> None:
    """For each that it selects: the next request makes it, and what was made under it is not hit again."""
    assert node.pull() == node.pull(OTHER) == (0, "")
    before = node.exchanges()
    words = ("revalidate", "--image", "*/team-a/app", *WHY, "--id", "r-1")
    assert [hit["images"] for hit in node.json(*words)["approvals"]] == [[IMAGE]]
    for _ in range(2):
        assert node.pull() == node.pull(OTHER) == (0, "")
    assert node.exchanges() == before + 1
    again = node.json(*words)
    assert (again["created"], again["approvals"]) == (False, [])
    assert "order r-1 is in force already, unchanged\n" in node.text(*words)


def test_a_scheduled_order_waits(node: Node) -> None:
    """And bites `recheck` after it begins."""
    shown = node.json("block", "--all", *WHY, "--not-before", "2999-01-01T00:00:00Z")
    assert shown["bitesBy"] == "2999-01-01T00:10:00.000000Z"
    assert node.pull() == (0, "")
    (listed,) = node.json("orders", "list")
    assert listed["status"]["state"] == "scheduled"
    assert "scheduled 2999-01-01T00:00:00Z" in node.text("orders", "list")


def test_a_request_without_a_token_can_be_blocked(node: Node) -> None:
    """Before anything is asked of the node's own identity; by everything but a service account."""
    grant = f'\n[[grant]]\nnode = true\nimages = ["{HOST}/team-a/**"]\nidentity = "anonymous"\n'
    node.config.write_text(node.config.read_text() + grant)
    node.text("block", "--service-account", "*/*", *WHY)
    assert node.run("get-credentials", stdin=make_request()).returncode == 0
    node.text("block", "--identity", "anonymous", *WHY)
    assert b"blocks a request without a token" in node.run("get-credentials", stdin=make_request()).stderr


# --- what giving one shows


def test_the_document_is_whole(node: Node) -> None:
    """The order as it is stored, what it hits, by when, and what stays open."""
    assert node.pull() == (0, "")
    shown = node.json(
        "block",
        "--service-account",
        "team-a/*",
        "--identity",
        "**/pull-team-a",
        *WHY,
        "--expires",
        "2999-01-01T00:00:00Z",
    )
    (path,) = (node.state / "orders").glob("*.json")
    assert shown["order"] == json.loads(path.read_text())
    Draft202012Validator(json.loads((SCHEMAS / "order.json").read_text())).validate(shown["order"])
    (hit,), (image,) = shown["approvals"], shown["images"]
    (stored,) = node.json("approvals", "list")
    assert (hit["id"], hit["registryExpires"]) == (stored["id"], stored["registryExpires"])
    assert image == {"image": IMAGE, "approvals": 1, "passwordsEnd": stored["registryExpires"]}
    assert [what for what in shown["staysOpen"] if "preloaded" in what]
    assert shown["endsTooSoon"] is False


def test_long_tables_are_cut(node: Node) -> None:
    """The document is not; and what is no approval is counted."""
    place = approvals.directory(str(node.state))
    now_s = SystemClock().now_s()
    for number in range(45):
        image = f"{HOST}/team-a/app-{number:02d}"
        approval = make_approval(key=f"{number:064x}", registry_expires_s=now_s + 3600)
        approvals.save(place, approval._replace(repositories={image: approval.repositories[IMAGE]}), sync=False)
    (node.state / "approvals" / f"{'f' * 64}.json").write_bytes(b"{")
    words = ("block", "--all", *WHY, "--id", "b-1")
    shown = node.text(*words)
    assert "... and 25 more approvals (--json has all)\n" in shown
    assert "... and 25 more images (--json has all)\n" in shown
    assert "It hits 45 stored approvals\n1 file in the store can't be read" in shown
    assert shown.count("team-a/web") == 20
    document = node.json(*words)
    assert len(document["approvals"]) == len(document["images"]) == 45


def test_an_order_that_hits_nothing_is_said(node: Node) -> None:
    """What it selects may be mistyped, validated already, or over; each is told by its name."""
    assert node.pull() == (0, "")
    nothing = "It matches no approval that is stored now, of 1. It selects "
    for option, glob, told in (
        ("--image", "*/team-b/**", "image */team-b/**"),
        ("--service-account", "team-b/*", "service account team-b/*"),
        ("--identity", "principal", "identity principal"),
    ):
        assert f"{nothing}{told}:\n" in node.text("revalidate", option, glob, *WHY)
    assert node.text("revalidate", "--all", *WHY, "--id", "r-1").count("It hits 1 stored approval\n") == 1
    assert node.pull() == (0, "")
    again = "It hits no approval that is stored now; 1 it selects, validated under it already\n"
    assert again in node.text("revalidate", "--all", *WHY, "--id", "r-1")
    place = approvals.directory(str(node.state))
    for path in Path(place).iterdir():
        path.unlink()
    approvals.save(place, make_approval(registry_expires_s=1.0), sync=False)
    over = "It hits no approval that is stored now; 1 more it selects, whose password has ended already\n"
    assert over in node.text("block", "--all", *WHY)


def test_an_order_that_ends_too_soon_is_said(node: Node) -> None:
    """What the kubelet holds may outlive it."""
    node.config.write_text(node.config.read_text() + '\n[approval]\nrecheck = "300d"\nmax_age = "365d"\n')
    year = SystemClock().now_s() + 86400
    expires = subprocess.run(
        ["date", "-u", "-d", f"@{year:.0f}", "+%FT%TZ"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert "It ends before that" in node.text("block", "--all", *WHY, "--expires", expires)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--reason", "x"), "nothing is selected"),
        (("--all",), "--reason"),
        (("--all", "--image", "*/x", *WHY), "--all stands beside another selector"),
        (("--image", "", *WHY), "nothing is selected"),
        (("--image", "*/x", "--identity", "", *WHY), "a selector is empty"),
        (("--image", "team-a/app", *WHY), '--image is "team-a/app": it begins with no registry host'),
        (("--image", "[", *WHY), 'the wildcards * and **, without tag and digest: "["'),
        (("--image", "app", *WHY), "it has no path after the host"),
        (("--image", "r.test/app:1.0", *WHY), "other characters"),
        (("--service-account", "web", *WHY), '--service-account is "web": it is not NAMESPACE/NAME'),
        (("--identity", "a b", *WHY), "other characters"),
        (("--identity", "pull-team-a", *WHY), "expected a role ARN, the e-mail address of a service account, "),
        (("--identity", "refuse", *WHY), "it is no identity of a request"),
        (("--identity", "arn:aws:iam::111122223333:role/pull-{namespace}", *WHY), "it is no identity of a request"),
        (("--identity", "arn:aws:iam::1111:role/x", *WHY), '--identity is "arn:aws:iam::1111:role/x": '),
        (("--all", *WHY, "--id", "A"), '--id is "A"'),
        (("--all", *WHY, "--id", ""), '--id is ""'),
        (("--all", *WHY, "--id", "remote"), "--id is"),
        (("--all", "--reason", ""), '--reason is "", expected 1 to'),
        (("--all", *WHY, "--by", "x" * 257), "--by is"),
        (("--all", *WHY, "--by", ""), '--by is "", expected 1 to 256 characters'),
        (("--all", *WHY, "--by", "\udcff"), "--by is"),
        (("--all", *WHY, "--expires", "tomorrow"), "--expires is tomorrow, expected a moment"),
        (("--all", *WHY, "--expires", "2026-01-01T00:00:00Z"), "is over already"),
        (("--all", *WHY, "--not-before", "2026-11-24"), "--not-before is 2026-11-24"),
        (("--all", *WHY, "--not-before", "2999-01-02T00:00:00Z", "--expires", "2999-01-01T00:00:00Z"), "after --not-"),
        (("--all", "--reason", "\udcff"), "--reason is not UTF-8"),
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_order_is_not_given(words: tuple[str, ...], why: str, node: Node) -> None:
    """One line, and nothing on disk."""
    status, code, line = node.fails("block", *words)
    assert (status, code) == (2, "usage")
    assert why in line
    assert "see `pullpass block --help`" in line
    assert not node.state.exists()


def test_who_says_so_is_known(node: Node) -> None:
    """The option, else the user before sudo, else the user."""
    node.text("block", "--all", *WHY, "--id", "a", "--by", "alice", sudo_user="bob")
    node.text("block", "--all", *WHY, "--id", "b", sudo_user="bob")
    node.text("block", "--all", *WHY, "--id", "c")
    node.text("orders", "lift", "c", "--by", "carol")
    user = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    assert [order["by"] for order in node.json("orders", "list")] == ["alice", "bob"]
    assert [(line["by"], line["order"]["by"]) for line in node.trail()] == [
        ("alice", "alice"), ("bob", "bob"), (user, user), ("carol", user),
    ]  # fmt: skip


def test_an_id_is_one_order(node: Node) -> None:
    """Again is once; otherwise is refused, also after it was lifted."""
    node.text("block", "--all", *WHY, "--id", "x")
    assert node.fails("block", "--all", "--reason", "other", "--id", "x")[:2] == (2, "order-conflict")
    node.text("orders", "lift", "x")
    assert node.fails("block", "--all", *WHY, "--id", "x")[:2] == (2, "order-conflict")
    assert [line["done"] for line in node.trail()] == ["created", "lifted"]


# --- list and lift


def test_no_orders_are_said(node: Node) -> None:
    """Nothing is made by looking."""
    assert node.text("orders", "list") == "no orders\n"
    assert node.json("orders", "list") == []
    assert not node.state.exists()


def test_a_broken_order_stops_requests_until_it_is_lifted(node: Node) -> None:
    """The list shows it, and its name is enough."""
    assert node.pull() == (0, "")
    plant(node.state, "typo.json", b'{"kind":')
    assert node.pull() == (6, "order-unreadable")
    shown = node.text("orders", "list")
    assert "typo  " in shown
    assert "stops every request" in shown
    assert f"remove this file by `pullpass orders lift typo --config {node.config}`\n" in shown
    (listed,) = node.json("orders", "list")
    assert listed["status"]["state"] == "unreadable"
    assert "typo.json: is not JSON" in listed["status"]["problem"]
    assert "`pullpass orders lift typo`" in listed["status"]["hint"]
    assert node.json("orders", "lift", "typo.json") == {"lifted": ["typo"], "files": ["typo.json"]}
    assert node.pull() == (0, "")


def test_all_or_nothing_is_lifted(node: Node) -> None:
    """An unknown id and a remote one, with where to look."""
    plant(node.state, "a.json", make_document("a"))
    plant(node.state, "remote.json", make_list(make_document("far")))
    assert node.fails("orders", "lift", "a", "b")[:2] == (2, "order-unknown")
    status, code, line = node.fails("orders", "lift", "a", "far")
    assert (status, code) == (2, "order-remote")
    assert "lift it where it comes from" in line
    assert [order["id"] for order in node.json("orders", "list")] == ["a", "far"]
    assert node.fails("orders", "lift")[:2] == (2, "usage")


# --- sync


def test_a_set_is_synced(node: Node, tmp_path: Path) -> None:
    """What came, what went, what stayed; a wrong set is an alarm and changes nothing."""
    source = tmp_path / "orders"
    source.mkdir(mode=0o755)
    path = source / "set.json"
    path.write_text(json.dumps(make_list(make_document("a"), make_document("b"))))
    words = ("orders", "sync", "--from", str(source))
    assert node.text(*words) == "added a\nadded b\n0 orders unchanged\n"
    assert node.json(*words) == {"added": [], "changed": [], "removed": [], "kept": ["a", "b"]}
    path.write_text(json.dumps(make_list(make_document("b", reason="new"), make_document("c"))))
    assert node.text(*words) == "added c\nchanged b\nremoved a\n0 orders unchanged\n"
    path.write_text("[")
    status, code, line = node.fails(*words)
    assert (status, code) == (6, "order-set")
    assert "the last good set stays in force" in line
    assert [(order["id"], order["status"]["remote"]) for order in node.json("orders", "list")] == [
        ("b", True),
        ("c", True),
    ]
    assert [line.get("done", line.get("code")) for line in node.trail()] == [
        "synced", "synced", "synced", "synced", "lifted", "order-set",
    ]  # fmt: skip
    assert node.fails("orders", "sync")[:2] == (2, "usage")


def test_without_a_trail_there_is_no_order(node: Node) -> None:
    """A change that nobody would find is not made."""
    (node.state / "audit").mkdir(parents=True, mode=0o700)
    (node.state / "audit").chmod(0o777)
    assert node.fails("block", "--all", *WHY)[:2] == (6, "trail-unwritable")
    assert node.json("orders", "list") == []
    (node.state / "audit").chmod(0o700)
    node.text("block", "--all", *WHY, "--id", "x")
    assert [line.get("code", line.get("done")) for line in node.trail()] == ["order-unfinished", "created"]


def test_a_state_directory_that_can_not_be_read_is_said(node: Node) -> None:
    """By the code of what is wrong."""
    node.state.mkdir(mode=0o700)
    (node.state / "orders").symlink_to("/")
    assert node.fails("block", "--all", *WHY)[:2] == (6, "state-path")
    assert node.fails("orders", "list")[:2] == (6, "order-unreadable")
    (node.state / "orders").unlink()
    (node.state / "approvals").symlink_to("/")
    done = node.run("block", "--all", *WHY, "--id", "x")
    assert done.returncode == 6
    assert done.stdout.startswith(b"order x is in force\n")
    assert done.stderr.startswith(b"pullpass: state-path: ")
