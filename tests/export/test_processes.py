"""Real processes: killed, forked, stopped, and shipped for by another one."""

from __future__ import annotations

import json
import random
import signal
from pathlib import Path

import pytest

from tests.export.conftest import Counter, Start, assert_verified
from tests.export.processes import EMITTER, FORKING, HOARDING
from tests.export.sink import HttpSink, Reply, Request, Sink


@pytest.mark.parametrize("seed", range(3))
def test_senders_killed_at_random_lose_nothing_that_was_accepted(
    seed: int, start: Start, sink: Sink, spool: Path, tmp_path: Path
) -> None:
    """kill -9 while records are made, sealed, sent and acknowledged; the last process brings what they left."""
    choice = random.Random(seed)
    accepted: dict[str, int] = {}
    for generation in range(4):
        counter = Counter(tmp_path / f"counter-{generation}")
        process = start(sink, EMITTER, str(counter.path), "12000", f"g{generation}")
        enough, arrived = choice.randint(500, 6000), len(sink.bodies)
        sink.wait_for(lambda arrived=arrived: len(sink.bodies) > arrived)  # type: ignore[misc]
        while counter.value < enough:
            assert process.poll() is None, process.communicate()[1]
        process.kill()
        process.wait()
        accepted[f"g{generation}"] = counter.value

    ship = start(sink, "otel-audit", "ship", "--once", "--json")
    answer, errors = ship.communicate()

    assert (ship.returncode, errors) == (0, "")
    assert json.loads(answer.splitlines()[-1])["waiting"] == 0
    delivered = set(sink.targets())
    for name, count in accepted.items():
        assert {f"{name}-{number}" for number in range(count)} <= delivered, f"{name} lost some"
    assert_in_order(sink)
    assert_verified(sink, spool)


def assert_in_order(sink: Sink) -> None:
    """Within each stream, by first arrival. A recovery may arrive ahead, with what it vouches for."""
    last: dict[str, int] = {}
    for record in sink.records:
        if record["event"] != "audit.stream.recovered":
            assert record["seq"] > last.get(record["stream"], 0)
            last[record["stream"]] = record["seq"]


def test_ship_delivers_for_processes_that_live_and_stops_at_sigterm(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    counter = Counter(tmp_path / "counter")
    alive = start(http_sink, EMITTER, str(counter.path), "300", "alive", OTEL_AUDIT_EXPORTER="none")
    assert alive.stdout is not None
    assert alive.stdout.readline() == "emitted\n"
    assert http_sink.requests == []

    ship = start(http_sink, "otel-audit", "ship")
    http_sink.wait_for(lambda: len(http_sink.targets()) == 300)
    ship.send_signal(signal.SIGTERM)
    printed, errors = ship.communicate(timeout=30)

    assert (ship.returncode, errors) == (0, "")
    assert "records delivered" in printed
    assert http_sink.targets() == [f"alive-{number}" for number in range(300)]


def test_ship_once_says_no_when_the_sink_is_away(
    start: Start, http_sink: HttpSink, spool: Path, tmp_path: Path
) -> None:
    counter = Counter(tmp_path / "counter")
    start(http_sink, EMITTER, str(counter.path), "10", "x", OTEL_AUDIT_EXPORTER="none").communicate("\n")
    http_sink.close()

    ship = start(http_sink, "otel-audit", "ship", "--once", "--json")
    printed, errors = ship.communicate()

    assert ship.returncode == 1
    assert json.loads(printed.splitlines()[-1])["waiting"] > 10
    assert "cannot be reached" in errors
    assert "Traceback" not in errors


def test_a_forked_child_delivers_its_own_records(start: Start, sink: Sink, spool: Path) -> None:
    process = start(sink, FORKING)
    _, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    sink.wait_for(lambda: {"parent", "child", "parent again"} <= set(sink.targets()))

    ship = start(sink, "otel-audit", "ship", "--once")
    ship.communicate()
    assert ship.returncode == 0, "the child ended by os._exit: its stream is ended and its rest delivered"
    assert_verified(sink, spool)


def test_memory_stays_flat_while_a_sink_is_away(start: Start, http_sink: HttpSink) -> None:
    """What waits, waits on disk: 50 MB there, and one batch in memory, from the second failure on.

    Before the first one the exporter has not imported its transport yet, and has no batch.
    """
    refused = 0

    def refuse(_: Request) -> Reply:
        nonlocal refused
        http_sink.requests.clear()  # the sink's own memory is not the question
        refused += 1
        return Reply(status=503, is_taken=False)

    http_sink.behaviour = refuse
    process = start(http_sink, HOARDING)
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "began\n"
    http_sink.wait_for(lambda: refused >= 2)
    process.stdin.write("\n")
    process.stdin.flush()

    grown_kib = int(process.stdout.readline())

    assert grown_kib < 8 << 10, "a sixth of what waits; 0 was measured"
