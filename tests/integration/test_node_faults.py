"""Everything that a node's metadata service, or something in its place, can answer: one table, fault by code.

A fault strikes one of the requests; the error must have the expected code, with it the class and the exit status, show
no secret, and have ended the run soon: a few attempts where trying again can help, else one, and no request after that.
"""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from cloud.container import POD_AUDIENCE, ContainerCredentials
from cloud.edits import DROPS, EDITS
from cloud.faults import DELIVERIES, INSTEAD
from cloud.imds import Imds
from integration.exchanging import ImpatientClock, make_plan, refused, run
from pullpass.errors import CLOUD_REFUSED, CLOUD_UNREACHABLE, DENIED, INVALID, UNREACHABLE
from pullpass.exchange import aws_node

if TYPE_CHECKING:
    from cloud import Cloud
    from pullpass.errors import PullpassError
    from pullpass.exchange import Credential

TOKEN, ROLE, KEYS = "imds.token", "imds.role", "imds.credentials"
CONTAINER = "container.credentials"
WAYS = {TOKEN: (TOKEN, ROLE, KEYS), ROLE: (TOKEN, ROLE, KEYS), KEYS: (TOKEN, ROLE, KEYS), CONTAINER: (CONTAINER,)}
GONE, NO, NONE, FOREIGN = (
    "aws-metadata-unreachable", "aws-metadata-denied", "aws-node-role", "aws-metadata-foreign",
)  # fmt: skip
EXPIRED = "cloud-answer-expired"
CLASSES = {GONE: CLOUD_UNREACHABLE, NO: DENIED, NONE: DENIED, FOREIGN: INVALID, EXPIRED: INVALID}

# Every error of the two services. A token is not refused for want of a role, so that 404 is somebody else's there.
IMDS_CODES = {
    "BadRequest": FOREIGN,
    "Unauthorized": NO,
    "Forbidden": NO,
    "NotFound": NONE,
    "MethodNotAllowed": FOREIGN,
    "TooManyRequests": GONE,
    "InternalServerError": GONE,
    "ServiceUnavailable": GONE,
}
CONTAINER_CODES = {
    "InvalidIdInRequest": NO,
    "AccessDeniedException": NO,
    "InvalidTokenException": NO,
    "ExpiredTokenException": NO,
    "ResourceNotFoundException": NONE,
    "NoAuthorization": NO,
    "ThrottlingException": GONE,
    "InternalServerException": GONE,
    "ServiceUnavailableException": GONE,
}
CODES = {TOKEN: IMDS_CODES | {"NotFound": FOREIGN}, ROLE: IMDS_CODES, KEYS: IMDS_CODES, CONTAINER: CONTAINER_CODES}
DOCUMENTS = (KEYS, CONTAINER)
CUTS = ("cut", "reset", "cut-mid-body", "reset-mid-body")
HANGS = ("hang", "hang-mid-body", "trickle")
# A session token or a role's name is any text: that it is half of one is seen by whoever gave it.
HALVES = {TOKEN: (NO, ROLE), ROLE: (NONE, KEYS), KEYS: (FOREIGN, ""), CONTAINER: (FOREIGN, "")}
FIELDS: tuple[tuple[str, Any, str], ...] = (
    ("AccessKeyId", "", FOREIGN),
    ("AccessKeyId", 7, FOREIGN),
    ("AccessKeyId", "ASIA\nX-Injected: 1", FOREIGN),
    ("SecretAccessKey", ["x"], FOREIGN),
    ("Token", "two words", FOREIGN),
    ("Token", "t\u00f6k\u00e9n", FOREIGN),
    ("Expiration", 1893456000, FOREIGN),
    ("Expiration", "2199-01-01T00:00:00", FOREIGN),
    ("Expiration", "0001-01-01T00:00:00Z", EXPIRED),
    ("Code", "Failed", NONE),
    ("Code", {"a": 1}, NONE),
)


