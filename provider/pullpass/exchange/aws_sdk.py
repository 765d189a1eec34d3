"""boto3 as a maker, signer and parser of requests, with everything else taken out of its hands; its only home.

* Requests go through `exchange.transport`, by the SDK's `before-send` event, and only to the host that the plan names.
* It tries once; `exchange.retry` tries again.
* Its environment variables are dropped from this process before the first session is made, its files are not read, and
  its data comes from its own package alone, so no variable, profile, rule set or metadata service has a say. Dropping
  the variables by their prefixes was chosen over overriding every place that reads one: such a list would have to
  follow each release of the SDK, and nothing else in a process of pullpass needs them. The exception is what names a
  node's container credentials, which `exchange.aws_node` reads; of the SDK only its credential chain would, and that
  is empty.
* Whatever it raises becomes an error of ours here. Real AWS's messages say what they were given: nothing of the token,
  or of a credential, gets into an error.
"""

from __future__ import annotations

import io
import logging
import os
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore import UNSIGNED, xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.credentials import CredentialResolver
from botocore.exceptions import ClientError
from botocore.loaders import Loader

from pullpass import __version__
from pullpass.errors import PullpassError, outside
from pullpass.exchange import aws_answers, aws_errors, retry, trust
from pullpass.exchange.aws_node import VARIABLES as NODE_VARIABLES
from pullpass.exchange.transport import Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pullpass.clock import Clock, Deadline
    from pullpass.exchange.aws_answers import Session
    from pullpass.exchange.redaction import Redactor

# What begins like this is read by botocore, boto3 or the TLS module somewhere, or is put there by AWS for them.
SDK_VARIABLES = ("AWS_", "BOTO", "_X_AMZN_", "REQUESTS_CA_BUNDLE", "SSLKEYLOGFILE")


class Place(NamedTuple):
    """Where calls go.

    Attributes:
        url: base URL.
        region: that requests are signed for.
    """

    url: str
    region: str


class Sdk:
    """Makes calls within the deadline.

    Attributes:
        request_ids: AWS's ids of the calls that it answered, in order.
    """

    def __init__(
        self, ca_bundle: str, redacted: Redactor, deadline: Deadline, clock: Clock, jitter: Callable[[], float]
    ) -> None:
        """Make a session of the SDK that knows nothing but what it is given, and logs nothing of it.

        Args:
            ca_bundle: path of a PEM file, or "" for the system's store.
            redacted: blanks what must not be shown; the sessions whose keys are used are told to it.
            deadline: of the whole run.
            clock: the run's clock.
            jitter: a number from 0 up to 1, for the waits between attempts.
        """
        self.request_ids: list[str] = []
        self._transport = Transport(deadline, clock, ca_bundle)
        self._redacted = redacted
        self._deadline = deadline
        self._clock = clock
        self._jitter = jitter
        trust.empty()  # The SDK makes a context too, which it never uses, and can't say what is wrong when that fails.
        _drop_variables()
        self._session = boto3.Session(botocore_session=_isolated())

    def call(
        self, action: str, place: Place, parameters: dict[str, Any], session: Session | None = None
    ) -> dict[str, Any]:
        """Make a call, and make it again while AWS can't be reached.

        Args:
            action: as IAM names it: `sts:AssumeRole`.
            place: where to.
            parameters: of the call.
            session: whose keys sign it; None for a call without a signature.

        Raises:
            PullpassError: always one of these, whatever the SDK raises.
        """
        if session:
            self._redacted.add(session.secret_key, session.token)
        service, _, operation = action.partition(":")
        client = self._client(service, place, session)
        method = getattr(client, xform_name(operation))

        def attempt() -> dict[str, Any]:
            return self._attempt(action, lambda: method(**parameters))

        def work() -> dict[str, Any]:
            return retry.persistently(attempt, self._deadline, self._clock, self._jitter)

        answer = self._deadline.run(work, f"{action} at {place.url}")
        if request_id := _request_id(answer):
            self.request_ids.append(outside(self._redacted(request_id), 64))
        return answer

    def _client(self, service: str, place: Place, session: Session | None) -> Any:
        """A client whose requests go through the transport to `place`, signed with a session's keys or not at all."""
        # `Any`: the stubs know neither the marker for "unsigned" nor that absent keys may be None.
        options: Any = {"retries": {"mode": "standard", "total_max_attempts": 1}}
        keys: Any = {}
        if session is None:
            options["signature_version"] = UNSIGNED
        else:
            keys["aws_access_key_id"] = session.access_key_id
            keys["aws_secret_access_key"] = session.secret_key.reveal()
            keys["aws_session_token"] = session.token.reveal()
        config = Config(user_agent_extra=f"pullpass/{__version__}", **options)
        make: Any = self._session.client
        client = make(service, region_name=place.region, endpoint_url=place.url, config=config, **keys)
        client.meta.events.register(
            f"before-send.{service}", lambda request, **_: _send(request, place.url, self._transport)
        )
        return client

    def _attempt(self, action: str, call: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Make a call once, and turn whatever the SDK raises into an error of ours."""
        try:
            return call()
        except PullpassError as error:  # from the transport
            raise PullpassError(error.code, f"{action}: {self._redacted.what(error)}", error.hint) from None
        except ClientError as error:
            response: Any = error.response
        except Exception as error:  # noqa: BLE001 - the SDK's parsers raise anything, and quote the body in it
            what = f"{action}: {self._transport.answered} can't be understood ({type(error).__name__})"
            raise PullpassError("cloud-answer", what) from None
        status = response["ResponseMetadata"]["HTTPStatusCode"]
        said = response.get("Error", {})
        code, message = str(said.get("Code") or ""), str(said.get("Message") or "")
        if code in ("", str(status)):
            # The SDK found no code of AWS's and puts the status there, with the whole body as its message.
            raise PullpassError("cloud-answer", f"{action}: {self._transport.answered} has no error code of AWS")
        texts = map(self._redacted, (code, message, _request_id(response)))
        raise aws_errors.refusal(action, status, *texts)


class _OwnData(Loader):
    """The SDK's data about services, from its own package alone.

    By default ~/.aws/models comes first, and a rule set there sends requests anywhere.
    """

    def __init__(self) -> None:
        super().__init__(extra_search_paths=[Loader.BUILTIN_DATA_PATH], include_default_search_paths=False)

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the base class's signature
        """Those that are asked for; finding them among four hundred takes a third of the time of making a client."""
        return ["ecr", "ecr-public", "sts"]


def _drop_variables() -> None:
    for name in list(os.environ):
        if name.startswith(SDK_VARIABLES) and name not in NODE_VARIABLES:
            os.environ.pop(name, None)


def _isolated() -> botocore.session.Session:
    for name in ("boto3", "botocore"):
        # At DEBUG it writes the token and the secret key.
        logging.getLogger(name).setLevel(logging.WARNING)
    session = botocore.session.Session()
    session.set_config_variable("config_file", os.devnull)
    session.set_config_variable("credentials_file", os.devnull)
    session.register_component("data_loader", _OwnData())
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=aws_answers.timestamp)
    # Without keys the SDK would go through a chain of providers, up to the metadata service.
    session.register_component("credential_provider", CredentialResolver([]))
    return session


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


def _request_id(response: Any) -> str:
    return str(response.get("ResponseMetadata", {}).get("RequestId") or "")
