"""What docs/approvals.md shows is what the program writes and takes."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

import pullpass
from contract import pages
from factories import make_approval, make_config, make_paths
from pullpass import approvals
from pullpass.approvals import codec, history
from pullpass.cache import disk
from pullpass.cli import build_parser
from pullpass.errors import CODES
from pullpass.upkeep import listing, pruning

PAGE = "approvals.md"
SCHEMA = Path(pullpass.__file__).parent / "schemas" / "approval.json"


def rows(heading: str) -> list[list[str]]:
    """The names in the first column of the table whose heading begins like this."""
    lines = iter(pages.text(PAGE).splitlines())
    next(line for line in lines if line.startswith(f"| {heading} |"))
    next(lines)
    found = []
    for line in lines:
        if not line.startswith("|"):
            break
        found.append(re.findall(r"`([^`]+)`", line.split("|")[1]))
    return found


def test_the_example_is_an_approval() -> None:
    """It is read as it stands there, and written again with the same members in the same order."""
    (block,) = pages.blocks(PAGE, "json")
    document = json.loads(block.text)
    approval = codec.parse(block.text.encode())
    assert codec.document(approval) == document
    assert list(codec.document(approval)) == list(document)
    assert approval.expires_s == min(approval.life_ends_s, approval.last_validated_s + 3600)


def test_every_member_is_explained_and_no_other() -> None:
    """Those that are always there in their order, then those of a denial and of an outage."""
    explained = [name for names in rows("member") for name in names]
    denied = make_approval(state="denied", denied_at_s=1.0, denied_code="x", unreachable_at_s=1.0)
    assert explained == list(codec.document(denied))
    assert set(explained) == set(json.loads(SCHEMA.read_text())["properties"])


def test_every_standing_is_explained_and_no_other() -> None:
    """What the list may say."""
    judged = {approvals.LIVING, approvals.EXPIRED, approvals.AHEAD, approvals.VOIDED, approvals.REMEMBERED}
    added = {listing.UNREADABLE, listing.BLOCKED, listing.STOPPED, listing.LAPSED}
    assert {name for names in rows("STANDING") for name in names} == judged | added


def commands() -> list[str]:
    """Every call of the program on the page."""
    lines = [line for block in pages.blocks(PAGE, "bash") for line in block.text.splitlines()]
    units = [line.partition("=")[2] for block in pages.blocks(PAGE, "ini") for line in block.text.splitlines()]
    return lines + [line for line in units if line.startswith("/")]


@pytest.mark.parametrize("line", commands())
def test_the_commands_are_taken(line: str) -> None:
    """With their options."""
    program, *words = shlex.split(line)
    assert program.rpartition("/")[2] == "pullpass"
    assert build_parser(words[0]).parse_args(words).command == words[0]


def test_the_numbers_and_names_are_the_programs(tmp_path: Path) -> None:
    """Files, limits, defaults and the errors that are named."""
    text = pages.text(PAGE)
    for name in (disk.KEY_NAME, disk.PREVIOUS_NAME):
        assert f"`RUNTIME/{name}`" in text
    assert f"lists {history.REPOSITORIES_KEPT} at most" in text
    assert history.HASHES_KEPT == 8
    assert pruning.Wish().older_than_s == 24 * 3600
    times = make_config(paths=make_paths(tmp_path)).approval
    assert (times.max_age_s, times.outage_s, times.denied_for_s) == (3600, 4 * 3600, 30)
    assert {code for code in CODES if f"`{code}`" in text} == {"rotation-unfinished"}
