"""Digests, keys and strict JSON."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullpass.store import digest, strict

SOMEBODY = 12345


# --- digests


def test_sha256_is_lower_case_hex() -> None:
    """The form in which the kubelet's records and ours have it."""
    assert digest.sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_key_is_a_hash_of_lengths_and_parts() -> None:
    """Written out, so that no change of the code changes the names of what is stored."""
    assert digest.key([]) == hashlib.sha256(b"pullpass/v1 key\n").hexdigest()
    expected = hashlib.sha256(b"pullpass/v1 key\n6:issuer9:https://a2:ns3:\xe2\x98\x83").hexdigest()
    assert digest.key([("issuer", "https://a"), ("ns", "\N{SNOWMAN}")]) == expected


def test_fields_that_join_to_the_same_text_have_different_keys() -> None:
    """The reason for the lengths: namespace `a` with account `b-c` is not namespace `a-b` with account `c`."""
    lists = [
        [("ns", "a"), ("sa", "b-c")],
        [("ns", "a-b"), ("sa", "c")],
        [("sa", "b-c"), ("ns", "a")],
        [("ns", "a"), ("sa", "b-c"), ("", "")],
        [("n", "sa"), ("sa", "b-c")],
        [("ns", ""), ("asa", "b-c")],
        [("ns", "a2:sa3:b-c")],
    ]
    assert len({digest.key(fields) for fields in lists}) == len(lists)


FIELDS = st.lists(st.tuples(st.text(max_size=3), st.text(max_size=3)), max_size=3)


@given(FIELDS, FIELDS)
def test_two_keys_are_equal_when_their_fields_are(one: list[tuple[str, str]], other: list[tuple[str, str]]) -> None:
    """Whatever the texts, half surrogates among them."""
    assert (digest.key(one) == digest.key(other)) == (one == other)


# --- strict JSON (its refusals are tested where they have codes: with requests and tokens)

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64) | st.floats(allow_nan=False, allow_infinity=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]))
DOCUMENTS = st.recursive(SCALARS | TEXTS, lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner), max_leaves=20)


@given(DOCUMENTS, st.booleans(), st.sampled_from([None, 1]), st.text(" \t\r\n", max_size=2))
def test_a_strict_document_is_read_as_it_was_written(
    document: object, ascii_only: bool, indent: int | None, blanks: str
) -> None:
    """Whatever it is, with blanks around it, in escapes or in UTF-8."""
    text = json.dumps(document, ensure_ascii=ascii_only, indent=indent)
    assert strict.parse(f"{blanks}{text}{blanks}".encode()) == document


@given(st.binary(max_size=100))
def test_bytes_are_a_document_for_both_readers_or_refused(raw: bytes) -> None:
    """What the strict reader takes, Python's own reads the same."""
    try:
        document = strict.parse(raw)
    except strict.DocumentError as error:
        assert error.problem in ("empty", "encoding", "syntax", "trailing-data", "duplicate-key", "nesting")  # noqa: PT017
    else:
        assert document == json.loads(raw)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ({}, "an object"),
        ([], "an array"),
        ("", "a string"),
        (True, "a boolean"),
        (None, "null"),
        (0, "a number"),
        (0.5, "a number"),
    ],
)
def test_a_value_is_called_by_its_json_name(value: object, name: str) -> None:
    """People compare the error with the JSON they sent."""
    assert strict.describe(value) == name


def test_a_long_duplicate_key_is_cut() -> None:
    """Whatever stands where a key should, little of it is shown."""
    with pytest.raises(strict.DocumentError) as caught:
        strict.parse(json.dumps({"k" * 1000: 1}).encode().replace(b"}", b', "' + b"k" * 1000 + b'": 2}'))
    assert caught.value.problem == "duplicate-key"
    assert len(caught.value.what) < 120
