"""Orders for people: made once, listed whatever is there, lifted all or none, and never without a line."""

from __future__ import annotations

import fcntl
import os
import re
from typing import TYPE_CHECKING, Any, cast

import pytest

from ordering import make_desk, make_document, make_list, make_order, plant
from pullpass.approvals import order_changes, order_form, order_store, orders
from pullpass.errors import PullpassError
from support import NOW_S, FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Lines = list[dict[str, Any]]


@pytest.fixture
def lines() -> Lines:
    """What the trail was told."""
    return []


def fails(code: str, do: Callable[[], object]) -> PullpassError:
    """The error of this code that `do` ends with."""
    with pytest.raises(PullpassError) as caught:
        do()
    assert caught.value.code == code
    return caught.value


def ids(state: Path) -> set[str]:
    """The ids of the orders that a request reads."""
    return {order.id for order in orders.read(str(state))}


# --- making


def test_an_order_is_stored_after_its_line(tmp_path: Path, lines: Lines) -> None:
    """Private, in the form of the schema, and told whole."""
    order = make_order(action="block", selector={"image": "*/a/**"}, notBefore="2027-01-01T00:00:00Z")
    assert order_store.create(make_desk(tmp_path, lines), order) == (order, True)
    assert orders.read(str(tmp_path)) == (order,)
    path = tmp_path / "orders" / "o-1.json"
    assert path.read_text() == (
        '{"apiVersion":"pullpass/v1","kind":"PullOrder","id":"o-1","action":"block","selector":{"image":"*/a/**"},'
        '"created":"2026-11-24T16:00:00.000000Z","notBefore":"2027-01-01T00:00:00.000000Z",'
        '"reason":"keys were rotated","by":"alice"}\n'
    )
    assert (path.stat().st_mode & 0o777, (tmp_path / "orders").stat().st_mode & 0o777) == (0o600, 0o700)
    document = order_form.encode(order)
    assert lines == [{"event": "order", "cluster": "test-1", "done": "created", "by": "alice", "order": document}]
    assert sorted(os.listdir(tmp_path / "orders")) == [".lock", "o-1.json"]


def test_the_same_order_again_is_one_order(tmp_path: Path, lines: Lines) -> None:
    """Whoever says it, whenever: the first stands, and nothing is told twice."""
    desk = make_desk(tmp_path, lines)
    first = make_order()
    order_store.create(desk, first)
    again = make_order(created="2027-01-01T00:00:00Z", by="a tool")
    assert order_store.create(desk, again) == (first, False)
    assert len(lines) == 1


@pytest.mark.parametrize(
    "members",
    [{"action": "block"}, {"selector": {"image": "*/x"}}, {"reason": "another"}, {"expires": "2099-01-01T00:00:00Z"}],
)
def test_another_order_under_a_used_id_is_refused(members: dict[str, Any], tmp_path: Path, lines: Lines) -> None:
    """An approval that remembers the id would take it for the one it knows."""
    desk = make_desk(tmp_path, lines)
    order_store.create(desk, make_order())
    error = fails("order-conflict", lambda: order_store.create(desk, make_order(**members)))
    assert (error.status, len(lines)) == (2, 1)


def test_the_id_of_a_remote_order_is_used(tmp_path: Path, lines: Lines) -> None:
    """Also by the same content: only one of the two could be lifted here."""
    plant(tmp_path, "remote.json", make_list(make_document()))
    error = fails("order-conflict", lambda: order_store.create(make_desk(tmp_path, lines), make_order()))
    assert "a remote order of the id o-1" in error.what
    assert not lines


def test_the_id_of_a_lifted_order_stays_used(tmp_path: Path, lines: Lines) -> None:
    """Approvals may have been validated under it; another order of that name would never bite them."""
    desk = make_desk(tmp_path, lines)
    order_store.create(desk, make_order())
    order_store.lift(desk, ["o-1"])
    assert (
        "belonged to an order that was lifted"
        in fails("order-conflict", lambda: order_store.create(desk, make_order())).what
    )
    assert orders.read(str(tmp_path)) == ()


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"reason": "half \udce4"}, "half of a surrogate pair"),
        ({"reason": ""}, "reason is"),
        ({"by": "x" * 257}, "by is"),
        ({"id": "remote"}, "id is"),
        ({"id": "../x"}, "id is"),
        ({"image": "team-a/app"}, "begins with no registry host"),
        ({"service_account": "web"}, "not NAMESPACE/NAME"),
        ({"identity": "a?"}, "other characters"),
        ({"not_before_s": 2e12}, "years 1 to 9999"),
        ({"not_before_s": NOW_S, "expires_s": NOW_S}, "never be in force"),
    ],
)
def test_an_order_that_nobody_could_read_is_not_stored(
    changed: dict[str, Any], why: str, tmp_path: Path, lines: Lines
) -> None:
    """It would stop every request."""
    with pytest.raises(ValueError, match=why):
        order_store.create(make_desk(tmp_path, lines), make_order()._replace(**changed))
    assert not lines
    assert not (tmp_path / "orders").exists()


