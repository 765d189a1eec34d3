"""Makes the Python environment of a script: known by its stamp, built aside, put in place by a rename.

Standard library alone: it runs under whichever interpreter the machine has, before anything is installed.

1. An environment whose stamp is right is left alone. The stamp covers what pyproject.toml declares, the interpreter,
   the place and what was asked for; it is written last, so that half an environment has none.
2. One builder at a time per environment, by a lock; who waited finds the work done.
3. `venv` first. Debian cuts `ensurepip` out of it: there an environment without pip is made, and some other pip
   installs the one that pip.txt pins by hash. Which pip that may be, see `_starters`.
4. Whatever fails is said in one line with the next step; pip's own words are in .build/.
"""

from __future__ import annotations

import argparse
import errno
import fcntl
import glob
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
from configparser import ConfigParser
from configparser import Error as ConfigError
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import TextIO

PIP_PIN = os.path.join(os.path.dirname(os.path.abspath(__file__)), "pip.txt")
STAMP = "pullpass-environment"
DEBIAN = "on Debian and Ubuntu: apt-get install python3-venv"
SYSTEM_CA = "/etc/ssl/certs/ca-certificates.crt"


class MakingError(Exception):
    """What could not be done and the next step, in one line."""


class Wanted:
    """What is to be made, and where.

    Args:
        root: The repository.
        name: The environment's directory, under the root.
        extras: Extras of the project, with commas; nothing for the bare project.
        lowest: Whether dependencies are held at their lowest allowed versions, and the project is not installed
            editable but as its wheel: what somebody gets whose other packages hold it back.
    """

    def __init__(self, root: str, name: str, extras: str, *, lowest: bool) -> None:
        """See the class."""
        self.root = root
        self.path = os.path.join(root, name)
        self.making = os.path.join(root, f"{name}.making")
        self.old = os.path.join(root, f"{name}.old")
        self.name = name
        self.lowest = lowest
        self.requirement = f".[{extras}]" if extras else "."
        self.build = os.path.join(root, ".build")
        self.log = os.path.join(self.build, f"{name.lstrip('.')}.log")

    def stamp(self) -> str:
        """The hash that the environment must carry."""
        digest = hashlib.sha256()
        declared = [_pyproject(self.root)[table] for table in ("project", "build-system")]
        wanted = (self.path, self.requirement, str(self.lowest), sys.version, sys.executable, json.dumps(declared))
        for part in wanted:
            digest.update(part.encode() + b"\0")
        for file in (os.path.abspath(__file__), PIP_PIN, *(self._source() if self.lowest else ())):
            with open(file, "rb") as stream:
                digest.update(hashlib.sha256(stream.read()).digest())
        return digest.hexdigest()

    def _source(self) -> list[str]:
        """The files that make the wheel."""
        found = glob.glob(os.path.join(self.root, "provider", "**"), recursive=True)
        return sorted(file for file in found if os.path.isfile(file) and not file.endswith(".pyc"))

    def is_current(self, stamp: str) -> bool:
        """Whether what stands there is what is wanted."""
        try:
            with open(os.path.join(self.path, STAMP), encoding="ascii") as stream:
                return stream.read() == stamp and os.access(os.path.join(self.path, "bin", "python"), os.X_OK)
        except OSError:
            return False


def _pyproject(root: str) -> dict[str, Any]:
    """The project's declaration."""
    with open(os.path.join(root, "pyproject.toml"), "rb") as stream:
        return tomllib.load(stream)


