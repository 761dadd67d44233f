"""Processes with loggers of their own, and what the verifier says of what they export."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry.instrumentation.logging.handler import (  # pyright: ignore[reportMissingTypeStubs]
    LoggingHandler,
)
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)

import otel_audit
from otel_audit import SigningLogRecordProcessor
from otel_audit.configure import build, read_policy
from otel_audit.evidence.identity import local_issuers
from otel_audit.issuers import open_identity
from otel_audit.logger import install, installed
from otel_audit.pipeline import AuditPipeline
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage
from otel_audit.verify import Verdict, verify
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


@pytest.fixture
def process(spool: Path) -> Iterator[Callable[[], AuditPipeline]]:
    """Make the pipeline of one more process of the service; its threads never start."""
    made: list[AuditPipeline] = []

    def make() -> AuditPipeline:
        environ = {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(spool), "OTEL_AUDIT_SPOOL_RESERVE": "1MiB"}
        settings = Settings.from_environ(environ)
        room = Room(spool, settings.spool_max_bytes, settings.spool_reserve)
        pipeline = build(
            settings, read_policy(settings), DiskStorage(spool, "shop", room), open_identity(settings), Alarms()
        )
        pipeline.writer.on_work = lambda: None
        made.append(pipeline)
        return pipeline

    yield make
    for pipeline in made:
        pipeline.shutdown(5.0)


class Flaky(SimpleLogRecordProcessor):
    """Somebody's own processor, with a bug."""

    def __init__(self, exporter: InMemoryLogRecordExporter) -> None:
        super().__init__(exporter)
        self.is_broken = True

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if self.is_broken and log_record.log_record.event_name == "audit.policy":
            raise RuntimeError("no")
        super().on_emit(log_record)
