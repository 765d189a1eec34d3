"""`pullpass install`: put the launchers where the kubelet looks for them."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from pullpass import install

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


def run(arguments: argparse.Namespace) -> int:
    """Write the launchers and say what was written."""
    document = install.install(os.path.abspath(arguments.bin_dir), os.path.abspath(arguments.config))
    if arguments.json:
        json.dump(document, sys.stdout, indent=2)
        print()
        return 0
    for launcher in document["launchers"]:
        print(f"wrote {launcher}")
    print(f"they run {document['interpreter']} with the configuration {document['config']}")
    return 0