def ensure(wanted: Wanted) -> None:
    """Leaves the environment in place, built if need be."""
    stamp = wanted.stamp()
    if wanted.is_current(stamp):
        return
    os.makedirs(wanted.build, exist_ok=True)
    with open(f"{wanted.log}.lock", "w", encoding="ascii") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            _say(f"{wanted.name} is being made by another run; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not wanted.is_current(stamp):
            _build(wanted, stamp)


def _build(wanted: Wanted, stamp: str) -> None:
    """Builds aside and swaps. The lock is held, so what stands under the two other names is a leftover."""
    version = ".".join(str(number) for number in sys.version_info[:3])
    _say(f"making {wanted.name} with Python {version}; takes a minute or two, once")
    started_s = time.monotonic()
    for leftover in (wanted.making, wanted.old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        with open(wanted.log, "w", encoding="utf-8") as log:
            python = _bare(wanted, log)
            _install(wanted, python, log)
        _settle(wanted)
        with open(os.path.join(wanted.making, STAMP), "w", encoding="ascii") as stream:
            stream.write(stamp)
        # A run that is using the old one finds the new one under the same name, but for this one instant.
        if os.path.lexists(wanted.path):
            os.rename(wanted.path, wanted.old)
        os.rename(wanted.making, wanted.path)
    finally:
        for leftover in (wanted.making, wanted.old):
            shutil.rmtree(leftover, ignore_errors=True)
    _say(f"{wanted.name} made in {time.monotonic() - started_s:.0f} s")


def _bare(wanted: Wanted, log: TextIO) -> str:
    """An environment with pip and nothing else; returns its interpreter."""
    python = os.path.join(wanted.making, "bin", "python")
    venv = [sys.executable, "-I", "-m", "venv"]
    if _run([*venv, wanted.making], wanted.root, log):
        return python
    if _run([sys.executable, "-I", "-m", "ensurepip", "--version"], wanted.root, log):
        raise _failure(wanted, f"Python's venv module failed; {DEBIAN}")
    # Debian without python3-venv stops in the middle and leaves an environment that looks like one.
    shutil.rmtree(wanted.making, ignore_errors=True)
    if not _run([*venv, "--without-pip", wanted.making], wanted.root, log):
        raise _failure(wanted, f"Python's venv module failed; {DEBIAN}")
    with tempfile.TemporaryDirectory(prefix="pullpass-pip-") as scratch:
        for starter, settings in _starters(scratch, python, log):
            pinned = [*starter, "install", "--quiet", "--require-hashes", "--requirement", PIP_PIN]
            if _run(pinned, wanted.root, log, settings):
                return python
    raise _failure(wanted, f"this Python has no pip of its own, and none could be had; {DEBIAN}")


def _starters(scratch: str, python: str, log: TextIO) -> Iterator[tuple[list[str], dict[str, str]]]:
    """Ways to start some pip for an environment that has none, the nearest first, as a command and further variables.

    What the machine's root installed, what its package manager fetches and checks by signature, and what a configured
    index serves under the pinned hash are believed; nothing else is started.
    """
    for wheel in sorted(glob.glob("/usr/share/python-wheels/pip-*.whl"), reverse=True):
        yield [python, os.path.join(wheel, "pip")], {}
    if _run([sys.executable, "-I", "-m", "pip", "--version"], scratch, log):
        yield [sys.executable, "-I", "-m", "pip", "--python", python], {}
    fetched = _pip_of_index(scratch, log)
    if fetched is not None:
        yield [python, os.path.join(fetched, "pip")], {}
    if shutil.which("apt-get") and shutil.which("dpkg-deb"):
        wheels = _pip_of_debian(scratch, log)
        settings = _authorities(scratch)
        for wheel in wheels:
            yield [python, os.path.join(wheel, "pip")], settings


def _pip_of_index(scratch: str, log: TextIO) -> str | None:
    """The pinned wheel from the package index that this machine is configured for; None where none is, or it fails.

    pip knows a default index; without pip there is none to be known, and an index guessed here might not be the one
    that the machine's owner allows.
    """
    index = _configured_index()
    with open(PIP_PIN, encoding="utf-8") as stream:
        pin = re.search(r"^pip==(\S+) --hash=sha256:([0-9a-f]{64})$", stream.read(), re.MULTILINE)
    if index is None or pin is None:
        return None
    name = f"pip-{pin[1]}-py3-none-any.whl"
    page = index.rstrip("/") + "/pip/"
    try:
        links = re.findall(r'href="([^"]+)"', _get(page).decode("utf-8", "replace"))
        link = next(link for link in links if urllib.parse.urlsplit(link).path.rpartition("/")[2] == name)
        body = _get(urllib.parse.urljoin(page, link))
    except (OSError, ValueError, StopIteration) as error:
        print(f"the configured index did not serve {name}: {error!r}", file=log)
        return None
    if hashlib.sha256(body).hexdigest() != pin[2]:
        raise MakingError(
            f"the configured package index serves a {name} that is not the pinned one; ask who runs the index"
        )
    path = os.path.join(scratch, name)
    with open(path, "wb") as wheel:
        wheel.write(body)
    return path


def _get(url: str) -> bytes:
    """One page or file of an index."""
    if urllib.parse.urlsplit(url).scheme not in {"https", "http"}:
        raise ValueError(f"not a web address: {url}")
    with urllib.request.urlopen(url, timeout=60) as answer:  # noqa: S310 - the scheme was looked at
        content: bytes = answer.read()
    return content


def _configured_index() -> str | None:
    """PIP_INDEX_URL, or index-url of the files that pip would read."""
    named = os.environ.get("PIP_INDEX_URL")
    if named:
        return named
    home = os.path.expanduser("~")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.join(home, ".config")
    files = ["/etc/pip.conf", f"{home}/.pip/pip.conf", f"{config}/pip/pip.conf", os.environ.get("PIP_CONFIG_FILE", "")]
    parser = ConfigParser(interpolation=None)
    try:
        parser.read([file for file in files if file], encoding="utf-8")
    except (ConfigError, UnicodeError):
        return None
    return parser.get("install", "index-url", fallback=parser.get("global", "index-url", fallback=None))


def _pip_of_debian(scratch: str, log: TextIO) -> list[str]:
    """Debian's package of pip's wheel, fetched into a directory of our own: needs neither root nor an earlier update.

    Nothing is installed; apt checks the signatures. `ca-certificates` comes along for a machine that has none, since
    Debian's pip trusts the system's authorities only.
    """
    lists, cache = (os.path.join(scratch, part) for part in ("lists", "cache"))
    for directory in (lists, cache, os.path.join(cache, "archives")):
        os.makedirs(os.path.join(directory, "partial"))
    # As root, apt hands its downloads to a user of its own, who must get in here.
    os.chmod(scratch, 0o755)  # noqa: S103
    apt = ["apt-get", "-q", "-o", f"Dir::State::lists={lists}", "-o", f"Dir::Cache={cache}"]
    _say("this Python has no pip (python3-venv is not installed): fetching Debian's without installing it")
    if not _run([*apt, "update"], scratch, log):
        return []
    if not _run([*apt, "download", "python3-pip-whl", "ca-certificates"], scratch, log):
        return []
    for package in glob.glob(os.path.join(scratch, "*.deb")):
        _run(["dpkg-deb", "--extract", package, os.path.join(scratch, "deb")], scratch, log)
    return glob.glob(os.path.join(scratch, "deb", "usr", "share", "python-wheels", "pip-*.whl"))


def _authorities(scratch: str) -> dict[str, str]:
    """Variables that give Debian's pip the authorities of its own package where the machine has none."""
    if os.path.exists(SYSTEM_CA) or os.environ.get("PIP_CERT"):
        return {}
    bundle = os.path.join(scratch, "authorities.pem")
    with open(bundle, "wb") as out:
        for file in sorted(glob.glob(os.path.join(scratch, "deb", "usr", "share", "ca-certificates", "*", "*.crt"))):
            with open(file, "rb") as stream:
                out.write(stream.read().rstrip() + b"\n")
    return {"PIP_CERT": bundle}


def _install(wanted: Wanted, python: str, log: TextIO) -> None:
    """Installs the project and what the extras name."""
    command = [python, "-I", "-m", "pip", "install", "--quiet", "--no-input"]
    command += [wanted.requirement] if wanted.lowest else ["--editable", wanted.requirement]
    if wanted.lowest:
        constraints = os.path.join(wanted.build, "lowest.txt")
        with open(constraints, "w", encoding="utf-8") as out:
            out.writelines(f"{line}\n" for line in lowest(wanted.root))
        command += ["--constraint", constraints]
    if not _run(command, wanted.root, log):
        raise _failure(wanted, "installing the project's dependencies failed")


def lowest(root: str) -> list[str]:
    """Constraints that hold every dependency at the lower bound that pyproject.toml gives it.

    The tools under `dev` are left free: their bounds are no promise to anybody who uses the package.
    """
    project = _pyproject(root)["project"]
    rows = list(project["dependencies"])
    for extra, requirements in project["optional-dependencies"].items():
        if extra != "dev":
            rows += requirements
    return [re.sub(r"\[[^]]*\]", "", row).replace(">=", "==") for row in rows]


def _settle(wanted: Wanted) -> None:
    """Writes the final place into what carries the temporary one: the interpreter lines of scripts, and activate."""
    temporary, final = os.fsencode(wanted.making), os.fsencode(wanted.path)
    directory = os.path.join(wanted.making, "bin")
    for file in [
        os.path.join(wanted.making, "pyvenv.cfg"),
        *(os.path.join(directory, name) for name in os.listdir(directory)),
    ]:
        if os.path.islink(file) or not os.path.isfile(file):
            continue
        with open(file, "rb") as stream:
            content = stream.read()
        if temporary in content and b"\0" not in content:
            with open(file, "wb") as stream:
                stream.write(content.replace(temporary, final))


def _run(command: list[str], directory: str, log: TextIO, settings: dict[str, str] | None = None) -> bool:
    """Runs a command, its output in the log; whether it succeeded."""
    print("$", *command, file=log, flush=True)
    # Byte code is wanted in an environment whatever the caller's shell says.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    variables.update(settings or {}, PIP_DISABLE_PIP_VERSION_CHECK="1")
    try:
        done = subprocess.run(
            command, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=variables, check=False
        )
    except OSError as error:
        print(f"{command[0]}: {error}", file=log, flush=True)
        return False
    return done.returncode == 0


DISK_FULL = "the disk is full; free about 1 GB there or clone elsewhere"
CAUSES = (
    (r"No space left on device|Disk quota exceeded", DISK_FULL),
    (
        r"THESE PACKAGES DO NOT MATCH THE HASHES",
        "the package index serves a file that is not the pinned one; ask who runs it",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|CertificateError",
        "the package index's certificate is not trusted; apt-get install ca-certificates, or set PIP_CERT",
    ),
    (
        r"NewConnectionError|NameResolutionError|(Connect|Read)Timeout|ProxyError|Max retries exceeded|Temporary fail",
        "the package index can't be reached; connect this machine, set HTTPS_PROXY, or name a mirror in PIP_INDEX_URL",
    ),
)


def _failure(wanted: Wanted, what: str) -> MakingError:
    """The line for a failed step, with its cause where the log shows one that is known."""
    with open(wanted.log, encoding="utf-8", errors="replace") as stream:
        text = stream.read()
    cause = next((cause for pattern, cause in CAUSES if re.search(pattern, text)), what)
    # venv keeps to itself what stopped it.
    if shutil.disk_usage(wanted.root).free < 1 << 20:
        cause = DISK_FULL
    return MakingError(f"{wanted.name} can't be made: {cause} (details: {os.path.relpath(wanted.log, wanted.root)})")


def _say(what: str) -> None:
    """Progress, for a person."""
    print(f"{os.environ.get('PULLPASS_SCRIPT', 'environment.py')}: {what}", file=sys.stderr, flush=True)


def main() -> int:
    """Reads the arguments that environment.sh gives."""
    parser = argparse.ArgumentParser(description="Makes or keeps the Python environment of a script.")
    parser.add_argument("--lowest", action="store_true", help="hold the dependencies at their lower bounds")
    parser.add_argument("root", help="the repository")
    parser.add_argument("name", help="the environment's directory, under it")
    parser.add_argument("extras", help="extras of the project, with commas")
    arguments = parser.parse_args()
    wanted = Wanted(arguments.root, arguments.name, arguments.extras, lowest=arguments.lowest)
    try:
        ensure(wanted)
    except MakingError as error:
        _say(str(error))
    except OSError as error:
        if error.errno == errno.ENOSPC:
            _say(f"{wanted.name} can't be made: {DISK_FULL}")
        else:
            _say(f"{wanted.name} can't be made: {error.filename}: {error.strerror}; make {wanted.root} writable")
    except KeyboardInterrupt:
        _say("interrupted; what was half made is gone")
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
