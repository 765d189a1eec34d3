"""Something else in the place of each file: never followed, never believed, never waited for.

What is put there holds a mark, or something that would count if it were read. Runs are processes of their own, because
one could hang.
"""

from __future__ import annotations

import os
import shutil
import stat
from typing import TYPE_CHECKING, NamedTuple

import pytest

from faults.scenarios import BY_NAME
from faults.site import Site, request
from faults.upset import MARK, STRANGER, run, works
from ordering import make_document, plant

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.own

HUGE_BYTES = 1 << 42


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site in which a credential was handed out a minute ago."""
    return BY_NAME["cache hit"].site(tmp_path / "site")


def _approval(site: Site) -> Path:
    return next((site.state / "approvals").glob("*.json"))


def _entry(site: Site) -> Path:
    return site.runtime / "cache" / _approval(site).stem


def _key(site: Site) -> Path:
    return site.runtime / "cache.key"


def _compiled(site: Site) -> Path:
    return site.runtime / "config.json"


def _intent(site: Site) -> Path:
    """With no approval, so that an exchange is due."""
    name = _approval(site).stem
    _approval(site).unlink()
    return site.runtime / "intents" / name


def _head(site: Site) -> Path:
    return site.state / "audit" / "head"


def _current(site: Site) -> Path:
    return next((site.state / "audit").glob("*.jsonl"))


def _order(site: Site) -> Path:
    return plant(site.state, "o-1.json", make_document(selector={"identity": "nobody"}))


def _set(site: Site) -> Path:
    return plant(site.state, "remote.json", {"apiVersion": "pullpass/v1", "kind": "PullOrderList", "items": []})


def _symlink(path: Path, outside: Path) -> None:
    """To what was there: it would be believed if it were followed."""
    outside.write_bytes(path.read_bytes() if path.exists() else b"")
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


def _foreign_link(path: Path, outside: Path) -> None:
    outside.write_bytes(MARK)
    path.unlink(missing_ok=True)
    path.symlink_to(outside)


def _fifo(path: Path, outside: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path, 0o600)


def _directory(path: Path, outside: Path) -> None:
    path.unlink(missing_ok=True)
    (path / "in the way").mkdir(parents=True)


def _device(path: Path, outside: Path) -> None:
    path.unlink(missing_ok=True)
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 5))  # /dev/zero: it never ends


def _huge(path: Path, outside: Path) -> None:
    path.touch(0o600)
    os.truncate(path, HUGE_BYTES)


def _strangers(path: Path, outside: Path) -> None:
    path.touch(0o600)
    os.chown(path, STRANGER, STRANGER)


def _writable(path: Path, outside: Path) -> None:
    path.touch(0o600)
    path.chmod(0o666)


def _garbage(path: Path, outside: Path) -> None:
    path.write_bytes(os.urandom(700))
    path.chmod(0o600)


def _empty(path: Path, outside: Path) -> None:
    path.write_bytes(b"")
    path.chmod(0o600)


HOSTILE = {
    "symbolic link": _symlink,
    "symbolic link to a foreign file": _foreign_link,
    "fifo": _fifo,
    "directory": _directory,
    "device": _device,
    "huge": _huge,
    "a stranger's": _strangers,
    "open to all": _writable,
    "garbage": _garbage,
    "empty": _empty,
}


class Outcome(NamedTuple):
    """What a planted file comes to.

    Attributes:
        event: of the run's line; "" when there is none.
        warning: of the line beside it; "" for none.
        code: of the refusal.
        stays: the file is left as it is, and somebody has to take it away.
    """

    event: str
    warning: str = ""
    code: str = ""
    stays: bool = False


AGAIN = Outcome("rotated", "cache-damaged")
MISSED = Outcome("issued", "approval-unreadable")
UNLOCKED = Outcome("issued", "intent-unwritable", stays=True)
BLOCKED = Outcome("refused", code="order-unreadable", stays=True)
NO_TRAIL = Outcome("", code="trail-unwritable", stays=True)
HEAD_LOST = Outcome("served", "head-lost")
# target -> what it comes to, whatever it is, and the exceptions.
TARGETS: dict[str, tuple[Callable[[Site], Path], Outcome, dict[str, Outcome]]] = {
    "approval": (_approval, MISSED, {"directory": Outcome("refused", code="state-unwritable", stays=True)}),
    "cache entry": (
        _entry,
        AGAIN,
        {"directory": Outcome("rotated", "cache-unusable", stays=True)},
    ),
    "cache key": (_key, AGAIN, {"directory": Outcome("rotated", "cache-unusable", stays=True)}),
    "compiled configuration": (_compiled, Outcome("served"), {"directory": Outcome("served", stays=True)}),
    "intent": (
        _intent,
        UNLOCKED,
        {
            "huge": Outcome("issued"),
            "a stranger's": Outcome("issued"),
            "open to all": Outcome("issued"),
            "garbage": Outcome("issued"),
            "empty": Outcome("issued"),
        },
    ),
    "order": (_order, BLOCKED, {}),
    "set of orders": (_set, BLOCKED, {}),
    "head": (_head, NO_TRAIL, {"huge": HEAD_LOST, "garbage": HEAD_LOST, "empty": HEAD_LOST}),
    "trail": (
        _current,
        NO_TRAIL,
        {
            "huge": Outcome("served", "foreign-line"),
            "garbage": Outcome("served", "trail-cut"),
            "empty": Outcome("served", "trail-cut"),
        },
    ),
}


@pytest.mark.needs("root")
@pytest.mark.parametrize("kind", HOSTILE)
@pytest.mark.parametrize("target", TARGETS)
def test_a_planted_file(site: Site, tmp_path: Path, target: str, kind: str) -> None:
    """Never followed, never believed, never waited for; replaced where the file is only a copy of something."""
    find, usual, exceptions = TARGETS[target]
    expected = exceptions.get(kind, usual)
    path, outside = find(site), tmp_path / "outside"
    outside.write_bytes(MARK)
    HOSTILE[kind](path, outside)
    planted, content = path.lstat(), outside.read_bytes()
    done = run(site)
    assert (done.code, done.status) == (expected.code, 6 if expected.code else 0)
    assert (done.events[-1:] or [""])[0] == expected.event
    assert (expected.warning in done.warnings) or not expected.warning
    assert outside.read_bytes() == content
    now = path.lstat() if os.path.lexists(path) else None
    assert (now is not None and (now.st_ino, now.st_mode) == (planted.st_ino, planted.st_mode)) or not expected.stays
    if expected.stays:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    if target == "trail":  # what was taken away or put in there stays to be seen
        assert site.serve(request()).status == 0
    else:
        works(site, frozenset({"head-lost"} if target == "head" else ()))
