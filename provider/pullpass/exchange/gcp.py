"""A pod's token for an access token of Google: Security Token Service, and generateAccessToken where it impersonates.

google-auth makes the requests and takes them in order; everything else is taken out of its hands:

* Its transport is `_Wire`, in front of `exchange.transport`: requests go to the URLs that the plan names and nowhere
  else. The library's own transports follow redirects with the token, obey `.netrc` and half a dozen variables, and load
  client certificates by themselves.
* It sees only answers that `gcp_answers` has read, written anew: it loses the HTTP status, leaks bare exceptions, and
  can't read every time that RFC 3339 allows.
* It tries once; `exchange.retry` tries each of the two calls again, so that a failing second one does not repeat the
  first.
* `refresh` is all that is called. Everything else on its credentials (`before_request`, an authorised session) starts
  look-ups at hosts that nobody configured.
* Its environment variables are dropped from this process, and `google.auth.default`, which reads files and asks the
  metadata server, is not called.

Google's messages may say what they were given. Nothing of the token or of a credential gets into an error.
"""

from __future__ import annotations

import json
import logging
import os
import random
import time
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from google.auth import identity_pool

from pullpass import __version__
from pullpass.errors import PullpassError, outside
from pullpass.exchange import Credential, gcp_answers, gcp_errors, plan_gcp, retry
from pullpass.exchange.plan_gcp import EXCHANGE_TOKEN, GENERATE_TOKEN
from pullpass.exchange.redaction import Redactor, facts_of
from pullpass.exchange.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange.gcp_answers import Issued
    from pullpass.exchange.plan_gcp import GooglePlan
    from pullpass.secret import Secret

USERNAME = "oauth2accesstoken"
# What begins like this is read by google-auth or the TLS module somewhere.
SDK_VARIABLES = ("GOOGLE_", "GCE_", "GCLOUD_", "CLOUDSDK_", "NO_GCE_CHECK", "APPENGINE_", "SSLKEYLOGFILE")
TOKEN_TYPE = "urn:ietf:params:oauth:token-type:jwt"  # noqa: S105 - the name of a type
_DOMAIN = ".googleapis.com"


def exchange(
    plan: GooglePlan,
    token: Secret | None,
    deadline: Deadline,
    clock: Clock,
    jitter: Callable[[], float] = random.random,
) -> Credential:
    """Exchange a pod's token for an access token; see `exchange.Exchanger`.

    Args:
        plan: what to send.
        token: the pod's service-account token.
        deadline: of the whole run.
        clock: the run's clock.
        jitter: a number from 0 up to 1, for the waits between attempts.

    Raises:
        PullpassError: a code of one of the sections "exchange" of `errors`, `gcp-token-algorithm`, `gcp-token-age`,
            another code of the section "token", `ca-bundle` or `proxy`.
    """
    if token is None:  # only the node's identity needs none, and has another exchanger
        raise PullpassError("internal", f"no token to exchange for {outside(plan.identity)}")
    token_ends_s = plan_gcp.check_token(token, clock.now_s())
    _isolate()
    wire = _Wire(plan, token, deadline, clock, jitter)
    try:
        _credentials(plan, token).refresh(wire)
    except PullpassError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever it is, its text may quote a secret
        raise PullpassError("internal", f"google-auth can't go on ({type(error).__name__})") from None
    issued = wire.last()
    return Credential(
        username=USERNAME,
        secret=issued.token,
        registry_expires_s=issued.expires_s,
        # A federated token is bound to the pod's; an impersonated one has a life of its own.
        session_expires_s=issued.expires_s if plan.impersonation_url else token_ends_s,
        principal=plan.principal,
        access_key_id="",
        request_ids=(),  # Google's answers have none
    )


def _isolate() -> None:
    """Leave the library nothing of the environment, and no log: at DEBUG it writes requests and answers."""
    for name in list(os.environ):
        if name.startswith(SDK_VARIABLES):
            os.environ.pop(name, None)
    logging.getLogger("google").setLevel(logging.WARNING)


class _Supplier(identity_pool.SubjectTokenSupplier):
    """Hands the pod's token to the library."""

    def __init__(self, token: Secret) -> None:
        self._token = token

    def get_subject_token(self, context: Any, request: Any) -> str:  # noqa: ARG002 - the base class's signature
        return self._token.reveal()


