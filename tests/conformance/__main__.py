"""`python -m conformance`, which `scripts/conformance` runs."""

from __future__ import annotations

import sys

from conformance.command import main

sys.exit(main(sys.argv[1:]))
