"""`pullpass get-credentials`: the launchers without a launcher."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pullpass import config, exec_client, pipeline
from pullpass.clock import SystemClock
from pullpass.commands import stdin

if TYPE_CHECKING:
    import argparse
    from typing import NoReturn

DESCRIPTION = """Answer one kubelet request (CredentialProviderRequest, v1) on stdin with a response on stdout.

The same as the launchers that `pullpass install` writes, for trying things by hand."""
EXAMPLE = "  pullpass get-credentials --config config.toml < request.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """There are none of its own."""


def run(arguments: argparse.Namespace) -> NoReturn:
    """Serve the request on stdin and leave the process."""
    exec_client.leave_on_signals()
    raw = stdin.read()
    exec_client.silence()
    deps = pipeline.Deps(lambda: config.load(arguments.config), SystemClock())
    exec_client.leave(pipeline.serve(raw, deps))
