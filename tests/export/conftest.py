"""Real sinks, and applications that deliver to them."""

from __future__ import annotations

import mmap
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from otel_audit.configure import build, read_policy
from otel_audit.event import Actor, AuditEvent, Target
from otel_audit.evidence.identity import local_issuers
from otel_audit.export.delivering import Pace
from otel_audit.issuers import open_identity
from otel_audit.pipeline import AuditPipeline
from otel_audit.receipt import Receipt
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.layout import make_directory, place_name
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage, MemoryStorage
from otel_audit.verify import verify
from tests.export.sink import GrpcSink, HttpSink, Sink
from tests.memory_source import MemorySource

PROTOCOLS = ("http/protobuf", "grpc")


@pytest.fixture
def spool(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def http_sink() -> Iterator[HttpSink]:
    sink = HttpSink()
    yield sink
    sink.close()


@pytest.fixture
def grpc_sink() -> Iterator[GrpcSink]:
    sink = GrpcSink()
    yield sink
    sink.close()


@pytest.fixture(params=PROTOCOLS)
def sink(request: pytest.FixtureRequest) -> Iterator[Sink]:
    """A sink for each protocol."""
    made: HttpSink | GrpcSink = HttpSink() if request.param == "http/protobuf" else GrpcSink()
    yield made
    made.close()


@dataclass
class App:
    """One process of the service, as far as auditing goes."""

    pipeline: AuditPipeline
    alarms: Alarms

    def emit(self, *targets: object) -> Receipt:
        """Record one event for each target; returns the last receipt."""
        receipt = None
        for target in targets:
            event = AuditEvent("item.read", "READ", "success", Actor("alice", "user"), Target(str(target), "item"))
            receipt = self.pipeline.record(event)
            assert receipt.recorded
        assert receipt is not None
        return receipt

    def seal(self) -> None:
        """Have everything sealed now."""
        live = self.pipeline.writer.live
        assert live is not None
        live.asked_seq = live.stream.seq
        live.on_ask()

    def shutdown(self, timeout_s: float = 20.0) -> None:
        self.pipeline.shutdown(timeout_s)


MakeApp = Callable[..., App]


def environment(spool: Path, sink: Any, **variables: str) -> dict[str, str]:
    """What a process that delivers to *sink* is given."""
    protocol = "grpc" if isinstance(sink, GrpcSink) else "http/protobuf"
    return {
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_AUDIT_DIR": str(spool),
        "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
        "OTEL_AUDIT_SEAL_INTERVAL": "100ms",
        "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": protocol,
        **variables,
    }


@pytest.fixture
def app(spool: Path) -> Iterator[MakeApp]:
    """Start one more process's worth of auditing; delays after failures are a tenth of a second at most."""
    made: list[App] = []

    def make(sink: Any, patience_s: float = 0.3, **variables: str) -> App:
        settings = Settings.from_environ(environment(spool, sink, **variables))
        make_directory(spool)
        alarms = Alarms()
        room = Room(spool, settings.spool_max_bytes, settings.spool_reserve)
        storage = MemoryStorage() if settings.directory is None else DiskStorage(spool, "shop", room)
        pipeline = build(
            settings,
            read_policy(settings),
            storage,
            open_identity(settings),
            alarms,
            place=None if settings.directory is None else place_name(spool),
            delivers=True,
            pace=Pace(0.02, 0.1, 0.2, patience_s),
        )
        made.append(App(pipeline, alarms))
        return made[-1]

    yield make
    for one in made:
        one.shutdown(0.0)


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(spool: Path) -> Iterator[Start]:
    """Start a Python program given as text, or `otel-audit` with arguments; killed at the end by its own pid."""
    started: list[subprocess.Popen[str]] = []
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}

    def run(sink: Sink, program: str, *arguments: str, **variables: str) -> subprocess.Popen[str]:
        what = ["-m", "otel_audit.cli"] if program == "otel-audit" else ["-c", program]
        process = subprocess.Popen(
            [sys.executable, *what, *arguments],
            env={**inherited, "PYTHONUNBUFFERED": "1", **environment(spool, sink, **variables)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


class Counter:
    """How many events a process has accepted, in memory that a killed one cannot take back."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.write_bytes(bytes(8))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), 8)

    @property
    def value(self) -> int:
        value: int = struct.unpack_from("q", self._memory)[0]
        return value


def assert_verified(sink: Sink, spool: Path) -> None:
    """What arrived is whole, by itself."""
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(spool))
    assert [f for f in verdict.findings if f.severity != "warning"] == []
    assert verdict.status == "verified"
