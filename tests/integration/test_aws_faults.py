"""Everything that AWS, or something in its place, can answer instead of a credential: one table, fault by code.

A fault strikes one of the calls to STS, ECR or ECR Public; the error must have the expected code, with it the class and
the exit status, name the call, hold no secret, and have cost the expected number of requests: four where trying again
can help, else one.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cloud.ecr import Ecr
from cloud.ecr_public import EcrPublic
from cloud.faults import DELIVERIES, DROPS, EDITS, INSTEAD
from cloud.sts import Sts
from integration.exchanging import PUBLIC, SHARED, SHORT_S, ImpatientClock, make_plan, refused, run
from pullpass.errors import CLOUD_REFUSED, CLOUD_UNREACHABLE, DENIED, INVALID, TOKEN_AT_FAULT, UNREACHABLE

if TYPE_CHECKING:
    from cloud import Cloud

STS = "sts.AssumeRoleWithWebIdentity"
ECR = "ecr.GetAuthorizationToken"
HOP = "sts.AssumeRole"
PUBLIC_ECR = "ecr-public.GetAuthorizationToken"
# What is asked for by way of each call, and the calls of that way in order.
WAYS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    STS: ({}, (STS, ECR)),
    ECR: ({}, (STS, ECR)),
    HOP: (SHARED, (STS, HOP, ECR)),
    PUBLIC_ECR: (PUBLIC, (STS, PUBLIC_ECR)),
}
ATTEMPTS = 4
CLASSES = {
    "aws-sts-denied": DENIED,
    "aws-via-denied": DENIED,
    "aws-public-denied": DENIED,
    "aws-ecr-denied": DENIED,
    "aws-token-expired": TOKEN_AT_FAULT,
    "aws-token-rejected": TOKEN_AT_FAULT,
    "aws-claim-rejected": TOKEN_AT_FAULT,
    "aws-issuer-unreachable": CLOUD_UNREACHABLE,
    "cloud-throttled": CLOUD_UNREACHABLE,
    "cloud-failing": CLOUD_UNREACHABLE,
    "cloud-unreachable": CLOUD_UNREACHABLE,
    "aws-policy-too-large": INVALID,
    "aws-policy-malformed": INVALID,
    "aws-region-disabled": INVALID,
    "aws-request-invalid": INVALID,
    "aws-session-rejected": INVALID,
    "aws-refused": INVALID,
    "cloud-redirect": INVALID,
    "cloud-answer": INVALID,
    "cloud-answer-expired": INVALID,
}
BODIES = {
    "text/html": "<!DOCTYPE html><br>",
    "application/json": '{"message": null}',
    "text/xml": "<?xml version='1.0'?><a>",
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
        fields = self.options.get("fields", {})
        told += [f"{path.rpartition('.')[2]}={str(fields[path])[:20]}" for path in fields]
        return "-".join(map(str, [self.where, self.kind, *told]))


# Every error code that the reference lists for the calls.
STS_CODES = {
    "ExpiredTokenException": "aws-token-expired",
    "ExpiredToken": "aws-token-expired",
    "InvalidIdentityToken": "aws-token-rejected",
    "IDPRejectedClaim": "aws-claim-rejected",
    "IDPCommunicationError": "aws-issuer-unreachable",
    "AccessDenied": "aws-sts-denied",
    "PackedPolicyTooLarge": "aws-policy-too-large",
    "MalformedPolicyDocument": "aws-policy-malformed",
    "RegionDisabledException": "aws-region-disabled",
    "ValidationError": "aws-request-invalid",
    "MalformedInput": "aws-request-invalid",
    "MissingAction": "aws-refused",
    "InvalidAction": "aws-refused",
    "InvalidClientTokenId": "aws-session-rejected",
    "MissingAuthenticationToken": "aws-session-rejected",
    "SignatureDoesNotMatch": "aws-session-rejected",
    "Throttling": "cloud-throttled",
    "ThrottlingException": "cloud-throttled",
    "InternalFailure": "cloud-failing",
    "ServiceUnavailable": "cloud-failing",
}
# What is said about a token says nothing about a session; under 403 it is a no all the same.
HOP_CODES = STS_CODES | {
    "ExpiredTokenException": "aws-session-rejected",
    "ExpiredToken": "aws-session-rejected",
    "InvalidIdentityToken": "aws-refused",
    "IDPRejectedClaim": "aws-via-denied",
    "IDPCommunicationError": "aws-refused",
    "AccessDenied": "aws-via-denied",
}
ECR_CODES = {
    "ServerException": "cloud-failing",
    "InvalidParameterException": "aws-request-invalid",
    "AccessDeniedException": "aws-ecr-denied",
    "UnrecognizedClientException": "aws-session-rejected",
    "ExpiredTokenException": "aws-session-rejected",
    "InvalidSignatureException": "aws-session-rejected",
    "IncompleteSignatureException": "aws-session-rejected",
    "MissingAuthenticationTokenException": "aws-session-rejected",
    "ThrottlingException": "cloud-throttled",
    "ThrottleException": "cloud-throttled",
    "UnknownOperationException": "aws-refused",
    "SerializationException": "aws-refused",
    "InternalFailure": "cloud-failing",
    "ServiceUnavailableException": "cloud-failing",
    "OptInRequired": "aws-session-rejected",
}
PUBLIC_CODES = {code: ECR_CODES[code] for code in EcrPublic.errors if code in ECR_CODES} | {
    "AccessDeniedException": "aws-public-denied",
    "UnsupportedCommandException": "aws-refused",
}
CODES = {STS: STS_CODES, HOP: HOP_CODES, ECR: ECR_CODES, PUBLIC_ECR: PUBLIC_CODES}
DENIALS = {STS: "aws-sts-denied", HOP: "aws-via-denied", ECR: "aws-ecr-denied", PUBLIC_ECR: "aws-public-denied"}
EXPIRED_KINDS = {"expiration-past", "expires-past"}
HANGS = ("hang", "hang-mid-body", "trickle")
CUTS = ("cut", "reset", "cut-mid-body", "reset-mid-body")
# Answers of the right shape with a field that is wrong.
OTHER = "arn:aws:sts::{}:assumed-role/{}/{}"
NAME = "prod-1_team-a_web"
SESSION_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("Credentials.AccessKeyId", "", "cloud-answer"),
    ("Credentials.AccessKeyId", "ASIA\nX-Injected: 1", "cloud-answer"),
    ("Credentials.SessionToken", "two words", "cloud-answer"),
    ("Credentials.Expiration", "2199-01-01T00:00:00Z", "cloud-answer-expired"),
    ("Credentials.Expiration", "2199-01-01T00:00:00", "cloud-answer"),
    ("AssumedRoleUser", {}, "cloud-answer"),
)
# Of the other way's session: a session of the first role is not what a hop was made for, and the other way round.
OTHERS: dict[str, list[str]] = {
    STS: [
        OTHER.format("999999999999", "pull-team-a", NAME),
        OTHER.format("111122223333", "admin", NAME),
        OTHER.format("111122223333", "pull-team-a", "prod-1_team-b_web"),
    ],
    HOP: [
        OTHER.format("999988887777", "pull-team-a", NAME),
        OTHER.format("111122223333", "pull-shared", NAME),
        OTHER.format("999988887777", "pull-shared", "prod-1_node"),
    ],
}
PASSWORD_FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("authorizationData", [None], "cloud-answer"),
    ("{}.authorizationToken", "QVdTOnB\n3", "cloud-answer"),
    ("{}.authorizationToken", "QVdTOnR3byB3b3Jkcw==", "cloud-answer"),
    ("{}.authorizationToken", "cm9vdDpwYXNz", "cloud-answer"),
    ("{}.expiresAt", "NaN", "cloud-answer"),
    ("{}.expiresAt", -1, "cloud-answer-expired"),
)
DATA = {ECR: "authorizationData.0", PUBLIC_ECR: "authorizationData"}


def cases() -> list[Case]:
    """The table."""
    table = [Case(where, kind, {}, code) for where, codes in CODES.items() for kind, code in codes.items()]
    table += [case for where in WAYS for case in anywhere(where)]
    for where, arns in OTHERS.items():
        fields = [*SESSION_FIELDS, *(("AssumedRoleUser.Arn", arn, "cloud-answer") for arn in arns)]
        table += [Case(where, "set", {"fields": {path: value}}, code) for path, value, code in fields]
    for where, data in DATA.items():
        table += [
            Case(where, "set", {"fields": {path.format(data): value}}, code) for path, value, code in PASSWORD_FIELDS
        ]
    # What one service answers has not the shape of the other.
    table.append(
        Case(ECR, "set", {"fields": {"authorizationData": {"authorizationToken": "QVdTOng="}}}, "cloud-answer")
    )
    table.append(Case(PUBLIC_ECR, "set", {"fields": {"authorizationData": []}}, "cloud-answer"))
    return table


def anywhere(where: str) -> list[Case]:
    """What can happen to any call."""
    service, no = where.partition(".")[0], DENIALS[where]
    unheard_of = "MissingAction" if service == "sts" else "UnknownOperationException"
    return [
        # A code that nobody has heard of: the status says whether it is a no.
        *(Case(where, unheard_of, {"status": status}, no) for status in (401, 403)),
        Case(where, unheard_of, {"status": 418}, "aws-refused"),
        # The status decides before any parser: whatever the body, 429 and 5xx are an outage.
        *statuses(where, (429,), "cloud-throttled"),
        *statuses(where, (500, 502, 503, 504), "cloud-failing"),
        Case(where, "as-status", {"status": 429}, "cloud-throttled"),
        Case(where, "as-status", {"status": 503}, "cloud-failing"),
        # Without an error code of AWS, a refusal is not AWS's.
        *statuses(where, (400, 401, 403, 404), "cloud-answer"),
        *(Case(where, "redirect", {"status": status}, "cloud-redirect") for status in (301, 302, 303, 307, 308)),
        Case(where, "redirect", {"location": "http://[broken"}, "cloud-redirect"),
        *(Case(where, kind, {}, "cloud-answer") for kind in ("html", "garbage", "empty", "other-shape", "truncate")),
        Case(where, "huge", {"bytes": 2 * 1024 * 1024}, "cloud-answer"),
        *(Case(where, kind, {}, "cloud-unreachable") for kind in CUTS),
        *(
            Case(where, kind, {}, "cloud-answer-expired" if kind in EXPIRED_KINDS else "cloud-answer")
            for kind in (*EDITS[service], *DROPS[service])
        ),
    ]


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
    fields, calls = WAYS[case.where]
    cloud.fault(case.where, case.kind, None, **case.options)
    error = refused(cloud, make_plan(cloud, **fields))
    assert error.code == case.code, error.line()
    assert error.upstream == CLASSES[case.code]
    assert error.status == (UNREACHABLE if error.upstream == CLOUD_UNREACHABLE else CLOUD_REFUSED)
    service, _, operation = case.where.partition(".")
    assert error.what.startswith(f"{service}:{operation}: ")
    assert error.hint
    attempts = ATTEMPTS if error.upstream == CLOUD_UNREACHABLE else 1
    reached = calls[: calls.index(case.where) + 1]
    sent = {where: count for where, count in cloud.counts().items() if not where.startswith("issuer.")}
    assert sent == dict.fromkeys(reached, 1) | {case.where: attempts}


def test_table_is_complete() -> None:
    """Every error code, edit and kind of the local cloud stands in the table, and every class is produced."""
    assert set(STS_CODES) == set(HOP_CODES) == set(Sts.errors)
    assert set(ECR_CODES) == set(Ecr.errors)
    assert set(PUBLIC_CODES) == set(EcrPublic.errors)
    for where in WAYS:
        kinds = {case.kind for case in CASES if case.where == where}
        assert kinds >= INSTEAD
        assert DELIVERIES - {"latency", *HANGS} <= kinds
    assert {case.code for case in CASES} == set(CLASSES)


@pytest.mark.parametrize("where", WAYS)
@pytest.mark.parametrize("kind", HANGS)
def test_hang(cloud: Cloud, where: str, kind: str) -> None:
    """A server that never answers, or never ends its answer, is an outage, and the run ends in time."""
    cloud.fault(where, kind, None)
    error = refused(cloud, make_plan(cloud, **WAYS[where][0]), deadline_s=SHORT_S)
    # On a busy machine the deadline of the whole run may come before the time-out of its last attempt.
    assert error.code in ("cloud-unreachable", "deadline-exceeded")
    assert error.status == UNREACHABLE
    assert 1 <= cloud.count(where) <= ATTEMPTS


@pytest.mark.parametrize("where", WAYS)
def test_hang_leaves_time_for_another_attempt(cloud: Cloud, where: str) -> None:
    """An attempt at a server that never answers takes half of the time that is left, not all of it."""
    cloud.fault(where, "hang", 1)
    assert run(cloud, make_plan(cloud, **WAYS[where][0]), deadline_s=3 * SHORT_S).username == "AWS"
    assert cloud.count(where) == 2


@pytest.mark.parametrize("where", WAYS)
@pytest.mark.parametrize(
    ("kind", "status"), [("html", 503), ("html", 429), ("ThrottlingException", 400), ("cut", None)]
)
def test_short_trouble_is_ridden_out(cloud: Cloud, where: str, kind: str, status: int | None) -> None:
    """Trouble that passes costs attempts and waits, and the credential comes all the same."""
    cloud.fault(where, kind, 2, **({"status": status} if status else {}))
    clock = ImpatientClock()
    credential = run(cloud, make_plan(cloud, **WAYS[where][0]), clock=clock)
    assert credential.secret.reveal() in cloud.world.passwords | cloud.world.public_passwords
    assert cloud.count(where) == 3
    assert clock.slept == [0.5, 1.0]


@pytest.mark.parametrize("where", WAYS)
def test_slow_and_mislabelled_answer(cloud: Cloud, where: str) -> None:
    """An answer with latency, and one with an odd content type, is an answer."""
    cloud.fault(where, "latency", None, seconds=0.2)
    cloud.fault(where, "content-type", None, value="text/html")
    assert run(cloud, make_plan(cloud, **WAYS[where][0])).username == "AWS"
    assert cloud.count(where) == 1


def test_message_of_aws_is_shown(cloud: Cloud) -> None:
    """What AWS says, its code, the status and the id of the request reach the user."""
    cloud.fault(STS, "AccessDenied", message="Not authorized: the trust policy says no")
    error = refused(cloud)
    assert "AccessDenied (HTTP status 403): Not authorized: the trust policy says no (request " in error.what


def test_no_message(cloud: Cloud) -> None:
    """A refusal may come without a word and without an id."""
    body = "<ErrorResponse><Error><Code>AccessDenied</Code></Error></ErrorResponse>"
    cloud.fault(STS, "status", status=403, body=body, content_type="text/xml")
    assert refused(cloud).what == "sts:AssumeRoleWithWebIdentity: AccessDenied (HTTP status 403)"


@pytest.mark.parametrize(
    ("where", "kind", "said"),
    [
        (STS, "ValidationError", "lower ecr.session_duration or raise the role's maximum"),
        (HOP, "ValidationError", "see the role that the grant's `via` names"),
        (ECR, "InvalidParameterException", "see where ecr.ecr_endpoint, if it is set, leads"),
        (PUBLIC_ECR, "InvalidParameterException", "see where ecr.ecr_public_endpoint, if it is set, leads"),
    ],
)
def test_value_that_is_not_taken(cloud: Cloud, where: str, kind: str, said: str) -> None:
    """What to do next depends on what the call has asked for: only the first one's duration is the operator's."""
    cloud.fault(where, kind)
    error = refused(cloud, make_plan(cloud, **WAYS[where][0]))
    assert error.code == "aws-request-invalid"
    assert said in error.hint
    assert ("duration" in error.hint) == (where == STS)


def test_message_with_secrets(cloud: Cloud) -> None:
    """A message that echoes what it was given is shown without the token, and without what STS issued."""
    token = cloud.mint_token()
    cloud.fault(STS, "ValidationError", message=f"Value '{token}' failed, signature {token.rpartition('.')[2]}")
    error = refused(cloud, token=token)
    assert "Value '[redacted]' failed, signature [redacted]" in error.what

    def echo() -> None:
        session = list(cloud.world.sessions.values())[-1]
        cloud.fault(ECR, "AccessDeniedException", message=f"{session.token} and {session.secret_key} may not")

    cloud.fault(ECR, "ServerException")
    clock = ImpatientClock()
    clock.between = echo
    error = refused(cloud, token=token, clock=clock)
    assert "[redacted] and [redacted] may not" in error.what


def test_message_that_would_write_into_a_log(cloud: Cloud) -> None:
    """Line breaks and control characters of a message are escaped, and its length is bounded."""
    cloud.fault(ECR, "AccessDeniedException", message="first\n\x1b[31msecond" + " x" * 100_000)
    error = refused(cloud)
    assert "first\\n\\x1b[31msecond" in error.line()
    assert len(error.line()) < 1000


def test_code_that_would_write_into_a_log(cloud: Cloud) -> None:
    """An error code is text from outside as well."""
    body = json.dumps({"__type": "Evil\nCode" + "y" * 10_000, "message": "m"})
    cloud.fault(ECR, "status", status=400, body=body, content_type="application/x-amz-json-1.1")
    error = refused(cloud)
    assert error.code == "aws-refused"
    assert len(error.line()) < 500


def test_huge_answer_is_not_read_to_its_end(cloud: Cloud) -> None:
    """Fifty megabytes are given up after a quarter of one."""
    cloud.fault(ECR, "huge")
    assert "more than 262144 bytes" in refused(cloud).what


def test_policy_that_sts_finds_too_large(cloud: Cloud) -> None:
    """STS's own measure of a session policy is only known from its refusal."""
    cloud.configure(packed_limit_bytes=64)
    assert refused(cloud, make_plan(cloud)).code == "aws-policy-too-large"
