"""`pullpass explain`: what would be answered, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass import config, explain, pipeline
from pullpass.clock import SystemClock
from pullpass.commands import Output, stdin

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """Show every step of a request (the same input as get-credentials): who asks, for what, which grant
decides, which identity it gives, what is stored about it, and which calls would be made. Nothing is sent or written,
and no secret is shown. The exit status is the one that get-credentials would give, as far as that is known without
asking the cloud."""
EXAMPLE = "  pullpass explain --config config.toml < request.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def run(arguments: argparse.Namespace) -> Output:
    """Explain the request on stdin."""
    deps = pipeline.Deps(lambda: config.load(arguments.config), SystemClock())
    status, document = explain.explain(stdin.read(), deps)
    return Output(status, document, explain.text(document))
