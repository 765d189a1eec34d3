"""The doors: sockets on loopback, plain and TLS, and the one handler behind them.

One thread accepts for all doors, one daemon thread serves each connection. Nothing waits without listening for the end
of the cloud as well, so stopping is immediate however many handlers hang.
"""

from __future__ import annotations

import contextlib
import http.client
import http.server
import re
import selectors
import socket
import socketserver
import struct
import sys
import threading
import time
import traceback
from email.utils import formatdate
from http import HTTPStatus
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cloud.records import Request

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from cloud.answers import Answer
    from cloud.faults import Delivery
    from cloud.records import Journal
    from cloud.tls import Authority

DEAD_ENDS = ("refused", "silent", "black-hole")
BODY_LIMIT_BYTES = 16 * 1024 * 1024
TLS_HANDSHAKE = b"\x16"  # the type of a connection's first record (RFC 8446, section 5.1)


class Door(http.server.ThreadingHTTPServer):
    """A listening socket.

    Attributes:
        site: what is behind it: `cloud`, `elsewhere`, `proxy` or `control`.
        tls: whether connections start with a handshake.
    """

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256
    timeout = 0

    def __init__(self, house: House, site: str, *, tls: bool) -> None:
        """Listen on a free port of loopback."""
        self.house = house
        self.site = site
        self.tls = tls
        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def server_bind(self) -> None:
        """Bind without `HTTPServer`'s look-up of the host's name, which may ask a name server."""
        socketserver.TCPServer.server_bind(self)
        # A client that gives up between the select and the accept must not block the one thread that accepts.
        self.socket.settimeout(1)
        self.server_name, self.server_port = "localhost", self.port

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Serve one connection to its end; a client that went away is nothing special."""
        connection: socket.socket = request
        self.house.opened(connection)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.tls:
                connection = self.house.handshake(connection, self.site)
            Handler(connection, client_address, self)
        except OSError:  # ssl.SSLError is one; a failed handshake stands in the journal
            pass
        except Exception:  # noqa: BLE001 - whatever it is, it is noted before the client sees the connection end
            self.handle_error(request, client_address)
        finally:
            self.house.closed(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Show a defect of the cloud itself, and keep it for `Cloud.stop` to raise."""
        sys.stderr.write(traceback.format_exc())
        self.house.defects.append(traceback.format_exc())


class House:
    """The doors together: accepts, knows every open connection, ends them all."""

    def __init__(
        self,
        journal: Journal,
        authority: Authority,
        serve: Callable[[Request], tuple[Answer, Delivery]],
        now: Callable[[], float],
    ) -> None:
        """Prepare; nothing listens before `open`.

        Args:
            journal: where each request goes first.
            authority: makes the TLS contexts.
            serve: makes the answer of a request that came by any door, and says how to deliver it.
            now: the cloud's clock, for the `Date` header.
        """
        self.journal = journal
        self.authority = authority
        self.serve = serve
        self.now = now
        self.defects: list[str] = []
        self.stopping = threading.Event()
        self._doors: list[Door] = []
        self._dead_ends: list[socket.socket] = []
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._wake, self._woken = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="cloud-doors", daemon=True)

    def door(self, site: str, *, tls: bool = False) -> Door:
        """Add a door."""
        door = Door(self, site, tls=tls)
        self._doors.append(door)
        return door

    def open(self) -> None:
        """Accept connections from now on."""
        self._thread.start()

    def close(self) -> None:
        """End everything: doors, connections, hanging handlers."""
        self.stopping.set()
        self._wake.send(b"x")
        if self._thread.is_alive():
            self._thread.join()
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for door in self._doors:
            door.server_close()
        for end in self._dead_ends:
            end.close()
        self._wake.close()
        self._woken.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            for door in self._doors:
                selector.register(door, selectors.EVENT_READ, door)
            while not self.stopping.is_set():
                for key, _ in selector.select():
                    if isinstance(key.data, Door):
                        key.data.handle_request()

    def dead_end(self, kind: str) -> str:
        """HOST:PORT of a socket that is bound but leads nowhere."""
        end = socket.socket()
        self._dead_ends.append(end)
        end.bind(("127.0.0.1", 0))
        if kind == "silent":
            end.listen(64)
        elif kind == "black-hole":
            # Linux drops the SYN of whoever comes when the queue of a listener is full.
            end.listen(0)
            filler = socket.create_connection(end.getsockname())
            self._dead_ends.append(filler)
        return f"127.0.0.1:{end.getsockname()[1]}"

    def opened(self, connection: socket.socket) -> None:
        """Remember an open connection."""
        with self._lock:
            self._connections.add(connection)

    def closed(self, connection: socket.socket) -> None:
        """Forget a connection and close it."""
        with self._lock:
            self._connections.discard(connection)
        connection.close()

    def handshake(self, connection: socket.socket, site: str) -> ssl.SSLSocket:
        """Wrap `connection` in TLS, certificate by the name that the client asks for.

        Raises:
            OSError: the handshake failed; the reason is in the journal under `tls.handshake`.
        """
        try:
            wrapped = self.authority.context().wrap_socket(connection, server_side=True)
        except OSError as error:
            failed = self._request(site, "", {}, tls=True)
            failed.service, failed.operation = "tls", "handshake"
            failed.code = getattr(error, "reason", None) or type(error).__name__
            self.journal.add(failed)
            raise
        with self._lock:
            self._connections.discard(connection)
            self._connections.add(wrapped)
        return wrapped

    def _request(self, site: str, target: str, headers: dict[str, str], *, tls: bool) -> Request:
        return Request(
            number=self.journal.number(), site=site, method="", target=target, path="", query="", host="", port=None,
            headers=headers, body=b"", tls=tls, proxied=False, received_s=time.time(),
        )  # fmt: skip

    def request(self, handler: Handler, headers: dict[str, str], body: bytes) -> Request:
        """The request that `handler` has read.

        Raises:
            ValueError: its target is no URL.
        """
        request = self._request(handler.door.site, handler.path, headers, tls=handler.tls)
        parts = urlsplit(f"//{handler.path}" if handler.command == "CONNECT" else handler.path)
        authority = parts.netloc or handler.tunnel or headers.get("host", "")
        host, _, port = authority.rpartition(":")
        if not host or not re.fullmatch("[0-9]{1,5}", port):
            host, port = authority, ""
        request.method, request.path, request.query, request.body = handler.command, parts.path, parts.query, body
        request.host, request.port = host.lower(), int(port) if port else None
        request.proxied = handler.door.site == "proxy"
        return request


