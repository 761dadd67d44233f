"""Times as records write them, held against `datetime`, which has all of their years but one."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, datetime, timedelta, timezone

import pytest

from otel_audit.evidence.rfc3339 import from_datetime, is_minute, nanos_at, nanos_of, seconds_between, unix_nanos

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("year", [1, 4, 100, 400, 1900, 1970, 2000, 2023, 2024, 2100, 9999])
def test_the_days_of_a_month_are_those_of_the_calendar(year: int) -> None:
    lengths = {month: monthrange(year, month)[1] for month in range(1, 13)}

    accepted = [
        (month, day)
        for month in range(100)
        for day in range(100)
        if is_minute(f"{year:04d}-{month:02d}-{day:02d}T23:59:")
    ]

    assert accepted == [(month, day) for month in range(1, 13) for day in range(1, lengths[month] + 1)]


def test_the_year_0_is_a_leap_year() -> None:
    assert is_minute("0000-02-29T00:00:")
    assert not is_minute("0000-02-30T00:00:")


def test_a_day_has_24_hours_of_60_minutes() -> None:
    accepted = [
        (hour, minute)
        for hour in range(100)
        for minute in range(100)
        if is_minute(f"2026-01-31T{hour:02d}:{minute:02d}:")
    ]

    assert accepted == [(hour, minute) for hour in range(24) for minute in range(60)]


@pytest.mark.parametrize(
    "text", ["", "2026-01-31T23:59", "2026-01-31 23:59:", "+026-01-31T23:59:", "2026-01-31T23:59:0"]
)
def test_what_has_another_form_is_no_minute(text: str) -> None:
    assert not is_minute(text)


def test_a_time_is_as_many_nanoseconds_after_1970_as_its_calendar_says() -> None:
    """More than a day of each year that `datetime` has, at times that go round the year and the clock."""
    step = timedelta(days=353, hours=7, minutes=13, seconds=29, microseconds=123_457)
    moments = [datetime(1, 1, 1, tzinfo=UTC) + step * n for n in range(10_320)]

    wrong = [moment for moment in moments if unix_nanos(from_datetime(moment)) != nanos_at(moment)]

    assert wrong == []
    assert moments[-1].year > 9900


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0000-01-01T00:00:00.000000000Z", -62_167_219_200),
        ("0000-02-29T00:00:00.000000000Z", -62_162_121_600),
        ("0000-03-01T00:00:00.000000000Z", -62_162_035_200),
        ("0000-12-31T23:59:59.000000000Z", -62_135_596_801),
    ],
)
def test_the_year_before_the_first_one_of_datetime_counts_too(text: str, seconds: int) -> None:
    """Seconds by `date --date=0000-01-01T00:00:00Z +%s` of GNU coreutils."""
    assert unix_nanos(text) == seconds * 1_000_000_000


def test_a_nanosecond_is_told_from_the_next_one() -> None:
    last = unix_nanos("1969-12-31T23:59:59.999999999Z")

    assert (last, unix_nanos("1970-01-01T00:00:00.000000000Z")) == (-1, 0)
    assert unix_nanos("1970-01-02T03:04:05.123456789Z") == 97_445_123_456_789


def test_people_are_told_seconds() -> None:
    assert seconds_between("2026-01-01T00:00:59.500000000Z", "2026-01-01T00:01:01.000000000Z") == "1.500 s"


def test_a_moment_is_written_as_utc_with_nine_digits() -> None:
    moment = datetime(987, 6, 5, 1, 2, 3, 45, tzinfo=timezone(timedelta(hours=2)))

    assert from_datetime(moment) == "0987-06-04T23:02:03.000045000Z"


def test_durations_and_moments_are_exact_to_their_microsecond() -> None:
    """Far from 1970 a float would be out by minutes."""
    assert nanos_of(timedelta(days=3_000_000, microseconds=1)) == 3_000_000 * 86_400 * 10**9 + 1000
    assert nanos_of(timedelta(microseconds=-1)) == -1000
    assert nanos_at(EPOCH + timedelta(microseconds=1)) == 1000
    assert nanos_at(datetime(9999, 12, 31, 23, 59, 59, 999_999, UTC)) == 253_402_300_799_999_999_000
