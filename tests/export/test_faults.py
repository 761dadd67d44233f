"""Sinks that fail in every way we know: everything else arrives, in order, and nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from otel_audit.evidence.identity import local_issuers
from otel_audit.spool.delivered import quarantined
from otel_audit.verify import verify
from tests.export.conftest import App, MakeApp
from tests.export.sink import TAKE, GrpcSink, HttpSink, Reply, Request, Sink
from tests.memory_source import MemorySource

Code = grpc.StatusCode
HTML = b"<html><body>Welcome to our network. Please sign in.</body></html>"


def refusal(status: int, code: Code, details: str = "", **headers: str) -> Reply:
    """An answer that takes nothing, as each protocol says it."""
    return Reply(status=status, code=code, details=details, headers=headers, is_taken=False)


def first(count: int, reply: Reply) -> Callable[[Request], Reply]:
    """A sink that heals after *count* requests."""
    return lambda request: reply if request.number < count else TAKE


def assert_all_arrived(sink: Sink, app: App, targets: range, spool: Path) -> None:
    """Everything, in order within its stream, and what arrived verifies."""
    app.shutdown()
    assert sink.targets() == [str(target) for target in targets]
    sequence = [record["seq"] for record in sink.records]
    if sequence[:2] == [2, 1]:  # sent ahead, to see whether the sink refuses everything (`Outbox.control`)
        sequence[:2] = [1, 2]
    assert sequence == list(range(1, len(sequence) + 1))
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert (verdict.status, [f for f in verdict.findings if f.severity != "warning"]) == ("verified", [])
    assert quarantined(spool) == []


HEALING = {
    "unauthorized": refusal(401, Code.UNAUTHENTICATED, "token expired"),
    "forbidden": refusal(403, Code.PERMISSION_DENIED),
    "wrong path": refusal(404, Code.UNIMPLEMENTED),
    "too many": refusal(429, Code.RESOURCE_EXHAUSTED, "slow down", **{"retry-after": "0"}),
    "broken": refusal(500, Code.INTERNAL),
    "away": refusal(503, Code.UNAVAILABLE),
    "everything is bad": refusal(400, Code.INVALID_ARGUMENT, "tenant header missing"),
    "rejects some, once": Reply(rejected=3, is_taken=False),
}


@pytest.mark.parametrize("fault", HEALING)
def test_a_sink_that_heals_gets_everything_without_a_restart(
    fault: str, app: MakeApp, sink: Sink, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    requests = {"rejects some, once": 1, "everything is bad": 14}.get(fault, 5)
    sink.behaviour = first(requests, HEALING[fault])
    shop = app(sink)

    assert shop.emit(*range(700)).wait_delivered(60)

    assert_all_arrived(sink, shop, range(700), spool)
    alarms = [record.message for record in caplog.records if "takes records again" in record.message]
    assert len(alarms) >= 1, "one line says that it is over"


HTTP_FAULTS = {
    "a proxy's page": Reply(body=HTML, content_type="text/html", is_taken=False),
    "a page that says it is protobuf": Reply(body=HTML, is_taken=False),
    "garbage": Reply(body=b"\xff\xfe\x00garbage", is_taken=False),
    "half a message": Reply(body=b"\x0a\x7f\x08", is_taken=False),
    "a field that OTLP does not have": Reply(body=b"\x12\x02hi", is_taken=False),
    "a redirect": Reply(status=302, headers={"location": "http://127.0.0.1:1/login"}, is_taken=False),
    "a moved sink": Reply(status=308, headers={"location": "/elsewhere"}, is_taken=False),
    "a broken connection": Reply(is_reset=True),
    "a broken connection, before it took them": Reply(is_reset=True, is_taken=False),
    "JSON of somebody else": Reply(body=b'{"ok":true}', content_type="application/json", is_taken=False),
}


@pytest.mark.parametrize("fault", HTTP_FAULTS)
def test_only_an_otlp_answer_acknowledges(fault: str, app: MakeApp, http_sink: HttpSink, spool: Path) -> None:
    http_sink.behaviour = first(3, HTTP_FAULTS[fault])
    shop = app(http_sink)

    assert shop.emit(*range(50)).wait_delivered(60)

    assert_all_arrived(http_sink, shop, range(50), spool)
    assert len(http_sink.requests) >= 4


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", "text/plain"),
        (b"\x0a\x00", "application/x-protobuf"),
        (b"\x0a\x08\x12\x06slowly", "application/x-protobuf"),
        (b"{}", "application/json"),
        (b'{"partialSuccess":{}}', "application/json; charset=utf-8"),
    ],
)
def test_each_form_of_success_is_sent_once(
    body: bytes, content_type: str, app: MakeApp, http_sink: HttpSink
) -> None:
    """The Collector writes an empty partial_success; others answer with nothing, with JSON, or with a warning."""
    http_sink.behaviour = lambda _: Reply(body=body, content_type=content_type)
    shop = app(http_sink)
    shop.emit(1)
    shop.shutdown()

    assert len(http_sink.bodies) == len(set(http_sink.bodies))
    assert http_sink.targets() == ["1"]


POISON = {
    "refused": refusal(400, Code.INVALID_ARGUMENT, "bad record"),
    "unprocessable": refusal(422, Code.INVALID_ARGUMENT, "bad record"),
    "partly rejected, always": Reply(rejected=1, is_taken=False),
}


@pytest.mark.parametrize("fault", POISON)
def test_one_bad_record_of_500_is_put_aside_and_all_others_arrive_in_order(
    fault: str, app: MakeApp, sink: Sink, spool: Path, caplog: pytest.LogCaptureFixture
) -> None:
    sink.behaviour = lambda request: POISON[fault] if request.carries("250") else TAKE
    shop = app(sink, OTEL_AUDIT_SEAL_RECORDS="600", OTEL_AUDIT_SEAL_INTERVAL="20s")
    receipts = [shop.emit(number) for number in range(500)]

    assert receipts[-1].wait_delivered(60)
    assert not receipts[250].wait_delivered(1)
    assert receipts[251].wait_delivered(1)
    shop.shutdown()

    assert sink.targets() == [str(number) for number in range(500) if number != 250]
    (path,) = quarantined(spool)
    assert path.name == f"{receipts[250].stream}-{receipts[250].seq:012d}.record"
    assert b'"id":"250"' in path.read_bytes()
    assert any("refuses records, 1 so far" in record.message for record in caplog.records)

    sink.behaviour = lambda _: TAKE
    again = app(sink)
    again.emit("after")
    sink.wait_for(lambda: "250" in sink.targets(), "what was put aside is sent again after a restart")
    again.shutdown()
    assert quarantined(spool) == []
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert verdict.status == "verified"


@pytest.mark.parametrize("bad", [range(3), range(20), range(480, 500)])
def test_many_bad_records_in_a_row_stop_nobody(bad: range, app: MakeApp, sink: Sink, spool: Path) -> None:
    def behaviour(request: Request) -> Reply:
        is_bad = any(request.carries(str(number)) for number in bad)
        return refusal(400, Code.INVALID_ARGUMENT) if is_bad else TAKE

    sink.behaviour = behaviour
    shop = app(sink, OTEL_AUDIT_SEAL_RECORDS="600", OTEL_AUDIT_SEAL_INTERVAL="20s")
    shop.emit(*range(500))
    shop.shutdown(60)

    assert sink.targets() == [str(number) for number in range(500) if number not in bad]
    assert len(quarantined(spool)) == len(bad)


def test_a_request_that_is_too_large_is_made_smaller_and_stays_so(app: MakeApp, sink: Sink, spool: Path) -> None:
    limit = 300_000
    too_large = refusal(
        413, Code.RESOURCE_EXHAUSTED, f"grpc: received message larger than max (999999 vs. {limit})"
    )
    sink.behaviour = lambda request: too_large if request.message.ByteSize() > limit else TAKE
    shop = app(sink, OTEL_AUDIT_SEAL_RECORDS="2000", OTEL_AUDIT_SEAL_INTERVAL="20s")

    assert shop.emit(*range(2000)).wait_delivered(60)
    requests = len(sink.requests)
    assert shop.emit(*range(2000, 4000)).wait_delivered(60)

    assert_all_arrived(sink, shop, range(4000), spool)
    sizes = [request.message.ByteSize() for request in sink.requests[requests:]]
    assert sum(size > limit for size in sizes) <= 1


def test_a_sink_that_hangs_is_asked_again(app: MakeApp, sink: Sink, spool: Path) -> None:
    release = threading.Event()
    sink.behaviour = first(2, Reply(is_taken=False, waits_for=release))
    shop = app(sink, OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT="300ms")
    receipt = shop.emit(*range(10))

    sink.wait_for(lambda: len(sink.requests) >= 3)
    release.set()
    assert receipt.wait_delivered(60)
    assert_all_arrived(sink, shop, range(10), spool)


def test_a_sink_that_is_down_gets_everything_when_it_comes_up(app: MakeApp, spool: Path) -> None:
    gone = HttpSink()
    port = gone.port
    gone.close()
    shop = app(gone)
    receipt = shop.emit(*range(100))
    assert not receipt.wait_delivered(0.3)

    sink = HttpSink(port=port)
    try:
        assert receipt.wait_delivered(60)
        assert_all_arrived(sink, shop, range(100), spool)
    finally:
        sink.close()


def test_a_grpc_sink_that_is_down_gets_everything_when_it_comes_up(app: MakeApp, spool: Path) -> None:
    gone = GrpcSink()
    gone.close()
    shop = app(gone)
    receipt = shop.emit(*range(100))
    assert not receipt.wait_delivered(0.3)

    sink = GrpcSink(port=gone.port)
    try:
        assert receipt.wait_delivered(60)
        assert_all_arrived(sink, shop, range(100), spool)
    finally:
        sink.close()


def test_a_record_that_breaks_the_sink_holds_up_its_own_stream_only(app: MakeApp, sink: Sink, spool: Path) -> None:
    """A 500 may heal, so nothing is put aside; but the streams of other processes go on."""
    sink.behaviour = lambda request: refusal(500, Code.INTERNAL) if request.carries("poison") else TAKE
    ill = app(sink)
    ill.emit("poison")
    sink.wait_for(lambda: any(request.carries("poison") for request in sink.requests))
    healthy = app(sink)

    assert healthy.emit(*range(100)).wait_delivered(60)

    assert sink.targets() == [str(number) for number in range(100)]
    sink.behaviour = lambda _: TAKE
    ill.shutdown()
    assert sorted(sink.targets()) == sorted([*map(str, range(100)), "poison"])


def test_what_was_not_delivered_at_the_end_arrives_with_the_next_process(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    sink.behaviour = lambda _: refusal(503, Code.UNAVAILABLE)
    first_run = app(sink)
    first_run.emit(*range(100))
    first_run.shutdown(0.5)
    assert sink.targets() == []

    sink.behaviour = lambda _: TAKE
    second_run = app(sink)
    second_run.emit("new")
    sink.wait_for(lambda: len(sink.targets()) == 101)
    second_run.shutdown()

    assert set(sink.targets()) == {*map(str, range(100)), "new"}
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert verdict.status == "verified"


def test_emit_does_not_wait_for_a_sink_that_hangs(app: MakeApp, sink: Sink) -> None:
    """The sink answers only after everything was emitted: would emit wait for it, neither would ever go on."""
    emitted = threading.Event()
    sink.behaviour = lambda _: Reply(waits_for=emitted)
    shop = app(sink)
    shop.emit(0)
    sink.wait_for(lambda: sink.requests)

    receipt = shop.emit(*range(1, 5000))
    emitted.set()

    assert receipt.wait_delivered(60)


def test_a_fault_of_our_own_is_said_and_does_not_end_the_delivery(
    app: MakeApp, sink: Sink, caplog: pytest.LogCaptureFixture
) -> None:
    shop = app(sink)
    faults = [TypeError("planted value")]

    def on_sent(_seconds: float, _outcome: object) -> None:
        if faults:
            raise faults.pop()

    assert shop.pipeline.exporter is not None
    shop.pipeline.exporter.on_sent = on_sent
    shop.emit(1, 2, 3)
    shop.seal()

    assert shop.emit(4).wait_delivered(60)
    shop.shutdown()
    assert set(sink.targets()) == {"1", "2", "3", "4"}
    assert "the thread that delivers met a fault of otel-audit's own (TypeError)" in caplog.text
    assert "the thread that delivers has got through again" in caplog.text
    assert "planted value" not in caplog.text
