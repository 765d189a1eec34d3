"""Moments in files: what is written, what is read, and what is neither."""

from __future__ import annotations

import math

import pytest

from pullpass.store import moments


@pytest.mark.parametrize(
    ("moment_s", "written"),
    [
        (0.0, "1970-01-01T00:00:00.000000Z"),
        (1_800_000_000.123456, "2027-01-15T08:00:00.123456Z"),
        (951_782_400, "2000-02-29T00:00:00.000000Z"),
        (-1e-6, "1969-12-31T23:59:59.999999Z"),
        (-1e-9, "1970-01-01T00:00:00.000000Z"),
        (0.9999999, "1970-01-01T00:00:01.000000Z"),
        (moments.FIRST_S, "0001-01-01T00:00:00.000000Z"),
        (moments.LAST_S, "9999-12-31T23:59:59.000000Z"),
    ],
)
def test_a_moment_is_written(moment_s: float, written: str) -> None:
    """With six digits of the second, always, so that texts sort as moments do."""
    assert moments.text(moment_s) == written
    assert moments.parse(written) == pytest.approx(moment_s, abs=1e-6)


@pytest.mark.parametrize(
    "moment_s",
    [moments.FIRST_S - 1, moments.FIRST_S - 1e-3, moments.LAST_S + 1, 1e18, -1e300, math.inf, -math.inf, math.nan],
)  # fmt: skip
def test_what_no_calendar_has_is_not_written(moment_s: float) -> None:
    """A clock may say anything; infinite is a moment that was never set."""
    with pytest.raises(ValueError, match=r"moment|NaN"):
        moments.text(moment_s)


@pytest.mark.parametrize(
    ("written", "moment_s"),
    [
        ("2025-06-01T12:00:00Z", 1_748_779_200.0),  # as the kubelet writes it
        ("2025-06-01T12:00:00.5Z", 1_748_779_200.5),
        ("2025-06-01T12:00:00.1234567899Z", 1_748_779_200.123456),
        ("2025-06-01T12:00:00.000000000Z", 1_748_779_200.0),
    ],
)
def test_a_fraction_may_have_any_length(written: str, moment_s: float) -> None:
    """Or be absent: other programs' files have moments too."""
    assert moments.parse(written) == moment_s


@pytest.mark.parametrize(
    "written",
    [
        "",
        "Z",
        "2025-06-01T12:00:00",
        "2025-06-01T12:00:00z",
        "2025-06-01t12:00:00Z",
        "2025-06-01 12:00:00Z",
        "2025-06-01T12:00:00+00:00",
        "2025-06-01T12:00:00.+1Z",
        "2025-06-01T12:00:00.Z",
        "2025-06-01T12:00:00.1_0Z",
        "2025-06-01T12:00:00.1.2Z",
        "2025-06-01T12:00:00.\u0661Z",
        "2025-06-01T12:00:00,5Z",
        "2025-06-01T12:00:00ZZ",
        "2025-06-01T12:00Z",
        "2025-6-01T12:00:00Z",
        "+025-06-01T12:00:00Z",
        "12025-06-01T12:00:00Z",
        " 2025-06-01T12:00:00Z",
        "2025-06-01T12:00:00Z\n",
        "\u0662025-06-01T12:00:00Z",
        "20250601T120000Z",
        "2025-06-01T1_:00:00Z",
    ],
)
def test_another_form_is_refused(written: str) -> None:
    """One way to write a moment: no other offset, no other letters, digits of ASCII."""
    with pytest.raises(ValueError, match="no moment in UTC as RFC 3339 writes it"):
        moments.parse(written)


@pytest.mark.parametrize(
    "day",
    ["0000-01-01", "2025-00-01", "2025-13-01", "2025-01-00", "2025-01-32", "2025-04-31", "2025-02-29", "1900-02-29"],
)  # fmt: skip
def test_a_day_that_is_none_is_refused(day: str) -> None:
    """The calendar's rules for leap years among them."""
    with pytest.raises(ValueError, match="no day of the calendar"):
        moments.parse(f"{day}T00:00:00Z")


@pytest.mark.parametrize("time_of_day", ["24:00:00", "23:60:00", "23:59:60", "99:00:00"])
def test_a_time_that_is_none_is_refused(time_of_day: str) -> None:
    """A leap second has no place in seconds since the epoch."""
    with pytest.raises(ValueError, match="no time of day"):
        moments.parse(f"2025-06-30T{time_of_day}Z")
