"""What the whole suite shares: plugins, the local cloud, and what a run without paths leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from cloud import Cloud

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytest_plugins = ["plugins.needs", "plugins.gate"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves the conformance suites to who names them: they build the kubelet's code, and have a script for that."""
    unasked = collection_path.name == "conformance" and not any("conformance" in word for word in config.args)
    return True if unasked else None


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
