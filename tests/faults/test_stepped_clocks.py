"""A served application whose machine's clock is set while it runs: no false verdict, nothing removed early."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from otel_audit.sources import read_directory
from otel_audit.verify import verify
from tests.autoload.servers import Spool, Start, wait_for
from tests.export.sink import TAKE, HttpSink, Reply
from tests.faults.shop import GUNICORN, Shop
from tests.faults.wall_clock import WallClock
from tests.issuers import write_intermediate

HOUR_S, DAY_S = 3600, 86_400
WARNINGS = {"clock-skew", "clock-step", "late-seal", "unpinned"}


@pytest.fixture
def variables(clock: WallClock, sink: HttpSink) -> dict[str, str]:
    """Of an application that seals often, and delivers."""
    return {
        **clock.environment,
        "OTEL_AUDIT_SEAL_INTERVAL": "200ms",
        "OTEL_AUDIT_HEARTBEAT_INTERVAL": "1s",
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        "OTEL_AUDIT_LOCAL_RETENTION": "24h",
        "TZ": "Australia/Lord_Howe",  # half an hour of summer time, and nothing is to come of it
    }


def kinds(state: Spool, clock: WallClock, later: timedelta) -> set[str]:
    """Of what the verifier finds when the clock will say that it is so much later; it must be verified."""
    verdict = state.verdict(clock.now() + later)
    assert verdict.status == "verified", verdict.findings
    return {finding.kind for finding in verdict.findings}


def test_steps_end_the_streams_that_they_meet_slews_do_not_and_nothing_is_removed_early(
    clock: WallClock, sink: HttpSink, variables: dict[str, str], instrument: Start, state: Spool
) -> None:
    shop = Shop(instrument(*GUNICORN, "--workers", "2", "app:app", **variables), 2)
    for seconds in (1, -1, 0):
        clock.set_ahead(seconds)
        shop.ask_all(2)
    assert state.ends() == ["open", "open"]

    sink.behaviour = lambda _: Reply(503, is_taken=False)
    for number, seconds in enumerate((-HOUR_S, 0, DAY_S, 0), 1):
        clock.set_ahead(seconds)
        shop.ask_all(2)
        wait_for(lambda: state.ends().count("clock") >= 2 * number, f"the closes after step {number}")  # noqa: B023 - done at once
        # to an auditor whose clock is right
        assert state.verdict().status != "tampered"
    sink.behaviour = lambda _: TAKE
    sink.wait_for(lambda: set(sink.targets()) >= set(shop.asked), "no wait was counted by a clock that was set")
    assert shop.program.stop() == 0

    # libfaketime keeps what it reads where every thread writes: one may see a step that was none
    ends = state.ends()
    assert set(ends[:-2]) == {"clock"}
    assert ends[-2:] == ["shutdown"] * 2
    assert state.paths() == sorted(shop.asked)
    assert kinds(state, clock, timedelta(days=2)) <= WARNINGS

    # what was delivered a moment ago seems older than the retention, and is not
    clock.set_ahead(3 * DAY_S)
    shop = Shop(instrument(*GUNICORN, "app:app", **variables), 1)
    shop.program.wait_for_line("the clock went ahead by .*: for 1 day, 0:00:00 nothing is removed")
    assert shop.program.stop() == 0
    assert len(state.ends()) == len(ends) + 1
    assert kinds(state, clock, timedelta(days=2)) <= WARNINGS


def test_a_machine_that_starts_in_1970_and_is_corrected_records_before_and_after(
    clock: WallClock, sink: HttpSink, variables: dict[str, str], instrument: Start, state: Spool
) -> None:
    clock.set_ahead(-time.time() + 30)
    shop = Shop(instrument(*GUNICORN, "--workers", "2", "app:app", **variables), 2)
    assert state.verdict().status != "tampered"
    clock.set_ahead(0)
    shop.ask_all(2)
    wait_for(lambda: state.ends().count("clock") == 2, "the closes after the correction")
    assert shop.program.stop() == 0

    assert state.paths() == sorted(shop.asked)
    assert min(record["observed"] for record in state.records()) < "1970-01-01T01"
    assert kinds(state, clock, timedelta(days=2)) <= WARNINGS
    assert set(sink.targets()) >= set(shop.asked)


def test_an_issuer_that_is_not_valid_yet_in_1970_is_so_after_the_correction_without_a_restart(
    clock: WallClock, variables: dict[str, str], instrument: Start, state: Spool, tmp_path: Path
) -> None:
    """Its certificate begins in this century, so nothing can be opened; what happens until then is counted."""
    now = datetime.now(UTC)
    identity, root = write_intermediate(tmp_path, since=now - timedelta(days=1), until=now + timedelta(days=1))
    clock.set_ahead(-time.time() + 30)
    shop = Shop(instrument(*GUNICORN, "app:app", **variables, OTEL_AUDIT_IDENTITY=identity), 1)
    lost = len(shop.asked)
    assert state.records() == []
    clock.set_ahead(0)
    wait_for(lambda: shop.ask() and state.records("http.server.request"), "a record after the correction")
    assert shop.program.stop() == 0
    assert "no stream can be opened until then" in shop.program.log

    verdict = verify([read_directory(state.directory)], trust=[root], now=now + timedelta(days=2))
    assert verdict.status == "incomplete"
    assert {f.kind for f in verdict.findings if f.severity != "warning"} == {"declared-gap", "declared-drops"}
    gaps = state.records("audit.gap")
    assert {gap["context"]["audit.reason"] for gap in gaps} == {"no-identity"}
    assert sum(gap["context"]["audit.gap.count"] for gap in gaps) >= lost
