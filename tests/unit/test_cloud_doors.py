"""The local cloud's doors: certificates, dead ends, the proxy, the control door, and the process of its own."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import sys
import threading
import time
from http.client import RemoteDisconnected
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest

import cloud as cloud_package
from cloud import Cloud, role_arn
from cloud.clients import Reply, assume, client, refused, request
from cloud.faults import GARBAGE
from cloud.remote import Remote, RemoteError

ASSUME = "sts.AssumeRoleWithWebIdentity"
LOGIN = "ecr.GetAuthorizationToken"


def ask_at(url: str, token: str, **options: Any) -> Reply:
    """AssumeRoleWithWebIdentity by hand, so that the answer's bytes are seen."""
    form = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role_arn("pull-team-a"),
        "RoleSessionName": "x-y",
        "WebIdentityToken": token,
    }
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return request(url, "POST", urlencode(form).encode(), headers, **options)


def ask(cloud: Cloud, url: str | None = None, **options: Any) -> Reply:
    """The same with a right token."""
    return ask_at(url or cloud.endpoints.sts, cloud.mint_token(), **options)


@pytest.mark.parametrize(("mode", "says"), [
    ("expired", "certificate has expired"), ("wrong-name", "mismatch"), ("unknown-ca", "unable to get local issuer"),
])  # fmt: skip
def test_certificates_that_are_no_good(cloud: Cloud, mode: str, says: str) -> None:
    """A client that verifies refuses them, and the failed handshake is on record; afterwards they are good again."""
    cloud.certificates(mode)
    with pytest.raises(ssl.SSLCertVerificationError, match=says):
        ask(cloud, cloud.endpoints.sts_tls, ca_file=cloud.endpoints.ca_file)
    assert len(cloud.wait_for("tls.handshake")) == 1
    assert cloud.count("sts") == 0
    cloud.certificates("good")
    assert ask(cloud, cloud.endpoints.sts_tls, ca_file=cloud.endpoints.ca_file).status == 200
    with pytest.raises(ValueError, match="bad"):
        cloud.certificates("bad")


@pytest.mark.parametrize(("kind", "error"), [
    ("refused", ConnectionRefusedError), ("silent", None), ("black-hole", TimeoutError),
])  # fmt: skip
def test_dead_ends(cloud: Cloud, kind: str, error: type[OSError]) -> None:
    """A port that refuses, one that never says a byte, one that does not even connect."""
    host, port = cloud.dead_end(kind).split(":")
    if kind == "silent":
        with socket.create_connection((host, int(port)), timeout=0.3) as connection, pytest.raises(TimeoutError):
            connection.recv(1)
    else:
        with pytest.raises(error):
            socket.create_connection((host, int(port)), timeout=0.3)


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: x\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 99999999999\r\n\r\n", b"413"),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"CONNECT sts.us-west-2.amazonaws.com:443 HTTP/1.1\r\n\r\n", b"405"),
        (b"GET http://[x/ HTTP/1.1\r\n\r\n", b"400"),
        (b"CONNECT [x HTTP/1.1\r\n\r\n", b"400"),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n", b"400"),
        (b"GET /v2/ HTTP/1.1\r\nHost: [::1]:99999999\r\n\r\n", b"200"),
        (b"BREW / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", b"404"),
        (
            b"GET http://127.0.0.1/?Action=GetCallerIdentity&Version=2011-06-15 HTTP/1.1\r\n\r\n",
            b"403",
        ),
    ],
)
def test_raw_requests(cloud: Cloud, raw: bytes, status: bytes) -> None:
    """What a client of ours would not send is answered too."""
    parts = urlsplit(cloud.endpoints.sts)
    with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=5) as connection:
        connection.sendall(raw)
        assert connection.recv(12).split()[1] == status


