"""What leaves, and when: sealed records only, adopted ones with their recovery, a backlog beside what is new."""

from __future__ import annotations

import threading
from pathlib import Path

import orjson
import psutil
import pytest

from otel_audit.evidence.identity import local_issuers
from otel_audit.spool.delivered import quarantined, read_cursor
from otel_audit.spool.layout import EXPORT_LOCK
from otel_audit.spool.ownership import acquire
from otel_audit.spool.storage import MemoryStorage
from otel_audit.verify import verify
from tests.crashed import crash_with_threads
from tests.export.conftest import MakeApp
from tests.export.sink import Reply, Request, Sink
from tests.memory_source import MemorySource


def segment(spool: Path, stream: str) -> Path:
    return spool / "shop" / stream / "000000000001.jsonl"


def test_only_sealed_records_leave(app: MakeApp, sink: Sink, spool: Path) -> None:
    shop = app(sink, OTEL_AUDIT_SEAL_INTERVAL="300s", OTEL_AUDIT_HEARTBEAT_INTERVAL="300s")
    receipt = shop.emit(*range(50))
    sink.wait_for(lambda: sink.bodies)  # open and policy are signed
    assert not any("target" in record for record in sink.records)

    shop.seal()
    assert receipt.wait_delivered(60)

    for request in sink.requests:
        assert "sig" in orjson.loads(request.bodies[-1]), "a batch ends with a signed record"


def test_waiting_for_delivery_hurries_the_seal(app: MakeApp, sink: Sink) -> None:
    shop = app(sink, OTEL_AUDIT_SEAL_INTERVAL="300s", OTEL_AUDIT_HEARTBEAT_INTERVAL="300s")

    assert shop.emit(1).wait_delivered(30)


