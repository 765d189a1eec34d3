"""`python tests/cloud --state-dir D`: the local cloud as a process.

Prints one line of JSON with the endpoints when it is ready, and serves until its standard input ends (whoever started
it is gone) or SIGTERM or SIGINT comes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys

if __package__ != "cloud":
    # Started by path: the directory itself stands first on the path then, where its modules would shadow others.
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [os.path.dirname(here), *(path for path in sys.path if os.path.abspath(path) != here)]

from cloud import Cloud


class _Ended(Exception):  # noqa: N818 - no error
    pass


def _end(number: int, frame: object) -> None:
    raise _Ended


def main() -> int:
    """Serve until told to end; 1 when the cloud itself had a defect."""
    parser = argparse.ArgumentParser(prog="cloud", description="AWS and a token issuer on loopback, for tests")
    parser.add_argument("--state-dir", required=True, help="for the CA certificate and TLS keys")
    parser.add_argument("--ignore-stdin", action="store_true", help="serve on when standard input ends")
    arguments = parser.parse_args()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _end)
    cloud = Cloud(arguments.state_dir).start()
    try:
        sys.stdout.write(json.dumps(cloud.endpoints._asdict()) + "\n")
        sys.stdout.flush()
        while arguments.ignore_stdin or sys.stdin.buffer.read(4096):
            if arguments.ignore_stdin:
                signal.pause()
    except _Ended:
        pass
    try:
        cloud.stop()
    except RuntimeError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