class Case(NamedTuple):
    """A fault and what must come of it; `seen` is the request by which it is, when that is a later one."""

    where: str
    kind: str
    options: dict[str, Any]
    code: str
    seen: str = ""

    @property
    def name(self) -> str:
        """For the test's id."""
        told = [self.options[name] for name in ("status", "body") if name in self.options]
        fields = self.options.get("fields", {})
        told += [f"{path}={str(fields[path])[:20]}" for path in fields]
        return "-".join(map(str, [self.where, self.kind, *told]))


def cases() -> list[Case]:
    """The table."""
    table = [Case(where, kind, {}, code) for where, codes in CODES.items() for kind, code in codes.items()]
    table += [case for where in WAYS for case in anywhere(where)]
    for where in DOCUMENTS:
        table += [Case(where, "set", {"fields": {path: value}}, code) for path, value, code in FIELDS]
        service = where.partition(".")[0]
        codes = {"expiration-past": EXPIRED, "code-failed": NONE}
        table += [Case(where, kind, {}, codes.get(kind, FOREIGN)) for kind in (*EDITS[service], *DROPS[service])]
        table += [
            Case(where, "status", {"status": 200, "body": body, "content_type": "application/json"}, FOREIGN)
            for body in ("null", "[]", '"text"', "7", "[" * 100_000, '{"Code": "Success"}')
        ]
    for body, code in {"": NONE, " \n": NONE, "one\ntwo": FOREIGN, "../../x": FOREIGN, "a b": FOREIGN}.items():
        table.append(Case(ROLE, "status", {"status": 200, "body": body}, code))
    table += [
        Case(TOKEN, "status", {"status": 200, "body": body}, FOREIGN)
        for body in ("", "two words", "two\nlines", "\x7f")
    ]
    table.append(Case(TOKEN, "status", {"status": 200, "body": "<html>"}, NO, ROLE))
    return table


def anywhere(where: str) -> list[Case]:
    """What can happen to any request."""
    missing = CODES[where].get("NotFound", NONE)
    no = NO if where == CONTAINER else FOREIGN
    statuses = {201: FOREIGN, 204: FOREIGN, 400: no, 401: NO, 403: NO, 404: missing, 405: FOREIGN, 418: FOREIGN}
    statuses |= dict.fromkeys((408, 429, 500, 502, 503, 504), GONE)
    return [
        *(Case(where, "status", {"status": status}, code) for status, code in statuses.items()),
        *(Case(where, "redirect", {"status": status}, FOREIGN) for status in (301, 302, 307, 308)),
        *(Case(where, kind, {}, FOREIGN) for kind in ("html", "garbage", "other-shape")),
        Case(where, "empty", {}, NONE if where == ROLE else FOREIGN),
        Case(where, "truncate", {}, *HALVES[where]),
        Case(where, "huge", {"bytes": 2 * 1024 * 1024}, FOREIGN),
        *(Case(where, kind, {}, GONE) for kind in CUTS),
    ]


CASES = cases()


