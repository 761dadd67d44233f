"""`otel-audit recover` with a real sink: what a killed process left is ended, delivered, and said."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_audit.spool.delivered import quarantined
from otel_audit.spool.layout import EXPORT_LOCK, service_directory, stream_directories
from otel_audit.spool.ownership import acquire
from tests.export.conftest import Counter, Start, assert_verified
from tests.export.processes import EMITTER
from tests.export.sink import PATIENCE_S, HttpSink, Reply, Request, Sink

EVENTS = 300
GONE = Reply(status=503, is_taken=False)


@dataclass
class Crash:
    """A process that was killed: how many events it had been promised are kept."""

    accepted: int


@pytest.fixture
def crash(start: Start, sink: Sink, tmp_path: Path) -> Crash:
    return killed(start, sink, tmp_path)


def killed(start: Start, sink: Sink, tmp_path: Path) -> Crash:
    """kill -9 of a process that has delivered nothing, and sealed hardly anything."""
    counter = Counter(tmp_path / "counter")
    process = start(
        sink,
        EMITTER,
        str(counter.path),
        str(EVENTS),
        "x",
        OTEL_AUDIT_EXPORTER="none",
        OTEL_AUDIT_SEAL_INTERVAL="300s",
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "emitted\n"
    process.kill()
    process.wait()
    return Crash(counter.value)


def ran(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Status, standard output and standard error; neither ever has a traceback."""
    out, err = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in out + err
    return process.returncode, out, err


def document(process: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    status, out, _ = ran(process)
    return status, json.loads(out)["delivery"]


def test_what_a_killed_process_left_is_ended_and_delivered(
    crash: Crash, start: Start, sink: Sink, spool: Path
) -> None:
    status, out, err = ran(start(sink, "otel-audit", "recover"))

    assert (status, err) == (0, "")
    assert "of shop: it had crashed, and says so now" in out
    assert "nothing waits" in out
    assert set(sink.targets()) == {f"x-{number}" for number in range(crash.accepted)}
    assert_verified(sink, spool)


def test_run_again_it_has_nothing_to_do(crash: Crash, start: Start, sink: Sink) -> None:
    ran(start(sink, "otel-audit", "recover"))
    arrived = len(sink.bodies)

    status, out, _ = ran(start(sink, "otel-audit", "recover"))

    assert status == 0
    assert "Nothing is left open by a process that is gone." in out
    assert "Everything had been delivered" in out
    assert len(sink.bodies) == arrived


def test_a_sink_that_is_away_ends_it_in_time_and_what_waits_is_said(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    crash = killed(start, http_sink, tmp_path)
    http_sink.close()

    status, out, err = ran(start(http_sink, "otel-audit", "recover", "--timeout", "2s"))

    assert status == 3
    waiting = crash.accepted + 2 + 4  # open and policy; open, policy, recovery and close of the command's own
    assert f"NOT DELIVERED within 2 s: {waiting} records of 2 streams, kept in {spool}" in out
    assert "cannot be reached" in out
    assert "What now: " in out
    assert "cannot be reached" in err

    healed = HttpSink(port=http_sink.port)
    try:
        status, delivery = document(start(http_sink, "otel-audit", "recover", "--json"))
        assert (status, delivery["waiting"], delivery["troubles"]) == (0, 0, [])
        assert len(healed.targets()) == crash.accepted
    finally:
        healed.close()


def test_a_sink_that_comes_up_meanwhile_gets_everything(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    """A pod whose collector starts beside the init container."""
    crash = killed(start, http_sink, tmp_path)
    http_sink.behaviour = lambda request: GONE if request.number < 3 else Reply()

    status, delivery = document(start(http_sink, "otel-audit", "recover", "--json"))

    assert (status, delivery["waiting"]) == (0, 0)
    assert len(http_sink.targets()) == crash.accepted


def test_a_sink_that_hangs_ends_it_in_time(crash: Crash, start: Start, sink: Sink) -> None:
    released = threading.Event()
    sink.behaviour = lambda _: Reply(waits_for=released, is_taken=False)
    began_s = time.monotonic()

    status, delivery = document(start(sink, "otel-audit", "recover", "--timeout", "1s", "--json"))
    released.set()

    assert status == 3
    assert delivery["waiting"] > crash.accepted
    assert time.monotonic() - began_s < PATIENCE_S / 2


def test_a_refused_record_is_a_no_until_the_sink_takes_it(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    crash = killed(start, http_sink, tmp_path)

    def refuse(request: Request) -> Reply:
        return Reply(status=400, is_taken=False) if request.carries("x-7") else Reply()

    http_sink.behaviour = refuse
    status, out, _ = ran(start(http_sink, "otel-audit", "recover"))
    assert status == 1
    assert "REFUSED by it: 1 record" in out
    assert len(quarantined(spool)) == 1
    assert len(http_sink.targets()) == crash.accepted - 1

    http_sink.behaviour = lambda _: Reply()
    status, delivery = document(start(http_sink, "otel-audit", "recover", "--json"))
    assert (status, delivery["quarantined"]) == (0, 0)
    assert len(http_sink.targets()) == crash.accepted
    assert_verified(http_sink, spool)


def test_streams_of_living_processes_are_not_touched(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    counter = Counter(tmp_path / "counter")
    alive = start(http_sink, EMITTER, str(counter.path), "10", "alive", OTEL_AUDIT_EXPORTER="none")
    assert alive.stdout is not None
    assert alive.stdout.readline() == "emitted\n"

    status, delivery = document(start(http_sink, "otel-audit", "recover", "--json"))

    assert (status, delivery["delivered"], delivery["waiting"]) == (0, 0, 0)
    assert http_sink.requests == []


def test_what_another_process_is_delivering_counts_as_waiting_until_it_has(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    killed(start, http_sink, tmp_path)
    (stream,) = stream_directories(service_directory(spool, "shop"))
    deliverer = acquire(stream, EXPORT_LOCK)
    assert deliverer is not None

    status, out, _ = ran(start(http_sink, "otel-audit", "recover", "--timeout", "1s"))
    assert status == 3
    assert "another process (the service, or otel-audit ship) is just delivering them" in " ".join(out.split())

    waits = start(http_sink, "otel-audit", "recover", "--json")
    with pytest.raises(subprocess.TimeoutExpired):
        waits.wait(3)  # it has long begun, and would be through if it counted what it can deliver itself
    deliverer.release()
    assert document(waits)[0] == 0


def test_without_time_it_ends_and_delivers_nothing(start: Start, http_sink: HttpSink, tmp_path: Path) -> None:
    killed(start, http_sink, tmp_path)

    status, delivery = document(start(http_sink, "otel-audit", "recover", "--timeout", "0", "--json"))

    assert (status, delivery["delivered"]) == (3, 0)
    assert http_sink.requests == []
