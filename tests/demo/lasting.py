"""The kinds of scenes about what lasts: a credential renewed, forced, blocked, and what is written down of it.

They need short times, so that nobody waits for an hour: `hasten` writes them into the node's configuration, which
holds from the next request on.
"""

from __future__ import annotations

import hashlib
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from cloud import ACCOUNT
from demo.scenes import UnexpectedError, calls, credential
from demo.stage import request

if TYPE_CHECKING:
    from demo.clients import Login
    from demo.scenes import Outcome, Shared
    from demo.stage import Reply, Stage

ASSUME = "sts.AssumeRoleWithWebIdentity"
EXCHANGE = (ASSUME, "ecr.GetAuthorizationToken")
ROLE = f"arn:aws:iam::{ACCOUNT}:role/pull-team-a"
MAX_AGE_S = 6
SESSION_S = 8
DENIED_FOR_S = 1
TIMES = f"""\
deadline = "4s"

[approval]
max_age = "{MAX_AGE_S}s"
margin = "1s"
min_life = "1s"
denied_for = "{DENIED_FOR_S}s"
"""
NOBODY = {"Version": "2012-10-17", "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "*"}]}
EXPIRATION = "Credentials.Expiration"


def hasten(stage: Stage) -> None:
    """Give the node's configuration short times."""
    text = Path(stage.config_file).read_text(encoding="utf-8")
    if "[approval]" not in text:
        stage.write("config.toml", text.replace("\n[paths]\n", f"{TIMES}\n[paths]\n").encode())


def ask(stage: Stage, image: str, outcome: Outcome, label: str) -> Reply:
    """Ask for an image as a pod of team-a/web, and show what came of it."""
    reply = stage.ask(request(image, stage.cloud.mint_token("team-a", "web")))
    sent = ", ".join(calls(reply)) or "nothing sent"
    said = reply.stderr.strip() or "a credential"
    outcome.see(label, f"exit {reply.status}, {sent}: {said}")
    return reply


def expect(reply: Reply, status: int, sent: tuple[str, ...] | None, code: str = "") -> None:
    """Hold a reply to what it should be.

    Args:
        reply: what the kubelet got.
        status: its exit status.
        sent: the calls that it should have cost; None where retries make their number vary.
        code: of the refusal.

    Raises:
        UnexpectedError: it is something else.
    """
    if reply.status != status:
        raise UnexpectedError(f"exit status {reply.status} and not {status}: {reply.stderr.strip()}")
    if code and not reply.stderr.startswith(f"pullpass: {code}: "):
        raise UnexpectedError(f"not refused with {code}: {reply.stderr.strip()}")
    if sent is not None and calls(reply) != sent:
        raise UnexpectedError(f"the cloud was asked for {', '.join(calls(reply))}, and not for {', '.join(sent)}")


def login(reply: Reply, image: str, outcome: Outcome, label: str) -> Login:
    """The credential in an answer; its fingerprint is shown."""
    found = credential(reply, image, "AWS")[1]
    outcome.see(label, f"password with sha256 {hashlib.sha256(found.password.encode()).hexdigest()[:12]}...")
    return found


def documents(stage: Stage, *words: str) -> list[dict[str, Any]]:
    """What a listing command prints with `--json`.

    Raises:
        UnexpectedError: it failed.
    """
    done = stage.pullpass(*words, "--json")
    if done.returncode:
        raise UnexpectedError(f"`pullpass {' '.join(words)}` failed: {done.stderr.decode().strip()}")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


def order(stage: Stage, outcome: Outcome, *words: str) -> str:
    """Give an order, and return its id.

    Raises:
        UnexpectedError: it was not taken.
    """
    outcome.see("$", f"pullpass {' '.join(words)}")
    before = {found["id"] for found in documents(stage, "orders", "list")}
    done = stage.pullpass(*words)
    if done.returncode:
        raise UnexpectedError(f"the order was not taken: {done.stderr.decode().strip()}")
    (new,) = {found["id"] for found in documents(stage, "orders", "list")} - before
    return str(new)


class Rotated(NamedTuple):
    """A credential is renewed before it ends.

    Attributes:
        title: of the scene.
        story: what happens.
        image: that is asked for twice.
    """

    title: str
    story: str
    image: str

    @property
    def expected(self) -> str:
        """For the table."""
        return "two passwords, one approval"

    def play(self, stage: Stage, shared: Shared, outcome: Outcome) -> None:
        """Ask, wait for more than half of the session's life, ask again, look at the approval."""
        hasten(stage)
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + SESSION_S))
        stage.cloud.fault(ASSUME, "set", fields={EXPIRATION: ends})
        reply = ask(stage, self.image, outcome, "first")
        expect(reply, 0, EXCHANGE)
        first = login(reply, self.image, outcome, "first")
        time.sleep(SESSION_S * 0.65)
        reply = ask(stage, self.image, outcome, "5 s later")
        expect(reply, 0, EXCHANGE)
        second = login(reply, self.image, outcome, "5 s later")
        (approval,) = documents(stage, "approvals", "list", "--image", self.image)
        outcome.see("approval", f"{approval['id'][:12]}..., rotations {approval['rotations']}")
        outcome.see("approved", f"first {approval['firstApproved']}, last validated {approval['lastValidated']}")
        outcome.summary = f"{approval['rotations']} rotation, one approval"
        if first == second:
            raise UnexpectedError("both passwords are the same")
        if approval["rotations"] != 1 or len(approval["previousHashes"]) != 1:
            raise UnexpectedError("the approval does not tell of one rotation")
        if not approval["firstApproved"] < approval["lastValidated"]:
            raise UnexpectedError("the approval has forgotten when it was first given")
        if second.password in json.dumps(approval):
            raise UnexpectedError("the password stands in the approval")
        shared.logins[self.image] = second


