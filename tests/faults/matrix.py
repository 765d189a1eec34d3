"""Every step of a scenario's request by every fault: each field is one run of a process, and what came of it."""

from __future__ import annotations

import queue
import signal
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from faults import invariants, tracer
from faults.tracer import KILL, SHORT, SHORT_KILL, Fault, Step
from faults.upstream import GIVES

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from faults.scenarios import Scenario
    from faults.site import Site
    from faults.tracer import Run

ERRORS = ("ENOSPC", "EIO", "EROFS", "EINTR")
COLUMNS = (KILL, *ERRORS, SHORT, SHORT_KILL)
# The calls after which Python goes on by itself when a signal has come (PEP 475). The kernel interrupts no others.
RETRIED = frozenset(
    {"openat", "read", "write", "pread64", "pwrite64", "fsync", "fdatasync", "flock", "ftruncate", "fchmod"}
)
READING = frozenset(tracer.READING.split(","))
WORKERS = 2
LATER_S = 5.0


class Field(NamedTuple):
    """One run.

    Attributes:
        fault: what was done.
        outcome: `answered`, `killed`, or status and code.
        wrong: which invariants did not hold.
    """

    fault: Fault
    outcome: str
    wrong: tuple[str, ...]


class Matrix(NamedTuple):
    """A scenario under all faults.

    Attributes:
        scenario: its name.
        when_full: the configuration's.
        steps: of the request, in order.
        fields: of the matrix.
    """

    scenario: str
    when_full: str
    steps: tuple[Step, ...]
    fields: tuple[Field, ...]

    @property
    def wrong(self) -> list[str]:
        """What did not hold, and where."""
        return [
            f"{self.scenario}: {field.fault.name} at {field.fault.step.label} ({field.outcome}): {wrong}"
            for field in self.fields
            for wrong in field.wrong
        ]


def make(
    scenario: Scenario, root: Path, when_full: str = "refuse", columns: Iterable[str] = COLUMNS, about: str = ""
) -> Matrix:
    """Run a scenario's request under every fault.

    Args:
        scenario: the request.
        root: where sites are made.
        when_full: `audit.when_full`.
        columns: the faults.
        about: what the steps that fail must be about, as a beginning of their paths.
    """
    sites: queue.Queue[Site] = queue.Queue()
    steps: tuple[Step, ...] = ()
    wrong: list[str] = []
    for number in range(WORKERS):
        site = scenario.site(root / f"site-{number}", when_full)
        found, faults = _clean(scenario, site)
        # Without the lengths: an intent holds a process id.
        assert not steps or [step[:3] for step in found] == [step[:3] for step in steps], "the steps differ"
        steps, wrong = found, wrong + faults
        sites.put(site)
    clean = Field(Fault("none", steps[0]), "answered", tuple(wrong))

    def one(fault: Fault) -> Field:
        site = sites.get()
        try:
            return _field(scenario, site, fault)
        finally:
            sites.put(site)

    with ThreadPoolExecutor(WORKERS) as pool:
        fields = tuple(pool.map(one, _faults(steps, site, tuple(columns), about)))
    return Matrix(scenario.name, when_full, steps, (clean, *fields))


def _clean(scenario: Scenario, site: Site) -> tuple[tuple[Step, ...], list[str]]:
    """The steps of a run without a fault, which ends as it should and leaves nothing to be put right."""
    site.settle(scenario.raw)
    before = _last_seq(site)
    done = tracer.run(site.command(scenario.mood), scenario.raw, site.root, reads=True)
    events = [line["event"] for line in invariants.lines(site) if line["seq"] > before]
    assert (done.status, bool(done.stdout)) == (scenario.status, scenario.status == 0), done.stderr
    assert scenario.event in events, events
    wrong = invariants.of_answer(site, done.stdout, before)
    wrong += invariants.of_stderr(scenario, done.status, done.stderr, silenced=False)
    wrong += invariants.of_files(site, leftovers=False, half_line=False) + invariants.of_trail(site)
    return tuple(done.steps), wrong


def _faults(steps: tuple[Step, ...], site: Site, columns: tuple[str, ...], about: str) -> list[Fault]:
    """Every fault of every step: of one that only looks, the one error that it may have."""
    faults = []
    longest = 0
    site.restore()
    for step in steps:
        reads = step.call in READING
        faults += [Fault(name, step) for name in columns if name == "EIO" or (name in (KILL, *ERRORS) and not reads)]
        if step.call != "write" or step.what in ("stdout", "stderr"):
            continue  # what is written in place, an intent and the head, is shorter than anything written before
        start = _start(site, step)
        limit = start + step.length_bytes // 2
        if limit > longest:  # otherwise an earlier write would meet it
            faults += [Fault(name, step, limit) for name in (SHORT, SHORT_KILL) if name in columns]
        longest = max(longest, start + step.length_bytes)
    return [fault for fault in faults if fault.step.what.startswith(about)]


