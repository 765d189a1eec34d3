"""Reading Google's answers: whatever comes, it is a token within its bounds or an error that shows nothing of it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

from hypothesis import given
from hypothesis import strategies as st

from pullpass.errors import CODES, PullpassError
from pullpass.exchange import gcp_answers, gcp_errors, plan_gcp

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
NOW_S = 1_790_000_000.0
LIFETIME_S = 3600
CANARY = "canary-6f0b"
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
NUMBERS = st.integers(-(10**9), 10**9) | st.integers(-10, 50_000).map(str) | st.floats(-100, 50_000)
# Every time that can be written, from the year 1 on.
MOMENTS = st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat().replace("+00:00", "Z"))
WORDS = st.text(st.characters(min_codepoint=32, max_codepoint=255), max_size=20) | st.just(CANARY)


def documents(**fields: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Documents with some of these fields, each of its own kind or of any."""
    return st.fixed_dictionaries({}, optional={name: values | JSON for name, values in fields.items()})


def outcome(read: Callable[[], T]) -> T | None:
    """What a reader returns, or None for an error, which must be fit to be shown."""
    try:
        return read()
    except PullpassError as caught:
        error = caught
    assert error.code in ("cloud-answer", "cloud-answer-expired")
    assert error.line().isprintable()
    assert len(error.line()) < 500
    assert CANARY not in error.line()
    assert error.__cause__ is None
    return None


@given(documents(access_token=WORDS, expires_in=NUMBERS, token_type=st.just("Bearer")))
def test_bearer(document: dict[str, Any]) -> None:
    """A federated or a node's token is a word, and ends between now and half a day from now."""
    issued = outcome(lambda: gcp_answers.bearer(plan_gcp.NODE_TOKEN, document, NOW_S))
    if issued is not None:
        assert gcp_answers.is_word(issued.token.reveal())
        assert NOW_S < issued.expires_s <= NOW_S + gcp_answers.LIFE_LIMIT_S


@given(documents(accessToken=WORDS, expireTime=MOMENTS))
def test_impersonated(document: dict[str, Any]) -> None:
    """An impersonated token ends between now and what was asked for."""
    issued = outcome(lambda: gcp_answers.impersonated(document, NOW_S, LIFETIME_S))
    if issued is not None:
        assert gcp_answers.is_word(issued.token.reveal())
        assert NOW_S < issued.expires_s <= NOW_S + LIFETIME_S


@given(st.integers(1, LIFETIME_S), st.integers(0, 999_999), st.integers(-23 * 60, 23 * 60))
def test_a_time_is_the_same_in_every_zone(left_s: int, micros: int, offset_min: int) -> None:
    """Fraction and offset are read, to the microsecond."""
    ends = datetime.fromtimestamp(NOW_S + left_s + offset_min * 60, UTC)
    sign = "-" if offset_min < 0 else "+"
    zone = f"{sign}{abs(offset_min) // 60:02}:{abs(offset_min) % 60:02}"
    text = f"{ends:%Y-%m-%dT%H:%M:%S}.{micros:06}{zone}"
    issued = gcp_answers.impersonated({"accessToken": "t", "expireTime": text}, NOW_S, LIFETIME_S)
    assert abs(issued.expires_s - min(NOW_S + LIFETIME_S, NOW_S + left_s + micros / 1e6)) < 1e-3


@given(st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_body(body: bytes) -> None:
    """A body is an object or an error."""
    document = outcome(lambda: gcp_answers.document("a:b", body, "the answer"))
    assert document is None or isinstance(document, dict)


ERRORS = st.fixed_dictionaries(
    {},
    optional={
        "error": st.sampled_from(["invalid_grant", "unheard_of"])
        | documents(status=st.text(), message=st.text(), details=st.lists(documents(reason=st.text())))
        | JSON,
        "error_description": st.text() | JSON,
    },
)
PLAN = plan_gcp.GooglePlan("gcr", "", "gcr", "principal", "", "//p", "https://t", "", "s", 0, "a:b", "", ())


@given(ERRORS, st.sampled_from([400, 401, 403, 404, 418]), st.sampled_from(sorted(gcp_errors.MEANINGS)))
def test_any_error(document: dict[str, Any], status: int, action: str) -> None:
    """Whatever an error holds, it is none of Google's or has a code, and its line is one line of bounded length."""
    said = gcp_errors.read(json.dumps(document).encode())
    if said is None:
        assert not isinstance(document.get("error"), str) or not document["error"]
        return
    error = gcp_errors.refusal(action, status, said, PLAN)
    assert error.code in CODES
    assert error.upstream
    assert error.line().isprintable()
    assert len(error.line()) < 2000
