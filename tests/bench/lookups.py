"""The process that `bench.approvals` measures: readers look approvals up, writers store them.

`python -P -m bench.lookups JSON` with the fields of `Work` prints one `Taken` as JSON. It forks its readers and
writers, so that a library which was preloaded into it slows all of them down.
"""

from __future__ import annotations

import gc
import json
import os
import random
import sys
import tempfile
import time
from array import array
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from factories import make_config
from pullpass import approvals
from pullpass.approvals import APPROVED, Approval, Repository, history
from pullpass.approvals.memory import Approvals
from pullpass.clock import SystemClock
from pullpass.exchange import Credential
from pullpass.lean import sha256
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

TIMES = make_config().approval
IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app"
# A reader asks for some of the approvals: for all of them, fifty processes that were forked from one which holds
# 100,000 in memory would end up with as many copies.
KEYS_EACH = 2000
PASSWORD_CHARS = 2400  # as ECR's


class Work(NamedTuple):
    """What is to be done.

    Attributes:
        place: the directory of approvals.
        approvals: how many there are; `store` has made them.
        tier: `disk` or `memory`.
        readers: how many processes look up.
        seconds: for how long.
        think_ms: the shortest and the longest pause of a reader between two look-ups; 0 and 0 for none.
        writers: how many processes store.
        saves_per_s: of all of them together; 0: as many as the disk takes.
    """

    place: str
    approvals: int
    tier: str
    readers: int
    seconds: float
    think_ms: tuple[float, float]
    writers: int
    saves_per_s: float


class Taken(NamedTuple):
    """What was measured; times in microseconds.

    Attributes:
        lookups: how many there were.
        failed: how many did not find the living approval of the credential.
        per_s: how many each second.
        p50_us, p99_us, p999_us, most_us: of the time of one.
        cpu_us: processor time of one, on average; it includes about a third of a microsecond of measuring.
        saves: how many approvals were stored meanwhile.
    """

    lookups: int
    failed: int
    per_s: float
    p50_us: float
    p99_us: float
    p999_us: float
    most_us: float
    cpu_us: float
    saves: int


def key_of(number: int) -> str:
    """The key of one approval."""
    return str(sha256(b"%d" % number).hexdigest())


