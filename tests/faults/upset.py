"""Requests on a site that somebody has upset, and what shows that it is well again."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, NamedTuple

from faults import invariants
from faults.site import request
from faults.upstream import GIVES

if TYPE_CHECKING:
    from faults.site import Site

MARK = b"root:$y$mark-of-a-foreign-file"
STRANGER = 12345
TIMEOUT_S = 60


class Run(NamedTuple):
    """How a run ended, and what it told the trail."""

    status: int
    stdout: bytes
    code: str
    events: list[str]
    warnings: list[str]


def run(site: Site, raw: bytes | None = None, *, within: tuple[str, ...] = ()) -> Run:
    """One request in a process of its own; it may not hang, and says one line or nothing.

    Args:
        site: where.
        raw: the request.
        within: a command that runs it.
    """
    before = last_seq(site)
    done = subprocess.run(
        [*within, *site.command(GIVES)], input=raw or request(), capture_output=True, check=False, timeout=TIMEOUT_S
    )
    said = done.stderr.decode()
    assert said.count("\n") == (done.returncode != 0), said
    assert MARK not in done.stdout + done.stderr
    assert not any(secret.encode() in done.stderr for secret in invariants.SECRETS)
    mine = [line for line in invariants.lines(site) if line["seq"] > before] if _is_plain(site) else []
    return Run(
        done.returncode,
        done.stdout,
        said.split(": ")[1] if said else "",
        [line["event"] for line in mine],
        [line["code"] for line in mine if line["event"] == "warning"],
    )


def _is_plain(site: Site) -> bool:
    audit = site.state / "audit"
    return audit.is_dir() and all(path.is_file() and not path.is_symlink() for path in audit.glob("*.jsonl"))


def last_seq(site: Site) -> int:
    """The number of the last line of the trail; 0 where something else stands in its place."""
    return max([line["seq"] for line in invariants.lines(site)], default=0) if _is_plain(site) else 0


def works(site: Site, expected: frozenset[str] = frozenset()) -> None:
    """The next request is answered, the one behind it from the cache, and the trail is whole.

    Args:
        site: where.
        expected: what `audit verify` has to find all the same.
    """
    for _ in range(2):
        before, asked = last_seq(site), site.upstream.asked
        answer = site.serve(request())
        assert answer.status == 0, answer.stderr
        assert invariants.of_answer(site, answer.stdout, before) == []
    assert site.upstream.asked == asked
    assert invariants.of_files(site, leftovers=False, half_line=False) + invariants.of_trail(site, expected) == []
