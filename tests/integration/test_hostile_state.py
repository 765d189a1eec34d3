"""State and runtime directories that somebody has taken, given away, opened or linked, and disks that take nothing.

What is not ours is neither believed nor written to, and when it is put right, everything goes on.
"""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

import pytest

from faults import invariants
from faults.scenarios import BY_NAME
from faults.site import Site, request
from faults.upset import MARK, STRANGER, last_seq, run, works

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

pytestmark = pytest.mark.own


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site in which a credential was handed out a minute ago."""
    return BY_NAME["cache hit"].site(tmp_path / "site")


# --- directories


def _remove(place: Path) -> None:
    shutil.rmtree(place)


def _give_away(place: Path) -> None:
    os.chown(place, STRANGER, STRANGER)


def _link(place: Path) -> None:
    place.rename(place.with_name("elsewhere"))
    place.symlink_to("elsewhere")


def _foreign_way(place: Path) -> None:
    _link(place)
    os.lchown(place, STRANGER, STRANGER)


def _open_way(place: Path) -> None:
    _link(place)
    (place.parent / "open").mkdir()
    (place.parent / "open").chmod(0o777)
    (place.parent / "elsewhere").rename(place.parent / "open" / "elsewhere")
    place.unlink()
    place.symlink_to("open/elsewhere")


def _open(place: Path) -> None:
    place.chmod(0o777)


def _open_parent(place: Path) -> None:
    place.parent.chmod(0o777)


def _file(place: Path) -> None:
    shutil.rmtree(place)
    place.write_bytes(MARK)


STATE = [
    pytest.param(_remove, 0, "", id="missing"),
    pytest.param(_give_away, 6, "state-path", id="a stranger's", marks=pytest.mark.needs("root")),
    pytest.param(_link, 0, "", id="a symbolic link of our own, to a place that is fine"),
    pytest.param(_foreign_way, 6, "state-path", id="a stranger's symbolic link", marks=pytest.mark.needs("root")),
    pytest.param(_open_way, 6, "state-path", id="a symbolic link to where anybody could put something else"),
    pytest.param(_open, 6, "state-path", id="open to all"),
    pytest.param(_open_parent, 6, "state-path", id="in a directory that is open to all"),
    pytest.param(_file, 6, "order-unreadable", id="a file"),
]


@pytest.mark.parametrize(("change", "status", "code"), STATE)
def test_a_state_directory_that_is_not_ours(site: Site, change: Callable[[Path], None], status: int, code: str) -> None:
    """Nothing is answered out of it, nor with what is beside it, but for one that is merely gone."""
    change(site.state)
    done = run(site)
    assert (done.status, done.code) == (status, code)
    assert bool(done.stdout) == (status == 0)
    _put_right(site)
    works(site)


def _put_right(site: Site) -> None:
    """The directories as they were before."""
    site.root.chmod(0o700)
    for place in (site.state, site.runtime):
        if place.is_symlink() or place.is_file():
            place.unlink()
    site.restore()


UNUSABLE = ["cache-unusable", "intent-unwritable"]
RUNTIME = [
    pytest.param(_remove, [], id="missing"),
    pytest.param(_give_away, UNUSABLE, id="a stranger's", marks=pytest.mark.needs("root")),
    pytest.param(_foreign_way, UNUSABLE, id="a stranger's symbolic link", marks=pytest.mark.needs("root")),
    pytest.param(_open_way, UNUSABLE, id="a symbolic link to where anybody could put something else"),
    pytest.param(_open, UNUSABLE, id="open to all"),
    pytest.param(_file, UNUSABLE, id="a file"),
]


@pytest.mark.parametrize(("change", "warnings"), RUNTIME)
def test_a_runtime_directory_that_is_not_ours(site: Site, change: Callable[[Path], None], warnings: list[str]) -> None:
    """What is in there counts for nothing: each request asks the cloud, and the trail says why."""
    change(site.runtime)
    done = run(site)
    assert (done.status, done.code) == (0, "")
    assert done.events[-1] == "rotated"
    assert sorted(set(done.warnings)) == warnings
    assert invariants.of_answer(site, done.stdout, 0) == []
    _put_right(site)
    works(site)


# --- disks

# Puts a file system of its own over a directory, runs what follows, and copies what it has left.
ON_A_DISK = """
set -e
place=$1 kind=$2; shift 2
cp -a "$place" "$place.before" 2>/dev/null || mkdir -m 700 "$place" "$place.before"
if [ "$kind" = full ]; then
  mount -t tmpfs -o size=256k,mode=0700 tmpfs "$place"
  cp -a "$place.before/." "$place/"
  dd if=/dev/zero of="$place/ballast" bs=4096 2>/dev/null || true
else
  mount --bind "$place" "$place"
  mount -o remount,bind,ro "$place"
fi
status=0
"$@" || status=$?
rm -f "$place/ballast" 2>/dev/null || true
cp -a "$place/." "$place.before/"
umount "$place"
rm -rf "$place"
mv "$place.before" "$place"
exit $status
"""


class Disk(NamedTuple):
    """A request on a disk that takes nothing, and how it ends.

    Attributes:
        name: of the directory that is on it.
        scenario: the request.
        when_full: `audit.when_full`.
        status: the exit status.
        code: on stderr.
    """

    name: str
    scenario: str
    when_full: str = "refuse"
    status: int = 0
    code: str = ""


DISKS = [
    Disk("state", "first issue", "refuse", 6, "state-unwritable"),
    Disk("state", "first issue", "issue", 6, "state-unwritable"),
    Disk("state", "cache hit", "refuse", 6, "trail-unwritable"),
    Disk("state", "cache hit", "issue"),
    Disk("state", "rotation", "issue"),  # the approval of the credential that still lives is on disk
    Disk("state", "expired", "issue", 6, "state-unwritable"),
    Disk("state", "refusal", "refuse", 3, "no-grant"),
    Disk("run", "first issue"),
    Disk("run", "cache hit"),
    Disk("run", "expired"),
]


@pytest.mark.needs("root", "mount namespaces")
@pytest.mark.parametrize("kind", ["full", "read-only"])
@pytest.mark.parametrize("disk", DISKS, ids=lambda disk: f"{disk.name}, {disk.scenario}, {disk.when_full}")
def test_a_disk_that_takes_nothing(tmp_path: Path, kind: str, disk: Disk) -> None:
    """A real one: nothing leaves without its approval, nor without its line unless allowed; then all is well again."""
    scenario = BY_NAME[disk.scenario]
    site = scenario.site(tmp_path / "site", disk.when_full)
    _fill_the_last_page(site)
    place = str(site.root / disk.name)
    within = ("unshare", "--mount", "--propagation", "private", "sh", "-c", ON_A_DISK, "sh", place, kind)
    before = last_seq(site)
    done = run(site, scenario.raw, within=within)
    assert (done.status, done.code) == (disk.status, disk.code)
    assert bool(done.stdout) == (disk.status == 0)
    assert invariants.of_answer(site, done.stdout, before, audited=disk.name == "run") == []
    if disk.name == "run":
        assert sorted(set(done.warnings)) == ([] if disk.scenario == "cache hit" else UNUSABLE)
    works(site)


def _fill_the_last_page(site: Site) -> None:
    """Leave no room for a line in the last page of the trail, which a full disk has given it already."""
    if not (site.state / "audit").exists():
        return
    while 4096 - next((site.state / "audit").glob("*.jsonl")).stat().st_size % 4096 > 500:
        site.serve(request(token=None))
