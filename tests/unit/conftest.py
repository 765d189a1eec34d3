"""What the tests of the local cloud itself share."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def running_cloud() -> Iterator[Cloud]:
    """One local cloud for all tests."""
    with Cloud() as running:
        yield running


@pytest.fixture
def cloud(running_cloud: Cloud) -> Cloud:
    """The default world: no faults, no records."""
    running_cloud.reset()
    return running_cloud
