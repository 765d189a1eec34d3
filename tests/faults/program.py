"""One request, as a launcher serves it, with the cloud and the clock of `faults.upstream`.

`python -IS program.py CONFIG RUNTIME NOW_S MOOD LIBRARY...`: the request is on stdin. What is not here is only what a
launcher's text does before it imports the program.
"""

from __future__ import annotations

import sys


def main(path: str, runtime: str, now_s: float, mood: str) -> None:
    """Serve the request and leave the process."""
    from faults.upstream import StandingClock, Upstream  # noqa: PLC0415 - found by the path below
    from pullpass import config, exec_client, pipeline  # noqa: PLC0415

    exec_client.leave_on_signals()
    exec_client.silence()
    raw = exec_client.read_request()
    deps = pipeline.Deps(lambda: config.load(path, runtime=runtime), StandingClock(now_s), Upstream(mood).load)
    exec_client.leave(pipeline.serve(raw, deps))


if __name__ == "__main__":
    # As in a launcher: behind the standard library, and nothing is compiled.
    sys.dont_write_bytecode = True
    sys.path.extend(sys.argv[5:])
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), sys.argv[4])
