"""The error codes: the page lists what the program has, and nothing is raised or listed that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from pullpass import errors

ROOT = Path(__file__).parents[2]
ROW = re.compile(r"^\| `(?P<code>[a-z-]+)` \| (?P<upstream>[a-z]*) \| (?P<meaning>[^|]+) \| (?P<hint>[^|]+) \|$")


def page() -> dict[str, tuple[int, str, str]]:
    """The rows of docs/errors.md."""
    rows: dict[str, tuple[int, str, str]] = {}
    status = 0
    for line in (ROOT / "docs" / "errors.md").read_text().splitlines():
        if line.startswith("## "):
            status = int(line.split()[2].rstrip(":"))
        elif line.startswith("| `"):
            row = ROW.match(re.sub(r" \|  \| ", " |  | ", line))
            assert row, line
            assert row["code"] not in rows
            rows[row["code"]] = (status, row["upstream"], row["hint"])
    return rows


def test_the_page_lists_every_code_as_it_is() -> None:
    """Code, status, class and hint are those of the program."""
    assert page() == errors.CODES


@pytest.mark.parametrize("code", errors.CODES)
def test_every_code_is_used_and_tested(code: str) -> None:
    """A code that nothing raises, or that no test has seen, is not in the table."""
    quoted = re.compile(rf"\b{code}\b")
    tables = ("errors.py", "codes")
    ours = [path for path in (ROOT / "provider").rglob("*.py") if not {path.name, path.parent.name} & set(tables)]
    # The launcher's and the exec client's own words have no quotes around them.
    assert any(quoted.search(path.read_text()) for path in ours)
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__)]
    assert any(quoted.search(path.read_text()) for path in tests)


def test_statuses_classes_and_hints_are_of_the_right_form() -> None:
    """An upstream error leaves with 4 or 5, as its class says, and every hint is a sentence's part on one line."""
    classes = {errors.DENIED: 4, errors.TOKEN_AT_FAULT: 4, errors.CLOUD_UNREACHABLE: 5, errors.INVALID: 4}
    for code, (status, upstream, hint) in errors.CODES.items():
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", code)
        assert status in {2, 3, 6} if upstream == "" else status == classes[upstream]
        assert hint.isprintable()
        assert hint
        assert not hint.endswith(".")
