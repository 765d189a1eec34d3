"""The command line: a table of commands, each in a module of its own, loaded when it is asked for."""

from __future__ import annotations

import argparse
import json
import os
import sys
from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING, NoReturn, Protocol, cast

from pullpass import __version__, exec_client
from pullpass.errors import CODES, LOCAL_STATE, PullpassError, outside
from pullpass.pipeline import as_failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any

    from pullpass.commands import Output, Subcommand

DEFAULT_CONFIG = "/etc/pullpass/config.toml"
CONFIG_VARIABLE = "PULLPASS_CONFIG"

# command -> (module, one line of help)
COMMANDS = {
    "get-credentials": ("pullpass.commands.get_credentials", "answer a kubelet request: stdin to stdout"),
    "explain": ("pullpass.commands.explain", "what would be answered to a request, and why; no network"),
    "approvals": ("pullpass.commands.approvals", "what is stored about credentials that were handed out"),
    "cache": ("pullpass.commands.cache", "the credentials that are kept, and their key"),
    "revalidate": ("pullpass.commands.revalidate", "have approvals validated again"),
    "block": ("pullpass.commands.block", "refuse what an order selects"),
    "orders": ("pullpass.commands.orders", "list and lift orders, take over a fleet's"),
    "audit": ("pullpass.commands.audit", "the audit trail: show, verify, export"),
    "install": ("pullpass.commands.install", "write the launchers that the kubelet runs"),
}
TAKES_A_REQUEST = ("get-credentials", "explain")


class Command(Protocol):
    """What a module under `commands` has, unless it is a `Group`."""

    DESCRIPTION: str
    EXAMPLE: str

    @staticmethod
    def add_arguments(parser: argparse.ArgumentParser) -> None:
        """Declare the command's own options."""

    @staticmethod
    def run(arguments: argparse.Namespace) -> Output:
        """Do it and return what is to be printed; a `PullpassError` becomes the one line on stderr."""


class Group(Protocol):
    """What a module under `commands` has that holds several commands."""

    DESCRIPTION: str
    EXAMPLE: str
    SUBCOMMANDS: dict[str, Subcommand]


class Parser(argparse.ArgumentParser):
    """A parser whose complaints look like every other error of the program."""

    def error(self, message: str) -> NoReturn:
        """Refuse the command line."""
        raise PullpassError("usage", outside(message), f"see `{self.prog} --help`")

    def parse_known_args(self, *args: Any, **named: Any) -> Any:
        """Parse; what the type of an option refuses points to the help of the command that has the option."""
        try:
            return super().parse_known_args(*args, **named)
        except PullpassError as error:
            raise _pointed(error, self.prog) from None


def _pointed(error: PullpassError, words: str) -> PullpassError:
    """The error; a `usage` that has no hint of its own points to the help of the command `words`."""
    if error.code == "usage" and error.hint == CODES["usage"][2]:
        return PullpassError("usage", error.what, f"see `{words} --help`")
    return error


