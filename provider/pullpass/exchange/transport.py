"""One HTTP request to a cloud, with everything bounded: time, size, where it goes, whom it trusts.

The SDKs' own transports bound none of this: their time-outs count per `recv` and per address, they read answers of any
length into memory, and they take certificates, key logs and more from the environment. What comes back from here is an
answer that is worth reading, and the HTTP status has decided that before any parser sees a byte: a load balancer's
page under 503 is an outage, whatever its markup.

Rules:

* No redirect is followed, with or without a token.
* Certificates are checked against what `trust` says, and nothing else.
* `HTTPS_PROXY` and `NO_PROXY` are honoured for https endpoints that are not on loopback; the proxy is given the host
  name to connect to and sees nothing of what is said. Plain http is for loopback, and never goes through a proxy.
* A transport for metadata services speaks plain http alone, to link-local and loopback addresses, and gives up early:
  where there is such a service it is on the node's own link, and where there is none nothing answers at all.
* Nothing that the other side wrote is told as it is: a header, a reason phrase or an address may repeat what was sent.
* A request may take half of the time that is left, so that a server that never answers leaves time for another try.
"""

from __future__ import annotations

import base64
import http.client
import ipaddress
import re
import ssl
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]

from pullpass.config.forms import is_metadata_host
from pullpass.errors import PullpassError, outside
from pullpass.exchange import trust
from pullpass.lean import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from pullpass.clock import Clock, Deadline

# The longest that is expected, a password of ECR's, has a few kilobytes. While a parser in C works, no other thread
# runs and no deadline ends: for a second or more, if it is a megabyte of nested elements.
ANSWER_LIMIT_BYTES = 256 * 1024
# Per address: a host with dead addresses before a living one must leave time for that one.
CONNECT_LIMIT_S = 5.0
# For a metadata service; Google's clients give up after 3 s, AWS's after 1 s. A first answer after a boot is slow.
METADATA_CONNECT_LIMIT_S = 1.0
METADATA_LIMIT_S = 4.0
# Shown as they are; any other is text from outside, and may repeat what was sent.
MEDIA_TYPES = frozenset(
    {
        "application/json",
        "application/problem+json",
        "application/x-amz-json-1.0",
        "application/x-amz-json-1.1",
        "application/xml",
        "text/html",
        "text/plain",
        "text/xml",
    }
)
# How http.client says what a proxy answered to CONNECT; behind it, the status and the proxy's own words.
_TUNNEL = "Tunnel connection failed: "
# A name or an address; of IPv6 without its brackets.
_HOST_NAME = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")


class Answer(NamedTuple):
    """What a server said.

    Attributes:
        status: below 500, and neither a redirect nor 429.
        headers: names and values.
        body: all of it.
    """

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class Transport:
    """Sends requests within a deadline.

    Attributes:
        answered: the newest answer in a few words, for the error of whoever can't read it; "" before there is one.
    """

    def __init__(self, deadline: Deadline, clock: Clock, ca_bundle: str, *, metadata: bool = False) -> None:
        """Prepare; nothing is opened.

        Args:
            deadline: of the whole run.
            clock: the run's clock.
            ca_bundle: path of a PEM file, or "" for the system's store.
            metadata: whether it is for a metadata service.
        """
        self._deadline = deadline
        self._clock = clock
        self._ca_bundle = ca_bundle
        self._metadata = metadata
        self._context: ssl.SSLContext | None = None
        self.answered = ""

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        """Send one request, once.

        Args:
            method: of HTTP.
            url: https, or http on loopback; of a metadata service, http on a link-local or loopback address.
            headers: besides those that HTTP itself needs.
            body: of the request, or None.

        Raises:
            PullpassError: `cloud-unreachable`, `cloud-tls`, `cloud-throttled`, `cloud-failing` (worth trying again);
                `cloud-redirect`, `cloud-answer`; `ca-bundle`, `openssl`, `proxy`.
        """
        parts = urlsplit(url)
        limit_s, connect_limit_s = self._deadline.remaining_s() / 2, CONNECT_LIMIT_S
        if self._metadata:
            limit_s, connect_limit_s = min(limit_s, METADATA_LIMIT_S), METADATA_CONNECT_LIMIT_S
        end_s = self._clock.monotonic_s() + limit_s
        connection = self._connection(parts, max(0.001, min(connect_limit_s, limit_s)))
        try:
            connection.connect()
            # Zero would mean "never wait" to a socket.
            connection.sock.settimeout(max(0.001, end_s - self._clock.monotonic_s()))
            path = parts.path or "/"
            connection.request(method, f"{path}?{parts.query}" if parts.query else path, body, dict(headers))
            response = connection.getresponse()
            _check_status(response, parts)
            answer = Answer(response.status, response.getheaders(), self._read(response, parts, end_s))
        except ssl.SSLCertVerificationError as error:
            raise PullpassError("cloud-tls", f"{_host(parts)}: {outside(error.verify_message)}") from None
        except (OSError, http.client.HTTPException) as error:
            raise PullpassError("cloud-unreachable", f"{_host(parts)}: {_describe(error)}") from None
        finally:
            connection.close()
        kind = _media_type(response.getheader("Content-Type", ""))
        self.answered = f"{_host(parts)}'s answer (HTTP status {answer.status}, {kind}, {len(answer.body)} bytes)"
        return answer

    def _connection(self, parts: SplitResult, timeout_s: float) -> http.client.HTTPConnection:
        host = parts.hostname or ""
        near = is_metadata_host(host) if self._metadata else _is_loopback(host)
        if parts.scheme == "http" and near:
            return http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
        if parts.scheme != "https" or self._metadata:
            raise PullpassError("internal", f"{_host(parts)} would be asked over {outside(parts.scheme)}")
        proxy = _proxy(host)
        if self._context is None:
            self._context = trust.context(self._ca_bundle)
        if proxy is None:
            return http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=self._context)
        connection = http.client.HTTPSConnection(
            proxy.hostname or "", proxy.port or 80, timeout=timeout_s, context=self._context
        )
        connection.set_tunnel(host, parts.port or 443, _proxy_authorization(proxy))
        return connection

    def _read(self, response: http.client.HTTPResponse, parts: SplitResult, end_s: float) -> bytes:
        """The body, piece by piece, because one big read returns only when all has come."""
        pieces = []
        left = ANSWER_LIMIT_BYTES
        while piece := response.read1(left + 1):
            left -= len(piece)
            if left < 0:
                raise PullpassError(
                    "cloud-answer", f"{_host(parts)} answered with more than {ANSWER_LIMIT_BYTES} bytes"
                )
            if self._clock.monotonic_s() > end_s:
                raise TimeoutError
            pieces.append(piece)
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)
        return b"".join(pieces)


