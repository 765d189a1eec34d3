"""Plugins of the whole suite."""

from __future__ import annotations

pytest_plugins = ["plugins.needs", "plugins.gate"]
