"""Wall clocks that are set back and forward, at any moment: never a false verdict."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from otel_audit.event import AuditEvent
from otel_audit.pipeline import AuditPipeline
from otel_audit.spool.live import Clock
from otel_audit.testing import FixedClock
from tests.autoload.servers import Spool
from tests.faults.test_interrupts import pipeline_on

EVENT = AuditEvent("item.read", "READ", "success")
HOUR, DAY = 3600, 86400
WARNINGS = {"clock-step", "late-seal", "unpinned", "clock-skew"}


class SteppingClock(FixedClock):
    """Steps at its reading number *at*, be it in the middle of whatever."""

    def __init__(self, at: int, seconds: float) -> None:
        super().__init__(time.time_ns() - 30 * DAY * 10**9)
        self._at = at
        self._seconds = seconds
        self._readings = itertools.count(1)
        self.has_stepped = False

    def clock(self) -> Clock:
        def unix_nano() -> int:
            if next(self._readings) == self._at:
                self.step(self._seconds)
                self.has_stepped = True
            self.advance(0.001)
            return self.time_unix_nano

        return Clock(unix_nano, lambda: self.monotonic_nano)


def seal(pipeline: AuditPipeline, clock: FixedClock) -> None:
    clock.advance(5)
    pipeline.writer.seal_if_due()


def rotate(pipeline: AuditPipeline, clock: FixedClock) -> None:
    with pipeline.writer.making():
        pipeline.writer.replace("rotation")
    pipeline.keeper.tick()


def end(pipeline: AuditPipeline, clock: FixedClock) -> None:
    pipeline.shutdown(5)


def rest(pipeline: AuditPipeline, clock: FixedClock) -> None:
    pipeline.record(EVENT)


@pytest.mark.parametrize("seconds", [-DAY, -HOUR, -60, 60, HOUR, DAY, 20_000 * DAY])
@pytest.mark.parametrize("action", [rest, seal, rotate, end])
def test_a_step_at_any_reading_of_the_clock_is_never_a_false_verdict(
    action: Callable[[AuditPipeline, FixedClock], None], seconds: float, tmp_path: Path
) -> None:
    at, has_stepped = 0, True
    while has_stepped:
        at += 1
        clock = SteppingClock(at, seconds)
        state = Spool(tmp_path / str(at))
        pipeline = pipeline_on(state.directory)
        pipeline.writer.clock = clock.clock()
        pipeline.record(EVENT)
        action(pipeline, clock)
        if action is not end:
            pipeline.record(EVENT)
            seal(pipeline, clock)
            pipeline.record(EVENT)
        has_stepped = clock.has_stepped
        pipeline.shutdown(5)

        now = datetime.fromtimestamp(clock.time_unix_nano / 1e9 + abs(seconds) + 1, UTC)
        verdict = state.verdict(now)
        assert verdict.status == "verified", (at, verdict.findings)
        assert {finding.kind for finding in verdict.findings} <= WARNINGS
    assert at > 5
