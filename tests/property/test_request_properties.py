"""Requests and responses, whatever is in them."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullpass import request
from pullpass.errors import PullpassError
from pullpass.exchange import Credential
from pullpass.registry import ECR, Target
from pullpass.secret import Secret
from support import make_token

TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
DOCUMENTS = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)
TARGET = Target(ECR, "111122223333.dkr.ecr.us-west-2.amazonaws.com", "team-a/app")


def go_json(document: object, *, ascii_only: bool) -> bytes:
    """JSON as Go's encoder writes it: three more characters are escaped, and a line feed ends it."""
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=ascii_only)
    for char in "<>&":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return text.encode() + b"\n"


def kubelet_document(image: str, token: str, annotations: dict[str, str]) -> dict[str, object]:
    """A request of the kubelet, which omits what is empty."""
    document: dict[str, object] = {
        "kind": "CredentialProviderRequest",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "image": image,
    }
    if token:
        document["serviceAccountToken"] = token
    if annotations:
        document["serviceAccountAnnotations"] = annotations
    return document


@given(TEXTS.filter(bool), TEXTS, st.dictionaries(TEXTS, TEXTS), st.booleans())
def test_what_a_kubelet_writes_is_what_is_read(
    image: str, token: str, annotations: dict[str, str], ascii_only: bool
) -> None:
    """No text is lost or changed on its way from a Go encoder."""
    parsed = request.parse(go_json(kubelet_document(image, token, annotations), ascii_only=ascii_only))
    assert parsed.image == image
    assert (parsed.token.reveal() if parsed.token else "") == token
    assert parsed.annotations == annotations


@given(TEXTS.filter(bool), TEXTS.filter(bool), st.integers(0, 10**9))
def test_what_is_rendered_is_what_is_decoded(username: str, password: str, cache_duration_s: int) -> None:
    """One line of ASCII that a JSON decoder turns back into the same values."""
    raw = request.render(TARGET, Credential(username, Secret(password), 2e9, 2e9, "", "", ()), cache_duration_s)
    assert raw.isascii()
    assert raw.endswith(b"}\n")
    assert raw.count(b"\n") == 1
    assert json.loads(raw) == {
        "kind": "CredentialProviderResponse",
        "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
        "cacheKeyType": "Image",
        "cacheDuration": f"{cache_duration_s}s",
        "auth": {
            "111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app": {"username": username, "password": password}
        },
    }


@given(st.binary(max_size=400))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    """No bytes that happen by chance are a request, and none does anything but be refused."""
    with pytest.raises(PullpassError) as caught:
        request.parse(raw)
    assert caught.value.code.startswith("request-")
    assert caught.value.status == 2


@given(DOCUMENTS)
def test_arbitrary_documents_are_refused(document: object) -> None:
    """Nor is any document."""
    with pytest.raises(PullpassError) as caught:
        request.parse(json.dumps(document).encode())
    assert caught.value.code.startswith("request-")


TOKEN = make_token()
VALID = go_json(
    kubelet_document("r.io/a", TOKEN, {"example.com/role": "arn:aws:iam::111122223333:role/p", "b": "{}[]"}),
    ascii_only=True,
)
SPLICES = [b"", b"\xff", b"\0", VALID, *rb'{ } [ ] " , : \ \ud800 NaN 1e999 null'.split()]


def attempt(raw: bytes) -> request.Request | PullpassError:
    """What comes of reading these bytes; anything but these two fails the test."""
    try:
        return request.parse(raw)
    except PullpassError as error:
        return error


@given(st.integers(0, len(VALID)), st.integers(0, 30), st.sampled_from(SPLICES) | st.binary(max_size=3))
def test_a_damaged_request_is_refused_or_read_as_others_read_it(start: int, length: int, splice: bytes) -> None:
    """Whatever replaces a stretch of a request: a refusal that shows no token, or what Python's own reader sees."""
    raw = VALID[:start] + splice + VALID[start + length :]
    found = attempt(raw)
    if isinstance(found, PullpassError):
        assert found.code.startswith("request-")
        assert found.status == 2
        assert TOKEN[:100] not in found.line()
        return
    document = json.loads(raw)
    assert found.image == document["image"]
    assert (found.token.reveal() if found.token else "") == document.get("serviceAccountToken", "")
    assert found.annotations == document.get("serviceAccountAnnotations", {})
