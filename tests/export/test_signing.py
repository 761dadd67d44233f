"""Whole processes whose logger signs, with the stock batch processor and exporter behind it."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
import sys
import sysconfig
import urllib.request
from collections import Counter
from pathlib import Path

import pytest

from otel_audit.evidence.identity import local_issuers
from otel_audit.export.handover import HANDED
from otel_audit.spool.delivered import read_cursor
from otel_audit.spool.ends import read_end
from otel_audit.spool.layout import stream_directories
from otel_audit.verify import verify
from tests.export.sink import HttpSink
from tests.memory_source import MemorySource

APPLICATION = """
import logging, os
from flask import Flask
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from otel_audit import SigningLogRecordProcessor

provider = LoggerProvider()
stock = BatchLogRecordProcessor(OTLPLogExporter(endpoint=os.environ["SINK"]))
provider.add_log_record_processor(SigningLogRecordProcessor(stock))
audit = logging.getLogger("audit")
audit.addHandler(LoggingHandler(logger_provider=provider))
audit.setLevel(logging.INFO)
audit.propagate = False
app = Flask(__name__)

@app.get("/item/<int:number>")
def read(number):
    audit.info("read", extra={"audit.action": "READ", "audit.target.id": str(number)})
    return "ok"
"""


EMITS = """
import os, sys
import otel_audit
from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
otel_audit.configure()
provider = LoggerProvider()
stock = BatchLogRecordProcessor(OTLPLogExporter(endpoint=os.environ["SINK"]))
provider.add_log_record_processor(otel_audit.SigningLogRecordProcessor(stock))
logger = provider.get_logger("shop")
for number in range(int(sys.argv[2])):
    name = f"{sys.argv[1]}/{number}"
    logger.emit(event_name="item.read", attributes={"audit.target.id": name})
    os.write(1, f"{name}\\n".encode())
otel_audit.shutdown()
provider.shutdown()
"""


MOST_STARTS = 30
"""Each takes up to five seconds for its rest, which is some thousand records on a machine that is busy."""


def is_all_handed_on(service: Path) -> bool:
    """Whether every stream has ended, and was handed on to its end."""
    streams = stream_directories(service)
    ends = [(read_end(stream), read_cursor(stream, HANDED)) for stream in streams]
    return all(end is not None and handed.seq == end.seq for end, handed in ends)


def test_processes_killed_at_random_lose_nothing_that_was_recorded(tmp_path: Path) -> None:
    """With a sink that takes all: what it refuses, or is not there to take, the stock exporter drops.

    A process that ends hands on for five seconds, and the next one goes on: none may think that all was done
    when it was not.
    """
    sink = HttpSink()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    environ = {
        **inherited,
        "SINK": f"{sink.endpoint}/v1/logs",
        "OTEL_SERVICE_NAME": "shop",
        "OTEL_AUDIT_DIR": str(tmp_path / "state"),
        "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
        "OTEL_AUDIT_SEAL_INTERVAL": "100ms",
    }
    accepted: list[str] = []
    chance = random.Random(7)
    for life in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", EMITS, str(life), "1000000"], env=environ, stdout=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            until = chance.randrange(1, 6000)
            for count, line in enumerate(process.stdout):
                accepted.append(line.decode().strip())
                if count == until:
                    process.kill()
    starts = 0
    while not is_all_handed_on(tmp_path / "state" / "shop"):
        starts += 1
        assert starts <= MOST_STARTS
        ended = subprocess.run(
            [sys.executable, "-c", EMITS, f"ended {starts}", "10"], env=environ, capture_output=True, check=True
        )
        accepted += ended.stdout.decode().splitlines()
    sink.close()

    arrived = set(sink.targets())
    assert [name for name in accepted if name not in arrived] == []
    verdict = verify([MemorySource(list(dict.fromkeys(sink.bodies)))], trust=local_issuers(tmp_path / "state"))
    found = [finding for finding in verdict.findings if finding.severity != "warning"]
    assert (verdict.status, found, len(verdict.streams)) == ("verified", [], 6 + starts)


@pytest.mark.parametrize("option", [[], ["--preload"]], ids=["workers", "preload"])
def test_requests_and_log_records_of_all_workers_arrive_and_verify(tmp_path: Path, option: list[str]) -> None:
    sink = HttpSink()
    (tmp_path / "shop.py").write_text(APPLICATION)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "GUNICORN_"))}
    path = os.pathsep.join((sysconfig.get_path("scripts"), str(Path(sys.executable).parent), os.environ["PATH"]))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with subprocess.Popen(
        ["opentelemetry-instrument", "gunicorn", "-w", "2", *option, "-b", f"127.0.0.1:{port}", "shop:app"],
        cwd=tmp_path,
        env={
            **inherited,
            "PATH": path,
            "HOME": str(tmp_path),
            "SINK": f"{sink.endpoint}/v1/logs",
            "OTEL_SERVICE_NAME": "shop",
            "OTEL_AUDIT_DIR": str(tmp_path / "state"),
            "OTEL_AUDIT_SPOOL_RESERVE": "1MiB",
            **{f"OTEL_{signal}_EXPORTER": "none" for signal in ("TRACES", "METRICS", "LOGS")},
        },
        stderr=subprocess.PIPE,
        text=True,
    ) as server:
        assert server.stderr is not None
        booted = 0
        said: list[str] = []
        while booted < 2 and (line := server.stderr.readline()):
            said.append(line)
            booted += "Booting worker" in line
        assert booted == 2, said
        for number in range(100):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/item/{number}") as answer:
                assert answer.status == 200
        server.send_signal(signal.SIGTERM)
        server.stderr.read()
    sink.close()

    events = [record for record in sink.records if not record["event"].startswith("audit.")]
    assert Counter(event["event"] for event in events) == {"audit": 100, "http.server.request": 100}
    assert {event["target"]["id"] for event in events if event["event"] == "audit"} == {str(n) for n in range(100)}
    by_trace = Counter(event["trace_id"] for event in events)
    assert set(by_trace.values()) == {2}, "a request and what was logged in it have one trace"
    verdict = verify([MemorySource(sink.bodies)], trust=local_issuers(tmp_path / "state"))
    found = [finding for finding in verdict.findings if finding.severity != "warning"]
    assert (verdict.status, found) == ("verified", [])
