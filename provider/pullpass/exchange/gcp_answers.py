"""What Google's answers must hold: an access token, and when it ends.

google-auth takes a good deal of nonsense without a word, and answers the rest with any exception there is; what it
would see is looked at here first. Nothing of a value that is not what it should be gets into an error, because it may
be a secret in a wrong place.

Ends are by this node's clock where Google gives a duration, and never later than what was asked for: the clocks may
disagree by minutes without anybody noticing, since nothing at Google is signed with a time of ours.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Any, NamedTuple, TypeGuard

from pullpass.errors import PullpassError
from pullpass.exchange.plan_gcp import EXCHANGE_TOKEN, GENERATE_TOKEN
from pullpass.secret import Secret
from pullpass.store import strict

# STS API, ExchangeTokenResponse: "Access tokens have a max size of 12288 bytes".
TOKEN_LIMIT_BYTES = 12288
# The longest that an organisation's policy can allow an access token to live.
LIFE_LIMIT_S = 12 * 3600
# How far beyond what was asked for an end may be before it is nonsense rather than a clock: more than an hour of
# difference would make STS refuse every token anyway.
SKEW_S = 3600

_NUMBER = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,9})?")
# RFC 3339, with upper-case letters as Google writes it.
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")


class Issued(NamedTuple):
    """An access token.

    Attributes:
        token: the token.
        expires_s: its end, seconds since the epoch.
    """

    token: Secret
    expires_s: float


def document(action: str, body: bytes, answered: str) -> dict[str, Any]:
    """The JSON object in an answer.

    Args:
        action: the call.
        body: of the answer.
        answered: the answer in a few words.

    Raises:
        PullpassError: `cloud-answer`.
    """
    try:
        parsed = strict.parse(body)
    except strict.DocumentError as error:
        raise PullpassError("cloud-answer", f"{action}: {answered} can't be understood ({error.problem})") from None
    if not isinstance(parsed, dict):
        raise PullpassError("cloud-answer", f"{action}: {answered} is {strict.describe(parsed)}")
    return parsed


def bearer(action: str, answer: dict[str, Any], started_s: float) -> Issued:
    """The access token in an answer of OAuth's form: STS's, and the metadata server's.

    Args:
        action: the call.
        answer: what came.
        started_s: the time before the call was made.

    Raises:
        PullpassError: `cloud-answer` or `cloud-answer-expired`.
    """
    kind = answer.get("token_type", "Bearer")
    if not isinstance(kind, str) or kind.lower() != "bearer":
        raise PullpassError("cloud-answer", f"{action}: the answer's token_type is not Bearer")
    value = answer.get("expires_in")
    if isinstance(value, str) and _NUMBER.fullmatch(value):  # some servers quote it
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float) or value > LIFE_LIMIT_S:
        raise PullpassError("cloud-answer", f"{action}: the answer has no usable expires_in")
    if value < 1:  # not zero: it is added to a number of ten digits
        raise PullpassError("cloud-answer-expired", f"{action}: expires_in is {value:g}s")
    return Issued(_token(action, answer, "access_token"), started_s + value)


def impersonated(answer: dict[str, Any], started_s: float, lifetime_s: int) -> Issued:
    """The access token in an answer of generateAccessToken.

    Args:
        answer: what came.
        started_s: the time before the call was made.
        lifetime_s: what was asked for.

    Raises:
        PullpassError: `cloud-answer` or `cloud-answer-expired`.
    """
    value = answer.get("expireTime")
    expires_s = _moment_s(value) if isinstance(value, str) and _MOMENT.fullmatch(value) else None
    if expires_s is None:
        raise PullpassError("cloud-answer", f"{GENERATE_TOKEN}: the answer has no usable expireTime")
    if expires_s <= started_s:
        what = f"{GENERATE_TOKEN}: expireTime passed {started_s - expires_s:.0f}s ago"
        raise PullpassError("cloud-answer-expired", what)
    if expires_s > started_s + lifetime_s + SKEW_S:
        raise PullpassError(
            "cloud-answer-expired",
            f"{GENERATE_TOKEN}: the token ends in {expires_s - started_s:.0f}s, and {lifetime_s}s were asked for",
        )
    return Issued(_token(GENERATE_TOKEN, answer, "accessToken"), min(expires_s, started_s + lifetime_s))


def federated(answer: dict[str, Any], started_s: float) -> Issued:
    """The access token in an answer of STS; see `bearer`."""
    return bearer(EXCHANGE_TOKEN, answer, started_s)


def is_word(value: object) -> TypeGuard[str]:
    """Whether it is text of printable ASCII without blanks."""
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and " " not in value


def _token(action: str, answer: dict[str, Any], name: str) -> Secret:
    value = answer.get(name)
    if not is_word(value):
        raise PullpassError("cloud-answer", f"{action}: the answer has no usable {name}")
    if len(value) > TOKEN_LIMIT_BYTES:
        what = f"{action}: the answer's {name} has {len(value)} bytes, at most {TOKEN_LIMIT_BYTES} are accepted"
        raise PullpassError("cloud-answer", what)
    return Secret(value)


def _moment_s(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:  # the 30th of February
        return None
