"""Which redirects turn a request away."""

from __future__ import annotations

import pytest

from otel_audit.capture.turned_away import is_turned_away
from otel_audit.event import ANONYMOUS, UNKNOWN, Actor


@pytest.mark.parametrize(
    ("status", "location", "expected"),
    [
        (302, "/enter?next=/mine/%C3%A4", True),
        (303, "/enter?lang=en&next=%2Fmine%2F%C3%A4%3Fpage%3D2", True),
        (307, "https://sso.example/?next=https://shop.example/mine/ä", True),
        (302, "/mine/ä/", False),
        (302, "/enter", False),
        (302, "/enter?next=/others", False),
        (301, "/enter?next=/mine/%C3%A4", False),
        (200, "/enter?next=/mine/%C3%A4", False),
        (302, "http://[/?next=/mine/%C3%A4", False),
        (302, None, False),
        (None, None, False),
    ],
)
def test_nobody_who_is_sent_elsewhere_to_come_back_was_turned_away(
    status: int | None, location: str | None, expected: bool
) -> None:
    assert is_turned_away(status, location, "/mine/ä", ANONYMOUS) is expected
    assert is_turned_away(status, location, "/mine/ä", UNKNOWN) is expected
    assert not is_turned_away(status, location, "/mine/ä", Actor("alice", "user"))
