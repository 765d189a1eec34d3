"""The kubelet's request and response."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pullpass import request
from pullpass.errors import PullpassError
from pullpass.exchange import Credential
from pullpass.registry import ECR, Target
from pullpass.secret import Secret

IMAGE = "111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app"
TARGET = Target(ECR, "111122223333.dkr.ecr.us-west-2.amazonaws.com", "team-a/app")
TOKEN = f"eyJhbGciOiJSUzI1NiJ9.{'Y2FuYXJ5' * 40}.{'c2lnbmF0dXJl' * 8}"
CREDENTIAL = Credential("AWS", Secret("p4ss/w=rd"), 2e9, 2e9, "arn", "AKIA", ())


def document(**changes: Any) -> dict[str, Any]:
    """A request as the kubelet writes it, with these fields changed."""
    return {
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": IMAGE,
        "serviceAccountToken": TOKEN,
        "serviceAccountAnnotations": {"example.com/role": "arn:aws:iam::111122223333:role/pull"},
    } | changes


def encode(value: object) -> bytes:
    """JSON with the line feed that the kubelet's encoder puts behind it."""
    return json.dumps(value).encode() + b"\n"


def refusal(raw: bytes) -> PullpassError:
    """The error that `raw` is refused with, after the checks that hold for every one of them."""
    with pytest.raises(PullpassError) as caught:
        request.parse(raw)
    error = caught.value
    assert error.status == 2
    assert "\n" not in error.line()
    assert TOKEN not in error.line()
    return error


def test_a_request_of_the_kubelet_is_read() -> None:
    """All fields arrive, and the token hides itself."""
    parsed = request.parse(encode(document()))
    assert parsed.image == IMAGE
    assert parsed.token is not None
    assert parsed.token.reveal() == TOKEN
    assert parsed.annotations == {"example.com/role": "arn:aws:iam::111122223333:role/pull"}
    assert TOKEN not in repr(parsed)


def test_the_escapes_of_a_go_encoder_are_read() -> None:
    """Go writes `<`, `>` and `&` as escapes, and whole surrogate pairs are text."""
    raw = encode(document()).replace(b"role/pull", rb"role/\u003c\u0026\ud83d\ude00")
    assert request.parse(raw).annotations == {"example.com/role": "arn:aws:iam::111122223333:role/<&\N{GRINNING FACE}"}


@pytest.mark.parametrize("absent", [{}, {"serviceAccountToken": ""}], ids=["absent", "empty"])
def test_no_token_and_an_empty_one_are_the_same(absent: dict[str, str]) -> None:
    """Go omits an empty string, other writers may not."""
    without = {key: value for key, value in document().items() if not key.startswith("serviceAccount")}
    parsed = request.parse(encode(without | absent))
    assert parsed == request.Request(IMAGE, None, {})


def test_unknown_fields_are_ignored() -> None:
    """A newer kubelet may send more, nested within the limit."""
    extended = document(podName="web-1", futureField={"deep": [1, 2.5, None, True, ["x"]]})
    assert request.parse(encode(extended)).image == IMAGE


def test_a_request_may_be_as_long_as_the_limit_and_no_longer() -> None:
    """1 MiB is read, one byte more is refused before anything is parsed."""
    filled = encode(document()).ljust(request.LIMIT_BYTES)
    assert len(filled) == 1024 * 1024
    assert request.parse(filled).image == IMAGE
    error = refusal(filled + b" ")
    assert error.code == "request-too-long"
    assert "1048576 bytes" in error.what


