"""The second look at a token, by PyJWT."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from pullpass import identity
from pullpass.errors import PullpassError
from pullpass.exchange.token import verify
from pullpass.secret import Secret
from support import ALGORITHMS, AUDIENCE, ISSUER, NOW_S, base64url, make_claims, make_token, public_jwk, sign

if TYPE_CHECKING:
    from pathlib import Path

HEADER = b'{"alg":"ES256","kid":"key-ES256"}'


def look(token: str, jwks: str = "", *, audience: str = AUDIENCE, now_s: float = NOW_S + 10) -> None:
    """Read a token with the light reader, and then look a second time."""
    subject = identity.read(Secret(token), (ISSUER,), NOW_S + 10)
    assert subject is not None
    verify(Secret(token), subject, audience, jwks, now_s)


def refusal(token: str, jwks: str = "", **arguments: Any) -> PullpassError:
    """The error of a second look at a token that the light reader takes."""
    with pytest.raises(PullpassError) as caught:
        look(token, jwks, **arguments)
    assert token not in caught.value.line()
    assert "\n" not in caught.value.line()
    return caught.value


def key_file(directory: Path, *keys: object) -> str:
    """A JWK set in a file."""
    path = directory / "jwks.json"
    path.write_text(json.dumps({"keys": keys}))
    return str(path)


@pytest.fixture
def jwks(tmp_path: Path) -> str:
    """The keys of an API server that signs with several."""
    return key_file(tmp_path, *(public_jwk(alg) for alg in ALGORITHMS))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_a_signed_token_passes_with_keys_and_without(alg: str, jwks: str) -> None:
    """Every algorithm an API server has, under the key that the token names."""
    look(make_token(alg=alg))
    look(make_token(alg=alg), jwks)


def test_without_keys_the_signature_is_the_clouds_job() -> None:
    """A token that nobody signed passes, as it will fail at STS."""
    head, payload, _ = make_token().split(".")
    look(f"{head}.{payload}.{base64url(b'nobody')}")


def test_a_key_without_an_algorithm_verifies_each_of_its_type(tmp_path: Path) -> None:
    """`alg` and `use` are optional in a JWK; its type still binds it."""
    bare = {key: value for key, value in public_jwk("RS256").items() if key not in ("alg", "use")}
    path = key_file(tmp_path, bare)
    for alg in ("RS256", "RS384", "RS512"):
        look(make_token(alg=alg, header={"kid": "key-RS256"}), path)


def test_of_two_keys_with_one_name_the_fitting_one_is_taken(tmp_path: Path) -> None:
    """RFC 7517 4.5: keys of different types may share a name."""
    path = key_file(tmp_path, public_jwk("RS256") | {"kid": "one"}, public_jwk("ES256") | {"kid": "one"})
    look(make_token(header={"kid": "one"}), path)


def test_a_key_file_may_be_a_link(jwks: str, tmp_path: Path) -> None:
    """A mounted ConfigMap is made of them."""
    (tmp_path / "link").symlink_to(jwks)
    look(make_token(), str(tmp_path / "link"))


@pytest.mark.parametrize("part", [0, 1, 2])
def test_a_token_of_which_a_part_was_exchanged_is_refused(part: int, jwks: str) -> None:
    """Header, payload and signature each come from a token that is valid by itself."""
    parts = make_token().split(".")
    other = make_token(make_claims(namespace="team-b"), header={"typ": "JWT"}).split(".")
    parts[part] = other[part]
    error = refusal(".".join(parts), jwks)
    assert (error.code, error.status) == ("token-signature", 3)


@pytest.mark.parametrize("signature", [b"s", b"\0" * 64, b"\xff" * 64, b"s" * 63, b"s" * 256])
@pytest.mark.parametrize("alg", ["ES256", "RS256"])
def test_a_signature_of_any_other_form_is_refused(alg: str, signature: bytes, jwks: str) -> None:
    """Wrong lengths and impossible numbers are wrong signatures, not defects."""
    token = f"{make_token(alg=alg).rpartition('.')[0]}.{base64url(signature)}"
    assert refusal(token, jwks).code == "token-signature"


@pytest.mark.parametrize(
    ("header", "fact"),
    [
        ({"kid": "rotated\naway"}, r"the key rotated\naway"),
        ({"kid": ""}, "the key ,"),
        ({"kid": "key-RS256"}, "token says ES256"),
        ({"kid": "key-ES384"}, "token says ES256"),
    ],
)
def test_a_token_whose_key_is_not_there_is_refused(header: dict[str, str], fact: str, jwks: str) -> None:
    """An unknown key, and one of another type or curve."""
    error = refusal(make_token(header=header), jwks)
    assert (error.code, error.status) == ("token-signature", 3)
    assert fact in error.what
    assert jwks in error.what
    assert "/openid/v1/jwks" in error.hint


def test_a_token_that_names_no_key_is_refused(jwks: str) -> None:
    """An API server always names one, so nothing is tried."""
    error = refusal(sign(b'{"alg":"ES256"}', json.dumps(make_claims()).encode()), jwks)
    assert error.code == "token-signature"
    assert "names no key" in error.what


def test_a_key_stays_with_the_algorithm_it_is_for(tmp_path: Path) -> None:
    """An RSA key published for RS256 verifies no RS512, though the numbers would."""
    path = key_file(tmp_path, public_jwk("RS256"))
    error = refusal(make_token(alg="RS512", header={"kid": "key-RS256"}), path)
    assert error.code == "token-signature"
    assert "token says RS512" in error.what


def test_another_audience_is_refused() -> None:
    """The library checks it too, with the signature and without."""
    error = refusal(make_token(), audience="pull.other.test")
    assert (error.code, error.status) == ("token-audience", 3)
    assert "pull.other.test" in error.what


@pytest.mark.parametrize(
    ("now_s", "code"), [(NOW_S + 3600, "token-expired"), (NOW_S - 61, "token-not-yet-valid"), (NOW_S + 3599.9, None)]
)
def test_time_is_that_of_the_run(now_s: float, code: str | None, jwks: str) -> None:
    """A wait between the readers may have ended the token, and the machine's clock is not asked."""
    if code is None:
        look(make_token(), jwks, now_s=now_s)
    else:
        assert refusal(make_token(), jwks, now_s=now_s).code == code