class Handler(http.server.BaseHTTPRequestHandler):
    """Reads a request, has it answered, delivers the answer as well or as badly as a fault demands."""

    protocol_version = "HTTP/1.1"
    server: Door

    def setup(self) -> None:
        """Start a connection."""
        self.tls = self.server.tls
        self.tunnel = ""
        super().setup()

    def finish(self) -> None:
        """End it, also when it was upgraded by CONNECT."""
        try:
            super().finish()
        finally:
            if self.connection is not self.request:
                self.door.house.closed(self.connection)

    @property
    def door(self) -> Door:
        """The door this connection came by."""
        return self.server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's signature
        """Say nothing: the journal is the log."""

    def _serve(self) -> None:
        headers: dict[str, str] = {}
        for name, value in self.headers.items():
            key = name.lower()
            headers[key] = f"{headers[key]},{value}" if key in headers else value
        body = self._body(headers)
        if body is None:
            return
        try:
            request = self.door.house.request(self, headers, body)
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        answer, delivery = self.door.house.serve(request)
        self._deliver(request, answer, delivery)

    def __getattr__(self, name: str) -> Any:
        # The base class looks for do_METHOD; the services judge methods themselves.
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def do_CONNECT(self) -> None:
        """Be the host that the client wants to reach: the tunnel ends here, whatever its name."""
        house = self.door.house
        try:
            request = house.request(self, {name.lower(): value for name, value in self.headers.items()}, b"")
        except ValueError:
            self.send_error(HTTPStatus.BAD_REQUEST)
            return
        request.service, request.operation = "proxy", "CONNECT"
        if self.door.site != "proxy" or request.port is None:
            self.send_error(HTTPStatus.METHOD_NOT_ALLOWED)
            return
        request.status = 200
        house.journal.add(request)
        self.connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self.tunnel = self.path
        self.close_connection = False
        if self.connection.recv(1, socket.MSG_PEEK) != TLS_HANDSHAKE:
            return
        self.connection = house.handshake(self.connection, "proxy")
        self.tls = True
        self.rfile = self.connection.makefile("rb", self.rbufsize)
        self.wfile = self.connection.makefile("wb", 0)

    def _body(self, headers: dict[str, str]) -> bytes | None:
        """The request's body; None when it can't be read and the client was told so."""
        if "transfer-encoding" in headers:
            self.send_error(HTTPStatus.LENGTH_REQUIRED)
            return None
        stated = headers.get("content-length", "0")
        if not re.fullmatch("[0-9]{1,15}", stated):
            self.send_error(HTTPStatus.BAD_REQUEST)
            return None
        length = int(stated)
        if length > BODY_LIMIT_BYTES:
            self.send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            return None
        return self.rfile.read(length)

    def _deliver(self, request: Request, answer: Answer, delivery: Delivery) -> None:
        house = self.door.house
        if not delivery.hold(house.stopping):
            self.close_connection = True
            return
        if delivery.before == "reset":
            self._reset()
        if delivery.before:
            self.close_connection = True
            return
        headers = {
            "Date": formatdate(house.now(), usegmt=True),
            "Content-Length": str(len(answer.body)),
            **answer.headers,
        }
        request.status, request.code = answer.status, answer.code
        head = f"HTTP/1.1 {answer.status} {http.client.responses.get(answer.status, 'Unknown')}\r\n"
        head += "".join(f"{name}: {value}\r\n" for name, value in headers.items()) + "\r\n"
        body = b"" if self.command == "HEAD" else answer.body
        if headers.get("Connection") == "close":
            self.close_connection = True
        self._send(head.encode("latin-1"), body, delivery)

    def _send(self, head: bytes, body: bytes, delivery: Delivery) -> None:
        stopping = self.door.house.stopping
        if delivery.trickle_s is not None:
            self.connection.sendall(head)
            for index in range(len(body)):
                if not delivery.pause(delivery.trickle_s, stopping):
                    break
                self.connection.sendall(body[index : index + 1])
        elif delivery.middle:
            self.connection.sendall(head + body[: len(body) // 2])
            if delivery.middle == "hang" and delivery.wait(stopping):
                self.connection.sendall(body[len(body) // 2 :])
                return
            if delivery.middle == "reset":
                self._reset()
            self.close_connection = True
        else:
            self.connection.sendall(head + body)

    def _reset(self) -> None:
        # With a linger time of zero the close sends RST instead of FIN.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