@pytest.mark.parametrize(
    ("raw", "code", "fact"),
    [
        (b"", "request-empty", "empty"),
        (b" \r\n\t", "request-empty", "empty"),
        (b"\xef\xbb\xbf" + encode(document()), "request-encoding", "byte order mark"),
        (json.dumps(document()).encode("utf-16"), "request-encoding", "UTF-16"),
        (json.dumps(document()).encode("utf-16-be"), "request-encoding", "UTF-16"),
        (json.dumps(document()).encode("utf-16-le"), "request-encoding", "UTF-16"),
        (json.dumps(document()).encode("utf-32-be"), "request-encoding", "UTF-32"),
        (encode(document())[:40] + b"\xc3(" + encode(document())[40:], "request-encoding", "not UTF-8 at byte 40"),
        (encode(document()).replace(b"team-a", rb"\ud800"), "request-encoding", "surrogate"),
        (encode(document()).replace(b'"image"', rb'"\udc00"'), "request-encoding", "surrogate"),
        (encode(document(more=[{"x": ["@"]}])).replace(b"@", rb"\udfff"), "request-encoding", "surrogate"),
        (encode(document())[:-20], "request-syntax", "not JSON at character"),
        (b"<html>", "request-syntax", "not JSON at character 0"),
        (b'{"image": "a\nb"}', "request-syntax", "not JSON at character 12"),
        (encode(document(more=float("nan"))), "request-syntax", "NaN"),
        (encode(document(more=float("-inf"))), "request-syntax", "-Infinity"),
        (encode(document(more="@")).replace(b'"@"', b"-1e999"), "request-syntax", "no double can hold"),
        (encode(document(more="@")).replace(b'"@"', b"9" * 5000), "request-syntax", "5000 digits"),
        (encode(document()) + encode(document()), "request-trailing-data", "second document at character"),
        (encode(document()) + b"\0", "request-trailing-data", "more data at character"),
        (b"I0101 a log line", "request-syntax", "not JSON at character 0"),
        (encode(document())[:-2] + b',"image":"r.io/b"}', "request-duplicate-key", '"image" twice'),
        (encode(document(more=[{"x": {"y": 1}}])).replace(b'"y"', b'"y":2,"y"'), "request-duplicate-key", '"y" twice'),
        (encode(document())[:-2] + rb',"im\u0061ge":"r.io/b"}', "request-duplicate-key", '"image" twice'),
        (b"[" * 500_000, "request-nesting", "deeper than 32 levels"),
        (b'{"a":' * 100_000, "request-nesting", "deeper than 32 levels"),
        (encode(document(more="@")).replace(b'"@"', b"[" * 32 + b"]" * 32), "request-nesting", "deeper than 32 levels"),
    ],
)
def test_what_is_not_one_strict_document_is_refused(raw: bytes, code: str, fact: str) -> None:
    """Each has a code of its own and the place, and nothing else of the text."""
    error = refusal(raw)
    assert error.code == code
    assert fact in error.what


def test_nesting_up_to_the_limit_is_read() -> None:
    """The whole document counts: 31 arrays in its object are 32 levels."""
    raw = encode(document(more="@")).replace(b'"@"', b"[" * 31 + b"]" * 31)
    assert request.parse(raw).image == IMAGE


@pytest.mark.parametrize(
    ("value", "code", "fact"),
    [
        ([document()], "request-field", "an array"),
        ("text", "request-field", "a string"),
        (None, "request-field", "null"),
        (7, "request-field", "a number"),
        (document(apiVersion="credentialprovider.kubelet.k8s.io/v1alpha1"), "request-version", "v1alpha1"),
        (document(apiVersion="credentialprovider.kubelet.k8s.io/v1beta1"), "request-version", "v1beta1"),
        (document(apiVersion="credentialprovider.kubelet.k8s.io/v2"), "request-version", "v2"),
        (document(apiVersion="kubelet.config.k8s.io/v1"), "request-version", "kubelet.config"),
        (document(apiVersion="v1"), "request-version", '"v1"'),
        (document(apiVersion="Credentialprovider.kubelet.k8s.io/v1"), "request-version", "Credential"),
        (document(apiVersion=1), "request-version", "apiVersion is 1,"),
        (document(apiVersion=None), "request-version", "apiVersion is null"),
        ({}, "request-version", "apiVersion is absent"),
        (document(kind="CredentialProviderResponse"), "request-kind", "CredentialProviderResponse"),
        (document(kind={}), "request-kind", "an object"),
        (document(kind=TOKEN + "\n"), "request-kind", "..."),
        (document(image=""), "request-field", 'image is ""'),
        (document(image=None), "request-field", "image is null"),
        (document(image=[IMAGE]), "request-field", "image is an array"),
        (document(serviceAccountToken=None), "request-field", "serviceAccountToken is null"),
        (document(serviceAccountToken=[TOKEN]), "request-field", "serviceAccountToken is an array"),
        (document(serviceAccountToken=True), "request-field", "serviceAccountToken is a boolean"),
        (document(serviceAccountAnnotations=None), "request-field", "serviceAccountAnnotations is null"),
        (document(serviceAccountAnnotations=[]), "request-field", "serviceAccountAnnotations is an array"),
        (document(serviceAccountAnnotations={"a\nb": 1}), "request-field", r"annotation a\nb is a number"),
        (document(serviceAccountAnnotations={"a": None}), "request-field", "annotation a is null"),
        (document(serviceAccountAnnotations={"a": {"b": "c"}}), "request-field", "annotation a is an object"),
    ],
)
def test_what_is_not_a_request_is_refused(value: object, code: str, fact: str) -> None:
    """Wrong group, version, kind and types are told apart, with what was found."""
    error = refusal(encode(value))
    assert error.code == code
    assert fact in error.what


