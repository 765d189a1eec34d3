"""Plugins of the whole suite, and what a run without paths leaves out."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

pytest_plugins = ["plugins.needs", "plugins.gate"]


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leaves the conformance suites to who names them: they build the kubelet's code, and have a script for that."""
    unasked = collection_path.name == "conformance" and not any("conformance" in word for word in config.args)
    return True if unasked else None
