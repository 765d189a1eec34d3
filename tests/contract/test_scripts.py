"""The scripts on machines that are not as one would like: each makes its environment, or says what to do in a line."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest

from contract.clone import SCRIPTS, Clone, base, index, masks, pip_wheel

if TYPE_CHECKING:
    from pathlib import Path

MAKING = re.compile(r"scripts/probe: making \.venv with Python 3\.\d+\.\d+; takes a minute or two, once")


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    """A fresh clone, in a directory whose name has a space."""
    return Clone(tmp_path / "a clone")


@pytest.fixture
def bin_directory(tmp_path: Path) -> Path:
    """A directory for PATH with what the scripts need of the system, and no Python."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for program in ("bash", "basename", "dirname", "cat", "env"):
        found = shutil.which(program)
        assert found is not None
        (directory / program).symlink_to(found)
    return directory


def program(path: Path, text: str) -> None:
    """Write a program for sh."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def stamp(clone: Clone) -> int:
    """What changes when the environment is made anew."""
    return (clone.venv / "pullpass-environment").stat().st_mtime_ns


def leftovers(clone: Clone) -> list[str]:
    """What a build has left beside the environment."""
    return sorted(path.name for path in clone.path.iterdir() if path.name.startswith(".venv."))


def test_an_environment_is_made_once_and_again_when_its_declaration_changes(clone: Clone) -> None:
    """From another directory, under a path with a space; its scripts start although it was built under another name.

    Launchers can't hold a space in the interpreter's path, so that it has a name without.
    """
    status, out, err = clone.run()
    assert status == 0, err
    prefix, given, prefix_of_script = out.splitlines()
    assert (prefix, prefix_of_script) == (given, str(clone.venv))
    assert " " not in given
    assert os.path.realpath(given) == str(clone.venv)
    assert MAKING.fullmatch(err[0])
    assert re.fullmatch(r"scripts/probe: \.venv made in \d+ s", err[1])
    assert str(clone.venv) + ".making" not in (clone.venv / "bin" / "activate").read_text(encoding="utf-8")
    first = stamp(clone)

    declaration = clone.path / "pyproject.toml"
    text = declaration.read_text(encoding="utf-8")
    declaration.write_text(text + "\n[tool.other]\nkey = 1\n", encoding="utf-8")
    assert clone.run() == (0, out, [])
    assert stamp(clone) == first

    declaration.write_text(text.replace("aws = []", 'aws = []\nmore = ["small"]'), encoding="utf-8")
    status, again, err = clone.run()
    assert (status, again, len(err)) == (0, out, 2)
    assert stamp(clone) > first
    assert leftovers(clone) == []

    cache = f"{clone.path}/.cache"
    what = f"scripts/probe: {clone.venv} and {cache}/pullpass have spaces in them"
    assert clone.run(XDG_CACHE_HOME=cache) == (1, "", [f"{what}: set XDG_CACHE_HOME to a path that has none"])


def test_half_an_environment_is_replaced(clone: Clone) -> None:
    """After a build that was killed in its middle, and over what Debian's `python3 -m venv` leaves when it fails."""
    with clone.held():
        process = clone.start()
        clone.wait_for_middle(process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        assert not clone.venv.exists()
        assert leftovers(clone) == [".venv.making"]
    subprocess.run([base(), "-m", "venv", "--without-pip", clone.venv], check=True)
    status, out, err = clone.run()
    assert (status, out.splitlines()[2:]) == (0, [str(clone.venv)]), err
    assert leftovers(clone) == []


def test_two_runs_at_once_make_one_environment(clone: Clone) -> None:
    """The second waits, says so, and uses what the first has made."""
    with clone.held():
        first = clone.start()
        clone.wait_for_middle(first)
        second = clone.start()
        assert second.stderr is not None
        assert second.stderr.readline() == "scripts/probe: .venv is being made by another run; waiting for it\n"
    out, err = first.communicate(timeout=240)
    assert (first.returncode, second.wait(timeout=240)) == (0, 0), err
    assert second.communicate() == (out, "")


def test_an_index_that_is_not_there(clone: Clone) -> None:
    """Without network: one line that says what to do and where the details are; the old environment stays."""
    clone.venv.mkdir()
    declaration = clone.path / "pyproject.toml"
    text = declaration.read_text(encoding="utf-8")
    declaration.write_text(text.replace("dependencies = []", 'dependencies = ["absent"]', 1), encoding="utf-8")
    status, out, err = clone.run(PIP_NO_INDEX="", PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_RETRIES="1")
    assert (status, out) == (1, "")
    line = (
        "scripts/probe: .venv can't be made: the package index can't be reached; connect this machine, "
        "set HTTPS_PROXY, or name a mirror in PIP_INDEX_URL (details: .build/venv.log)"
    )
    assert err[1:] == [line]
    assert clone.venv.is_dir()
    assert leftovers(clone) == []
    assert "No matching distribution found for absent" in (clone.path / ".build" / "venv.log").read_text(
        encoding="utf-8"
    )


def test_no_interpreter_that_will_do(clone: Clone, bin_directory: Path) -> None:
    """A shim that does not run and a Python that is too old are passed over; none is left: one line."""
    program(bin_directory / "python3.13", "echo 'pyenv: python3.13: command not found' >&2; exit 127")
    program(bin_directory / "python3", 'case "$*" in *3,*11*) exit 1;; esac; exit 0')
    status, out, err = clone.run(PATH=str(bin_directory), PYTHON="")
    assert (status, out) == (1, "")
    line = (
        "scripts/probe: no Python 3.11 or newer runs here (looked for python3.14 down to python3.11, and python3); "
        "on Debian and Ubuntu: apt-get install python3 python3-venv"
    )
    assert err == [line]


def test_an_interpreter_without_its_modules(clone: Clone, bin_directory: Path) -> None:
    """Debian's python3-minimal has neither venv nor ssl."""
    program(bin_directory / "python3", 'case "$*" in *venv*) exit 1;; esac; exit 0')
    status, _, err = clone.run(PATH=str(bin_directory), PYTHON="")
    assert status == 1
    hint = "on Debian and Ubuntu: apt-get install python3 python3-venv"
    assert err == [f"scripts/probe: python3 has no venv or no ssl module; {hint}"]


def test_a_named_interpreter_is_the_only_one_tried(clone: Clone) -> None:
    """PYTHON that does not run is not replaced by what else there is."""
    status, _, err = clone.run(PYTHON="/nonexistent/python3")
    assert status == 1
    line = (
        "scripts/probe: PYTHON=/nonexistent/python3 is no Python 3.11 or newer that runs; name another, or unset "
        "PYTHON to have one looked for"
    )
    assert err == [line]


def test_the_newest_interpreter_that_runs_is_taken(clone: Clone, bin_directory: Path) -> None:
    """Past a shim that does not run; where the name leads into an environment, what that was made of is taken."""
    program(bin_directory / "python3.14", "exit 127")
    other = clone.path / "other"
    subprocess.run([base(), "-m", "venv", "--without-pip", other], check=True)
    (clone.path / "scripts" / "show").write_text('. "${0%/*}/lib/environment.sh"\ninterpreter\n', encoding="utf-8")
    status, out, err = clone.run(script="show", PATH=f"{bin_directory}:{other}/bin", PYTHON="")
    assert (status, err) == (0, [])
    assert os.path.samefile(out.strip(), base())


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        pytest.param({}, "127.0.0.1,localhost,::1", id="nothing"),
        pytest.param({"NO_PROXY": ".corp"}, ".corp,127.0.0.1,localhost,::1", id="the large spelling"),
        pytest.param({"no_proxy": "localhost,.corp"}, "localhost,.corp,127.0.0.1,::1", id="some of it"),
        pytest.param({"no_proxy": "*"}, "*", id="everything"),
    ],
)
def test_a_proxy_never_catches_loopback(clone: Clone, given: dict[str, str], expected: str) -> None:
    """What was exempt stays exempt, in both spellings."""
    show = 'set -eu\n. "${0%/*}/lib/environment.sh"\necho "$no_proxy" "$NO_PROXY"\n'
    (clone.path / "scripts" / "show").write_text(show, encoding="utf-8")
    assert clone.run(script="show", **given) == (0, f"{expected} {expected}\n", [])


