"""What the tests over real sockets share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud import Cloud
from integration.traps import Trap

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[Cloud]:
    """One local cloud for all tests."""
    with Cloud() as running:
        yield running


@pytest.fixture
def cloud(running_cloud: Cloud) -> Cloud:
    """The local cloud with its default world: no faults, no records."""
    running_cloud.reset()
    return running_cloud


@pytest.fixture(scope="session")
def set_trap() -> Trap:
    """One trap, which lives as long as the process."""
    return Trap()


@pytest.fixture
def trap(set_trap: Trap) -> Iterator[Trap]:
    """The trap, with nothing in it."""
    set_trap.caught.clear()
    yield set_trap
    set_trap.caught.clear()