class Revalidated(NamedTuple):
    """A right is withdrawn, and an order makes that felt before the credential ends.

    Attributes:
        title: of the scene.
        story: what happens.
        image: that is asked for.
    """

    title: str
    story: str
    image: str

    @property
    def expected(self) -> str:
        """For the table."""
        return "refused by order, served when restored"

    def play(self, stage: Stage, _shared: Shared, outcome: Outcome) -> None:
        """Withdraw, order, ask; restore, ask; block, ask; lift, ask."""
        hasten(stage)
        expect(ask(stage, self.image, outcome, "before"), 0, None)
        role = stage.cloud.world.roles[ROLE]
        trust = role.trust
        stage.cloud.set_role(ROLE, trust=NOBODY)
        try:
            expect(ask(stage, self.image, outcome, "withdrawn"), 0, ())
            order(stage, outcome, "revalidate", "--image", self.image, "--reason", "role withdrawn")
            expect(ask(stage, self.image, outcome, "ordered"), 4, (ASSUME,), "aws-sts-denied")
        finally:
            role.trust = trust
        time.sleep(DENIED_FOR_S + 0.2)
        expect(ask(stage, self.image, outcome, "restored"), 0, EXCHANGE)
        blocked = order(stage, outcome, "block", "--service-account", "team-a/web", "--reason", "incident 7")
        expect(ask(stage, self.image, outcome, "blocked"), 3, (), "blocked-by-order")
        outcome.see("$", f"pullpass orders lift {blocked}")
        if stage.pullpass("orders", "lift", blocked).returncode:
            raise UnexpectedError("the block can't be lifted")
        expect(ask(stage, self.image, outcome, "lifted"), 0, ())
        outcome.code = "blocked-by-order"
        outcome.summary = "denied, served, blocked, served"


class Survived(NamedTuple):
    """The cloud is down, and a pod that had its image restarts.

    Attributes:
        title: of the scene.
        story: what happens.
        image: that was asked for before.
        other: that nobody ever had.
    """

    title: str
    story: str
    image: str
    other: str

    @property
    def expected(self) -> str:
        """For the table."""
        return "served through the outage"

    def play(self, stage: Stage, _shared: Shared, outcome: Outcome) -> None:
        """Let the approval grow too old, cut the cloud off, ask for both, and look at the trail."""
        hasten(stage)
        expect(ask(stage, self.image, outcome, "before"), 0, None)
        time.sleep(MAX_AGE_S + 0.2)
        stage.cloud.fault("*", "reset", None)
        try:
            expect(ask(stage, self.image, outcome, "cloud down"), 0, None)
            expect(ask(stage, self.other, outcome, "never had"), 5, None)
        finally:
            stage.cloud.clear()
        expect(ask(stage, self.image, outcome, "cloud back"), 0, EXCHANGE)
        events = [line["event"] for line in documents(stage, "audit", "show", "--image", self.image)]
        outcome.see("trail", f"{self.image.partition('/')[2]}: {', '.join(events)}")
        outcome.summary = "served, told apart in the trail"
        if events[-3:] != ["exchange-failed", "outage", "rotated"]:
            raise UnexpectedError(f"the trail tells of {', '.join(events)}")


class Audited(NamedTuple):
    """Somebody edits a line of the trail.

    Attributes:
        title: of the scene.
        story: what happens.
    """

    title: str
    story: str

    @property
    def expected(self) -> str:
        """For the table."""
        return "the edit is found"

    def play(self, stage: Stage, _shared: Shared, outcome: Outcome) -> None:
        """Verify, edit, verify, put it back, verify."""
        self._verify(stage, outcome, "as written", 0)
        path = next(iter(sorted((Path(stage.directory) / "state" / "audit").glob("*.jsonl"))))
        written = path.read_bytes()
        edited = written.replace(b'"event":"refused"', b'"event":"served"', 1)
        if edited == written:
            raise UnexpectedError("there is no refusal in the trail")
        path.write_bytes(edited)
        try:
            self._verify(stage, outcome, "edited", 1)
        finally:
            path.write_bytes(written)
        self._verify(stage, outcome, "put back", 0)
        outcome.summary = "found, exit 1"

    def _verify(self, stage: Stage, outcome: Outcome, label: str, status: int) -> None:
        done = stage.pullpass("audit", "verify")
        lines = (done.stdout + done.stderr).decode().splitlines() or [""]
        outcome.see(label, f"exit {done.returncode}: {lines[0]}")
        if done.returncode != status:
            raise UnexpectedError(f"`pullpass audit verify` left with {done.returncode}, and not with {status}")
