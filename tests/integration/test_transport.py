"""The transport under the exchange, over real sockets: whom it trusts, which way it goes, how it is bounded."""

from __future__ import annotations

import base64
import socket
from typing import TYPE_CHECKING, Any

import pytest

from integration.exchanging import SHORT_S, ImpatientClock, make_plan, refused, run
from pullpass.errors import BAD_INPUT, UNREACHABLE
from pullpass.exchange.transport import ANSWER_LIMIT_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from cloud import Cloud
    from integration.raw import RawServer
    from pullpass.exchange.plan_aws import AwsPlan

STS = "sts.AssumeRoleWithWebIdentity"
ECR = "ecr.GetAuthorizationToken"
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "ALL_PROXY", "NO_PROXY", "no_proxy")


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Start without the proxies of the machine that the tests run on."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)


# --- whom it trusts


def test_tls_with_a_private_ca(cloud: Cloud) -> None:
    """`node.ca_bundle` makes a private CA trusted."""
    run(cloud, make_plan(cloud, tls=True))
    assert all(request.tls for request in cloud.requests(STS) + cloud.requests(ECR))


@pytest.mark.parametrize("mode", ["expired", "wrong-name", "unknown-ca"])
def test_wrong_certificate(cloud: Cloud, mode: str) -> None:
    """A certificate that is not right ends the connection before anything is said."""
    cloud.certificates(mode)
    error = refused(cloud, make_plan(cloud, tls=True))
    assert (error.code, error.status) == ("cloud-tls", UNREACHABLE)
    assert cloud.count(STS) == 0


