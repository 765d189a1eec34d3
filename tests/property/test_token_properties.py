"""Both readers of a token see the same: the light one, and PyJWT."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pullpass import identity
from pullpass.errors import PullpassError
from pullpass.exchange.token import verify
from pullpass.secret import Secret
from support import ALGORITHMS, AUDIENCE, ISSUER, make_claims, make_token, public_jwk, sign

if TYPE_CHECKING:
    from pathlib import Path

# PyJWT asks the machine's clock, so these tokens live around the present, and their times keep off its edges.
START_S = int(time.time())
PAST_S = st.integers(-10_000, -40)
FUTURE_S = st.integers(200, 10_000)
NAMES = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
VALID = make_token(make_claims(now_s=START_S))


@pytest.fixture(scope="module")
def jwks(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The API server's keys in a file."""
    path: Path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps({"keys": [public_jwk(alg) for alg in ALGORITHMS]}))
    return str(path)


def library_takes(token: str, alg: str, audience: str = AUDIENCE) -> dict[str, Any] | None:
    """What PyJWT makes of a token with all of its own checks, its own clock included; None for a refusal."""
    try:
        return jwt.decode(
            token,
            jwt.PyJWK(public_jwk(alg)),
            algorithms=[alg],
            audience=audience,
            issuer=ISSUER,
            options={"require": ["exp", "iat", "iss", "sub", "aud"]},
        )
    except jwt.PyJWTError:
        return None


def light_takes(token: str, audience: str = AUDIENCE) -> identity.Subject | PullpassError:
    """What the light reader makes of it."""
    try:
        subject = identity.read(Secret(token), (ISSUER,), time.time())
        assert subject is not None
        identity.check_audience(subject, audience)
    except PullpassError as error:
        return error
    return subject


@st.composite
def claim_sets(draw: st.DrawFn) -> dict[str, Any]:
    """Claims as an API server writes them, of some of which something is not as it should be."""
    now_s = int(time.time())
    claims = make_claims(namespace=draw(NAMES), service_account=draw(NAMES), now_s=now_s)
    claims["exp"] = now_s + draw(st.one_of(FUTURE_S, FUTURE_S, PAST_S))
    for name in ("iat", "nbf"):
        claims[name] = now_s + draw(st.one_of(PAST_S, PAST_S, PAST_S, FUTURE_S))
    claims["iss"] = draw(st.sampled_from([ISSUER, ISSUER, ISSUER, f"{ISSUER}/", "https://other.example.test"]))
    claims["aud"] = draw(st.sampled_from([[AUDIENCE], AUDIENCE, ["x", AUDIENCE], ["x"], "x", f"{AUDIENCE}x", [], 7]))
    for name in draw(st.sets(st.sampled_from(["exp", "iat", "nbf", "iss", "sub", "aud", "jti"]), max_size=1)):
        if draw(st.booleans()):
            del claims[name]
    return claims


@given(claim_sets(), st.sampled_from(ALGORITHMS))
def test_both_readers_take_and_refuse_the_same_tokens(jwks: str, claims: dict[str, Any], alg: str) -> None:
    """Of a signed token with legal names, times, issuer, audience and presence decide, and both decide alike."""
    token = make_token(claims, alg=alg)
    light, library = light_takes(token), library_takes(token, alg)
    if isinstance(light, PullpassError):
        # The light reader alone refuses a token that is for somebody else as well.
        assert library is None or library["aud"] == ["x", AUDIENCE], light.line()
        return
    assert library is not None
    assert light.issuer == library["iss"]
    assert f"system:serviceaccount:{light.namespace}:{light.service_account}" == library["sub"]
    assert list(light.audiences) == ([library["aud"]] if isinstance(library["aud"], str) else library["aud"])
    assert light.expires_s == library["exp"]
    assert light.jti == library.get("jti", "")
    for path in ("", jwks):
        verify(Secret(token), light, AUDIENCE, path, time.time())


PAYLOAD = json.dumps(make_claims(now_s=START_S - 1000)).encode()
SPLICES = [b"", b"\xff", b" ", *rb'" { } , : null true 1e400 NaN \ud800 0 - .'.split()]


@given(st.integers(0, len(PAYLOAD)), st.integers(0, 12), st.sampled_from(SPLICES) | st.binary(max_size=2))
def test_a_damaged_payload_means_the_same_to_both(jwks: str, start: int, length: int, splice: bytes) -> None:
    """The light reader is the stricter one: what it takes the library takes, and what it finds untimely that does."""
    token = sign(b'{"alg":"ES256","kid":"key-ES256"}', PAYLOAD[:start] + splice + PAYLOAD[start + length :])
    light, library = light_takes(token), library_takes(token, "ES256")
    if isinstance(light, PullpassError):
        assert light.status in (2, 3)
        assert light.status == 2 or library is None, light.line()
        return
    assert library is not None
    verify(Secret(token), light, AUDIENCE, jwks, time.time())
    verify(Secret(token), light, AUDIENCE, "", time.time())


@given(st.integers(0, len(VALID)), st.integers(0, 3), st.text(max_size=3) | st.sampled_from("=.-_+/ \nAB"))
def test_no_other_text_is_the_same_token(jwks: str, start: int, length: int, splice: str) -> None:
    """A text with a stretch replaced is refused by one of the two at the latest when the signature is checked."""
    token = VALID[:start] + splice + VALID[start + length :]
    light = light_takes(token)
    if token == VALID:
        assert isinstance(light, identity.Subject)
        return
    if isinstance(light, PullpassError):
        assert light.code.startswith("token-")
        assert VALID[:100] not in light.line()
        return
    with pytest.raises(PullpassError) as caught:
        verify(Secret(token), light, AUDIENCE, jwks, time.time())
    assert caught.value.code == "token-signature"


@given(st.text(max_size=200) | st.lists(st.text("ABCabc012-_=", max_size=8), max_size=5).map(".".join))
def test_arbitrary_text_is_no_token(text: str) -> None:
    """Nothing but a refusal comes of it, with exit status 2, and the library would have none of it either."""
    light = light_takes(text) if text else None
    assert light is None or (isinstance(light, PullpassError) and light.status == 2)
    assert library_takes(text.encode("utf-8", "replace").decode(), "ES256") is None