def _check_status(response: http.client.HTTPResponse, parts: SplitResult) -> None:
    status = response.status
    if status == 429:
        raise PullpassError("cloud-throttled", f"{_host(parts)} answered with HTTP status 429")
    if status >= 500 or status == 408:  # Request Timeout: a front end's, about the server behind it
        raise PullpassError("cloud-failing", f"{_host(parts)} answered with HTTP status {status}")
    if 300 <= status < 400:
        where = _place(response.getheader("Location", ""))
        raise PullpassError("cloud-redirect", f"{_host(parts)} answered with HTTP status {status}, to {where}")


def _place(location: str) -> str:
    """Scheme and host of where a redirect leads.

    They are not cut: whoever tells them looks for what was sent in them first.
    """
    try:
        parts = urlsplit(location)
        host = parts.hostname or ""
        told = parts.scheme in ("http", "https") and _is_host(host)
    except ValueError:  # UnicodeError is one
        told = False
    return f"{parts.scheme}://{host}" if told else "an address without a host"


def _media_type(value: str) -> str:
    if not value:
        return "no content type"
    kind = value.partition(";")[0].strip().lower()
    return kind if kind in MEDIA_TYPES else "another content type"


def _describe(error: OSError | http.client.HTTPException) -> str:
    """Why nothing came, without what the server wrote: some of these exceptions quote it."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, http.client.IncompleteRead | http.client.RemoteDisconnected | ConnectionError):
        refused = isinstance(error, ConnectionRefusedError)
        return "connection refused" if refused else "the connection was cut"
    if isinstance(error, http.client.HTTPException):
        return "the answer is not HTTP"
    if str(error).startswith(_TUNNEL):
        status = str(error).removeprefix(_TUNNEL)[:3]
        return f"the proxy answered with HTTP status {status}" if status.isdigit() else "the proxy refused"
    return outside(error.strerror or "the connection failed")


def _host(parts: SplitResult) -> str:
    return outside(parts.netloc.rpartition("@")[2])


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    """Whether it can be the name or the address of a host.

    Raises:
        UnicodeError: a label is empty or too long, which the resolver would say as well.
    """
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(_HOST_NAME.fullmatch(host.encode("idna").decode("ascii")))
    return True


def _proxy(host: str) -> SplitResult | None:
    """The proxy of the environment for this host.

    Raises:
        PullpassError: `proxy`, when it is not one that can be used. Its URL is not shown: it may hold a password.
    """
    proxies = getproxies_environment()
    if _is_loopback(host) or "https" not in proxies or proxy_bypass_environment(host, proxies):
        return None
    url = proxies["https"]
    try:
        proxy = urlsplit(url if "://" in url else f"http://{url}")
        usable = proxy.scheme == "http" and proxy.port != 0 and _is_host(proxy.hostname or "")
        _proxy_authorization(proxy)
    except ValueError:  # UnicodeError is one: a name with an empty label, a user who is not UTF-8
        usable = False
    if not usable:
        raise PullpassError("proxy", "HTTPS_PROXY is not the URL of an http proxy")
    return proxy


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    pair = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
