"""A value that must not be seen."""

from __future__ import annotations

import copy
import json
import pickle
import traceback
from typing import TYPE_CHECKING

import pytest

from pullpass.exchange import Credential
from pullpass.request import Request
from pullpass.secret import Secret

if TYPE_CHECKING:
    from collections.abc import Callable

CANARY = "canary-8c1f"


def test_reveal_is_the_only_way_to_the_text() -> None:
    """Every usual way to turn a value into text shows three dots."""
    secret = Secret(CANARY)
    assert secret.reveal() == CANARY
    shown = [repr(secret), str(secret), f"{secret}", f"{secret!r:>40}", f"{secret:>40}", f"{secret:s}"]
    assert [text.strip() for text in shown] == ["Secret(...)"] * len(shown)
    assert not hasattr(secret, "__dict__")


def test_a_record_that_is_printed_shows_no_secret() -> None:
    """Requests and credentials carry their secrets hidden."""
    request = Request("r.io/a", Secret(CANARY), {})
    credential = Credential("AWS", Secret(CANARY), 1.0, 1.0, "", "", ())
    for record in (request, credential, [request], {"credential": credential}):
        assert CANARY not in repr(record)
        assert "Secret(...)" in repr(record)


def test_a_traceback_with_local_variables_shows_no_secret() -> None:
    """As a crash reporter would print it."""

    def fail(secret: Secret) -> None:
        raise ValueError(secret)

    with pytest.raises(ValueError, match="Secret") as caught:
        fail(Secret(CANARY))
    text = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert "secret = Secret(...)" in text
    assert CANARY not in text


@pytest.mark.parametrize("spread", [pickle.dumps, copy.copy, copy.deepcopy, json.dumps, list, len, "".join])
def test_a_secret_is_not_copied_or_written(spread: Callable[[object], object]) -> None:
    """What would make another place that holds the text fails."""
    with pytest.raises(TypeError):
        spread(Secret(CANARY))


@pytest.mark.parametrize("other", ["canary-8c1", "canary-8c1g", "", "canary-8c1f ", "\ud800"])
def test_secrets_are_equal_when_their_texts_are(other: str) -> None:
    """And they go into sets, as a key made of one does not show it."""
    assert Secret(CANARY) == Secret(CANARY)
    assert hash(Secret(CANARY)) == hash(Secret(CANARY))
    assert Secret(CANARY) != Secret(other)
    assert len({Secret(CANARY), Secret(CANARY), Secret(other)}) == 2


def test_a_secret_equals_nothing_but_a_secret() -> None:
    """A comparison with plain text is a mistake, so it is never true."""
    assert Secret(CANARY) != CANARY
    assert Secret(CANARY) != CANARY
    assert Secret("\ud800") == Secret("\ud800")
