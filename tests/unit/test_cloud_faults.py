"""The local cloud at its worst: every fault as a client meets it, and the doors that are no good."""

from __future__ import annotations

import json
import ssl
import threading
import time
from http.client import IncompleteRead, RemoteDisconnected
from typing import Any
from urllib.parse import urlencode

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from cloud import Cloud, role_arn
from cloud.clients import Reply, assume, authorization, credentials, password, pull, refused, request
from cloud.faults import DROPS, EDITS, GARBAGE, HTML

ASSUME = "sts.AssumeRoleWithWebIdentity"
LOGIN = "ecr.GetAuthorizationToken"


def ask(cloud: Cloud, url: str | None = None, **options: Any) -> Reply:
    """AssumeRoleWithWebIdentity by hand, so that the answer's bytes are seen."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role_arn("pull-team-a"),
        "RoleSessionName": "x-y",
        "WebIdentityToken": cloud.mint_token(),
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request(url or cloud.endpoints.sts, "POST", urlencode(form).encode(), headers, **options)


# --- error codes


STS_TABLE = {
    "ExpiredTokenException": 400, "InvalidIdentityToken": 400, "IDPRejectedClaim": 403, "IDPCommunicationError": 400,
    "AccessDenied": 403, "PackedPolicyTooLarge": 400, "MalformedPolicyDocument": 400, "RegionDisabledException": 403,
    "ValidationError": 400, "Throttling": 400, "InternalFailure": 500, "ServiceUnavailable": 503,
}  # fmt: skip
ECR_TABLE = {
    "ServerException": 500, "InvalidParameterException": 400, "AccessDeniedException": 400,
    "UnrecognizedClientException": 400, "ExpiredTokenException": 400, "ThrottlingException": 400,
    "ThrottleException": 429, "InvalidSignatureException": 400, "ServiceUnavailableException": 503,
}  # fmt: skip


@pytest.mark.parametrize(("code", "status"), STS_TABLE.items())
def test_every_error_of_sts(cloud: Cloud, code: str, status: int) -> None:
    """Each code of the reference comes on demand, with its status, once."""
    cloud.fault(ASSUME, code, message="because <of> & this")
    assert refused(lambda: assume(cloud)) == (code, status, "because <of> & this")
    assert assume(cloud)
    assert [asked.code for asked in cloud.requests("sts")] == [code, None]
    assert [asked.faults for asked in cloud.requests("sts")] == [[code], []]


@pytest.mark.parametrize(("code", "status"), ECR_TABLE.items())
def test_every_error_of_ecr(cloud: Cloud, code: str, status: int) -> None:
    """Each code of the reference comes on demand, with its status."""
    keys = credentials(cloud)
    cloud.fault("ecr", code)
    assert refused(lambda: authorization(cloud, keys))[:2] == (code, status)
    assert authorization(cloud, keys)


@pytest.mark.parametrize(("code", "status"), [("DENIED", 403), ("TOOMANYREQUESTS", 429), ("UNAVAILABLE", 503)])
def test_errors_of_the_registry(cloud: Cloud, code: str, status: int) -> None:
    """The registry's errors come on demand, for one operation."""
    login = password(cloud)
    cloud.fault("registry.manifest", code)
    assert pull(cloud, "", login).status == 200
    reply = pull(cloud, "team-a/app/manifests/v1", login)
    assert (reply.status, json.loads(reply.body)["errors"][0]["code"]) == (status, code)


def test_any_code_under_any_status(cloud: Cloud) -> None:
    """A code may come under another status than its own: 429 with a body that parses."""
    cloud.fault("sts", "Throttling", status=429)
    assert refused(lambda: assume(cloud))[:2] == ("Throttling", 429)


@pytest.mark.parametrize(
    ("where", "kind"),
    [("sts", "Throtling"), ("s3", "Throttling"), ("sts", "expires-null"), ("ecr", "no-credentials"), ("*", "DENIED")],
)
def test_a_fault_that_could_never_strike(cloud: Cloud, where: str, kind: str) -> None:
    """A misspelt fault is an error of the test, not a test that passes."""
    with pytest.raises(ValueError, match=r"no service|neither a kind"):
        cloud.fault(where, kind)


