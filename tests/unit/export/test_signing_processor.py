"""Records of anybody's own LoggerProvider become evidence, and nothing of it reaches the application."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import otel_audit
from otel_audit import Actor, RecordingFailed, acting_as
from tests.export.sink import HttpSink
from tests.unit.export.conftest import (
    NEVER,
    Configure,
    Log,
    MakeLog,
    Sink,
    events,
    records,
)


def test_a_flush_seals_and_hands_on_what_was_said_before(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter
) -> None:
    configure(OTEL_AUDIT_SEAL_INTERVAL=NEVER)
    log.info("read")
    assert log.flush()

    assert [record["event"] for record in records(exporter)[2:]] == ["shop.audit", "audit.seal"]


def test_a_seal_has_records_handed_on_without_a_flush(configure: Configure, spool: Path) -> None:
    sink = HttpSink()
    configure(OTEL_AUDIT_SEAL_INTERVAL="100ms")
    log = Log(SimpleLogRecordProcessor(OTLPLogExporter(endpoint=f"{sink.endpoint}/v1/logs")))
    log.info("read", audit__target__id="7")

    sink.wait_for(lambda: sink.targets() == ["7"])

    log.provider.shutdown()
    sink.close()


def test_who_acts_and_in_which_trace_is_taken_from_the_caller(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter
) -> None:
    """The stock batch processor strips the context; handing on happens in another thread."""
    configure()
    span = NonRecordingSpan(SpanContext(0xA1, 0xB2, is_remote=False, trace_flags=TraceFlags(0)))
    with acting_as(Actor("bob")), trace.use_span(span):
        log.info("read")
        assert log.flush()
    with acting_as(Actor("carol")):
        log.info("read")
        log.info("read", audit__actor__id="dave")
    log.info("tidied up")
    assert log.flush()

    made = events(exporter)
    assert [event["actor"]["id"] for event in made] == ["bob", "carol", "dave", "shop"]
    assert [event.get("trace_id") for event in made] == [f"{0xA1:032x}", None, None, None]
    sent = [(one.log_record.event_name, one.log_record.trace_id) for one in exporter.get_finished_logs()]
    assert [trace_id for name, trace_id in sent if name == log.logger.name] == [0xA1, 0, 0, 0]
    assert {trace_id for name, trace_id in sent if str(name).startswith("audit.")} == {0}


def test_the_policy_holds_here_too(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("rules:\n- {actor: robot, action: skip}\n")
    configure(OTEL_AUDIT_POLICY=str(policy))
    log.info("read", audit__actor__id="robot")
    log.info("read", audit__actor__id="alice")
    assert log.flush()

    assert [event["actor"]["id"] for event in events(exporter)] == ["alice"]
    assert records(exporter)[-1]["context"]["audit.seal.skipped"] == 1


def test_without_a_pipeline_the_application_goes_on_and_is_told(
    log: Log, configure: Configure, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "otel_audit"):
        log.info("read")
        configure()
        log.info("read")

    assert "call otel_audit.configure()" in caplog.text
    assert "log records are recorded again" in caplog.text


def test_in_fail_mode_open_a_full_spool_does_not_reach_the_application(
    configure: Configure, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    configure(OTEL_AUDIT_SPOOL_MAX_BYTES="1KiB")

    log.info("read")

    assert "is full" in caplog.text


def test_in_fail_mode_closed_the_caller_learns_of_a_full_spool(configure: Configure, log: Log) -> None:
    configure(OTEL_AUDIT_SPOOL_MAX_BYTES="1KiB", OTEL_AUDIT_FAIL_MODE="closed")

    with pytest.raises(RecordingFailed):
        log.info("read")


def test_export_that_logs_does_not_feed_itself(
    configure: Configure, logs: MakeLog, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3 logs each request at DEBUG; a handler at the root would make an event of it, and so a request."""
    sink = HttpSink()
    configure(OTEL_AUDIT_SEAL_INTERVAL="100ms")
    log = logs(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{sink.endpoint}/v1/logs"), 20))
    root = logging.getLogger()
    root.addHandler(log.handler)
    with caplog.at_level(logging.DEBUG):
        log.info("read", audit__target__id="7")
        logging.getLogger("otel_audit").error("an alarm of ours")
        logging.getLogger("opentelemetry.sdk").error("a batch was lost")
        for _ in range(5):
            assert log.flush()
    root.removeHandler(log.handler)
    sink.close()

    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert [record["event"] for record in sink.records if not record["event"].startswith("audit.")] == [
        log.logger.name
    ]


class Chatty(Sink):
    """Somebody's own exporter, which logs."""

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        logging.getLogger("somebody").error("%d exported", len(batch))
        return super().export(batch)


def test_an_exporter_that_logs_under_any_name_does_not_feed_itself(configure: Configure, logs: MakeLog) -> None:
    configure()
    chatty = Chatty()
    log = logs(SimpleLogRecordProcessor(chatty))
    root = logging.getLogger()
    root.addHandler(log.handler)
    log.info("read")
    for _ in range(5):
        assert log.flush()
    root.removeHandler(log.handler)

    assert [event["event"] for event in events(chatty)] == ["shop.audit"]


def test_without_a_next_processor_a_flush_waits_for_the_own_exporter(configure: Configure, logs: MakeLog) -> None:
    sink = HttpSink()
    configure(OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT=sink.endpoint, OTEL_AUDIT_SEAL_INTERVAL=NEVER)
    log = logs(None)
    log.info("read", audit__target__id="7")
    assert log.flush()
    arrived = sink.targets()
    log.provider.shutdown()
    log.info("read", audit__target__id="8")
    otel_audit.shutdown(20.0)
    sink.close()

    assert (arrived, sink.targets()) == (["7"], ["7", "8"])


def test_after_its_shutdown_records_are_kept_for_the_next_process(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter, logs: MakeLog
) -> None:
    configure()
    log.info("before")
    log.processor.shutdown()
    log.processor.shutdown()
    log.processor.on_emit(a_record())
    otel_audit.shutdown()
    later = Sink()
    configure()
    logs(BatchLogRecordProcessor(later)).provider.shutdown()

    assert [event["context"].get("log.body") for event in events(exporter)] == ["before"]
    assert [event["context"].get("log.body") for event in events(later)] == ["after"]


class Stuffed(SimpleLogRecordProcessor):
    """Somebody's own processor, which admits that it cannot pass on what it holds."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return False


@pytest.mark.parametrize(
    ("directory", "said"),
    [({}, "the next one"), ({"OTEL_AUDIT_DIR": "memory:"}, "are lost")],
    ids=["disk", "memory"],
)
def test_an_end_before_all_was_handed_on_is_said(
    directory: dict[str, str], said: str, configure: Configure, logs: MakeLog, caplog: pytest.LogCaptureFixture
) -> None:
    configure(**directory)
    log = logs(Stuffed(Sink()))
    log.info("read")

    log.provider.shutdown()

    (line,) = [line for line in caplog.messages if "ends before all" in line]
    assert said in line


def a_record() -> ReadWriteLogRecord:
    from opentelemetry._logs import LogRecord

    return ReadWriteLogRecord(LogRecord(body="after"))


def test_it_is_imported_when_it_is_asked_for() -> None:
    code = (
        "import sys, otel_audit\n"
        "assert 'opentelemetry.sdk._logs' not in sys.modules\n"
        "assert 'SigningLogRecordProcessor' in otel_audit.__all__\n"
        "otel_audit.SigningLogRecordProcessor\n"
        "assert 'opentelemetry.sdk._logs' in sys.modules\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
