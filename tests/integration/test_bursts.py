"""Bursts of pods cost one exchange for each credential, however many pods, tokens and repositories there are.

The counts are the local cloud's own, and the processes are installed launchers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud import Cloud
from integration import crowd
from integration.bursts import GROUPS, Burst, Node

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from integration.bursts import Count

# group -> for each of its bursts: exchanges, passwords, approvals, repositories in each, rotations of each
EXPECTED = (
    ((10, 10, 10, 1, 0),),
    ((10, 0, 10, 5, 0), (10, 0, 10, 5, 1)),
    ((1, 1, 1, 1, 0),),
    ((4, 4, 4, 1, 0),),
)


@pytest.fixture(scope="module")
def cloud() -> Iterator[Cloud]:
    """One local cloud for the module."""
    with Cloud() as running:
        yield running


def check(burst: Burst, count: Count, expected: tuple[int, int, int, int, int]) -> None:
    """Compare a burst's counts."""
    exchanges, passwords, approvals, repositories, rotations = expected
    assert count._replace(took_s=0.0) == count._replace(
        requests=burst.requests,
        exchanges=exchanges,
        passwords=passwords,
        refused=0,
        approvals=approvals,
        repositories=(repositories, repositories),
        rotations=(rotations, rotations),
        took_s=0.0,
    )


@pytest.mark.parametrize(
    ("group", "expected"), [*zip(GROUPS, EXPECTED, strict=True)], ids=[group[0].name for group in GROUPS]
)
def test_a_burst_costs_one_exchange_for_each_credential(
    cloud: Cloud, tmp_path: Path, group: tuple[Burst, ...], expected: tuple[tuple[int, int, int, int, int], ...]
) -> None:
    """And nobody is refused, each answer has its line, and no intent is left."""
    cloud.reset()
    node = Node(tmp_path, cloud)
    lines: dict[str, int] = {}
    for burst, numbers in zip(group, expected, strict=True):
        count, told = node.start(burst)
        assert [one.stderr for one in told] == [b""] * burst.requests
        after = crowd.events(tmp_path / "state")
        assert set(after) <= {"issued", "served", "rotated"}, "an exchange of a rotation failed, which is no refusal"
        check(burst, count, numbers)
        new = {name: more - lines.get(name, 0) for name, more in after.items()}
        assert sum(new.values()) == burst.requests
        assert new["rotated" if burst.aged_s else "issued"] >= count.exchanges
        lines = after
    assert list((tmp_path / "run" / "intents").iterdir()) == []