# --- how often


def test_once_n_times_until_cleared(cloud: Cloud) -> None:
    """A fault strikes as often as was said, wherever it was set."""
    cloud.fault(ASSUME, "Throttling", times=2)
    cloud.fault("*", "latency", None, seconds=0)
    codes = []
    for _ in range(3):
        ask(cloud)
        codes.append(cloud.last("sts").code)
    assert codes == ["Throttling", "Throttling", None]
    assert cloud.last("sts").faults == ["latency"]
    cloud.clear("*")
    cloud.fault("sts", "InternalFailure", None)
    assert [ask(cloud).status for _ in range(3)] == [500] * 3
    cloud.clear("sts")
    assert ask(cloud).status == 200
    assert cloud.last("sts").faults == []


def test_an_error_is_not_an_operation(cloud: Cloud) -> None:
    """Where the answer is replaced, nothing was issued; where it is changed, something was."""
    for kind in ("InternalFailure", "garbage"):
        cloud.fault(ASSUME, kind)
        ask(cloud)
    assert not cloud.world.sessions
    cloud.fault(ASSUME, "no-credentials")
    ask(cloud)
    assert len(cloud.world.sessions) == 1


# --- bodies


@pytest.mark.parametrize(
    ("kind", "options", "status", "body", "content_type"),
    [
        ("garbage", {}, 200, GARBAGE, "application/octet-stream"),
        ("garbage", {"status": 500}, 500, GARBAGE, "application/octet-stream"),
        ("empty", {}, 200, b"", "text/xml"),
        ("empty", {"status": 429}, 429, b"", "text/xml"),
        ("html", {"status": 403}, 403, HTML, "text/html; charset=utf-8"),
        ("html", {"status": 503}, 503, HTML, "text/html; charset=utf-8"),
        ("other-shape", {}, 200, b'<?xml version="1.0"?>\n<Unexpected><Shape>yes</Shape></Unexpected>\n', "text/xml"),
        ("status", {"status": 418, "body": "<?xml", "content_type": "text/xml"}, 418, b"<?xml", "text/xml"),
        ("status", {"status": 599}, 599, b"", "text/plain"),
    ],
    ids=str,
)  # fmt: skip
def test_other_bodies(  # noqa: PLR0917 - a table's columns
    cloud: Cloud, kind: str, options: dict[str, Any], status: int, body: bytes, content_type: str
) -> None:
    """Any body under any status instead of the answer."""
    cloud.fault(ASSUME, kind, **options)
    reply = ask(cloud)
    assert (reply.status, reply.body, reply.headers["content-type"]) == (status, body, content_type)


def test_changed_bodies(cloud: Cloud) -> None:
    """Half an answer, a foreign content type, a foreign header, a success under a failure's status, a huge one."""
    for kind, options in (
        ("truncate", {}),
        ("content-type", {"value": "text/html"}),
        ("header", {"name": "x-amz-retry-after", "value": "9"}),
        ("as-status", {"status": 503}),
        ("huge", {"bytes": 3_000_000}),
    ):
        cloud.fault(ASSUME, kind, **options)
        reply = ask(cloud)
        whole = b"</AssumeRoleWithWebIdentityResponse>" in reply.body
        assert whole is (kind != "truncate")
        assert reply.headers["content-type"] == ("text/html" if kind == "content-type" else "text/xml")
        assert reply.headers.get("x-amz-retry-after") == ("9" if kind == "header" else None)
        assert reply.status == (503 if kind == "as-status" else 200)
        assert len(reply.body) == 3_000_000 or (kind != "huge" and len(reply.body) < 3000)


