"""`python -m verify`, with `tests` on the path: try the claims. `scripts/verify-cloud` makes the environment first."""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from pullpass import exchange
from pullpass.clock import SystemClock
from verify import aws, google, inputs, telling
from verify.names import NetworkProbe
from verify.obtaining import Obtainer, World
from verify.pulling import Registry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Protocol

    from pullpass.clock import Clock
    from verify.inputs import Case
    from verify.points import Finding

    class Examiner(Protocol):
        """Tries the claims of one cloud."""

        def findings(self) -> Iterator[Finding]:
            """Try each claim."""


SETTLED = 0
OPEN = 1
USAGE = 2
INTERRUPTED = 130
CLOUDS: dict[str, tuple[Callable[[Case, World, Obtainer, Registry], Examiner], tuple[str, ...]]] = {
    inputs.AWS: (aws.Aws, aws.NOT_TRIED),
    inputs.GOOGLE: (google.Google, google.NOT_TRIED),
}


class Parser(argparse.ArgumentParser):
    """A parser that complains in one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise inputs.InputError(f"{message}; see `scripts/verify-cloud --help`")


def parser() -> Parser:
    """The command line; `scripts/verify-cloud --help` explains it."""
    whole = Parser(prog="scripts/verify-cloud", add_help=False, allow_abbrev=False)
    clouds = whole.add_subparsers(dest="cloud", metavar="aws|google", required=True)
    for name in (inputs.AWS, inputs.GOOGLE):
        cloud = clouds.add_parser(name, add_help=False, allow_abbrev=False)
        cloud.add_argument("--config")
        cloud.add_argument("--token-file", required=True)
        cloud.add_argument("--image", action="append", required=True)
        cloud.add_argument("--wait", action="store_true")
        cloud.add_argument("--json", action="store_true")
        if name == inputs.AWS:
            cloud.add_argument("--role")
        else:
            cloud.add_argument("--provider")
            cloud.add_argument("--service-account")
    return whole


def run(case: Case, world: World) -> dict[str, Any]:
    """Try every claim of a case's cloud.

    Args:
        case: what to try them with.
        world: the clock, the exchangers, the network.

    Returns:
        The document of `--json`.
    """
    secrets = [case.token]
    obtainer = Obtainer(case.token, world, secrets)
    registries = Registry(world.clock, case.config.node.ca_bundle, secrets)
    examine, not_tried = CLOUDS[case.cloud]
    findings = []
    for finding in examine(case, world, obtainer, registries).findings():
        world.tell(f"{finding.claim.name}: {finding.outcome.verdict}")
        findings.append(finding)
    return telling.document(case, findings, not_tried, world.clock.now_s(), secrets)


def main(words: list[str], clock: Clock) -> int:
    """Read the command line, try, tell, and return the exit status.

    Args:
        words: those after the program's name.
        clock: does the waiting.
    """
    try:
        arguments = parser().parse_args(words)
        case = inputs.read(arguments)
        probe = NetworkProbe(clock, case.config.node.ca_bundle)
        document = run(case, World(clock, exchange.load, probe, _progress))
        sys.stdout.write(f"{json.dumps(document, indent=2)}\n" if arguments.json else telling.text(document))
        sys.stdout.flush()
    except inputs.InputError as error:
        sys.stderr.write(f"scripts/verify-cloud: {error}\n")
        return USAGE
    except KeyboardInterrupt:
        sys.stderr.write("scripts/verify-cloud: interrupted; nothing was changed in the cloud\n")
        return INTERRUPTED
    except OSError as error:
        # Who reads may have gone, and knows it. Python would complain once more when it exits.
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"scripts/verify-cloud: {error}\n")
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OPEN
    return SETTLED if document["settled"] else OPEN


def _progress(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], SystemClock()))
