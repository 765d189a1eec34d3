"""The command line as a person meets it: help, options, errors. Every command runs as a process of its own."""

from __future__ import annotations

import importlib
import json
import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from factories import make_request
from pullpass import __version__, cli, errors

COMMANDS = sorted(cli.COMMANDS)
GROUPS = {name: getattr(cli.load(name), "SUBCOMMANDS", None) for name in COMMANDS}
LEAVES = [
    words for name, group in GROUPS.items() for words in ([f"{name} {word}" for word in group] if group else [name])
]


def run(*words: str, stdin: bytes = b"", **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run `pullpass WORDS` in a bare environment."""
    return subprocess.run(
        [sys.executable, "-m", "pullpass", *words],
        input=stdin,
        capture_output=True,
        env={"PATH": os.defpath} | environment,
        check=False,
        cwd="/",
        timeout=60,
    )


def test_every_row_of_the_table_loads() -> None:
    """A command's module exists and has what the command line uses."""
    for module, summary in cli.COMMANDS.values():
        loaded = importlib.import_module(module)
        for leaf in getattr(loaded, "SUBCOMMANDS", {"": loaded}).values():
            assert callable(leaf.run)
            assert callable(leaf.add_arguments)
        assert summary


@pytest.mark.parametrize("command", [name for name, group in GROUPS.items() if group])
def test_help_of_a_group_lists_its_commands(command: str) -> None:
    """One line each, and an example."""
    text = run(command, "--help").stdout.decode()
    for word in GROUPS[command] or ():
        assert re.search(rf"^    {word}\s", text, re.MULTILINE)
    assert f"example:\n  pullpass {command} " in text
    assert run(command).stderr.startswith(b"pullpass: usage: ")


@pytest.mark.parametrize("command", LEAVES)
def test_help_has_the_options_and_an_example(command: str) -> None:
    """Every command takes --config and --json, and shows how it is used."""
    done = run(*command.split(), "--help")
    text = done.stdout.decode()
    assert (done.returncode, done.stderr) == (0, b"")
    for word in ("--config", "--json", "example:", f"pullpass {command}"):
        assert word in text


def test_help_of_the_program_lists_every_command() -> None:
    """One line each."""
    text = run("--help").stdout.decode()
    for command in COMMANDS:
        assert re.search(rf"^    {command}\s", text, re.MULTILINE)


def test_help_of_the_program_has_every_exit_status() -> None:
    """What a script must tell apart."""
    text = " ".join(run("--help").stdout.decode().split())
    statuses = re.search(r"Exit status: (.*?)\. `", text)
    assert statuses
    told = [int(part.split()[0]) for part in statuses[1].split(", ")]
    assert told == list(range(errors.ANSWERED, errors.LOCAL_STATE + 1))


def test_the_version() -> None:
    """The version is the package's."""
    assert run("--version").stdout.decode() == f"pullpass {__version__}\n"


@pytest.mark.parametrize(
    "words", [(), ("dance",), ("explain", "--fast"), ("install",), ("explain", "\x1b[31m")], ids=str
)
def test_a_wrong_command_line_is_one_line(words: tuple[str, ...]) -> None:
    """Status 2, the code `usage`, and where to look."""
    done = run(*words)
    assert (done.returncode, done.stdout) == (2, b"")
    line = done.stderr.decode()
    assert line.startswith("pullpass: usage: ")
    assert "--help`" in line
    assert line.count("\n") == 1
    assert line.rstrip("\n").isprintable()


@pytest.mark.parametrize("command", ["explain", "get-credentials"])
def test_the_configuration_is_found(command: str, tmp_path: Path) -> None:
    """--config wins over $PULLPASS_CONFIG, which wins over the default place."""
    option, variable = tmp_path / "option.toml", tmp_path / "variable.toml"
    request = make_request()
    words = (command, "--config", str(option))
    for done, path in (
        (run(*words, stdin=request, PULLPASS_CONFIG=str(variable)), str(option)),
        (run(command, stdin=request, PULLPASS_CONFIG=str(variable)), str(variable)),
        (run(command, stdin=request), cli.DEFAULT_CONFIG),
    ):
        assert done.returncode == 2
        assert path in (done.stderr + done.stdout).decode()


def test_explain_prints_its_document_on_a_refusal_too() -> None:
    """--json is one JSON document whatever the verdict, and the exit status is the verdict's."""
    done = run("explain", "--json", stdin=b"")
    assert (done.returncode, done.stderr) == (2, b"")
    assert json.loads(done.stdout)["code"] == "request-empty"
    assert run("explain", stdin=b"").stdout.splitlines()[-2].startswith(b"verdict: refuse (request-empty)")


@pytest.mark.parametrize("command", ["explain", "get-credentials"])
def test_a_request_typed_at_a_terminal_was_forgotten(command: str) -> None:
    """A command that waits for a request on a terminal says so instead of hanging."""
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pullpass", command], stdin=theirs, capture_output=True, check=False, timeout=60
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 2
    assert done.stderr.startswith(b"pullpass: usage: a request is read from stdin")


def test_a_reader_that_goes_away_is_no_traceback() -> None:
    """`pullpass explain | head -1` ends quietly."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "pullpass", "explain", "--json"],
            input=b"",
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (6, b"")


@pytest.mark.parametrize("where", ["<&0 >&-", ">/dev/full"], ids=["closed", "full"])
def test_output_that_can_not_be_written_is_told(where: str) -> None:
    """A closed or full stdout is one line, and no defect of the program."""
    command = f"exec {sys.executable} -m pullpass explain --json {where}"
    done = subprocess.run(["sh", "-c", command], input=b"", capture_output=True, check=False, timeout=60)
    assert done.returncode == 6
    assert done.stderr.startswith(b"pullpass: stdout-closed: ")
    assert done.stderr.count(b"\n") == 1


def test_a_closed_stderr_does_not_turn_the_error_into_output() -> None:
    """Python's own `print` would take stdout for it."""
    command = f"exec {sys.executable} -m pullpass install --bin-dir /nowhere --config /nowhere/config.toml 2>&-"
    done = subprocess.run(["sh", "-c", command], stdout=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stdout) == (2, b"")


def test_a_request_named_as_an_argument_is_met_halfway(tmp_path: Path) -> None:
    """Whoever writes the file's name where it does not belong is told where it does."""
    request = tmp_path / "request.json"
    request.write_bytes(make_request())
    line = run("explain", str(request)).stderr.decode()
    assert "`pullpass explain < FILE`" in line
    assert "`pullpass explain --help`" in line


def test_a_missing_sdk_is_told_before_it_is_needed(tmp_path: Path) -> None:
    """`install` writes no launcher that could not do its work."""
    config = tmp_path / "config.toml"
    config.write_text((Path(__file__).parents[2] / "config" / "minimal.toml").read_text())
    config.chmod(0o600)
    blocked = "import sys; sys.modules['boto3'] = None; from pullpass.__main__ import main; sys.exit(main())"
    words = ["install", "--bin-dir", str(tmp_path / "bin"), "--config", str(config)]
    done = subprocess.run([sys.executable, "-c", blocked, *words], capture_output=True, check=False)
    assert (done.returncode, done.stderr.split(b":")[1]) == (2, b" extra-missing")
    assert b"pip install 'pullpass[aws]'" in done.stderr
    assert not (tmp_path / "bin").exists()


@pytest.mark.parametrize(
    "document",
    [None, "text", [], {}, [{"a": [1, {}]}, []], {"a": 1, "b": [], "c": [1, {"d": [2], "e": []}], "f": {"g": "\n"}}],
    ids=repr,
)
def test_a_document_of_iterators_is_printed_as_one_of_arrays(document: object) -> None:
    """Whatever comes item by item looks as if it had been there at once."""

    def lazy(value: object) -> object:
        if isinstance(value, list):
            return map(lazy, value)
        return {name: lazy(member) for name, member in value.items()} if isinstance(value, dict) else value

    assert "".join(cli._json(lazy(document))) == json.dumps(document, indent=2)
