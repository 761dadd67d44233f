"""Times as records write them, by calendar arithmetic alone: years 0000 to 9999, no leap seconds.

`datetime` has neither year 0 nor nanoseconds, and a hostile log has both.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

NANOS_PER_SECOND = 1_000_000_000
_MINUTE = re.compile(r"([0-9]{4})-([0-9]{2})-([0-9]{2})T([0-9]{2}):([0-9]{2}):")
_DAYS = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_minute(text: str) -> bool:
    """Whether *text* is a valid time up to and with the colon after its minutes: `2026-01-31T23:59:`."""
    match = _MINUTE.fullmatch(text)
    if match is None:
        return False
    year, month, day, hour, minute = (int(part) for part in match.groups())
    return 1 <= month <= 12 and 1 <= day <= _days_in(year, month) and hour <= 23 and minute <= 59


def _days_in(year: int, month: int) -> int:
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return 29 if month == 2 and is_leap else _DAYS[month - 1]


def unix_nanos(text: str) -> int:
    """Return nanoseconds since 1970 of a time that `record.is_time` has accepted."""
    year, month, day = int(text[:4]), int(text[5:7]), int(text[8:10])
    # Days from civil, after H. Hinnant: years begin in March, eras have 400 years of 146,097 days.
    shifted = year - (month <= 2)
    era, year_of_era = divmod(shifted, 400)
    day_of_year = (153 * ((month + 9) % 12) + 2) // 5 + day - 1
    days = era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
    seconds = days * 86_400 + int(text[11:13]) * 3600 + int(text[14:16]) * 60 + int(text[17:19])
    return seconds * NANOS_PER_SECOND + int(text[20:29])


def seconds_between(earlier: str, later: str) -> str:
    """Return for people how long after *earlier* is *later*."""
    return f"{(unix_nanos(later) - unix_nanos(earlier)) / 1e9:.3f} s"


def from_datetime(moment: datetime) -> str:
    """Return *moment*, which must be aware, as a record would write it; texts compare as times do."""
    utc = moment.astimezone(UTC)
    return f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S}.{utc.microsecond:06d}000Z"


def nanos_of(duration: timedelta) -> int:
    """Return *duration* in nanoseconds, exactly."""
    return (duration // timedelta(microseconds=1)) * 1000


def nanos_at(moment: datetime) -> int:
    """Return *moment*, which must be aware, in nanoseconds since 1970, exactly."""
    return nanos_of(moment - _EPOCH)
