"""A cloud that does what it is told: the exchanger that a modelled run gets in the place of the real ones."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass.errors import PullpassError
from pullpass.exchange import Credential
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange import Plan

HOUR_S = 3600.0
MARK = "open-sesame"  # stands in every password, so that it can be looked for in files
USERNAME = "AWS"

WELL, DENIED, UNREACHABLE, TOKEN, INVALID = "well", "denied", "unreachable", "token", "invalid"
SHORT = "short"
# mode -> the code that a request without anything to fall back on ends with, and its exit status
FAILURES = {
    DENIED: ("aws-sts-denied", 4),
    UNREACHABLE: ("cloud-unreachable", 5),
    TOKEN: ("aws-token-expired", 4),
    INVALID: ("cloud-answer", 4),
    SHORT: ("credential-too-short", 4),
}
SHORT_S = 20.0  # less than any `min_life` of the models


class Need(NamedTuple):
    """What a credential is for: one approval, one cache entry.

    Attributes:
        cluster: the cluster's name.
        account: `NAMESPACE/NAME`; "" without a token.
        identity: what the workload becomes.
        opens: what the credential gives access to.
    """

    cluster: str
    account: str
    identity: str
    opens: str


class Verdict(NamedTuple):
    """What came of one exchange.

    Attributes:
        need: who asked for what.
        key: the plan's.
        mode: how it ended.
        password: that was given, or "".
        sent_s: when it was sent, seconds since the epoch.
        registry_s: the password's end.
        session_s: the end of the session behind it.
        under: ids of the `revalidate` orders in force when it was sent.
    """

    need: Need
    key: str
    mode: str
    password: str
    sent_s: float
    registry_s: float
    session_s: float
    under: tuple[str, ...]


class FakeCloud:
    """Exchanges as `mode` says.

    Attributes:
        mode: of `FAILURES`, or `WELL`.
        life_s: of a password.
        session_s: of the session behind it.
        deny: says for which needs the cloud's answer is no, whatever `mode` is.
        takes_s: how long an exchange takes.
        rotates: whether each exchange gives another password; otherwise a need keeps its own.
        cluster: the cluster's name in the configuration that is in use.
        under: tells which `revalidate` orders are in force at a moment.
        during: done once, in the middle of the next exchange.
        verdicts: of all exchanges, in the order in which they ended.
        begun: how many exchanges were begun.
        notify: told of each verdict.
    """

    def __init__(self, under: Callable[[float], tuple[str, ...]]) -> None:
        self.mode = WELL
        self.deny: Callable[[Need], bool] | None = None
        self.life_s, self.session_s, self.takes_s = 12 * HOUR_S, HOUR_S, 0.0
        self.rotates = True
        self.cluster = ""
        self.under = under
        self.during: Callable[[], None] | None = None
        self.verdicts: list[Verdict] = []
        self.begun = 0
        self.notify: Callable[[Verdict], None] = lambda verdict: None

    def load(self, kind: str) -> Any:
        """As `exchange.load`."""
        return self._exchange

    def _exchange(self, plan: Plan, token: Secret | None, deadline: Deadline, clock: Clock) -> Credential:
        self.begun += 1
        number, sent_s = self.begun, clock.now_s()
        under = self.under(sent_s)
        claims = {} if token is None else claims_of(token.reveal())
        need = Need(self.cluster, account_of(claims), plan.identity, plan.opens)
        during, self.during = self.during, None
        if during is not None:
            during()
        clock.sleep(self.takes_s)
        ends_s = [sent_s + self.life_s, sent_s + self.session_s]
        if plan.life_follows_token:
            ends_s = [float(str(claims["exp"]))] * 2
        if self.mode == SHORT:
            ends_s = [clock.now_s() + SHORT_S] * 2
        password = self._password(need, number)
        mode = DENIED if self.deny is not None and self.deny(need) else self.mode
        given = mode in (WELL, SHORT)
        verdict = Verdict(need, plan.key, mode, password if given else "", sent_s, ends_s[0], ends_s[1], under)
        self.verdicts.append(verdict)
        self.notify(verdict)
        if not given:
            raise PullpassError(FAILURES[mode][0], "as the model says")
        about = ("principal", f"key-{number}", (f"r-{number}",))
        return Credential(USERNAME, Secret(password), ends_s[0], ends_s[1], *about)

    def _password(self, need: Need, number: int) -> str:
        before = [verdict.password for verdict in self.verdicts if verdict.need == need and verdict.mode == WELL]
        return before[-1] if before and not self.rotates else f"{MARK} {number}"


def claims_of(token: str) -> dict[str, object]:
    """The claims of a token."""
    part = token.split(".")[1]
    claims: dict[str, object] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def account_of(claims: dict[str, object]) -> str:
    """`NAMESPACE/NAME` of a token's claims; "" without any."""
    return "/".join(str(claims["sub"]).split(":")[2:]) if claims else ""
