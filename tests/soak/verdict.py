"""What must be true after the storm; each check returns what it found, in words, and nothing when all is well."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from integration.crowd import trail
from integration.launchers import ask as ask_once
from pullpass import approvals
from pullpass.approvals import Approval
from pullpass.approvals.history import HASHES_KEPT
from pullpass.store import digest, moments

if TYPE_CHECKING:
    from collections.abc import Iterator

    from soak.meddling import Given
    from soak.stage import Ask, Stage
    from soak.storm import Run

GIVEN = ("issued", "served", "rotated", "outage")
# kind -> the codes that a process of it may leave with when it was not killed; "" is an answer.
BY_ORDER = {"blocked-by-order", "order-storm"}
# On a machine with hundreds of processes a run may have no time left; it says so, and answers nothing.
NO_TIME = {"deadline-exceeded", "cloud-unreachable"}
CODES = {
    "ecr": {"", *BY_ORDER, *NO_TIME},
    "google": {"", *BY_ORDER, *NO_TIME},
    "anonymous": {"", *BY_ORDER},
    "refused": {"no-grant"},
    "denied": {"aws-sts-denied", *BY_ORDER, *NO_TIME},
    "garbage": {"request-syntax"},
}
AFTERWARDS = {"ecr": 0, "google": 0, "anonymous": 0, "refused": 3, "denied": 4, "garbage": 2}
LONG_AGO_S = 7200  # whatever crashes have left is nobody's after an hour
FILES_MORE = 20  # that the cloud may have open after the storm: connections that are just closing
MEMORY_LIMIT_BYTES = 500 << 20


class Answers:
    """The credentials that processes answered with, as hashes, and what the trail has of them."""

    def __init__(self, runs: list[Run], lines: list[dict[str, Any]]) -> None:
        self.broken: list[Run] = []  # that wrote something which is no answer
        self.by_run: list[tuple[Run, str]] = []
        for run in runs:
            try:
                self.by_run += [(run, found) for found in hashes(run.stdout)]
            except ValueError:
                self.broken.append(run)
        self.lines: dict[str, dict[str, Any]] = {}  # the first one of each hash
        for line in lines:
            if line["event"] in GIVEN:
                self.lines.setdefault(line["credentialHash"], line)


def hashes(stdout: bytes) -> list[str]:
    """The hashes of the credentials in an answer.

    Raises:
        ValueError: it is a part of one.
    """
    auth = json.loads(stdout).get("auth") or {} if stdout else {}
    return [digest.credential_hash(entry["username"], entry["password"]) for entry in auth.values()]


def code_of(run: Run) -> str:
    """The code on stderr; "" when there is nothing, or only a part."""
    parts = run.stderr.decode(errors="replace").split(": ")
    return parts[1] if len(parts) > 1 else ""


def of_processes(runs: list[Run]) -> Iterator[str]:
    """Who was not killed has an answer, or one line with a reason that its kind may have."""
    for (label, code, status), count in Counter(
        (run.ask.label, code_of(run), run.status)
        for run in runs
        if not run.killed and (run.status is None or code_of(run) not in CODES[run.ask.kind])
    ).items():
        yield f"{count} x {label}: status {status}, code {code or 'none'}"
    for run in runs:
        if not run.killed and (run.status != 0) == (not run.stderr or bool(run.stdout)):
            yield f"{run.ask.label}: status {run.status}, {len(run.stdout)} bytes of stdout, stderr {run.stderr!r}"
        elif run.stderr.count(b"\n") > 1:
            yield f"{run.ask.label}: more than one line: {run.stderr!r}"


def of_answers(answers: Answers, stage: Stage, lines: list[dict[str, Any]]) -> Iterator[str]:
    """No credential left a process, killed or not, without its line and its approval."""
    for run in answers.broken:
        yield f"{run.ask.label}: wrote a part of an answer ({len(run.stdout)} bytes)"
    stored = {key: found for key, found in approvals.scan(str(stage.state)) if isinstance(found, Approval)}
    expired = {line["approval"] for line in lines if line["event"] == "expired"}
    for run, found in answers.by_run:
        line = answers.lines.get(found)
        if line is None:
            yield f"{run.ask.label}: answered with a credential that is not in the trail: {found}"
            continue
        approval = stored.get(line["approval"])
        known = approval and found in (approval.credential_hash, *approval.previous_hashes)
        forgotten = approval and approval.rotations > HASHES_KEPT
        if not known and not forgotten and line["approval"] not in expired:
            yield f"{run.ask.label}: answered with a credential that no approval knows: {found}"


def of_orders(answers: Answers, given: list[Given]) -> Iterator[str]:
    """What was blocked got nothing, and what was to be revalidated nothing older than the order."""
    for run, found in answers.by_run:
        line = answers.lines.get(found)
        for order in given:
            if not order.selects(run.ask) or run.began_s < order.from_s or run.ended_s > order.until_s:
                continue
            if order.action == "block":
                yield f"{run.ask.label}: answered although {order.order} blocks it"
            elif line is not None and moments.parse(line["time"]) < order.asked_s:
                yield f"{run.ask.label}: answered with a credential older than {order.order}"


def of_files(stage: Stage) -> Iterator[str]:
    """Every approval can be read; after pruning nothing is left of what was killed."""
    for key, found in approvals.scan(str(stage.state)):
        if not isinstance(found, Approval):
            yield f"approvals/{key}.json {found.what}"
    long_ago_s = time.time() - LONG_AGO_S
    places = [stage.state / "approvals", stage.runtime, stage.runtime / "cache", stage.runtime / "intents"]
    for place in places:
        for path in place.iterdir():
            if path.name.endswith(".tmp") or path.parent.name == "intents":
                os.utime(path, (long_ago_s, long_ago_s))
    process = stage.pullpass("approvals", "prune", "--json")
    stdout, stderr = process.communicate()
    if process.returncode:
        yield f"approvals prune left with {process.returncode}: {stdout.decode()}{stderr.decode()}"
    for place in places:
        yield from (f"{path} was left" for path in place.iterdir() if path.name.endswith(".tmp"))
    yield from (f"{path} was left" for path in (stage.runtime / "intents").iterdir())


def of_keys(stage: Stage) -> Iterator[str]:
    """A fresh request of each kind and account is answered, or refused, as if nothing had been."""
    asks: dict[str, Ask] = {ask.label: ask for ask in stage.asks}
    for label, ask in asks.items():
        done = ask_once(stage.launcher, ask.path.read_bytes())
        if done.returncode != AFTERWARDS[ask.kind]:
            yield f"{label}: afterwards status {done.returncode}: {done.stderr.decode().strip()}"


def of_cloud(before: tuple[int, int], after: tuple[int, int]) -> Iterator[str]:
    """The local cloud has let go of what killed processes held."""
    if after[1] > before[1] + FILES_MORE:
        yield f"the cloud had {before[1]} files open before, and {after[1]} afterwards"
    if after[0] > MEMORY_LIMIT_BYTES:
        yield f"the cloud has {after[0] >> 20} MiB in memory"


def verified(stage: Stage) -> tuple[dict[str, Any], list[str]]:
    """What `audit verify` says, and what it found."""
    process = stage.pullpass("audit", "verify", "--json")
    stdout, stderr = process.communicate()
    try:
        document: dict[str, Any] = json.loads(stdout)
    except ValueError:
        return {}, [f"audit verify left with {process.returncode}: {stderr.decode().strip()}"]
    return document, [f"audit verify: {stdout.decode()}"] if process.returncode else []


def findings(
    stage: Stage, runs: list[Run], given: list[Given], before: tuple[int, int]
) -> tuple[list[str], dict[str, Any]]:
    """Everything that is not as it must be; and what `audit verify` said."""
    lines = trail(stage.state)
    answers = Answers(runs, lines)
    found = [*of_processes(runs), *of_answers(answers, stage, lines), *of_orders(answers, given)]
    found += [*of_files(stage), *of_keys(stage)]
    found += of_cloud(before, stage.weight())
    document, faults = verified(stage)
    return found + faults, document
