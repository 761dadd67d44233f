"""Sinks that are slow, ask for patience, or have a limit: nothing is lost, nothing waits longer than it must."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import grpc
import pytest

from otel_audit.evidence.identity import local_issuers
from otel_audit.spool.delivered import quarantined
from otel_audit.verify import verify
from tests.export.conftest import PROTOCOLS, App, MakeApp
from tests.export.sink import TAKE, GrpcSink, HttpSink, Reply, Request, Sink
from tests.memory_source import MemorySource

LIMIT_BYTES = 300_000


@pytest.fixture(params=PROTOCOLS)
def small_sink(request: pytest.FixtureRequest) -> Iterator[HttpSink | GrpcSink]:
    """A server that takes requests of at most `LIMIT_BYTES`."""
    is_http = request.param == "http/protobuf"
    made = HttpSink(limit_bytes=LIMIT_BYTES) if is_http else GrpcSink(limit_bytes=LIMIT_BYTES)
    yield made
    made.close()


def assert_all_arrived(sink: Sink, app: App, count: int, spool: Path) -> None:
    """Everything, in order, and what arrived verifies."""
    app.shutdown()
    assert sink.targets() == [str(target) for target in range(count)]
    sequence = [record["seq"] for record in sink.records]
    assert sequence == list(range(1, len(sequence) + 1))
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert verdict.status == "verified"
    assert quarantined(spool) == []


def test_an_answer_that_trickles_in_is_given_up_at_the_timeout(
    app: MakeApp, http_sink: HttpSink, spool: Path
) -> None:
    """Each byte comes in time; the answer never would."""
    stop = threading.Event()
    http_sink.behaviour = lambda request: Reply(is_taken=False, trickles=stop) if request.number < 2 else TAKE
    shop = app(http_sink, OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT="300ms")

    assert shop.emit(*range(100)).wait_delivered(60)

    assert not stop.is_set()
    assert_all_arrived(http_sink, shop, 100, spool)


def test_an_answer_that_trickles_in_through_a_proxy_is_given_up_too(
    app: MakeApp, http_sink: HttpSink, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stop = threading.Event()
    http_sink.behaviour = lambda request: Reply(is_taken=False, trickles=stop) if request.number < 2 else TAKE
    monkeypatch.setenv("HTTP_PROXY", http_sink.endpoint)
    elsewhere = {"OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": "http://collector.invalid:4318"}
    shop = app(http_sink, OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT="300ms", **elsewhere)

    assert shop.emit(*range(100)).wait_delivered(60)

    assert http_sink.requests[0].headers["host"] == "collector.invalid:4318"
    assert_all_arrived(http_sink, shop, 100, spool)


def test_what_a_sink_took_but_acknowledged_too_late_comes_again_and_counts_once(
    app: MakeApp, sink: Sink, spool: Path
) -> None:
    late = threading.Event()
    sink.behaviour = lambda request: Reply(waits_for=late) if request.number < 2 else TAKE
    shop = app(sink, OTEL_AUDIT_EXPORTER_OTLP_TIMEOUT="300ms")
    receipt = shop.emit(*range(100))
    sink.wait_for(lambda: len(sink.requests) >= 3)
    late.set()

    assert receipt.wait_delivered(60)

    assert_all_arrived(sink, shop, 100, spool)


def test_a_server_with_a_limit_gets_requests_that_fit(
    app: MakeApp, small_sink: HttpSink | GrpcSink, spool: Path
) -> None:
    shop = app(small_sink, OTEL_AUDIT_SEAL_RECORDS="2000", OTEL_AUDIT_SEAL_INTERVAL="20s")

    assert shop.emit(*range(3000)).wait_delivered(60)

    assert max(request.message.ByteSize() for request in small_sink.requests) <= LIMIT_BYTES
    assert_all_arrived(small_sink, shop, 3000, spool)


def one() -> str:
    return "1"


def in_two_seconds() -> str:
    return format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("when", [one, in_two_seconds])
def test_retry_after_is_waited_for(
    status: int, when: Callable[[], str], app: MakeApp, http_sink: HttpSink, spool: Path
) -> None:
    """A date has whole seconds: one that is two away is more than one away."""
    arrived: list[float] = []

    def behaviour(_: Request) -> Reply:
        arrived.append(time.monotonic())
        header = {"retry-after": when()}
        return TAKE if len(arrived) > 1 else Reply(status=status, headers=header, is_taken=False)

    http_sink.behaviour = behaviour
    shop = app(http_sink)

    assert shop.emit(*range(10)).wait_delivered(60)

    assert arrived[1] - arrived[0] >= 0.99, "the longest delay of its own would be a tenth of a second"
    assert_all_arrived(http_sink, shop, 10, spool)


@pytest.mark.parametrize("code", [grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE])
def test_retry_info_is_waited_for(code: grpc.StatusCode, app: MakeApp, grpc_sink: GrpcSink, spool: Path) -> None:
    arrived: list[float] = []

    def behaviour(_: Request) -> Reply:
        arrived.append(time.monotonic())
        return TAKE if len(arrived) > 1 else Reply(code=code, details="full", retry_info_s=1, is_taken=False)

    grpc_sink.behaviour = behaviour
    shop = app(grpc_sink)

    assert shop.emit(*range(10)).wait_delivered(60)

    assert arrived[1] - arrived[0] >= 0.99
    assert_all_arrived(grpc_sink, shop, 10, spool)
