"""What the commands are given: times, durations, sources, witnesses, issuers. Everything refused here is usage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

from otel_audit.errors import InvalidSetting
from otel_audit.variable_values import parse_duration

LONGEST = timedelta(days=36500)
"""A hundred years: more is a slip, and sums of it leave the calendar."""

_RFC3339 = re.compile(
    r"(\d{4}-\d{2}-\d{2})(?:[Tt ](\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?([Zz]|[+-]\d{2}:\d{2}))?", re.ASCII
)


def moment(option: str, text: str | None, *, now: datetime) -> datetime | None:
    """The time that *text* names: RFC 3339 (a date alone is its midnight, UTC), or that long before *now*.

    Digits beyond the microsecond are cut. None stays None.

    Raises:
        InvalidSetting: neither form, or outside of the calendar.
    """
    if text is None:
        return None
    try:
        return _moment(text, now)
    except (ValueError, OverflowError) as error:
        raise InvalidSetting(
            f"{option} '{text}': expected a time such as 2026-11-23T15:00:00Z, or how long ago, such as 7d or 90m"
        ) from error


def _moment(text: str, now: datetime) -> datetime:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return now - parse_duration(text)
    date, clock, fraction, offset = match.groups(default="")
    if not clock:
        return datetime.fromisoformat(date).replace(tzinfo=UTC)
    zone = "+00:00" if offset in ("Z", "z") else offset
    return datetime.fromisoformat(f"{date}T{clock}.{(fraction + '000000')[:6]}{zone}").astimezone(UTC)


def duration(option: str, text: str | None) -> timedelta | None:
    """The duration that *text* names: `90m`, `7d`, or `0`. None stays None.

    Raises:
        InvalidSetting: another form, or more than a hundred years.
    """
    if text is None:
        return None
    if re.fullmatch(r"0+(ms|s|m|h|d)?", text):
        return timedelta(0)
    try:
        length = parse_duration(text)
    except (ValueError, OverflowError) as error:
        raise InvalidSetting(f"{option} '{text}': expected a duration such as 2m, 24h or 7d, or 0") from error
    if length > LONGEST:
        raise InvalidSetting(f"{option} '{text}': expected at most {LONGEST.days}d")
    return length


def count(option: str, text: str | None) -> int | None:
    """The number, 1 or more, that *text* names. None stays None.

    Raises:
        InvalidSetting: none, or one that no archive has so many records as.
    """
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,18}", text) or int(text) < 1:
        raise InvalidSetting(f"{option} '{text[:100]}': expected a number, 1 or more")
    return int(text)
