"""Processes that are stopped for a while (a suspend, a frozen container), beside others and an auditor."""

from __future__ import annotations

import os
import signal
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.autoload.servers import Spool, Start, wait_for
from tests.export.sink import HttpSink
from tests.faults.shop import GUNICORN, Shop
from tests.faults.wall_clock import WallClock

WARNINGS = {"clock-skew", "clock-step", "late-seal", "unpinned"}


def variables(sink: HttpSink, **more: str) -> dict[str, str]:
    """Of an application that promises its next seal within three seconds, and delivers."""
    return {
        "OTEL_AUDIT_SEAL_INTERVAL": "200ms",
        "OTEL_AUDIT_HEARTBEAT_INTERVAL": "1s",
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
        **more,
    }


@contextmanager
def stopped(pids: Sequence[int]) -> Generator[None]:
    """Stop processes, every thread of them, and let them go on."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for(lambda: all(_is_stopped(pid) for pid in pids), "every thread to stand still")
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def _is_stopped(pid: int) -> bool:
    states = [path.read_text().rpartition(")")[2].split()[0] for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    return set(states) == {"T"}


def overdue(state: Spool) -> set[str]:
    """Streams that owe a seal to an auditor; nothing else may be wrong."""
    findings = [finding for finding in state.verdict(datetime.now(UTC)).findings if finding.severity != "warning"]
    assert {finding.kind for finding in findings} <= {"overdue-seal"}
    return {str(finding.stream) for finding in findings}


@pytest.mark.parametrize("who", ["a worker", "the master", "all"])
def test_a_stopped_process_is_overdue_while_it_sleeps_and_verified_when_it_wakes(
    who: str, sink: HttpSink, instrument: Start, state: Spool
) -> None:
    shop = Shop(instrument(*GUNICORN, "--workers", "2", "app:app", **variables(sink)), 2)
    (first, second), master = shop.workers, shop.program.pid
    stream_of = {records[0]["context"]["process.pid"]: stream for stream, records in state.streams().items()}
    stop = {"a worker": [first], "the master": [master], "all": [master, first, second]}[who]
    sleeping = {stream_of[pid] for pid in stop if pid != master}

    with stopped(stop):
        wait_for(lambda: overdue(state) == sleeping, "the auditor's notice of who sleeps")
        if who != "all":
            for _ in range(5):
                shop.ask()
    shop.ask_all(2)
    wait_for(lambda: not overdue(state), "seals of all that have woken")
    assert shop.program.stop() == 0

    assert sorted(state.by_pid()) == shop.workers
    assert state.ends() == ["shutdown", "shutdown"]
    assert state.paths() == sorted(shop.asked)
    assert set(sink.targets()) >= set(shop.asked)
    assert not state.records("audit.stream.recovered")
    verdict = state.verdict()
    assert verdict.status == "verified"
    late = {finding.stream for finding in verdict.findings if finding.kind == "late-seal"}
    assert sleeping <= late
    assert {finding.kind for finding in verdict.findings} <= WARNINGS


def test_a_worker_that_its_supervisor_kills_for_sleeping_is_ended_by_another_one(
    instrument: Start, state: Spool, sink: HttpSink
) -> None:
    """gunicorn's default: after `--timeout` without a sign of life SIGABRT, then SIGKILL."""
    shop = Shop(instrument(*GUNICORN[:-2], "--timeout", "2", "--workers", "2", "app:app", **variables(sink)), 2)
    (first, second) = shop.workers
    os.kill(first, signal.SIGSTOP)
    wait_for(lambda: shop.ask() and "was sent SIG" in shop.program.log, "the end of the worker")
    wait_for(lambda: shop.ask() not in (str(first), str(second)), "another worker")
    recovery = wait_for(lambda: state.records("audit.stream.recovered"), "the recovery of its stream")
    assert shop.program.stop() == 0

    assert recovery[0]["context"]["audit.recovered.torn_bytes"] == 0
    assert state.paths() == sorted(shop.asked)
    assert state.ends() == ["open", "shutdown", "shutdown"]
    # promised within three seconds, and recovered whenever another process looked
    findings = state.verdict().findings
    assert {finding.kind for finding in findings if finding.severity != "warning"} <= {"unwitnessed-end"}


CLOSED_AFTER = {20: "rotation", 45: "clock"}


@pytest.mark.parametrize("minutes", CLOSED_AFTER)
def test_a_machine_that_wakes_much_later_writes_nothing_to_the_old_streams_but_their_close(
    minutes: int, clock: WallClock, sink: HttpSink, instrument: Start, state: Spool
) -> None:
    """CLOCK_MONOTONIC stands still while a machine sleeps, and the wall clock is ahead of it when it wakes."""
    environment = variables(sink, OTEL_AUDIT_STREAM_MAX_AGE="10m", **clock.environment)
    shop = Shop(instrument(*GUNICORN, "--workers", "2", "app:app", **environment), 2)
    everyone = [shop.program.pid, *shop.workers]
    with stopped(everyone):
        before = {stream: len(records) for stream, records in state.streams().items()}
        clock.set_ahead(minutes * 60)
    shop.ask_all(2)
    wait_for(lambda: state.ends().count(CLOSED_AFTER[minutes]) == 2, "the close of what was written before")
    assert shop.program.stop() == 0

    streams = state.streams()
    assert len(streams) == 4
    for stream, count in before.items():
        *in_the_making, close = [record["event"] for record in streams[stream][count:]]
        assert close == "audit.stream.close"
        # the keeper may have been stopped between its look at the clock and the end of its write
        assert in_the_making in ([], ["audit.seal"], ["audit.stream.linked"])
    assert state.paths() == sorted(shop.asked)
    verdict = state.verdict(clock.now())
    assert verdict.status == "verified", verdict.findings
    assert {finding.kind for finding in verdict.findings} <= WARNINGS