def credential_of(number: int, ends_s: float) -> Credential:
    """The credential of one approval; its password is as long as ECR's."""
    password = (f"{number:08d}" * (PASSWORD_CHARS // 8))[:PASSWORD_CHARS]
    return Credential("AWS", Secret(password), ends_s, ends_s, "arn:aws:sts::111122223333:assumed-role/r/s", "A", ())


def approval_of(number: int, now_s: float) -> Approval:
    """A living approval, with a history of eight rotations."""
    return Approval(
        key=key_of(number),
        state=APPROVED,
        cluster="prod-1",
        issuer="https://oidc.example.test/c1",
        namespace="team-a",
        service_account=f"web-{number}",
        uid="c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33",
        identity="arn:aws:iam::111122223333:role/pull-team-a",
        opens="ecr:aws:111122223333:us-west-2:team-a/app",
        credential_hash=history.credential_hash(credential_of(number, 0.0)),
        registry_expires_s=now_s + 43200,
        session_expires_s=now_s + 3600,
        first_approved_s=now_s - 86400,
        last_validated_s=now_s - 60,
        expires_s=now_s + 3540,
        validated_under=("incident-7", "incident-9"),
        rotations=8,
        previous_hashes=tuple(key_of(-1 - past) for past in range(8)),
        repositories={IMAGE: Repository(now_s - 86400, "team images")},
        token_hash=key_of(-20),
        jti="5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10",
        pod=f"web-{number}-7c9d",
        token_expires_s=now_s + 3600,
        principal="arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1_team-a_web",
        access_key_id="ASIAXXXXXXXXXXXXXXXX",
        request_ids=("c6104cbe-af31-11e0-8154-cbc7ccf896c7", "d7215dcf-b042-22f1-9265-dcd8dd0907d8"),
    )


def store(place: str, count: int) -> None:
    """Make the approvals, with names and times as of now."""
    now_s = time.time()
    for number in range(count):
        approvals.save(place, approval_of(number, now_s), sync=False)


def main() -> None:
    """Do the work in the first argument."""
    members = json.loads(sys.argv[1])
    work = Work(**{**members, "think_ms": tuple(members["think_ms"])})
    look = looking(work)
    gc.collect()
    gc.freeze()  # the children share what is there, as long as the collector does not touch it
    with tempfile.TemporaryDirectory(prefix="pullpass-lookups-") as report:
        begins_s = time.monotonic() + 1.0  # until then, all of them are there
        children = [fork(read, work, look, f"{report}/reader.{number}", begins_s) for number in range(work.readers)]
        children += [fork(write, work, None, f"{report}/writer.{number}", begins_s) for number in range(work.writers)]
        for child in children:
            _, status = os.waitpid(child, 0)
            if status:
                raise SystemExit("a process of the measurement failed")
        taken = summed(work, Path(report))
    sys.stdout.write(json.dumps(taken._asdict()) + "\n")


def looking(work: Work) -> Callable[[int, Credential, str], bool]:
    """The look-up: the approval found, judged, and its hash compared with that of the credential at hand."""
    clock, place = SystemClock(), work.place

    def from_disk(number: int, credential: Credential, _: str) -> bool:
        found = approvals.find(place, keys[number])
        if found is None or approvals.judge(found, clock.now_s(), (), TIMES) != approvals.LIVING:
            return False
        return history.credential_hash(credential) == found.credential_hash

    memory = Approvals(place, clock, limit=work.approvals)

    def from_memory(number: int, _: Credential, credential_hash: str) -> bool:
        found = memory.get(keys[number])
        if found is None or approvals.judge(found, clock.now_s(), (), TIMES) != approvals.LIVING:
            return False
        return credential_hash == found.credential_hash

    keys = [key_of(number) for number in range(work.approvals)]
    if work.tier == "disk":
        return from_disk
    for key in keys:  # a resident process has seen them all
        memory.get(key)
    return from_memory


def fork(
    what: Callable[[Work, Callable[[int, Credential, str], bool] | None, str, float], None],
    work: Work,
    look: Callable[[int, Credential, str], bool] | None,
    report: str,
    begins_s: float,
) -> int:
    """Run something in a child, and return its id."""
    child = os.fork()
    if not child:
        status = 1
        try:
            what(work, look, report, begins_s)
            status = 0
        finally:
            os._exit(status)
    return child


def read(work: Work, look: Callable[[int, Credential, str], bool] | None, report: str, begins_s: float) -> None:
    """Look up over and over, and write down how long each took."""
    assert look is not None
    chance = random.Random(report)
    numbers = chance.sample(range(work.approvals), min(KEYS_EACH, work.approvals))
    credentials = [credential_of(number, begins_s) for number in numbers]
    hashes = [history.credential_hash(credential) for credential in credentials]
    taken, failed, cpu_ns = array("Q"), 0, 0
    shortest_s, longest_s = (pause_ms / 1000 for pause_ms in work.think_ms)
    wall, cpu = time.perf_counter_ns, time.thread_time_ns
    time.sleep(max(0.0, begins_s - time.monotonic()))
    while time.monotonic() < begins_s + work.seconds:
        if longest_s:
            time.sleep(chance.uniform(shortest_s, longest_s))
        place = int(chance.random() * len(numbers))
        number, credential, credential_hash = numbers[place], credentials[place], hashes[place]
        cpu_began_ns = cpu()
        began_ns = wall()
        is_good = look(number, credential, credential_hash)
        ended_ns = wall()
        cpu_ns += cpu() - cpu_began_ns
        taken.append(ended_ns - began_ns)
        failed += not is_good
    Path(report).write_bytes(array("Q", [failed, cpu_ns]).tobytes() + taken.tobytes())


def write(work: Work, _: Callable[[int, Credential, str], bool] | None, report: str, begins_s: float) -> None:
    """Store approvals over and over, each synced."""
    chance = random.Random(report)
    pause_s = work.writers / work.saves_per_s if work.saves_per_s else 0.0
    saves = 0
    time.sleep(max(0.0, begins_s - time.monotonic()))
    while time.monotonic() < begins_s + work.seconds:
        if pause_s:
            time.sleep(min(chance.expovariate(1 / pause_s), work.seconds))
        approvals.save(work.place, approval_of(chance.randrange(work.approvals), time.time()))
        saves += 1
    Path(report).write_bytes(array("Q", [saves]).tobytes())


def summed(work: Work, report: Path) -> Taken:
    """What all of them have written down."""
    times, failed, cpu_ns, saves = array("Q"), 0, 0, 0
    for path in sorted(report.iterdir()):
        numbers = array("Q", path.read_bytes())
        if path.name.startswith("writer"):
            saves += numbers[0]
        else:
            failed, cpu_ns = failed + numbers[0], cpu_ns + numbers[1]
            times += numbers[2:]
    ordered = sorted(times)

    def share(part: float) -> float:
        return ordered[min(len(ordered) - 1, int(len(ordered) * part))] / 1000

    return Taken(
        lookups=len(ordered),
        failed=failed,
        per_s=len(ordered) / work.seconds,
        p50_us=share(0.5),
        p99_us=share(0.99),
        p999_us=share(0.999),
        most_us=ordered[-1] / 1000,
        cpu_us=cpu_ns / len(ordered) / 1000,
        saves=saves,
    )


if __name__ == "__main__":
    main()
