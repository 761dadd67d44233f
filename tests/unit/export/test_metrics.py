"""What a process reports of its audit log, as a reader of the OpenTelemetry SDK collects it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader, NumberDataPoint

import otel_audit
from otel_audit.export.metrics import Metrics, Watched
from otel_audit.logger import install, installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.receipt import Receipt
from otel_audit.settings import Settings
from otel_audit.spool.delivered import Cursor, write_cursor
from tests.export.sink import HttpSink, Reply

Figures = dict[tuple[str, str], float]


class Shop:
    """One process of a service, and what is collected of it."""

    def __init__(self, spool: Path) -> None:
        self.spool = spool
        self.reader = InMemoryMetricReader()
        self.provider = MeterProvider([self.reader], shutdown_on_exit=False)
        self.metrics = Metrics(self.provider.get_meter("otel_audit"))

    def start(self, **environment: str) -> AuditPipeline:
        defaults = {
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_AUDIT_DIR": str(self.spool),
            "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
            "OTEL_AUDIT_SEAL_INTERVAL": "100ms",
        }
        settings = Settings.from_environ({**defaults, **environment})
        otel_audit.configure(settings)
        pipeline = installed()
        assert isinstance(pipeline, AuditPipeline)
        self.metrics.watch(Watched(pipeline.writer, pipeline.exporter, settings.directory, settings.is_delivered))
        return pipeline

    def emit(self, count: int = 1) -> Receipt:
        logger = otel_audit.get_audit_logger("shop")
        return [logger.emit("item.read", action="READ") for _ in range(count)][-1]

    def points(self) -> dict[str, list[Any]]:
        data = self.reader.get_metrics_data()
        assert data is not None
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def figures(self) -> Figures:
        """Values by name and queue."""
        return {
            (name, str((point.attributes or {}).get("audit.queue", ""))): point.value
            for name, points in self.points().items()
            for point in points
            if isinstance(point, NumberDataPoint)
        }


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    before = install(None)
    made = Shop(tmp_path / "state")
    yield made
    otel_audit.shutdown(20.0)
    install(before)
    made.provider.shutdown()


@pytest.fixture
def sink() -> Iterator[HttpSink]:
    made = HttpSink()
    yield made
    made.close()


def test_events_losses_omissions_and_seals_are_counted(shop: Shop, tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n- {event: boring, action: skip}\n")
    pipeline = shop.start(
        OTEL_AUDIT_POLICY=str(policy), OTEL_AUDIT_SEAL_INTERVAL="300s", OTEL_AUDIT_SEAL_RECORDS="5"
    )
    shop.emit(7)
    logger = otel_audit.get_audit_logger("shop")
    logger.emit("boring", action="READ")
    with pytest.raises(otel_audit.InvalidEvent):
        logger.emit("odd", action="READ", context={"odd": object()})  # type: ignore[dict-item]
    pipeline.writer.seal_if_due()

    figures = shop.figures()

    assert figures["audit.records.emitted", ""] == 7
    assert figures["audit.records.dropped", ""] == 1
    assert figures["audit.records.skipped", ""] == 1
    assert figures["audit.seals.written", ""] == pipeline.writer.tally.seals == 1
    assert figures["audit.records.exported", ""] == 0


def test_without_delivery_there_is_no_queue(shop: Shop) -> None:
    shop.start()
    shop.emit()

    assert {name for name, queue in shop.figures() if queue} == set()


def test_what_was_delivered_is_counted_and_timed(shop: Shop, sink: HttpSink) -> None:
    shop.start(OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
    assert shop.emit(20).wait_delivered(30)
    otel_audit.shutdown(20.0)

    figures = shop.figures()

    assert figures["audit.records.exported", ""] == len(sink.bodies)
    assert (figures["audit.queue.depth", "own"], figures["audit.queue.oldest_age", "own"]) == (0, 0)
    (duration,) = shop.points()["audit.export.duration"]
    assert duration.attributes == {"audit.export.outcome": "delivered"}
    assert (duration.count, duration.sum > 0) == (len(sink.requests), True)


def test_during_an_outage_the_queue_grows_and_ages_until_it_is_over(shop: Shop, sink: HttpSink) -> None:
    sink.behaviour = lambda _: Reply(503, is_taken=False)
    pipeline = shop.start(OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
    receipt = shop.emit(20)
    sink.wait_for(lambda: len(sink.requests) > 1)

    down = shop.figures()
    live = pipeline.writer.live
    assert live is not None
    assert 20 <= down["audit.queue.depth", "own"] <= live.stream.seq
    assert 0 < down["audit.queue.oldest_age", "own"] < shop.figures()["audit.queue.oldest_age", "own"]
    outcomes = {point.attributes["audit.export.outcome"] for point in shop.points()["audit.export.duration"]}
    assert outcomes == {"retry"}

    sink.behaviour = lambda _: Reply()
    assert receipt.wait_delivered(60)
    otel_audit.shutdown(20.0)
    assert shop.figures()["audit.queue.depth", "own"] == 0


def test_what_an_earlier_process_left_is_the_backlog(shop: Shop, sink: HttpSink) -> None:
    shop.start()
    left = shop.emit(20)
    otel_audit.shutdown()
    sink.behaviour = lambda _: Reply(503, is_taken=False)
    shop.start(OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
    shop.emit()
    sink.wait_for(lambda: any(left.stream.encode() in body for request in sink.requests for body in request.bodies))

    figures = shop.figures()

    assert figures["audit.queue.depth", "backlog"] == 23  # open, policy, 20 events, close
    assert figures["audit.queue.oldest_age", "backlog"] > 0


def test_a_stream_that_was_given_up_is_no_longer_this_process_s_own(shop: Shop, sink: HttpSink) -> None:
    """It is recovered, and delivered as the backlog."""
    sink.behaviour = lambda _: Reply(503, is_taken=False)
    pipeline = shop.start(OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
    shop.emit(20)
    live = pipeline.writer.live
    assert live is not None
    pipeline.writer.give_up(live, OSError(5, "a disk"))

    assert shop.figures()["audit.queue.depth", "own"] == 0


def test_where_ship_delivers_the_queue_is_read_from_its_cursor(shop: Shop) -> None:
    shop.start(OTEL_AUDIT_EXPORTER="none", OTEL_AUDIT_SEAL_INTERVAL="300s")
    receipt = shop.emit(20)
    assert shop.figures()["audit.queue.depth", "own"] == 22

    directory = shop.spool / "shop" / receipt.stream
    (segment,) = directory.glob("*.jsonl")
    ten = sum(len(line) for line in segment.read_bytes().splitlines(keepends=True)[:10])
    write_cursor(directory, Cursor(segment.name, ten, 10))
    assert shop.figures()["audit.queue.depth", "own"] == 12
    write_cursor(directory, Cursor(segment.name, segment.stat().st_size, 22))

    figures = shop.figures()
    assert (figures["audit.queue.depth", "own"], figures["audit.queue.oldest_age", "own"]) == (0, 0)
    assert ("audit.queue.depth", "backlog") not in figures


def test_in_memory_the_queue_is_told_too(shop: Shop, sink: HttpSink) -> None:
    sink.behaviour = lambda _: Reply(503, is_taken=False)
    shop.start(OTEL_AUDIT_DIR="memory:", OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
    shop.emit(20)

    figures = shop.figures()

    assert figures["audit.queue.depth", "own"] >= 20
    assert figures["audit.queue.oldest_age", "own"] > 0
    sink.behaviour = lambda _: Reply()


def test_records_in_quarantine_are_counted(shop: Shop, sink: HttpSink) -> None:
    sink.behaviour = lambda request: Reply(400, is_taken=False) if request.carries("bad") else Reply()
    shop.start(OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
    logger = otel_audit.get_audit_logger("shop")
    logger.emit("item.read", action="READ", target=otel_audit.Target("good", "item"))
    bad = logger.emit("item.read", action="READ", target=otel_audit.Target("bad", "item"))
    assert shop.emit().wait_delivered(60)

    assert not bad.wait_delivered(60)
    assert shop.figures()["audit.records.quarantined", ""] == 1


def test_counters_go_on_when_a_pipeline_is_replaced(shop: Shop) -> None:
    """A counter that falls is a restart to whoever reads it."""
    shop.start()
    shop.emit(3)
    shop.start()
    shop.emit(4)

    assert shop.figures()["audit.records.emitted", ""] == 7


GLOBAL = """
import os, sys
import otel_audit
from opentelemetry.metrics import set_meter_provider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
otel_audit.configure()
reader = InMemoryMetricReader()
set_meter_provider(MeterProvider([reader]))
audit = otel_audit.get_audit_logger("shop")
def emitted():
    (resource,) = reader.get_metrics_data().resource_metrics
    (scope,) = resource.scope_metrics
    points = [m.data.data_points[0].value for m in scope.metrics if m.name == "audit.records.emitted"]
    return scope.scope.name, points
audit.emit("a", action="READ")
otel_audit.configure()
print("before", *emitted())
sys.stdout.flush()
child = os.fork()
audit.emit("b", action="READ")
if child:
    os.waitpid(child, 0)
print("child" if child == 0 else "parent", *emitted())
sys.stdout.flush()
os._exit(0)
"""


def test_a_provider_set_later_gets_the_figures_and_a_forked_child_begins_at_zero(tmp_path: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", GLOBAL],
        env={**environ, "OTEL_AUDIT_DIR": str(tmp_path / "state")},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.splitlines() == ["before otel_audit [1]", "child otel_audit [1]", "parent otel_audit [2]"]
