"""A credential that the store alone can't give: one exchange for many requests, and what counts when it fails.

Rules:

* Whoever holds a key's intent reads clock, orders, approval and cache again: the one before may have done the work.
* The approval is stored before the credential is handed out. The cache may fail, with a warning in the trail.
* A credential that still lives is used on when its early renewal fails, unless the cloud said no. One whose approval
  is merely too old is used while the cloud can't be reached (`approval.outage`). In both cases the orders are read
  again first, because one may have come during the exchange.
* The cloud's no drops the credential before it is written down: a crash in between costs an exchange, the other way
  round would leave something to serve.
"""

from __future__ import annotations

from pullpass import approvals, exchange, handing, request, stored
from pullpass.approvals import history, intents, orders
from pullpass.cache import disk
from pullpass.clock import Deadline
from pullpass.errors import DENIED, UNREACHABLE, PullpassError
from pullpass.exchange import plan as plans
from pullpass.run import read_orders
from pullpass.store import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.approvals import Approval
    from pullpass.approvals.intents import Intent
    from pullpass.exchange import Credential
    from pullpass.run import Case, Deps, Found
    from pullpass.stored import Stored

# How long an exchange may take while there is something else to hand out: a pod's start waits for it.
TRY_S = 10.0
# An order that arrives during an exchange makes it worthless. Each of these needs another order at that very moment.
EXCHANGES = 3
# Temporary files of a crash are removed once nobody can be writing them any more.
LEFTOVER_AGE_S = 60.0
MICROSECOND_S = 1e-6  # moments in files are rounded to it, up or down


def obtain(found: Found, deps: Deps, deadline: Deadline) -> None:
    """Get a credential, or add the repository to the approval of one; fills `found.handed`.

    Args:
        found: of this run; `stored` holds the first look-up.
        deps: the world.
        deadline: of the whole run.

    Raises:
        PullpassError: an order, the cloud, or the local state refused.
    """
    _Renewal(found, deps).run(deadline)


def verify(case: Case, deps: Deps) -> None:
    """Read a planned exchange's token with a full reader, and check its signature where `node.jwks` says with what.

    Raises:
        PullpassError: the token is not what it seemed.
    """
    token = case.request.token
    if case.subject is not None and token is not None:
        audience = plans.section(case.target, case.config).audience
        now_s = deps.clock.now_s()
        check = exchange.load_verifier()
        check(token, case.subject, audience, case.config.node.jwks, now_s)
        plans.check_token(case.plan, token, now_s)


