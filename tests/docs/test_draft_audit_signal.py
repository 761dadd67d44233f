"""docs/draft-audit-signal.md has every requirement of the draft once, and each test that it names is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "draft-audit-signal.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (?P<number>[ADISC]\d+) \| (?P<asks>.+?) \| (?P<met>\S+) \| (?P<how>.*?) ?\| (?P<tests>.*?) ?\|$",
    re.MULTILINE,
)
COUNTS = {"A": 12, "D": 16, "I": 16, "S": 25, "C": 14}
"""Requirements of each chapter, in the state of the draft that the page names."""

rows = [match.groupdict() for match in ROW.finditer(PAGE)]


def test_every_requirement_has_one_row() -> None:
    expected = [f"{letter}{number}" for letter, count in COUNTS.items() for number in range(1, count + 1)]

    assert [row["number"] for row in rows] == expected


def test_what_is_not_met_has_a_reason() -> None:
    assert {row["met"] for row in rows} == {"met", "part", "no", "n/a"}
    assert [row["number"] for row in rows if row["met"] != "met" and not row["how"]] == []


def test_each_test_that_is_named_exists() -> None:
    named = [name for row in rows for name in re.findall(r"`([\w/]+\.py::\w+)`", row["tests"])]

    missing = [
        name
        for name in named
        if f"def {name.partition('::')[2]}(" not in (TESTS / name.partition("::")[0]).read_text(encoding="utf-8")
    ]
    assert (len(named) > 50, missing) == (True, [])
