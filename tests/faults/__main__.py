"""`python -m faults [SCENARIO...]`: runs the matrix, prints it, and fails where something did not hold."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from faults import matrix
from faults.scenarios import BY_NAME


def main(names: list[str]) -> int:
    """Run these scenarios, or all; the exit status."""
    wrong: list[str] = []
    count = 0
    for name in names or list(BY_NAME):
        with tempfile.TemporaryDirectory() as place:
            found = matrix.make(BY_NAME[name], Path(place))
        wrong += found.wrong
        count += len(found.fields) - 1
        sys.stdout.write(f"{matrix.table(found)}\n\n")
    sys.stdout.write("".join(f"{line}\n" for line in wrong))
    sys.stdout.write(f"{count} runs with a fault, {len(wrong)} invariants broken\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
