"""Each call that a request makes about its files, failing in every way: what must hold then holds."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from faults import matrix
from faults.scenarios import BY_NAME
from faults.tracer import KILL, SHORT, SHORT_KILL

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.needs("strace"), pytest.mark.own]

# Whose exchange takes the same steps as one that is looked at in full; there is one error, and the kill.
SIMILAR = ("expired", "revalidated by an order", "renewal unreachable", "after a crash")


@pytest.mark.parametrize("name", BY_NAME)
def test_the_matrix(tmp_path: Path, name: str) -> None:
    """The steps are found by a run without a fault, and no fault may miss its step."""
    columns = (KILL, "EIO", SHORT, SHORT_KILL) if name in SIMILAR else matrix.COLUMNS
    found = matrix.make(BY_NAME[name], tmp_path, columns=columns)
    sys.stdout.write(matrix.table(found))
    assert {field.fault.name for field in found.fields} >= set(columns) - {SHORT, SHORT_KILL}
    assert found.wrong == []


@pytest.mark.parametrize("name", ["first issue", "cache hit"])
def test_a_trail_that_need_not_be_written(tmp_path: Path, name: str) -> None:
    """With `when_full = "issue"` a fault of the trail stops no answer; an approval is on disk all the same."""
    found = matrix.make(BY_NAME[name], tmp_path, "issue", (KILL, "ENOSPC", "EIO"), about="state/audit")
    assert {field.outcome for field in found.fields} == {"answered", "killed"}
    assert found.wrong == []
