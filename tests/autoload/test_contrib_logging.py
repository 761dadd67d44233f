"""Beside contrib's `logging` instrumentation, which puts a handler on the root logger: nothing twice, no circle."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.autoload.servers import Program, Spool, Start, wait_for

GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "app:app")
NOBODY = "http://127.0.0.1:1"
REQUESTS = 5
LAST = f'"body": "item {REQUESTS - 1} was looked at"'

BESIDE: dict[str, str | None] = {
    "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": None,
    "OTEL_LOGS_EXPORTER": "console",
    "OTEL_AUDIT_EXPORTER_OTLP_ENDPOINT": NOBODY,
    "OTEL_AUDIT_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
}
"""With a sink that is away, so that the exporter's own thread logs an alarm through that root logger."""


@pytest.fixture
def talkative(tmp_path: Path, instrument: Start) -> Start:
    """The application, which also logs a line of its own in each request."""
    application = tmp_path / "folder" / "app.py"
    text = application.read_text()
    assert "    return str(os.getpid())\n" in text
    line = '    logging.getLogger("shop").warning("item %s was looked at", item)\n'
    application.write_text(text.replace("    return str(os.getpid())\n", f"{line}    return str(os.getpid())\n"))
    return instrument


def listening(program: Program) -> str:
    """Where it listens; Werkzeug's development server does not say so once the root logger has a handler."""

    def found() -> str | None:
        assert program.process.poll() is None, program.log
        sockets = psutil.Process(program.pid).net_connections("tcp")
        ports = [each.laddr.port for each in sockets if each.status == psutil.CONN_LISTEN]
        return f"http://127.0.0.1:{ports[0]}" if ports else None

    return wait_for(found, "a listening socket")


def emitted(log: str) -> list[dict[str, Any]]:
    """Log records that OpenTelemetry's console exporter has printed, among other lines."""
    decoder = json.JSONDecoder()
    return [decoder.raw_decode(log, match.start())[0] for match in re.finditer(r"^\{$", log, re.MULTILINE)]


def assert_once(program: Program, spool: Spool) -> None:
    bodies = [record["body"] for record in emitted(program.log)]
    assert [body for body in bodies if body.startswith("item ")] == [
        f"item {number} was looked at" for number in range(REQUESTS)
    ]
    alarms = [body for body in bodies if "cannot be reached" in body]
    assert len(alarms) == 1, "the alarm of a sink that is away, once, and not again for having been logged"
    assert program.log.count(f"otel-audit: {NOBODY}/v1/logs cannot be reached") == 2, (
        "there, and as a line for people"
    )
    assert spool.paths() == [f"/items/{number}" for number in range(REQUESTS)]
    queries = spool.records("db.query")
    assert len(queries) == REQUESTS
    assert {record["event"] for record in spool.records()} == {"http.server.request", "db.query"}
    spool.assert_verified()


def test_gunicorn_records_everything_once(talkative: Start, spool: Spool) -> None:
    program = talkative(*GUNICORN, **BESIDE)
    for number in range(REQUESTS):
        program.get(f"/items/{number}")
    program.wait_for_line("cannot be reached")
    program.wait_for_line(LAST)
    assert program.stop() == 0

    assert_once(program, spool)


def test_werkzeugs_development_server_records_everything_once(talkative: Start, spool: Spool) -> None:
    program = talkative("python", "app.py", **BESIDE)
    program.address = listening(program)
    for number in range(REQUESTS):
        program.get(f"/items/{number}")
    program.wait_for_line("cannot be reached")
    program.wait_for_line(LAST)  # the stock batch processor loses what it holds when the process is told to end
    program.stop()

    assert_once(program, spool)
