"""The node's own identity by Google's metadata server: what is asked, and what is not taken for an answer."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from cloud.gcp.world import NODE_ACCOUNT
from integration.exchanging import LONG_S, SHORT_S, ImpatientClock
from integration.exchanging_gcp import make_node_plan, mint, refused, run
from pullpass.clock import Deadline
from pullpass.errors import CLOUD_REFUSED, CLOUD_UNREACHABLE, DENIED, INVALID, UNREACHABLE, PullpassError
from pullpass.exchange import gcp_node
from pullpass.exchange.transport import Transport

if TYPE_CHECKING:
    from cloud import Cloud

EMAIL = "gmetadata.email"
TOKEN = "gmetadata.token"
BOTH = (EMAIL, TOKEN)
ACTIONS = {EMAIL: "metadata:email", TOKEN: "metadata:token"}
ATTEMPTS = 4
CUTS = ("cut", "reset", "cut-mid-body", "reset-mid-body")


def node(cloud: Cloud) -> Any:
    """The plan with the local cloud's metadata server."""
    return make_node_plan(cloud.endpoints.gmetadata)


def test_credential(cloud: Cloud) -> None:
    """The password is an access token of the node's account, which the credential names."""
    credential = run(cloud, node(cloud))
    token = cloud.google.tokens[credential.secret.reveal()]
    assert token.identity.name == f"serviceAccount:{NODE_ACCOUNT}"
    assert (credential.username, credential.principal) == ("oauth2accesstoken", NODE_ACCOUNT)
    assert credential.registry_expires_s == credential.session_expires_s == pytest.approx(time.time() + 3600, abs=10)


def test_two_requests_and_no_more(cloud: Cloud) -> None:
    """Account and token are asked for, with the header that a browser can't be made to send, and nothing else is."""
    run(cloud, node(cloud))
    assert cloud.counts() == {EMAIL: 1, TOKEN: 1}
    for request in cloud.requests(EMAIL) + cloud.requests(TOKEN):
        assert (request.method, request.query, request.body) == ("GET", "", b"")
        assert request.headers["metadata-flavor"] == "Google"
        assert "authorization" not in request.headers


def test_token_of_the_pod_is_not_sent(cloud: Cloud) -> None:
    """A service account whose grant gives it the node's identity has a token, which the metadata server never sees."""
    token = mint(cloud)
    run(cloud, node(cloud), token=token)
    for request in cloud.requests():
        assert token not in str(request.headers)


def test_no_proxy_is_asked(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """What goes through a proxy would be another machine's identity."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, cloud.endpoints.proxy)
    run(cloud, node(cloud))
    assert cloud.count("proxy.CONNECT") == 0
    assert not cloud.last(TOKEN).proxied


def test_variables_have_no_influence(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those by which Google's library finds its metadata server do not move this one."""
    elsewhere = cloud.endpoints.elsewhere.removeprefix("http://")
    for name in ("GCE_METADATA_HOST", "GCE_METADATA_ROOT", "GCE_METADATA_IP"):
        monkeypatch.setenv(name, elsewhere)
    run(cloud, node(cloud))
    assert cloud.counts() == {EMAIL: 1, TOKEN: 1}


# --- who answers


def test_impostor(cloud: Cloud) -> None:
    """What does not say that it is Google's metadata server is asked for nothing more, whatever it gives."""
    cloud.configure(metadata_impostor=True)
    error = refused(cloud, node(cloud))
    assert (error.code, error.upstream, error.status) == ("gcp-metadata-foreign", INVALID, CLOUD_REFUSED)
    assert cloud.counts() == {EMAIL: 1}


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize("value", ["", "google", "Amazon", "Google, Google"])
def test_header_of_another_flavor(cloud: Cloud, where: str, value: str) -> None:
    """The header has one value, of every answer."""
    cloud.fault(where, "header", None, name="Metadata-Flavor", value=value)
    assert refused(cloud, node(cloud)).code == "gcp-metadata-foreign"


@pytest.mark.parametrize("where", BOTH)
@pytest.mark.parametrize("status", [200, 403, 404])
@pytest.mark.parametrize("kind", ["html", "garbage", "empty"])
def test_other_servers(cloud: Cloud, where: str, kind: str, status: int) -> None:
    """Any other server's page is not read, under any status."""
    cloud.fault(where, kind, None, status=status)
    assert refused(cloud, node(cloud)).code == "gcp-metadata-foreign"


def test_redirect(cloud: Cloud) -> None:
    """Nobody is followed to anywhere."""
    cloud.fault(EMAIL, "redirect", None)
    assert refused(cloud, node(cloud)).code == "cloud-redirect"
    assert cloud.count("elsewhere") == 0


# --- what it says


def test_node_without_an_account(cloud: Cloud) -> None:
    """An instance may have no service account; then it has no identity."""
    cloud.configure(google_node_account=None)
    error = refused(cloud, node(cloud))
    assert (error.code, error.upstream, error.status) == ("gcp-node-denied", DENIED, CLOUD_REFUSED)
    assert cloud.counts() == {EMAIL: 1}


def test_account_that_is_concealed(cloud: Cloud) -> None:
    """A metadata server may tell the account and refuse its tokens."""
    cloud.fault(TOKEN, "Forbidden", None)
    error = refused(cloud, node(cloud))
    assert (error.code, error.upstream) == ("gcp-node-denied", DENIED)
    assert error.what.startswith("metadata:token: HTTP status 403")
    assert cloud.counts() == {EMAIL: 1, TOKEN: 1}


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("MethodNotAllowed", "cloud-answer"),
        ("TooManyRequests", "cloud-throttled"),
        ("InternalServerError", "cloud-failing"),
        ("ServiceUnavailable", "cloud-failing"),
        *((kind, "cloud-unreachable") for kind in CUTS),
    ],
)
@pytest.mark.parametrize("where", BOTH)
def test_fault(cloud: Cloud, where: str, kind: str, code: str) -> None:
    """Trouble has its class and is tried again where that can help."""
    cloud.fault(where, kind, None)
    error = refused(cloud, node(cloud))
    assert error.code == code
    assert error.what.startswith(f"{ACTIONS[where]}: ")
    unreachable = error.upstream == CLOUD_UNREACHABLE
    assert error.status == (UNREACHABLE if unreachable else CLOUD_REFUSED)
    assert cloud.count(where) == (ATTEMPTS if unreachable else 1)
    if unreachable:
        assert "node.google_metadata" in error.hint


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"access_token": ""}, "cloud-answer"),
        ({"access_token": None}, "cloud-answer"),
        ({"expires_in": None}, "cloud-answer"),
        ({"expires_in": 10**9}, "cloud-answer"),
        ({"expires_in": 0}, "cloud-answer-expired"),
        ({"expires_in": -5}, "cloud-answer-expired"),
        ({"token_type": "mac"}, "cloud-answer"),
    ],
)
def test_token_that_is_none(cloud: Cloud, fields: dict[str, Any], code: str) -> None:
    """The token's answer is looked at like STS's."""
    cloud.fault(TOKEN, "set", None, fields=fields)
    assert refused(cloud, node(cloud)).code == code


