"""A clone of the repository's scripts around a small project, of which an environment can be made without a network."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import http.server
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SCRIPTS = Path(__file__).parents[2] / "scripts"

# A script as all are, which shows what it got.
PROBE = """\
set -euo pipefail
. "$(dirname -- "${BASH_SOURCE[0]}")/lib/environment.sh"
environment .venv aws,dev
"$VENV/bin/python" -m small "$VENV"
"$VENV/bin/small"
"""

PROJECT = """\
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]

[project]
name = "small"
version = "1.0"
dependencies = []

[project.optional-dependencies]
aws = []
dev = []
"""

# Builds the project as hatchling would, from nothing. While a file `hold` stands beside it, it waits: a test can then
# do something in the middle.
BACKEND = """\
import os, time, tomllib, zipfile

def build_editable(directory, config_settings=None, metadata_directory=None):
    open("reached", "w").close()
    while os.path.exists("hold"):
        time.sleep(0.05)
    with open("pyproject.toml", "rb") as stream:
        needed = tomllib.load(stream)["project"]["dependencies"]
    info = "small-1.0.dist-info"
    rows = ["Metadata-Version: 2.1", "Name: small", "Version: 1.0", "Provides-Extra: aws", "Provides-Extra: dev"]
    files = {
        "small.pth": os.path.join(os.getcwd(), "provider") + "\\n",
        info + "/METADATA": "\\n".join(rows + ["Requires-Dist: " + row for row in needed]) + "\\n",
        info + "/WHEEL": "Wheel-Version: 1.0\\nGenerator: small\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
        info + "/entry_points.txt": "[console_scripts]\\nsmall = small:main\\n",
    }
    files[info + "/RECORD"] = "".join(name + ",,\\n" for name in [*files, info + "/RECORD"])
    name = "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        for file, text in files.items():
            wheel.writestr(file, text)
    return name
"""

MODULE = """\
import sys
def main():
    print(sys.prefix, *sys.argv[1:], sep="\\n")
if __name__ == "__main__":
    main()
"""


def base() -> str:
    """The interpreter that the tests' own environment was made of."""
    executable: str = sys._base_executable  # type: ignore[attr-defined]
    return executable


class Clone:
    """See the module.

    Args:
        path: where it is made.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        shutil.copytree(SCRIPTS / "lib", path / "scripts" / "lib", ignore=shutil.ignore_patterns("__pycache__"))
        (path / "provider").mkdir()
        (path / "provider" / "small.py").write_text(MODULE, encoding="utf-8")
        (path / "scripts" / "probe").write_text(PROBE, encoding="utf-8")
        (path / "pyproject.toml").write_text(PROJECT, encoding="utf-8")
        (path / "backend.py").write_text(BACKEND, encoding="utf-8")
        self.venv = path / ".venv"

    def start(self, *, before: Sequence[str] = (), script: str = "probe", **environment: str) -> subprocess.Popen[str]:
        """Start a script from another directory, in an environment that holds nothing of the tests' own.

        Args:
            before: words of a command that starts the script.
            script: its name under `scripts`.
            environment: variables; by default the interpreter is given and pip has neither configuration nor network.
        """
        variables = {"PATH": os.environ["PATH"], "HOME": str(self.path.parent), "PYTHON": base(), "PIP_NO_INDEX": "1"}
        variables |= {"PIP_CONFIG_FILE": os.devnull, "LC_ALL": "C.UTF-8"} | environment
        return subprocess.Popen(
            [*before, "bash", str(self.path / "scripts" / script)],
            cwd="/",
            env={name: value for name, value in variables.items() if value},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def run(
        self, *, before: Sequence[str] = (), script: str = "probe", **environment: str
    ) -> tuple[int, str, list[str]]:
        """Run a script to its end: exit status, stdout, lines of stderr."""
        process = self.start(before=before, script=script, **environment)
        out, err = process.communicate(timeout=240)
        return process.returncode, out, err.splitlines()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """While in here, no build gets beyond its middle."""
        hold = self.path / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()

    def wait_for_middle(self, process: subprocess.Popen[str]) -> None:
        """Wait until a build has got there."""
        while not (self.path / "reached").exists():
            assert process.poll() is None, "the build ended without having been in its middle"
            time.sleep(0.05)

    def pin(self, wheel: Path) -> None:
        """Pin another pip than the repository does: one that is at hand."""
        version = re.fullmatch(r"pip-(.+)-py3-none-any\.whl", wheel.name)
        assert version is not None
        digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
        row = f"pip=={version[1]} --hash=sha256:{digest}\n"
        (self.path / "scripts" / "lib" / "pip.txt").write_text(row, encoding="utf-8")


def pip_wheel() -> Path:
    """A wheel of pip: the one that the interpreter bundles, or Debian's in its place."""
    ask = "import ensurepip, os; print(os.path.join(os.path.dirname(ensurepip.__file__), '_bundled'))"
    bundled = subprocess.run([base(), "-I", "-c", ask], capture_output=True, text=True, check=True).stdout.strip()
    wheels = [*Path(bundled).glob("pip-*.whl"), *Path("/usr/share/python-wheels").glob("pip-*.whl")]
    assert wheels, f"{base()} has no pip in {bundled}"
    return wheels[0]


def masks() -> list[str]:
    """Words that start a command where the interpreter has no ensurepip, no pip, and Debian's wheels are gone."""
    ask = (
        "from importlib.util import find_spec\n"
        "for name in ('ensurepip', 'pip'):\n"
        "    print(*(spec.submodule_search_locations if (spec := find_spec(name)) else ()))"
    )
    found = subprocess.run([base(), "-I", "-c", ask], capture_output=True, text=True, check=True).stdout.split()
    places = [place for place in [*found, "/usr/share/python-wheels"] if os.path.isdir(place)]
    covered = " && ".join(f"mount -t tmpfs none '{place}'" for place in places)
    return ["unshare", "--mount", "--propagation", "private", "sh", "-c", f'{covered} && exec "$@"', "sh"]


@contextlib.contextmanager
def index(wheel: Path, content: bytes | None = None) -> Iterator[str]:
    """A package index on loopback that has one wheel of pip; its address.

    Args:
        wheel: what it has.
        content: what it serves under that name in its place.
    """

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path == "/simple/pip/":
                body = f'<a href="../../files/{wheel.name}">{wheel.name}</a>'.encode()
            elif self.path == f"/files/{wheel.name}":
                body = wheel.read_bytes() if content is None else content
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/html" if self.path.endswith("/") else "application/octet-stream")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=functools.partial(server.serve_forever, 0.05))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()