@pytest.mark.parametrize("era_s", [1_000_000_000, 4_000_000_000])
def test_the_librarys_own_clock_has_no_say(era_s: int, jwks: str) -> None:
    """A run whose clock says another century is consistent with itself."""
    token = Secret(make_token(make_claims(now_s=era_s)))
    subject = identity.read(token, (ISSUER,), era_s)
    assert subject is not None
    for path in ("", jwks):
        verify(token, subject, AUDIENCE, path, era_s)


@pytest.mark.parametrize(
    "change",
    [
        {"namespace": "team-b"},
        {"service_account": "admin"},
        {"uid": "another"},
        {"audiences": (AUDIENCE, "other")},
        {"expires_s": NOW_S + 7200},
        {"pod": ""},
        {"issuer": "https://other.example.test"},
    ],
)
def test_readers_that_disagree_are_refused(change: dict[str, Any]) -> None:
    """Whatever the first reader made of a token, the second must make the same of it."""
    token = Secret(make_token())
    subject = identity.read(token, (ISSUER,), NOW_S)
    assert subject is not None
    with pytest.raises(PullpassError) as caught:
        verify(token, subject._replace(**change), AUDIENCE, "", NOW_S)
    assert (caught.value.code, caught.value.status) == ("token-readers-disagree", 3)


@pytest.mark.parametrize("text", ["", "a.b.c", "no token", "\N{SNOWMAN}.a.b", "\ud800.a.b"])
def test_what_the_library_refuses_is_a_disagreement(text: str) -> None:
    """The first reader would not have made a subject of it, so one of the two is wrong; the text is not shown."""
    subject = identity.read(Secret(make_token()), (ISSUER,), NOW_S)
    assert subject is not None
    with pytest.raises(PullpassError) as caught:
        verify(Secret(text), subject, AUDIENCE, "", NOW_S)
    assert caught.value.code == "token-readers-disagree"
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not json",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":[]}',
        b'{"keys":[1,null,"x",{}]}',
        b'{"keys":[],"keys":[]}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_a_file_without_keys_is_a_mistake_of_the_configuration(content: bytes, tmp_path: Path) -> None:
    """It exits with 2, as the token is not at fault."""
    path = tmp_path / "jwks.json"
    path.write_bytes(content)
    error = refusal(make_token(), str(path))
    assert (error.code, error.status) == ("jwks-keys", 2)
    assert str(path) in error.what


