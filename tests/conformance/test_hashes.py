"""The kubelet's hash of a credential and its names of files, as `pullpass.store.digest` makes them.

Upstream: k8s.io/kubernetes `pkg/credentialprovider/keyring.go` (`hashAuthConfig`) and
`pkg/kubelet/images/pullmanager/fs_pullrecords.go` (`cacheFilename`). Both are private: the hash is had by way of a pull
secret, the only credentials that the kubelet records by their hash, and the names by having records written.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conformance.kubelet import Kubelet
from conformance.records import SecretError, pull_secret, record_names
from pullpass.store import digest

if TYPE_CHECKING:
    from collections.abc import Iterator

IMAGE = "r.io/app"
# What Go's encoder treats in a way of its own, next to what it does not.
AWKWARD = (
    "<>&\"\\/'\u2028\u2029\u202a\ufffd\ufeff\x00\x01\x08\x09\x0a\x0b\x0c\x0d\x1f\x7f\x80\xa0\u00f6\U0001f511\U0010ffff"
)
CHARACTERS = st.characters(exclude_categories=["Cs"]) | st.sampled_from(AWKWARD)
TEXTS = st.text(CHARACTERS, max_size=12)
# Cut characters, overlong forms, surrogates, code points beyond the last: each byte of them is none of UTF-8.
FRAGMENTS = (b"\xff", b"\x80", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x94", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80")
RAW = st.lists(TEXTS.map(str.encode) | st.sampled_from(FRAGMENTS) | st.binary(max_size=3), max_size=4).map(b"".join)


@pytest.fixture(scope="module")
def kubelet(kubelet_program: str) -> Iterator[Kubelet]:
    """One kubelet for all texts."""
    with Kubelet(kubelet_program) as started:
        yield started


def hashes(kubelet: Kubelet, **entry: str) -> list[tuple[bytes, bytes, str]]:
    """User names, passwords and hashes that a docker config with this entry gives."""
    config = json.dumps({"auths": {"r.io": entry}}).encode()
    return [(c.username, c.password, c.hash) for c in pull_secret(kubelet, config, IMAGE)]


def as_text(raw: bytes) -> str:
    """Bytes in the form that `digest` takes."""
    return raw.decode("utf-8", "surrogateescape")


@settings(max_examples=1000, deadline=None)
@given(TEXTS, TEXTS, TEXTS)
def test_a_credential_written_as_texts(kubelet: Kubelet, username: str, password: str, email: str) -> None:
    """User name, password and e-mail as members of the docker config, each of which may be empty."""
    expected = digest.credential_hash(username, password, email)
    found = hashes(kubelet, username=username, password=password, email=email)
    assert found == [(username.encode(), password.encode(), expected)]


@settings(max_examples=1000, deadline=None)
@given(RAW.filter(lambda raw: b":" not in raw), RAW, TEXTS)
def test_a_credential_written_as_bytes(kubelet: Kubelet, username: bytes, password: bytes, email: str) -> None:
    """In base64, where anything may be hidden: what is no UTF-8 becomes six characters a byte."""
    expected = digest.credential_hash(as_text(username), as_text(password), email)
    auth = base64.b64encode(username + b":" + password).decode()
    assert hashes(kubelet, auth=auth, email=email) == [(username, password, expected)]


def test_each_byte_and_each_character_by_itself(kubelet: Kubelet) -> None:
    """All of them up to U+3000, and around the edges of the planes."""
    codes = [*range(0x3000), *range(0xD7F0, 0xD800), *range(0xE000, 0xE010), *range(0xFFF0, 0x10010), 0x10FFFF]
    for password in [bytes([code]) for code in range(0x80, 0x100)] + [chr(code).encode() for code in codes]:
        auth = base64.b64encode(b"u:" + password).decode()
        assert hashes(kubelet, auth=auth) == [(b"u", password, digest.credential_hash("u", as_text(password)))]


def test_a_secret_that_the_kubelet_can_not_read(kubelet: Kubelet) -> None:
    """Its own words; there is nothing to hash then."""
    for auth, said in (("dQ==", "unable to parse auth field"), ("!", "illegal base64 data")):
        with pytest.raises(SecretError, match=said):
            hashes(kubelet, auth=auth)


@settings(max_examples=300, deadline=None)
@given(RAW)
def test_a_file_is_named_as_by_the_kubelet(kubelet: Kubelet, text: bytes) -> None:
    """By its image or its reference, byte for byte, empty ones too."""
    name = digest.file_name(as_text(text))
    assert record_names(kubelet, text) == (name, name)
