"""Moments in files: RFC 3339, UTC. `datetime` would do it, and loading it would make a refusal a tenth longer."""

from __future__ import annotations

import time

# 0001-01-01 and the end of year 9999: what RFC 3339 can write.
FIRST_S = -62_135_596_800
LAST_S = 253_402_300_799
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_SHAPE = str.maketrans("123456789", "000000000")
# The beginnings of days in seconds: the seven moments of an approval are of one day or two.
_known_days: dict[str, int] = {}
_KNOWN_LIMIT = 64


def text(moment_s: float) -> str:
    """A moment with microseconds, as our own files have it.

    Args:
        moment_s: seconds since the epoch.

    Raises:
        ValueError: RFC 3339 can't write it.
    """
    # The fraction by itself: times a million, a moment after 2106 has no room left for the microseconds.
    floor_s = moment_s // 1
    more_s, micros = divmod(round((moment_s - floor_s) * 1_000_000), 1_000_000)
    whole_s = int(floor_s) + more_s
    if not FIRST_S <= whole_s <= LAST_S:
        raise ValueError(f"no moment of the years 1 to 9999: {moment_s}")
    year, month, day, hour, minute, second = time.gmtime(whole_s)[:6]
    return f"{year:04d}-{month:02d}-{day:02d}T{hour:02d}:{minute:02d}:{second:02d}.{micros:06d}Z"


def parse(written: str) -> float:
    """The moment that `text` wrote, or anybody else with or without a fraction.

    Args:
        written: `YYYY-MM-DDTHH:MM:SS[.fraction]Z`.

    Returns:
        Seconds since the epoch; of a fraction, the first six digits count.

    Raises:
        ValueError: it is not of that form, or no moment; a leap second is none.
    """
    head, dot, fraction = written.removesuffix("Z").partition(".")
    shape = head.translate(_SHAPE)
    if not written.endswith("Z") or shape != "0000-00-00T00:00:00" or (dot and not _is_digits(fraction)):
        raise ValueError("no moment in UTC as RFC 3339 writes it")
    hour, minute, second = int(head[11:13]), int(head[14:16]), int(head[17:19])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError("no time of day")
    date = head[:10]
    day_s = _known_days.get(date)
    if day_s is None:
        day_s = _day_s(int(date[:4]), int(date[5:7]), int(date[8:]))
        if len(_known_days) >= _KNOWN_LIMIT:
            _known_days.clear()
        _known_days[date] = day_s
    whole_s = day_s + hour * 3600 + minute * 60 + second
    # One division, so that it is the double nearest to the moment.
    return (whole_s * 1_000_000 + int(f"{fraction:0<6.6}")) / 1_000_000


def _day_s(year: int, month: int, day: int) -> int:
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    if not 1 <= month <= 12 or not year or not 1 <= day <= _DAYS[month - 1] + (leap and month == 2):
        raise ValueError("no day of the calendar")
    before = year - 1
    days = 365 * before + before // 4 - before // 100 + before // 400 + sum(_DAYS[: month - 1]) + day - 1
    days += leap and month > 2
    return FIRST_S + days * 86400


def _is_digits(text: str) -> bool:
    return text.isascii() and text.isdigit()