def _start(site: Site, step: Step) -> int:
    """Where in its file a write begins."""
    path = site.root / step.what
    return path.stat().st_size if path.suffix == ".jsonl" and path.exists() else 0


def _field(scenario: Scenario, site: Site, fault: Fault) -> Field:
    """One run with a fault, and two without, which must find their way."""
    site.restore()
    site.clock.at_s, site.upstream.asked = scenario.now_s, 0
    before = _last_seq(site)
    reads = fault.step.call in READING
    done = tracer.run(site.command(scenario.mood), scenario.raw, site.root, fault, reads=reads)
    killed = done.status == -signal.SIGKILL
    spared = site.load().audit.when_full == "issue" and fault.step.what.startswith("state/audit")
    # The trail looks at the state directory as well, and so does what must be there.
    unsaid = spared or (site.load().audit.when_full == "issue" and fault.step.what.split()[0] == "state")
    wrong = invariants.of_answer(site, done.stdout, before, audited=not unsaid)
    if not killed:
        silenced = fault.step.what == "stderr" and fault.name != "EINTR"
        put_off = "intent-unwritable" in [line.get("code") for line in invariants.lines(site) if line["seq"] > before]
        wrong += invariants.of_stderr(scenario, done.status, done.stderr, silenced=silenced, put_off=put_off)
        if spared and scenario.status == 0 and done.status != 0:
            wrong.append(f"no answer, because the trail could not be written: {done.stderr!r}")
    if fault.name == "EINTR" and _is_repeated(fault.step) and done.status != scenario.status:
        wrong.append(f"an interrupted call was not repeated: {done.stderr!r}")
    stuck = fault.step.call == "unlink" and ".tmp" in fault.step.what
    half = scenario.untidy or (fault.name == SHORT_KILL and ".jsonl" in fault.step.what)
    wrong += invariants.of_files(site, leftovers=killed or stuck or scenario.untidy, half_line=half)
    if scenario.untidy and any(not path.stat().st_size for path in site.runtime.glob("intents/*")):
        wrong.append("an intent that was left over is forgotten")
    wrong += _go_on(scenario, site)
    return Field(fault, _outcome(done), tuple(wrong))


def _is_repeated(step: Step) -> bool:
    """Whether Python makes an interrupted call again. It does not for `opendir`, which the C library makes."""
    return step.call in RETRIED and not step.what.endswith("O_RDONLY|O_NONBLOCK|O_DIRECTORY")


def _go_on(scenario: Scenario, site: Site) -> list[str]:
    """The next request works, and so does the one behind it, which asks no cloud for what there is."""
    wrong = []
    left = any(path.stat().st_size for path in site.runtime.glob("intents/*"))
    for _ in range(2):
        site.clock.at_s += LATER_S
        before, asked = _last_seq(site), site.upstream.asked
        answer = site.serve(scenario.raw)
        if answer.status != scenario.status:
            wrong.append(f"the next request: {answer.stderr!r}")
        wrong += invariants.of_answer(site, answer.stdout, before)
        wrong += invariants.of_stderr(scenario, answer.status, answer.stderr, silenced=False)
        if left and site.upstream.asked > asked:
            left = False
            wrong += invariants.of_files(site, leftovers=False, half_line=False)
            if "recovered" not in [line["event"] for line in invariants.lines(site) if line["seq"] > before]:
                wrong.append("an intent was left over, and nobody has said so")
    if site.upstream.asked > asked and scenario.mood == GIVES:
        wrong.append("the cloud was asked again")
    wrong += invariants.of_files(site, leftovers=True, half_line=False) + invariants.of_trail(site)
    return wrong


def _last_seq(site: Site) -> int:
    return max([line["seq"] for line in invariants.lines(site)], default=0)


def _outcome(done: Run) -> str:
    if done.status == -signal.SIGKILL:
        return "killed"
    if done.status == 0:
        return "answered"
    words = done.stderr.decode().split(": ")
    return f"{done.status} {words[1]}" if len(words) > 1 else f"{done.status}"


def table(matrix: Matrix) -> str:
    """The matrix for people: a line for each step, a column for each fault."""
    columns = [name for name in COLUMNS if any(field.fault.name == name for field in matrix.fields)]
    rows = [[f"{matrix.scenario}, when_full = {matrix.when_full}", *columns]]
    for step in matrix.steps:
        found = {field.fault.name: field for field in matrix.fields if field.fault.step == step}
        if not found.keys() - {"none"}:
            continue
        cells = [found.get(name) for name in columns]
        rows.append([step.label, *(("!! " if cell.wrong else "") + cell.outcome if cell else "-" for cell in cells)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
