"""Numbered events by either way, and the environment in which a variant's process runs.

`stock` is the SDK's batch processor before its OTLP/HTTP exporter, as everybody sets it up; `otel-audit` is
`configure()` from the environment.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from opentelemetry._logs import LogRecord
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

import otel_audit
from benchmarks.emit import CONTEXT, EVENT

VARIANTS = ("stock", "otel-audit")
Emit = Callable[[int], None]


def environment(state: Path, endpoint: str | None = None, **variables: str) -> dict[str, str]:
    """What a measured process is given: none of the caller's own settings of OpenTelemetry."""
    chosen = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    chosen |= {"OTEL_SERVICE_NAME": "bench", "OTEL_AUDIT_DIR": str(state), **variables}
    if endpoint is not None:
        chosen["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    return chosen


def emitter(variant: str) -> tuple[Emit, Callable[[], object]]:
    """What records the event of a number, and what ends it in order."""
    return _stock() if variant == "stock" else _ours()


def _stock() -> tuple[Emit, Callable[[], object]]:
    from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter

    provider = LoggerProvider()
    provider.add_log_record_processor(BatchLogRecordProcessor(OTLPLogExporter()))
    logger = provider.get_logger("bench")

    def emit(number: int) -> None:
        logger.emit(
            LogRecord(timestamp=time.time_ns(), body=f"number-{number}", attributes=CONTEXT, event_name="access")
        )

    return emit, provider.shutdown


def _ours() -> tuple[Emit, Callable[[], object]]:
    otel_audit.configure()
    audit = otel_audit.get_audit_logger("bench")

    def emit(number: int) -> None:
        event = EVENT._replace(target=otel_audit.Target(f"number-{number}", "item"))
        if not audit.emit_event(event).recorded:
            raise SystemExit("a record was refused")

    return emit, lambda: otel_audit.shutdown(120)
