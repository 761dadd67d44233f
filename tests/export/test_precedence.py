"""What a record names arrives before it: whoever verifies at the far end after any request sees no false cut."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc

from otel_audit.evidence.identity import local_issuers
from otel_audit.spool.layout import EXPORT_LOCK
from otel_audit.spool.ownership import acquire
from otel_audit.verify import Finding, verify
from tests.crashed import crash_with_threads
from tests.export.conftest import App, MakeApp
from tests.export.sink import TAKE, Reply, Request, Sink
from tests.memory_source import MemorySource

UNSEALED = {"OTEL_AUDIT_SEAL_INTERVAL": "300s", "OTEL_AUDIT_HEARTBEAT_INTERVAL": "300s"}
UNAVAILABLE = grpc.StatusCode.UNAVAILABLE
LATE = "overdue-seal"
"""A stream that has arrived in part only promises more; that this is late, is true while it drains."""


class Auditor:
    """Verifies what the sink has after each request, an hour later than it is: no grace excuses anything."""

    def __init__(self, sink: Sink, spool: Path) -> None:
        self.findings: list[Finding] = []
        self._sink = sink
        self._spool = spool

    def __call__(self, request: Request) -> Reply:
        bodies = [*self._sink.bodies, *request.bodies]
        late = datetime.now(UTC) + timedelta(hours=1)
        verdict = verify([MemorySource(bodies)], trust=local_issuers(self._spool), now=late)
        self.findings += [f for f in verdict.findings if f.severity != "warning" and f.kind != LATE]
        return TAKE


def leave_backlog(app: MakeApp, sink: Sink, name: str, count: int = 1500) -> App:
    """A process that delivers nothing and has ended."""
    left = app(sink, OTEL_AUDIT_EXPORTER="none", OTEL_AUDIT_SEAL_RECORDS="200")
    left.emit(*(f"{name}-{number}" for number in range(count)))
    left.shutdown()
    return left


def test_a_backlog_arrives_before_the_stream_that_names_it(app: MakeApp, sink: Sink, spool: Path) -> None:
    for name in ("a", "b", "c"):
        leave_backlog(app, sink, name)
    auditor = sink.behaviour = Auditor(sink, spool)

    shop = app(sink)
    assert shop.emit("new").wait_delivered(60)
    shop.shutdown()

    assert len(sink.requests) > 4, "more batches than streams"
    assert sink.targets()[-1] == "new"
    assert len(sink.targets()) == 4501
    assert auditor.findings == []


def test_a_crashed_stream_its_recovery_and_its_adopted_records_arrive_without_a_false_cut(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    leave_backlog(app, sink, "before", 10)
    dying = app(sink, OTEL_AUDIT_EXPORTER="none", **UNSEALED)
    dying.emit(*(f"sealed {number}" for number in range(50)))
    dying.seal()
    dying.emit(*(f"adopted {number}" for number in range(50)))
    crash_with_threads(dying.pipeline)
    auditor = sink.behaviour = Auditor(sink, spool)

    shop = app(sink)
    assert shop.emit("new").wait_delivered(60)
    sink.wait_for(lambda: "adopted 49" in sink.targets())
    shop.shutdown()

    assert len(sink.targets()) == 111
    assert auditor.findings == []


def test_streams_that_rotate_into_each_other_arrive_without_a_false_cut(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    """A close names its successor, and the successor's open names the stream that it follows."""
    sink.behaviour = lambda _: Reply(status=503, code=UNAVAILABLE, is_taken=False)
    shop = app(sink, OTEL_AUDIT_STREAM_MAX_RECORDS="400", OTEL_AUDIT_SEAL_RECORDS="100")
    for start in range(0, 3000, 500):
        shop.emit(*range(start, start + 500))
        shop.seal()
        shop.pipeline.writer.rotate_if_due()  # the keeper does, a while later
    auditor = sink.behaviour = Auditor(sink, spool)
    assert shop.emit("last").wait_delivered(60)
    shop.shutdown()

    assert len({record["stream"] for record in sink.records}) > 2
    assert len(sink.targets()) == 3001
    assert auditor.findings == []


def test_living_processes_that_name_each_other_come_in_the_order_of_writing_after_an_outage(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    sink.behaviour = lambda _: Reply(status=503, code=UNAVAILABLE, is_taken=False)
    workers: list[App] = []
    for number in range(6):
        workers.append(app(sink, patience_s=60.0))
        workers[-1].emit(*(f"{number}-{index}" for index in range(200)))
        workers[-1].seal()
    auditor = sink.behaviour = Auditor(sink, spool)

    assert all(worker.emit("last").wait_delivered(60) for worker in workers)

    assert auditor.findings == []
    for worker in workers:
        worker.shutdown()
    assert auditor.findings == []


def test_more_streams_than_are_open_at_once_come_in_the_order_of_writing(
    app: MakeApp, http_sink: Sink, spool: Path
) -> None:
    for number in range(70):
        leave_backlog(app, http_sink, str(number), 1)
    auditor = http_sink.behaviour = Auditor(http_sink, spool)

    shop = app(http_sink, patience_s=60.0)
    assert shop.emit("new").wait_delivered(60)
    shop.shutdown()

    assert len(http_sink.targets()) == 71
    assert auditor.findings == []


def test_a_process_that_ends_at_once_brings_the_streams_that_it_names_and_then_its_own(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    leave_backlog(app, sink, "old")
    auditor = sink.behaviour = Auditor(sink, spool)

    brief = app(sink, patience_s=60.0)
    brief.emit("new")
    brief.shutdown()

    assert len(sink.targets()) == 1501
    assert auditor.findings == []


def test_a_living_process_that_nobody_delivers_for_is_not_waited_for(app: MakeApp, sink: Sink) -> None:
    silent = app(sink, OTEL_AUDIT_EXPORTER="none")
    silent.emit("silent")
    silent.seal()

    shop = app(sink, patience_s=1000.0)

    assert shop.emit("new").wait_delivered(60)
    assert sink.targets() == ["new"]


def test_another_process_that_is_stuck_is_given_up_once_the_sink_answers(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    leave_backlog(app, sink, "stuck", 1)
    stream = next((spool / "shop").iterdir())
    held = acquire(stream, EXPORT_LOCK)
    assert held is not None
    away = threading.Event()
    sink.behaviour = lambda _: TAKE if away.is_set() else Reply(status=503, code=UNAVAILABLE, is_taken=False)

    shop = app(sink, patience_s=0.1)
    receipt = shop.emit("new")
    sink.wait_for(lambda: len(sink.requests) >= 3, "it knocks")
    assert all(request.bodies == [] for request in sink.requests), "nothing goes ahead of it while the sink is away"
    away.set()

    assert receipt.wait_delivered(60)
    assert sink.targets() == ["new"]
    held.release()