def test_generated_ids_say_what_and_when() -> None:
    """And no two are the same."""
    first, second = order_store.new_id("block", NOW_S), order_store.new_id("block", NOW_S)
    assert first != second
    assert re.fullmatch(r"block-20270115-080000-[0-9a-f]{6}", first)
    assert order_form.is_id(first)


def test_a_broken_order_does_not_stop_another_one(tmp_path: Path, lines: Lines) -> None:
    """Nothing is answered then, but what is to be blocked can be said already."""
    plant(tmp_path, "broken.json", b"")
    order_store.create(make_desk(tmp_path, lines), make_order())
    assert (tmp_path / "orders" / "o-1.json").exists()
    fails("order-unreadable", lambda: order_store.create(make_desk(tmp_path, lines), make_order("broken")))


# --- lifting


def test_orders_are_lifted_with_their_lines(tmp_path: Path, lines: Lines) -> None:
    """By id or by the file's name, each once."""
    desk = make_desk(tmp_path, lines)
    for name in ("a", "b", "c"):
        order_store.create(desk, make_order(name))
    assert order_store.lift(desk, ["a", "b.json", "a"]) == ("a.json", "b.json")
    assert ids(tmp_path) == {"c"}
    assert [(line["done"], line["order"]["id"]) for line in lines[3:]] == [("lifted", "a"), ("lifted", "b")]
    assert sorted(os.listdir(tmp_path / "orders")) == [".lock", ".used.json", "c.json"]


@pytest.mark.parametrize(
    ("word", "code", "why"),
    [
        ("nope", "order-unknown", "there is no order nope; nothing was lifted"),
        ("", "order-unknown", "there is no order"),
        (".lock", "order-unknown", "there is no order .lock"),
        ("../orders/a", "order-unknown", "there is no order ../orders/a"),
        ("x\ny", "order-unknown", "x\\ny"),
        ("far", "order-remote", "far came by `orders sync`"),
        ("remote", "order-remote", "holds all remote orders"),
        ("remote.json", "order-remote", "holds all remote orders"),
    ],
)
def test_all_or_none_are_lifted(word: str, code: str, why: str, tmp_path: Path, lines: Lines) -> None:
    """One word that is no local order, and nothing has happened."""
    plant(tmp_path, "a.json", make_document("a"))
    plant(tmp_path, "remote.json", make_list(make_document("far")))
    error = fails(code, lambda: order_store.lift(make_desk(tmp_path, lines), ["a", word]))
    assert (error.status, ids(tmp_path), lines) == (2, {"a", "far"}, [])
    assert why in error.what


def test_what_can_not_be_read_is_lifted_by_its_name(tmp_path: Path, lines: Lines) -> None:
    """Foreign files, broken ones, links and pipes; the trail says what was wrong with each."""
    plant(tmp_path, "broken.json", b"{")
    plant(tmp_path, "NOTES.txt", b"x")
    (tmp_path / "orders" / "link.json").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "orders" / "pipe.json")
    desk = make_desk(tmp_path, lines)
    assert len(order_store.lift(desk, ["broken", "NOTES.txt", "link.json", "pipe"])) == 4
    assert orders.read(str(tmp_path)) == ()
    assert [line["order"]["file"] for line in lines] == ["broken.json", "NOTES.txt", "link.json", "pipe.json"]
    assert "is not JSON" in lines[0]["order"]["problem"]
    fails("order-conflict", lambda: order_store.create(desk, make_order("broken")))


def test_a_local_order_is_lifted_although_the_remote_set_is_broken(tmp_path: Path, lines: Lines) -> None:
    """Each can be put right by itself."""
    plant(tmp_path, "a.json", make_document("a"))
    plant(tmp_path, "remote.json", b"")
    order_store.lift(make_desk(tmp_path, lines), ["a"])
    assert not (tmp_path / "orders" / "a.json").exists()
    fails("order-unreadable", lambda: order_store.lift(make_desk(tmp_path, lines), ["b"]))


def test_what_can_not_be_removed_is_said(tmp_path: Path, lines: Lines) -> None:
    """A directory is no file; the line before it is explained at once."""
    (plant(tmp_path, "a.json", make_document("a")).parent / "sub").mkdir()
    desk = make_desk(tmp_path, lines)
    error = fails("order-unwritable", lambda: order_store.lift(desk, ["sub", "a"]))
    assert error.what == f"{tmp_path}/orders/sub can't be changed: Is a directory"
    assert [line["event"] for line in lines] == ["order", "order", "warning"]
    assert lines[2]["code"] == "order-unfinished"
    assert "of these sub, a.json is there now" in lines[2]["message"]
    assert (tmp_path / "orders" / "a.json").exists()
    assert not (tmp_path / "orders" / ".change.json").exists()


