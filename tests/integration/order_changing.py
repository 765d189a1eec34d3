"""Changes of orders in a process of their own, with a real trail; only the package itself is loaded."""

from __future__ import annotations

import sys

from pullpass import trail
from pullpass.approvals import order_form, order_store, order_sync
from pullpass.approvals.order_changes import Desk
from pullpass.clock import SystemClock
from pullpass.errors import PullpassError

KEEP_S = 90 * 86400.0


def desk_of(state: str) -> Desk:
    """A desk with a real trail."""
    clock = SystemClock()

    def write(lines: list[dict[str, object]]) -> None:
        trail.append(state, lines, clock, wait_s=5.0, sync=True, keep_s=KEEP_S)

    return Desk(state, "test-1", "alice", clock, write)


def change(what: str, state: str, source: str, document: dict[str, object]) -> int:
    """Change orders; what the process ends with.

    Args:
        what: `create`, `lift` or `sync`.
        state: the state directory.
        source: of the set to sync.
        document: of the order to create.
    """
    desk = desk_of(state)
    try:
        if what == "create":
            order_store.create(desk, order_form.decode(document))
        elif what == "lift":
            order_store.lift(desk, ["a", "b"])
        else:
            order_sync.sync(desk, source)
    except PullpassError as error:
        sys.stderr.write(f"{error}\n")
        return error.status
    return 0
