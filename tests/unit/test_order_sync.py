"""A fleet's set of orders, taken over whole or not at all: from mounted ConfigMaps and from directories."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from ordering import Mount, make_desk, make_document, make_list, make_order, plant
from pullpass.approvals import order_store, order_sync, orders
from pullpass.errors import PullpassError

if TYPE_CHECKING:
    from pathlib import Path

    from pullpass.approvals.order_changes import Desk

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Lines:
    """What the trail was told."""
    return []


@pytest.fixture
def desk(tmp_path: Path, lines: Lines) -> Desk:
    """Where the orders are changed."""
    return make_desk(tmp_path / "state", lines)


@pytest.fixture
def mount(tmp_path: Path) -> Mount:
    """A ConfigMap, not written yet."""
    return Mount(tmp_path / "mount")


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    """A directory of files."""
    (tmp_path / "plain").mkdir(mode=0o755)
    return tmp_path / "plain"


def remote_ids(desk: Desk) -> list[str]:
    """The ids of the remote orders that a request reads."""
    return sorted(order.id for order in orders.read(desk.state) if order.remote)


def refused(desk: Desk, source: Path) -> str:
    """Why the set is not taken over; nothing has changed, and the trail says so."""
    kept = orders.read_remote(desk.state)
    with pytest.raises(PullpassError) as caught:
        order_sync.sync(desk, str(source))
    assert (caught.value.code, caught.value.status) == ("order-set", 6)
    assert orders.read_remote(desk.state) == kept
    return caught.value.what


# --- what is taken over


def test_a_config_map_is_taken_over(desk: Desk, lines: Lines, mount: Mount) -> None:
    """Orders and lists of them; each comes with a line."""
    mount.publish({"a.json": make_document("a"), "more.json": make_list(make_document("c"), make_document("b"))})
    assert order_sync.sync(desk, str(mount.place)) == (("a", "b", "c"), (), (), ())
    assert remote_ids(desk) == ["a", "b", "c"]
    assert [(line["event"], line["done"], line["order"]["id"]) for line in lines] == [
        ("order", "synced", "a"),
        ("order", "synced", "b"),
        ("order", "synced", "c"),
    ]
    path = os.path.join(desk.state, "orders", "remote.json")
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_an_unchanged_set_is_not_written(desk: Desk, lines: Lines, mount: Mount) -> None:
    """Not even when the ConfigMap was written again, in another order and form."""
    mount.publish({"a.json": make_list(make_document("a"), make_document("b"))})
    order_sync.sync(desk, str(mount.place))
    path = os.path.join(desk.state, "orders", "remote.json")
    before = os.stat(path)
    mount.publish({"b.json": make_document("b"), "a.json": make_document("a", created="2026-11-24T16:00:00.000Z")})
    assert order_sync.sync(desk, str(mount.place)) == ((), (), (), ("a", "b"))
    assert (os.stat(path).st_ino, os.stat(path).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert len(lines) == 2


def test_orders_come_change_and_go(desk: Desk, lines: Lines, mount: Mount) -> None:
    """Times, reason and author may change; each change has its line."""
    mount.publish({"a.json": make_list(*map(make_document, "abc"))})
    order_sync.sync(desk, str(mount.place))
    mount.publish({"a.json": make_list(make_document("a"), make_document("b", reason="new"), make_document("d"))})
    assert order_sync.sync(desk, str(mount.place)) == (("d",), ("b",), ("c",), ("a",))
    assert [(line["done"], line["order"]["id"]) for line in lines[3:]] == [
        ("synced", "d"), ("synced", "b"), ("lifted", "c"),
    ]  # fmt: skip
    assert lines[-1]["message"] == f"no longer in the set of {mount.place}"
    assert remote_ids(desk) == ["a", "b", "d"]


@pytest.mark.parametrize("files", [{}, {"a.json": make_list()}])
def test_no_keys_and_no_items_are_an_empty_set(files: dict[str, Any], desk: Desk, lines: Lines, mount: Mount) -> None:
    """What was there is lifted; where nothing was, nothing is written."""
    mount.publish(files)
    assert order_sync.sync(desk, str(mount.place)) == ((), (), (), ())
    assert not lines
    assert orders.read_remote(desk.state) is None
    mount.publish({"x.json": make_document("x")})
    order_sync.sync(desk, str(mount.place))
    mount.publish(files)
    assert order_sync.sync(desk, str(mount.place)) == ((), (), ("x",), ())
    assert orders.read(desk.state) == ()


def test_a_plain_directory_is_taken_over(desk: Desk, plain: Path) -> None:
    """Files may be links; names with a dot are somebody's business, whatever they are."""
    (plain / ".git").mkdir()
    (plain.parent / "elsewhere").write_text(json.dumps(make_document("a")))
    (plain / "a.json").symlink_to(plain.parent / "elsewhere")
    (plain / "b.json").write_text(json.dumps(make_document("b")))
    order_sync.sync(desk, str(plain))
    assert remote_ids(desk) == ["a", "b"]


