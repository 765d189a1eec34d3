"""Tests that need a program, or a right, which a machine may lack: `@pytest.mark.needs("skopeo")`.

On a machine that lacks it the test is skipped, and the run ends with a list of what did not run and the command that
installs what was missing. With `CI=true` nothing may be skipped, for whatever reason: a green run is one in which
everything ran.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable


class Need(NamedTuple):
    """Something that a machine may lack.

    Attributes:
        is_met: whether this machine has it.
        remedy: the command that changes that.
    """

    is_met: Callable[[], bool]
    remedy: str


def has(program: str) -> Callable[[], bool]:
    """Whether there is such a program."""
    return lambda: shutil.which(program) is not None


def has_mount_namespaces() -> bool:
    """Whether a process may have a view of the file system of its own: root outside most containers."""
    command = ["unshare", "--mount", "--propagation", "private", "true"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, capture_output=True, check=False).returncode == 0
    )


NEEDS = {
    "skopeo": Need(has("skopeo"), "apt-get install skopeo"),
    "strace": Need(has("strace"), "apt-get install strace"),
    "root": Need(lambda: os.geteuid() == 0, "sudo bash scripts/test"),
    "mount namespaces": Need(has_mount_namespaces, "sudo bash scripts/test, not inside a container"),
}

MISSING: pytest.StashKey[Counter[str]] = pytest.StashKey()


def is_ci() -> bool:
    """Whether this run must be complete."""
    return os.environ.get("CI") == "true"


def need(config: pytest.Config, name: str) -> None:
    """Go on where this machine has what is named; for fixtures, which have no markers."""
    if NEEDS[name].is_met():
        return
    config.stash[MISSING][name] += 1
    what = f"needs {name}: {NEEDS[name].remedy}"
    if is_ci():
        pytest.fail(what, pytrace=False)
    pytest.skip(what)


def pytest_configure(config: pytest.Config) -> None:
    """Registers the marker."""
    config.stash[MISSING] = Counter()
    config.addinivalue_line(
        "markers", "needs(name, ...): what of NEEDS in tests/plugins/needs.py the test can't do without"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Looks at a test's needs before its fixtures are made."""
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            need(item.config, name)


def skipped(config: pytest.Config) -> int:
    """How many tests and modules were skipped so far."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    return len(reporter.stats.get("skipped", [])) if reporter is not None else 0


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Turns a run of a CI in which something was skipped into a failed one."""
    if is_ci() and skipped(session.config) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Lists what did not run, and what would change that."""
    missing = config.stash[MISSING]
    left_out = skipped(config)
    if not missing and not (is_ci() and left_out):
        return
    terminalreporter.section("not run on this machine")
    for name, count in sorted(missing.items()):
        terminalreporter.line(f"{count} without {name}: {NEEDS[name].remedy}")
    if is_ci() and left_out:
        terminalreporter.line(f"{left_out} skipped with CI=true: a test that did not run counts as failed", red=True)
