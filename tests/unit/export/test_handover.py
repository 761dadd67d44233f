"""What is handed on to the next processor: whole streams, sealed, in order, once, and what arrives verifies."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import orjson
import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import otel_audit
from otel_audit.event import AuditEvent
from otel_audit.export.handover import Handover, log_record
from otel_audit.pipeline import AuditPipeline
from tests.crashed import crash
from tests.export.sink import HttpSink
from tests.unit.export.conftest import (
    NEVER,
    Configure,
    Flaky,
    Log,
    MakeLog,
    Sink,
    bodies,
    checked,
    errors,
    events,
    records,
)


def test_what_a_standard_logger_says_verifies_at_the_far_end_of_the_stock_exporter(
    configure: Configure, logs: MakeLog, spool: Path
) -> None:
    sink = HttpSink()
    configure()
    log = logs(BatchLogRecordProcessor(OTLPLogExporter(endpoint=f"{sink.endpoint}/v1/logs")))
    for number in range(1500):
        log.info("read", audit__actor__id="alice", audit__action="READ", audit__target__id=str(number))
    log.provider.shutdown()
    sink.close()

    assert sink.targets() == [str(number) for number in range(1500)]
    assert [record["event"] for record in sink.records[:2]] == ["audit.stream.open", "audit.policy"]
    assert sink.records[-1]["event"] == "audit.stream.close"
    verdict = checked(spool, sink.bodies)
    assert (verdict.status, errors(verdict)) == ("verified", [])
    resources = sink.requests[0].message.resource_logs[0].resource.attributes
    assert "shop" in [pair.value.string_value for pair in resources if pair.key == "service.name"]


def test_the_index_beside_each_body_agrees_with_it(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter, spool: Path
) -> None:
    configure()
    log.info("read", audit__actor__id="alice", audit__target__id="7", count=3, tags=["a", "b"], nothing=None)
    log.provider.shutdown()

    verdict = checked(spool, exporter)
    assert (verdict.status, errors(verdict)) == ("verified", [])
    found = next(one for one in exporter.get_finished_logs() if one.log_record.event_name == log.logger.name)
    attributes = found.log_record.attributes
    assert attributes is not None
    assert (attributes["audit.actor.id"], attributes["count"], attributes["tags"]) == ("alice", 3, ("a", "b"))
    assert (found.log_record.severity_number, found.dropped_attributes) == (None, 0)
    signed = [
        "audit.integrity.canonicalization" in (one.log_record.attributes or {})
        for one in exporter.get_finished_logs()
    ]
    assert signed == ["sig" in record for record in records(exporter)]


def test_limits_of_the_sdk_do_not_cut_the_index(
    configure: Configure, exporter: InMemoryLogRecordExporter, spool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_LOGRECORD_ATTRIBUTE_COUNT_LIMIT", "2")
    monkeypatch.setenv("OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT", "3")
    pipeline = configure()
    otel_audit.get_audit_logger("shop").emit("item.read", action="READ", target=otel_audit.Target("7", "item"))
    otel_audit.shutdown()
    assert Handover(SimpleLogRecordProcessor(exporter)).hand_on(pipeline.writer, 30.0)

    (found,) = [one for one in exporter.get_finished_logs() if one.log_record.event_name == "item.read"]
    assert dict(found.log_record.attributes or {})["audit.target.type"] == "item"
    assert checked(spool, exporter).status == "verified"


def test_what_is_no_record_goes_as_it_stands() -> None:
    """One attribute that cannot be encoded would cost the stock exporter the whole batch."""
    span = NonRecordingSpan(SpanContext(0xA1, 0xB2, is_remote=False, trace_flags=TraceFlags(0)))
    with trace.use_span(span):
        made = [log_record(body, Resource.get_empty()).log_record for body in (b"[]", b"\xff", b'{"event":"x"}')]

    assert [(one.body, dict(one.attributes or {}), one.trace_id, one.event_name) for one in made] == [
        ("[]", {}, 0, None),
        ("\ufffd", {}, 0, None),
        ('{"event":"x"}', {}, 0, None),
    ]


def test_only_what_is_sealed_is_handed_on(configure: Configure, exporter: InMemoryLogRecordExporter) -> None:
    pipeline = configure(OTEL_AUDIT_SEAL_INTERVAL=NEVER)
    handover = Handover(SimpleLogRecordProcessor(exporter))
    otel_audit.get_audit_logger("shop").emit("read", action="READ")
    assert handover.hand_on(pipeline.writer, 30.0)

    assert [record["event"] for record in records(exporter)] == ["audit.stream.open", "audit.policy"]

    otel_audit.shutdown()
    assert handover.hand_on(pipeline.writer, 30.0)

    assert [record["event"] for record in records(exporter)[2:]] == ["read", "audit.stream.close"]


def test_a_processor_that_raises_is_handed_the_same_again(
    configure: Configure,
    logs: MakeLog,
    exporter: InMemoryLogRecordExporter,
    spool: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure()
    flaky = Flaky(exporter)
    log = logs(flaky)
    log.info("read")
    assert not log.flush()
    assert "Flaky raised RuntimeError('no')" in caplog.text
    flaky.is_broken = False
    log.provider.shutdown()

    assert checked(spool, exporter).status == "verified"


class Stuffed(SimpleLogRecordProcessor):
    """Somebody's own processor, which admits that it cannot pass on what it holds."""

    is_stuffed = True

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return not self.is_stuffed and super().force_flush(timeout_millis)


