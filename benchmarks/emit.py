"""Microseconds for one event of 16 members: into the stock batch processor, or into the spool."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider, ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)

import otel_audit
from otel_audit.event import AuditEvent

COUNT = 20_000
CONTEXT: dict[str, str | int] = {
    "http.request.method": "GET",
    "http.route": "/customers/<int:id>",
    "url.path": "/customers/42",
    "url.scheme": "https",
    "http.response.status_code": 200,
    "http.response.body.size": 1234,
    "http.server.request.duration_us": 8123,
    "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0",
    "server.address": "shop.example.com",
    "client.address": "192.0.2.17",
}
EVENT = AuditEvent(
    "http.server.request",
    "READ",
    "success",
    otel_audit.Actor("alice", "user", "session"),
    otel_audit.Target("/customers/<int:id>", "http.endpoint"),
    otel_audit.Source("192.0.2.17", "ipv4"),
    None,
    "4bf92f3577b34da6a3ce929d0e0e4736",
    "00f067aa0ba902b7",
    CONTEXT,
)


class Discarding(LogRecordExporter):
    """Takes batches and keeps nothing: only the way into the queue is measured."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:  # noqa: ARG002 - the SDK's own
        """Forget."""
        return LogRecordExportResult.SUCCESS

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - likewise
        """Nothing waits."""
        return True

    def shutdown(self) -> None:
        """Nothing is open."""


def stock() -> float:
    """The SDK's batch processor; it keeps no order, signs nothing, and drops when its queue is full."""
    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(Discarding()))
    logger = provider.get_logger("bench")
    attributes = {**CONTEXT, "audit.actor.id": "alice", "audit.action": "READ", "audit.outcome": "success"}
    began = time.perf_counter()
    for _ in range(COUNT):
        logger.emit(LogRecord(timestamp=time.time_ns(), body="", attributes=attributes, event_name="access"))
    took = time.perf_counter() - began
    provider.shutdown()
    return took


def ours() -> float:
    """The whole way into the page cache, chained and counted into the tree."""
    otel_audit.configure()
    audit = otel_audit.get_audit_logger("bench")
    audit.emit_event(EVENT)
    began = time.perf_counter()
    for _ in range(COUNT):
        audit.emit_event(EVENT)
    took = time.perf_counter() - began
    otel_audit.shutdown()
    return took


if __name__ == "__main__":
    print((stock if sys.argv[1] == "stock" else ours)() / COUNT * 1e6)