def test_what_would_put_packages_elsewhere_has_no_influence(clone: Clone, tmp_path: Path) -> None:
    """A shell set up for something else does not spoil the environment."""
    poison = tmp_path / "poison"
    poison.mkdir()
    (poison / "tempfile.py").write_text("raise SystemExit('poisoned')\n", encoding="utf-8")
    elsewhere = tmp_path / "elsewhere"
    status, out, err = clone.run(
        PYTHONPATH=str(poison), PIP_USER="1", PIP_TARGET=str(elsewhere), PIP_PREFIX=str(elsewhere), PYTHONSTARTUP="x"
    )
    assert (status, out.splitlines()[2:]) == (0, [str(clone.venv)]), err
    assert not elsewhere.exists()


@pytest.mark.needs("mount namespaces")
def test_without_ensurepip_the_pinned_pip_comes_from_the_configured_index(clone: Clone) -> None:
    """As Debian without python3-venv: half an environment is thrown away, and a wheel with the pinned hash is taken."""
    wheel = pip_wheel()
    clone.pin(wheel)
    with index(wheel) as address:
        status, out, err = clone.run(before=masks(), PIP_NO_INDEX="", PIP_INDEX_URL=address)
    assert (status, out.splitlines()[2:]) == (0, [str(clone.venv)]), err
    version = subprocess.run(
        [clone.venv / "bin" / "pip", "--version"], capture_output=True, text=True, check=True
    ).stdout
    assert version.split()[1] == wheel.name.split("-")[1]


