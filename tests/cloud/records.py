"""What was asked of the cloud: one `Request` each, kept in order, so that a test can assert what was really sent.

A request is in the journal from the moment it was read, before any fault or answer: a test may wait for one that hangs.
Nothing is redacted. Tokens here are worthless outside the process, and that they were sent is what tests look at.
"""

from __future__ import annotations

import base64
import itertools
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Request:
    """One request as it arrived, and what came of it.

    Attributes:
        number: counts up from 1 in a cloud's life.
        site: the door it came by: `cloud`, `artifact`, `public`, `elsewhere` (a host that is none of ours) or `proxy`.
        named: the services that the host's name can stand for; empty where the path decides.
        service: who answered, such as `sts` or `gsts` (see the package); `elsewhere`, `proxy`, `tls` (a failed
            handshake) or `unknown`.
        operation: the service's own name of it, such as `AssumeRoleWithWebIdentity`, `manifest`, `discovery`.
        target: the request line's target, as sent.
        host: the `Host` header without its port, lower case.
        port: the port the `Host` header names, if any.
        headers: names in lower case; repeated ones joined by a comma.
        parameters: the decoded form or JSON document; for registries `repository` and `reference`.
        account: the registry account that the host (or the default) stands for.
        region: the region named by the host, the signature's scope or the default; None where nothing says it. For
            Google's registries, the location.
        received_s: seconds since the epoch, by the machine's clock.
        status: the HTTP status that was answered; None while nothing was (a hang) or nothing could be (a cut).
        code: the error code that was answered, if one was.
        faults: the kinds of the faults that struck.
    """

    number: int
    site: str
    method: str
    target: str
    path: str
    query: str
    host: str
    port: int | None
    headers: dict[str, str]
    body: bytes
    tls: bool
    proxied: bool
    received_s: float
    named: tuple[str, ...] = ()
    service: str = "unknown"
    operation: str = "unknown"
    parameters: dict[str, Any] = field(default_factory=dict)
    account: str | None = None
    region: str | None = None
    principal: str | None = None
    status: int | None = None
    code: str | None = None
    faults: list[str] = field(default_factory=list)

    @property
    def where(self) -> str:
        """`service.operation`, the name that faults and counters use."""
        return f"{self.service}.{self.operation}"

    def document(self) -> dict[str, Any]:
        """The request as a JSON-able document; the body in base64 and, where it is UTF-8, as text."""
        document = dict(vars(self), where=self.where, body_base64=base64.b64encode(self.body).decode())
        try:
            document["body"] = self.body.decode()
        except UnicodeDecodeError:
            document["body"] = None
        return document


def selects(where: str, service: str, operation: str) -> bool:
    """Whether `where` (`*`, `service` or `service.operation`) selects this operation."""
    return where in {"*", service, f"{service}.{operation}", f"{service}.*"}


class Journal:
    """All requests in their order. Safe for threads."""

    def __init__(self) -> None:
        """Make an empty journal."""
        self._changed = threading.Condition(threading.RLock())
        self._numbers = itertools.count(1)
        self._requests: list[Request] = []

    def number(self) -> int:
        """The next request's number."""
        return next(self._numbers)

    def add(self, request: Request) -> None:
        """Keep `request` and wake whoever waits for it."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()

    def select(self, where: str = "*") -> list[Request]:
        """The requests that `where` selects, oldest first."""
        with self._changed:
            return [request for request in self._requests if selects(where, request.service, request.operation)]

    def counts(self) -> dict[str, int]:
        """How many requests there were of each `service.operation`."""
        with self._changed:
            return dict(Counter(request.where for request in self._requests))

    def wait_for(self, where: str, count: int, timeout_s: float) -> list[Request]:
        """Wait until `where` selects at least `count` requests.

        Raises:
            TimeoutError: they did not come within `timeout_s`.
        """
        deadline_s = time.monotonic() + timeout_s
        while True:
            with self._changed:
                found = self.select(where)
                left_s = deadline_s - time.monotonic()
                if len(found) >= count:
                    return found
                if left_s <= 0:
                    raise TimeoutError(f"{len(found)} of {count} requests of {where} within {timeout_s:g} s")
                self._changed.wait(left_s)

    def clear(self) -> None:
        """Forget every request; numbers go on."""
        with self._changed:
            self._requests.clear()