def test_a_request_without_an_image_says_so() -> None:
    """Absent and null are different mistakes."""
    without = document()
    del without["image"]
    assert "image is absent" in refusal(encode(without)).what


def test_an_older_version_is_told_where_to_change_it() -> None:
    """The hint names the kubelet's file for a version, and our version for another group."""
    older = refusal(encode(document(apiVersion="credentialprovider.kubelet.k8s.io/v1beta1")))
    assert "CredentialProviderConfig" in older.hint
    foreign = refusal(encode(document(apiVersion="example.com/v1")))
    assert "exec API credentialprovider.kubelet.k8s.io/v1" in foreign.hint


def test_an_answer_with_a_credential_is_exactly_these_bytes() -> None:
    """The kubelet decodes strictly, so that a byte more is a pull less."""
    assert request.render(TARGET, CREDENTIAL, 600) == (
        b'{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",'
        b'"cacheKeyType":"Image","cacheDuration":"600s",'
        b'"auth":{"111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app":{"username":"AWS","password":"p4ss/w=rd"}}}\n'
    )


def test_an_answer_without_a_credential_has_an_empty_auth() -> None:
    """An entry with empty fields would be tried as a credential, and allow a recorded image."""
    assert request.render(TARGET, None, 0) == (
        b'{"kind":"CredentialProviderResponse","apiVersion":"credentialprovider.kubelet.k8s.io/v1",'
        b'"cacheKeyType":"Image","cacheDuration":"0s","auth":{}}\n'
    )


@pytest.mark.parametrize(
    ("repository", "key"),
    [
        ("v1/app", TARGET.host),
        ("v2/app", TARGET.host),
        ("v2", TARGET.host),
        ("v1beta/app", f"{TARGET.host}/v1beta/app"),
        ("a/v2/b", f"{TARGET.host}/a/v2/b"),
    ],
)
def test_the_kubelet_strips_a_version_segment_from_the_key(repository: str, key: str) -> None:
    """A key whose path begins with /v1/ or /v2/ would lose it and match nothing, so the host stands alone."""
    answer = json.loads(request.render(TARGET._replace(repository=repository), CREDENTIAL, 1))
    assert list(answer["auth"]) == [key]


def test_a_password_that_json_must_escape_comes_back_whole() -> None:
    """The line stays one line of ASCII whatever the cloud's password is."""
    odd = 'qu"ote\\back\nline\N{SNOWMAN}'
    answer = request.render(TARGET, CREDENTIAL._replace(secret=Secret(odd)), 1)
    assert answer.isascii()
    assert answer.count(b"\n") == 1
    assert json.loads(answer)["auth"][TARGET.image]["password"] == odd


@pytest.mark.parametrize(
    ("credential", "cache_duration_s"),
    [
        (CREDENTIAL, -1),
        (None, -1),
        (CREDENTIAL._replace(username=""), 1),
        (CREDENTIAL._replace(secret=Secret("")), 1),
    ],
)
def test_a_response_that_must_never_leave_is_a_defect(credential: Credential | None, cache_duration_s: int) -> None:
    """A dummy credential and a time in the past are refused at the last door."""
    with pytest.raises(PullpassError) as caught:
        request.render(TARGET, credential, cache_duration_s)
    assert caught.value.code == "internal"
    assert "p4ss" not in caught.value.line()


@pytest.mark.parametrize(
    "echo",
    [
        CREDENTIAL._replace(secret=Secret(TOKEN)),
        CREDENTIAL._replace(secret=Secret(f"x{TOKEN}x")),
        CREDENTIAL._replace(username=TOKEN),
    ],
    ids=["password", "in the password", "user name"],
)
def test_a_token_that_comes_back_as_a_credential_is_refused(echo: Credential) -> None:
    """An endpoint that echoes would have the kubelet send the pod's identity to a registry."""
    with pytest.raises(PullpassError) as caught:
        request.check_echo(echo, Secret(TOKEN))
    assert (caught.value.code, caught.value.status, caught.value.upstream) == ("credential-echo", 4, "invalid")
    assert TOKEN not in caught.value.line()


@pytest.mark.parametrize("token", [None, Secret(TOKEN)])
def test_an_ordinary_credential_is_no_echo(token: Secret | None) -> None:
    """With a token and without one."""
    request.check_echo(CREDENTIAL, token)
