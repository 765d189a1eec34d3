"""Moments in files agree with `datetime`, which takes too long to load for it to write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import assume, given
from hypothesis import strategies as st

from pullpass.store import moments

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
# A double tells microseconds apart for 2**33 s around the epoch: the years 1697 to 2242.
EXACT = timedelta(seconds=2**33)
DATETIMES = st.datetimes(timezones=st.just(UTC))
DIGITS = st.text("0123456789", max_size=9)


def micros(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - EPOCH) // MICROSECOND


def written(moment: datetime, digits: str | None = None) -> str:
    """RFC 3339 with these digits of the second, or the six of the moment."""
    fraction = f".{moment.microsecond:06d}" if digits is None else digits and f".{digits}"
    return f"{moment.year:04d}-{moment.month:02d}-{moment.day:02d}T{moment:%H:%M:%S}{fraction}Z"


@given(DATETIMES)
def test_a_moment_is_read_as_the_double_nearest_to_it(moment: datetime) -> None:
    """In every year that there is."""
    assert moments.parse(written(moment)) == micros(moment) / 1_000_000


@given(DATETIMES, DIGITS)
def test_digits_beyond_the_sixth_do_not_count(moment: datetime, digits: str) -> None:
    """As `datetime` reads them."""
    text = written(moment, digits)
    expected = micros(datetime.fromisoformat(text)) / 1_000_000
    assert moments.parse(text) == expected


@given(st.datetimes((EPOCH - EXACT).replace(tzinfo=None), (EPOCH + EXACT).replace(tzinfo=None), timezones=st.just(UTC)))
def test_what_was_read_is_written_again(moment: datetime) -> None:
    """To the microsecond."""
    assert moments.text(moments.parse(written(moment))) == written(moment)


@given(st.floats(moments.FIRST_S, moments.LAST_S))
def test_any_moment_is_written_to_the_nearest_microsecond(moment_s: float) -> None:
    """Or to the nearest that a double of that size can tell apart."""
    assume(moment_s < moments.LAST_S)
    off_s = moments.parse(moments.text(moment_s)) - moment_s
    assert abs(off_s) <= max(5.1e-7, abs(moment_s) * 2**-52)


@given(st.floats(0, 2**33), st.floats(0, 2**33))
def test_texts_sort_as_moments_do(one: float, other: float) -> None:
    """Files are named and searched by them."""
    first, second = moments.text(one), moments.text(other)
    assert (first < second) <= (one < other)
    assert len(first) == len(second)


@given(st.text("0123456789-T:.Z+ ", max_size=30) | DATETIMES.map(written), st.integers(0, 30), st.text(max_size=1))
def test_a_text_is_read_as_datetime_reads_it_or_refused(text: str, at: int, put: str) -> None:
    """What is taken, `datetime` takes as the same moment; it takes more."""
    text = text[:at] + put + text[at + 1 :]
    try:
        moment_s = moments.parse(text)
    except ValueError:
        return
    assert moment_s == micros(datetime.fromisoformat(text)) / 1_000_000
