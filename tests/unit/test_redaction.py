"""What of a cloud's words is shown."""

from __future__ import annotations

import base64
import tracemalloc

import pytest

from factories import ROLE
from pullpass.exchange.redaction import LIMIT_CHARS, Redactor
from pullpass.secret import Secret
from support import ISSUER, base64url, make_claims, make_token

HEADER, PAYLOAD, _ = make_token().split(".")
SIGNATURE = base64url(bytes(range(192, 256)))  # the same in every run, unlike a real one
TOKEN = f"{HEADER}.{PAYLOAD}.{SIGNATURE}"
SHORT = "canary-8c1f"
FACTS = (ROLE, "prod-1_team-a_web", "us-west-2", ISSUER)


def redacted(text: str, *secrets: str) -> str:
    """The text without these secrets, the token and the short one."""
    return Redactor([Secret(secret) for secret in (*secrets, TOKEN, SHORT, "")], FACTS)(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"sent {TOKEN}, twice {TOKEN}", "sent [redacted], twice [redacted]"),
        (f"signature {SIGNATURE} of {PAYLOAD}", "signature [redacted] of [redacted]"),
        (f"NO_{TOKEN} '{SHORT}'", "NO_[redacted] '[redacted]'"),
        (f"cut {SIGNATURE[1:-1]}!", "cut [redacted]!"),
        (f"a piece: {SIGNATURE[20:36]}.", "a piece: [redacted]."),
        (f"too little: {SIGNATURE[20:31]}", f"too little: {SIGNATURE[20:31]}"),
        ("", ""),
        ("no secret in here", "no secret in here"),
    ],
)
def test_secrets_and_their_parts(text: str, expected: str) -> None:
    """A whole secret, a part, and a piece of 16 characters are blanked, and nothing around them."""
    assert redacted(text) == expected


@pytest.mark.parametrize(
    "echo",
    [
        pytest.param(" ".join(SIGNATURE[at : at + 20] for at in range(0, len(SIGNATURE), 20)), id="words"),
        pytest.param(" ".join(SIGNATURE), id="single characters"),
        pytest.param("\r\n\t".join(SIGNATURE[at : at + 7] for at in range(0, len(SIGNATURE), 7)), id="lines"),
        pytest.param(SIGNATURE.lower(), id="lower case"),
        pytest.param(SIGNATURE.translate(str.maketrans("-_", "+/")), id="the other alphabet"),
        pytest.param("".join(f"%{ord(char):02X}" for char in SIGNATURE), id="percent-encoded"),
        pytest.param(SIGNATURE.replace("-", "%2D").replace("_", "%5f"), id="percent-encoded in part"),
        pytest.param(base64.b64encode(SIGNATURE.encode()).decode(), id="base64"),
        pytest.param(base64.b64encode(TOKEN.encode()).decode(), id="base64 of the token"),
        pytest.param(SIGNATURE.encode().hex(), id="hexadecimal"),
        pytest.param(make_token(make_claims(namespace="team-b")), id="another token"),
    ],
)
def test_echoes(echo: str) -> None:
    """An echo that was wrapped or encoded on the way shows nothing of the secret."""
    shown = redacted(f"rejected <{echo}> here")
    assert shown.startswith("rejected <")
    assert shown.endswith("> here")
    rest = shown.removeprefix("rejected <").removesuffix("> here").replace("[redacted]", "")
    assert len(rest) < 16


@pytest.mark.parametrize(
    "text",
    [
        f"arn:aws:sts::111122223333:assumed-role/pull-team-a/prod-1_team-a_web is not authorized to assume {ROLE}",
        f"No OpenIDConnect provider found in your account for {ISSUER}",
        "an explicit deny in arn:aws:organizations::111122223333:policy/o-abcdef1234/service_control_policy/p-abcdef12",
        "see constraints/iam.allowServiceAccountCredentialLifetimeExtension",
        "(RequestID: 01234567-89ab-CDEF-0123-456789abcdef)",
    ],
)
def test_facts_are_shown(text: str) -> None:
    """What an operator needs of a message stays, though it is as long and as odd as a secret."""
    assert redacted(text) == text


def test_what_stands_before_an_echo_is_no_piece_of_it() -> None:
    """The last character of one part, before an echo of the next, is a character of the message."""
    payload, signature = "p" * 31 + "e", "s" * 32
    assert redacted(f"signature {signature}", f"h.{payload}.{signature}") == "signature [redacted]"


def test_facts_do_not_cover_for_others() -> None:
    """A long run with a fact in it is a long run; and a fact that is a part of a secret is not shown."""
    unknown = "q" * 32
    assert redacted(f"prod-1_team-a_web/{unknown}") == "[redacted]"
    assert redacted("q" * 31) == "q" * 31
    assert redacted(unknown) == "[redacted]"
    assert redacted("prod-1_team-a_web", "x-prod-1_team-a_web-x") == "[redacted]"


def test_secrets_are_added() -> None:
    """What a cloud has issued meanwhile is hidden as well."""
    redactor = Redactor([], [])
    assert redactor("an-issued-session") == "an-issued-session"
    redactor.add(Secret("an-issued-session"))
    assert redactor("an-issued-session") == "[redacted]"


def test_no_fragment_is_left_at_the_cut() -> None:
    """Of a text that is much too long, the beginning is shown; what the cut leaves of a token there is hidden too."""
    text = "x " * (LIMIT_CHARS // 2 - 10) + TOKEN * 100
    shown = redacted(text)
    assert shown == "x " * (LIMIT_CHARS // 2 - 10) + "[redacted]"


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param(".".join("e" * 24), id="many parts"),
        pytest.param("e", id="one character"),
        pytest.param("e" * 200_000, id="many characters"),
        pytest.param(".".join(["e" * 16] * 10_000), id="many long parts"),
    ],
)
def test_hostile_secret(secret: str) -> None:
    """A secret that a hostile cloud chose together with its message can't make the text grow, or take memory."""
    redactor = Redactor([Secret(secret)], FACTS)
    tracemalloc.start()
    try:
        shown = redactor("e" * 1_000_000)
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(shown) <= 10 * LIMIT_CHARS
    assert peak_bytes < 10_000_000
