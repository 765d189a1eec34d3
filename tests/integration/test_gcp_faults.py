"""Everything that Google, or something in its place, can answer instead of a credential: one table, fault by code.

A fault strikes STS or the IAM Credentials API while team-b/web impersonates; the error must have the expected code,
with it the class and the exit status, name the call, hold no secret, and have cost the expected number of requests:
four where trying again can help, else one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cloud.faults import DELIVERIES, INSTEAD
from cloud.gcp.credentials import IamCredentials
from cloud.gcp.sts import GoogleSts
from integration.exchanging import SHORT_S, ImpatientClock
from integration.exchanging_gcp import ACTIONS, IAM, STS, impersonating, make_plan, mint, refused, run
from pullpass.codes import google
from pullpass.errors import CLOUD_REFUSED, CLOUD_UNREACHABLE, CODES, REFUSED, UNREACHABLE
from pullpass.exchange import gcp_errors

if TYPE_CHECKING:
    from cloud import Cloud

BOTH = (STS, IAM)
ATTEMPTS = 4
# Codes that are not an answer of these two calls: refused before them, or by the metadata server.
ELSEWHERE = {"gcp-token-algorithm", "gcp-token-age", "gcp-node-denied", "gcp-metadata-foreign"}
BODIES = {
    "text/html": "<!DOCTYPE html><title>Error 403 (Forbidden)!!1</title>",
    "application/json": '{"error": null}',
    "application/problem+json": '{"error": {"code": 403, "message": "no status"}}',
    "text/plain": "",
}


class Case(NamedTuple):
    """A fault and what must come of it."""

    where: str
    kind: str
    options: dict[str, Any]
    code: str

    @property
    def name(self) -> str:
        """For the test's id."""
        told = [self.options[name] for name in ("status", "content_type") if name in self.options]
        fields = self.options.get("fields", [])
        told += [f"{path}={str(fields[path])[:20]}" if self.kind == "set" else path for path in fields]
        return "-".join(map(str, [self.where.partition(".")[0], self.kind, *told]))


STATUSES = {
    "INVALID_ARGUMENT": "gcp-request-invalid",
    "SERVICE_DISABLED": "gcp-api-disabled",
    "RESOURCE_EXHAUSTED": "cloud-throttled",
    "INTERNAL": "cloud-failing",
    "UNAVAILABLE": "cloud-failing",
    "DEADLINE_EXCEEDED": "cloud-failing",
}
# Every error that the documents list for the two calls, and that users have reported.
STS_CODES = STATUSES | {
    "invalid_request": "gcp-request-invalid",
    "invalid_request/audience": "gcp-provider-invalid",
    "invalid_request/subject": "gcp-subject-too-long",
    "invalid_request/attributes": "gcp-request-invalid",
    "invalid_target": "gcp-provider-unknown",
    "invalid_grant": "gcp-token-rejected",
    "invalid_grant/parse": "gcp-token-rejected",
    "invalid_grant/alg": "gcp-token-rejected",
    "invalid_grant/connect": "gcp-issuer-unreachable",
    "invalid_grant/issuer": "gcp-issuer-mismatch",
    "invalid_grant/audience": "gcp-audience-rejected",
    "invalid_grant/claim": "gcp-token-rejected",
    "invalid_grant/expired": "gcp-token-expired",
    "invalid_grant/stale": "gcp-token-expired",
    "invalid_grant/future": "gcp-token-expired",
    "invalid_grant/key": "gcp-signature-rejected",
    "invalid_grant/signature": "gcp-signature-rejected",
    "invalid_grant/mapping": "gcp-token-rejected",
    "unauthorized_client": "gcp-condition-rejected",
    "unsupported_grant_type": "gcp-request-invalid",
    "invalid_scope": "gcp-request-invalid",
    "invalid_client": "gcp-sts-denied",
    "access_denied": "gcp-sts-denied",
    "FAILED_PRECONDITION": "gcp-refused",
    "UNAUTHENTICATED": "gcp-sts-denied",
    "PERMISSION_DENIED": "gcp-sts-denied",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "gcp-sts-denied",
    "NOT_FOUND": "gcp-refused",
}
IAM_CODES = STATUSES | {
    "FAILED_PRECONDITION": "gcp-impersonation-denied",
    "UNAUTHENTICATED": "gcp-session-rejected",
    "PERMISSION_DENIED": "gcp-impersonation-denied",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "gcp-session-rejected",
    "NOT_FOUND": "gcp-impersonation-denied",
}
HANGS = ("hang", "hang-mid-body", "trickle")
CUTS = ("cut", "reset", "cut-mid-body", "reset-mid-body")
# Answers of the right shape with a field that is wrong.
FIELDS: tuple[tuple[str, str, Any, str], ...] = (
    *((STS, "access_token", value, "cloud-answer") for value in (None, "", 1, "two words", "a\nb", "\u00e4", ["a"])),
    *((IAM, "accessToken", value, "cloud-answer") for value in (None, "", 1, "two words", "a\nb", "\u00e4", ["a"])),
    (STS, "access_token", "x" * 12289, "cloud-answer"),
    (IAM, "accessToken", "x" * 12289, "cloud-answer"),
    *(
        (STS, "expires_in", value, "cloud-answer")
        for value in (None, True, "", "soon", "1e3", " 300", "0x10", [300], 10**12, 1e300, "9" * 12, 43201)
    ),
    *((STS, "expires_in", value, "cloud-answer-expired") for value in (0, -1, "0", "-300", -1e9, 0.0, 1e-9)),
    (STS, "token_type", "N_A", "cloud-answer"),
    (STS, "token_type", None, "cloud-answer"),
    *(
        (IAM, "expireTime", value, "cloud-answer")
        for value in (None, "", "tomorrow", 1_800_000_000, "2199-01-01T00:00:00", "2199-02-30T00:00:00Z",
                      "2199-01-01T00:00:00+99:00", "2199-01-01", "21990101T000000Z")
    ),
    (IAM, "expireTime", "2199-01-01T00:00:00Z", "cloud-answer-expired"),
    (IAM, "expireTime", "9999-12-31T23:59:59-23:59", "cloud-answer-expired"),
    (IAM, "expireTime", "2015-01-01T00:00:00Z", "cloud-answer-expired"),
    (IAM, "expireTime", "0001-01-01T00:00:00+23:59", "cloud-answer-expired"),
)  # fmt: skip
MISSING = ((STS, "access_token"), (STS, "expires_in"), (IAM, "accessToken"), (IAM, "expireTime"))


