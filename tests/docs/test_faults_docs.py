"""docs/faults.md: every line of the log that it quotes is one that is said, and every test that it names exists."""

from __future__ import annotations

import re
from pathlib import Path

from tests.faults.system_calls.test_system_calls import CALLS, ERRORS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
OF_THE_SYSTEM = {"No space left on device", "Too many open files"}


def test_each_line_of_the_log_that_is_quoted_is_one_that_is_said() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "otel_audit").rglob("*.py"))
    said = re.sub(r'"\s*\n\s*f?"', "", sources)
    rows = [row.split("|") for row in PAGE.partition("## Calls")[0].splitlines() if row.startswith("| ")][1:]
    quoted = {phrase for row in rows for phrase in re.findall(r"`([^`]+)`", row[4])} - OF_THE_SYSTEM

    assert len(quoted) > 4
    assert [phrase for phrase in sorted(quoted) if phrase not in said] == []


def test_every_test_that_is_named_exists() -> None:
    for name in re.findall(r"`(test_\w+\.py|\w+/)`", PAGE):
        assert (ROOT / "tests" / "faults" / name).exists(), name


def test_the_calls_and_errors_that_are_named_are_those_that_are_failed() -> None:
    named = set(re.findall(r"`(\w+)`", PAGE.partition("## Calls that fail")[2].partition("- `open`")[0]))
    assert named == {*CALLS, *ERRORS}