def _credentials(plan: GooglePlan, token: Secret) -> Any:
    """The library's credentials for a plan; it asks STS for the scope of impersonation by itself."""
    impersonation: dict[str, Any] = {}
    if plan.impersonation_url:
        impersonation["service_account_impersonation_url"] = plan.impersonation_url
        impersonation["service_account_impersonation_options"] = {"token_lifetime_seconds": plan.lifetime_s}
    make: Any = identity_pool.Credentials
    return make(
        audience=plan.audience,
        subject_token_type=TOKEN_TYPE,
        token_url=plan.token_url,
        subject_token_supplier=_Supplier(token),
        scopes=plan.scope.split(" "),
        **impersonation,
    )


def _redactor(plan: GooglePlan, token: Secret) -> Redactor:
    """What blanks the token, and leaves what Google may well say about this plan."""
    facts = [plan.audience, plan.principal, plan.identity, plan.token_url, plan.impersonation_url, plan.scope]
    return Redactor([token], [*facts, *facts_of(token), *gcp_errors.NAMES])


class _Response(NamedTuple):
    """An answer in the form in which the library reads one."""

    status: int
    headers: Mapping[str, str]
    data: bytes


class _Wire:
    """The transport in the form of `google.auth.transport.Request`, and all that passes over it."""

    def __init__(
        self, plan: GooglePlan, token: Secret, deadline: Deadline, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        self._plan = plan
        self._redacted = _redactor(plan, token)
        self._transport = Transport(deadline, clock, plan.ca_bundle)
        self._deadline = deadline
        self._clock = clock
        self._jitter = jitter
        self._issued: list[Issued] = []

    def last(self) -> Issued:
        """What the last call of the plan brought.

        Raises:
            PullpassError: `internal`, when the library has left out a call or made one twice.
        """
        if len(self._issued) != (2 if self._plan.impersonation_url else 1):
            raise PullpassError("internal", f"google-auth made {len(self._issued)} calls")
        return self._issued[-1]

    def __call__(
        self,
        url: str,
        method: str = "GET",
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        **_: Any,  # a time-out, which is not the library's to choose
    ) -> _Response:
        """Make a call, and make it again while Google can't be reached."""
        actions = {self._plan.token_url: EXCHANGE_TOKEN, self._plan.impersonation_url: GENERATE_TOKEN}
        action = actions.get(url)
        if action is None or method != "POST":
            host = outside(urlsplit(url).netloc)
            raise PullpassError("internal", f"google-auth would send {outside(method, 16)} to {host} on its own")
        sent = {**(headers or {}), "User-Agent": f"pullpass/{__version__}"}

        def work() -> Issued:
            return retry.persistently(
                lambda: self._attempt(action, url, sent, body), self._deadline, self._clock, self._jitter
            )

        issued = self._deadline.run(work, f"{action} at {url}")
        self._issued.append(issued)
        self._redacted.add(issued.token)
        return _Response(200, {}, json.dumps(self._rewritten(action, issued)).encode("ascii"))

    def _attempt(self, action: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Issued:
        """Send a request once, and turn the answer into a token or an error of ours."""
        started_s = self._clock.now_s()
        try:
            answer = self._transport.send("POST", url, headers, body)
        except PullpassError as error:
            what = f"{action}: {self._redacted.what(error)}"
            raise PullpassError(error.code, what, _hint(error, url)) from None
        if answer.status != 200:
            said = gcp_errors.read(answer.body)
            if said is None:
                what = f"{action}: {self._transport.answered} has no error code of Google"
                raise PullpassError("cloud-answer", what)
            said = gcp_errors.Said(tuple(map(self._redacted, said.codes)), self._redacted(said.message))
            raise gcp_errors.refusal(action, answer.status, said, self._plan)
        document = gcp_answers.document(action, answer.body, self._transport.answered)
        if action == EXCHANGE_TOKEN:
            return gcp_answers.federated(document, started_s)
        return gcp_answers.impersonated(document, started_s, self._plan.lifetime_s)

    def _rewritten(self, action: str, issued: Issued) -> dict[str, Any]:
        """An answer that the library understands, whatever form Google's had."""
        token = issued.token.reveal()
        if action == EXCHANGE_TOKEN:
            life_s = max(1, int(issued.expires_s - self._clock.now_s()))
            return {"access_token": token, "token_type": "Bearer", "expires_in": life_s}
        ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(issued.expires_s))
        return {"accessToken": token, "expireTime": ends}


def _hint(error: PullpassError, url: str) -> str:
    """A mistyped universe or endpoint is a host that does not exist, or is somebody else's."""
    if error.code in ("cloud-unreachable", "cloud-tls") and not (urlsplit(url).hostname or "").endswith(_DOMAIN):
        return f"check gcr.universe_domain and the configured URLs; {error.hint}"
    return error.hint
