"""A set of orders that changes while it is read: what is taken over is one version of it, always."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from functools import partial
from typing import TYPE_CHECKING

import pytest

from ordering import Mount, make_desk, make_document, make_list
from pullpass.approvals import order_sync, orders
from pullpass.clock import SystemClock
from pullpass.errors import PullpassError
from support import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pullpass.approvals.order_changes import Desk

# Publishes version after version, each of which has its number in every file, until its stdin is closed.
SWAP = """\
import json, os, select, shutil, sys
place, number, before = sys.argv[1], 0, None
while not select.select([sys.stdin], [], [], 0.02)[0]:
    number += 1
    name = f"..{number}"
    os.mkdir(os.path.join(place, name), 0o755)
    for file in range(20):
        document = json.loads(sys.argv[2]) | {"id": f"o-{file}", "reason": str(number)}
        with open(os.path.join(place, name, f"{file}.json"), "w") as stream:
            json.dump(document, stream)
    os.symlink(name, os.path.join(place, "..new"))
    os.rename(os.path.join(place, "..new"), os.path.join(place, "..data"))
    if before:
        shutil.rmtree(os.path.join(place, before))
    before = name
print(number)
"""


def test_a_set_that_is_swapped_all_the_time_is_taken_over_whole(tmp_path: Path) -> None:
    """Every set is one version, never two halves; what can't be had in time is refused, and the last one stays."""
    mount = Mount(tmp_path / "mount")
    mount.publish({"x.json": make_list()})
    command = [sys.executable, "-c", SWAP, str(mount.place), json.dumps(make_document())]
    desk = make_desk(tmp_path / "state", [], SystemClock())
    seen: list[int] = []
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as swapping:
        while len(set(seen)) < 10:
            refusal = try_to_sync(desk, mount.place)
            assert refusal in {"", f"{mount.place}: it was changed each of the 20 times that it was read"}
            found = orders.read_remote(desk.state) or ()
            reasons = {int(order.reason) for order in found}
            assert (len(found), len(reasons)) in {(20, 1), (0, 0)}
            seen += reasons
        versions = int(swapping.communicate()[0])
    assert seen == sorted(seen)
    assert versions >= len(set(seen))
    assert try_to_sync(desk, mount.place) == ""
    assert {int(order.reason) for order in orders.read(desk.state)} == {versions}


def try_to_sync(desk: Desk, place: Path) -> str:
    """Why the set was refused; "" when it was not."""
    try:
        order_sync.sync(desk, str(place))
    except PullpassError as error:
        return error.what
    return ""


# --- at exactly the moment of a read

DEEDS: list[Callable[[], object]] = []  # what happens when a.json or the remote set is opened, one each time
HOOKED: list[bool] = []


def on_open(event: str, arguments: tuple[object, ...]) -> None:
    """Let the next thing happen just before the file is opened: the interpreter tells of it, and nothing is patched."""
    if DEEDS and event == "open" and str(arguments[0]).endswith(("/a.json", "/remote.json")):
        DEEDS.pop(0)()


@pytest.fixture
def deeds() -> Iterator[list[Callable[[], object]]]:
    """What is to happen; an audit hook can't be taken away again, so there is one."""
    if not HOOKED:
        sys.addaudithook(on_open)
        HOOKED.append(True)
    yield DEEDS
    DEEDS.clear()


def other_time(path: Path) -> Callable[[], object]:
    """Somebody writes the same content once more."""
    return lambda: os.utime(path)


@pytest.mark.parametrize("times", [1, 19, 20])
def test_a_file_that_is_written_meanwhile_is_read_again(
    times: int, tmp_path: Path, deeds: list[Callable[[], object]]
) -> None:
    """Twenty times at most, with pauses."""
    clock = FakeClock()
    desk = make_desk(tmp_path / "state", [], clock)
    place = tmp_path / "plain"
    place.mkdir(mode=0o755)
    (place / "a.json").write_text(json.dumps(make_document("a")))
    deeds += [other_time(place / "a.json")] * times
    refusal = try_to_sync(desk, place)
    assert refusal.endswith("" if times < 20 else "it was changed each of the 20 times that it was read")
    assert bool(refusal) == (times == 20)
    assert clock.slept == [order_sync.PAUSE_S] * times
    assert [order.id for order in orders.read(desk.state)] == ["a"] * (times < 20)


def test_a_version_that_is_removed_while_it_is_read_is_left(tmp_path: Path, deeds: list[Callable[[], object]]) -> None:
    """As the kubelet does it after a swap; also when the old one was wrong."""
    desk = make_desk(tmp_path / "state", [])
    mount = Mount(tmp_path / "mount")
    for number, content in enumerate((make_document("old"), b"{")):
        mount.publish({"a.json": content, "b.json": make_document("older")})
        new = {"a.json": make_document(f"new-{number}")}
        deeds.append(partial(mount.publish, new))
        assert order_sync.sync(desk, str(mount.place)).added == (f"new-{number}",)


def test_a_file_that_is_completed_meanwhile_is_no_wrong_one(tmp_path: Path, deeds: list[Callable[[], object]]) -> None:
    """It was half written when it was looked at."""
    desk = make_desk(tmp_path / "state", [])
    place = tmp_path / "plain"
    place.mkdir(mode=0o755)
    (place / "a.json").write_bytes(b"{")
    deeds += [lambda: None, lambda: (place / "a.json").write_text(json.dumps(make_document("a")))]
    assert "is not JSON" in try_to_sync(desk, place)
    assert order_sync.sync(desk, str(place)).added == ("a",)


def test_a_file_that_comes_meanwhile_is_read_too(tmp_path: Path, deeds: list[Callable[[], object]]) -> None:
    """A copy of three files is at its second."""
    desk = make_desk(tmp_path / "state", [])
    place = tmp_path / "plain"
    place.mkdir(mode=0o755)
    (place / "a.json").write_text(json.dumps(make_document("a")))
    deeds.append(lambda: (place / "b.json").write_text(json.dumps(make_document("b"))))
    assert order_sync.sync(desk, str(place)).added == ("a", "b")


def test_a_last_set_that_can_not_be_read_now_is_not_replaced(tmp_path: Path, deeds: list[Callable[[], object]]) -> None:
    """What is no longer in the new one would go without a line, and its id would come free."""
    desk = make_desk(tmp_path / "state", [])
    mount = Mount(tmp_path / "mount")
    mount.publish({"b.json": make_document("old")})
    order_sync.sync(desk, str(mount.place))
    mount.publish({"b.json": make_document("new")})

    def fail() -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    deeds.append(fail)
    assert try_to_sync(desk, mount.place) == f"{desk.state}/orders/remote.json: can't be read: Input/output error"
    assert [order.id for order in orders.read(desk.state)] == ["old"]
    assert order_sync.sync(desk, str(mount.place)) == (("new",), (), ("old",), ())
