"""The error tree and its one line."""

from __future__ import annotations

import pickle
import string

import pytest

from pullpass import errors
from pullpass.errors import CODES, PullpassError, escape, number_of, outside


@pytest.mark.parametrize("code", CODES)
def test_a_code_has_a_form_a_status_and_a_hint(code: str) -> None:
    """Kebab-case, a status that says no, one of the classes, and what to do next in one printable line."""
    status, upstream, hint = CODES[code]
    assert set(code) <= set(string.ascii_lowercase + "-")
    assert not code.startswith("-")
    assert status in range(errors.FINDINGS, errors.LOCAL_STATE + 1)
    assert upstream in ("", errors.DENIED, errors.TOKEN_AT_FAULT, errors.CLOUD_UNREACHABLE, errors.INVALID)
    assert hint
    assert hint.isprintable()
    assert not hint.endswith(".")


@pytest.mark.parametrize("code", CODES)
def test_a_class_and_a_status_go_together(code: str) -> None:
    """The cloud's no, and its nonsense, exit with 4, its silence with 5; nothing else does."""
    status, upstream, _ = CODES[code]
    if upstream == errors.CLOUD_UNREACHABLE:
        assert status == errors.UNREACHABLE
    elif upstream:
        assert status == errors.CLOUD_REFUSED
    else:
        assert status not in (errors.CLOUD_REFUSED, errors.UNREACHABLE)


def test_an_error_takes_what_its_code_says() -> None:
    """Status, class and hint come from the table unless the place that raises knows a better hint."""
    error = PullpassError("credential-echo", "it came back")
    assert (error.status, error.upstream) == (4, "invalid")
    assert error.line() == f"pullpass: credential-echo: it came back; {CODES['credential-echo'][2]}"
    assert str(error) == error.line()
    assert (
        PullpassError("usage", "no such option", "try another").line() == "pullpass: usage: no such option; try another"
    )


@pytest.mark.parametrize(("count", "said"), [(0, "0 entries"), (1, "1 entry"), (2, "2 entries")])
def test_a_count_and_its_noun_agree(count: int, said: str) -> None:
    """One is one; none and more are many."""
    assert number_of(count, "entry", "entries") == said
    assert number_of(count, "line") == said.replace("entries", "lines").replace("entry", "line")


def test_an_unknown_code_is_a_defect() -> None:
    """A code that the documents don't list can't be raised."""
    with pytest.raises(KeyError):
        PullpassError("made-up", "what")


def test_an_error_is_one_line_whatever_is_in_it() -> None:
    """A registry's name must not write lines, colours or directions into the kubelet's log."""
    line = PullpassError("internal", "a\nb\r\x1b[31m\0\u202e\u2028\ud800\x7f", "c\nd").line()
    assert line == r"pullpass: internal: a\nb\r\x1b[31m\x00\u202e\u2028\ud800\x7f; c\nd"
    assert line.encode().count(b"\n") == 0


@pytest.mark.parametrize("text", ["", "plain", 'quo"ted \\ slash', "\N{SNOWMAN} é", "\N{GRINNING FACE}"])
def test_printable_text_stays_as_it_is(text: str) -> None:
    """So that escaping twice is escaping once."""
    assert escape(text) == text
    assert outside(text) == text


def test_escaping_twice_is_escaping_once() -> None:
    """Text is escaped where it comes in, and again in the line."""
    once = escape("tab\tand \\t")
    assert once == r"tab\tand \t"
    assert escape(once) == once


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("x" * 512, "x" * 512),
        ("x" * 513, "x" * 509 + "..."),
        ("x" * 10**6, "x" * 509 + "..."),
        ("é" * 256, "é" * 256),
        ("é" * 257, "é" * 254 + "..."),
        ("\N{GRINNING FACE}" * 129, "\N{GRINNING FACE}" * 127 + "..."),
        ("\n" * 256, r"\n" * 256),
        ("\n" * 257, r"\n" * 254 + "\\..."),
    ],
)
def test_text_from_outside_is_cut_at_512_bytes(text: str, cut: str) -> None:
    """Bytes of what is shown, and never half a character."""
    assert outside(text) == cut
    assert len(outside(text).encode()) <= 512


def test_a_cut_may_be_shorter() -> None:
    """Where little is to be shown."""
    assert outside("abcdefghij", 8) == "abcde..."
    assert outside("abcdefgh", 8) == "abcdefgh"


def test_an_error_keeps_its_hint_in_a_copy() -> None:
    """A process pool hands errors over as pickles."""
    error = PullpassError("usage", "what", "a better hint")
    assert pickle.loads(pickle.dumps(error)).line() == error.line()  # noqa: S301 - our own bytes
