"""`pullpass audit` as a person meets it: every command a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from trails import Trail, digest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def trail(tmp_path: Path) -> Trail:
    """Two days of a trail."""
    made = Trail(tmp_path / "state")
    made.days(2, each=3)
    return made


def run(trail: Trail, word: str, *words: str) -> tuple[int, str, str]:
    """Status, stdout and stderr of `pullpass audit WORD`."""
    command = [sys.executable, "-m", "pullpass", "audit", word, "--trail", str(trail.directory), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    return done.returncode, done.stdout, done.stderr


def test_show(trail: Trail) -> None:
    """A table for people, the stored documents as one array for programs."""
    status, table, complaint = run(trail, "show", "--limit", "2", "--outcome", "refused")
    assert (status, complaint, table.splitlines()[-1]) == (0, "", "2 lines")
    status, array, _ = run(trail, "show", "--json")
    assert (status, json.loads(array)) == (0, trail.lines())
    assert json.loads(run(trail, "show", "--json", "--until", "2000-01-01T00:00:00Z")[1]) == []


def test_verify(trail: Trail) -> None:
    """Status 1 when something is found; the head that is printed is what --expect takes."""
    status, printed, _ = run(trail, "verify", "--json")
    head = json.loads(printed)["head"]
    assert (status, head) == (0, {"seq": 6, "hash": digest(trail.raw()[-1])})
    noted = f"{head['seq']}:{head['hash']}"
    trail.append()
    assert run(trail, "verify", "--expect", noted)[0] == 0
    trail.edit(trail.files[0], lambda kept: kept.pop(1))
    status, text, complaint = run(trail, "verify")
    assert (status, complaint) == (1, "")
    assert text.startswith(f"finding: {trail.files[0].name}:2: removed: line 2 is missing")
    assert json.loads(run(trail, "verify", "--json")[1])["findings"] == 1


def test_export(trail: Trail, tmp_path: Path) -> None:
    """What was written is said, and what was left out."""
    output = tmp_path / "out.jsonl"
    trail.edit(trail.files[0], lambda kept: kept.append(b"x\n"))
    status, printed, _ = run(trail, "export", "--format", "jsonl", "--output", str(output), "--json")
    assert status == 0
    assert json.loads(printed) == {"output": str(output), "format": "jsonl", "lines": 6, "unreadable": 1}
    assert len(output.read_bytes().splitlines()) == 6
    printed = run(trail, "export", "--format", "csv", "--output", str(output))[1]
    assert printed.splitlines()[0] == f"wrote 6 lines to {output}"
    assert printed.splitlines()[1].startswith(f"left out 1 unreadable line, at {trail.files[0].name}:")


def test_a_missing_extra_is_told_before_anything_is_read(trail: Trail, tmp_path: Path) -> None:
    """Parquet needs what not everybody has."""
    blocked = "import sys; sys.modules['pyarrow'] = None; from pullpass.__main__ import main; sys.exit(main())"
    words = [
        "audit",
        "export",
        "--format",
        "parquet",
        "--output",
        str(tmp_path / "out"),
        "--trail",
        str(trail.directory),
    ]
    done = subprocess.run([sys.executable, "-c", blocked, *words], capture_output=True, check=False)
    assert (done.returncode, done.stderr.split(b":")[1]) == (2, b" extra-missing")
    assert b"pip install 'pullpass[parquet]'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "words",
    [("show", "--limit", "0"), ("show", "--since", "soon"), ("show", "--event", "x"), ("verify", "--expect", "1")],
)
def test_wrong_options(trail: Trail, words: tuple[str, ...]) -> None:
    """One line, status 2."""
    status, printed, complaint = run(trail, *words)
    assert (status, printed, complaint.count("\n")) == (2, "", 1)
    assert complaint.startswith("pullpass: usage: ")


@pytest.mark.parametrize("number", ["0", "-3", "ten", "1.5", "1_000", "\u0663", "1" * 19, ""])
def test_a_limit_that_is_no_count(trail: Trail, number: str) -> None:
    """It is said which option has it, what was given, and what is expected."""
    status, _, complaint = run(trail, "show", f"--limit={number}")
    assert status == 2
    assert f"--limit: {number or 'nothing'} is no count, expected a whole number from 1; see " in complaint


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    """A wrong --trail is no empty trail."""
    assert run(Trail(tmp_path / "absent"), "verify")[0] == 2


def test_a_trail_that_can_not_be_read(trail: Trail) -> None:
    """Status 6, with the place."""
    trail.head.unlink()
    os.symlink("head", trail.head)
    status, _, complaint = run(trail, "verify")
    assert (status, complaint.split(": ")[1]) == (6, "trail-unreadable")


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--image", "["), '--image: "[": it has other characters'),
        (("--service-account", "team-a"), '--service-account: "team-a": it is not NAMESPACE/NAME'),
        (("--since", "1h", "--until", "2h"), "--since: 1h is not before --until, 2h"),
    ],
)
@pytest.mark.parametrize("word", ["show", "export"])
def test_a_filter_that_nothing_passes(
    trail: Trail, tmp_path: Path, word: str, words: tuple[str, ...], told: str
) -> None:
    """It would look like a trail without such lines."""
    output = tmp_path / "out"
    more = ("--format", "jsonl", "--output", str(output)) if word == "export" else ()
    status, printed, complaint = run(trail, word, *more, *words)
    assert (status, printed, output.exists()) == (2, "", False)
    assert complaint.startswith(f"pullpass: usage: {told}")
    assert complaint.endswith(f"see `pullpass audit {word} --help`\n")


def test_a_directory_that_is_no_trail(tmp_path: Path) -> None:
    """It would look like a node on which nothing was done."""
    other = Trail(tmp_path / "other")
    other.directory.mkdir(parents=True, exist_ok=True)
    status, printed, complaint = run(other, "show")
    assert (status, printed) == (2, "")
    assert complaint.startswith(f"pullpass: usage: --trail: {other.directory} is no audit trail")


def test_export_to_standard_output(trail: Trail) -> None:
    """The lines there, what is said about them on standard error; no file is named "-"."""
    status, printed, said = run(trail, "export", "--format", "jsonl", "--output", "-")
    assert (status, said) == (0, "wrote 6 lines to standard output\n")
    assert [json.loads(line) for line in printed.splitlines()] == trail.lines()
    status, printed, _ = run(trail, "export", "--format", "csv", "--output", "-")
    assert (status, len(printed.splitlines())) == (0, 7)
    for more in (("--format", "parquet"), ("--format", "csv", "--json")):
        status, printed, said = run(trail, "export", "--output", "-", *more)
        assert (status, printed) == (2, "")
        assert said.startswith("pullpass: usage: --output: - is standard output")


def test_export_into_a_directory_that_is_absent(trail: Trail, tmp_path: Path) -> None:
    """It is said which file can't be written, and why."""
    output = tmp_path / "absent" / "out"
    status, _, said = run(trail, "export", "--format", "csv", "--output", str(output))
    assert status == 6
    assert said.startswith(f"pullpass: export-failed: {output} can't be written: No such file or directory")
