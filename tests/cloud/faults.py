"""Faults on demand: what goes wrong, where, how often.

A fault strikes an operation (`where`: `*`, `sts`, `sts.AssumeRoleWithWebIdentity`, `registry.manifest` ...) once, N
times or until it is cleared, and may be set while requests hang. Several may strike one request: a latency and an
error, say. Clearing a fault releases what hangs on it; the answer then arrives as if nothing had been.

Kinds, by what they do:

* **instead of the operation**, which is not carried out: any error code of the service, by name
  (`ExpiredTokenException`; options `message`, `status`); `status` (options `status`, `body`, `content_type`),
  `html` (`status`), `garbage`, `empty` (`status`), `other-shape`, `redirect` (`status`, `location`);
* **with the real answer changed**: `set` (`fields`: path -> value), `drop` (`fields`: paths), the names in
  `cloud.edits`, `truncate` (well delivered, but only its first half), `content-type` (`value`), `header` (`name`,
  `value`), `no-header` (`name`), `huge` (`bytes`; padded with blanks, so that it is still well-formed), `as-status`
  (`status`: the same under another);
* **in delivery**: `latency` (`seconds`), `hang` (before the answer; `seconds`, else until cleared), `hang-mid-body`,
  `trickle` (`seconds` between bytes), `cut` and `reset` (before the answer), `cut-mid-body`, `reset-mid-body`.
"""

from __future__ import annotations

import contextlib
import copy
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from cloud.answers import Answer
from cloud.edits import DROPS, EDITS
from cloud.records import selects

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from cloud.answers import Service
    from cloud.records import Request

__all__ = [
    "CHANGES",
    "DELIVERIES",
    "DROPS",
    "EDITS",
    "GARBAGE",
    "HTML",
    "INSTEAD",
    "Delivery",
    "Fault",
    "Faults",
    "changed",
]
HUGE_BYTES = 50 * 1024 * 1024
HTML = b"<!DOCTYPE html>\n<html><head><title>Gateway</title></head><body><h1>Bad gateway</h1><br></body></html>\n"
# Not UTF-8, not XML, not JSON, with a line feed and a terminal's escape sequence: none of it may reach a log as it is.
GARBAGE = b"\x00\xff\xfe garbage \x1b[31m\nsecond line {<&"


class Fault:
    """One fault that is set."""

    def __init__(self, where: str, kind: str, times: int | None, options: dict[str, Any]) -> None:
        """Make a fault that strikes `times` times, or until it is cleared."""
        self.where = where
        self.kind = kind
        self.left = times
        self.options = options
        self.cleared = threading.Event()


@dataclass
class Delivery:
    """How an answer is sent."""

    waits: list[tuple[threading.Event, float | None]] = field(default_factory=list)
    before: str | None = None
    middle: str | None = None
    middle_released: threading.Event | None = None
    trickle_s: float | None = None

    def hold(self, stopping: threading.Event) -> bool:
        """Wait as long as the faults say; False when the cloud stops instead."""
        for released, seconds in self.waits:
            released.wait(seconds)
        return not stopping.is_set()

    def wait(self, stopping: threading.Event) -> bool:
        """Wait in the middle of a body; False when the cloud stops instead."""
        if self.middle_released is not None:
            self.middle_released.wait()
        return not stopping.is_set()

    def pause(self, seconds: float, stopping: threading.Event) -> bool:
        """Wait between two bytes; False when the cloud stops instead."""
        return not stopping.wait(seconds)


@dataclass
class Struck:
    """What the faults of one request come to."""

    instead: Answer | None
    changes: list[Fault]
    delivery: Delivery


def set_path(document: Any, path: str, value: Any) -> None:
    """Set the field at the dotted `path` of `document`, list indices included."""
    *parents, last = path.split(".")
    for name in parents:
        document = document[int(name)] if isinstance(document, list) else document[name]
    if isinstance(document, list):
        document[int(last)] = value
    else:
        document[last] = value


def drop_path(document: Any, path: str) -> None:
    """Remove the field at the dotted `path` of `document`."""
    *parents, last = path.split(".")
    for name in parents:
        document = document[int(name)] if isinstance(document, list) else document[name]
    del document[int(last) if isinstance(document, list) else last]


CHANGES = {"set", "drop", "truncate", "content-type", "huge", "as-status", "header", "no-header"}
DELIVERIES = {
    "latency", "hang", "hang-mid-body", "trickle", "cut", "reset", "cut-mid-body", "reset-mid-body",
}  # fmt: skip
INSTEAD = {"status", "html", "garbage", "empty", "other-shape", "redirect"}


