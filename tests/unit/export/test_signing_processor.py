"""Records of anybody's own LoggerProvider become evidence, and what the stock processors export of it verifies."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import (  # pyright: ignore[reportMissingTypeStubs]
    LoggingHandler,
)
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadableLogRecord, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

import otel_audit
from otel_audit import Actor, RecordingFailed, SigningLogRecordProcessor, acting_as
from otel_audit.evidence.identity import local_issuers
from otel_audit.export.handover import Handover
from otel_audit.logger import install, installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.verify import Verdict, verify
from tests.export.sink import HttpSink
from tests.memory_source import MemoryLane, MemorySource

Configure = Callable[..., AuditPipeline]
NEVER = "300s"
"""A seal interval that no test waits for."""


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def configure(spool: Path) -> Iterator[Configure]:
    """Make this process audit, as an application does."""
    before = install(None)

    def start(**environment: str) -> AuditPipeline:
        defaults = {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(spool), "OTEL_AUDIT_SPOOL_RESERVE": "1MiB"}
        otel_audit.configure(Settings.from_environ({**defaults, **environment}))
        pipeline = installed()
        assert isinstance(pipeline, AuditPipeline)
        return pipeline

    yield start
    otel_audit.shutdown()
    install(before)


class Sink(InMemoryLogRecordExporter):
    """Keeps what the stock processors export."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]


class Log:
    """A standard-library logger whose records go through a signing processor into *exporter*."""

    def __init__(self, next_: LogRecordProcessor | None) -> None:
        self.processor = SigningLogRecordProcessor(next_)
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(self.processor)
        self.handler = LoggingHandler(logger_provider=self.provider)
        self.logger = logging.Logger("shop.audit")  # noqa: LOG001 - one a test, not the process's
        self.logger.addHandler(self.handler)

    def info(self, message: str, **attributes: object) -> None:
        self.logger.info(message, extra={name.replace("__", "."): value for name, value in attributes.items()})

    def flush(self) -> bool:
        return self.provider.force_flush()


@pytest.fixture
def exporter() -> InMemoryLogRecordExporter:
    return Sink()


MakeLog = Callable[[LogRecordProcessor | None], Log]


@pytest.fixture
def logs() -> Iterator[MakeLog]:
    made: list[Log] = []

    def make(next_: LogRecordProcessor | None) -> Log:
        made.append(Log(next_))
        return made[-1]

    yield make
    for log in made:
        log.provider.shutdown()


@pytest.fixture
def log(logs: MakeLog, exporter: InMemoryLogRecordExporter) -> Log:
    return logs(BatchLogRecordProcessor(exporter))


def bodies(exporter: InMemoryLogRecordExporter) -> list[bytes]:
    return [str(one.log_record.body).encode() for one in exporter.get_finished_logs()]


def records(exporter: InMemoryLogRecordExporter) -> list[dict[str, Any]]:
    return [orjson.loads(body) for body in bodies(exporter)]


def events(exporter: InMemoryLogRecordExporter) -> list[dict[str, Any]]:
    return [record for record in records(exporter) if not record["event"].startswith("audit.")]


def checked(spool: Path, exported: InMemoryLogRecordExporter | Sequence[bytes]) -> Verdict:
    """What the verifier says of what was exported, attributes included."""
    if isinstance(exported, InMemoryLogRecordExporter):
        attributes = [dict(one.log_record.attributes or {}) for one in exported.get_finished_logs()]
        lane = MemoryLane("sink", None, bodies(exported), attributes=attributes)
    else:
        lane = MemoryLane("sink", None, exported)
    return verify([MemorySource(given=[lane])], trust=local_issuers(spool))


def errors(verdict: Verdict) -> list[str]:
    return [finding.kind for finding in verdict.findings if finding.severity != "warning"]


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


def test_only_what_is_sealed_is_handed_on(configure: Configure, exporter: InMemoryLogRecordExporter) -> None:
    pipeline = configure(OTEL_AUDIT_SEAL_INTERVAL=NEVER)
    handover = Handover(SimpleLogRecordProcessor(exporter))
    otel_audit.get_audit_logger("shop").emit("read", action="READ")
    assert handover.hand_on(pipeline.writer, 30.0)

    assert [record["event"] for record in records(exporter)] == ["audit.stream.open", "audit.policy"]

    otel_audit.shutdown()
    assert handover.hand_on(pipeline.writer, 30.0)

    assert [record["event"] for record in records(exporter)[2:]] == ["read", "audit.stream.close"]


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
        for _ in range(5):
            assert log.flush()
    root.removeHandler(log.handler)
    sink.close()

    assert "urllib3" in {record.name.partition(".")[0] for record in caplog.records}
    assert [record["event"] for record in sink.records if not record["event"].startswith("audit.")] == [
        log.logger.name
    ]


class Flaky(SimpleLogRecordProcessor):
    """Somebody's own processor, with a bug."""

    def __init__(self, exporter: InMemoryLogRecordExporter) -> None:
        super().__init__(exporter)
        self.is_broken = True

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if self.is_broken and log_record.log_record.event_name == "audit.policy":
            raise RuntimeError("no")
        super().on_emit(log_record)


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
    assert (verdict.status, len(verdict.streams), len(events(exporter))) == ("verified", 4, 36)


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
provider.shutdown()
if child == 0:
    os._exit(0)
os.waitpid(child, 0)
"""


def test_a_forked_child_hands_on_a_stream_of_its_own(spool: Path) -> None:
    sink = HttpSink()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    ran = subprocess.run(
        [sys.executable, "-c", FORKS, f"{sink.endpoint}/v1/logs"],
        env={
            **environ,
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_AUDIT_DIR": str(spool),
            "OTEL_AUDIT_SEAL_INTERVAL": NEVER,
        },
        capture_output=True,
        check=False,
    )
    sink.close()
    assert (ran.returncode, ran.stderr) == (0, b"")

    said = {(r["stream"], r["context"]["log.body"]) for r in sink.records if "log.body" in r.get("context", {})}
    streams = {text: stream for stream, text in said}
    assert streams["parent"] == streams["parent again"] != streams["child"]
    verdict = checked(spool, sink.bodies)
    assert (verdict.status, len(verdict.streams)) == ("verified", 2)


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


def test_records_in_memory_are_handed_on_too(
    configure: Configure, log: Log, exporter: InMemoryLogRecordExporter
) -> None:
    configure(OTEL_AUDIT_DIR="memory:")
    log.info("read")
    log.provider.shutdown()

    names = [record["event"] for record in records(exporter)]
    assert names == ["audit.stream.open", "audit.policy", log.logger.name, "audit.stream.close"]


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
