"""What a person reads when something is wrong: once, since when while it lasts, and its end."""

from __future__ import annotations

import logging
import re
import threading

import pytest

from otel_audit.spool.alarm import Alarms

from .conftest import in_child


class Watch:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def alarms(watch: Watch) -> Alarms:
    return Alarms(watch)


def said(alarms: Alarms, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    alarms.say()
    return [f"{record.levelname} {record.getMessage()}" for record in caplog.records]


def test_a_trouble_is_said_once_until_its_minute_is_over(
    alarms: Alarms, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    alarms.note("disk", "the disk is full")
    assert said(alarms, caplog) == ["ERROR otel-audit: the disk is full"]
    watch.now_s += 59
    alarms.note("disk", "the disk is full")
    assert said(alarms, caplog) == []


def test_what_lasts_says_since_when(alarms: Alarms, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """A log without times is read in the middle of the night."""
    alarms.note("disk", "the disk is full")
    said(alarms, caplog)
    watch.now_s += 3 * 3600 + 60
    alarms.repeat()

    (line,) = said(alarms, caplog)
    assert re.search(r"full \(since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, for 3 h 1 min\)$", line)


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "0 s"), (119, "119 s"), (120, "2 min"), (7199, "119 min"), (7200, "2 h 0 min")]
)
def test_its_end_says_how_long_it_lasted(
    seconds: int, words: str, alarms: Alarms, watch: Watch, caplog: pytest.LogCaptureFixture
) -> None:
    alarms.note("disk", "the disk is full")
    said(alarms, caplog)
    watch.now_s += seconds
    alarms.over("disk", "there is room again")

    assert said(alarms, caplog) == [f"WARNING otel-audit: there is room again (after {words})"]


def test_what_lasts_is_said_as_it_is_now(alarms: Alarms, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    """A sink that was away, and then answers 401: whoever is called must not look at the network."""
    alarms.note("export", "the sink cannot be reached")
    said(alarms, caplog)
    alarms.note("export", "the sink answers 401")
    assert alarms.lasting == ["the sink answers 401"]
    watch.now_s += 60
    alarms.repeat()

    (line,) = said(alarms, caplog)
    assert line.startswith("ERROR otel-audit: the sink answers 401 (since")


def test_what_lasts_is_said_once_a_minute(alarms: Alarms, watch: Watch, caplog: pytest.LogCaptureFixture) -> None:
    alarms.note("disk", "the disk is full")
    said(alarms, caplog)
    lines: list[int] = []
    for _ in range(12):
        watch.now_s += 10
        alarms.repeat()
        lines.append(len(said(alarms, caplog)))

    assert lines == [0, 0, 0, 0, 0, 1] * 2


def test_a_forked_child_has_no_troubles_and_waits_for_no_thread_of_its_parent_s(alarms: Alarms) -> None:
    alarms.note("disk", "the disk is full")

    def has_none() -> bool:
        alarms.forget()
        other = threading.Thread(target=alarms.note, args=("its own", "trouble"))
        other.start()
        other.join()
        return alarms.lasting == ["trouble"] and alarms.unsaid == [(logging.ERROR, "otel-audit: trouble")]

    with alarms._lock:  # pyright: ignore[reportPrivateUsage] - as another thread may, at the very fork
        assert in_child(has_none)

    assert alarms.lasting == ["the disk is full"]