def test_remote_orders_count_like_local_ones(desk: Desk, mount: Mount) -> None:
    """And both together."""
    order_store.create(desk, make_order("local"))
    mount.publish({"a.json": make_document("far", action="block")})
    order_sync.sync(desk, str(mount.place))
    with pytest.raises(PullpassError, match="order far by alice blocks"):
        orders.applying(orders.read(desk.state), None, "r.test/x", "node")


# --- what is not


@pytest.mark.parametrize(
    ("files", "why"),
    [
        ({"b.json": b"{"}, "b.json is not JSON"),
        ({"b.json": b""}, "b.json is empty"),
        ({"b.json": b"[]"}, "b.json: it is an array, expected an object"),
        ({"b.json": make_document("b", action="stop")}, 'b.json: action is "stop"'),
        ({"b.json": make_document("a")}, "b.json: the id a is there twice: a.json is a"),
        ({"b.json": make_list(make_document("b"), make_document("b"))}, "the id b is there twice: item 1 is a"),
        ({"b.json": make_list(make_document("b"), {})}, "b.json: item 2: apiVersion is absent"),
        ({"b.json": make_document("local")}, "the id local belongs to a local order of this node"),
        ({"b.json": make_document("b", notBefore="2027-01-02T00:00:00Z", expires="2027-01-01T00:00:00Z")}, "never be"),
        ({"b.yaml": make_document("b")}, "b.yaml is no *.json file"),
        ({"b\n.json": b""}, "b\\n.json is empty"),
        ({"b.json": b" " * (4 * 1024 * 1024 + 1)}, "b.json can't be read: longer than 4194304 bytes"),
    ],
)  # fmt: skip
def test_one_wrong_file_and_the_last_good_set_stays(
    files: dict[str, Any], why: str, desk: Desk, lines: Lines, mount: Mount
) -> None:
    """With a warning in the trail, and the status that an alarm is made of."""
    mount.publish({"a.json": make_document("a")})
    order_sync.sync(desk, str(mount.place))
    order_store.create(desk, make_order("local"))
    mount.publish({"a.json": make_document("a", reason="new"), **files})
    what = refused(desk, mount.place)
    assert why in what
    assert [line["event"] for line in lines] == ["order", "order", "warning"]
    assert (lines[-1]["code"], lines[-1]["message"]) == ("order-set", what)
    assert remote_ids(desk) == ["a"]


@pytest.mark.parametrize("members", [{"action": "block"}, {"selector": {"image": "*/x"}}])
def test_an_id_never_gets_another_meaning(members: dict[str, Any], desk: Desk, mount: Mount) -> None:
    """Neither in the next set, nor in one after it was gone; as it was it may come back."""
    mount.publish({"a.json": make_document("a")})
    order_sync.sync(desk, str(mount.place))
    mount.publish({"a.json": make_document("a", **members)})
    assert "the id a had another action or selector before" in refused(desk, mount.place)
    mount.publish({})
    order_sync.sync(desk, str(mount.place))
    mount.publish({"a.json": make_document("a", **members)})
    assert "the id a had another action or selector before" in refused(desk, mount.place)
    mount.publish({"a.json": make_document("a", reason="new")})
    assert order_sync.sync(desk, str(mount.place)).added == ("a",)


def test_a_set_that_takes_up_a_lifted_local_order(desk: Desk, mount: Mount) -> None:
    """What a node was told first may become the fleet's; a file that nobody could read may not."""
    plant_local(desk)
    order_store.lift(desk, ["a", "broken"])
    mount.publish({"a.json": make_document("a")})
    assert order_sync.sync(desk, str(mount.place)).added == ("a",)
    mount.publish({"a.json": make_document("a"), "b.json": make_document("broken")})
    assert "the id broken had another action" in refused(desk, mount.place)


def plant_local(desk: Desk) -> None:
    """A local order `a`, and a file `broken`."""
    order_store.create(desk, make_order("a"))
    path = os.path.join(desk.state, "orders", "broken.json")
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))


@pytest.mark.parametrize("what", ["absent", "file", "empty", "dangling", "loop", "link", "subdirectory"])
def test_what_is_no_set_is_no_empty_one(what: str, desk: Desk, lines: Lines, plain: Path) -> None:
    """A mount that is not there yet must not lift a block."""
    (plain / "a.json").write_text(json.dumps(make_document("a")))
    order_sync.sync(desk, str(plain))
    (plain / "a.json").unlink()
    source, why = plain, "is empty and no mounted ConfigMap"
    if what in ("absent", "file"):
        plain.rmdir()
        why = "is not there"
    if what == "file":
        plain.touch()
        why = "..data can't be followed: Not a directory"
    if what == "dangling":
        (plain / "..data").symlink_to("..gone")
        why = "is not there"
    if what == "loop":
        (plain / "..data").symlink_to("..data")
        why = "Too many levels of symbolic links"
    if what == "link":
        (plain / "a.json").symlink_to("gone")
        why = "holds a link that leads nowhere"
    if what == "subdirectory":
        (plain / "a.json").mkdir()
        why = "a.json can't be read: not a regular file"
    assert why in refused(desk, source)
    assert remote_ids(desk) == ["a"]
    assert lines[-1]["code"] == "order-set"


