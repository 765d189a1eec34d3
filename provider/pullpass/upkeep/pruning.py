"""Removing approvals that are over past any use, and what crashes have left behind.

Rules:

* An approval is removed under its key's intent lock, after it was read again. A key that is in use is passed over.
* Its `expired` line is in the trail, synced, before its file is removed: with the file goes the only other place that
  says who had what. A crash in between leaves an approval that is over, and the next pruning writes its line again.
* Lines are written for many at once: a sync for each of 100,000 would take minutes, and hold the trail's lock for it.
* Over is not enough: while the cloud is out of reach an approval counts on for `approval.outage`, and the history that
  a renewal continues (rotations, hashes, repositories) goes with the file. So a day passes first, by default.
* A leftover intent that nobody has found is reported as a request would have reported it, and removed.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import approvals, trail
from pullpass.approvals import UnreadableError, intents
from pullpass.cache import disk
from pullpass.errors import outside
from pullpass.handing import denied_code
from pullpass.store import files, moments
from pullpass.upkeep import TRAIL_WAIT_S, counted, faults

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pullpass.approvals import Approval
    from pullpass.approvals.intents import Intent
    from pullpass.clock import Clock
    from pullpass.config import ApprovalTimes, Config
    from pullpass.upkeep import Tell

DAY_S = 86400.0
# No run lasts longer than a minute, so whatever is older is nobody's any more.
LEFTOVER_AGE_S = 3600.0
BATCH = 250  # keys locked at once: each is an open file, and a process has 1024 of them


class Wish(NamedTuple):
    """What is to be removed.

    Attributes:
        older_than_s: for how long an approval must have been over.
        unreadable: whether files that are no approvals go as well.
        dry_run: only count.
    """

    older_than_s: float = DAY_S
    unreadable: bool = False
    dry_run: bool = False


class Pruned:
    """What was done, or would be.

    Attributes:
        removed: approvals.
        unreadable: of these, those that could not be read.
        left_unreadable: files that can't be read and were left.
        busy: approvals and intents that were in use, and are left for the next time.
        intents: intents that crashes had left.
        leftovers: temporary files that crashes had left.
    """

    def __init__(self) -> None:
        """Nothing is done yet."""
        self.removed = self.unreadable = self.left_unreadable = self.busy = self.intents = self.leftovers = 0


def prune(config: Config, clock: Clock, wish: Wish, tell: Tell = None) -> Pruned:
    """Remove what is over.

    Args:
        config: the operator's configuration.
        clock: the run's clock.
        wish: what is to be removed.
        tell: is told now and then how many approvals were read.

    Raises:
        PullpassError: `trail-unwritable`, and nothing of the batch at hand was removed; `state-unwritable`,
            `runtime-unwritable`, `state-path`.
    """
    with faults(config.paths):
        return _Pruning(config, clock, wish).run(tell)


def is_over(approval: Approval, now_s: float, times: ApprovalTimes, older_than_s: float) -> bool:
    """Whether an approval, or a denial, has been of no use for long enough.

    Args:
        approval: the stored one.
        now_s: the time, seconds since the epoch.
        times: `[approval]`.
        older_than_s: for how long it must have been over; of an approval `outage` at least.
    """
    if approval.denied_at_s is not None:
        return approval.denied_at_s + times.denied_for_s + older_than_s <= now_s
    return approval.expires_s + (raised_s(times, older_than_s) or older_than_s) <= now_s


def raised_s(times: ApprovalTimes, older_than_s: float) -> float | None:
    """For how long an approval must have been over where that is longer than was asked for; None where it is not.

    Args:
        times: `[approval]`: for `outage` it may count on while the cloud is out of reach.
        older_than_s: what was asked for.
    """
    return times.outage_s if times.outage_s > older_than_s else None


def who(approval: Approval) -> dict[str, Any]:
    """The members of a trail line that an approval knows."""
    account = {"namespace": approval.namespace, "name": approval.service_account, "uid": approval.uid}
    found: dict[str, Any] = {
        "cluster": approval.cluster,
        "serviceAccount": account if approval.namespace else None,
        "identity": outside(approval.identity),
        "opens": outside(approval.opens),
        "approval": approval.key,
    }
    found |= {"pod": outside(approval.pod, 256)} if approval.pod else {}
    found |= {"jti": outside(approval.jti, 128)} if approval.jti else {}
    if len(approval.repositories) == 1:
        found["image"] = outside(next(iter(approval.repositories)))
    return found


def expired(approval: Approval) -> dict[str, Any]:
    """The `expired` line of an approval that goes."""
    line = {"event": "expired", **who(approval)}
    if approval.credential_hash:
        line["credentialHash"] = approval.credential_hash
        line["expires"] = moments.text(approval.expires_s)
        line["registryExpires"] = moments.text(approval.registry_expires_s)
    if approval.denied_at_s is not None:
        line["code"] = denied_code(approval)
        line["message"] = f"the cloud had refused it at {moments.text(approval.denied_at_s)}"
    return line


class _Pruning:
    """One passage through the store."""

    def __init__(self, config: Config, clock: Clock, wish: Wish) -> None:
        self.config, self.clock, self.wish = config, clock, wish
        self.state, self.runtime = config.paths.state, config.paths.runtime
        self.done = Pruned()
        self.held: list[Intent] = []

    def run(self, tell: Tell) -> Pruned:
        try:
            for key, found in counted(approvals.scan(self.state), tell):
                if self.goes(key, found):
                    self.take(key)
                    self.done.removed += self.wish.dry_run
                    self.done.unreadable += self.wish.dry_run and isinstance(found, UnreadableError)
                elif isinstance(found, UnreadableError):
                    self.done.left_unreadable += 1
            self.remove()
            for key, is_leftover in self.stale_intents():
                self.take(key)
                self.done.intents += self.wish.dry_run and is_leftover
            self.remove()
        finally:
            self.give_back()
        self.tidy()
        return self.done

    def goes(self, key: str, found: Approval | UnreadableError) -> bool:
        if isinstance(found, UnreadableError):  # a directory of this name is not ours, and no file to be removed
            return self.wish.unreadable and not os.path.isdir(self.path(key))
        return is_over(found, self.clock.now_s(), self.config.approval, self.wish.older_than_s)

    def take(self, key: str) -> None:
        """Get the lock of a key, and remove what is held when there is enough of it."""
        if self.wish.dry_run:
            return
        intent = intents.hold(self.runtime, key, self.clock, 0.0)
        if intent is None:
            self.done.busy += 1
            return
        self.held.append(intent)
        if len(self.held) == BATCH:
            self.remove()

    def remove(self) -> None:
        """Write down and remove what is held, as far as it still is to go."""
        lines: list[dict[str, Any]] = []
        gone: list[str] = []
        for intent in self.held:
            key = os.path.basename(intent.path)
            found = self.read(key)
            if intent.leftover:
                lines.append(self.recovered(key, found))
            if found is None or not self.goes(key, found):
                continue
            if isinstance(found, UnreadableError):
                self.done.unreadable += 1
                lines.append(self.lost(key, found))
            else:
                lines.append(expired(found))
            gone.append(key)
        trail.append(self.state, lines, self.clock, wait_s=TRAIL_WAIT_S, sync=True, keep_s=self.config.audit.keep_s)
        for key in gone:
            self.forget(key)
        while self.held:
            intent = self.held.pop()
            self.done.intents += intent.leftover
            intents.leave(intent)

    def path(self, key: str) -> str:
        return os.path.join(self.state, approvals.NAME, f"{key}.json")

    def read(self, key: str) -> Approval | UnreadableError | None:
        try:
            return approvals.find(os.path.join(self.state, approvals.NAME), key)
        except UnreadableError as error:
            return error

    def recovered(self, key: str, found: Approval | UnreadableError | None) -> dict[str, Any]:
        known = (
            {"cluster": self.config.node.cluster, "approval": key}
            if found is None or isinstance(found, UnreadableError)
            else who(found)
        )
        message = "a run for this credential ended without finishing its exchange; found while pruning"
        return {"event": "recovered", "code": "intent-leftover", "message": message, **known}

    def lost(self, key: str, found: UnreadableError) -> dict[str, Any]:
        return {
            "event": "expired",
            "code": "approval-unreadable",
            "message": f"{outside(self.path(key))} {found.what}; it was removed",
            "cluster": self.config.node.cluster,
            "approval": outside(key, 128),
        }

    def forget(self, key: str) -> None:
        """Remove the credential and then the approval, as a denial does it."""
        try:
            disk.read(self.runtime, key)
        except disk.DamagedError as error:
            foreign = error.foreign
        else:
            foreign = False
        if not foreign:
            disk.drop(self.runtime, key)
        os.unlink(self.path(key))
        self.done.removed += 1

    def stale_intents(self) -> Iterator[tuple[str, bool]]:
        """The keys of intents that are old enough to be nobody's, and whether an exchange was begun under each."""
        place = os.path.join(self.runtime, intents.NAME)
        files.private_directory(place, make=False)
        if not os.path.lexists(place):
            return
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # its exchange is over
                    continue
                if stat.S_ISREG(status.st_mode) and self.is_old(status.st_mtime):
                    yield entry.name, status.st_size > 0

    def is_old(self, changed_s: float) -> bool:
        return changed_s < self.clock.now_s() - LEFTOVER_AGE_S

    def tidy(self) -> None:
        places = (
            os.path.join(self.state, approvals.NAME),
            self.runtime,
            os.path.join(self.runtime, disk.NAME),
            os.path.join(self.runtime, intents.NAME),
        )
        for place in places:
            if not os.path.isdir(place):
                continue
            files.private_directory(place, make=False)
            look = files.leftovers if self.wish.dry_run else files.remove_leftovers
            self.done.leftovers += len(look(place, self.clock.now_s() - LEFTOVER_AGE_S))

    def give_back(self) -> None:
        """After an error: what is held stays as it was."""
        while self.held:
            intents.release(self.held.pop())
