"""Times and durations as they are given on the command line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otel_audit.cli.arguments import LONGEST, duration, moment
from otel_audit.errors import InvalidSetting

NOW = datetime(2026, 11, 23, 15, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-11-20T10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20t10:00:00z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20 10:00:00Z", datetime(2026, 11, 20, 10, tzinfo=UTC)),
        ("2026-11-20T10:00:00.123456789Z", datetime(2026, 11, 20, 10, 0, 0, 123456, tzinfo=UTC)),
        ("2026-11-20T10:00:00.5+02:00", datetime(2026, 11, 20, 8, 0, 0, 500000, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("7d", NOW - timedelta(days=7)),
        ("90m", NOW - timedelta(minutes=90)),
    ],
)
def test_a_time_is_rfc_3339_or_how_long_ago(text: str, time: datetime) -> None:
    assert moment("--since", text, now=NOW) == time


@pytest.mark.parametrize(
    "text",
    ["", "yesterday", "7", "-7d", "2026-11-20T10:00:00", "2026-13-01", "2026-11-20T25:00:00Z", "999999999d",
     "0001-01-01T00:00:00+14:00", "2026-11-20T10:00:00+99:00"],
)  # fmt: skip
def test_what_is_no_time_is_named_with_what_is_accepted(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--since .*: expected a time such as 2026-11-23T15:00:00Z"):
        moment("--since", text, now=NOW)


@pytest.mark.parametrize(
    ("text", "length"),
    [("0", timedelta(0)), ("0s", timedelta(0)), ("2m", timedelta(minutes=2)), ("36500d", LONGEST)],
)
def test_a_duration_may_be_nothing_or_a_hundred_years(text: str, length: timedelta) -> None:
    assert duration("--grace", text) == length


@pytest.mark.parametrize("text", ["", "soon", "-1s", "1w", "36501d", "999999999d", "1e3s"])
def test_what_is_no_duration_is_named(text: str) -> None:
    with pytest.raises(InvalidSetting, match=r"--grace .*: expected"):
        duration("--grace", text)


@given(
    st.text()
    | st.from_regex(r"\d{1,12}(\.\d{1,4})?(ms|s|m|h|d)", fullmatch=True)
    | st.from_regex(r"[\d:TZ.+-]{0,40}")
)
def test_any_text_is_a_time_or_an_invalid_setting(text: str) -> None:
    try:
        time = moment("--since", text, now=NOW)
        length = duration("--keep", text)
    except InvalidSetting:
        return
    assert time is not None
    assert time.tzinfo is UTC
    assert length is not None
