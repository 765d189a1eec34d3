"""The file of an approval: its bytes, what is read of it, what is not, and its schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

import pullpass
from factories import IMAGE, make_approval
from pullpass.approvals import APPROVED, DENIED, Approval, codec
from pullpass.store.strict import DocumentError
from support import NOW_S

SCHEMA = json.loads((Path(pullpass.__file__).parent / "schemas" / "approval.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)

# The design's example, with every member filled in.
EXAMPLE = make_approval(
    key="0" * 64,
    validated_under=("order-1",),
    rotations=3,
    previous_hashes=("c3" * 32,),
    registry_expires_s=1_800_043_200.25,
    last_validated_s=1_800_000_000.000001,
)
WRITTEN = (
    b'{"apiVersion":"pullpass/v1","kind":"PullApproval","id":"' + b"0" * 64 + b'","state":"approved",'
    b'"cluster":"prod-1","issuer":"https://oidc.example.test/c1","serviceAccount":{"namespace":"team-a","name":"web",'
    b'"uid":"c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33"},"identity":"arn:aws:iam::111122223333:role/pull-team-a",'
    b'"opens":"ecr:aws:111122223333:us-west-2:team-a/app","credentialHash":"' + b"a1" * 32 + b'",'
    b'"registryExpires":"2027-01-15T20:00:00.250000Z","sessionExpires":"2027-01-15T09:00:00.000000Z",'
    b'"firstApproved":"2027-01-15T08:00:00.000000Z","lastValidated":"2027-01-15T08:00:00.000001Z",'
    b'"validatedBy":"request","validatedUnder":["order-1"],"expires":"2027-01-15T09:00:00.000000Z","rotations":3,'
    b'"previousHashes":["'
    + b"c3"
    * 32
    + b'"],"repositories":{"111122223333.dkr.ecr.us-west-2.amazonaws.com/team-a/app":'
    b'{"firstApproved":"2027-01-15T08:00:00.000000Z","grant":"team images"}},"evidence":{"tokenHash":"'
    + b"b2"
    * 32
    + b'","jti":"5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10","tokenExpires":"2027-01-15T09:00:00.000000Z","pod":"web-7c9d"},'
    b'"cloud":{"principal":"arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1","accessKeyId":"ASIAEXAMPLE",'
    b'"requestIds":["request-1"]}}\n'
)
TOKENLESS = make_approval(
    issuer="", namespace="", service_account="", uid="", token_hash="", jti="", pod="", token_expires_s=0.0
)
NEVER_APPROVED = Approval(
    "1" * 64, DENIED, "prod-1", "", "", "", "", "node", "gcr", denied_at_s=NOW_S, denied_code="gcp-denied"
)


def document(approval: Approval = EXAMPLE, /, **members: Any) -> dict[str, Any]:
    """The document of an approval with some members laid over."""
    return codec.document(approval) | members


def refusal(value: object) -> str:
    """Why a document is not read."""
    with pytest.raises(DocumentError) as caught:
        codec.parse(json.dumps(value).encode())
    assert caught.value.problem == "syntax"
    return caught.value.what


# --- bytes


def test_the_bytes_are_the_designs() -> None:
    """Written out, so that no change of the code changes what auditors and older versions read."""
    assert codec.render(EXAMPLE) == WRITTEN
    assert codec.parse(WRITTEN) == EXAMPLE


def test_a_denial_says_when_and_how() -> None:
    """And an approval that was used on while the cloud was away, since when."""
    denied = EXAMPLE._replace(state=DENIED, denied_at_s=0.0, denied_code="aws-sts-denied", unreachable_at_s=NOW_S)
    written = json.loads(codec.render(denied))
    assert (written["deniedAt"], written["deniedCode"]) == ("1970-01-01T00:00:00.000000Z", "aws-sts-denied")
    assert written["unreachableAt"] == "2027-01-15T08:00:00.000000Z"
    assert codec.parse(codec.render(denied)) == denied


@pytest.mark.parametrize("approval", [TOKENLESS, NEVER_APPROVED], ids=["no token", "no credential"])
def test_what_there_never_was_is_null(approval: Approval) -> None:
    """Rather than empty, or the year 1970."""
    written = json.loads(codec.render(approval))
    assert (written["serviceAccount"], written["evidence"]) == (None, None)
    assert (written["expires"] is None) == (approval is NEVER_APPROVED)
    assert codec.parse(codec.render(approval)) == approval
    VALIDATOR.validate(written)


def test_moments_are_read_with_and_without_a_fraction() -> None:
    """Other programs write either."""
    read = codec.parse(
        json.dumps(document(expires="2027-01-15T09:00:00Z", lastValidated="2027-01-15T08:00:00.5Z")).encode()
    )
    assert (read.expires_s, read.last_validated_s) == (NOW_S + 3600, NOW_S + 0.5)


def test_what_a_newer_version_adds_is_passed_over() -> None:
    """At every level."""
    written = document(new=1, another={"a": []})
    for part in (written["serviceAccount"], written["evidence"], written["cloud"], written["repositories"][IMAGE]):
        part["new"] = None
    assert codec.parse(json.dumps(written).encode()) == EXAMPLE
    VALIDATOR.validate(written)


# --- strictness

ANY_KIND: tuple[object, ...] = (None, True, 0, -1, 1.5, "", "x", [], ["x"], [1], [None], {}, {"x": 1})
PATHS = (
    *((name,) for name in document()),
    *(("serviceAccount", name) for name in ("namespace", "name", "uid")),
    *(("evidence", name) for name in ("tokenHash", "jti", "tokenExpires", "pod")),
    *(("cloud", name) for name in ("principal", "accessKeyId", "requestIds")),
    ("repositories", IMAGE),
    *(("repositories", IMAGE, name) for name in ("firstApproved", "grant")),
    ("deniedAt",),
    ("deniedCode",),
    ("unreachableAt",),
)
DENIED_EXAMPLE = EXAMPLE._replace(state=DENIED, denied_at_s=NOW_S, denied_code="aws-sts-denied", unreachable_at_s=NOW_S)
TEXTS = {"cluster", "issuer", "identity", "opens", "validatedBy", "namespace", "name", "uid", "jti", "pod"} | {
    "principal", "accessKeyId", "grant", "deniedCode",
}  # fmt: skip


def changed(path: tuple[str, ...], value: object) -> dict[str, Any]:
    """The denied example with the member at `path` replaced, or taken out for `...`."""
    written: dict[str, Any] = json.loads(json.dumps(document(DENIED_EXAMPLE)))
    part = written
    for name in path[:-1]:
        part = part[name]
    if value is ...:
        del part[path[-1]]
    else:
        part[path[-1]] = value
    return written


def is_right(path: tuple[str, ...], value: object) -> bool:
    """Whether the value may stand there, said once more and by hand."""
    name = path[-1]
    nullable = {"serviceAccount", "evidence", "registryExpires", "sessionExpires", "firstApproved", "lastValidated"}
    return (
        (name in TEXTS and isinstance(value, str))
        or (len(path) == 1 and name in nullable | {"expires"} and value is None)
        or (name in {"validatedUnder", "requestIds"} and value in ([], ["x"]))
        or (name == "previousHashes" and value == [])
        or (name == "credentialHash" and value == "")
        or (name == "rotations" and value == 0 and value is not False)
        or (name == "repositories" and value == {})
        or (name == "unreachableAt" and value is ...)
        or (name == IMAGE and value is ...)
    )


@pytest.mark.parametrize("path", PATHS, ids=".".join)
def test_a_member_has_its_kind_or_the_file_is_not_believed(path: tuple[str, ...]) -> None:
    """Each member with every other kind of value, and without it; reader and schema say the same."""
    for value in (*ANY_KIND, ...):
        written = changed(path, value)
        if is_right(path, value):
            codec.parse(json.dumps(written).encode())
            VALIDATOR.validate(written)
        else:
            assert refusal(written)
            assert not VALIDATOR.is_valid(written), value


@pytest.mark.parametrize("value", [None, True, 1, 1.5, "x", [], {}])
def test_a_document_of_another_kind_is_none(value: object) -> None:
    """Neither is an empty object."""
    assert refusal(value)
    assert not VALIDATOR.is_valid(value)


@pytest.mark.parametrize(
    ("members", "what"),
    [
        ({"apiVersion": "pullpass/v2"}, "is no PullApproval of pullpass/v1"),
        ({"kind": "PullOrder"}, "is no PullApproval of pullpass/v1"),
        ({"state": "revoked"}, "has a state that is neither approved nor denied"),
        ({"id": "A" * 64}, f'has "{"A" * 64}" as id, expected a SHA-256 in lower-case hex'),
        ({"previousHashes": ["ab"]}, "has an array as previousHashes, expected an array of SHA-256 in lower-case hex"),
        ({"rotations": True}, "has a boolean as rotations, expected a number of times"),
        ({"expires": "tomorrow"}, 'has "tomorrow" as expires, expected a moment in UTC'),
        ({"expires": "2027-01-15T09+00:00"}, 'has "2027-01-15T09+00:00" as expires, expected a moment in UTC'),
        ({"cloud": None}, "has null where an object belongs"),
        ({"deniedCode": None}, "has null as deniedCode, expected a string"),
        ({"deniedAt": "2027-01-15T08:00:00Z"}, 'says approved, and has "2027-01-15T08:00:00Z" as deniedAt'),
    ],
)  # fmt: skip
def test_a_refusal_names_the_member(members: dict[str, Any], what: str) -> None:
    """So that the warning in the trail says what is wrong with the file."""
    assert refusal(document(**members)) == what
    assert not VALIDATOR.is_valid(document(**members))


def test_a_denial_without_its_moment_is_none() -> None:
    """It would count for ever, or never."""
    written = changed(("deniedAt",), ...)
    assert refusal(written) == "says denied, and has absent as deniedAt"
    assert not VALIDATOR.is_valid(written)


@pytest.mark.parametrize(
    "name", ["registryExpires", "sessionExpires", "firstApproved", "lastValidated", "expires", "credentialHash"]
)
def test_approved_means_a_credential_and_all_its_moments(name: str) -> None:
    """Without one of them nothing bounds what is served."""
    empty = "" if name == "credentialHash" else None
    members: dict[str, Any] = {name: empty}
    assert refusal(document(**members)).startswith("says approved, without a credential or the moments")
    assert not VALIDATOR.is_valid(document(**members))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]" * 2, b'{"a":1,"a":2}', b"\xff", WRITTEN + WRITTEN, b"[" * 100])
def test_what_is_not_one_strict_document_is_none(raw: bytes) -> None:
    """The reader of requests reads approvals as well."""
    with pytest.raises(DocumentError):
        codec.parse(raw)


def test_the_credentials_life_ends_with_the_first_of_its_two_ends() -> None:
    """The password's own, or the session's."""
    assert EXAMPLE.life_ends_s == EXAMPLE.session_expires_s
    assert EXAMPLE._replace(registry_expires_s=NOW_S).life_ends_s == NOW_S


def test_the_schema_is_one() -> None:
    """By its own meta-schema, and it names every member that is written."""
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]) == set(document(DENIED_EXAMPLE))
    assert set(SCHEMA["required"]) == set(document())
    assert SCHEMA["properties"]["state"]["enum"] == [APPROVED, DENIED]
