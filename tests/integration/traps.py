"""Where requests end that nobody should have sent."""

from __future__ import annotations

import re
import socket
import threading


class Trap:
    """A port that nobody may connect to, over TCP or UDP."""

    def __init__(self) -> None:
        self.tcp = socket.create_server(("127.0.0.1", 0))
        self.port = int(self.tcp.getsockname()[1])
        self.url = f"http://127.0.0.1:{self.port}"
        self.udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.udp.bind(("127.0.0.1", self.port))
        self.caught: list[bytes] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._accept, self._receive)]
        for thread in self._threads:
            thread.start()

    def _accept(self) -> None:
        while True:
            connection, _ = self.tcp.accept()
            with connection:
                connection.settimeout(1)
                try:
                    self.caught.append(_request(connection))
                    connection.sendall(b"HTTP/1.1 500 Trapped\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                except OSError:
                    self.caught.append(b"")

    def _receive(self) -> None:
        while True:
            self.caught.append(self.udp.recv(65536))


def _request(connection: socket.socket) -> bytes:
    """A whole request, which may come in pieces."""
    request = b""
    while piece := connection.recv(65536):
        request += piece
        head, _, body = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        if b"\r\n\r\n" in request and len(body) >= (int(length[1]) if length else 0):
            break
    return request