def error(status: str, reason: str = "") -> str:
    """An error in the form of google.rpc.Status."""
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason}] if reason else []
    return json.dumps({"error": {"code": 403, "message": "told", "status": status, "details": [None, {}, *details]}})


def cases() -> list[Case]:
    """The table."""
    table = [Case(STS, kind, {}, code) for kind, code in STS_CODES.items()]
    table += [Case(IAM, kind, {}, code) for kind, code in IAM_CODES.items()]
    table += [case for where in BOTH for case in anywhere(where)]
    table += [Case(where, "set", {"fields": {path: value}}, code) for where, path, value, code in FIELDS]
    table += [Case(where, "drop", {"fields": [path]}, "cloud-answer") for where, path in MISSING]
    return table


def anywhere(where: str) -> list[Case]:
    """What can happen to either call."""
    no = "gcp-sts-denied" if where == STS else "gcp-impersonation-denied"
    return [
        # A code that nobody has heard of: the status says whether it is a no.
        *(said(where, status, '{"error": "unheard_of"}', no) for status in (401, 403)),
        *(said(where, status, error("UNHEARD_OF"), no) for status in (401, 403)),
        said(where, 418, '{"error": "unheard_of"}', "gcp-refused"),
        # A code that stands for an outage is one under any status.
        said(where, 403, error("PERMISSION_DENIED", "RATE_LIMIT_EXCEEDED"), "cloud-throttled"),
        said(where, 403, error("RESOURCE_EXHAUSTED"), "cloud-throttled"),
        said(where, 409, error("ABORTED"), "cloud-failing"),
        said(where, 400, error("UNAVAILABLE"), "cloud-failing"),
        # The status decides before any parser: whatever the body, 408, 429 and 5xx are an outage.
        *statuses(where, (429,), "cloud-throttled"),
        *statuses(where, (408, 500, 502, 503, 504), "cloud-failing"),
        Case(where, "as-status", {"status": 429}, "cloud-throttled"),
        Case(where, "as-status", {"status": 503}, "cloud-failing"),
        # Without an error of Google's, a refusal is not Google's.
        *statuses(where, (201, 400, 401, 403, 404), "cloud-answer"),
        Case(where, "as-status", {"status": 403}, "cloud-answer"),
        *(Case(where, "html", {"status": status}, "cloud-answer") for status in (401, 403, 404)),
        *(Case(where, "redirect", {"status": status}, "cloud-redirect") for status in (301, 302, 303, 307, 308)),
        *(Case(where, kind, {}, "cloud-answer") for kind in ("html", "garbage", "empty", "other-shape", "truncate")),
        Case(where, "huge", {"bytes": 2 * 1024 * 1024}, "cloud-answer"),
        *(Case(where, kind, {}, "cloud-unreachable") for kind in CUTS),
    ]


