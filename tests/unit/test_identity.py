"""The light reader of service-account tokens."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from pullpass import identity
from pullpass.errors import PullpassError
from pullpass.secret import Secret
from support import ALGORITHMS, AUDIENCE, ISSUER, NOW_S, base64url, make_claims, make_token, sign

if TYPE_CHECKING:
    from collections.abc import Callable

ABSENT = object()
HEADER = b'{"alg":"ES256","kid":"key-ES256"}'


def read(token: str, issuers: tuple[str, ...] = (ISSUER,), now_s: float = NOW_S + 10) -> identity.Subject:
    """The subject of a token that must have one."""
    subject = identity.read(Secret(token), issuers, now_s)
    assert subject is not None
    return subject


def refusal(token: str, now_s: float = NOW_S + 10) -> PullpassError:
    """The error that a token is refused with, after the checks that hold for every one."""
    with pytest.raises(PullpassError) as caught:
        read(token, now_s=now_s)
    error = caught.value
    assert "\n" not in error.line()
    assert error.line().isprintable()
    assert token not in error.line() or len(token) < 10
    return error


def changed(path: str, value: object) -> dict[str, Any]:
    """The usual claims with the one at `path` (parts split at `/`) replaced, or dropped for `ABSENT`."""
    claims = make_claims()
    *way, last = path.split("/")
    parent = claims
    for part in way:
        parent = parent[part]
    if value is ABSENT:
        del parent[last]
    else:
        parent[last] = value
    return claims


def test_no_token_is_no_subject() -> None:
    """A static pod has none."""
    assert identity.read(None, (ISSUER,), NOW_S) is None


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_token_of_an_api_server_is_read(alg: str) -> None:
    """Every claim of a pod-bound token arrives, whatever the key."""
    assert read(make_token(alg=alg)) == identity.Subject(
        issuer=ISSUER,
        namespace="team-a",
        service_account="web",
        uid="c1b8e1a4-52c4-4d6e-b7a0-2f5f7e0d1a33",
        pod="web-7c9d",
        node="node-1",
        audiences=(AUDIENCE,),
        expires_s=NOW_S + 3600,
        jti="5a1c1f5e-9d2b-4a53-8a4c-6a0d3a3f2f10",
    )


def test_a_token_with_no_more_than_it_needs_is_read() -> None:
    """Older servers write no node and no id, `kubectl create token` binds to no pod, and `aud` may be one string."""
    claims = make_claims() | {"aud": AUDIENCE}
    del claims["jti"], claims["nbf"], claims["kubernetes.io"]["pod"], claims["kubernetes.io"]["node"]
    subject = read(sign(b'{"alg":"RS256"}', json.dumps(claims).encode()))
    assert (subject.audiences, subject.pod, subject.node, subject.jti) == ((AUDIENCE,), "", "", "")


def test_a_node_that_was_not_found_has_a_name_alone() -> None:
    """The API server then writes no uid for it."""
    assert read(make_token(changed("kubernetes.io/node", {"name": "gone.example.test"}))).node == "gone.example.test"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("kubernetes.io/namespace", "a"),
        ("kubernetes.io/namespace", "0" * 63),
        ("kubernetes.io/namespace", "a-9"),
        ("kubernetes.io/serviceaccount/name", "a.b-c.d"),
        ("kubernetes.io/serviceaccount/name", "a" * 253),
        ("kubernetes.io/serviceaccount/uid", "u" * 128),
    ],
)
def test_every_legal_name_is_read(path: str, value: str) -> None:
    """A namespace is a DNS label, a service account a DNS subdomain whose labels may be long."""
    claims = changed(path, value)
    private = claims["kubernetes.io"]
    claims["sub"] = f"system:serviceaccount:{private['namespace']}:{private['serviceaccount']['name']}"
    subject = read(make_token(claims))
    assert value in (subject.namespace, subject.service_account, subject.uid)


def test_the_token_is_in_no_error_and_no_secret_in_a_subject() -> None:
    """What a subject shows are claims."""
    token = make_token()
    assert token not in repr(read(token))
    assert token.rpartition(".")[2] not in repr(read(token))


@pytest.mark.parametrize(
    ("edit", "fact"),
    [
        (lambda token: token[:20], "1 parts"),
        (lambda token: token.rpartition(".")[0], "2 parts"),
        (lambda token: f"{token}.x", "4 parts"),
        (lambda token: token.ljust(20_001, "A"), "20001 characters"),
        (lambda token: f"{token}=", "signature is not base64url"),
        (lambda token: f"{token}\n", "signature is not base64url"),
        (lambda token: f" {token}", "header is not base64url"),
        (lambda token: token.replace(".", ". ", 1), "payload is not base64url"),
        (lambda token: token.rpartition(".")[0] + ".", "signature is not base64url"),
        (lambda token: token.rpartition(".")[0] + ".A", "signature is not base64url"),
        (lambda token: token.rpartition(".")[0] + ".AB", "signature is not base64url"),
        (lambda token: token.rpartition(".")[0] + ".ab+/", "signature is not base64url"),
        (lambda token: token.rpartition(".")[0] + ".\N{SNOWMAN}aaa", "signature is not base64url"),
        (
            lambda token: token.rpartition(".")[0] + ".\N{FULLWIDTH LATIN SMALL LETTER A}aaa",
            "signature is not base64url",
        ),
        (lambda _: "password", "1 parts"),
        (lambda _: "..", "header is not base64url"),
    ],
)
def test_what_has_not_the_form_of_a_token_is_refused(edit: Callable[[str], str], fact: str) -> None:
    """Each part has one canonical text, so that no second text is the same token."""
    error = refusal(edit(make_token()))
    assert (error.code, error.status) == ("token-malformed", 2)
    assert fact in error.what


def test_a_token_of_the_greatest_length_is_read() -> None:
    """STS takes 20000 characters."""
    head, signature = base64url(HEADER), base64url(b"s" * 64)
    room = (20_000 - len(head) - len(signature) - 2) * 3 // 4
    payload = json.dumps(make_claims()).encode()
    token = f"{head}.{base64url(payload.ljust(room))}.{signature}"
    assert len(token) == 20_000
    assert read(token).namespace == "team-a"


@pytest.mark.parametrize(
    ("header", "code", "fact"),
    [
        (b"", "token-malformed", "header is not base64url"),
        (b"not json", "token-malformed", "header is not JSON"),
        (b'["RS256"]', "token-malformed", "header is an array"),
        (b'{"alg":"RS256"}{}', "token-malformed", "second document"),
        (b'{"alg":"none","alg":"RS256"}', "token-malformed", '"alg" twice'),
        (b'\xef\xbb\xbf{"alg":"RS256"}', "token-malformed", "byte order mark"),
        (b"{}", "token-algorithm", "alg is absent"),
        (b'{"alg":null}', "token-algorithm", "alg is null"),
        (b'{"alg":["RS256"]}', "token-algorithm", "alg is an array"),
        (b'{"alg":"none"}', "token-algorithm", '"none"'),
        (b'{"alg":"None"}', "token-algorithm", '"None"'),
        (b'{"alg":""}', "token-algorithm", '""'),
        (b'{"alg":"HS256"}', "token-algorithm", '"HS256"'),
        (b'{"alg":"PS256"}', "token-algorithm", '"PS256"'),
        (b'{"alg":"ES256K"}', "token-algorithm", '"ES256K"'),
        (b'{"alg":"EdDSA"}', "token-algorithm", '"EdDSA"'),
        (b'{"alg":"rs256"}', "token-algorithm", '"rs256"'),
        (b'{"alg":"RS256\\n"}', "token-algorithm", r'"RS256\n"'),
        (b'{"alg":"RS256","crit":["exp"]}', "token-malformed", "header has crit"),
        (b'{"alg":"RS256","crit":[]}', "token-malformed", "header has crit"),
        (b'{"alg":"RS256","b64":false}', "token-malformed", "header has b64"),
        (b'{"alg":"RS256","kid":7}', "token-malformed", "kid is 7"),
        (b'{"alg":"RS256","kid":null}', "token-malformed", "kid is null"),
    ],
)
def test_a_header_that_an_api_server_would_not_write_is_refused(header: bytes, code: str, fact: str) -> None:
    """Only RSA and elliptic-curve signatures, and no extension that changes what the token means."""
    error = refusal(sign(header, json.dumps(make_claims()).encode()))
    assert (error.code, error.status) == (code, 2)
    assert fact in error.what


def test_an_unsigned_token_is_told_its_algorithm() -> None:
    """The usual form of `alg: none` has an empty signature, but the algorithm is the reason."""
    payload = base64url(json.dumps(make_claims()).encode())
    header = base64url(b'{"alg":"none"}')
    assert refusal(f"{header}.{payload}.").code == "token-algorithm"


@pytest.mark.parametrize(
    ("payload", "fact"),
    [
        (b"", "payload is not base64url"),
        (b"   ", "payload is empty"),
        (b"[]", "payload is an array"),
        (b"null", "payload is null"),
        (b'"sub"', "payload is a string"),
        (json.dumps(make_claims()).encode()[:-9], "payload is not JSON"),
        (json.dumps(make_claims()).encode()[:-1] + b',"sub":"x"}', '"sub" twice'),
        (json.dumps(make_claims()).encode().replace(b'"uid"', b'"uid":"x","uid"', 1), '"uid" twice'),
        (json.dumps(make_claims()).encode() + b"{}", "second document"),
        (json.dumps(make_claims()).encode().replace(b"1800003600", b"1e400"), "no double can hold"),
        (json.dumps(make_claims()).encode().replace(b"1800003600", b"NaN"), "NaN"),
        (json.dumps(make_claims()).encode().replace(b"team-a", rb"\ud800"), "surrogate"),
        (json.dumps(make_claims()).encode("utf-16"), "UTF-16"),
        (b"[" * 10_000, "nested deeper"),
    ],
)
def test_a_payload_that_is_not_one_strict_object_is_refused(payload: bytes, fact: str) -> None:
    """Two readers must not see two payloads in one token."""
    error = refusal(sign(HEADER, payload))
    assert (error.code, error.status) == ("token-malformed", 2)
    assert fact in error.what


@pytest.mark.parametrize(
    "value", [ABSENT, None, True, 0, -1, 1.8e9, 1800000000.5, "1800000000", 253402300800, 10**30, []]
)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_time_is_whole_seconds(name: str, value: object) -> None:
    """Libraries differ in what they make of other kinds of numbers; an API server writes none."""
    token = make_token(changed(name, value))
    if name == "nbf" and value is ABSENT:
        assert read(token).namespace == "team-a"
        return
    error = refusal(token)
    assert (error.code, error.status) == ("token-claims", 2)
    assert f"claim {name} is " in error.what
    assert "expected whole seconds" in error.what


def test_the_last_moment_is_a_time() -> None:
    """The end of year 9999 is the last that RFC 3339 can write."""
    assert read(make_token(changed("exp", 253402300799))).expires_s == 253402300799.0


@pytest.mark.parametrize(
    ("path", "value", "fact"),
    [
        ("iss", ABSENT, "claim iss is absent"),
        ("iss", "", 'claim iss is ""'),
        ("iss", [ISSUER], "claim iss is an array"),
        ("iss", "https://a\n", r'claim iss is "https://a\n"'),
        ("sub", ABSENT, "claim sub is absent"),
        ("sub", None, "claim sub is null"),
        ("sub", 7, "claim sub is 7"),
        ("aud", ABSENT, "claim aud is absent"),
        ("aud", [], "claim aud is an array"),
        ("aud", "", 'claim aud is ""'),
        ("aud", [""], "claim aud is an array"),
        ("aud", [AUDIENCE, 1], "claim aud is an array"),
        ("aud", {AUDIENCE: 1}, "claim aud is an object"),
        ("jti", None, "claim jti is null"),
        ("jti", 1.5, "claim jti is 1.5"),
        ("jti", "j" * 129, "claim jti is"),
        ("kubernetes.io", ABSENT, "claim kubernetes.io is absent"),
        ("kubernetes.io", [], "claim kubernetes.io is an array"),
        ("kubernetes.io/namespace", ABSENT, "claim kubernetes.io.namespace is absent"),
        ("kubernetes.io/namespace", ["team-a"], "claim kubernetes.io.namespace is an array"),
        ("kubernetes.io/namespace", "", 'claim kubernetes.io.namespace is ""'),
        ("kubernetes.io/namespace", "a" * 64, "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "Team", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "a.b", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "a/b", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "-a", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "a-", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "a\n", r'claim kubernetes.io.namespace is "a\n"'),
        ("kubernetes.io/namespace", "\N{CYRILLIC SMALL LETTER A}", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/namespace", "\N{ARABIC-INDIC DIGIT ONE}", "claim kubernetes.io.namespace is"),
        ("kubernetes.io/serviceaccount", ABSENT, "claim kubernetes.io.serviceaccount is absent"),
        ("kubernetes.io/serviceaccount", "web", 'claim kubernetes.io.serviceaccount is "web"'),
        ("kubernetes.io/serviceaccount/name", ABSENT, "claim kubernetes.io.serviceaccount.name is absent"),
        ("kubernetes.io/serviceaccount/name", "a" * 254, "claim kubernetes.io.serviceaccount.name is"),
        ("kubernetes.io/serviceaccount/name", "a..b", "claim kubernetes.io.serviceaccount.name is"),
        ("kubernetes.io/serviceaccount/name", ".a", "claim kubernetes.io.serviceaccount.name is"),
        ("kubernetes.io/serviceaccount/name", "a.", "claim kubernetes.io.serviceaccount.name is"),
        ("kubernetes.io/serviceaccount/name", "a.-b", "claim kubernetes.io.serviceaccount.name is"),
        ("kubernetes.io/serviceaccount/name", "a_b", "claim kubernetes.io.serviceaccount.name is"),
        ("kubernetes.io/serviceaccount/name", False, "claim kubernetes.io.serviceaccount.name is a boolean"),
        ("kubernetes.io/serviceaccount/uid", ABSENT, "claim kubernetes.io.serviceaccount.uid is absent"),
        ("kubernetes.io/serviceaccount/uid", "", 'claim kubernetes.io.serviceaccount.uid is ""'),
        ("kubernetes.io/serviceaccount/uid", "u" * 129, "claim kubernetes.io.serviceaccount.uid is"),
        ("kubernetes.io/serviceaccount/uid", "a\x1bb", r'claim kubernetes.io.serviceaccount.uid is "a\x1bb"'),
        ("kubernetes.io/serviceaccount/uid", "\N{SNOWMAN}", "claim kubernetes.io.serviceaccount.uid is"),
        ("kubernetes.io/pod", None, "claim kubernetes.io.pod is null"),
        ("kubernetes.io/pod/name", ABSENT, "claim kubernetes.io.pod.name is absent"),
        ("kubernetes.io/pod/name", "A b", "claim kubernetes.io.pod.name is"),
        ("kubernetes.io/node", [], "claim kubernetes.io.node is an array"),
        ("kubernetes.io/node/name", "a/b", "claim kubernetes.io.node.name is"),
    ],
)
def test_a_claim_that_an_api_server_would_not_write_is_refused(path: str, value: object, fact: str) -> None:
    """Names become part of role names, so that each must be one that Kubernetes takes."""
    error = refusal(make_token(changed(path, value)))
    assert (error.code, error.status) == ("token-claims", 2)
    assert fact in error.what


@pytest.mark.parametrize(
    "subject",
    [
        "system:serviceaccount:team-b:web",
        "system:serviceaccount:team-a:admin",
        "system:serviceaccount:team-a:web:x",
        "system:serviceaccount:team-a/web",
        "system:node:team-a:web",
        "System:serviceaccount:team-a:web",
        " system:serviceaccount:team-a:web",
    ],
)
def test_a_sub_that_disagrees_with_the_private_claims_is_refused(subject: str) -> None:
    """The cloud's trust policy reads `sub`, our policy reads the others: they must be one account."""
    error = refusal(make_token(make_claims() | {"sub": subject}))
    assert (error.code, error.status) == ("token-claims", 2)
    assert subject in error.what
    assert "system:serviceaccount:team-a:web" in error.what


