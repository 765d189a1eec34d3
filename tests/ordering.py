"""Orders for tests: documents, files, and a desk whose trail is a list."""

from __future__ import annotations

import json
import os
import shutil
from typing import TYPE_CHECKING, Any

from pullpass.approvals import order_form
from pullpass.approvals.order_changes import Desk
from support import FakeClock

if TYPE_CHECKING:
    from pathlib import Path

    from pullpass.approvals.orders import Order
    from pullpass.clock import Clock

IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app"
ROLE = "arn:aws:iam::111122223333:role/pull/team-a"


def make_document(order_id: str = "o-1", **members: Any) -> dict[str, Any]:
    """The document of an order: a `revalidate` of everything, with these members in place of its own."""
    document = {
        "apiVersion": "pullpass/v1",
        "kind": "PullOrder",
        "id": order_id,
        "action": "revalidate",
        "selector": {"all": True},
        "created": "2026-11-24T16:00:00Z",
        "reason": "keys were rotated",
        "by": "alice",
    }
    return document | members


def make_order(order_id: str = "o-1", *, remote: bool = False, **members: Any) -> Order:
    """The order of such a document."""
    return order_form.decode(make_document(order_id, **members), remote=remote)


def make_list(*documents: dict[str, Any]) -> dict[str, Any]:
    """The document of a set."""
    return {"apiVersion": "pullpass/v1", "kind": "PullOrderList", "items": list(documents)}


def plant(state: Path, name: str, content: bytes | dict[str, Any]) -> Path:
    """Put a file into a state directory's orders, private as ours are."""
    place = state / "orders"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = place / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    path.chmod(0o600)
    return path


def make_desk(state: Path, lines: list[dict[str, object]], clock: Clock | None = None) -> Desk:
    """A desk that writes its lines to a list."""
    return Desk(str(state), "test-1", "alice", clock or FakeClock(), lines.extend)


class Mount:
    """A directory written as the kubelet does it for a ConfigMap: a version beside, and one rename."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.version = 0
        place.mkdir()
        place.chmod(0o777)  # what a volume's mount point has

    def publish(self, files: dict[str, Any]) -> None:
        """Another version; the one before is removed."""
        before = self.place.resolve() / os.readlink(self.place / "..data") if self.version else None
        self.version += 1
        name = f"..2026_11_24_16_00_00.{self.version}"
        (self.place / name).mkdir(mode=0o755)
        for file, content in files.items():
            (self.place / name / file).write_bytes(
                content if isinstance(content, bytes) else json.dumps(content).encode()
            )
            if not (self.place / file).is_symlink():
                (self.place / file).symlink_to(f"..data/{file}")
        (self.place / "..data_tmp").symlink_to(name)
        (self.place / "..data_tmp").rename(self.place / "..data")
        if before:
            shutil.rmtree(before)