def said(where: str, status: int, body: str, code: str) -> Case:
    """An answer in one of Google's forms of an error."""
    return Case(where, "status", {"status": status, "content_type": "application/json", "body": body}, code)


def statuses(where: str, numbers: tuple[int, ...], code: str) -> list[Case]:
    """Each of these statuses with each of `BODIES`."""
    return [
        Case(where, "status", {"status": number, "content_type": kind, "body": body}, code)
        for number in numbers
        for kind, body in BODIES.items()
    ]


CASES = cases()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_fault(cloud: Cloud, case: Case) -> None:
    """The fault gets its code, class and status; it is tried again where that can help, and never sent elsewhere."""
    cloud.fault(case.where, case.kind, None, **case.options)
    found = refused(cloud, impersonating(cloud))
    assert found.code == case.code, found.line()
    assert found.status == (UNREACHABLE if found.upstream == CLOUD_UNREACHABLE else CLOUD_REFUSED)
    assert found.what.startswith(f"{ACTIONS[case.where]}: ")
    assert found.hint
    attempts = ATTEMPTS if found.upstream == CLOUD_UNREACHABLE else 1
    assert cloud.count(case.where) == attempts
    assert cloud.count("elsewhere") == 0
    assert (cloud.count(STS), cloud.count(IAM)) == ((attempts, 0) if case.where == STS else (1, attempts))


def test_table_is_complete() -> None:
    """Every error and kind of the local cloud stands in the table, and every code of ours is produced."""
    assert set(STS_CODES) == set(GoogleSts.errors)
    assert {*IAM_CODES} == set(IamCredentials.errors)
    for where in BOTH:
        kinds = {case.kind for case in CASES if case.where == where}
        assert kinds >= INSTEAD
        assert DELIVERIES - {"latency", *HANGS} <= kinds
    lifetime = "gcp-lifetime"  # by its text alone, in the test below
    assert {case.code for case in CASES if case.code.startswith("gcp-")} == {*google.CODES} - ELSEWHERE - {lifetime}
    meant = {code for meanings in gcp_errors.MEANINGS.values() for code in meanings.values()}
    meant |= {code for texts in gcp_errors.TEXTS.values() for _, code in texts}
    assert meant <= set(CODES)
    assert all(CODES[code][0] == REFUSED for code in ELSEWHERE if code.startswith("gcp-token"))


def test_lifetime(cloud: Cloud) -> None:
    """Of a value that is not taken, a life that is too long is told by its text."""
    cloud.fault(IAM, "INVALID_ARGUMENT", message="The access token lifetime cannot exceed 3600 seconds.")
    assert refused(cloud, impersonating(cloud)).code == "gcp-lifetime"


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize("kind", HANGS)
def test_hang(cloud: Cloud, where: str, kind: str) -> None:
    """A server that never answers, or never ends its answer, is an outage, and the run ends in time."""
    cloud.fault(where, kind, None)
    found = refused(cloud, impersonating(cloud), deadline_s=SHORT_S)
    # On a busy machine the deadline of the whole run may come before the time-out of its last attempt.
    assert found.code in ("cloud-unreachable", "deadline-exceeded")
    assert found.status == UNREACHABLE
    assert 1 <= cloud.count(where) <= ATTEMPTS


