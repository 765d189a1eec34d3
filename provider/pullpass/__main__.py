"""The people's door: `pullpass COMMAND ...` and `python -m pullpass COMMAND ...`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line and return its exit status."""
    from pullpass import cli  # noqa: PLC0415 - so that importing this module costs nothing

    return cli.main(sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
