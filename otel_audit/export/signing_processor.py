"""`SigningLogRecordProcessor`: our evidence for anybody's own `LoggerProvider`.

Export stage. A log record that enters here becomes an event of this process's audit log and goes through its spool;
once sealed, the log's records, lifecycle records included, go to the next processor, and what it exports verifies.

    provider = LoggerProvider()
    provider.add_log_record_processor(SigningLogRecordProcessor(BatchLogRecordProcessor(OTLPLogExporter())))
    audit = logging.getLogger("audit")
    audit.addHandler(LoggingHandler(logger_provider=provider))
    audit.propagate = False

Handed on is not delivered. A receipt's `recorded` means the spool; `wait_delivered` and the metrics of export speak
of this package's own exporter only, because nobody tells us what *next* and its exporter do with a record.

Known limit: the stock batch processor and exporters drop a batch that they cannot deliver within some ten
seconds, and tell nobody. The records stay in the spool, and the verifier names what is missing at the far end; the
exporter of this package (`OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT`) is the way that loses none.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref

from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from otel_audit.errors import InvalidEvent, NotConfigured
from otel_audit.export.handover import Handover, is_handing_on
from otel_audit.export.log_event import event_of
from otel_audit.logger import installed
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.storage import DiskStorage
from otel_audit.spool.writer import Writer

_log = logging.getLogger("otel_audit")

_EVERY_S = 1.0
"""How often newly sealed records are looked for; the default seal interval is five seconds."""

_SHUTDOWN_S = 5.0
_OURS = frozenset(("otel_audit", "opentelemetry"))
_TRANSPORTS = frozenset(("urllib3", "requests", "grpc", "charset_normalizer", "google"))


class SigningLogRecordProcessor(LogRecordProcessor):
    """Makes evidence of each log record, and hands on to *next* what is sealed, in order.

    *next* None: nothing is handed on; the records stay in the spool, and leave by the own exporter if there is one.

    `on_emit` returns once the record is in the spool. Who acts, from where and in which trace is taken from the
    calling thread's context unless the record says it. Never raises into the application, but for
    `RecordingFailed` in fail mode `closed`.

    Needs the process's pipeline (`otel_audit.configure()`, or `opentelemetry-instrument`), by the first record.
    *next* gets the whole streams of the service: events that came by other ways too, and what an earlier
    process was killed before handing on. A forked child goes on with its own stream.
    """

    def __init__(self, next: LogRecordProcessor | None = None) -> None:  # noqa: A002 - reads best where it is used
        self._handover = None if next is None else Handover(next)
        self._alarms = Alarms()
        self._writer: Writer | None = None
        self._is_shut = False
        self._stop = threading.Event()
        if self._handover is not None:
            self._start()
        restart = weakref.WeakMethod(self._restart)
        os.register_at_fork(after_in_child=lambda: (found := restart()) and found())

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Record it.

        What this package, the SDK, or a transport that exports logs about itself is no event: each export would
        cause the next one.

        Raises:
            RecordingFailed: in fail mode `closed` only.
        """
        if _is_about_export(log_record):
            return
        pipeline = installed()
        try:
            if pipeline is None:
                raise NotConfigured("no audit pipeline in this process: call otel_audit.configure()")  # noqa: TRY301 - as after a shutdown
            pipeline.record(event_of(log_record))
            writer = self._known_writer()
            if writer is not None and self._handover is not None:
                self._handover.notice(writer.live)
        except (NotConfigured, InvalidEvent) as error:
            self._alarms.note("lost", f"a log record could not be recorded, and is lost: {error}")
            self._alarms.say()
        else:
            self._alarms.over("lost", "log records are recorded again")
            self._alarms.say()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Seal what is recorded, hand it on, flush the next processor; False when that was not all done in time.

        Without a next processor: seal it, and wait until it is delivered, or on disk where nothing delivers.
        """
        deadline_s = time.monotonic() + timeout_millis / 1000
        writer = self._known_writer()
        if writer is not None:
            writer.when_idle(lambda: _seal(writer))
        if self._handover is None:
            return writer is None or _is_settled(writer, timeout_millis / 1000)
        is_done = True
        if writer is not None:
            self._handover.look()
            is_done = self._hand_on(self._handover, writer, timeout_millis / 1000)
        rest_s = max(0.0, deadline_s - time.monotonic())
        return self._handover.next.force_flush(int(rest_s * 1000)) is not False and is_done

    def shutdown(self) -> None:
        """Close the process's stream, hand on what is left of it, shut the next processor down; safe to call twice.

        Takes five seconds for what is left; the log says when that was not enough, and the next process of the
        service goes on. What is recorded afterwards goes to another stream, which that one hands on too.
        Without a next processor nothing happens: `otel_audit.shutdown()` ends the log.
        """
        if self._is_shut or self._handover is None:
            return
        self._is_shut = True
        self._stop.set()
        writer = self._known_writer()
        if writer is not None:
            self._handover.look()
            self._handover.notice(writer.live)
            writer.when_idle(writer.end)
            if not self._hand_on(self._handover, writer, _SHUTDOWN_S):
                _say_what_waits(writer)
        self._handover.next.shutdown()

    def _known_writer(self) -> Writer | None:
        """The writer of the process's pipeline; the last known one where that was shut down."""
        writer = getattr(installed(), "writer", None)
        if isinstance(writer, Writer):
            self._writer = writer
        return self._writer

    def _hand_on(self, handover: Handover, writer: Writer, timeout_s: float) -> bool:
        is_done = handover.hand_on(writer, timeout_s)
        writer.alarms.say()
        return is_done

    def _start(self) -> None:
        self._stop = threading.Event()
        threading.Thread(target=self._run, name="otel-audit-handover", daemon=True).start()

    def _restart(self) -> None:
        """In a forked child, which has no threads."""
        self._alarms.forget()
        if self._handover is not None:
            self._handover.forget_parent()
            if not self._is_shut:
                self._start()

    def _run(self) -> None:
        stop, handover = self._stop, self._handover
        while handover is not None and not stop.wait(_EVERY_S):
            writer = self._known_writer()
            if writer is not None:
                self._hand_on(handover, writer, threading.TIMEOUT_MAX)


def _say_what_waits(writer: Writer) -> None:
    is_kept = isinstance(writer.storage, DiskStorage)
    _log.warning(
        "otel-audit: this process ends before all its sealed records were handed on: %s",
        "the next one of the service goes on" if is_kept else "those in memory are lost",
    )


def _seal(writer: Writer) -> None:
    with writer.lock:
        live = writer.live
        if live is not None and live.stream.unsealed:
            live.asked_seq = live.stream.seq
            writer.seal_if_due()


def _is_settled(writer: Writer, timeout_s: float) -> bool:
    live = writer.live
    if live is None:
        return True
    wait = live.wait_durable if live.delivery is None else live.wait_delivered
    return wait(live.stream.id, live.stream.signed_seq, timeout_s)


def _is_about_export(record: ReadWriteLogRecord) -> bool:
    """Whether it tells of the export of records, not of the application."""
    if is_handing_on.get():
        return True
    scope = record.instrumentation_scope
    root = "" if scope is None else scope.name.partition(".")[0]
    # opentelemetry-sdk 1.45: the batch processor's own thread exports with instrumentation suppressed
    return root in _OURS or (root in _TRANSPORTS and not is_instrumentation_enabled())