class _Renewal:
    """One passage through the intent of a key."""

    def __init__(self, found: Found, deps: Deps) -> None:
        self.found, self.deps, self.case = found, deps, found.case
        self.times = self.case.config.approval
        self.place = approvals.directory(self.case.config.paths.state)
        self.runtime = self.case.config.paths.runtime

    def run(self, deadline: Deadline) -> None:
        first, entered_s = self.found.stored, self.found.now_s
        assert first is not None  # noqa: S101 - `pipeline` looked it up
        # A renewal that is merely due waits for nobody. Others wait for half of the time and then go on by themselves:
        # a holder that hangs may cost an exchange of each, never the run of any.
        waits = not (first.serves and handing.lists(first, self.case.target))
        intent = self.enter(deadline.remaining_s() / 2 if waits else 0.0)
        if intent is None and not waits:
            handing.serve(self.found, first)
            return
        try:
            self.settle(deadline, entered_s)
        finally:
            if intent is not None:
                self.leave(intent)

    def enter(self, wait_s: float) -> Intent | None:
        try:
            intent = intents.enter(self.runtime, self.case.plan.key, self.deps.clock, wait_s)
        except PullpassError as error:
            self.warn("intent-unwritable", error.what)
            return None
        except OSError as error:
            self.warn("intent-unwritable", f"{self.runtime}/{intents.NAME}: {error.strerror}")
            return None
        if intent is not None and intent.leftover:
            what = "a run for this credential ended without finishing its exchange"
            self.found.aside("recovered", "intent-leftover", what)
            self.tidy()
        return intent

    def tidy(self) -> None:
        for place in (self.place, self.runtime, f"{self.runtime}/{disk.NAME}"):
            try:
                files.remove_leftovers(place, self.deps.clock.now_s() - LEFTOVER_AGE_S)
            except FileNotFoundError:
                continue
            except OSError as error:
                self.warn("leftover", f"{place}: {error.strerror}")

    def leave(self, intent: Intent) -> None:
        try:
            intents.leave(intent)
        except OSError as error:
            self.warn("intent-unwritable", f"{intent.path} can't be removed: {error.strerror}")

    def settle(self, deadline: Deadline, entered_s: float) -> None:
        """Do what is due, after everything was read again."""
        before = self.look_again()
        for damage in before.warnings:
            self.warn(damage.code, damage.message)
        now_s = self.found.now_s
        handing.check_denial(before, entered_s, now_s)
        if before.serves and not stored.renewal_due(before, self.case.plan, self.case.subject, now_s):
            handing.serve(self.found, before)
            return
        tried_s = before.approval.unreachable_at_s if before.approval else None
        if before.outlives and tried_s is not None and entered_s < tried_s <= now_s:
            handing.serve(self.found, before)  # whoever held the intent while this run waited has just tried
            return
        usable = before.serves or before.outlives
        try:
            self.renew(deadline, TRY_S if usable else deadline.duration_s)
        except PullpassError as error:
            self.fall_back(before, error)

    def look_again(self) -> Stored:
        """Read clock, orders, approval and cache."""
        self.found.now_s = self.deps.clock.now_s()
        read_orders(self.found)
        self.found.stored = stored.look_up(self.case.config, self.case.plan, self.found.required, self.found.now_s)
        return self.found.stored

    def renew(self, deadline: Deadline, try_s: float) -> None:
        """Exchange until the result stands under every order that there is then; each takes `try_s` at most."""
        for _ in range(EXCHANGES):
            under = orders.revalidate_ids(self.found.orders)
            when = history.Validation(self.deps.clock.now_s(), self.times.max_age_s, under)
            # Loading libraries counts as well: on a node that is starting everything at once it takes seconds.
            deadline.run(lambda: verify(self.case, self.deps), "reading the token")
            credential = self.send(deadline, try_s)
            before = self.latest()
            now_s = self.deps.clock.now_s() + MICROSECOND_S
            if before is not None and when.sent_s < (before.denied_at_s or 0.0) <= now_s:
                raise handing.denial(before)  # of a run that sent its exchange later: a slow yes must not undo it
            rotated = before is not None and bool(before.credential_hash)
            approval = history.validated(before, handing.asked(self.case), credential, when)
            approvals.save(self.place, approval)
            self.keep(approval, credential)
            self.found.now_s = self.deps.clock.now_s()
            read_orders(self.found)
            standing = approvals.judge(approval, self.found.now_s, self.found.required, self.times)
            if standing != approvals.VOIDED:
                handing.hand(self.found, approval, credential, "rotated" if rotated else "issued", "exchange")
                return
        raise PullpassError("order-storm", f"an order arrived during each of {EXCHANGES} exchanges")

    def send(self, deadline: Deadline, try_s: float) -> Credential:
        exchanger = deadline.run(lambda: self.deps.load(self.case.plan.kind), "loading what exchanges")
        limit = Deadline(self.deps.clock, min(try_s, deadline.remaining_s()))
        self.found.asked_cloud = True
        credential = exchanger(self.case.plan, self.case.request.token, limit, self.deps.clock)
        request.check_echo(credential, self.case.request.token)
        left_s, least_s = credential.life_ends_s - self.deps.clock.now_s(), self.times.min_life_s
        if left_s < least_s:
            raise PullpassError(
                "credential-too-short",
                f"the cloud's fresh credential ends in {left_s:.0f}s, and approval.min_life is {least_s:g}s",
            )
        return credential

    def latest(self) -> Approval | None:
        """The approval that the next one goes on from, read after the exchange.

        A run that has waited for this one in vain exchanges by itself, and what it stored in between is history too.
        """
        try:
            return approvals.find(self.place, self.case.plan.key)
        except approvals.UnreadableError:
            return None  # `settle` has told of it

    def keep(self, approval: Approval, credential: Credential) -> None:
        """Put a credential into the cache; where that fails, the next request exchanges again."""
        try:
            disk.directory(self.runtime)
            disk.put(self.runtime, approval.key, approval.last_validated_s, credential)
        except disk.DamagedError as error:
            self.warn("cache-unusable", f"{disk.path(self.runtime, approval.key)} {error.what}")
        except PullpassError as error:
            self.warn("cache-unusable", error.what)
        except OSError as error:
            self.warn("cache-unusable", f"{self.runtime}/{disk.NAME}: {error.strerror}")

    def fall_back(self, before: Stored, error: PullpassError) -> None:
        """After an exchange that failed: the cloud's no is kept, and otherwise what there was may count."""
        if error.upstream == DENIED:
            self.deny(error)
            raise error
        unreachable = error.status == UNREACHABLE
        if not before.serves and not (before.outlives and unreachable):
            raise error
        now = self.look_again()
        if not now.serves and not (now.outlives and unreachable):
            raise error  # an order came, or the last of its life has passed
        # What did not come from the cloud is a fault of this node: a disk, an SDK that is not installed.
        self.found.aside("exchange-failed" if error.upstream else "warning", error.code, error.what)
        if unreachable and now.approval is not None:
            tried = history.unreachable(now.approval, self.found.now_s)
            now = now._replace(approval=tried)
            try:
                approvals.save(self.place, tried, sync=False)
            except PullpassError as failure:
                self.warn(failure.code, failure.what)
        handing.serve(self.found, now)

    def deny(self, error: PullpassError) -> None:
        try:
            disk.drop(self.runtime, self.case.plan.key)
        except OSError as failure:
            self.warn("cache-unusable", f"{self.case.plan.key} can't be removed: {failure.strerror}")
        denied = history.denied(self.latest(), handing.asked(self.case), self.deps.clock.now_s(), error.code)
        try:
            approvals.save(self.place, denied)
        except PullpassError as failure:
            self.warn(failure.code, f"the denial is not remembered: {failure.what}")

    def warn(self, code: str, message: str) -> None:
        self.found.aside("warning", code, message)
