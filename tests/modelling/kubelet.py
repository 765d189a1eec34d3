"""The kubelet's cache of answers, in front of the modelled node: which container starts reach the plugin at all.

As of Kubernetes 1.37, `pkg/credentialprovider/plugin/plugin.go`: an answer is kept under the image and what is known of
the service account, for `cacheDuration`; it has expired when the clock is past that, not at it. `0s` is not kept, nor
is a failure. What is kept is not looked at again, whatever happens meanwhile. Of the service account the key holds
namespace, name and uid; with `cacheType: Token` also the token's hash.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

from modelling import laws
from modelling.asking import make_ask, need_of
from modelling.cloud import Need, claims_of

if TYPE_CHECKING:
    from modelling.asking import Ask
    from modelling.world import World

SERVICE_ACCOUNT, TOKEN = "ServiceAccount", "Token"
TOKEN_S = 3600.0
# The kubelet's token manager asks for another one when a fifth of the life is left (`token_manager.go`, maxTTL is 24h).
RENEWED_AFTER = 0.8


class Start(NamedTuple):
    """One container start.

    Attributes:
        at_s: when, seconds since the epoch.
        need: what it needed.
        asked: whether the plugin was asked.
        calls: how many exchanges that began.
        password: what the kubelet had for the pull or the check of its record; "" for nothing.
        code: of the plugin's refusal, or "".
    """

    at_s: float
    need: Need
    asked: bool
    calls: int
    password: str
    code: str


class Kubelet:
    """One provider entry and its cache."""

    def __init__(self, world: World, cache_type: str) -> None:
        self.world, self.cache_type = world, cache_type
        self.starts: list[Start] = []
        self._kept: dict[tuple[str, ...], tuple[float, str]] = {}
        self._tokens: dict[tuple[str, str], Ask] = {}

    def start(self, pod: str, account: str, image: str) -> Start:
        """A container of a pod starts.

        Args:
            pod: its name; each pod has a token of its own.
            account: its service account.
            image: what it runs.
        """
        now_s = self.world.clock.now_s()
        ask = self._ask(pod, account, image, now_s)
        need = need_of(ask, self.world.settings)
        assert isinstance(need, Need)
        key: tuple[str, ...] = (image, account)
        if self.cache_type == TOKEN:
            key += (hashlib.sha256(ask.token.encode()).hexdigest(),)
        until_s, password = self._kept.get(key, (0.0, ""))
        if now_s <= until_s:
            start = Start(now_s, need, asked=False, calls=0, password=password, code="")
        else:
            outcome = self.world.ask(ask, need)
            laws.check(self.world, outcome, need)
            if outcome.cache_s > 0:
                self._kept[key] = (now_s + outcome.cache_s, outcome.password)
            start = Start(now_s, need, True, outcome.calls, outcome.password, outcome.code)
        self.starts.append(start)
        return start

    def _ask(self, pod: str, account: str, image: str, now_s: float) -> Ask:
        """With the pod's token, which is renewed in time."""
        ask = self._tokens.get((pod, image))
        claims = claims_of(ask.token) if ask else {}
        if ask is None or now_s >= float(str(claims["iat"])) + RENEWED_AFTER * TOKEN_S:
            ask = self._tokens[pod, image] = make_ask(account, image, now_s, TOKEN_S)
        return ask