def test_adopted_records_leave_with_the_recovery_that_vouches_for_them(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    dying = app(sink, OTEL_AUDIT_SEAL_INTERVAL="300s", OTEL_AUDIT_HEARTBEAT_INTERVAL="300s")
    assert dying.emit("sealed").wait_delivered(60)
    dying.emit("adopted 1", "adopted 2")
    stream = crash_with_threads(dying.pipeline)

    next_one = app(sink)
    next_one.emit("new")
    sink.wait_for(lambda: "adopted 2" in sink.targets())
    next_one.shutdown()

    (request,) = [request for request in sink.requests if request.carries("adopted 2")]
    adopted, recovery = request.message.resource_logs
    events = [record.event_name for record in recovery.scope_logs[0].log_records]
    assert [record.event_name for record in adopted.scope_logs[0].log_records] == ["item.read", "item.read"]
    assert events[-1] == "audit.stream.recovered"
    assert set(events[:-1]) <= {"item.read"}, "what it signs goes with it"
    assert stream.encode() in request.bodies[-1]
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert verdict.status == "verified"
    assert [(f.kind, f.count) for f in verdict.findings if f.kind == "adopted"] == [("adopted", 2)]


def test_a_backlog_does_not_starve_new_records(app: MakeApp, sink: Sink, spool: Path) -> None:
    shop = app(sink)
    assert shop.emit("opens").wait_delivered(60)
    gate, seen = threading.Event(), threading.Event()

    def behaviour(request: Request) -> Reply:
        if request.carries("old-0-0"):
            seen.set()
        return Reply(waits_for=gate)

    sink.behaviour = behaviour
    for number in range(3):
        earlier = app(sink, OTEL_AUDIT_EXPORTER="none")
        earlier.emit(*(f"old-{number}-{index}" for index in range(3000)))
        earlier.shutdown()
    assert seen.wait(60), "the backlog is found while the process runs"
    shop.emit("new")
    shop.seal()
    gate.set()
    sink.wait_for(lambda: len(sink.targets()) == 9002)

    new = sink.targets().index("new")
    assert new < 6000, "the new record waited for no more than a part of the backlog"


def test_a_restart_sends_nothing_again(app: MakeApp, sink: Sink) -> None:
    first_run = app(sink)
    first_run.emit(*range(100))
    first_run.shutdown()
    count = len(sink.bodies)

    second_run = app(sink)
    assert second_run.emit("new").wait_delivered(60)
    second_run.shutdown()

    assert len(sink.bodies) == len(set(sink.bodies))
    assert sink.targets()[-1] == "new"
    assert len(sink.bodies) > count


def test_a_stream_that_another_process_delivers_is_left_to_it(app: MakeApp, sink: Sink, spool: Path) -> None:
    earlier = app(sink, OTEL_AUDIT_EXPORTER="none")
    stream = earlier.emit("old").stream
    earlier.shutdown()
    held = acquire(spool / "shop" / stream, EXPORT_LOCK)
    assert held is not None
    free = app(sink, OTEL_AUDIT_EXPORTER="none")
    free.emit("free")
    free.shutdown()

    shop = app(sink)
    shop.emit("new")
    sink.wait_for(lambda: "free" in sink.targets(), "the backlog was looked through")
    for number in range(3):
        assert shop.emit(f"new {number}").wait_delivered(60), "own records and the backlog take turns"
    assert "old" not in sink.targets()
    held.release()
    sink.wait_for(lambda: "old" in sink.targets())


def test_a_line_that_was_altered_is_put_aside_and_the_rest_goes_on(app: MakeApp, sink: Sink, spool: Path) -> None:
    earlier = app(sink, OTEL_AUDIT_EXPORTER="none")
    stream = earlier.emit(*range(20)).stream
    earlier.shutdown()
    path = segment(spool, stream)
    lines = path.read_bytes().split(b"\n")
    lines[9] = b"\xff\xfe not a record"
    lines[11] = b"[1]"
    path.write_bytes(b"\n".join(lines))

    shop = app(sink)
    shop.emit("new")
    sink.wait_for(lambda: "19" in sink.targets() and "new" in sink.targets())

    assert [path.name for path in quarantined(spool)] == [
        f"{stream}-000000000010.record",
        f"{stream}-000000000012.record",
    ]


@pytest.mark.parametrize("cursor", [b"", b"{}", b"nonsense", b'{"segment":"x","offset":-1,"seq":1,"at":""}'])
def test_a_cursor_that_makes_no_sense_means_sending_again(
    cursor: bytes, app: MakeApp, sink: Sink, spool: Path
) -> None:
    earlier = app(sink)
    stream = earlier.emit(*range(20)).stream
    earlier.shutdown()
    sent = list(sink.bodies)
    (spool / "shop" / stream / "delivered").write_bytes(cursor)

    shop = app(sink)
    shop.emit("new")
    sink.wait_for(lambda: len(sink.bodies) >= 2 * len(sent))
    shop.shutdown()

    assert sink.targets() == [*map(str, range(20)), "new"]
    assert read_cursor(spool / "shop" / stream).seq == len(sent)


def test_core_sends_the_index_without_the_context(app: MakeApp, sink: Sink) -> None:
    shop = app(sink, OTEL_AUDIT_ATTRIBUTES="core")
    shop.emit(1)
    shop.shutdown()

    names = {
        attribute.key
        for request in sink.requests
        for resource in request.message.resource_logs
        for record in resource.scope_logs[0].log_records
        for attribute in record.attributes
    }
    assert names
    assert all(name.startswith("audit.") or name == "event.name" for name in names)
    assert "audit.seal.root" not in names


def test_resource_and_scope_are_those_of_the_stream(app: MakeApp, sink: Sink) -> None:
    shop = app(sink, OTEL_RESOURCE_ATTRIBUTES="deployment.environment.name=test")
    shop.emit(1)
    shop.shutdown()

    (resource,) = sink.requests[-1].message.resource_logs
    attributes = {a.key: a.value.string_value or a.value.int_value for a in resource.resource.attributes}
    assert attributes["service.name"] == "shop"
    assert attributes["deployment.environment.name"] == "test"
    assert attributes["process.pid"] == psutil.Process().pid
    assert not any(name.startswith("audit.") for name in attributes)
    assert resource.scope_logs[0].scope.name == "otel-audit"


def test_records_in_memory_are_delivered_and_make_room(app: MakeApp, sink: Sink) -> None:
    shop = app(sink, OTEL_AUDIT_DIR="memory:")
    storage = shop.pipeline.writer.storage
    assert isinstance(storage, MemoryStorage)

    assert shop.emit(*range(3000)).wait_delivered(60)
    shop.shutdown()

    assert sink.targets() == [str(number) for number in range(3000)]
    assert storage.released_bytes == storage.used_bytes > 0
