"""The credential cache for people: what is in it, what is of no use any more, another key.

An entry says nothing about itself that could be read without its approval: whose it is, and when it was made, which is
part of what it was encrypted with. So each is looked at together with the approval of its name.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import approvals, stored, trail
from pullpass.approvals import UnreadableError, intents
from pullpass.cache import disk, rotation
from pullpass.errors import PullpassError, number_of, outside
from pullpass.store import digest, moments
from pullpass.upkeep import TRAIL_WAIT_S, counted, faults, pruning

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.approvals import Approval
    from pullpass.clock import Clock
    from pullpass.config import Config
    from pullpass.upkeep import Tell

# An exchange ends within a run, which ends within `node.deadline`, of which the configuration allows this at most.
BUSY_WAIT_S = 55.0


class Entry(NamedTuple):
    """One file of the cache.

    Attributes:
        key: its name.
        size_bytes: how long it is.
        approval: that it belongs to; None when there is none that can be read.
        ends_s: when its credential ends, seconds since the epoch; None when it does not open.
        problem: why it does not open; "" when it does.
    """

    key: str
    size_bytes: int
    approval: Approval | None
    ends_s: float | None
    problem: str


class Rotated(NamedTuple):
    """What became of the entries.

    Attributes:
        kept: under the new key.
        removed: they did not open, or had no approval.
        foreign: of another version of the program, or no entries; left alone.
    """

    kept: int
    removed: int
    foreign: int


def entries(config: Config, tell: Tell = None) -> Iterator[Entry]:
    """What is in the cache, one entry after the other, by key.

    Args:
        config: the operator's configuration.
        tell: is told now and then how many entries were read.

    Raises:
        PullpassError: `state-path`, `runtime-unwritable`, `state-unwritable`.
    """
    with faults(config.paths):
        for key in counted(sorted(disk.names(config.paths.runtime)), tell):
            entry = _entry(config, key)
            if entry is not None:
                yield entry


def _entry(config: Config, key: str) -> Entry | None:
    try:
        size_bytes = os.lstat(disk.path(config.paths.runtime, key)).st_size
    except FileNotFoundError:  # removed since its name was read
        return None
    approval, problem = _approval(config, key)
    if approval is None:
        return Entry(key, size_bytes, None, None, problem)
    credential, damages = stored.cached(config, approval, make=False)
    if credential is None:
        problem = "; ".join(damage.message for damage in damages) or "was removed just now"
        return Entry(key, size_bytes, approval, None, problem)
    return Entry(key, size_bytes, approval, credential.life_ends_s, "")


def _approval(config: Config, key: str) -> tuple[Approval | None, str]:
    """The approval of an entry, or why there is none."""
    if not digest.is_sha256(key):
        return None, "has a name that no entry has"
    try:
        found = approvals.find(approvals.directory(config.paths.state, make=False), key)
    except UnreadableError as error:
        return None, f"its approval {error.what}"
    return found, "" if found else "has no approval"


def document(entry: Entry) -> dict[str, Any]:
    """An entry for `--json`: whose it is and whether it opens, never what is in it."""
    approval = entry.approval
    account = None
    if approval and approval.namespace:
        account = {"namespace": approval.namespace, "name": approval.service_account, "uid": approval.uid}
    return {
        "id": entry.key,
        "sizeBytes": entry.size_bytes,
        "serviceAccount": account,
        "identity": approval.identity if approval else None,
        "opens": approval.opens if approval else None,
        "decrypts": entry.ends_s is not None,
        "problem": entry.problem or None,
        "ends": moments.text(entry.ends_s) if entry.ends_s is not None else None,
    }


# --- prune


def prune(config: Config, clock: Clock, *, dry_run: bool, tell: Tell = None) -> dict[str, int]:
    """Remove entries that no approval makes usable.

    One that merely does not open is left: the next request names it in the trail, which removing it would hide. So is
    whatever is of another version.

    Args:
        config: the operator's configuration.
        clock: the run's clock.
        dry_run: only count.
        tell: is told now and then how many entries were looked at.

    Returns:
        `removed`, `busy` (in use, and left for the next time), `foreign` (left alone), `kept`.

    Raises:
        PullpassError: `state-path`, `runtime-unwritable`, `state-unwritable`.
    """
    done = {"removed": 0, "kept": 0, "busy": 0, "foreign": 0}
    with faults(config.paths):
        for key in counted(disk.names(config.paths.runtime), tell):
            if _is_foreign(config, key):
                done["foreign"] += 1
            elif _is_usable(config, key, clock.now_s()):
                done["kept"] += 1
            else:
                done["removed" if dry_run else _prune(config, clock, key)] += 1
    return done


def _prune(config: Config, clock: Clock, key: str) -> str:
    """Remove an entry under its key's lock, unless it has become usable: what became of it."""
    intent = intents.hold(config.paths.runtime, key, clock, 0.0)
    if intent is None:
        return "busy"
    try:
        if _is_usable(config, key, clock.now_s()):
            return "kept"
        disk.drop(config.paths.runtime, key)
        return "removed"
    finally:
        intents.release(intent)