def test_a_huge_answer_is_well_formed(cloud: Cloud) -> None:
    """Fifty megabytes that a client without a limit takes for a good answer."""
    cloud.fault(LOGIN, "huge")
    assert authorization(cloud, credentials(cloud))["authorizationData"]
    assert cloud.last("ecr").faults == ["huge"]


@pytest.mark.parametrize("field", ["AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"])
def test_a_credential_without_a_field(cloud: Cloud, field: str) -> None:
    """One field is missing, the others are there."""
    cloud.fault(ASSUME, "drop", fields=[f"Credentials.{field}"])
    body = ask(cloud).body.decode()
    present = {name for name in ("AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration") if f"<{name}>" in body}
    assert present == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"} - {field}


@pytest.mark.parametrize("kind", [*EDITS["sts"], *DROPS["sts"]])
def test_every_change_of_stss_answer(cloud: Cloud, kind: str) -> None:
    """Each named change shows in the answer and leaves it well-formed."""
    fields = EDITS["sts"][kind](0.0) if kind in EDITS["sts"] else {}
    cloud.fault(ASSUME, kind)
    body = ask(cloud).body.decode()
    for path, value in fields.items():
        name = path.rpartition(".")[2]
        assert f"<{name}>{value}</{name}>" in body
    for path in DROPS["sts"].get(kind, []):
        assert f"<{path.rpartition('.')[2]}>" not in body
    assert "<SubjectFromWebIdentityToken>" in body


@pytest.mark.parametrize("kind", [*EDITS["ecr"], *DROPS["ecr"]])
def test_every_change_of_ecrs_answer(cloud: Cloud, kind: str) -> None:
    """Each named change is made to the fields that it names, and to no other."""
    good = {"authorizationToken", "expiresAt", "proxyEndpoint"}
    cloud.fault(LOGIN, kind)
    document = login_document(cloud)
    if "authorization-data" in kind:
        wanted: dict[str, Any] = {
            "no-authorization-data": {"authorizationData": []},
            "authorization-data-null": {"authorizationData": None},
            "authorization-data-missing": {},
        }
        assert document == wanted[kind]
        return
    (entry,) = document["authorizationData"]
    for path in DROPS["ecr"].get(kind, []):
        assert set(entry) == good - {path.rpartition(".")[2]}
    edits = EDITS["ecr"][kind](cloud.now()) if kind in EDITS["ecr"] else {}
    for path, value in edits.items():
        got = entry[path.rpartition(".")[2]]
        assert set(entry) == good
        near = {"expires-past": 60.0, "expires-milliseconds": 60_000.0}.get(kind)
        assert got == value if near is None else abs(got - value) < near


def login_document(cloud: Cloud) -> dict[str, Any]:
    """ECR's answer as it was sent, not as an SDK reads it."""
    keys = credentials(cloud)
    target = "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    made = AWSRequest("POST", cloud.endpoints.ecr + "/", {"X-Amz-Target": target}, b"{}")
    signer = Credentials(keys["AccessKeyId"], keys["SecretAccessKey"], keys["SessionToken"])
    SigV4Auth(signer, "ecr", "us-west-2").add_auth(made)
    reply = request(cloud.endpoints.ecr, "POST", b"{}", {**made.headers})
    document: dict[str, Any] = json.loads(reply.body)
    return document


# --- redirects


@pytest.mark.parametrize("tls", [False, True])
def test_a_redirect_leads_to_a_host_that_keeps_books(cloud: Cloud, tls: bool) -> None:
    """The other host stands ready on the same scheme, so that a client that follows is found out."""
    cloud.fault(ASSUME, "redirect", status=301)
    at, ca = (cloud.endpoints.sts_tls, cloud.endpoints.ca_file) if tls else (cloud.endpoints.sts, None)
    reply = ask(cloud, at, ca_file=ca)
    assert reply.status == 301
    elsewhere = cloud.endpoints.elsewhere_tls if tls else cloud.endpoints.elsewhere
    assert reply.headers["location"] == f"{elsewhere}/"
    assert cloud.count("elsewhere") == 0
    assert request(reply.headers["location"], "POST", b"token", ca_file=ca).status == 200
    assert (cloud.last("elsewhere").body, cloud.last("elsewhere").site) == (b"token", "elsewhere")


