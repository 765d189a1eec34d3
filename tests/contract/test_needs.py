"""The suite's own rule: what a machine lacks is named, and a CI skips nothing. Each case is a pytest run of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

CONFTEST = """\
pytest_plugins = ["plugins.needs", "plugins.gate"]

def pytest_configure():
    from plugins.needs import NEEDS, Need
    NEEDS["moon"] = Need(lambda: False, "apt-get install moon")
    NEEDS["earth"] = Need(lambda: True, "apt-get install earth")
"""


def run(directory: Path, tests: str, *arguments: str, ci: str = "") -> subprocess.CompletedProcess[str]:
    """Run tests with the plugins, and with two more needs: one is never met, one always is."""
    (directory / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (directory / "test_it.py").write_text("import pytest\n" + tests, encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "PYTEST_ADDOPTS"}}
    command = [sys.executable, *arguments, "-m", "pytest", "-p", "no:cacheprovider", f"--rootdir={directory}"]
    return subprocess.run(
        [*command, *(["--every-branch"] if arguments else []), str(directory)],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(TESTS)} | ({"CI": ci} if ci else {}),
        capture_output=True,
        text=True,
        check=False,
    )


NEEDY = """
@pytest.mark.needs("moon")
def test_there(): raise AssertionError

@pytest.mark.needs("moon", "earth")
def test_back(): raise AssertionError

@pytest.mark.needs("earth")
def test_here(): pass
"""


def test_what_a_machine_lacks_is_skipped_and_listed(tmp_path: Path) -> None:
    """Once per thing, with how many tests and the command; the closing line stays pytest's."""
    done = run(tmp_path, NEEDY)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, done.stdout
    assert "2 without moon: apt-get install moon" in lines
    assert "1 passed, 2 skipped in" in lines[-1]


def test_with_ci_what_a_machine_lacks_is_a_failure(tmp_path: Path) -> None:
    """The same tests fail, with the command, without having run."""
    done = run(tmp_path, NEEDY, ci="true")
    assert done.returncode == 1
    assert "needs moon: apt-get install moon" in done.stdout
    assert "AssertionError" not in done.stdout
    assert "1 passed, 2 errors in" in done.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    "skip",
    [
        pytest.param("def test_it(): pytest.skip('no reason')", id="a test"),
        pytest.param("pytest.importorskip('absent_module')", id="a module"),
        pytest.param("@pytest.mark.skipif(True, reason='no reason')\ndef test_it(): pass", id="a marker"),
    ],
)
def test_with_ci_any_skip_is_a_failure(tmp_path: Path, skip: str) -> None:
    """However a test is skipped, a run of which a part did not run is not green."""
    (tmp_path / "test_more.py").write_text("def test_more(): pass\n", encoding="utf-8")
    assert run(tmp_path, skip).returncode == 0
    done = run(tmp_path, skip, ci="true")
    assert done.returncode == 1, done.stdout
    assert "1 skipped with CI=true: a test that did not run counts as failed" in done.stdout


def test_a_need_that_nobody_knows_is_an_error(tmp_path: Path) -> None:
    """A mistyped need would be met nowhere, or everywhere."""
    done = run(tmp_path, "@pytest.mark.needs('mon')\ndef test_it(): pass")
    assert done.returncode == 1
    assert "KeyError: 'mon'" in done.stdout


COVERAGE = ("-m", "coverage", "run", "--branch", "--data-file=.coverage-data")


@pytest.mark.parametrize(("calls", "status"), [("policy.f(0), policy.f(1)", 0), ("policy.f(1)", 1)])
def test_a_branch_that_did_not_run_fails_the_run(tmp_path: Path, calls: str, status: int) -> None:
    """The modules that decide are held to every branch, and only they."""
    package = tmp_path / "pullpass"
    package.mkdir()
    (package / "__init__.py").write_text("", encoding="utf-8")
    (package / "policy.py").write_text("def f(x):\n    if x:\n        x += 1\n    return x\n", encoding="utf-8")
    (package / "install.py").write_text("def f(x):\n    return x\n", encoding="utf-8")
    tests = f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nfrom pullpass import install, policy\n"
    done = run(tmp_path, f"{tests}\ndef test_it(): {calls}\n", *COVERAGE)
    assert done.returncode == status, done.stdout + done.stderr
    assert "branches of the modules that decide" in done.stdout
    assert ("2->4" in done.stdout) == (status == 1)
    assert "1 passed in" in done.stdout.splitlines()[-1]


def test_every_branch_without_coverage_is_refused(tmp_path: Path) -> None:
    """Nothing measured is not everything covered."""
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n", encoding="utf-8")
    done = run(tmp_path, "def test_it(): pass", "-X", "dev")
    assert done.returncode != 0
    assert "works under `coverage run -m pytest`" in done.stdout + done.stderr
