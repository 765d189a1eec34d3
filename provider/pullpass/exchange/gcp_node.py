"""The node's own access token, from Google's metadata server.

No SDK: it is two requests without a secret, and the library's own way to them takes its address from the environment,
retries by itself and waits half a minute for a server that does not answer.

* The address is `node.google_metadata`, checked to be of this machine or on its own link, and asked without a proxy.
* Every request says `Metadata-Flavor: Google`, and so must every answer: what else listens there is not Google's, and
  what it gives is nobody's credential.
* The pod's token, where there is one, is not sent.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from pullpass import __version__
from pullpass.errors import CLOUD_UNREACHABLE, PullpassError, outside
from pullpass.exchange import Credential, gcp_answers, retry
from pullpass.exchange.plan_gcp import NODE_EMAIL, NODE_TOKEN
from pullpass.exchange.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange.plan_gcp import GoogleNodePlan
    from pullpass.exchange.transport import Answer
    from pullpass.secret import Secret

USERNAME = "oauth2accesstoken"
FLAVOR = "Metadata-Flavor"
EMAIL_LIMIT_CHARS = 254


def exchange(
    plan: GoogleNodePlan,
    token: Secret | None,  # noqa: ARG001 - an `Exchanger`
    deadline: Deadline,
    clock: Clock,
    jitter: Callable[[], float] = random.random,
) -> Credential:
    """Ask for an access token of the node's service account; see `exchange.Exchanger`.

    Args:
        plan: where to ask.
        token: not used.
        deadline: of the whole run.
        clock: the run's clock.
        jitter: a number from 0 up to 1, for the waits between attempts.

    Raises:
        PullpassError: a code of one of the sections "exchange" of `errors`.
    """
    transport = Transport(deadline, clock, "", metadata=True)

    def ask(action: str, url: str) -> tuple[Answer, float]:
        def work() -> tuple[Answer, float]:
            return retry.persistently(lambda: _attempt(action, url, transport, clock), deadline, clock, jitter)

        return deadline.run(work, f"{action} at {url}")

    answer, _ = ask(NODE_EMAIL, plan.email_url)
    email = answer.body.decode("ascii", "replace").strip()
    if not gcp_answers.is_word(email) or len(email) > EMAIL_LIMIT_CHARS:
        raise PullpassError("cloud-answer", f"{NODE_EMAIL}: {transport.answered} is no e-mail")
    answer, started_s = ask(NODE_TOKEN, plan.token_url)
    document = gcp_answers.document(NODE_TOKEN, answer.body, transport.answered)
    issued = gcp_answers.bearer(NODE_TOKEN, document, started_s)
    return Credential(
        username=USERNAME,
        secret=issued.token,
        registry_expires_s=issued.expires_s,
        session_expires_s=issued.expires_s,
        principal=email,
        access_key_id="",
        request_ids=(),
    )


def _attempt(action: str, url: str, transport: Transport, clock: Clock) -> tuple[Answer, float]:
    """Ask once.

    Returns:
        The answer, and the time before it was asked for.
    """
    started_s = clock.now_s()
    try:
        answer = transport.send("GET", url, {FLAVOR: "Google", "User-Agent": f"pullpass/{__version__}"}, None)
    except PullpassError as error:
        hint = error.hint
        if error.upstream == CLOUD_UNREACHABLE:
            hint = "see that this node is one of Google Cloud, and that node.google_metadata is its metadata server"
        raise PullpassError(error.code, f"{action}: {error.what}", hint) from None
    flavors = [value for name, value in answer.headers if name.lower() == FLAVOR.lower()]
    if flavors != ["Google"]:
        what = f"{action}: {transport.answered} has no header {FLAVOR}: Google"
        raise PullpassError("gcp-metadata-foreign", what)
    if answer.status in (403, 404):
        raise PullpassError("gcp-node-denied", f"{action}: HTTP status {answer.status} for {outside(url)}")
    if answer.status != 200:
        raise PullpassError("cloud-answer", f"{action}: {transport.answered} is no answer of a metadata server")
    return answer, started_s