# --- listing


def test_every_order_is_listed_with_its_state(tmp_path: Path) -> None:
    """Local or remote, whatever the rest is."""
    plant(tmp_path, "a.json", make_document("a"))
    plant(tmp_path, "b.json", make_document("b", notBefore="2099-01-01T00:00:00Z"))
    plant(tmp_path, "c.json", make_document("c", expires="2026-01-01T00:00:00Z"))
    plant(tmp_path, "d.json", b"")
    plant(tmp_path, "e", b"")
    plant(tmp_path, "remote.json", make_list(make_document("f"), make_document("g")))
    plant(tmp_path, "g.json", make_document("g"))
    found = order_store.listing(str(tmp_path), NOW_S)
    assert [(listed.name, listed.order and listed.order.id, listed.state) for listed in found] == [
        ("a.json", "a", "in force"),
        ("b.json", "b", "scheduled"),
        ("c.json", "c", "expired"),
        ("d.json", None, "unreadable"),
        ("e", None, "unreadable"),
        ("remote.json", "f", "in force"),
        ("g.json", None, "unreadable"),
        ("remote.json", "g", "in force"),
    ]
    problems = [listed.problem.what.removeprefix(f"{tmp_path}/orders/") for listed in found if listed.problem]
    assert problems[0] == "d.json: is empty"
    assert problems[2].startswith("g.json: there is a remote order of the same id, in ")
    assert [listed.shown for listed in found] == ["a", "b", "c", "d", "e", "f", "g", "g"]


def test_a_broken_remote_set_is_listed(tmp_path: Path) -> None:
    """As one file."""
    plant(tmp_path, "a.json", make_document("a"))
    plant(tmp_path, "remote.json", b"[")
    found = order_store.listing(str(tmp_path), NOW_S)
    assert [(listed.name, listed.state) for listed in found] == [("a.json", "in force"), ("remote.json", "unreadable")]


def test_no_orders_are_an_empty_list(tmp_path: Path) -> None:
    """Nothing is made by looking."""
    assert order_store.listing(str(tmp_path), NOW_S) == []
    assert os.listdir(tmp_path) == []


# --- what goes wrong


class Broken:
    """A trail that takes nothing, or breaks after some lines."""

    def __init__(self, lines: Lines, after: int = 0) -> None:
        self.lines, self.left = lines, after

    def write(self, lines: list[dict[str, object]]) -> None:
        """Take them or refuse."""
        if not self.left:
            raise PullpassError("trail-unwritable", "the disk is full")
        self.left -= 1
        self.lines.extend(lines)


@pytest.mark.parametrize("what", ["create", "lift"])
def test_without_a_trail_nothing_is_changed(what: str, tmp_path: Path, lines: Lines) -> None:
    """The error is the trail's; the note tells the next command, as a line may stand there after all."""
    plant(tmp_path, "a.json", make_document("a"))
    desk = make_desk(tmp_path, lines)
    broken = desk._replace(write=Broken(lines).write)
    deeds: dict[str, Callable[[], object]] = {
        "create": lambda: order_store.create(broken, make_order("b")),
        "lift": lambda: order_store.lift(broken, ["a"]),
    }
    fails("trail-unwritable", deeds[what])
    assert ids(tmp_path) == {"a"}
    fails("trail-unwritable", deeds[what])
    order_store.create(desk, make_order("c"))
    assert [line.get("code", line.get("done")) for line in lines] == ["order-unfinished", "created"]
    missing = "b.json should have been created" if what == "create" else "a.json should have been lifted"
    assert missing in lines[0]["message"]


def test_a_change_that_fails_while_the_trail_does_is_explained_by_the_next(tmp_path: Path, lines: Lines) -> None:
    """The line was written, the change was not, and neither was the explanation."""
    (tmp_path / "orders").mkdir(mode=0o700)
    (tmp_path / "orders" / "sub").mkdir()
    desk = make_desk(tmp_path, lines)
    fails("order-unwritable", lambda: order_store.lift(desk._replace(write=Broken(lines, 1).write), ["sub"]))
    assert [line["event"] for line in lines] == ["order"]
    order_store.create(desk, make_order())
    assert [line["event"] for line in lines] == ["order", "warning", "order"]


@pytest.mark.parametrize(
    "note", [b"", b"[]", b"{}", b'{"done":1,"names":[],"content":""}', b'{"done":"lifted","names":"a","content":""}']
)
def test_a_damaged_note_is_explained_as_far_as_it_goes(note: bytes, tmp_path: Path, lines: Lines) -> None:
    """Once."""
    plant(tmp_path, ".change.json", note)
    order_store.create(make_desk(tmp_path, lines), make_order("a"))
    order_store.create(make_desk(tmp_path, lines), make_order("b"))
    assert [line["event"] for line in lines] == ["warning", "order", "order"]
    assert "which is not known" in lines[0]["message"]