@pytest.mark.parametrize("issuer", [ISSUER + "/", ISSUER.upper(), ISSUER[:-1], "https://evil.example.test"])
def test_another_issuer_is_refused(issuer: str) -> None:
    """Issuers are compared as they are, with both values in the error."""
    error = refusal(make_token(make_claims(issuer=issuer)))
    assert (error.code, error.status) == ("token-issuer", 3)
    assert issuer in error.what
    assert ISSUER in error.what


def test_any_of_the_configured_issuers_is_accepted() -> None:
    """A cluster whose issuer changes has two for a while."""
    assert read(make_token(), ("https://old.example.test", ISSUER)).issuer == ISSUER


@pytest.mark.parametrize(("after_s", "shown"), [(3600, "0s ago"), (3600.25, "0s ago"), (3661, "61s ago"), (1e9, "ago")])
def test_an_expired_token_is_refused(after_s: float, shown: str) -> None:
    """At its `exp` a token has ended, without leeway."""
    error = refusal(make_token(), now_s=NOW_S + after_s)
    assert (error.code, error.status) == ("token-expired", 3)
    assert shown in error.what


def test_a_token_is_valid_until_the_moment_of_its_expiry() -> None:
    """A fraction of a second before `exp` it still counts."""
    assert read(make_token(), now_s=NOW_S + 3599.99).expires_s == NOW_S + 3600


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_may_be_a_minute_ahead(name: str) -> None:
    """The API server's clock is not ours; more than a minute is another matter."""
    ahead = make_token(make_claims() | {name: int(NOW_S) + 160})
    assert read(ahead, now_s=NOW_S + 100).namespace == "team-a"
    error = refusal(ahead, now_s=NOW_S + 99)
    assert (error.code, error.status) == ("token-not-yet-valid", 3)
    assert f"{name} is 61s ahead" in error.what


@pytest.mark.parametrize("audiences", [AUDIENCE, [AUDIENCE], [AUDIENCE, AUDIENCE]])
def test_the_expected_audience_is_accepted(audiences: object) -> None:
    """As one string or in an array of its own."""
    identity.check_audience(read(make_token(make_claims() | {"aud": audiences})), AUDIENCE)


@pytest.mark.parametrize(
    "audiences", ["other", ["other", "pull"], [f"{AUDIENCE} "], "other\nline", ["other", AUDIENCE]]
)
def test_another_audience_is_refused(audiences: object) -> None:
    """Both values are named, and the kubelet's setting to look at."""
    subject = read(make_token(make_claims() | {"aud": audiences}))
    with pytest.raises(PullpassError) as caught:
        identity.check_audience(subject, AUDIENCE)
    error = caught.value
    assert (error.code, error.status) == ("token-audience", 3)
    assert subject.audiences[0].partition("\n")[0] in error.what
    assert f"expected {AUDIENCE}" in error.what
    assert "serviceAccountTokenAudience" in error.hint
    assert "\n" not in error.line()