def test_the_proxy_leads_nowhere_else(cloud: Cloud) -> None:
    """Through the proxy a foreign host is answered by this cloud, which keeps the request; plain HTTP goes too."""
    parts = urlsplit(cloud.endpoints.proxy)
    for port, head in ((80, "registry.example.test:80"), (8080, "registry.example.test:8080")):
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=5) as connection:
            connection.sendall(f"CONNECT {head} HTTP/1.1\r\nHost: {head}\r\n\r\n".encode())
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
            connection.sendall(b"GET /v2/ HTTP/1.1\r\nHost: registry.example.test\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        last = cloud.last("elsewhere")
        assert (last.host, last.port, last.proxied, last.tls) == ("registry.example.test", port, True, False)
    assert cloud.count("proxy.CONNECT") == 2


def test_a_defect_is_not_swallowed(capsys: pytest.CaptureFixture[str]) -> None:
    """Where the cloud itself fails, stopping it says so."""
    cloud = Cloud().start()
    cloud.fault(ASSUME, "set", fields={"No.Such.Field": 1})
    with pytest.raises(RemoteDisconnected):
        ask(cloud)
    with pytest.raises(RuntimeError, match="KeyError: 'No'"):
        cloud.stop()
    assert "KeyError" in capsys.readouterr().err


# --- the control door


def call(cloud: Cloud, method: str, **arguments: Any) -> tuple[int, Any]:
    """A call by the control door."""
    reply = request(f"{cloud.endpoints.control}/{method}", "POST", json.dumps(arguments).encode())
    return reply.status, json.loads(reply.body)


def test_the_control_door_does_what_the_methods_do(cloud: Cloud) -> None:
    """Faults, records, tokens, roles and knobs are reached over HTTP, and the door itself is not in the journal."""
    assert call(cloud, "fault", where=ASSUME, kind="Throttling", times=1, message="slow") == (200, None)
    _, token = call(cloud, "mint_token", namespace="team-b", service_account="db")
    assert refused(lambda: assume(cloud, "pull-team-b", token)) == ("Throttling", 400, "slow")
    assert assume(cloud, "pull-team-b", token)
    assert call(cloud, "count", where="sts") == (200, 2)
    assert call(cloud, "counts")[1][ASSUME] == 2
    _, last = call(cloud, "last", where="sts")
    assert (last["where"], last["status"], last["parameters"]["WebIdentityToken"]) == (ASSUME, 200, token)
    assert "Action=AssumeRoleWithWebIdentity" in last["body"]
    assert [asked["code"] for asked in call(cloud, "requests", where="sts")[1]] == ["Throttling", None]
    assert len(call(cloud, "wait_for", where="sts", count=2)[1]) == 2
    assert call(cloud, "set_role", role="pull-team-a", max_session_s=7200) == (200, role_arn("pull-team-a"))
    assert cloud.world.roles[role_arn("pull-team-a")].max_session_s == 7200
    assert call(cloud, "push", name="team-a/x", tag="v2")[1].endswith(":repository/team-a/x")
    assert call(cloud, "push_public", name="x/y") == (200, None)
    assert call(cloud, "set_pool", disabled=True) == (200, "projects/123/locations/global/workloadIdentityPools/nodes")
    assert call(cloud, "set_workload_provider", provider="dev-1", issuer=cloud.issuer) == (200, "dev-1")
    email = "new@proj.iam.gserviceaccount.com"
    assert call(cloud, "set_service_account", email=email, impersonators=["allUsers"]) == (200, email)
    assert call(cloud, "remove_service_account", email=email) == (200, None)
    assert call(cloud, "push_artifact", image="x", repository="r")[1] == "projects/proj/locations/europe/repositories/r"
    assert call(cloud, "set_artifacts", name="r", readers=["allUsers"])[0] == 200
    assert request(f"http://{cloud.endpoints.artifact}/v2/token?scope=repository:proj/r/x:pull").status == 200
    assert call(cloud, "configure", skew_s=5) == (200, None)
    assert cloud.now() > time.time() + 4
    assert call(cloud, "jwks")[1] == cloud.jwks()
    assert call(cloud, "endpoints") == (200, cloud.endpoints._asdict())
    assert call(cloud, "reset") == (200, None)
    assert cloud.counts() == {}
    assert cloud.skew_s == 0


@pytest.mark.parametrize(
    ("method", "arguments", "status", "says"),
    [
        ("fault", {"where": "sts", "kind": "nonsense"}, 400, "neither a kind of fault"),
        ("fault", {}, 400, "missing"),
        ("last", {"where": "registry"}, 400, "no request of registry"),
        ("wait_for", {"where": "sts", "timeout_s": 0}, 400, "TimeoutError"),
        ("set_role", {"role": "pull-team-a", "policy": "{"}, 400, "invalid Json"),
        ("set_role", {"role": "new"}, 400, "needs trust and policy"),
        ("set_role", {"role": "pull-team-a", "trust": {"Statement": {
            "Effect": "Allow", "Action": "*", "Principal": "*", "Condition": {"IpAddress": {"aws:SourceIp": "::1"}},
        }}}, 400, "not implemented"),
        ("configure", {"speed": 1}, 400, "no setting"),
        ("configure", {"password_limit": "often"}, 400, "no limit of a password"),
        ("set_workload_provider", {"condition": "now()"}, 400, "undeclared reference"),
        ("set_workload_provider", {"jwks": {"keys": []}}, 400, "Input JWK"),
        ("set_artifacts", {"name": "r", "readers": ["me"]}, 400, "no member"),
        ("remove_service_account", {"email": "x"}, 400, "KeyError"),
        ("stop", {}, 404, "POST to one of"),
        ("", {}, 404, "POST to one of"),
    ],
)  # fmt: skip
def test_the_control_door_complains(
    cloud: Cloud, method: str, arguments: dict[str, Any], status: int, says: str
) -> None:
    """A wrong call is answered with what is wrong, and changes nothing."""
    got, document = call(cloud, method, **arguments)
    assert (got, says in document["error"]) == (status, True)


def test_the_control_door_wants_an_object(cloud: Cloud) -> None:
    """Arguments are a JSON object; the list of methods needs none."""
    for body in (b"[]", b"{", b"\xff"):
        assert request(f"{cloud.endpoints.control}/counts", "POST", body).status == 400
    assert "mint_token" in json.loads(request(cloud.endpoints.control).body)


# --- the process


def test_the_process(tmp_path: Path) -> None:
    """Started by path, it says where it is, serves, and ends with whoever started it."""
    with Remote.start(tmp_path) as cloud:
        at = cloud.endpoints
        token = cloud.call("mint_token")
        cloud.call("fault", where="sts", kind="garbage")
        assert request(at["sts"] + "/?Action=x").body == GARBAGE
        with client("sts", at["sts_tls"], verify=at["ca_file"]) as sts:
            assert sts.assume_role_with_web_identity(
                RoleArn=role_arn("pull-team-a"), RoleSessionName="x-y", WebIdentityToken=token
            )
        with pytest.raises(RemoteError, match="no request of ecr"):
            cloud.call("last", where="ecr")
        assert (tmp_path / "ca.pem").read_text().startswith("-----BEGIN CERTIFICATE-----")
        assert {file.stat().st_mode & 0o77 for file in tmp_path.glob("tls-*.pem")} == {0}
    assert cloud.process.returncode == 0
    with pytest.raises(ConnectionRefusedError):
        request(at["sts"])


def test_the_process_ends_at_sigterm(tmp_path: Path) -> None:
    """SIGTERM ends it as well, also when something hangs and its input stays open."""
    cloud = Remote.start(tmp_path)
    cloud.call("fault", where="sts", kind="hang")
    thread = threading.Thread(target=_asked, args=[cloud.endpoints["sts"]])
    thread.start()
    cloud.call("wait_for", where="sts")
    cloud.process.terminate()
    assert cloud.process.wait(60) == 0
    thread.join()
    cloud.stop()


def _asked(url: str) -> None:
    with contextlib.suppress(OSError):
        request(url + "/?Action=GetCallerIdentity")


def test_the_process_tells_of_a_defect(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Its exit status and its standard error say that it failed."""
    cloud = Remote.start(tmp_path)
    cloud.call("fault", where="sts", kind="set", fields={"No.Such": 1})
    with pytest.raises(RemoteDisconnected):
        ask_at(cloud.endpoints["sts"], cloud.call("mint_token"))
    with pytest.raises(RemoteError, match="ended with 1"):
        cloud.stop()
    assert "KeyError: 'No'" in capfd.readouterr().err


def test_a_process_that_does_not_start(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A directory that can't be made is told at once."""
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(RemoteError, match="did not start"):
        Remote.start(file / "below")
    assert "NotADirectoryError" in capfd.readouterr().err


def test_importing_needs_neither_boto3_nor_the_program() -> None:
    """The demo runs it where little is installed: only cryptography and pyjwt are loaded before something is signed."""
    code = "import sys, cloud; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    tests = str(Path(cloud_package.__file__).parent.parent)
    ran = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": tests}, capture_output=True, text=True, check=True
    )
    loaded = set(ran.stdout.split())
    assert {"cryptography", "jwt"} <= loaded
    assert not loaded & {"boto3", "botocore", "pullpass", "urllib3", "requests", "pytest"}