def test_a_finished_change_needs_no_explanation(tmp_path: Path, lines: Lines) -> None:
    """Its process was killed before it could remove the note."""
    plant(tmp_path, "a.json", make_document("a"))
    plant(tmp_path, ".change.json", {"done": "created", "names": ["a.json"], "content": ""})
    order_store.create(make_desk(tmp_path, lines), make_order("b"))
    plant(tmp_path, ".change.json", {"done": "lifted", "names": ["x.json"], "content": ""})
    order_store.create(make_desk(tmp_path, lines), make_order("c"))
    assert [line["event"] for line in lines] == ["order", "order"]


def test_a_note_that_is_no_file_is_said(tmp_path: Path, lines: Lines) -> None:
    """Somebody else's directory under the name."""
    (plant(tmp_path, "a.json", make_document("a")).parent / ".change.json").mkdir()
    error = fails("order-unwritable", lambda: order_store.create(make_desk(tmp_path, lines), make_order("b")))
    assert ".change.json can't be changed: not a regular file" in error.what


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a":1}', b"{"])
def test_a_list_of_used_ids_that_can_not_be_read_is_no_empty_one(content: bytes, tmp_path: Path, lines: Lines) -> None:
    """An id could come back; requests don't read it and go on."""
    plant(tmp_path, ".used.json", content)
    error = fails("order-unreadable", lambda: order_store.create(make_desk(tmp_path, lines), make_order()))
    assert ".used.json" in error.what
    assert orders.read(str(tmp_path)) == ()
    (tmp_path / "orders" / ".used.json").unlink()
    (tmp_path / "orders" / ".used.json").mkdir()
    fails("order-unreadable", lambda: order_store.create(make_desk(tmp_path, lines), make_order()))


def test_used_ids_of_somebody_else_are_not_believed(tmp_path: Path, lines: Lines) -> None:
    """Whoever may write the list frees ids."""
    plant(tmp_path, ".used.json", {}).chmod(0o666)
    fails("order-unreadable", lambda: order_store.create(make_desk(tmp_path, lines), make_order()))


def test_only_one_changes_orders_at_a_time(tmp_path: Path, lines: Lines) -> None:
    """The other waits for a while, and says so."""
    clock = FakeClock()
    descriptor = os.open(plant(tmp_path, ".lock", b""), os.O_RDWR)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    error = fails("order-unwritable", lambda: order_store.create(make_desk(tmp_path, lines, clock), make_order()))
    assert "another command has been changing orders for 10s" in error.what
    assert round(sum(clock.slept), 3) == order_changes.LOCK_WAIT_S
    os.close(descriptor)
    order_store.create(make_desk(tmp_path, lines, clock), make_order())


def test_a_directory_that_is_not_ours_is_not_written_to(tmp_path: Path, lines: Lines) -> None:
    """As everywhere below the state directory."""
    (tmp_path / "orders").mkdir(mode=0o700)
    (tmp_path / "orders").chmod(0o777)
    fails("state-path", lambda: order_store.create(make_desk(tmp_path, lines), make_order()))
    (tmp_path / "orders").chmod(0o700)
    (tmp_path / "orders" / ".lock").symlink_to(tmp_path / "victim")
    fails("order-unwritable", lambda: order_store.create(make_desk(tmp_path, lines), make_order()))
    assert not (tmp_path / "victim").exists()
    assert not lines


def test_leftovers_of_killed_writers_are_removed(tmp_path: Path, lines: Lines) -> None:
    """After an hour; a younger one may be in use."""
    old, young = (plant(tmp_path, f".x.json.{name}.tmp", b"") for name in ("old", "young"))
    os.utime(old, (NOW_S - 3601, NOW_S - 3601))
    os.utime(young, (NOW_S - 3599, NOW_S - 3599))
    order_store.create(make_desk(tmp_path, lines), make_order())
    assert (old.exists(), young.exists()) == (False, True)


def test_a_fingerprint_is_of_action_and_selector() -> None:
    """Nothing else of an order is fixed by its id."""
    order = make_order(selector={"image": "*/a"})
    same = order._replace(id="x", created_s=0.0, reason="x", by="x", expires_s=1.0, not_before_s=0.0, remote=True)
    others = [
        order._replace(**cast("dict[str, Any]", {name: value}))
        for name, value in (("action", "block"), ("image", ""), ("service_account", "a/*"), ("identity", "node"))
    ]
    assert order_changes.fingerprint(order) == order_changes.fingerprint(same)
    assert len({order_changes.fingerprint(other) for other in (order, *others)}) == 5
