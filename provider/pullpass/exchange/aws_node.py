"""The node's own keys: from EC2's instance metadata service, version 2, or from a container credentials endpoint.

It is the part of the SDK's chain that belongs to a node. Profiles, credential files and keys in the environment belong
to whoever runs a program there, and are not looked at.

* Where the environment has `AWS_CONTAINER_CREDENTIALS_RELATIVE_URI` or `..._FULL_URI`, that endpoint is asked and
  nothing else, as in the SDK's chain; its authorization comes from `AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE` or
  `..._TOKEN`. They are the interface of ECS, of EKS Pod Identity and of what imitates them, and can't be had otherwise.
* Else the metadata service of `node.aws_metadata` is asked. Version 1, which answers whoever can make a process on the
  node fetch a URL, is never spoken: what does not hand out a session token is not asked for keys.
* Both are asked over plain http on loopback and on the node's own link, by address, and nowhere else. The SDK would
  send the authorization to any https host that the environment names; no node has its own keys there.
* A node without such a service must not hold up a pull, so that a request is given up early.

botocore's fetchers were not taken: they ask through their own transport, obey the environment's proxies, and fall back
to version 1 unless they are told not to.
"""

from __future__ import annotations

import json
import re
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pullpass import __version__
from pullpass.clock import Deadline
from pullpass.config.forms import is_metadata_host
from pullpass.errors import CLOUD_UNREACHABLE, PullpassError, outside
from pullpass.exchange import aws_answers, retry
from pullpass.exchange.aws_answers import Session
from pullpass.exchange.redaction import Redactor
from pullpass.exchange.transport import Transport
from pullpass.secret import Secret
from pullpass.store import files

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pullpass.clock import Clock
    from pullpass.exchange.transport import Answer

RELATIVE_URI = "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"
FULL_URI = "AWS_CONTAINER_CREDENTIALS_FULL_URI"
TOKEN_FILE = "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"  # noqa: S105 - the name of a variable
TOKEN = "AWS_CONTAINER_AUTHORIZATION_TOKEN"  # noqa: S105
VARIABLES = frozenset({RELATIVE_URI, FULL_URI, TOKEN_FILE, TOKEN})
# Where a relative URI is; ECS developer guide, "Task IAM role".
CONTAINER_URL = "http://169.254.170.2"
TOKEN_LIMIT_BYTES = 16 * 1024

# EC2 user guide, "Use the Instance Metadata Service".
SESSION_PATH = "/latest/api/token"
ROLE_PATH = "/latest/meta-data/iam/security-credentials/"
# Enough for the two requests that follow.
SESSION_S = 60
# For all attempts at one request. The SDK gives each a second; the first answer after a boot may take that long.
REQUEST_LIMIT_S = 2.0

INSTANCE = "the instance metadata service"
CONTAINER = "the container credentials endpoint"
_ROLE_NAME = re.compile(r"[\w+=,.@-]{1,64}", re.ASCII)


def session(
    metadata_url: str,
    environment: Mapping[str, str],
    deadline: Deadline,
    clock: Clock,
    jitter: Callable[[], float],
) -> Session:
    """The node's own keys.

    Args:
        metadata_url: base URL of the instance metadata service.
        environment: of the process; only `VARIABLES` are looked at.
        deadline: of the whole run.
        clock: the run's clock.
        jitter: a number from 0 up to 1, for the waits between attempts.

    Raises:
        PullpassError: `aws-metadata-unreachable`, `aws-metadata-denied`, `aws-metadata-foreign`, `aws-node-role`,
            `aws-container-credentials`, `cloud-answer-expired`.
    """
    url, authorization = container(environment)
    if not url:
        return _instance_session(metadata_url.rstrip("/"), _Service(INSTANCE, deadline, clock, jitter))
    service = _Service(CONTAINER, deadline, clock, jitter)
    headers = {"Accept": "application/json"}
    if authorization:
        service.redacted.add(authorization)
        headers["Authorization"] = authorization.reveal()
    codes = {400: "aws-metadata-denied", 404: "aws-node-role"}  # so say ECS and the agent of EKS
    document = service.document(service.ask("GET", url, headers, codes))
    arn = document.get("RoleArn")  # of ECS
    return service.keys(document, str(arn) if aws_answers.is_word(arn) else "")


def container(environment: Mapping[str, str]) -> tuple[str, Secret | None]:
    """URL and authorization of the container credentials endpoint that the environment names; or "" and None.

    Raises:
        PullpassError: `aws-container-credentials`.
    """
    relative, full = environment.get(RELATIVE_URI, ""), environment.get(FULL_URI, "")
    url = f"{CONTAINER_URL}{relative}" if relative else full
    if not url:
        return "", None
    name = RELATIVE_URI if relative else FULL_URI
    usable = relative[:1] in ("", "/")  # anything else would go on with the address
    try:
        parts = urlsplit(url)
        usable = usable and parts.scheme == "http" and is_metadata_host(parts.hostname or "") and parts.port != 0
    except ValueError:
        usable = False
    if not usable or parts.username is not None or not aws_answers.is_word(url):
        raise PullpassError(
            "aws-container-credentials",
            f"{name} must lead to a link-local or loopback address over http, and leads to '{outside(url, 128)}'",
        )
    return url, _authorization(environment)