def test_a_processor_that_cannot_flush_is_an_alarm_and_is_handed_the_same_again(
    configure: Configure,
    logs: MakeLog,
    exporter: InMemoryLogRecordExporter,
    spool: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    configure()
    stuffed = Stuffed(exporter)
    log = logs(stuffed)
    log.info("read")
    assert not log.flush()
    assert "Stuffed says that it could not flush" in caplog.text
    stuffed.is_stuffed = False
    log.provider.shutdown()

    assert "handed on again" in caplog.text
    assert checked(spool, exporter).status == "verified"


class Deaf(Sink):
    """A sink that cannot be reached for one batch, as the stock exporter reports it."""

    def __init__(self) -> None:
        super().__init__()
        self.refusals = 1

    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        if self.refusals and any(one.log_record.event_name == "shop.lost" for one in batch):
            self.refusals -= 1
            return LogRecordExportResult.FAILURE
        return super().export(batch)


def test_what_the_stock_processor_drops_is_named_by_the_verifier(
    configure: Configure, logs: MakeLog, spool: Path
) -> None:
    """A known limit: opentelemetry-sdk 1.45 ignores the exporter's result, so nobody here learns of it."""
    configure()
    deaf = Deaf()
    log = logs(BatchLogRecordProcessor(deaf))
    log.info("kept")
    assert log.flush()
    log.info("lost", **{"otel.event.name": "shop.lost"})
    assert log.flush()
    log.info("kept")
    log.provider.shutdown()

    assert errors(checked(spool, deaf)) == ["missing"]
    assert len(list(spool.glob("shop/*/*.jsonl"))) == 1, "the spool still has it"


def test_streams_that_rotate_are_handed_on_whole(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter, spool: Path
) -> None:
    pipeline = configure(OTEL_AUDIT_STREAM_MAX_RECORDS="10")
    for _ in range(3):
        for _ in range(12):
            log.info("read")
        pipeline.writer.rotate_if_due()
    log.provider.shutdown()

    verdict = checked(spool, exporter)
    assert (verdict.status, len(events(exporter))) == ("verified", 36)
    assert len(verdict.streams) >= 4, "the keeper rotates them, too"


CRASHES = """
import os, sys
import otel_audit
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
otel_audit.configure()
provider = LoggerProvider()
exporter = InMemoryLogRecordExporter()
provider.add_log_record_processor(otel_audit.SigningLogRecordProcessor(SimpleLogRecordProcessor(exporter)))
logger = provider.get_logger("shop")
for number in range(5):
    logger.emit(body=f"sealed {number}")
provider.force_flush()
for number in range(5):
    logger.emit(body=f"adopted {number}")
for one in exporter.get_finished_logs():
    print(one.log_record.body)
sys.stdout.flush()
os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_handed_on_by_the_next(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter, spool: Path
) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    killed = subprocess.run(
        [sys.executable, "-c", CRASHES],
        env={
            **environ,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_AUDIT_DIR": str(spool),
            "OTEL_AUDIT_SEAL_INTERVAL": NEVER,
        },
        capture_output=True,
        check=False,
    )
    assert killed.returncode == -9, killed.stderr
    configure()
    log.info("next")
    otel_audit.shutdown()  # returns when what was found crashed has been ended
    log.provider.shutdown()

    arrived = dict.fromkeys([*killed.stdout.splitlines(), *bodies(exporter)])
    texts = [orjson.loads(body).get("context", {}).get("log.body") for body in arrived]
    assert [text for text in texts if text and text != "next"] == [
        f"{kind} {number}" for kind in ("sealed", "adopted") for number in range(5)
    ]
    assert not set(killed.stdout.splitlines()) & set(bodies(exporter)), "what was handed on is not handed on again"
    verdict = checked(spool, list(arrived))
    assert (verdict.status, verdict.adopted, errors(verdict)) == ("verified", 5, [])


def test_adopted_records_leave_with_the_recovery_that_vouches_for_them(
    process: Callable[[], AuditPipeline], exporter: InMemoryLogRecordExporter
) -> None:
    """The one that recovered it may never hand its own stream on."""
    crashed, recoverer, other = process(), process(), process()
    crashed.record(AuditEvent("read", "READ", "success"))
    stream = crash(crashed)
    recoverer.keeper.recover()

    assert Handover(SimpleLogRecordProcessor(exporter)).hand_on(other.writer, 30.0)

    made = records(exporter)
    assert [record["event"] for record in made if record["stream"] == stream][2:] == ["read"]
    (vouching,) = [record for record in made if record["stream"] != stream]
    assert vouching["context"]["audit.recovered.stream"] == stream


def test_a_stream_that_retention_removed_is_let_go_of(
    process: Callable[[], AuditPipeline], spool: Path, exporter: InMemoryLogRecordExporter
) -> None:
    def held() -> int:
        links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
        return sum("handed.lock" in str(link.readlink()) for link in links)

    ended, later = process(), process()
    ended.record(AuditEvent("read", "READ", "success"))
    ended.shutdown(5.0)
    flaky = Flaky(exporter)
    handover = Handover(flaky)
    assert not handover.hand_on(later.writer, 30.0)
    assert held() == 1
    shutil.rmtree(spool / "shop")

    assert handover.hand_on(later.writer, 30.0)
    assert held() == 0


FORKS = """
import os, sys
import otel_audit
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
otel_audit.configure()
provider = LoggerProvider()
exporter = OTLPLogExporter(endpoint=sys.argv[1])
provider.add_log_record_processor(otel_audit.SigningLogRecordProcessor(BatchLogRecordProcessor(exporter)))
logger = provider.get_logger("shop")
logger.emit(body="parent")
child = os.fork()
logger.emit(body="child" if child == 0 else "parent again")
sys.stdin.read()
provider.shutdown()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_child_hands_on_a_stream_of_its_own(spool: Path) -> None:
    sink = HttpSink()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    streams: dict[str, str] = {}

    def have_all_spoken() -> bool:
        for record in sink.records:
            if "log.body" in record.get("context", {}):
                streams[record["context"]["log.body"]] = record["stream"]
        return len(streams) == 3

    with subprocess.Popen(
        [sys.executable, "-c", FORKS, f"{sink.endpoint}/v1/logs"],
        env={
            **environ,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_AUDIT_DIR": str(spool),
            "OTEL_AUDIT_SEAL_INTERVAL": "100ms",
        },
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        sink.wait_for(have_all_spoken)
        _, said = process.communicate()
    sink.close()

    assert (process.returncode, said) == (0, b"")
    assert streams["parent"] == streams["parent again"] != streams["child"]
    verdict = checked(spool, sink.bodies)
    assert (verdict.status, len(verdict.streams)) == ("verified", 2)


FORKS_MEANWHILE = """
import os, sys, threading
import otel_audit
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
parent, entered, leave = os.getpid(), threading.Event(), threading.Event()
class Slow(SimpleLogRecordProcessor):
    def on_emit(self, log_record):
        if os.getpid() == parent:
            entered.set()
            leave.wait()
        super().on_emit(log_record)
otel_audit.configure()
provider = LoggerProvider()
exporter = InMemoryLogRecordExporter()
provider.add_log_record_processor(otel_audit.SigningLogRecordProcessor(Slow(exporter)))
logger = provider.get_logger("shop")
logger.emit(body="parent")
entered.wait()
child = os.fork()
if child == 0:
    logger.emit(body="child")
    is_flushed = provider.force_flush(60000)
    bodies = [log.log_record.body for log in exporter.get_finished_logs()]
    os._exit(0 if is_flushed and '"audit.stream.open"' in bodies[0] and '"child"' in bodies[2] else 1)
_, status = os.waitpid(child, 0)
leave.set()
sys.exit(os.waitstatus_to_exitcode(status))
"""


def test_a_child_forked_while_records_are_handed_on_goes_on_by_itself(spool: Path) -> None:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", FORKS_MEANWHILE],
        env={**environ, "OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(spool)},
        capture_output=True,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, b"")


def test_records_in_memory_are_handed_on_too(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter
) -> None:
    configure(OTEL_AUDIT_DIR="memory:")
    log.info("read")
    log.provider.shutdown()

    names = [record["event"] for record in records(exporter)]
    assert names == ["audit.stream.open", "audit.policy", log.logger.name, "audit.stream.close"]
