"""What may happen to files: each function does it to one need, and tells the reference."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from modelling.world import ABSENT, DAMAGED, FOREIGN, GOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from modelling.cloud import Need
    from modelling.reference import Reference
    from modelling.world import World

NEWER = b"pullpass-cache 2\n"  # what an entry of another version of the format begins with


class Copy(NamedTuple):
    """A copy of a cache entry, with what it was good for."""

    entry: bytes
    key: bytes
    sent_s: float
    password: str


def _read(path: str) -> bytes | None:
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _write(path: str, data: bytes) -> None:
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)


def approval(world: World, reference: Reference, need: Need, how: str, other: Need) -> None:
    """Delete an approval, or make it unreadable: cut, turned into something else, another one's, open to others."""
    path = world.approval_path(need)
    data = _read(path)
    if data is None:
        return
    slot = reference.slot(need)
    slot.approval, slot.unreadable = None, how != "deleted"
    if how == "deleted":
        os.unlink(path)
    elif how == "cut":
        _write(path, data[: len(data) // 2])
    elif how == "open":
        os.chmod(path, 0o666)  # noqa: S103 - which is what is wrong with it
    else:
        is_another = other != need and reference.slot(other).approval is not None
        _write(path, (_read(world.approval_path(other)) if is_another else None) or b"{}")


def entry(world: World, reference: Reference, need: Need, how: str, other: Need) -> None:
    """Delete or damage a cache entry: cut, changed by a bit, another one's, of a newer version."""
    path = world.cache_path(need)
    data = _read(path)
    if data is None:
        return
    slot = reference.slot(need)
    if how == "deleted":
        os.unlink(path)
        slot.cache = ABSENT
        return
    is_another = other != need and reference.slot(other).cache == GOOD  # otherwise it may be this one's own
    changes: dict[str, Callable[[bytes], bytes]] = {
        "cut": lambda old: old[:-1],
        "changed": lambda old: old[:-5] + bytes([(old[-5] + 1) % 256]) + old[-4:],
        "swapped": lambda old: (_read(world.cache_path(other)) if is_another else None) or b"nothing of ours",
        "newer": lambda old: NEWER + old,
    }
    changed = changes[how](data)
    slot.cache = FOREIGN if changed.startswith(NEWER) else DAMAGED
    _write(path, changed)


def key(world: World, reference: Reference, how: str) -> None:
    """Lose the key of the cache, damage it, or put another one there: nothing opens any more."""
    path = f"{world.runtime}/cache.key"
    if _read(path) is None:
        return
    if how == "deleted":
        os.unlink(path)
    else:
        _write(path, b"short" if how == "cut" else os.urandom(32))
    for slot in reference.slots.values():
        if slot.cache == GOOD:
            slot.cache = DAMAGED


def reboot(world: World, reference: Reference) -> None:
    """Lose the runtime directory."""
    world.lose_runtime()
    for slot in reference.slots.values():
        slot.cache, slot.left = ABSENT, False


def copy(world: World, reference: Reference, need: Need) -> Copy | None:
    """Copy a cache entry that is good."""
    slot = reference.slot(need)
    entry, secret = _read(world.cache_path(need)), _read(f"{world.runtime}/cache.key")
    if slot.cache != GOOD or not slot.approval or not slot.approval.verdict or entry is None or secret is None:
        return None
    return Copy(entry, secret, slot.approval.verdict.sent_s, slot.approval.verdict.password)


def replay(world: World, reference: Reference, need: Need, old: Copy) -> None:
    """Put a copy of a cache entry back where it was."""
    if not os.path.isdir(f"{world.runtime}/cache"):
        return
    _write(world.cache_path(need), old.entry)
    slot = reference.slot(need)
    verdict = slot.approval.verdict if slot.approval else None
    is_it = verdict and (verdict.sent_s, verdict.password) == (old.sent_s, old.password)
    is_opened = _read(f"{world.runtime}/cache.key") == old.key
    slot.cache = GOOD if is_it and is_opened else DAMAGED
