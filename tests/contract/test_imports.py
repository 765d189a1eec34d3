"""What a launcher loads: the module list of a whole refusal, in a fresh process, as the kubelet starts it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from cloud import Cloud
from factories import HOST, make_request
from integration.launchers import ask, install, write_config

# All that the modules on the way of a refusal may name; what these bring along by themselves comes for free.
ALLOWED = ("binascii", "errno", "itertools", "os", "stat", "time")
# The C halves of json, hashlib and collections, which `pullpass.lean` reaches without their fronts.
LEAN = {"_collections", "_json", "_sha256", "_sha2"}

# Runs a launcher's text, and tells what was loaded at the moment it leaves, which no exit handler sees.
TELL = """\
import posix, sys
source, leave = open({launcher!r}).read(), posix._exit
def tell(status):
    sys.__stderr__.write(" ".join(sorted(sys.modules)) + "\\n")
    sys.__stderr__.flush()
    leave(status)
posix._exit = tell
exec(compile(source, "launcher", "exec"))
"""


def loaded(program: str, raw: bytes = b"") -> tuple[int, list[str]]:
    """Exit status and lines of stderr of a program in an isolated interpreter without `site`."""
    command = [sys.executable, "-IS", "-c", program]
    done = subprocess.run(command, input=raw, capture_output=True, env={}, cwd="/", check=False)
    return done.returncode, done.stderr.decode().splitlines()


@pytest.fixture(scope="module")
def refusal(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The modules that a refusal has loaded when it leaves; the configuration was compiled by a run before."""
    directory = tmp_path_factory.mktemp("node")
    with Cloud() as cloud:
        launcher = install(directory, write_config(directory, cloud))
        raw = make_request(cloud.mint_token("team-a", "web"), f"{HOST}/team-b/app")
        assert ask(launcher, raw).returncode == 3
        status, (line, modules) = loaded(TELL.format(launcher=str(launcher)), raw)
    assert (status, line.split(": ")[:2]) == (3, ["pullpass", "no-grant"])
    return set(modules.split())


def test_a_refusal_loads_nothing_but_a_few_standard_modules(refusal: set[str]) -> None:
    """One module more, wherever it is imported, is a decision to be taken here: it costs every container start."""
    status, lines = loaded(f"import sys, {', '.join(ALLOWED)}; sys.stderr.write(' '.join(sys.modules))")
    assert status == 0
    free = set(lines[0].split()) | LEAN | {"__future__"}
    assert {name for name in refusal - free if name.partition(".")[0] != "pullpass"} == set()


def test_a_refusal_loads_no_room_that_it_does_not_enter(refusal: set[str]) -> None:
    """Neither exchangers nor the command line, nor what reads and checks TOML; but what decides it does load."""
    ours = {name.removeprefix("pullpass.").partition(".")[0] for name in refusal if name.startswith("pullpass.")}
    assert ours == {
        "clock", "codes", "config", "errors", "exchange", "exec_client", "identity", "lean", "patterns", "pipeline", "policy",
        "registry", "request", "secret", "store",
    }  # fmt: skip
    rooms = {name for name in refusal if name.startswith(("pullpass.exchange.", "pullpass.config."))}
    assert rooms == {
        "pullpass.exchange.aws_session",
        "pullpass.exchange.plan",
        "pullpass.exchange.plan_aws",
        "pullpass.exchange.plan_gcp",
        "pullpass.config.compiled",
        "pullpass.config.values",
    }
