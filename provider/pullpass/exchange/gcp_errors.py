"""What Google says no with, and what each of its codes means here.

Security Token Service answers in OAuth's form, everything else in that of `google.rpc.Status`, and the front end before
all of them in that one too, or with a page. OAuth has few codes, so one of them stands for very different things: which
one, only the text tells. A text that is not known here leaves the code's general meaning.

Sources: RFC 6749, 5.2; RFC 8693, 2.2.2; Google Cloud documentation, "Troubleshoot Workload Identity Federation"; the
API descriptions of sts v1 and iamcredentials v1; google.rpc.Code and google.rpc.ErrorInfo.
"""

from __future__ import annotations

from pullpass.errors import PullpassError, outside
from pullpass.exchange.plan_gcp import EXCHANGE_TOKEN, GENERATE_TOKEN, SUBJECT_LIMIT_BYTES, is_too_long
from pullpass.lean import NamedTuple
from pullpass.store import strict

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pullpass.exchange.plan_gcp import GooglePlan

# A service's own codes come under some 4xx too, whatever the status of HTTP says.
COMMON = {
    "RESOURCE_EXHAUSTED": "cloud-throttled",
    "RATE_LIMIT_EXCEEDED": "cloud-throttled",
    "INTERNAL": "cloud-failing",
    "UNAVAILABLE": "cloud-failing",
    "DEADLINE_EXCEEDED": "cloud-failing",
    "ABORTED": "cloud-failing",
    "SERVICE_DISABLED": "gcp-api-disabled",
    "INVALID_ARGUMENT": "gcp-request-invalid",
}

# the call -> Google's code (of OAuth, a status, or the reason of one) -> ours
MEANINGS: dict[str, dict[str, str]] = {
    EXCHANGE_TOKEN: COMMON
    | {
        "temporarily_unavailable": "cloud-failing",
        "server_error": "cloud-failing",
        "invalid_request": "gcp-request-invalid",
        "invalid_scope": "gcp-request-invalid",
        "unsupported_grant_type": "gcp-request-invalid",
        "invalid_target": "gcp-provider-unknown",
        "invalid_grant": "gcp-token-rejected",
        "unauthorized_client": "gcp-condition-rejected",
        "access_denied": "gcp-sts-denied",
        "PERMISSION_DENIED": "gcp-sts-denied",
    },
    GENERATE_TOKEN: COMMON
    | {
        "PERMISSION_DENIED": "gcp-impersonation-denied",
        # A disabled account, or an organisation's policy.
        "FAILED_PRECONDITION": "gcp-impersonation-denied",
        "NOT_FOUND": "gcp-impersonation-denied",
        "UNAUTHENTICATED": "gcp-session-rejected",
        "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "gcp-session-rejected",
    },
}

# An error has one or two; each of them is gone through for secrets.
DETAILS_LIMIT = 8
# All codes that are known here.
NAMES = frozenset(name for meanings in MEANINGS.values() for name in meanings)

# ours, as above -> (a part of Google's text in lower case, what it means then); the first that is found
TEXTS: dict[str, tuple[tuple[str, str], ...]] = {
    "gcp-request-invalid": (
        ("google.subject", "gcp-subject-too-long"),
        ('"audience"', "gcp-provider-invalid"),
        ("lifetime", "gcp-lifetime"),
    ),
    "gcp-token-rejected": (
        ("connecting to", "gcp-issuer-unreachable"),
        ("expired", "gcp-token-expired"),
        ("stale", "gcp-token-expired"),
        ("in the future", "gcp-token-expired"),
        ("audience", "gcp-audience-rejected"),
        ("issuer in", "gcp-issuer-mismatch"),
        ("signature", "gcp-signature-rejected"),
        ("key id", "gcp-signature-rejected"),
    ),
}


class Said(NamedTuple):
    """An error as Google writes it.

    Attributes:
        codes: the most particular one first.
        message: for people.
    """

    codes: tuple[str, ...]
    message: str


def read(body: bytes) -> Said | None:
    """The error in an answer's body, or None when it has none of Google's forms."""
    try:
        document = strict.parse(body)
    except strict.DocumentError:
        return None
    error = document.get("error") if isinstance(document, dict) else None
    if isinstance(document, dict) and isinstance(error, str) and error:
        return Said((error,), _text(document.get("error_description")))
    if isinstance(error, dict) and isinstance(error.get("status"), str) and error["status"]:
        details = error.get("details")
        reasons = [
            detail["reason"]
            for detail in (details[:DETAILS_LIMIT] if isinstance(details, list) else [])
            if isinstance(detail, dict) and isinstance(detail.get("reason"), str)
        ]
        return Said((*reasons, error["status"]), _text(error.get("message")))
    return None


def refusal(action: str, status: int, said: Said, plan: GooglePlan) -> PullpassError:
    """The error for an answer with an error of Google's.

    Args:
        action: the call, a key of `MEANINGS`.
        status: of HTTP.
        said: what Google said, free of secrets.
        plan: what was sent.
    """
    meanings = MEANINGS[action]
    # An unknown code under a status that says "you may not": the cloud said no, whatever it calls it.
    unknown = meanings["PERMISSION_DENIED"] if status in (401, 403) else "gcp-refused"
    code = next((meanings[each] for each in said.codes if each in meanings), unknown)
    lower = said.message.lower()
    code = next((meaning for part, meaning in TEXTS.get(code, ()) if part in lower), code)
    facts = f"{action}: {outside(said.codes[0], 64)} (HTTP status {status})"
    if said.message:
        facts += f": {outside(said.message)}"
    if action == EXCHANGE_TOKEN:
        facts += f" ({plan.sub} at {plan.audience})"
    return PullpassError(code, facts, _hint(code, plan))


def _hint(code: str, plan: GooglePlan) -> str | None:
    if code == "gcp-subject-too-long" and is_too_long(plan.audience, plan.sub):
        return (
            f"the token's sub has {len(plan.sub)} bytes and google.subject takes {SUBJECT_LIMIT_BYTES}: map a shorter "
            "one, such as the service account's uid"
        )
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
