"""What must hold whatever has failed: in the answer, on the disk, and between the two.

Each check returns what is wrong, in words; nothing is the good outcome.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from faults import tracer
from faults.site import TOKEN
from faults.upstream import SECRET_MARK, UNREACHABLE
from pullpass import approvals
from pullpass.approvals import codec
from pullpass.cache import disk
from pullpass.errors import CODES, LOCAL_STATE
from pullpass.store import digest
from pullpass.store.strict import DocumentError
from pullpass.trail import head, verify
from pullpass.trail.chain import FINDING
from pullpass.trail.lines import NO_HASH

if TYPE_CHECKING:
    from pathlib import Path

    from faults.scenarios import Scenario
    from faults.site import Site

HANDED_OUT = frozenset({"issued", "served", "rotated", "outage"})
SECRETS = (SECRET_MARK, *TOKEN.split("."))
OUT_OF_REACH = 5
END_BYTES = 1 << 20


def of_answer(site: Site, stdout: bytes, first_seq: int, *, audited: bool = True) -> list[str]:
    """No credential without an approval on disk, and none without its line.

    Args:
        site: as the run has left it.
        stdout: its answer.
        first_seq: the lines behind it are the run's.
        audited: whether there must be a line.
    """
    if not stdout:
        return []
    handed = next(iter(json.loads(stdout)["auth"].values()), None)
    mine = [line for line in lines(site) if line["seq"] > first_seq]
    if handed is None:
        said = any(line["event"] == "anonymous" for line in mine)
        return [] if said or not audited else ["an answer without a line"]
    hashed = digest.credential_hash(handed["username"], handed["password"])
    wrong = []
    if not any(_covers(site, approval, hashed) for approval in stored(site)):
        wrong.append("a credential without an approval")
    if audited and not any(line["event"] in HANDED_OUT and line["credentialHash"] == hashed for line in mine):
        wrong.append("a credential without a line")
    return wrong


def _covers(site: Site, approval: approvals.Approval, hashed: str) -> bool:
    if approval.credential_hash != hashed or approval.state != approvals.APPROVED:
        return False
    outage_s = site.load().approval.outage_s if site.upstream.mood == UNREACHABLE else 0.0
    now_s = site.clock.at_s
    return approval.last_validated_s <= now_s < min(approval.expires_s + outage_s, approval.registry_expires_s)


def of_stderr(scenario: Scenario, status: int, stderr: bytes, *, silenced: bool, put_off: bool = False) -> list[str]:
    """One line with a documented code of that status, without a secret, whenever there is no answer.

    Args:
        scenario: the request.
        status: how it ended; not by a signal.
        stderr: what it said.
        silenced: its line could not be written.
        put_off: it could not begin a renewal that was due, and has handed out what still lives; no cloud was asked.
    """
    wrong = [f"a secret on stderr: {stderr!r}" for secret in SECRETS if secret.encode() in stderr]
    usual = {scenario.status, LOCAL_STATE} | ({OUT_OF_REACH} if scenario.mood == UNREACHABLE else set())
    if status not in usual | ({0} if put_off and scenario.event == "denied" else set()):
        wrong.append(f"status {status}: {stderr!r}")
    if status == 0 or silenced:
        return wrong + ([f"stderr {stderr!r}"] if stderr else [])
    name, code = stderr.decode().split(": ")[:2]
    if stderr.count(b"\n") != 1 or not stderr.endswith(b"\n") or name != "pullpass" or code not in CODES:
        return [*wrong, f"no line: {stderr!r}"]
    if code == "internal" or CODES[code][0] != status:
        wrong.append(f"{code} with status {status}: {stderr!r}")
    return wrong


def of_files(site: Site, *, leftovers: bool, half_line: bool) -> list[str]:
    """No file is half written, and nothing has been forgotten.

    Args:
        site: as the run has left it.
        leftovers: whether temporary files may be there.
        half_line: whether the trail may end in the midst of a line.
    """
    wrong = []
    for path in sorted(path for top in (site.state, site.runtime) for path in top.rglob("*") if path.is_file()):
        where = str(path.relative_to(site.root))
        raw = path.read_bytes()
        if path.suffix == ".tmp":
            wrong += [] if leftovers else [f"left over: {tracer.plain(where)}"]
        elif path.stat().st_mode & 0o077:
            wrong.append(f"open to others: {where}")
        elif any(secret.encode() in raw for secret in SECRETS):
            wrong.append(f"a secret in {where}")
        elif fault := _fault_of(path, raw, half_line=half_line):
            wrong.append(f"{where}: {fault}")
    return wrong


def _fault_of(path: Path, raw: bytes, *, half_line: bool) -> str:
    """What is wrong with a file's content; "" when it is whole."""
    kind = path.name if path.name in ("head", disk.KEY_NAME) else path.parent.name
    if kind == "audit":
        whole = half_line or not raw or raw.endswith(b"\n")
    elif kind == "head":
        whole = not raw or head.parse(raw) is not None
    elif kind == "cache":
        whole = raw.startswith(disk.HEADER) and len(raw) > len(disk.HEADER) + 28  # nonce and tag
    elif kind == disk.KEY_NAME:
        whole = len(raw) == disk.KEY_BYTES
    elif kind == "intents":  # an empty one was locked and not used; a longer one may have stood in its place
        whole = not raw or _object(raw.partition(b"\n")[0]) is not None
    elif kind == "approvals":
        try:
            codec.parse(raw)
        except DocumentError as error:
            return error.what
        return ""
    else:
        whole = _object(raw) is not None
    return "" if whole else "is not whole"