def test_token_that_is_cut_short(cloud: Cloud) -> None:
    """Half a document is none."""
    cloud.fault(TOKEN, "truncate", None)
    assert refused(cloud, node(cloud)).code == "cloud-answer"


@pytest.mark.parametrize("email", [" ", "two words", "a\u00e4@b", "x" * 255])
def test_email_that_is_none(cloud: Cloud, email: str) -> None:
    """What stands where the account's e-mail belongs goes into records, so it is of a closed form."""
    cloud.gmetadata.account = email
    assert refused(cloud, node(cloud)).code == "cloud-answer"
    assert cloud.count(TOKEN) == 0


# --- absent, slow


def test_no_metadata_server(cloud: Cloud) -> None:
    """On a node outside Google Cloud nothing listens there."""
    error = refused(cloud, make_node_plan(f"http://{cloud.dead_end('refused')}"))
    assert (error.code, error.status) == ("cloud-unreachable", UNREACHABLE)
    assert "connection refused" in error.what
    assert (
        error.hint == "see that this node is one of Google Cloud, and that node.google_metadata is its metadata server"
    )


@pytest.mark.parametrize("kind", ["silent", "black-hole"])
def test_metadata_server_that_hangs(cloud: Cloud, kind: str) -> None:
    """A server that takes the connection and says nothing, and an address that does not even do that."""
    error = refused(cloud, make_node_plan(f"http://{cloud.dead_end(kind)}"), deadline_s=SHORT_S)
    assert error.code in ("cloud-unreachable", "deadline-exceeded")
    assert error.status == UNREACHABLE


def test_metadata_server_gives_up_early(cloud: Cloud) -> None:
    """One attempt takes a fraction of the deadline, so that a restarting server is asked again."""
    cloud.fault(EMAIL, "hang", 1)
    started_s = time.monotonic()
    run(cloud, node(cloud), deadline_s=LONG_S)
    assert time.monotonic() - started_s < LONG_S / 2
    assert cloud.count(EMAIL) == 2


@pytest.mark.parametrize(
    "url",
    ["http://192.0.2.1", "http://localhost", "http://metadata.google.internal", "https://127.0.0.1", "file:///etc"],
)
def test_transport_for_metadata_goes_nowhere_else(url: str) -> None:
    """Whatever a plan might say: names, other addresses and other schemes are not asked."""
    clock = ImpatientClock()
    transport = Transport(Deadline(clock, LONG_S), clock, "", metadata=True)
    with pytest.raises(PullpassError, match=r"internal: .*would be asked over"):
        transport.send("GET", url, {}, None)


def test_transport_for_tokens_does_not_go_to_the_link() -> None:
    """Plain http to a link-local address is for metadata alone."""
    clock = ImpatientClock()
    with pytest.raises(PullpassError, match=r"internal: 169\.254\.169\.254 would be asked over http"):
        Transport(Deadline(clock, LONG_S), clock, "").send("POST", "http://169.254.169.254/v1/token", {}, b"")


def test_jitter_is_random_by_default(cloud: Cloud) -> None:
    """A thousand nodes that started together do not ask together."""
    waits = set()
    for _ in range(3):
        cloud.fault(EMAIL, "ServiceUnavailable", 1)
        clock = ImpatientClock()
        gcp_node.exchange(node(cloud), None, Deadline(clock, LONG_S), clock)
        waits.update(clock.slept)
    assert len(waits) == 3
