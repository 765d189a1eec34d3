"""Servers and proxies that give back what they were sent, in any place of an answer: none of it reaches stderr."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, NamedTuple

import pytest

from integration import exchanging, exchanging_gcp
from integration.exchanging import make_plan, refused, shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from cloud import Cloud
    from integration.raw import RawServer
    from pullpass.errors import PullpassError
    from pullpass.exchange.plan_aws import AwsPlan

AWS = "sts.AssumeRoleWithWebIdentity"
GOOGLE = "gsts.token"


def signature(token: str) -> str:
    """The third part."""
    return token.rpartition(".")[2]


def wrapped(text: str, width: int) -> str:
    """In lines."""
    return "\n".join(text[start : start + width] for start in range(0, len(text), width))


# How the echo is written, and what may be left of it.
WRITINGS: dict[str, Callable[[str], str]] = {
    "token": lambda token: token,
    "signature": signature,
    "one character short": lambda token: signature(token)[:-1],
    "without its beginning": lambda token: signature(token)[5:],
    "twenty characters": lambda token: signature(token)[10:30],
    "words": lambda token: wrapped(signature(token), 20).replace("\n", " "),
    "narrow lines": lambda token: wrapped(signature(token), 5),
    "base64": lambda token: base64.b64encode(signature(token).encode()).decode(),
    "base64 of the token": lambda token: base64.b64encode(token.encode()).decode(),
    "percent-encoded": lambda token: signature(token).replace("-", "%2D").replace("_", "%5F"),
    "lower case": lambda token: signature(token).lower(),
}


def hidden(error: PullpassError, token: str) -> bool:
    """Whether the line has no piece of the token: as it is, in base64, in lower case, or with blanks in it."""
    parts = [token, *token.split(".")]
    written = [base64.b64encode(part.encode()).decode() for part in parts]
    folded = ["".join(filter(str.isalnum, part)).lower() for part in (*parts, *written)]
    line = error.line()
    return not shown(line, [*parts, *written]) and not shown("".join(filter(str.isalnum, line)).lower(), folded)


@pytest.mark.parametrize("writing", WRITINGS)
def test_message_of_aws(cloud: Cloud, writing: str) -> None:
    """In the message of an error."""
    token = cloud.mint_token(alg="ES256")
    cloud.fault(AWS, "InvalidIdentityToken", message=f"rejected: <{WRITINGS[writing](token)}>")
    error = refused(cloud, token=token)
    assert error.code == "aws-token-rejected"
    assert "(HTTP status 400): reject" in error.what
    assert hidden(error, token), error.line()


@pytest.mark.parametrize("writing", WRITINGS)
def test_message_of_google(cloud: Cloud, writing: str) -> None:
    """In the description of an error."""
    token = exchanging_gcp.mint(cloud, alg="ES256")
    cloud.fault(GOOGLE, "invalid_grant", message=f"rejected: <{WRITINGS[writing](token)}>")
    error = exchanging_gcp.refused(cloud, token=token)
    assert error.code == "gcp-token-rejected"
    assert "(HTTP status 400): reject" in error.what
    assert hidden(error, token), error.line()


@pytest.mark.parametrize("writing", sorted(set(WRITINGS) - {"words", "narrow lines"}))
def test_code_and_request_id(cloud: Cloud, writing: str) -> None:
    """In the code of an error, and in the id of the request."""
    token = cloud.mint_token(alg="ES256")
    echo = WRITINGS[writing](token)
    body = (
        f"<ErrorResponse><Error><Type>Sender</Type><Code>{echo}</Code><Message>m</Message></Error>"
        f"<RequestId>{echo}</RequestId></ErrorResponse>"
    )
    cloud.fault(AWS, "status", status=400, body=body, content_type="text/xml")
    error = refused(cloud, token=token)
    assert error.code == "aws-refused"
    assert "(HTTP status 400): m (request " in error.what
    assert hidden(error, token), error.line()


@pytest.mark.parametrize("writing", ["token", "signature", "base64"])
def test_request_id_of_a_success(cloud: Cloud, writing: str) -> None:
    """What is kept as the id of a request is as little the token as what is told."""
    token = cloud.mint_token(alg="ES256")
    assert len(exchanging.run(cloud, token=token).request_ids) == 2
    cloud.fault("ecr", "header", name="x-amzn-RequestId", value=WRITINGS[writing](token))
    assert exchanging.run(cloud, token=token).request_ids[1:] == ("[redacted]",)


class Answered(NamedTuple):
    """A content type, and what is told of it."""

    value: str
    told: str


@pytest.mark.parametrize(
    "answered",
    [
        Answered("{signature}", "another content type"),
        Answered("{token}", "another content type"),
        Answered("text/{signature}", "another content type"),
        Answered("text/html; charset={signature}", "text/html"),
        Answered("Application/JSON", "application/json"),
    ],
)
def test_content_type(cloud: Cloud, answered: Answered) -> None:
    """Of a content type those are told that a server is known to have, and no parameters."""
    for where, mint, refuse in (
        (AWS, cloud.mint_token, exchanging.refused),
        (GOOGLE, lambda **fields: exchanging_gcp.mint(cloud, **fields), exchanging_gcp.refused),
    ):
        token = mint(alg="ES256")
        value = answered.value.format(token=token, signature=signature(token))
        for status in (200, 403):
            cloud.fault(where, "status", status=status, body="{<", content_type=value)
            error = refuse(cloud, token=token)
            assert error.code == "cloud-answer"
            assert f"(HTTP status {status}, {answered.told}, 2 bytes)" in error.what
            assert hidden(error, token), error.line()


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://login.example.com/{token}?{signature}", "to https://login.example.com"),
        ("https://{token}@login.example.com/", "to https://login.example.com"),
        ("https://{signature}/x", "to an address without a host"),
        ("https://{base64}/x", "to an address without a host"),
        ("https://login.{narrow}.example.com/x", "to https://login.[redacted].example.com"),
        ("{token}", "to an address without a host"),
        ("/{token}", "to an address without a host"),
        ("https://{token}.example.com", "to an address without a host"),
        ("{signature}://login.example.com", "to an address without a host"),
        ("https://" + "a." * 200, "to an address without a host"),
        ("https://a..b/", "to an address without a host"),
        ("", "to an address without a host"),
    ],
)
def test_location(cloud: Cloud, location: str, told: str) -> None:
    """Of where a redirect leads, scheme and host are told, and nothing of a token in them."""
    token = cloud.mint_token(alg="ES256")
    sign = signature(token).strip("-_")
    value = location.format(
        token=token,
        signature=sign,
        base64=base64.b64encode(sign.encode()).decode() + "=",
        narrow=wrapped(sign, 20).replace("\n", "."),
    )
    cloud.fault(AWS, "redirect", location=value)
    error = refused(cloud, token=token)
    assert error.code == "cloud-redirect"
    assert told in error.what
    assert hidden(error, token), error.line()


def test_session_of_another_role(cloud: Cloud) -> None:
    """In the place of the role that STS says it has made a session of."""
    token = cloud.mint_token(alg="ES256")
    cloud.fault(AWS, "set", fields={"AssumedRoleUser.Arn": f"arn:aws:sts::111122223333:assumed-role/{token}"})
    error = refused(cloud, token=token)
    assert error.code == "cloud-answer"
    assert "another one than 111122223333:assumed-role/pull-team-a/prod-1_team-a_web" in error.what
    assert hidden(error, token), error.line()


def test_session_token_in_the_next_answer(cloud: Cloud) -> None:
    """What STS has issued is as secret in ECR's answer, and may be anything."""
    for issued in ("e" * 16_000, ".".join("e" * 24), "e"):
        cloud.clear()
        cloud.fault(AWS, "set", fields={"Credentials.SessionToken": issued})
        body = json.dumps({"__type": "AccessDeniedException", "message": "e" * 100_000})
        cloud.fault("ecr", "status", status=403, body=body, content_type="application/x-amz-json-1.1")
        error = refused(cloud)
        assert error.code == "aws-ecr-denied"
        assert len(error.line()) < 500
    cloud.clear()
    cloud.fault(AWS, "set", fields={"Credentials.SessionToken": "e" * 20_000})
    assert "no usable SessionToken" in refused(cloud).what


def test_proxy(cloud: Cloud, monkeypatch: pytest.MonkeyPatch, raw_server: Callable[..., RawServer]) -> None:
    """Of a proxy that refuses, the status is told: its reason phrase may be the password that it was given."""
    pair = "puser:ProxyPassw0rd"
    encoded = base64.b64encode(pair.encode()).decode()
    for name in ("NO_PROXY", "no_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    for reason in (f"Basic {encoded}", pair, "a b", ""):
        said = f"HTTP/1.1 407 {reason}\r\n\r\n".encode()
        server = raw_server(lambda connection, said=said: connection.sendall(said))
        monkeypatch.setenv("HTTPS_PROXY", server.url.replace("://", f"://{pair}@"))
        error = refused(cloud, through_proxy(cloud))
        assert error.code == "cloud-unreachable"
        assert "amazonaws.com: the proxy answered with HTTP status 407 (attempt 4)" in error.what
        assert server.connections == 4


def through_proxy(cloud: Cloud) -> AwsPlan:
    """A plan for AWS's real host names."""
    return make_plan(cloud, sts_endpoint="", ecr_endpoint="", ca_bundle=cloud.endpoints.ca_file)
