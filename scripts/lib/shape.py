"""Looks at the source tree's shape, and prints a line for every place where it is not what it should be.

- a Python file has at most 400 lines, a function at most 50 (from its `def` on);
- packages are at most two levels deep, and the source root is no package itself;
- no file carries a path of the machine that it was written on.

Long files and functions are where mistakes hide, and each of them grew past a limit that nobody held.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE_LINES = 400
FUNCTION_LINES = 50
LEVELS = 2
SOURCE_ROOT = "provider"

# A home directory, or where this repository lies. Neither can be right on another machine, but for the one that every
# node of GKE has.
HOMES = re.compile(rb"/(?:root|home/(?!kubernetes/)[a-z_][a-z0-9_-]*|Users/\w+)/[\w.]")


def findings(root: str, files: list[str]) -> Iterator[str]:
    """What is wrong with the given files, which are named relative to the root."""
    for file in files:
        with open(os.path.join(root, file), "rb") as stream:
            content = stream.read()
        yield from _places(root, file, content)
        if file.endswith(".py"):
            yield from _sizes(file, content)
            yield from _levels(file)


def _sizes(file: str, content: bytes) -> Iterator[str]:
    lines = content.count(b"\n")
    if lines > FILE_LINES:
        yield f"{file}:{lines}: the file has {lines} lines; at most {FILE_LINES}: split it by what it knows"
    for node in ast.walk(ast.parse(content, file)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > FUNCTION_LINES:
                yield f"{file}:{node.lineno}: {node.name} has {length} lines; at most {FUNCTION_LINES}"


def _levels(file: str) -> Iterator[str]:
    *directories, name = file.split("/")
    if directories[:1] != [SOURCE_ROOT]:
        return
    packages = directories[1:]
    if not packages and name == "__init__.py":
        yield f"{file}:1: the source root is no package: without this file nobody imports it by mistake"
    if len(packages) > LEVELS:
        yield f"{file}:1: {len(packages)} levels of packages; at most {LEVELS}"


def _places(root: str, file: str, content: bytes) -> Iterator[str]:
    for number, line in enumerate(content.split(b"\n"), start=1):
        if HOMES.search(line) or os.fsencode(root) + b"/" in line:
            yield f"{file}:{number}: a path of one machine"


def tracked(root: str) -> list[str]:
    """The files of the repository: what git knows, and what is new and not ignored; without git, all but dot files."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    if shutil.which("git") and os.path.exists(os.path.join(root, ".git")):
        listed = subprocess.run(command, check=True, capture_output=True).stdout.split(b"\0")
        names = {os.fsdecode(name) for name in listed if name}
        return sorted(name for name in names if os.path.isfile(os.path.join(root, name)))
    found = []
    for directory, below, files in os.walk(root):
        below[:] = [name for name in below if not name.startswith(".") and name != "__pycache__"]
        found += [os.path.relpath(os.path.join(directory, name), root) for name in files if not name.startswith(".")]
    return sorted(found)


def main() -> int:
    """Checks the repository that is named first, or the one that this file is in."""
    root = os.path.abspath(sys.argv[1] if len(sys.argv) > 1 else os.path.join(os.path.dirname(__file__), "..", ".."))
    found = list(findings(root, tracked(root)))
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
