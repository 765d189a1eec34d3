"""What a launcher loads: the module lists of a whole refusal and of a cache hit, in fresh processes.

Loading is what these runs are made of. What `typing`, `json` with `re`, and `hashlib` are for, `pullpass.lean` does,
which halves a refusal (`scripts/bench start`); that nothing brings one of them back is held here.
"""

from __future__ import annotations

import subprocess
import sys
from typing import NamedTuple

import pytest

from cloud import Cloud
from factories import HOST, make_request
from integration.launchers import ask, install, write_config

# All that the modules on the way of a refusal may name; what these bring along by themselves comes for free.
ALLOWED = ("binascii", "errno", "fcntl", "itertools", "os", "stat", "time")
# The C halves of json, hashlib and collections, which `pullpass.lean` reaches without their fronts.
LEAN = {"_collections", "_json", "_sha256", "_sha2"}
# What a hit needs to open the cache: the extension module of `cryptography`, without the library around it.
CIPHER = {"_cffi_backend", "_openssl", "_openssl.lib", "types"} | {
    f"cryptography{name}" for name in ("", ".__about__", ".hazmat", ".hazmat.bindings", ".hazmat.bindings._rust")
}

MODULES = {
    "auditing", "clock", "errors", "exec_client", "handing", "identity", "lean", "patterns", "pipeline", "policy",
    "request", "run", "secret", "stored",
}  # fmt: skip
# Of these rooms only what decides: neither what renews, nor the exchangers, nor what reads and checks TOML, nor what
# people's commands do with orders, approvals, cache and trail, nor what the trail needs on a new day or after a crash.
ROOMS = {
    "approvals": {"codec", "history", "order_form", "orders"},
    "cache": {"disk"},
    "codes": {"aws", "google"},
    "config": {"compiled", "values"},
    "exchange": {"aws_session", "plan", "plan_aws", "plan_gcp"},
    "registry": {"aws", "google", "image", "kubelet"},
    "store": {"digest", "files", "lock", "moments", "strict"},
    "trail": {"ends", "head", "lines"},
}

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


class Node(NamedTuple):
    """What runs have loaded when they leave; the configuration was compiled, and the trail begun, by runs before."""

    refusal: set[str]
    hit: set[str]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Node:
    """A node on which a pod was refused an image and another served one from the cache."""
    directory = tmp_path_factory.mktemp("node")
    with Cloud() as cloud:
        launcher = install(directory, write_config(directory, cloud))
        token = cloud.mint_token("team-a", "web")
        granted, refused = make_request(token), make_request(token, f"{HOST}/team-b/app")
        assert [ask(launcher, raw).returncode for raw in (refused, granted)] == [3, 0]
        asked = cloud.count()
        status, (line, refusal) = loaded(TELL.format(launcher=str(launcher)), refused)
        assert (status, line.split(": ")[:2]) == (3, ["pullpass", "no-grant"])
        status, (hit,) = loaded(TELL.format(launcher=str(launcher)), granted)
        assert (status, cloud.count()) == (0, asked)
    return Node(set(refusal.split()), set(hit.split()))


@pytest.fixture(scope="module")
def free() -> set[str]:
    """What the allowed modules bring along by themselves."""
    status, lines = loaded(f"import sys, {', '.join(ALLOWED)}; sys.stderr.write(' '.join(sys.modules))")
    assert status == 0
    return set(lines[0].split()) | LEAN | {"__future__", "gc"}


def foreign(modules: set[str]) -> set[str]:
    """Those of others."""
    return {name for name in modules if name.partition(".")[0] != "pullpass"}


def test_a_refusal_loads_nothing_but_a_few_standard_modules(node: Node, free: set[str]) -> None:
    """One module more, wherever it is imported, is a decision to be taken here: it costs every container start."""
    assert foreign(node.refusal) - free == set()


def test_a_hit_loads_the_cipher_as_well(node: Node, free: set[str]) -> None:
    """And nothing else."""
    assert foreign(node.hit) - free <= CIPHER
    assert "cryptography.hazmat.bindings._rust" in node.hit


def test_a_refusal_loads_no_room_that_it_does_not_enter(node: Node) -> None:
    """But what decides it does load; a hit is told from it by the cipher alone."""
    expected = {"pullpass"} | {f"pullpass.{name}" for name in MODULES | set(ROOMS)}
    expected |= {f"pullpass.{room}.{name}" for room, names in ROOMS.items() for name in names}
    assert {name for name in node.refusal if name.startswith("pullpass")} == expected
    assert {name for name in node.hit if name.startswith("pullpass")} == expected | {"pullpass.cache.cipher"}
