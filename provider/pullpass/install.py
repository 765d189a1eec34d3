"""Writing the launchers that the kubelet runs."""

from __future__ import annotations

import compileall
import os
import shlex
import stat
import sys
import sysconfig
from importlib.util import find_spec
from typing import Any

from pullpass import __version__, config, exchange
from pullpass.errors import PullpassError, outside
from pullpass.store import files

LAUNCHERS = ("pullpass-ecr", "pullpass-gcr")
PACKAGES = (
    "pullpass",
    "cryptography",
    "jwt",
    "boto3",
    "botocore",
    "urllib3",
    "dateutil",
    "jmespath",
    "google",
    "cachetools",
)

# The kernel reads at most 127 bytes of an interpreter line before Linux 5.1, and 255 since.
SHEBANG_LIMIT_BYTES = 127

# One flag word, because the kernel hands over everything after the interpreter as one argument: -I keeps PYTHON*
# variables, the user's packages and the current directory out of a process that runs as root; -S keeps out `site`, and
# with it every .pth file of somebody else's package.
TEMPLATE = """\
#!{interpreter} -IS
# Written by pullpass {version}; every change is lost when `pullpass install` is run again.
import posix
import sys


def stale(what):
    line = "pullpass: launcher-stale: " + what + "; run `" + {install!r} + "` again"
    try:
        posix.write(2, ("".join(char if char.isprintable() else "?" for char in line) + "\\n").encode())
    finally:
        posix._exit(6)


if sys.version_info[:2] != {python!r}:
    stale("it was written for Python {major}.{minor} and %d.%d runs it" % sys.version_info[:2])
# What `pullpass install` has not compiled stays as it is: a file that this process wrote would have the mode that the
# caller's umask says, and the next root process would run what is in it.
sys.dont_write_bytecode = True
# Behind the standard library, so that nothing in there can take the place of one of its modules.
sys.path.extend({libraries!r})
try:
    from pullpass.exec_client import main

    main({config!r}, {runtime!r})
except Exception as error:  # a file cut short by a power failure raises anything
    stale("the program can't be loaded (%s: %s)" % (type(error).__name__, error))
"""


def install(bin_dir: str, config_path: str) -> dict[str, Any]:
    """Write the launchers.

    Args:
        bin_dir: absolute; made, mode 0755, when it is absent.
        config_path: absolute; it must be valid, since its `paths.runtime` is fixed in the launchers.

    Returns:
        What was written, as `--json` prints it.

    Raises:
        PullpassError: the configuration is not valid, an SDK that it needs is not installed, the interpreter can't be
            named in an interpreter line, or the directory can't be written.
    """
    loaded = config.load(config_path)
    for section, extra in ((loaded.ecr, "aws"), (loaded.gcr, "gcp")):
        if section is not None:
            exchange.check_installed(extra)
    runtime = loaded.paths.runtime
    interpreter = _interpreter()
    command = shlex.join([interpreter, "-m", "pullpass", "install", "--bin-dir", bin_dir, "--config", config_path])
    text = TEMPLATE.format(
        interpreter=interpreter,
        version=__version__,
        install=command,
        python=tuple(sys.version_info[:2]),
        major=sys.version_info[0],
        minor=sys.version_info[1],
        libraries=libraries(),
        config=config_path,
        runtime=runtime,
    )
    _compile()
    launchers = []
    try:
        _make_directory(bin_dir)
        for name in LAUNCHERS:
            path = os.path.join(bin_dir, name)
            files.write_atomic(path, text.encode(), mode=0o755)
            launchers.append(path)
    except OSError as error:
        raise PullpassError("install-failed", f"{outside(bin_dir)}: {error.strerror}") from None
    return {"launchers": launchers, "interpreter": interpreter, "config": config_path, "runtime": runtime}


def _make_directory(path: str) -> None:
    """Make the directory and its parents, whatever the umask; what others may write would be run by root."""
    previous = os.umask(0o022)
    try:
        os.makedirs(path, exist_ok=True)
    finally:
        os.umask(previous)
    status = os.stat(path)
    if status.st_uid not in (0, os.geteuid()) or status.st_mode & files.OTHERS_MAY_WRITE:
        raise PullpassError(
            "install-failed",
            f"{outside(path)} belongs to user {status.st_uid} with mode {stat.S_IMODE(status.st_mode):04o}",
            "whoever may write it decides what root runs: give it to root, writable by its owner alone",
        )


def _interpreter() -> str:
    """The interpreter that runs us, if an interpreter line can name it.

    Its own name, not what it points to: a virtual environment's link survives an upgrade of what is behind it, and the
    launcher can then say what has happened.
    """
    path = sys.executable
    if not path or " " in path or len(f"#!{path} -IS".encode()) > SHEBANG_LIMIT_BYTES or not path.isprintable():
        raise PullpassError(
            "install-interpreter",
            f"the interpreter's path '{outside(path)}' has a space or is longer than {SHEBANG_LIMIT_BYTES - 6} bytes",
        )
    return path


def libraries() -> list[str]:
    """The directories that hold this package and the third parties it was installed with, in search order."""
    places = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib")]
    for name in PACKAGES:
        places += [os.path.dirname(location) for location in _locations(name)]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def _locations(package: str) -> list[str]:
    """Where a top-level package lies; nowhere when it is not installed."""
    spec = find_spec(package)
    return list(spec.submodule_search_locations or ()) if spec else []


def _compile() -> None:
    """Compile what an exchange imports, where it can be written: without .pyc files it takes several times as long."""
    for name in PACKAGES:
        for location in _locations(name):
            compileall.compile_dir(location, quiet=2)
