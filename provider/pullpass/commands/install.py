"""`pullpass install`: put the launchers where the kubelet looks for them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pullpass import install
from pullpass.commands import Output
from pullpass.errors import ANSWERED

if TYPE_CHECKING:
    import argparse

DESCRIPTION = """Write the launchers pullpass-ecr and pullpass-gcr to where --image-credential-provider-bin-dir points.

The interpreter, the libraries, the configuration and its runtime directory are fixed inside, so that a launcher
looks at no argument and no variable that says what it does. Run it again after upgrading Python or pullpass, or moving
paths.runtime."""
EXAMPLE = "  pullpass install --bin-dir /usr/libexec/kubelet-credential-providers --config /etc/pullpass/config.toml"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `--bin-dir`."""
    parser.add_argument("--bin-dir", metavar="D", required=True, help="where to write them; made if it is absent")


def run(arguments: argparse.Namespace) -> Output:
    """Write the launchers and say what was written."""
    document = install.install(os.path.abspath(arguments.bin_dir), os.path.abspath(arguments.config))
    lines = [f"wrote {launcher}" for launcher in document["launchers"]]
    lines.append(f"they run {document['interpreter']} with the configuration {document['config']}")
    return Output(ANSWERED, document, "".join(f"{line}\n" for line in lines))
