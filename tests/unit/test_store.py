"""Digests, keys and strict JSON."""

from __future__ import annotations

import hashlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullpass.store import digest, strict

# --- digests


def test_sha256_is_lower_case_hex() -> None:
    """The form in which the kubelet's records and ours have it."""
    assert digest.sha256_hex(b"abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (digest.sha256_hex(b""), True),
        ("0123456789abcdef" * 4, True),
        ("", False),
        ("0" * 63, False),
        ("0" * 65, False),
        ("0" * 63 + "A", False),
        ("0" * 63 + "g", False),
        ("0" * 63 + "\n", False),
        ("0" * 63 + "\u0660", False),
        ("../" * 21 + "0", False),
    ],
)
def test_a_hash_is_told_from_other_texts(text: str, expected: bool) -> None:
    """It may become the name of a file: nothing but lower-case hex, all of it."""
    assert digest.is_sha256(text) is expected


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


# The first is upstream's (`secrets_test.go`, `Test_MakeDockerKeyring`); all come from the kubelet's own function.
@pytest.mark.parametrize(
    ("username", "password", "email", "expected"),
    [
        ("user", "password", "", "a55436fc140d516560d072c5fe8700385ce9f41629abf65c1edcbcb39fac691d"),
        ("default-user", "default-password", "", "c7b18bd8ceead795ab68d51e69347a5d984e3b04714a315a5a96b253b179f138"),
        ("user", "password", "a@example.com", "b673180da7168cca77f237740530fc3ebaf0002081d9dd1ac3043265ce5f0edc"),
        ("user", 'p<a>s&s"w\\d', "", "1e7ecd4d0a211ca0dfa328a6c7ee20ed4135de0f59da7d997c9a52662a3da21a"),
        ("AWS", "t\u00f6k\u2028en", "", "df141430c0f8bf8e5b5f8d8120063ad7af44d30219dbe5719182405817512210"),
        ("user", "a\tb\x01c\x7f/d", "", "3b0e7e52c5648a11268115a1e20d9dc9bbdff894bd5f92592697d9a1cbd881de"),
        ("u", "x\ufffdy\b\f", "", "69123e61e171728502503eeed23a16f2ecd6f04c66eaa93174fb2cd0a3255da9"),
        ("u", "x\udcffy\b\f", "", "4cde4bf5c283af59e8674602d03db7bee5ef903ab8261e6e0e08cef6f464abb5"),
        ("user", "", "", "1d03b8b8f9f35bbfb101f2d2d69dccf3f6b313b4aa67dbfab6889fa7bf0fa051"),
        ("", "password", "", "56dd2717e1906a4595352da9c2759fec93f7136e1ec97374791f068994b6134b"),
        ("oauth2accesstoken", "ya29.example-token", "",
            "84fe976eb6671f6dfd6701d2baef1837275583614fd60f9ff217ce6184c7ee0b"),
        ("", "", "", "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"),
    ],
)  # fmt: skip
def test_a_credential_has_the_kubelets_hash(username: str, password: str, email: str, expected: str) -> None:
    """Byte for byte as Go writes what is hashed."""
    assert digest.credential_hash(username, password, email) == expected


# The second to seventh are names of files in upstream's `pullmanager/testdata`.
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"sha256:{'ab' * 32}", "7b28e61bc1d292234192478f2c9d3b56c10ca6a386801f8d2975ea6235e674cd"),
        ("testimage-anonpull", "a2eace2182b24cdbbb730798e47b10709b9ef5e0f0c1624a3bc06c8ca987727a"),
        ("testimageref", "b3c0cc4278800b03a308ceb2611161430df571ca733122f0a40ac8b9792a9064"),
        ("testbrokenrecord", "e766e4624f9bc4d3847d6c5b470d9d5362cc8d0c250bd9572daf95278e044263"),
        ("docker.io/testing/test-alpha:latest", "6da3dced7eccc7ad0189517c31ec2235b50f730449d738d91525721f7e027fd4"),
        ("docker.io/testing/test:something", "f24acc752be18b93b0504c86312bbaf482c9efb0c45e925bbccb0a591cebd7af"),
        ("repo.repo/test/test:latest", "7d8c031e2f1aeaa71649ca3e0b64c9902370ed460ef57fb07582a87a5a1e1c02"),
        ("registry.example.com/team/app:v1", "9523e6bf62df3404a7a4c2b8d4662550805d40c06edeccafe876d39bf238864d"),
    ],
)
def test_a_file_has_the_kubelets_name(text: str, expected: str) -> None:
    """Of an image, or of an image's reference."""
    assert digest.file_name(text) == f"sha256-{expected}"


BYTES = st.binary(max_size=12) | st.text(max_size=6).map(lambda text: text.encode("utf-8", "surrogatepass"))


@given(BYTES)
def test_a_file_is_named_after_bytes(raw: bytes) -> None:
    """Those that are no UTF-8 too."""
    assert digest.file_name(raw.decode("utf-8", "surrogateescape")) == f"sha256-{hashlib.sha256(raw).hexdigest()}"


@pytest.mark.parametrize("half", [0xD800, 0xDBFF, 0xDC00, 0xDC7F, 0xDD00, 0xDFFF], ids=hex)
def test_a_surrogate_that_stands_for_no_byte_has_no_hash(half: int) -> None:
    """A text that Go can't have has no hash of Go's; one made up would match nothing, or the wrong thing."""
    for call in (digest.file_name, lambda text: digest.credential_hash("u", text)):
        with pytest.raises(UnicodeEncodeError):
            call(chr(half))


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


def test_a_message_of_the_scanner_is_a_whole_sentence() -> None:
    """Python's ends in " at", for the place to follow, which is named before."""
    with pytest.raises(strict.DocumentError) as caught:
        strict.parse(b'{"a\nb": 1}')
    assert caught.value.what == "is not JSON at character 3: Invalid control character"