@pytest.mark.parametrize(
    "change",
    [
        {"kty": "oct", "k": base64url(b"a secret that everybody knows ...")},
        {"use": "enc"},
        {"kid": None},
        {"kid": 7},
        {"kty": ["EC"]},
        {"kty": "OKP", "crv": "Ed25519"},
        {"crv": "secp256k1"},
        {"alg": "ES384"},
        {"alg": "HS256"},
        {"alg": None},
        {"d": base64url(b"1" * 32)},
    ],
)
def test_a_key_that_must_not_verify_is_no_key(change: dict[str, Any], tmp_path: Path) -> None:
    """Symmetric keys, encryption keys, other curves, a lying algorithm, and a private key that somebody left there."""
    error = refusal(make_token(), key_file(tmp_path, public_jwk() | change))
    assert error.code == "jwks-keys"
    assert "no RSA or elliptic-curve signature key" in error.what


@pytest.mark.parametrize("change", [{"x": 7}, {"x": "!"}, {"x": base64url(b"\1" * 32)}, {"y": None}, {"x": ""}])
def test_a_damaged_key_is_a_mistake_of_the_configuration(change: dict[str, Any], tmp_path: Path) -> None:
    """A number of the wrong kind, and a point that is not on the curve."""
    error = refusal(make_token(), key_file(tmp_path, public_jwk() | change))
    assert error.code == "jwks-keys"
    assert "damaged key key-ES256" in error.what


def test_a_damaged_rsa_key_is_a_mistake_of_the_configuration(tmp_path: Path) -> None:
    """As with the other type."""
    error = refusal(make_token(alg="RS256"), key_file(tmp_path, public_jwk("RS256") | {"e": "AA"}))
    assert error.code == "jwks-keys"


def test_a_short_key_is_refused_without_a_warning(tmp_path: Path) -> None:
    """The library would write to stderr, where one line is all there is room for."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=1024)  # noqa: S505 - short is the point
    numbers = key.public_key().public_numbers()
    short = public_jwk("RS256") | {"n": base64url(numbers.n.to_bytes(128, "big"))}
    error = refusal(make_token(alg="RS256"), key_file(tmp_path, short))
    assert error.code == "jwks-keys"
    assert "shorter" in error.what


def test_a_key_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    """With the reason of the operating system."""
    error = refusal(make_token(), str(tmp_path / "absent.json"))
    assert (error.code, error.status) == ("jwks-file", 2)
    assert "absent.json can't be read: No such file" in error.what


def test_a_key_file_must_be_a_bounded_regular_file(tmp_path: Path) -> None:
    """A pipe would stop the run, and a gigabyte end it."""
    os.mkfifo(tmp_path / "pipe")
    assert "not a regular file" in refusal(make_token(), str(tmp_path / "pipe")).what
    (tmp_path / "long").write_bytes(b" " * (1024 * 1024 + 1))
    assert "longer than 1048576 bytes" in refusal(make_token(), str(tmp_path / "long")).what


@pytest.mark.parametrize("mode", [0o602, 0o620, 0o666])
def test_a_key_file_that_others_may_write_is_refused(mode: int, jwks: str) -> None:
    """Whoever can write it can sign tokens."""
    os.chmod(jwks, mode)
    error = refusal(make_token(), jwks)
    assert error.code == "jwks-file"
    assert "written by others" in error.what


def test_a_key_file_that_others_may_replace_is_refused(tmp_path: Path) -> None:
    """In a directory that others may write, and in one below such a directory."""
    (tmp_path / "open" / "keys").mkdir(parents=True)
    path = key_file(tmp_path / "open" / "keys", public_jwk())
    for directory in (tmp_path / "open" / "keys", tmp_path / "open"):
        look(make_token(), path)
        directory.chmod(0o777)
        error = refusal(make_token(), path)
        assert (error.code, error.status) == ("jwks-file", 2)
        assert error.what == f"{path}: {directory} may be written by others (mode 0777) and is not sticky"
        directory.chmod(0o755)


@pytest.mark.needs("root")
def test_a_key_file_of_somebody_else_is_refused(jwks: str) -> None:
    """Its owner could change its mode at any time."""
    os.chown(jwks, 12345, 12345)
    assert refusal(make_token(), jwks).code == "jwks-file"