class Faults:
    """The faults that are set. Safe for threads."""

    def __init__(self, services: Iterable[Service], elsewhere: Callable[[bool], str]) -> None:
        """Start without faults.

        Args:
            services: those whose error codes may be named.
            elsewhere: the base URL of a host that is not the cloud's, over TLS or not; redirects go there.
        """
        self._services = {service.name: service for service in services}
        self._elsewhere = elsewhere
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, where: str, kind: str, times: int | None, options: dict[str, Any]) -> None:
        """Set a fault.

        Raises:
            ValueError: nothing is called `where` or `kind`, so the fault would never strike.
        """
        name = where.partition(".")[0]
        services = list(self._services.values()) if name == "*" else [self._services.get(name)]
        if None in services:
            raise ValueError(f"no service is called {name!r}; there are {sorted(self._services)}")
        known = kind in CHANGES | DELIVERIES | INSTEAD
        if not known and not all(service and kind in _own_kinds(service) for service in services):
            raise ValueError(f"{kind!r} is neither a kind of fault nor an error code of {where!r}")
        with self._lock:
            self._faults.append(Fault(where, kind, times, options))

    def clear(self, where: str | None = None) -> None:
        """Remove the faults set for exactly `where`, or all, and release what hangs on them."""
        with self._lock:
            for fault in [fault for fault in self._faults if where in {None, fault.where}]:
                self._faults.remove(fault)
                fault.cleared.set()

    def strike(self, service: Service, request: Request) -> Struck:
        """Take the faults that are due for `request`."""
        with self._lock:
            due = [
                fault
                for fault in self._faults
                if fault.left != 0 and selects(fault.where, request.service, request.operation)
            ]
            for fault in due:
                if fault.left is not None:
                    fault.left -= 1
        struck = Struck(None, [], Delivery())
        for fault in due:
            request.faults.append(fault.kind)
            if fault.kind in DELIVERIES:
                _delivery(fault, struck.delivery)
            elif fault.kind in CHANGES or fault.kind in _edits(service.name):
                struck.changes.append(fault)
            elif struck.instead is None:
                struck.instead = self._instead(fault, service, request)
        return struck

    def _instead(self, fault: Fault, service: Service, request: Request) -> Answer:
        options = fault.options
        if fault.kind not in INSTEAD:
            status, message = service.errors.get(fault.kind, (400, "The request could not be carried out."))
            return service.refusal(request, fault.kind, options.get("status", status), options.get("message", message))
        status = options.get("status", 200)
        if fault.kind == "redirect":
            location = options.get("location", self._elsewhere(request.tls) + request.target)
            return Answer(options.get("status", 307), b"", {"Location": location})
        bodies: dict[str, tuple[bytes, str]] = {
            "status": (str(options.get("body", "")).encode(), options.get("content_type", "text/plain")),
            "html": (HTML, "text/html; charset=utf-8"),
            "garbage": (GARBAGE, options.get("content_type", "application/octet-stream")),
            "empty": (b"", options.get("content_type", "text/xml")),
            "other-shape": _other_shape(service.name),
        }
        body, content_type = bodies[fault.kind]
        return Answer(status, body, {"Content-Type": content_type})


def _edits(service: str) -> set[str]:
    return {*EDITS.get(service, ()), *DROPS.get(service, ())}


def _own_kinds(service: Service) -> set[str]:
    return _edits(service.name) | set(service.errors)


def _other_shape(service: str) -> tuple[bytes, str]:
    if service == "sts":
        return b'<?xml version="1.0"?>\n<Unexpected><Shape>yes</Shape></Unexpected>\n', "text/xml"
    return b'[{"unexpected": ["shape"]}]', "application/json"


def _delivery(fault: Fault, delivery: Delivery) -> None:
    seconds = fault.options.get("seconds")
    if fault.kind == "latency":
        delivery.waits.append((fault.cleared, float(0.05 if seconds is None else seconds)))
    elif fault.kind == "hang":
        delivery.waits.append((fault.cleared, seconds))
    elif fault.kind == "trickle":
        delivery.trickle_s = float(0.1 if seconds is None else seconds)
    elif fault.kind in {"cut", "reset"}:
        delivery.before = fault.kind
    else:
        delivery.middle = fault.kind.partition("-")[0]
        delivery.middle_released = fault.cleared


def changed(service: str, answer: Answer, fault: Fault, now_s: float) -> Answer:
    """The answer of `service` as `fault` changes it; one that has no fields to change stays as it is."""
    kind, options = fault.kind, fault.options
    if kind == "truncate":
        return replace(answer, body=answer.body[: len(answer.body) // 2])
    if kind == "huge":
        return replace(answer, body=answer.body.ljust(options.get("bytes", HUGE_BYTES)))
    if kind == "as-status":
        return replace(answer, status=options["status"])
    if kind in {"content-type", "header", "no-header"}:
        name = options.get("name", "Content-Type")
        headers = {each: value for each, value in answer.headers.items() if each.lower() != name.lower()}
        if kind != "no-header":
            headers[name] = options.get("value", "application/octet-stream")
        return replace(answer, headers=headers)
    if answer.render is None:
        return answer
    document = copy.deepcopy(answer.document)
    _edit(service, document, fault, now_s)
    return replace(answer, document=document, body=answer.render(document))


def _edit(service: str, document: Any, fault: Fault, now_s: float) -> None:
    """Change the fields of an answer's document."""
    if fault.kind in {"set", "drop"}:
        for path in fault.options["fields"]:
            if fault.kind == "set":
                set_path(document, path, fault.options["fields"][path])
            else:
                drop_path(document, path)
        return
    edits, drops = EDITS.get(service, {}), DROPS.get(service, {})
    # These are set for whole services too, some of whose answers have other fields.
    with contextlib.suppress(LookupError, TypeError):
        for path, value in (edits[fault.kind](now_s) if fault.kind in edits else {}).items():
            set_path(document, path, value)
        for path in drops.get(fault.kind, ()):
            drop_path(document, path)
