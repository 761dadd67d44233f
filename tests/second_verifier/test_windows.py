"""What a verdict for a period owes to that for the whole log: no more found, nothing of its own records lost."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.second_verifier.differential import case
from tests.second_verifier.verifier import NEVER, SECOND, Judge, moment, parse
from tests.second_verifier.windows import Window

NUMBERS = [*range(81_000_000, 81_000_080), 81_000_484]
"""The last has records of the period behind a close from before it."""


@pytest.mark.parametrize("number", NUMBERS)
def test_a_period_finds_what_the_whole_log_does_and_loses_nothing_of_its_own_records(number: int) -> None:
    """Roots apart; clocks in these archives step back and forth, and the attacker holds every key."""
    one = case(number, windows=True)
    window = Window(one.bodies, one.question)
    whole = Judge(one.bodies, replace(one.question, since=None, until=None))
    window.answer()
    whole.answer()
    records = [record for record in (parse(body.text) for body in one.bodies) if not isinstance(record, str)]
    since, until = one.question.since or -NEVER * SECOND, one.question.until or NEVER * SECOND
    inside = {(at["stream"], at["seq"]) for at in records if since <= moment(at["observed"]) < until}

    own = {found for found in whole.found if found[:2] in inside and found[2] != "wrong-root"}

    assert window.found <= whole.found
    assert own <= window.found
