"""The command line: a table of commands, each in a module of its own, loaded when it is asked for."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn, Protocol

from pullpass import __version__, exec_client
from pullpass.errors import LOCAL_STATE, PullpassError, outside
from pullpass.pipeline import as_failure

if TYPE_CHECKING:
    from pullpass.commands import Output

DEFAULT_CONFIG = "/etc/pullpass/config.toml"
CONFIG_VARIABLE = "PULLPASS_CONFIG"

# command -> (module, one line of help)
COMMANDS = {
    "get-credentials": ("pullpass.commands.get_credentials", "answer a kubelet request: stdin to stdout"),
    "explain": ("pullpass.commands.explain", "what would be answered to a request, and why; no network"),
    "install": ("pullpass.commands.install", "write the launchers that the kubelet runs"),
}


class Command(Protocol):
    """What a module under `commands` has."""

    DESCRIPTION: str
    EXAMPLE: str

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the command's own options."""

    @staticmethod
    def run(arguments: argparse.Namespace) -> Output:
        """Do it and return what is to be printed; a `PullpassError` becomes the one line on stderr."""


class Parser(argparse.ArgumentParser):
    """A parser whose complaints look like every other error of the program."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise PullpassError("usage", outside(message), f"see `{self.prog} --help`")


def build_parser(command: str) -> argparse.ArgumentParser:
    """The parser, with the options of `command` filled in: the other commands' modules are not loaded for it."""
    parser = Parser(
        prog="pullpass",
        description="A kubelet image credential provider: each workload its own short-lived registry credential.",
        epilog="Exit status: 0 answered, 2 bad input, 3 refused here, 4 refused by the cloud, 5 cloud unreachable, "
        "6 local state. `pullpass COMMAND --help` has an example of each.",
    )
    parser.add_argument("--version", action="version", version=f"pullpass {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == command:
            module = load(name)
            sub.description = module.DESCRIPTION
            sub.epilog = f"example:\n{module.EXAMPLE}"
            sub.add_argument(
                "--config", metavar="F", help=f"configuration (default: ${CONFIG_VARIABLE}, then {DEFAULT_CONFIG})"
            )
            sub.add_argument("--json", action="store_true", help="print one JSON document")
            module.add_arguments(sub)
    return parser


def load(command: str) -> Command:
    """The module of a command."""
    module: Command = import_module(COMMANDS[command][0])  # type: ignore[assignment]
    return module


def _parse(argv: list[str]) -> argparse.Namespace:
    command = next((word for word in argv if not word.startswith("-")), "")
    arguments, unknown = build_parser(command).parse_known_args(argv)
    if not unknown:
        return arguments
    hint = f"see `pullpass {arguments.command} --help`"
    if any(os.path.isfile(word) for word in unknown):
        hint = f"a request is read from stdin: `pullpass {arguments.command} < FILE`; {hint}"
    raise PullpassError("usage", f"unrecognized arguments: {outside(' '.join(unknown))}", hint)


def _run(arguments: argparse.Namespace) -> int:
    if sys.stdout is None:  # closed by who started us
        raise PullpassError("stdout-closed", "stdout is closed")
    output = load(arguments.command).run(arguments)
    _print(json.dumps(output.document, indent=2) + "\n" if arguments.json else output.text)
    return output.status


def _print(text: str) -> None:
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except OSError as error:
        # Let nothing more be written there: Python would complain once more when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        if isinstance(error, BrokenPipeError):
            raise
        raise PullpassError("stdout-closed", f"the output can't be written ({error.strerror})") from None


def main(argv: list[str]) -> int:
    """Run one command line.

    Args:
        argv: the words after the program's name.

    Returns:
        The exit status.
    """
    try:
        arguments = _parse(argv)
        arguments.config = arguments.config or os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG
        status = _run(arguments)
    except BrokenPipeError:
        return LOCAL_STATE  # what reads us has gone (`pullpass explain | head -1`), and needs no line
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        failure = as_failure(error)
        exec_client.write_error(failure.line().encode() + b"\n")
        return failure.status
    return status