def build_parser(command: str) -> argparse.ArgumentParser:
    """The parser, with the options of `command` filled in: the other commands' modules are not loaded for it."""
    parser = Parser(
        prog="pullpass",
        description="A kubelet image credential provider: each workload its own short-lived registry credential.",
        epilog="Exit status: 0 answered, 1 findings (only of commands that look for them: audit verify), 2 bad input, "
        "3 refused here, 4 refused by the cloud, 5 cloud unreachable, 6 local state. "
        "`pullpass COMMAND --help` has an example of each.",
    )
    parser.add_argument("--version", action="version", version=f"pullpass {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (_, summary) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary, formatter_class=argparse.RawDescriptionHelpFormatter)
        if name == command:
            _fill(sub, load(name))
    return parser


def _fill(parser: argparse.ArgumentParser, module: Command | Group) -> None:
    """Declare what a module has: its options, or its commands with theirs."""
    parser.description = module.DESCRIPTION
    subcommands: dict[str, Subcommand] | None = getattr(module, "SUBCOMMANDS", None)
    if subcommands is None:
        _fill_leaf(parser, module.EXAMPLE, cast("Command", module))
        return
    parser.epilog = f"example:\n{module.EXAMPLE}"
    words = parser.add_subparsers(dest="word", metavar="COMMAND", required=True)
    for name, subcommand in subcommands.items():
        summary = subcommand.summary
        sub = words.add_parser(
            name, help=summary, description=summary, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        _fill_leaf(sub, subcommand.example, subcommand)


def _fill_leaf(parser: argparse.ArgumentParser, example: str, command: Command | Subcommand) -> None:
    parser.epilog = f"example:\n{example}"
    parser.add_argument(
        "--config", metavar="F", help=f"configuration (default: ${CONFIG_VARIABLE}, then {DEFAULT_CONFIG})"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    command.add_arguments(parser)
    parser.set_defaults(run=command.run, words=parser.prog)


def load(command: str) -> Command | Group:
    """The module of a command."""
    module: Command | Group = import_module(COMMANDS[command][0])
    return module


def _parse(argv: list[str]) -> argparse.Namespace:
    command = next((word for word in argv if not word.startswith("-")), "")
    arguments, unknown = build_parser(command).parse_known_args(argv)
    if not unknown:
        return arguments
    hint = f"see `{arguments.words} --help`"
    if any(os.path.isfile(word) for word in unknown) and arguments.command in TAKES_A_REQUEST:
        hint = f"a request is read from stdin: `{arguments.words} < FILE`; {hint}"
    raise PullpassError("usage", f"unrecognized arguments: {outside(' '.join(unknown))}", hint)


def _run(arguments: argparse.Namespace) -> int:
    if sys.stdout is None:  # closed by who started us
        raise PullpassError("stdout-closed", "stdout is closed")
    output: Output = arguments.run(arguments)
    if arguments.json:
        _print(chain(_json(output.document), ["\n"]))
    else:
        _print([output.text] if isinstance(output.text, str) else output.text)
    return output.status


def _json(document: Any, indent: str = "") -> Iterator[str]:
    """A document as text; of an iterator, also among its members, an array, item by item."""
    inner = f"{indent}  "
    members: Iterable[tuple[str, Any]]
    if hasattr(document, "__next__"):
        brackets, members = "[]", (("", item) for item in document)
    elif isinstance(document, dict) and any(hasattr(value, "__next__") for value in document.values()):
        brackets, members = "{}", ((f"{json.dumps(name)}: ", value) for name, value in document.items())
    else:
        yield json.dumps(document, indent=2).replace("\n", f"\n{indent}")
        return
    before = brackets[0]
    for name, value in members:
        yield f"{before}\n{inner}{name}"
        yield from _json(value, inner)
        before = ","
    yield brackets if before == brackets[0] else f"\n{indent}{brackets[1]}"


def _print(pieces: Iterable[str]) -> None:
    try:
        for piece in pieces:  # an error that making one raises is the command's own
            _to_stdout(sys.stdout.write, piece)
    finally:
        _to_stdout(sys.stdout.flush)


def _to_stdout(do: Callable[..., object], *pieces: str) -> None:
    try:
        do(*pieces)
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
        arguments.other_config = arguments.config or os.environ.get(CONFIG_VARIABLE) or ""  # for commands in hints
        arguments.config = arguments.other_config or DEFAULT_CONFIG
        try:
            status = _run(arguments)
        except PullpassError as error:
            raise _pointed(error, arguments.words) from None
    except BrokenPipeError:
        return LOCAL_STATE  # what reads us has gone (`pullpass explain | head -1`), and needs no line
    except KeyboardInterrupt:
        return 130
    except Exception as error:  # noqa: BLE001 - no traceback reaches a user
        failure = as_failure(error)
        exec_client.write_error(failure.line().encode() + b"\n")
        return failure.status
    return status
