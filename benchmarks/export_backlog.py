"""How long an hour's backlog takes to drain, and at what CPU: `python benchmarks/export_backlog.py [RECORDS]`.

Writes the records through the pipeline (HTTP access records of some 800 bytes) without delivering them, then runs
what `otel-audit ship --once` runs, against a sink in another process that reads each request and answers at once.
CPU is that of this process: what delivery costs without the sink. Beside it, in the same run, the encoder alone,
and the official classes (all attributes as strings, which spares them some work).
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from otel_audit.configure import build, read_policy
from otel_audit.event import Actor, AuditEvent, Source, Target
from otel_audit.export.delivering import Delivering
from otel_audit.export.encoding import Encoder
from otel_audit.export.shipper import Shipper, what_waits
from otel_audit.issuers import open_identity
from otel_audit.settings import Settings
from otel_audit.spool.alarm import Alarms
from otel_audit.spool.layout import make_directory
from otel_audit.spool.room import Room
from otel_audit.spool.storage import DiskStorage

SINK = """
import socketserver, sys, threading
class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        while True:
            head = b""
            while not head.endswith(b"\\r\\n\\r\\n"):
                line = self.rfile.readline()
                if not line:
                    return
                head += line
            fields = head.lower().splitlines()
            length = next(int(line[15:]) for line in fields if line.startswith(b"content-length:"))
            while length:
                length -= len(self.rfile.read(min(length, 1 << 20)))
            self.wfile.write(b"HTTP/1.1 200 OK\\r\\ncontent-length: 0\\r\\n\\r\\n")
server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.stdin.read()
"""


def event(number: int) -> AuditEvent:
    """An access as an instrumented application makes it."""
    return AuditEvent(
        "http.server.request",
        "READ",
        "success",
        Actor(f"user-{number % 500}", "user", "session"),
        Target(f"GET /items/{number}", "http.endpoint"),
        Source(f"10.1.{number % 200}.7", "ipv4"),
        trace_id=f"{number + 1:032x}",
        span_id=f"{number + 1:016x}",
        context={
            "http.request.method": "GET",
            "http.response.status_code": 200,
            "http.route": "/items/<id>",
            "url.path": f"/items/{number}",
            "url.scheme": "https",
            "server.address": "shop.example.com",
            "user_agent.original": "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        },
    )


def cpu_s() -> float:
    """CPU time of this process so far, kernel included."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def fill(settings: Settings, count: int) -> None:
    """Record *count* events and close the streams."""
    directory = settings.directory
    assert directory is not None
    make_directory(directory)
    storage = DiskStorage(directory, "bench", Room(directory, settings.spool_max_bytes, settings.spool_reserve))
    pipeline = build(settings, read_policy(settings), storage, open_identity(settings), Alarms())
    for number in range(count):
        assert pipeline.record(event(number)).recorded
    pipeline.shutdown(60)


def encoders(directory: Path) -> None:
    """The encoders alone, on the first 20,000 records."""
    from opentelemetry.proto.logs.v1.logs_pb2 import ScopeLogs

    path = next(directory.glob("bench/*/000000000001.jsonl"))
    with path.open("rb") as file:
        bodies = [line[:-1] for line in islice(file, 20_000)]
    members: list[dict[str, Any]] = [orjson.loads(body) for body in bodies]
    ours = Encoder()
    began_s = time.process_time()
    encoded = [ours.log_record(body, m) for body, m in zip(bodies, members, strict=True)]
    ours_us = (time.process_time() - began_s) / len(bodies) * 1e6
    parsed = [ScopeLogs.FromString(record) for record in encoded]
    print(f"encoder: {ours_us:.1f} us a record of {sum(map(len, bodies)) // len(bodies)} bytes", end="")
    began_s = time.process_time()
    for one in parsed:
        rebuilt = ScopeLogs()
        record = rebuilt.log_records.add()
        source = one.log_records[0]
        record.time_unix_nano = source.time_unix_nano
        record.observed_time_unix_nano = source.observed_time_unix_nano
        record.body.string_value = source.body.string_value
        for attribute in source.attributes:
            added = record.attributes.add()
            added.key = attribute.key
            added.value.string_value = attribute.value.string_value
        rebuilt.SerializeToString()
    print(f"; the generated classes: {(time.process_time() - began_s) / len(bodies) * 1e6:.1f} us")


def main() -> None:
    """Fill, drain, report."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    sink = subprocess.Popen([sys.executable, "-c", SINK], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert sink.stdout is not None
    port = int(sink.stdout.readline())
    with tempfile.TemporaryDirectory() as temporary:
        settings = Settings.from_environ(
            {
                "OTEL_SERVICE_NAME": "bench",
                "OTEL_AUDIT_DIR": f"{temporary}/state",
                "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}",
                "OTEL_AUDIT_EXPORTER_OTLP_COMPRESSION": os.environ.get("COMPRESSION", "none"),
            }
        )
        directory, endpoint = settings.directory, settings.endpoint
        assert directory is not None
        assert endpoint is not None
        began_s = time.monotonic()
        fill(settings, count)
        filled_s = time.monotonic() - began_s
        waiting = what_waits(directory)
        print(f"spool: {waiting.records:,} records in {waiting.streams} streams, written in {filled_s:.1f} s")
        shipper = Shipper(Delivering(endpoint), directory, lambda: None, Alarms())
        began_s, began_cpu_s = time.monotonic(), cpu_s()
        shipper.run(threading.Event(), once=True)
        took_s, took_cpu_s = time.monotonic() - began_s, cpu_s() - began_cpu_s
        assert what_waits(directory).is_nothing
        print(
            f"drain: {took_s:.1f} s, {waiting.records / took_s:,.0f} records/s, "
            f"{took_cpu_s / waiting.records * 1e6:.1f} us of CPU a record, "
            f"most memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10} MiB"
        )
        encoders(directory)
    sink.communicate()


if __name__ == "__main__":
    main()
