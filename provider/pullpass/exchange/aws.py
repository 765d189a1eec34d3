"""A pod's token for an ECR password: AssumeRoleWithWebIdentity, then GetAuthorizationToken.

boto3 makes, signs and parses the requests; everything else is taken out of its hands:

* Requests go through `exchange.transport`, by the SDK's `before-send` event, and only to the host that the plan names.
* It tries once; `exchange.retry` tries again.
* Its environment variables are dropped from this process before the first session is made, its files are not read, and
  its data comes from its own package alone, so no variable, profile, rule set or metadata service has a say. Dropping
  the variables by their prefixes was chosen over overriding every place that reads one: such a list would have to
  follow each release of the SDK, and nothing else in a process of pullpass needs them.
* What it returns is checked field by field, because its parsers take a good deal of nonsense without a word, and answer
  the rest with any exception there is.

Real AWS's messages say what they were given. Nothing of the token or of a credential gets into an error.
"""

from __future__ import annotations

import base64
import io
import logging
import os
import random
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import UNSIGNED
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from pullpass import __version__, registry
from pullpass.errors import PullpassError, outside
from pullpass.exchange import Credential, aws_errors, retry
from pullpass.exchange.transport import Transport
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange.plan_aws import AwsPlan

ASSUME_ROLE = "sts:AssumeRoleWithWebIdentity"
GET_PASSWORD = "ecr:GetAuthorizationToken"  # noqa: S105 - the name of a call
# What begins like this is read by botocore, boto3 or the TLS module somewhere, or is put there by AWS for them.
SDK_VARIABLES = ("AWS_", "BOTO", "_X_AMZN_", "REQUESTS_CA_BUNDLE", "SSLKEYLOGFILE")
# Clocks that are further apart make AWS refuse our signature anyway.
SKEW_S = 300
USERNAME = "AWS"


class Session(NamedTuple):
    """What STS gave.

    Attributes:
        access_key_id: not secret; AWS's own log names it.
        secret_key: signs requests.
        token: goes with them.
        expires_s: its end, seconds since the epoch.
        principal: the session's ARN.
    """

    access_key_id: str
    secret_key: Secret
    token: Secret
    expires_s: float
    principal: str


def exchange(
    plan: AwsPlan, token: Secret, deadline: Deadline, clock: Clock, jitter: Callable[[], float] = random.random
) -> Credential:
    """Exchange a pod's token for an ECR password; see `exchange.Exchanger`.

    Args:
        plan: what to send.
        token: the pod's service-account token.
        deadline: of the whole run.
        clock: the run's clock.
        jitter: a number from 0 up to 1, for the waits between attempts.

    Raises:
        PullpassError: a code of one of the sections "exchange" of `errors`, `ca-bundle` or `proxy`.
    """
    sdk = _isolated_sdk(plan.region)
    transport = Transport(deadline, clock, plan.ca_bundle)

    def ask(action: str, url: str, call: Callable[[], dict[str, Any]], secrets: tuple[Secret, ...]) -> dict[str, Any]:
        def work() -> dict[str, Any]:
            return retry.persistently(lambda: _attempt(action, call, transport, secrets), deadline, clock, jitter)

        return deadline.run(work, f"{action} at {url}")

    sts = _client(sdk, "sts", plan.sts_url, transport)
    policy = {"Policy": plan.session_policy} if plan.session_policy else {}
    assumed = ask(
        ASSUME_ROLE,
        plan.sts_url,
        lambda: sts.assume_role_with_web_identity(
            RoleArn=plan.identity,
            RoleSessionName=plan.session_name,
            WebIdentityToken=token.reveal(),
            DurationSeconds=plan.duration_s,
            **policy,
        ),
        (token,),
    )
    session = _read_session(assumed, plan, clock.now_s())
    ecr = _client(sdk, "ecr", plan.ecr_url, transport, session)
    answer = ask(GET_PASSWORD, plan.ecr_url, ecr.get_authorization_token, (token, session.secret_key, session.token))
    password, expires_s = _read_password(answer, clock.now_s())
    return Credential(
        username=USERNAME,
        secret=password,
        registry_expires_s=expires_s,
        session_expires_s=session.expires_s,
        principal=session.principal,
        access_key_id=session.access_key_id,
        request_ids=tuple(outside(name, 64) for name in map(_request_id, (assumed, answer)) if name),
    )


