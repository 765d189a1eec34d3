"""The check of the source tree's shape finds what it is there to find, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHAPE = Path(__file__).parents[2] / "scripts" / "lib" / "shape.py"


def run(directory: Path, files: dict[str, str]) -> tuple[int, list[str]]:
    """Check a repository that has these files."""
    subprocess.run(["git", "init", "-q", directory], check=True)
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    done = subprocess.run([sys.executable, SHAPE, directory], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def function(lines: int) -> str:
    """A function of so many lines."""
    return "@decorated\ndef f():\n" + "    x = 1\n" * (lines - 1)


HOME = f"/{'home'}/somebody/project"  # in one piece, the check would find this line


@pytest.mark.parametrize(
    ("files", "found"),
    [
        pytest.param({"provider/a/b/c.py": "x = 1\n" * 400, "README.md": "x\n" * 999}, [], id="as it should be"),
        pytest.param(
            {"tests/a.py": "x = 1\n" * 401},
            ["tests/a.py:401: the file has 401 lines; at most 400: split it by what it knows"],
            id="a long file",
        ),
        pytest.param({"a.py": function(50)}, [], id="a function"),
        pytest.param({"a.py": function(51)}, ["a.py:2: f has 51 lines; at most 50"], id="a long function"),
        pytest.param(
            {"a.py": "class C:\n    async def f(self):\n" + "        x = 1\n" * 50},
            ["a.py:2: f has 51 lines; at most 50"],
            id="a long method",
        ),
        pytest.param(
            {"provider/a/b/c/d.py": "", "tests/a/b/c/d.py": ""},
            ["provider/a/b/c/d.py:1: 3 levels of packages; at most 2"],
            id="a deep package",
        ),
        pytest.param(
            {"provider/__init__.py": ""},
            ["provider/__init__.py:1: the source root is no package: without this file nobody imports it by mistake"],
            id="a package of the source root",
        ),
        pytest.param({"doc.md": f"one\nsee {HOME}/x\n"}, ["doc.md:2: a path of one machine"], id="somebody's home"),
        pytest.param({"doc.md": "/home/ and /rootless are no homes of anybody\n"}, [], id="no home"),
        pytest.param({"doc.md": "/home/kubernetes/bin is a place of GKE's\n"}, [], id="the home of every GKE node"),
        pytest.param({".gitignore": "made/\n", "made/a.py": "x = 1\n" * 999}, [], id="what git ignores"),
    ],
)
def test_what_is_found(tmp_path: Path, files: dict[str, str], found: list[str]) -> None:
    """One line for each finding, which names the place; the exit status says whether there was any."""
    assert run(tmp_path, files) == (1 if found else 0, found)


def test_the_path_of_the_checkout_is_found(tmp_path: Path) -> None:
    """Wherever the repository lies, its own absolute path belongs in none of its files."""
    assert run(tmp_path, {"a.toml": f'x = "{tmp_path}/b"\n'}) == (1, ["a.toml:1: a path of one machine"])