# --- delivery


def test_latency(cloud: Cloud) -> None:
    """A latency on everything comes with every round trip."""
    cloud.fault("*", "latency", None, seconds=0.1)
    began_s = time.monotonic()
    assert ask(cloud).status == 200
    assert time.monotonic() - began_s >= 0.3, "the issuer's two documents are fetched over the same network"


@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("kind", ["cut", "reset"])
def test_connections_that_end_before_the_answer(cloud: Cloud, kind: str, tls: bool) -> None:
    """The connection ends, by FIN or by RST, and the request is on record without a status."""
    cloud.fault(ASSUME, kind)
    at, ca = (cloud.endpoints.sts_tls, cloud.endpoints.ca_file) if tls else (cloud.endpoints.sts, None)
    expected = ConnectionResetError if kind == "reset" else RemoteDisconnected
    with pytest.raises((expected, ssl.SSLError) if tls else expected):
        ask(cloud, at, ca_file=ca)
    assert cloud.last(ASSUME).status is None


@pytest.mark.parametrize("kind", ["cut-mid-body", "reset-mid-body"])
def test_connections_that_end_in_the_middle(cloud: Cloud, kind: str) -> None:
    """Half the body comes, then the end."""
    cloud.fault(ASSUME, kind)
    with pytest.raises(IncompleteRead if kind.startswith("cut") else (ConnectionResetError, IncompleteRead)) as caught:
        ask(cloud)
    if isinstance(caught.value, IncompleteRead):
        assert b"<AccessKeyId>" in caught.value.partial


@pytest.mark.parametrize("kind", ["hang", "hang-mid-body"])
def test_a_hang_goes_on_when_it_is_cleared(cloud: Cloud, kind: str) -> None:
    """A test sees the request while it hangs, and releases it; the answer is then a good one."""
    cloud.fault(ASSUME, kind)
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(ask(cloud)))
    thread.start()
    (hanging,) = cloud.wait_for(ASSUME)
    thread.join(0.2)
    assert thread.is_alive()
    assert hanging.faults == [kind]
    cloud.clear()
    thread.join(10)
    assert (replies[0].status, hanging.status) == (200, 200)
    assert b"</AssumeRoleWithWebIdentityResponse>" in replies[0].body


def test_a_trickle(cloud: Cloud) -> None:
    """The body comes byte by byte, each in time, the whole late."""
    cloud.fault(ASSUME, "trickle", seconds=0.001)
    began_s = time.monotonic()
    reply = ask(cloud)
    assert b"</AssumeRoleWithWebIdentityResponse>" in reply.body
    assert time.monotonic() - began_s > 0.001 * len(reply.body)


@pytest.mark.parametrize("kind", ["hang", "hang-mid-body", "trickle"])
def test_stopping_waits_for_nobody(kind: str) -> None:
    """A cloud with requests that would hang for ten minutes stops all the same, and they end."""
    ended: list[BaseException] = []

    def wait(cloud: Cloud) -> None:
        try:
            ask(cloud)
        except (OSError, IncompleteRead) as error:
            ended.append(error)

    cloud = Cloud().start()
    cloud.fault(ASSUME, kind, None, seconds=600)
    threads = [threading.Thread(target=wait, args=[cloud]) for _ in range(5)]
    for thread in threads:
        thread.start()
    cloud.wait_for(ASSUME, 5)
    cloud.stop()
    for thread in threads:
        thread.join()
    assert len(ended) == 5


def test_waiting_for_what_does_not_come(cloud: Cloud) -> None:
    """The wait ends and says how far it came."""
    ask(cloud)
    with pytest.raises(TimeoutError, match=r"1 of 2 requests of sts"):
        cloud.wait_for("sts", 2, timeout_s=0.05)
    with pytest.raises(LookupError, match="registry"):
        cloud.last("registry")
