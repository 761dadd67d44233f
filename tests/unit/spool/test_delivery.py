"""Whoever waits for a record's delivery is told once, and told the truth."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from otel_audit.spool.delivery import Delivery


@pytest.fixture
def told() -> list[tuple[int, bool]]:
    return []


@pytest.fixture
def delivery(told: list[tuple[int, bool]]) -> Delivery:
    """Delivered up to record 3, with 2 refused; records 3 to 6 were asked about before that."""

    def telling(seq: int) -> Callable[[bool], None]:
        return lambda good: told.append((seq, good))

    delivery = Delivery()
    for seq in (5, 3, 6, 4):
        delivery.ask(seq, telling(seq))
    delivery.refuse(2)
    delivery.reach(3)
    return delivery


def test_only_who_waits_for_what_is_settled_is_told(delivery: Delivery, told: list[tuple[int, bool]]) -> None:
    assert told == [(3, True)]

    delivery.refuse(5)
    delivery.reach(5)

    assert told[1:] == [(5, False), (4, True)]


def test_who_asks_afterwards_is_told_at_once(delivery: Delivery) -> None:
    answers: list[bool] = []

    for seq in (1, 2, 3):
        delivery.ask(seq, answers.append)

    assert answers == [True, False, True]


def test_nobody_is_told_twice(delivery: Delivery, told: list[tuple[int, bool]]) -> None:
    delivery.reach(6)
    delivery.reach(6)

    assert sorted(told) == [(seq, True) for seq in (3, 4, 5, 6)]


def test_what_was_delivered_stays_delivered(delivery: Delivery) -> None:
    """A second exporter may be behind the first; what it says is no news."""
    delivery.reach(1)

    assert delivery.seq == 3


def test_who_gave_up_is_not_told_and_the_others_are() -> None:
    delivery = Delivery()
    patient: list[bool] = []
    hasty: list[bool] = []
    tell_hasty = hasty.append
    delivery.ask(1, patient.append)
    delivery.ask(1, tell_hasty)

    delivery.forget(tell_hasty)
    delivery.reach(1)

    assert (patient, hasty) == ([True], [])


def test_a_forked_child_knows_of_no_delivery_and_does_not_disturb_those_who_wait(
    delivery: Delivery, told: list[tuple[int, bool]]
) -> None:
    """The thread that would tell it lives in the parent; whatever lock that thread holds stays locked here."""
    answers: list[bool] = []
    with delivery._lock:  # pyright: ignore[reportPrivateUsage]  # as the parent's thread may, at the very fork
        child = os.fork()
        if child == 0:
            signal.alarm(60)  # one that waits for the lock would wait for ever
            try:
                delivery.ask(1, answers.append)
                delivery.forget(answers.append)
            finally:
                os._exit(0 if answers == [False] else 1)
        _, status = os.waitpid(child, 0)

    assert status == 0
    delivery.reach(6)
    assert len(told) == 4
