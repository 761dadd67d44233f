"""What a gap says of the events that were lost, and which alarm each cause raises."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from otel_audit.errors import IdentityError
from otel_audit.event import Actor, AuditEvent
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.gaps import GapReason, StillDown, note, reason_of
from otel_audit.spool.segment import NoSpace
from otel_audit.testing import FixedClock

from .conftest import Process, records

EVENT = AuditEvent("item.read", "READ", "success", Actor("alice", "user", "session"))


def gaps(spool: Path, stream: str) -> list[dict[str, Any]]:
    return [record["context"] for record in records(spool, stream) if record["event"] == "audit.gap"]


def test_a_gap_spans_from_the_first_event_that_happened_to_the_last_that_was_lost(
    process: Process, spool: Path, clock: FixedClock
) -> None:
    """They arrive in any order, one from the future, and the clock is set back meanwhile."""
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    now = clock.time_unix_nano
    for moves_s, happened_s in [(10, 12), (5, 3), (-8, 9), (1, 20)]:
        clock.step(moves_s)
        pipeline.writer.lose("too-large", now + happened_s * 1_000_000_000)
    pipeline.writer.lose("invalid", now + 30 * 1_000_000_000)

    assert pipeline.record(EVENT).recorded

    told = {gap["audit.reason"]: gap for gap in gaps(spool, stream)}
    assert {reason: gap["audit.gap.count"] for reason, gap in told.items()} == {"too-large": 4, "invalid": 1}
    assert told["too-large"]["audit.gap.from"] == "2026-01-01T00:00:03.000000000Z"
    assert told["too-large"]["audit.gap.to"] == "2026-01-01T00:00:15.000000000Z"
    assert told["invalid"]["audit.gap.from"] == told["invalid"]["audit.gap.to"] == "2026-01-01T00:00:08.000000000Z"


def test_a_gap_is_told_once(process: Process, spool: Path, caplog: pytest.LogCaptureFixture) -> None:
    pipeline = process()
    stream = pipeline.record(EVENT).stream
    pipeline.writer.lose("too-large")

    pipeline.record(EVENT)
    pipeline.record(EVENT)
    pipeline.shutdown(1)

    assert [gap["audit.gap.count"] for gap in gaps(spool, stream)] == [1]
    assert "an event could not be recorded (too-large)" in caplog.text
    assert "events are recorded again" in caplog.text


FULL = NoSpace(errno.ENOSPC, "No space left on device", "/spool")
BROKEN = OSError(errno.EIO, "Input/output error", "/spool")
REFUSED = IdentityError("the key service says no")
CAUSES: list[tuple[Exception, GapReason, str]] = [
    (FULL, "disk-full", "/spool is full: events are being lost"),
    (BROKEN, "write-failed", "/spool cannot be written: events are being lost"),
    (OSError(errno.EIO, "Input/output error"), "write-failed", "the spool cannot be written"),
    (REFUSED, "no-identity", "the key service says no; no new stream can be opened"),
]


@pytest.mark.parametrize(("error", "reason", "words"), CAUSES, ids=[str(error) for error, _, _ in CAUSES])
def test_each_cause_has_its_reason_and_its_alarm(error: Exception, reason: GapReason, words: str) -> None:
    alarms = Alarms()

    note(error, alarms)

    assert reason_of(error) == reason
    (said,) = alarms.lasting
    assert said.startswith(words)
    if isinstance(error, OSError):
        assert said.endswith(f"({error.strerror})")


def test_while_nothing_is_tried_again_the_first_cause_stands_and_is_repeated() -> None:
    now_s = [0.0]
    alarms = Alarms(lambda: now_s[0])
    note(FULL, alarms)
    down = StillDown("disk-full")
    now_s[0] = 60.0
    alarms.unsaid.clear()

    note(down, alarms)

    assert reason_of(down) == "disk-full"
    assert str(down) == "no stream could be opened a moment ago (disk-full)"
    assert [line.startswith("otel-audit: /spool is full") for _, line in alarms.unsaid] == [True]