def _is_foreign(config: Config, key: str) -> bool:
    """Whether this is nothing that this version of the program has written."""
    if not digest.is_sha256(key):
        return True
    try:
        disk.read(config.paths.runtime, key)
    except disk.DamagedError as error:
        return error.foreign or os.path.isdir(disk.path(config.paths.runtime, key))
    return False


def _is_usable(config: Config, key: str, now_s: float) -> bool:
    approval, _ = _approval(config, key)
    if approval is None:
        return False
    # Orders are not looked at: one may be lifted.
    standing = approvals.judge(approval, now_s, (), config.approval)
    return standing in (approvals.LIVING, approvals.AHEAD) or approvals.may_outlive(approval, now_s, config.approval)


# --- another key


def rotate(config: Config, clock: Clock, tell: Tell = None) -> Rotated:
    """Change the key of the cache, in the order of `cache.rotation`.

    Args:
        config: the operator's configuration.
        clock: the run's clock.
        tell: is told now and then how many entries were kept anew.

    Raises:
        PullpassError: `rotation-unfinished`: a run has held a key for longer than a run may last, and its entry is
            still under the key before; `trail-unwritable`: an entry does not open, and that could not be written down;
            `runtime-unwritable`, `state-unwritable`, `state-path`.
    """
    runtime = config.paths.runtime
    with faults(config.paths), rotation.alone(runtime, clock):
        if rotation.is_pending(runtime):
            _recode_all(config, clock, tell)
            rotation.finish(runtime)
        rotation.begin(runtime)
        done = _recode_all(config, clock, tell)
        rotation.finish(runtime)
    return done


def _recode_all(config: Config, clock: Clock, tell: Tell) -> Rotated:
    counts = dict.fromkeys((*Rotated._fields, "busy"), 0)
    # All names first: on a tmpfs a file that takes another's place may stand behind it in the listing, without end.
    for key in counted([*disk.names(config.paths.runtime)], tell):
        counts[_recode(config, clock, key)] += 1
    busy = counts.pop("busy")
    if busy:
        left = number_of(busy, "entry", "entries")
        what = f"{left} of the cache still under the key before: a run has held each for {BUSY_WAIT_S:g}s"
        raise PullpassError("rotation-unfinished", what)
    return Rotated(**counts)


def _recode(config: Config, clock: Clock, key: str) -> str:
    """Keep an entry under the key that counts now, or remove it: what became of it."""
    if not digest.is_sha256(key):
        return "foreign"
    intent = intents.hold(config.paths.runtime, key, clock, BUSY_WAIT_S)
    if intent is None:
        return "busy"
    try:
        approval, _ = _approval(config, key)
        if _is_foreign(config, key):
            return "foreign"
        if approval is not None:
            try:
                rotation.recode(config.paths.runtime, key, approval.last_validated_s)
            except disk.DamagedError as error:
                _warn(config, clock, approval, error)
            else:
                return "kept"
        disk.drop(config.paths.runtime, key)
        return "removed"
    finally:
        intents.release(intent)


def _warn(config: Config, clock: Clock, approval: Approval, error: disk.DamagedError) -> None:
    """Say what a request would have said, had it found the entry."""
    path = disk.path(config.paths.runtime, approval.key)
    line = {"event": "warning", "code": "cache-damaged", "message": f"{outside(path)} {error.what}"}
    bodies = [{**line, **pruning.who(approval)}]
    trail.append(config.paths.state, bodies, clock, wait_s=TRAIL_WAIT_S, sync=False, keep_s=config.audit.keep_s)