@pytest.mark.parametrize("what", ["plain", "plain/a.json", "mount/..data", "mount/..data/a.json"])
def test_what_others_may_write_gives_no_orders(what: str, desk: Desk, plain: Path, mount: Mount) -> None:
    """A set without its blocks opens what they close."""
    mount.publish({"a.json": make_document("a")})
    (plain / "a.json").write_text(json.dumps(make_document("a")))
    path = plain.parent / what
    path.chmod(path.stat().st_mode | 0o020)
    source = plain if what.startswith("plain") else mount.place
    assert "others may write it" in refused(desk, source)


@pytest.mark.needs("root")
def test_what_belongs_to_somebody_else_gives_no_orders(desk: Desk, plain: Path) -> None:
    """Whatever its mode is now."""
    (plain / "a.json").write_text(json.dumps(make_document("a")))
    os.chown(plain / "a.json", 65534, 65534)
    assert "a.json belongs to user 65534 and has mode 0644" in refused(desk, plain)


def test_a_set_that_would_be_too_long_is_refused(desk: Desk, plain: Path) -> None:
    """Every request reads it."""
    for file in range(4):
        items = (make_document(f"o-{file}-{number}", reason="ä" * 1024) for number in range(200))
        (plain / f"{file}.json").write_text(json.dumps(make_list(*items), ensure_ascii=False))
    assert "the set is longer than 4194304 bytes" in refused(desk, plain)


def test_a_trail_that_can_not_take_the_warning_is_told_as_well(desk: Desk, plain: Path) -> None:
    """The set's fault comes first."""

    def full(_: object) -> None:
        raise PullpassError("trail-unwritable", "the disk is full")

    what = refused(desk._replace(write=full), plain)
    assert "is empty" in what
    assert what.endswith("and the trail can't say so (trail-unwritable: the disk is full)")


# --- the last good set


@pytest.mark.parametrize("files", [{}, {"a.json": make_document("a")}])
def test_a_damaged_last_set_is_replaced_by_a_good_one(
    files: dict[str, Any], desk: Desk, lines: Lines, mount: Mount, tmp_path: Path
) -> None:
    """Until then every request is refused; the trail says what was there."""
    plant(tmp_path / "state", "remote.json", b"{")
    mount.publish({"x.json": b"{"})
    with pytest.raises(PullpassError, match="order-set"):
        order_sync.sync(desk, str(mount.place))
    mount.publish(files)
    order_sync.sync(desk, str(mount.place))
    assert len(remote_ids(desk)) == len(files)
    assert [line.get("code") for line in lines[:2]] == ["order-set", "order-unreadable"]
    assert f"replaced by one of {len(files)} orders" in lines[1]["message"]


@pytest.mark.parametrize("finished", [True, False])
def test_an_interrupted_sync_is_explained(
    finished: bool, desk: Desk, lines: Lines, mount: Mount, tmp_path: Path
) -> None:
    """Unless all that was left to do is to remove the note."""
    mount.publish({"a.json": make_document("a")})
    order_sync.sync(desk, str(mount.place))
    path = tmp_path / "state" / "orders" / "remote.json"
    content = subprocess.run(["sha256sum", path], capture_output=True, text=True, check=True).stdout.split()[0]
    note = {"done": "synced", "names": ["remote.json"], "content": content if finished else "0" * 64}
    plant(tmp_path / "state", ".change.json", note)
    order_sync.sync(desk, str(mount.place))
    assert [line.get("code") for line in lines] == [None] if finished else [None, "order-unfinished"]


def test_an_interrupted_first_sync_is_explained(desk: Desk, lines: Lines, tmp_path: Path) -> None:
    """There is no last good set then, or one that can't be read."""
    note = {"done": "synced", "names": ["remote.json"], "content": "0" * 64}
    plant(tmp_path / "state", ".change.json", note)
    order_store.create(desk, make_order("a"))
    plant(tmp_path / "state", ".change.json", note)
    (tmp_path / "state" / "orders" / "remote.json").mkdir()
    order_store.lift(desk, ["a"])
    assert [line.get("code") for line in lines] == ["order-unfinished", None, "order-unfinished", None]


def test_a_set_that_every_request_would_be_slowed_down_by(desk: Desk, plain: Path) -> None:
    """A thousand orders are taken, and no more."""
    documents = [make_document(f"o-{number}") for number in range(1001)]
    plant_list(plain, documents)
    assert "the set has 1001 orders, at most 1000 are taken" in refused(desk, plain)
    plant_list(plain, documents[1:])
    assert len(order_sync.sync(desk, str(plain)).added) == 1000


def plant_list(plain: Path, documents: list[dict[str, Any]]) -> None:
    """Write a list of orders."""
    (plain / "all.json").write_text(json.dumps(make_list(*documents)))