def of_trail(site: Site, expected: frozenset[str] = frozenset()) -> list[str]:
    """Every line goes on from the one before, what does not is named by a later one, and the head ends with the last.

    It is another reader than the program's own, on purpose: the two must agree.

    Args:
        site: whose trail.
        expected: codes of what the program's own reader has to find.
    """
    wrong = []
    whole = list(_raw_lines(site))
    named = {line.get("sha256") for line in lines(site) if line.get("code") in ("half-line", "trail-cut")}
    # Files go one by one behind the line that says so: a killed one leaves some of them, and a hole behind those.
    gone = max([line["through"]["seq"] for line in lines(site) if line["event"] == "pruned"], default=0)
    seq, last = 0, NO_HASH
    for raw in whole:
        found = _object(raw)
        if found and seq < found["seq"] - 1 <= gone:
            seq, last = found["seq"] - 1, found["prev"]
        if found and (found["seq"], found["prev"]) == (seq + 1, last):
            seq, last = seq + 1, hashlib.sha256(raw).hexdigest()
        elif hashlib.sha256(raw).hexdigest() not in named:
            wrong.append(f"line {seq + 1} does not go on: {raw[:80]!r}")
    end = head.parse((site.state / "audit" / "head").read_bytes())
    newest = max((site.state / "audit").glob("*.jsonl"))
    if end is None or (end.seq, end.hash, end.file, end.offset) != (seq, last, newest.name, newest.stat().st_size):
        wrong.append(f"the head says {end}, and the trail ends with line {seq}")
    report = verify.verify(str(site.state / "audit"), site.clock, [], lambda done, total: None)
    findings = [item for item in report.findings if item.severity == FINDING]
    wrong += [f"verify: {item.code}: {item.text}" for item in findings if item.code not in expected]
    return wrong + [f"verify has not found: {code}" for code in expected - {item.code for item in findings}]


def stored(site: Site) -> list[approvals.Approval]:
    """The approvals on disk."""
    return [found for _, found in approvals.scan(str(site.state)) if isinstance(found, approvals.Approval)]


def lines(site: Site) -> list[dict[str, Any]]:
    """The lines of the trail that are lines."""
    return [found for raw in _raw_lines(site) if (found := _object(raw))]


def _raw_lines(site: Site) -> list[bytes]:
    paths = sorted((site.state / "audit").glob("*.jsonl"))
    return [raw for path in paths for raw in _end_of(path).split(b"\n") if raw]


def _end_of(path: Path) -> bytes:
    """The content, unless somebody has blown the file up: then what has been written behind that."""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - END_BYTES))
        return stream.read(END_BYTES)


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(raw)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None