class _OwnData(Loader):
    """The SDK's data about services, from its own package alone.

    By default ~/.aws/models comes first, and a rule set there sends requests anywhere.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the base class's signature
        """The two that are asked for; finding them among four hundred takes a third of the time of making a client."""
        return ["ecr", "sts"]


def _isolated_sdk(region: str) -> boto3.Session:
    """A session of the SDK that knows nothing but what it is given, and logs nothing of it."""
    for name in list(os.environ):
        if name.startswith(SDK_VARIABLES):
            os.environ.pop(name, None)
    for name in ("boto3", "botocore"):
        # At DEBUG it writes the token and the secret key.
        logging.getLogger(name).setLevel(logging.WARNING)
    session = botocore.session.Session()
    session.set_config_variable("config_file", os.devnull)
    session.set_config_variable("credentials_file", os.devnull)
    session.register_component("data_loader", _OwnData())
    return boto3.Session(botocore_session=session, region_name=region)


def _client(sdk: boto3.Session, service: str, url: str, transport: Transport, session: Session | None = None) -> Any:
    """A client whose requests go through `transport` to `url`, signed with a session's keys or not at all."""
    # `Any`: the stubs know neither the marker for "unsigned" nor that absent keys may be None.
    options: Any = {"retries": {"mode": "standard", "total_max_attempts": 1}}
    keys: Any = {}
    if session is None:
        # Not just without keys: then the SDK would look for some, and ask the metadata service.
        options["signature_version"] = UNSIGNED
    else:
        keys["aws_access_key_id"] = session.access_key_id
        keys["aws_secret_access_key"] = session.secret_key.reveal()
        keys["aws_session_token"] = session.token.reveal()
    config = Config(user_agent_extra=f"pullpass/{__version__}", **options)
    make: Any = sdk.client
    client = make(service, endpoint_url=url, config=config, **keys)
    client.meta.events.register(f"before-send.{service}", lambda request, **_: _send(request, url, transport))
    return client


class _Body(io.BytesIO):
    """A body in the form in which the SDK reads one."""

    def stream(self) -> Iterator[bytes]:
        yield self.read()


def _send(request: Any, url: str, transport: Transport) -> AWSResponse:
    """Answer the SDK's `before-send` event, so that it sends nothing itself."""
    asked, planned = urlsplit(request.url), urlsplit(url)
    if (asked.scheme, asked.hostname, asked.port) != (planned.scheme, planned.hostname, planned.port):
        raise PullpassError("internal", f"the SDK would send to {outside(asked.netloc)}, and the plan says {url}")
    headers = {
        name: value.decode("latin-1") if isinstance(value, bytes) else value for name, value in request.headers.items()
    }
    body = request.body.encode() if isinstance(request.body, str) else request.body
    answer = transport.send(request.method, request.url, headers, body)
    received = HTTPHeaders()
    for name, value in answer.headers:
        received[name] = value
    return AWSResponse(request.url, answer.status, received, _Body(answer.body))


def _attempt(
    action: str, call: Callable[[], dict[str, Any]], transport: Transport, secrets: tuple[Secret, ...]
) -> dict[str, Any]:
    """Make a call once, and turn whatever the SDK raises into an error of ours.

    Raises:
        PullpassError: always one of these.
    """
    try:
        return call()
    except PullpassError as error:  # from the transport
        raise PullpassError(error.code, f"{action}: {_redact(error.what, secrets)}", error.hint) from None
    except ClientError as error:
        response: Any = error.response
    except Exception as error:  # noqa: BLE001 - the SDK's parsers raise anything, and quote the body in it
        what = f"{action}: {transport.answered} can't be understood ({type(error).__name__})"
        raise PullpassError("cloud-answer", what) from None
    status = response["ResponseMetadata"]["HTTPStatusCode"]
    said = response.get("Error", {})
    code, message = str(said.get("Code") or ""), str(said.get("Message") or "")
    if code in ("", str(status)):
        # The SDK found no code of AWS's and puts the status there, with the whole body as its message.
        raise PullpassError("cloud-answer", f"{action}: {transport.answered} has no error code of AWS")
    texts = [_redact(text, secrets) for text in (code, message, _request_id(response))]
    raise aws_errors.refusal(action, status, *texts)