def test_private_ca_is_not_trusted_by_default(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `node.ca_bundle` the system's store counts, and no variable adds to it or replaces it."""
    for name in ("SSL_CERT_FILE", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, cloud.endpoints.ca_file)
    error = refused(cloud, make_plan(cloud, tls=True, ca_bundle=""))
    assert error.code in ("cloud-tls", "ca-bundle"), "a machine without any store says that instead"
    assert cloud.count(STS) == 0


@pytest.mark.parametrize("content", [None, "", "no certificate\n"])
def test_ca_bundle_that_is_none(cloud: Cloud, tmp_path: Path, content: str | None) -> None:
    """A missing, empty or senseless bundle is the configuration's fault, and is not tried again."""
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    clock = ImpatientClock()
    error = refused(cloud, make_plan(cloud, tls=True, ca_bundle=str(bundle)), clock=clock)
    assert (error.code, error.status) == ("ca-bundle", BAD_INPUT)
    assert str(bundle) in error.what
    assert clock.slept == []


def test_key_log_is_not_written(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """SSLKEYLOGFILE, which would give away what the connections carry, has no effect."""
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    run(cloud, make_plan(cloud, tls=True))
    assert not log.exists()


# --- proxies


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Https endpoints are reached through the environment's proxy, by their own names, over TLS to the end."""
    monkeypatch.setenv(name, cloud.endpoints.proxy)
    run(cloud, through_proxy(cloud))
    connects = cloud.requests("proxy.CONNECT")
    assert [request.host for request in connects] == ["sts.us-west-2.amazonaws.com", "api.ecr.us-west-2.amazonaws.com"]
    for request in (cloud.last(STS), cloud.last(ECR)):
        assert request.tls
        assert request.proxied


@pytest.mark.parametrize(
    ("fields", "sts", "ecr"),
    [
        pytest.param(
            {"fips": True}, "sts-fips.us-west-2.amazonaws.com", "api.ecr-fips.us-west-2.amazonaws.com", id="fips"
        ),
        pytest.param({"dual_stack": True}, "sts.us-west-2.api.aws", "ecr.us-west-2.api.aws", id="dual-stack"),
        pytest.param(
            {"fips": True, "dual_stack": True}, "sts-fips.us-west-2.api.aws", "ecr-fips.us-west-2.api.aws", id="both"
        ),
    ],
)
def test_variants_reach_their_hosts(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any], sts: str, ecr: str
) -> None:
    """FIPS and dual-stack calls go to exactly the hosts of the plan, and their signatures hold there."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy)
    run(cloud, through_proxy(cloud, **fields))
    assert [request.host for request in cloud.requests("proxy.CONNECT")] == [sts, ecr]
    assert (cloud.last(STS).host, cloud.last(ECR).host) == (sts, ecr)


def test_sts_that_is_not_active_in_a_region(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A region where the account has no STS says so."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy)
    cloud.configure(disabled_regions=["us-west-2"])
    assert refused(cloud, through_proxy(cloud)).code == "aws-region-disabled"


def test_password_of_the_proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's user and password are given to the proxy, and to nobody behind it."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy.replace("://", "://pull%20er:p%40ss@"))
    run(cloud, through_proxy(cloud))
    expected = "Basic " + base64.b64encode(b"pull er:p@ss").decode()
    assert cloud.last("proxy.CONNECT").headers["proxy-authorization"] == expected
    assert "proxy-authorization" not in cloud.last(STS).headers


def test_no_proxy_for_listed_hosts(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host in NO_PROXY is reached directly; here that fails, because nothing listens on its port."""
    monkeypatch.setenv("HTTPS_PROXY", cloud.endpoints.proxy)
    monkeypatch.setenv("NO_PROXY", "localhost.localdomain,.internal.test")
    planned = through_proxy(cloud)._replace(sts_url=f"https://sts.internal.test:{free_port()}")
    assert refused(cloud, planned, deadline_s=10).status == UNREACHABLE
    assert cloud.count("proxy") == 0


def test_no_proxy_for_loopback(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loopback is never reached through a proxy, over http or https."""
    for name in PROXY_VARIABLES[:5]:
        monkeypatch.setenv(name, cloud.endpoints.proxy)
    run(cloud)
    run(cloud, make_plan(cloud, tls=True))
    assert cloud.count("proxy") == 0


@pytest.mark.parametrize(
    "url",
    [
        "socks5://user:p%40ss@127.0.0.1:1080",
        "https://127.0.0.1:8443",
        "http://[broken",
        "http://",
        "http://:3128",
        "http://127.0.0.1:0",
        "http://127.0.0.1:99999",
        "http://a..b:3128",
        f"http://{'a' * 70}:3128",
        "http://exa mple:3128",
        "http://-/",
        "http://ex\x01ample:3128",
        "http://user\udcff:p%40ss@127.0.0.1:1080",
        "http://\udcff:3128",
    ],
)
def test_proxy_that_cannot_be_used(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    """Any other kind of proxy is refused by name of the variable, without showing a password, and not bypassed."""
    monkeypatch.setenv("HTTPS_PROXY", url)
    error = refused(cloud, through_proxy(cloud))
    assert (error.code, error.status) == ("proxy", BAD_INPUT)
    assert "p%40ss" not in error.line()
    assert cloud.counts() == {}


def test_proxy_that_is_not_there(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that can't be reached is an outage."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    error = refused(cloud, through_proxy(cloud))
    assert error.code == "cloud-unreachable"
    assert "connection refused" in error.what


def through_proxy(cloud: Cloud, **fields: Any) -> AwsPlan:
    """A plan for AWS's real host names."""
    return make_plan(cloud, sts_endpoint="", ecr_endpoint="", ca_bundle=cloud.endpoints.ca_file, **fields)


# --- how it is bounded


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_connection_refused(cloud: Cloud) -> None:
    """Nobody listening is an outage, after four attempts."""
    clock = ImpatientClock()
    error = refused(cloud, make_plan(cloud, sts_endpoint=f"http://127.0.0.1:{free_port()}"), clock=clock)
    assert (error.code, error.status) == ("cloud-unreachable", UNREACHABLE)
    assert "connection refused (attempt 4)" in error.what
    assert clock.slept == [0.5, 1.0, 2.0]


def test_unknown_name(cloud: Cloud) -> None:
    """A name that no resolver knows is an outage as well, within the deadline however long the resolver takes."""
    error = refused(cloud, make_plan(cloud, sts_endpoint="https://sts.invalid"), deadline_s=5)
    assert error.status == UNREACHABLE


@pytest.mark.parametrize(
    "said",
    [
        pytest.param(b"SSH-2.0-OpenSSH_9.2\r\n", id="another-protocol"),
        pytest.param(b"HTTP/1.1 OK\r\n\r\n", id="no-status"),
        pytest.param(b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n", id="endless-header"),
        pytest.param(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n", id="many-headers"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", id="bad-chunk"),
        pytest.param(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc", id="cut-chunk"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_no_http(cloud: Cloud, raw_server: Callable[..., RawServer], said: bytes) -> None:
    """What is no whole answer in HTTP is an outage, and not a byte of it is shown."""
    server = raw_server(lambda connection: connection.sendall(said))
    error = refused(cloud, make_plan(cloud, sts_endpoint=server.url))
    assert error.code == "cloud-unreachable"
    assert "SSH" not in error.line()
    assert server.connections == 4


def test_deadline_holds_where_timeouts_do_not(cloud: Cloud, raw_server: Callable[..., RawServer]) -> None:
    """A header that trickles in resets every time-out of a socket; the deadline ends the run all the same."""

    def trickle(connection: socket.socket) -> None:
        while not server.closed.wait(0.05):
            connection.sendall(b"a")

    server = raw_server(trickle)
    error = refused(cloud, make_plan(cloud, sts_endpoint=server.url), deadline_s=SHORT_S)
    assert (error.code, error.status) == ("deadline-exceeded", UNREACHABLE)
    assert "AssumeRoleWithWebIdentity" in error.what


@pytest.mark.parametrize(
    ("piece", "status"),
    [
        pytest.param("<a>", 400, id="nested"),
        pytest.param("<a>", 200, id="nested-answer"),
        pytest.param("<a/>", 400, id="second-root"),
        pytest.param("&#60;", 400, id="references"),
    ],
)
def test_answer_that_is_hard_to_parse(cloud: Cloud, piece: str, status: int) -> None:
    """As long as an answer may be, it is parsed and refused in time; a longer one is not parsed at all."""
    body = piece * (ANSWER_LIMIT_BYTES // len(piece))
    for text, told in ((body, "can't be understood"), (body + " " * len(piece), "more than 262144 bytes")):
        cloud.clear()
        cloud.fault(STS, "status", status=status, body=text, content_type="text/xml")
        error = refused(cloud, deadline_s=SHORT_S)
        assert error.code == "cloud-answer"
        assert told in error.what


def test_deadline_is_for_both_calls(cloud: Cloud) -> None:
    """What STS took is not there for ECR any more."""
    cloud.fault(STS, "latency", None, seconds=0.7)
    cloud.fault(ECR, "hang", None)
    assert refused(cloud, deadline_s=SHORT_S).status == UNREACHABLE


def test_token_never_goes_out_in_the_clear(cloud: Cloud) -> None:
    """Plain http to anywhere but loopback is refused by the transport itself, not by the loader alone."""
    planned = make_plan(cloud, sts_endpoint="http://127.0.0.1.example.com:1")
    assert refused(cloud, planned).code == "internal"
    assert cloud.counts() == {}