@pytest.mark.needs("mount namespaces")
def test_a_pip_that_is_not_the_pinned_one_is_never_started(clone: Clone) -> None:
    """An index that serves something else under the name: refused by its hash, before anything of it runs."""
    wheel = pip_wheel()
    clone.pin(wheel)
    with index(wheel, wheel.read_bytes() + b"\0") as address:
        status, _, err = clone.run(before=masks(), PIP_NO_INDEX="", PIP_INDEX_URL=address)
    served = f"scripts/probe: the configured package index serves a {wheel.name} that is not the pinned one"
    assert (status, err[1:]) == (1, [f"{served}; ask who runs the index"])
    assert not clone.venv.exists()
    assert leftovers(clone) == []


@pytest.mark.needs("mount namespaces")
def test_without_ensurepip_and_without_network(clone: Clone, bin_directory: Path) -> None:
    """Nothing can be had: one line with the package to install."""
    for tool in ("mount", "sh", "unshare"):
        found = shutil.which(tool)
        assert found is not None
        (bin_directory / tool).symlink_to(found)
    status, out, err = clone.run(before=masks(), PATH=str(bin_directory))
    assert (status, out) == (1, "")
    line = (
        "scripts/probe: .venv can't be made: this Python has no pip of its own, and none could be had; "
        "on Debian and Ubuntu: apt-get install python3-venv (details: .build/venv.log)"
    )
    assert err[1:] == [line]


@pytest.mark.needs("mount namespaces")
def test_a_full_disk(clone: Clone) -> None:
    """One line that names the disk, not what failed first because of it."""
    small = f"cp -r '{clone.path}' '{clone.path}.full' && mount -t tmpfs -o size=4m none '{clone.path}.full'"
    small += f" && cp -r '{clone.path}/.' '{clone.path}.full' && exec bash '{clone.path}.full/scripts/probe'"
    before = ["unshare", "--mount", "--propagation", "private", "sh", "-c", small, "sh"]
    status, out, err = clone.run(before=before)
    assert (status, out) == (1, "")
    assert err[1].startswith(
        "scripts/probe: .venv can't be made: the disk is full; free about 1 GB there or clone elsewhere"
    )
    assert len(err) == 2


def test_a_clone_that_may_not_be_written(clone: Clone) -> None:
    """A file where the directory of the build should be stands for whatever forbids it, root included."""
    (clone.path / ".build").touch()
    status, out, err = clone.run()
    assert (status, out) == (1, "")
    assert err == [f"scripts/probe: .venv can't be made: {clone.path}/.build: File exists; make {clone.path} writable"]


@pytest.mark.parametrize("script", ["test", "check", "demo", "verify-cloud"])
def test_help_needs_no_environment(tmp_path: Path, bin_directory: Path, script: str) -> None:
    """`--help` answers on a machine without Python, from any directory, and makes nothing."""
    copy = tmp_path / "copy"
    shutil.copytree(SCRIPTS, copy / "scripts")
    done = subprocess.run(
        ["bash", copy / "scripts" / script, "--help"],
        cwd="/",
        env={"PATH": str(bin_directory)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"Usage: bash scripts/{script}")
    assert f"Example: bash scripts/{script}" in done.stdout or f"Examples: bash scripts/{script}" in done.stdout
    assert done.stderr == ""
    assert [path.name for path in copy.iterdir()] == ["scripts"]


@pytest.mark.parametrize("script", ["test", "check", "demo", "verify-cloud"])
def test_a_script_may_be_started_without_bash(script: str) -> None:
    """Each is executable, too."""
    assert os.access(SCRIPTS / script, os.X_OK)


def test_check_takes_no_arguments(bin_directory: Path) -> None:
    """A word that means nothing is usage, not ignored."""
    done = subprocess.run(
        ["bash", SCRIPTS / "check", "--fix"],
        env={"PATH": str(bin_directory)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: bash scripts/check")


def test_every_dependency_has_a_lower_bound_that_can_be_held() -> None:
    """`scripts/test --lowest` turns each `>=` into `==`; another form would silently not be held."""
    project = tomllib.loads((SCRIPTS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = [*project["dependencies"], *(row for extra in project["optional-dependencies"].values() for row in extra)]
    assert len(rows) > 10
    assert [row for row in rows if not re.fullmatch(r"[a-z0-9-]+(\[[a-z,]+\])?>=\d+(\.\d+)*", row)] == []
