"""AWS Signature Version 4, verified: who signed a request, and whether they did.

The mathematics is botocore's, so that the verifier and the signer under test share no code of ours. Error codes and
texts are those of AWS's JSON services; the order of the checks is theirs as well as far as it shows.
"""

from __future__ import annotations

import calendar
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from cloud.answers import Refused
from cloud.hosts import partition_of

if TYPE_CHECKING:
    from cloud.records import Request
    from cloud.world import Session, World

SKEW_S = 300
_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/, ]+)/(\d{8})/([^/, ]+)/([^/, ]+)/aws4_request, *"
    r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})"
)
_STAMP = "%Y%m%dT%H%M%SZ"


class Signature(NamedTuple):
    """An `Authorization` header, taken apart."""

    access_key: str
    date: str
    region: str
    service: str
    signed: list[str]
    signature: str


def verified(world: World, request: Request, service: str, region: str | None, now_s: float) -> Session:
    """The session that signed `request`.

    Args:
        world: where the sessions are.
        request: the request; its `region` becomes the one that was signed for.
        service: the service that must have been signed for.
        region: the region that must have been signed for, where the host says one.
        now_s: the cloud's time.

    Raises:
        Refused: as AWS would.
    """
    parsed = _parsed(request)
    request.region = request.region or parsed.region
    stamp = request.headers.get("x-amz-date", "")
    _check_time(stamp, now_s)
    if parsed.service != service:
        raise Refused("InvalidSignatureException", f"Credential should be scoped to correct service: '{service}'.")
    if region not in {None, parsed.region}:
        raise Refused(
            "InvalidSignatureException",
            f"Credential should be scoped to a valid region, not '{parsed.region}'.",
        )
    session = world.sessions.get(parsed.access_key)
    foreign = session is not None and session.partition != partition_of(parsed.region)
    if session is None or foreign or session.token != request.headers.get("x-amz-security-token"):
        raise Refused("UnrecognizedClientException")
    if not {"host", "x-amz-date", "x-amz-security-token"} <= set(parsed.signed):
        raise Refused("InvalidSignatureException", "'Host' or an x-amz-* header must be a 'SignedHeader' in the AWS "
                      "Authorization.")  # fmt: skip
    if parsed.date != stamp[:8] or _expected(parsed, session, request, stamp) != parsed.signature:
        raise Refused("InvalidSignatureException")
    if now_s >= session.expires_s:
        raise Refused("ExpiredTokenException")
    return session


def _parsed(request: Request) -> Signature:
    header = request.headers.get("authorization")
    if header is None:
        raise Refused("MissingAuthenticationTokenException")
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise Refused("IncompleteSignatureException")
    access_key, date, region, service, signed, signature = match.groups()
    return Signature(access_key, date, region, service, signed.split(";"), signature)


def _check_time(stamp: str, now_s: float) -> None:
    try:
        signed_s = calendar.timegm(time.strptime(stamp, _STAMP))
    except ValueError:
        raise Refused(
            "IncompleteSignatureException", f"Date must be in ISO-8601 'basic format'. Got '{stamp}'."
        ) from None
    now, off_s = time.strftime(_STAMP, time.gmtime(now_s)), now_s - signed_s
    edge = time.strftime(_STAMP, time.gmtime(now_s - SKEW_S if off_s > 0 else now_s + SKEW_S))
    if off_s > SKEW_S:
        raise Refused("InvalidSignatureException",
                      f"Signature expired: {stamp} is now earlier than {edge} ({now} - 5 min.)")  # fmt: skip
    if off_s < -SKEW_S:
        raise Refused("InvalidSignatureException",
                      f"Signature not yet current: {stamp} is still later than {edge} ({now} + 5 min.)")  # fmt: skip


def _expected(parsed: Signature, session: Session, request: Request, stamp: str) -> str:
    # Imported here: it costs ten times what the rest of the cloud does, and many uses never sign anything.
    from botocore.auth import SigV4Auth  # noqa: PLC0415
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415
    from botocore.credentials import Credentials  # noqa: PLC0415

    # Every payload is hashed over plain HTTP and, in ECR, over TLS too.
    headers = {name: request.headers[name] for name in parsed.signed if name in request.headers}
    query = f"?{request.query}" if request.query else ""
    signed = AWSRequest(
        method=request.method,
        url=f"http://{headers.get('host', '')}{request.path}{query}",
        headers=headers,
        data=request.body,
    )
    signed.context["timestamp"] = stamp
    auth = SigV4Auth(Credentials(session.access_key, session.secret_key, session.token), parsed.service, parsed.region)
    return str(auth.signature(auth.string_to_sign(signed, auth.canonical_request(signed)), signed))