def _authorization(environment: Mapping[str, str]) -> Secret | None:
    text, name = environment.get(TOKEN, ""), TOKEN
    if path := environment.get(TOKEN_FILE, ""):
        name = TOKEN_FILE
        try:
            text = files.read_regular(path, TOKEN_LIMIT_BYTES, follow=True)[0].decode("ascii").strip()
        except OSError as error:
            raise PullpassError(
                "aws-container-credentials", f"{name}: {outside(path)} can't be read: {error.strerror}"
            ) from None
        except UnicodeDecodeError:
            text = "\n"
    if not (text.isascii() and text.isprintable()):
        raise PullpassError("aws-container-credentials", f"what {name} holds can't stand in a header of HTTP")
    return Secret(text) if text else None


def _instance_session(metadata_url: str, service: _Service) -> Session:
    answer = service.ask(
        "PUT", f"{metadata_url}{SESSION_PATH}", {"X-aws-ec2-metadata-token-ttl-seconds": str(SESSION_S)}
    )
    token = answer.body.decode("ascii", "replace")
    if not aws_answers.is_word(token):
        raise PullpassError("aws-metadata-foreign", f"{INSTANCE}: {service.answered} is no session token")
    service.redacted.add(Secret(token))
    headers = {"X-aws-ec2-metadata-token": token}
    codes = {404: "aws-node-role"}
    answer = service.ask("GET", f"{metadata_url}{ROLE_PATH}", headers, codes)
    name = answer.body.decode("ascii", "replace").strip()
    if not name:
        raise PullpassError("aws-node-role", f"{INSTANCE} names no role of this node")
    if not _ROLE_NAME.fullmatch(name):
        raise PullpassError("aws-metadata-foreign", f"{INSTANCE}: {service.answered} is not the name of a role")
    document = service.document(service.ask("GET", f"{metadata_url}{ROLE_PATH}{name}", headers, codes))
    return service.keys(document, f"role/{name}")


class _Service:
    """A service on the node's own link, which is asked within `REQUEST_LIMIT_S` each time.

    Attributes:
        redacted: blanks, in what is told, what was sent.
        answered: the newest answer in a few words.
    """

    def __init__(self, what: str, deadline: Deadline, clock: Clock, jitter: Callable[[], float]) -> None:
        self._what = what
        self._deadline = deadline
        self._clock = clock
        self._jitter = jitter
        self.redacted = Redactor((), ())
        self.answered = ""

    def ask(
        self, method: str, url: str, headers: dict[str, str], codes: Mapping[int, str] = MappingProxyType({})
    ) -> Answer:
        """Send a request, and again while nothing answers and there is time.

        Args:
            method: of HTTP.
            url: of a service on the node's own link.
            headers: besides those that HTTP needs.
            codes: those of the errors for some statuses of HTTP, besides 401 and 403.
        """
        limit = Deadline(self._clock, min(REQUEST_LIMIT_S, self._deadline.remaining_s()))
        transport = Transport(limit, self._clock, "", metadata=True)
        headers = {"User-Agent": f"pullpass/{__version__}", **headers}

        def attempt() -> Answer:
            try:
                return transport.send(method, url, headers, None)
            except PullpassError as error:
                raise PullpassError(error.code, self.redacted.what(error), error.hint) from None

        def work() -> Answer:
            return retry.persistently(attempt, limit, self._clock, self._jitter)

        try:
            answer = limit.run(work, f"{method} {urlsplit(url).path}")
        except PullpassError as error:
            if error.code == "internal":
                raise
            code = "aws-metadata-unreachable" if error.upstream == CLOUD_UNREACHABLE else "aws-metadata-foreign"
            raise self._error(code, error.what) from None
        self.answered = transport.answered
        if answer.status != 200:
            code = "aws-metadata-denied" if answer.status in (401, 403) else "aws-metadata-foreign"
            raise self._error(codes.get(answer.status, code), self.answered)
        return answer

    def document(self, answer: Answer) -> dict[str, Any]:
        """The JSON object of an answer, which must not say that there are no keys."""
        try:
            document = json.loads(answer.body)
        except (ValueError, RecursionError):
            document = None
        if not isinstance(document, dict):
            raise self._error("aws-metadata-foreign", f"{self.answered} is no JSON object")
        code = str(document.get("Code") or "Success")
        if code != "Success":
            # EC2 may not assume the role that it says the instance has.
            message = outside(self.redacted(str(document.get("Message") or "")))
            raise self._error("aws-node-role", f"{outside(self.redacted(code), 64)}: {message}")
        return document

    def keys(self, document: dict[str, Any], principal: str) -> Session:
        """The session in a document."""
        ends = document.get("Expiration")
        # Seconds since the epoch are ECR's way alone.
        fields = document | {"Expiration": aws_answers.timestamp(ends) if isinstance(ends, str) else None}
        code = "aws-metadata-foreign"
        return Session(
            access_key_id=aws_answers.word(self._what, fields, "AccessKeyId", code),
            secret_key=Secret(aws_answers.word(self._what, fields, "SecretAccessKey", code)),
            token=Secret(aws_answers.word(self._what, fields, "Token", code)),
            expires_s=aws_answers.moment(self._what, fields, "Expiration", self._clock.now_s(), code),
            principal=principal,
        )

    def _error(self, code: str, what: str) -> PullpassError:
        return PullpassError(code, f"{self._what}: {what}")
