"""Answers, refusals, and what every service of the cloud has in common."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from cloud.records import Request


@dataclass
class Answer:
    """What goes back.

    Attributes:
        status: the HTTP status.
        body: the bytes of the body, also for HEAD (where only their length is sent).
        headers: names as they are sent.
        code: the error code, for the journal.
        document: what `body` was rendered from, so that a fault can change one field of a real answer.
        render: makes the body from a changed `document`.
    """

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)
    code: str | None = None
    document: Any = None
    render: Callable[[Any], bytes] | None = None


class Refused(Exception):  # noqa: N818 - it is an answer, not a defect
    """A service says no.

    Attributes:
        code: a key of the service's `errors`.
        message: the text, the table's own when not given.
    """

    def __init__(self, code: str, message: str | None = None) -> None:
        """Make the refusal."""
        super().__init__(code, message)
        self.code = code
        self.message = message


class Lost(Exception):  # noqa: N818 - likewise
    """The answer never reaches whoever asked."""


class Service(Protocol):
    """One of the services that share the doors; a further cloud is a further module with one of these."""

    name: str
    errors: Mapping[str, tuple[int, str]]
    """Error code -> (HTTP status, the usual message). A fault may name any of them."""

    def operation(self, request: Request) -> str | None:
        """The operation that `request` asks for, or None when it is not for this service; fills `parameters`."""

    def answer(self, request: Request) -> Answer:
        """Do what is asked.

        Raises:
            Refused: the service says no.
            Lost: the network lets no answer through.
        """

    def refusal(self, request: Request, code: str, status: int, message: str) -> Answer:
        """An error in this service's own form."""


def request_id() -> str:
    """A request id of AWS's form."""
    return str(uuid.uuid4())