@pytest.mark.parametrize("where", BOTH)
def test_hang_leaves_time_for_another_attempt(cloud: Cloud, where: str) -> None:
    """An attempt at a server that never answers takes half of the time that is left, not all of it."""
    cloud.fault(where, "hang", 1)
    run(cloud, impersonating(cloud), deadline_s=3 * SHORT_S)
    assert cloud.count(where) == 2


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize(
    ("kind", "status"), [("html", 503), ("html", 429), ("cut", None), ("RESOURCE_EXHAUSTED", None)]
)
def test_short_trouble_is_ridden_out(cloud: Cloud, where: str, kind: str, status: int | None) -> None:
    """Trouble that passes costs attempts and waits, and the credential comes all the same."""
    cloud.fault(where, kind, 2, **({"status": status} if status else {}))
    clock = ImpatientClock()
    credential = run(cloud, impersonating(cloud), clock=clock)
    assert credential.secret.reveal() in cloud.google.tokens
    assert cloud.count(where) == 3
    assert clock.slept == [0.5, 1.0]


def test_issuer_that_google_could_not_reach_for_a_moment(cloud: Cloud) -> None:
    """The cloud's own trouble with the issuer passes like any other."""
    cloud.fault(STS, "invalid_grant/connect", 1)
    run(cloud)
    assert cloud.count(STS) == 2


@pytest.mark.parametrize("where", BOTH)
def test_slow_and_mislabelled_answer(cloud: Cloud, where: str) -> None:
    """An answer with latency, and one with an odd content type, is an answer."""
    cloud.fault(where, "latency", None, seconds=0.2)
    cloud.fault(where, "content-type", None, value="text/html")
    assert run(cloud, impersonating(cloud)).username == "oauth2accesstoken"
    assert cloud.count(where) == 1


def test_message_of_google_is_shown(cloud: Cloud) -> None:
    """What Google says, its code, the status, and who it was about reach the user."""
    cloud.fault(STS, "unauthorized_client", message="The given credential is rejected")
    found = refused(cloud)
    assert "unauthorized_client (HTTP status 400): The given credential is rejected (" in found.what
    assert "system:serviceaccount:team-b:web at //iam.googleapis.com/projects/123/" in found.what


@pytest.mark.parametrize("message", [None, 1, ["a"]])
def test_error_without_a_message(cloud: Cloud, message: object) -> None:
    """The code alone is enough."""
    body = json.dumps({"error": "invalid_target", "error_description": message})
    cloud.fault(STS, "status", status=400, body=body)
    found = refused(cloud)
    assert found.code == "gcp-provider-unknown"
    assert "invalid_target (HTTP status 400) (" in found.what


def test_message_with_secrets(cloud: Cloud) -> None:
    """A message that echoes what it was given is shown without the token, and without what STS issued."""
    token = mint(cloud)
    cloud.fault(STS, "invalid_grant", message=f"Value '{token}' failed, signature {token.rpartition('.')[2]}")
    found = refused(cloud, token=token)
    assert "Value '[redacted]' failed, signature [redacted]" in found.what

    def echo() -> None:
        federated = next(iter(cloud.google.tokens))
        body = json.dumps({"error": {"status": f"NO_{federated}", "message": f"{federated} may not"}})
        cloud.fault(IAM, "status", status=403, body=body)

    cloud.fault(IAM, "UNAVAILABLE")
    clock = ImpatientClock()
    clock.between = echo
    found = refused(cloud, impersonating(cloud), token=token, clock=clock)
    assert "NO_[redacted] (HTTP status 403): [redacted] may not" in found.what


def test_message_that_would_write_into_a_log(cloud: Cloud) -> None:
    """Line breaks and control characters of a message are escaped, and its length is bounded."""
    cloud.fault(IAM, "PERMISSION_DENIED", message="first\n\x1b[31msecond" + " and more" * 10_000)
    found = refused(cloud, impersonating(cloud))
    assert "first\\n\\x1b[31msecond" in found.line()
    assert len(found.line()) < 1000


def test_code_that_would_write_into_a_log(cloud: Cloud) -> None:
    """An error code is text from outside as well."""
    cloud.fault(STS, "status", status=400, body=json.dumps({"error": "evil\ncode" + "y" * 10_000}))
    found = refused(cloud)
    assert found.code == "gcp-refused"
    assert len(found.line()) < 500


def test_huge_answer_is_not_read_to_its_end(cloud: Cloud) -> None:
    """Fifty megabytes are given up after a quarter of one."""
    cloud.fault(STS, "huge")
    assert "more than 262144 bytes" in refused(cloud).what


def test_token_type_may_be_absent(cloud: Cloud) -> None:
    """What a server leaves out because there is only one kind of token is no error."""
    cloud.fault(STS, "drop", fields=["token_type"])
    assert run(cloud, make_plan(cloud)).secret.reveal() in cloud.google.tokens
