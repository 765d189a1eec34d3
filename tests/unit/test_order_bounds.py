"""How many orders there may be, and what becomes of the list of their ids."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from ordering import make_desk, make_document, make_order, plant
from pullpass.approvals import order_changes, order_store, orders
from pullpass.errors import PullpassError

if TYPE_CHECKING:
    from pathlib import Path


def test_a_thousand_local_orders_are_enough(tmp_path: Path) -> None:
    """One more is refused, with what to do; the same one again is none more."""
    lines: list[dict[str, Any]] = []
    desk = make_desk(tmp_path, lines)
    for number in range(orders.LIMIT):
        plant(tmp_path, f"o-{number}.json", make_document(f"o-{number}"))
    with pytest.raises(PullpassError, match=r"order-conflict: there are 1000 local orders.* lift those that are over"):
        order_store.create(desk, make_order("another"))
    assert not order_store.create(desk, make_order("o-7"))[1]
    order_store.lift(desk, ["o-8"])
    assert order_store.create(desk, make_order("another"))[1]


def test_a_full_list_of_used_ids_is_left_as_it_is(tmp_path: Path) -> None:
    """It stays one that can be read, and so do the orders: the lift is told as one that was not made."""
    lines: list[dict[str, Any]] = []
    desk = make_desk(tmp_path, lines)
    order_store.create(desk, make_order("o-1"))
    room = order_changes.LIMIT_BYTES - len('{"full":""}')
    path = plant(tmp_path, ".used.json", json.dumps({"full": "x" * room}, separators=(",", ":")).encode())
    before = path.read_bytes()
    with pytest.raises(PullpassError, match=r"order-unwritable: .*it has no room for more used ids"):
        order_store.lift(desk, ["o-1"])
    assert path.read_bytes() == before
    assert [order.id for order in orders.read(str(tmp_path))] == ["o-1"]
    assert order_changes.used(str(tmp_path)).keys() == {"full"}
