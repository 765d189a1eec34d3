"""The exchange with moto's server, which nobody here wrote: the calls as another implementation reads them.

moto looks at nothing in the token, and its registry passwords always ended in 2015. So what it shows is the calls,
their signature, and that a password from the past is refused.
"""

from __future__ import annotations

import io
import json
import threading
import urllib.request
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from factories import make_config, make_ecr, make_subject, make_target
from integration.exchanging import LONG_S, ImpatientClock
from pullpass.clock import Deadline
from pullpass.errors import PullpassError
from pullpass.exchange import aws, plan_aws
from pullpass.policy import Decision
from pullpass.secret import Secret
from support import make_token

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

ROLE = "arn:aws:iam::123456789012:role/pull-team-a"
VIA = "arn:aws:iam::123456789012:role/reader"
TOKEN = make_token()


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log(self, kind: str, message: str, *args: Any) -> None:
        """Say nothing."""


class Moto:
    """moto's server, and the requests that it was sent.

    Attributes:
        seen: headers and body of each request, oldest first.
        before_signed: called with the WSGI environment of a signed request, before moto sees it.
    """

    def __init__(self) -> None:
        self._app = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self._record, threaded=True, request_handler=Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self.seen: list[tuple[dict[str, str], bytes]] = []
        self.before_signed: Callable[[dict[str, Any]], None] = lambda _: None

    def _record(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["PATH_INFO"] == "/":
            self.seen.append(({name: str(value) for name, value in environ.items() if name.startswith("HTTP_")}, body))
        if "/ecr/" in environ.get("HTTP_AUTHORIZATION", "") or "/sts/" in environ.get("HTTP_AUTHORIZATION", ""):
            self.before_signed(environ)
        answer: Iterable[bytes] = self._app(environ, start_response)
        return answer

    def control(self, action: str, body: str = "") -> None:
        """Use moto's own control API."""
        url = f"{self.url}/moto-api/{action}"
        headers = {"Content-Type": "text/plain"}
        urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers), timeout=10).close()

    def enforce(self) -> None:
        """Have moto verify signatures and permissions from now on."""
        self.control("reset-auth", "0")

    def stop(self) -> None:
        """Leave moto as a process finds it, and stop."""
        self.control("reset-auth", "inf")
        self.control("reset")
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()


@pytest.fixture
def moto() -> Iterator[Moto]:
    """A server with a role that may log in to ECR, and another that it may become; nothing is enforced yet."""
    server = Moto()
    iam = boto3.client(
        "iam", "us-west-2", endpoint_url=server.url, aws_access_key_id="AKIAEXAMPLE", aws_secret_access_key="made-up"
    )
    allow = {"Effect": "Allow", "Action": ["ecr:GetAuthorizationToken", "sts:AssumeRole"], "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow]})
    everybody = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [everybody]})
    for role in ("pull-team-a", "reader"):
        iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
        iam.put_role_policy(RoleName=role, PolicyName="login", PolicyDocument=document)
    server.seen.clear()
    yield server
    server.stop()


def exchange(moto: Moto, via: str = "") -> PullpassError:
    """An exchange with moto, which always fails: its passwords ended in 2015."""
    ecr = make_ecr(sts_endpoint=moto.url, ecr_endpoint=moto.url)
    target = make_target(account="123456789012")
    decision = Decision("team images", ROLE, via, pull_through=False)
    planned = plan_aws.make(make_subject(), target, decision, make_config(ecr=ecr), ecr)
    clock = ImpatientClock()
    with pytest.raises(PullpassError) as caught:
        aws.exchange(planned, Secret(TOKEN), Deadline(clock, LONG_S), clock)
    return caught.value


def test_calls_and_a_past_expiry(moto: Moto) -> None:
    """Moto understands both calls as they were meant; the password that ended in 2015 is refused."""
    error = exchange(moto)
    assert error.code == "cloud-answer-expired"
    assert "expiresAt passed" in error.what
    (sts_headers, sts_body), (ecr_headers, ecr_body) = moto.seen
    form = parse_qs(sts_body.decode())
    assert form.pop("Policy")[0].endswith(':repository/team-a/app"}]}')
    assert form == {
        "Action": ["AssumeRoleWithWebIdentity"],
        "Version": ["2011-06-15"],
        "RoleArn": [ROLE],
        "RoleSessionName": ["prod-1_team-a_web"],
        "WebIdentityToken": [TOKEN],
        "DurationSeconds": ["3600"],
    }
    assert "HTTP_AUTHORIZATION" not in sts_headers
    assert ecr_headers["HTTP_X_AMZ_TARGET"] == "AmazonEC2ContainerRegistry_V20150921.GetAuthorizationToken"
    assert ecr_headers["HTTP_AUTHORIZATION"].startswith("AWS4-HMAC-SHA256 Credential=ASIA")
    assert ecr_body == b"{}"


def test_second_hop(moto: Moto) -> None:
    """Moto, enforcing from the first signature on, takes the first session's for the hop and the second's for ECR."""
    moto.before_signed = lambda _: moto.enforce()
    assert exchange(moto, VIA).code == "cloud-answer-expired"
    _, (hop_headers, hop_body), (ecr_headers, _) = moto.seen
    form = parse_qs(hop_body.decode())
    assert form.pop("Policy")[0].endswith(':repository/team-a/app"}]}')
    assert form == {
        "Action": ["AssumeRole"],
        "Version": ["2011-06-15"],
        "RoleArn": [VIA],
        "RoleSessionName": ["prod-1_team-a_web"],
        "DurationSeconds": ["3600"],
    }
    assert hop_headers["HTTP_AUTHORIZATION"].partition(",")[0] != ecr_headers["HTTP_AUTHORIZATION"].partition(",")[0]


def test_signature_holds(moto: Moto) -> None:
    """With signatures and permissions enforced, moto still answers: the session's keys signed the call."""
    moto.before_signed = lambda _: moto.enforce()
    assert exchange(moto).code == "cloud-answer-expired"


def test_signature_is_looked_at(moto: Moto) -> None:
    """The same call with another signature is refused, so the test above means something."""

    def break_signature(environ: dict[str, Any]) -> None:
        moto.enforce()
        environ["HTTP_AUTHORIZATION"] = environ["HTTP_AUTHORIZATION"][:-4] + "0000"

    moto.before_signed = break_signature
    error = exchange(moto)
    # moto answers ECR's JSON calls with XML here, in which the SDK finds no error code.
    assert error.code == "cloud-answer"
    assert "HTTP status 403" in error.what
