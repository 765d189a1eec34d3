"""What AWS's answers must hold: a session of the right role, a password, and when each ends.

The SDK's parsers take a good deal of nonsense without a word, so that every field is looked at here before it is used.
A value that is not what it should be is not shown in an error, because it may be a secret in a wrong place.
"""

from __future__ import annotations

import base64
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from pullpass import registry
from pullpass.errors import PullpassError
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pullpass.exchange.plan_aws import Hop

# Clocks that are further apart make AWS refuse our signature anyway.
SKEW_S = 300
USERNAME = "AWS"
# Of a key, token or password; what AWS gives has a few kilobytes. Some of it goes into a header of the next request.
WORD_LIMIT_CHARS = 16 * 1024

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})")


class Session(NamedTuple):
    """Keys that requests are signed with.

    Attributes:
        access_key_id: not secret; AWS's own log names it.
        secret_key: signs requests.
        token: goes with them.
        expires_s: its end, seconds since the epoch.
        principal: the session's ARN; of a node, what the metadata service calls its role, or "".
    """

    access_key_id: str
    secret_key: Secret
    token: Secret
    expires_s: float
    principal: str


def session(answer: dict[str, Any], hop: Hop, name: str, now_s: float) -> Session:
    """The session in STS's answer, if it is the one that was asked for.

    Args:
        answer: of either call that assumes a role.
        hop: what was asked for.
        name: the session's.
        now_s: the time.

    Raises:
        PullpassError: `cloud-answer` or `cloud-answer-expired`.
    """
    credentials = answer.get("Credentials") or {}
    role = registry.parse_role(hop.role)
    expected = f"{role.account}:assumed-role/{role.path_and_name.rpartition('/')[2]}/{name}"
    principal = word(hop.action, answer.get("AssumedRoleUser") or {}, "Arn")
    if principal.partition(":sts::")[2] != expected:
        raise PullpassError("cloud-answer", f"{hop.action}: the session is another one than {expected}")
    expires_s = moment(hop.action, credentials, "Expiration", now_s)
    if expires_s > now_s + hop.duration_s + SKEW_S:
        raise PullpassError(
            "cloud-answer-expired",
            f"{hop.action}: the session ends in {expires_s - now_s:.0f}s, and {hop.duration_s}s were asked for",
        )
    return Session(
        access_key_id=word(hop.action, credentials, "AccessKeyId"),
        secret_key=Secret(word(hop.action, credentials, "SecretAccessKey")),
        token=Secret(word(hop.action, credentials, "SessionToken")),
        expires_s=expires_s,
        principal=principal,
    )


def password(action: str, answer: dict[str, Any], now_s: float) -> tuple[Secret, float]:
    """The password in the answer of ECR or ECR Public, and its end in seconds since the epoch.

    Raises:
        PullpassError: `cloud-answer` or `cloud-answer-expired`.
    """
    entry = answer.get("authorizationData")
    if isinstance(entry, list):  # ECR's, with one entry for each registry; ECR Public knows one
        entry = entry[0] if entry else None
    if not entry:
        raise PullpassError("cloud-answer", f"{action}: the answer has no authorizationData")
    expires_s = moment(action, entry, "expiresAt", now_s)
    encoded = word(action, entry, "authorizationToken")
    try:
        username, _, text = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError are two of them
        username, text = "", ""
    if username != USERNAME or not is_word(text):
        raise PullpassError("cloud-answer", f"{action}: the authorizationToken is not `{USERNAME}:` and a password")
    return Secret(text), expires_s


def is_word(value: object) -> bool:
    """Whether it is text of printable ASCII without blanks, and no longer than any that AWS gives."""
    if not isinstance(value, str) or not 0 < len(value) <= WORD_LIMIT_CHARS:
        return False
    return value.isascii() and value.isprintable() and " " not in value


def word(what: str, document: Mapping[str, Any], name: str, code: str = "cloud-answer") -> str:
    """A field that must be there and be text without blanks.

    Raises:
        PullpassError: `code`.
    """
    value = document.get(name)
    if not is_word(value):
        raise PullpassError(code, f"{what}: the answer has no usable {name}")
    return str(value)


def timestamp(value: object) -> datetime | None:
    """A time as AWS writes it, in ISO 8601 with a zone or in seconds since the epoch, or None.

    The SDK's own reader takes anything that looks like a part of a date, adds what is missing, and warns on stderr.
    """
    try:
        if isinstance(value, str):
            return datetime.fromisoformat(value) if _MOMENT.fullmatch(value) else None
        if isinstance(value, int | float) and not isinstance(value, bool):
            return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # the 30th of February; a year that no calendar has
        pass
    return None


def moment(what: str, document: Mapping[str, Any], name: str, now_s: float, code: str = "cloud-answer") -> float:
    """A field that must be a time in the future, in seconds since the epoch.

    Raises:
        PullpassError: `code` or `cloud-answer-expired`.
    """
    value = document.get(name)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise PullpassError(code, f"{what}: the answer has no usable {name}")
    moment_s = value.timestamp()
    if moment_s <= now_s:
        raise PullpassError("cloud-answer-expired", f"{what}: {name} passed {now_s - moment_s:.0f}s ago")
    return moment_s
