"""Long lists for people: tables that need no room, and progress that is shown to nobody but a person."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from itertools import count

import pytest

from pullpass.commands import showing
from pullpass.config.checks import duration_ns

HEADINGS = ("NAME", "VALUE")

TELL = """\
from pullpass.commands import showing
tell = showing.progress("files read")
if tell:
    tell(1234)
"""


def lines(*rows: tuple[str, ...]) -> list[str]:
    """The table of these rows."""
    return "".join(showing.table(HEADINGS, rows, "nothing")).splitlines()


def test_columns_are_as_wide_as_they_must_be() -> None:
    """Sorted, parted by two blanks, without blanks at the end; an empty cell shows."""
    assert lines(("b", "two"), ("a-long-name", "")) == ["NAME         VALUE", "a-long-name  -", "b            two"]
    assert lines() == ["nothing"]
    assert "".join(showing.table(HEADINGS, iter(()), lambda: "none of them")) == "none of them\n"


def test_no_cell_writes_lines_of_its_own() -> None:
    """What comes from outside is escaped."""
    assert lines(("a\nb", "\x1b[31m")) == ["NAME  VALUE", "a\\nb  \\x1b[31m"]


@pytest.mark.parametrize("rows", [showing.SAMPLE_ROWS, showing.SAMPLE_ROWS + 1])
def test_only_what_is_held_is_sorted(rows: int) -> None:
    """More rows come as they are found."""
    table = lines(*((f"{number:06d}", "x") for number in reversed(range(rows))))
    assert len(table) == rows + 1
    assert (table[1:] == sorted(table[1:])) == (rows == showing.SAMPLE_ROWS)


def test_a_table_without_end_begins() -> None:
    """It is printed as it is found: rows that are never reached are never made. Later rows may be wider."""
    made = []

    def rows() -> count[int]:
        return count()

    def row(number: int) -> tuple[str, str]:
        made.append(number)
        return "n" * (1 + 9 * (number == 2000)), "v"

    table = showing.table(HEADINGS, map(row, rows()), "nothing")
    printed = [next(table) for _ in range(2002)]
    assert (printed[1], printed[2001]) == ("n     v\n", "nnnnnnnnnn  v\n")
    assert len(made) == 2001


def test_moments_are_told_to_the_second() -> None:
    """And one that never was is an empty cell."""
    assert showing.second(1_800_000_000.987) == "2027-01-15T08:00:00Z"
    assert showing.second(0.0) == showing.second(None) == ""


@pytest.mark.parametrize(
    ("length_s", "said"),
    [(0, "0s"), (90, "1m30s"), (14400, "4h"), (86400, "1d"), (93784.5, "1d2h3m4.5s"), (60.0, "1m"), (0.25, "0.25s")],
)
def test_durations_are_told_as_the_configuration_has_them(length_s: float, said: str) -> None:
    """And are read again as what they were."""
    assert showing.duration(length_s) == said
    assert duration_ns(said) == length_s * 10**9


@pytest.mark.parametrize(
    ("stdout_terminal", "stderr_terminal", "shown"), [(False, True, True), (True, True, False), (False, False, False)]
)
def test_progress_is_for_a_person_who_sees_nothing_else(
    stdout_terminal: bool, stderr_terminal: bool, shown: bool
) -> None:
    """On stderr when that is a terminal and the list itself goes elsewhere."""
    ours, theirs = pty.openpty()
    pipe_end, other_end = os.pipe()
    try:
        subprocess.run(
            [sys.executable, "-c", TELL],
            stdout=theirs if stdout_terminal else other_end,
            stderr=theirs if stderr_terminal else other_end,
            check=True,
        )
        os.write(theirs, b"end\n")
        assert (b"\r1,234 files read " in os.read(ours, 1000)) == shown
        os.close(other_end)
        other_end = -1
        assert os.read(pipe_end, 1000) == b""
    finally:
        for descriptor in (ours, theirs, pipe_end, other_end):
            if descriptor >= 0:
                os.close(descriptor)


def test_progress_needs_a_stderr() -> None:
    """Closed by who started us."""
    done = subprocess.run(["sh", "-c", f"exec {sys.executable} -c '{TELL}' 2>&-"], check=False, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"")