def _redact(text: str, secrets: tuple[Secret, ...]) -> str:
    """`text` without any of `secrets`, and without the parts of a token."""
    for secret in secrets:
        for part in (secret.reveal(), *secret.reveal().split(".")):
            if part:
                text = text.replace(part, "[redacted]")
    return text


def _request_id(response: Any) -> str:
    return str(response.get("ResponseMetadata", {}).get("RequestId") or "")


def _read_session(answer: dict[str, Any], plan: AwsPlan, now_s: float) -> Session:
    """The session in STS's answer, if it is the one that was asked for.

    Raises:
        PullpassError: `cloud-answer` or `cloud-answer-expired`.
    """
    credentials = answer.get("Credentials") or {}
    role = registry.parse_role(plan.identity)
    expected = f"{role.account}:assumed-role/{role.path_and_name.rpartition('/')[2]}/{plan.session_name}"
    principal = _word(ASSUME_ROLE, answer.get("AssumedRoleUser") or {}, "Arn")
    if principal.partition(":sts::")[2] != expected:
        raise PullpassError("cloud-answer", f"{ASSUME_ROLE}: the session is {outside(principal)}, not {expected}")
    expires_s = _moment(ASSUME_ROLE, credentials, "Expiration", now_s)
    if expires_s > now_s + plan.duration_s + SKEW_S:
        raise PullpassError(
            "cloud-answer-expired",
            f"{ASSUME_ROLE}: the session ends in {expires_s - now_s:.0f}s, and {plan.duration_s}s were asked for",
        )
    return Session(
        access_key_id=_word(ASSUME_ROLE, credentials, "AccessKeyId"),
        secret_key=Secret(_word(ASSUME_ROLE, credentials, "SecretAccessKey")),
        token=Secret(_word(ASSUME_ROLE, credentials, "SessionToken")),
        expires_s=expires_s,
        principal=principal,
    )


def _read_password(answer: dict[str, Any], now_s: float) -> tuple[Secret, float]:
    """The password in ECR's answer, and its end in seconds since the epoch.

    Raises:
        PullpassError: `cloud-answer` or `cloud-answer-expired`.
    """
    entries = answer.get("authorizationData")
    if not entries or not entries[0]:
        raise PullpassError("cloud-answer", f"{GET_PASSWORD}: the answer has no authorizationData")
    expires_s = _moment(GET_PASSWORD, entries[0], "expiresAt", now_s)
    encoded = _word(GET_PASSWORD, entries[0], "authorizationToken")
    try:
        username, _, password = base64.b64decode(encoded, validate=True).decode("ascii").partition(":")
    except ValueError:  # binascii.Error and UnicodeDecodeError are two of them
        username, password = "", ""
    if username != USERNAME or not _is_word(password):
        raise PullpassError(
            "cloud-answer", f"{GET_PASSWORD}: the authorizationToken is not `{USERNAME}:` and a password"
        )
    return Secret(password), expires_s


def _is_word(value: object) -> bool:
    return isinstance(value, str) and value != "" and value.isascii() and value.isprintable() and " " not in value


def _word(action: str, document: dict[str, Any], name: str) -> str:
    """A field that must be there and be text without blanks."""
    value = document.get(name)
    if not _is_word(value):
        raise PullpassError("cloud-answer", f"{action}: the answer has no usable {name}")
    return str(value)


def _moment(action: str, document: dict[str, Any], name: str, now_s: float) -> float:
    """A field that must be a time in the future, in seconds since the epoch."""
    value = document.get(name)
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise PullpassError("cloud-answer", f"{action}: the answer has no usable {name}")
    moment_s = value.timestamp()
    if moment_s <= now_s:
        raise PullpassError("cloud-answer-expired", f"{action}: {name} passed {now_s - moment_s:.0f}s ago")
    return moment_s