@pytest.fixture(autouse=True)
def no_container(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests may be in a container that has credentials; a node is not."""
    for name in aws_node.VARIABLES:
        monkeypatch.delenv(name, raising=False)


def prepare(cloud: Cloud, where: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have the node's keys come from the service of `where`; the authorization that it is shown, or ""."""
    if where != CONTAINER:
        return ""
    token = cloud.mint_token("kube-system", "pullpass", audience=POD_AUDIENCE)
    monkeypatch.setenv(aws_node.FULL_URI, f"{cloud.endpoints.container}/v1/credentials")
    monkeypatch.setenv(aws_node.TOKEN, token)
    return token


def node_error(cloud: Cloud) -> PullpassError:
    """The error of a node that gets no credential."""
    return refused(cloud, make_plan(cloud, token=False, identity="node"), token="")


def node_credential(cloud: Cloud, clock: ImpatientClock | None = None) -> Credential:
    """The node's credential."""
    return run(cloud, make_plan(cloud, token=False, identity="node"), token="", clock=clock)


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_fault(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, case: Case) -> None:
    """The fault gets its code, class and status; nothing is sent to AWS, nor elsewhere, and no secret is shown."""
    shown = prepare(cloud, case.where, monkeypatch)
    cloud.fault(case.where, case.kind, None, **case.options)
    error = node_error(cloud)
    assert error.code == case.code, error.line()
    assert error.upstream == CLASSES[case.code]
    assert error.status == (UNREACHABLE if error.upstream == CLOUD_UNREACHABLE else CLOUD_REFUSED)
    if shown:
        assert shown not in error.line()
    way = WAYS[case.where]
    reached = way[: way.index(case.seen or case.where) + 1]
    counts = cloud.counts()
    attempts = counts.pop(case.where)
    assert counts == dict.fromkeys(set(reached) - {case.where}, 1)
    # Without the waits between them, a third attempt fits into the two seconds.
    assert 2 <= attempts <= 3 if case.code == GONE else attempts == 1


def test_table_is_complete() -> None:
    """Every error, edit and kind of the local cloud stands in the table, and every code is produced."""
    assert set(IMDS_CODES) == set(Imds.errors)
    assert set(CONTAINER_CODES) == set(ContainerCredentials.errors)
    for where in WAYS:
        kinds = {case.kind for case in CASES if case.where == where}
        assert kinds >= INSTEAD
        assert DELIVERIES - {"latency", *HANGS} <= kinds
    assert {case.code for case in CASES} == set(CLASSES)


@pytest.mark.parametrize("where", WAYS)
@pytest.mark.parametrize("kind", HANGS)
def test_hang(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, where: str, kind: str) -> None:
    """A service that never answers, or never ends its answer, is given up after two seconds."""
    prepare(cloud, where, monkeypatch)
    cloud.fault(where, kind, None)
    started_s = time.monotonic()
    error = node_error(cloud)
    assert (error.code, error.status) == (GONE, UNREACHABLE)
    assert time.monotonic() - started_s < aws_node.REQUEST_LIMIT_S + 5
    assert cloud.count("ecr") == 0


@pytest.mark.parametrize("where", WAYS)
@pytest.mark.parametrize("kind", ["hang", "cut", "html"])
def test_short_trouble_is_ridden_out(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, where: str, kind: str) -> None:
    """Trouble that passes at once costs an attempt, and the credential comes all the same."""
    prepare(cloud, where, monkeypatch)
    cloud.fault(where, kind, 1, **({"status": 503} if kind == "html" else {}))
    clock = ImpatientClock()
    assert node_credential(cloud, clock).secret.reveal() in cloud.world.passwords
    assert cloud.count(where) == 2
    assert clock.slept == [0.5]


@pytest.mark.parametrize("where", WAYS)
def test_slow_and_mislabelled_answer(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    """An answer with latency, and one with an odd content type, is an answer."""
    prepare(cloud, where, monkeypatch)
    cloud.fault(where, "latency", None, seconds=0.2)
    cloud.fault(where, "content-type", None, value="text/html")
    assert node_credential(cloud).username == "AWS"
    assert cloud.count(where) == 1


@pytest.mark.parametrize("where", [ROLE, KEYS])
def test_session_token_is_not_shown(cloud: Cloud, where: str) -> None:
    """A service that gives back what it was sent, in a redirect or in words, does not get the token into the error."""
    # A token that the real service never gives, so that what the fault says is known beforehand.
    cloud.fault(TOKEN, "status", None, status=200, body="given.session.token")
    cloud.fault(where, "redirect", None, location="http://given.session.token/x")
    assert "given.session.token" not in node_error(cloud).line()
    body = json.dumps({"Code": "given.session.token", "Message": "no given.session.token here"})
    cloud.clear(where)
    cloud.fault(ROLE, "status", None, status=200, body="a-role")
    cloud.fault(KEYS, "status", None, status=200, body=body)
    error = node_error(cloud)
    assert error.code == NONE
    assert "[redacted]: no [redacted] here" in error.what


def test_message_that_would_write_into_a_log(cloud: Cloud) -> None:
    """Line breaks and control characters of a message are escaped, and its length is bounded."""
    fields = {"Code": "Evil\nCode" + "y" * 10_000, "Message": "first\n\x1b[31msecond" + " x" * 100_000}
    cloud.fault(KEYS, "set", fields=fields)
    error = node_error(cloud)
    assert "first\\n\\x1b[31msecond" in error.line()
    assert len(error.line()) < 1500
