"""A log made by the real pipeline, and the command line run in this process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest

import otel_audit
from otel_audit.cli.entry import run
from otel_audit.event import AuditEvent, Context, Source
from otel_audit.settings import Settings

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER_TRACE = "5bf92f3577b34da6a3ce929d0e0e4736"
HOSTILE_TRACE = "6bf92f3577b34da6a3ce929d0e0e4736"
SPAN = "00f067aa0ba902b7"
HOSTILE = "\x1b[2K\x1b[31m\r\nVERIFIED\x9b2J\u202eecila\u2066\u200b\x7f\\x1b"


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    status: int
    out: str
    err: str


class Cli(Protocol):
    """The fixture's signature."""

    def __call__(self, *arguments: str | Path) -> Ran: ...


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The state directory of the commands that run; there is nothing in it yet."""
    directory = tmp_path / "state"
    for name in ("OTEL_AUDIT_DIR", "OTEL_SERVICE_NAME", "COLUMNS", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OTEL_AUDIT_DIR", str(directory))
    monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
    return directory


@pytest.fixture
def cli(state: Path, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs one command on the state directory: `cli("show", "--limit", "1")`."""

    def command(*arguments: str | Path) -> Ran:
        status = run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Ran(status, captured.out, captured.err)

    return command


@pytest.fixture
def log(state: Path) -> Iterator[Path]:
    """A closed stream: alice's request with a query before and after she was known, bob denied, hostile text."""
    otel_audit.configure(Settings(directory=state, service_name="shop"))
    audit = otel_audit.get_audit_logger("test")
    here = Source("192.0.2.7", "ipv4")
    anonymous, alice, bob = (
        otel_audit.Actor("anonymous", "user", "none"),
        otel_audit.Actor("alice", "user", "session"),
        otel_audit.Actor("bob", "user", "session"),
    )
    customers = otel_audit.Target("customers", "db.table")
    for actor, summary in ((anonymous, "SELECT session"), (alice, "SELECT customers")):
        audit.emit_event(
            AuditEvent(
                "db.query", "READ", "success", actor, customers,
                trace_id=TRACE, span_id=SPAN, context={"db.query.summary": summary},
            )
        )  # fmt: skip
    request: Context = {"http.request.method": "GET", "http.response.status_code": 200}
    page = otel_audit.Target("/customers/1", "http.endpoint")
    audit.emit_event(
        AuditEvent("http.server.request", "READ", "success", alice, page, here, None, TRACE, SPAN, request)
    )
    denied: Context = {"http.request.method": "DELETE", "http.response.status_code": 403, "audit.reason": "denied"}
    audit.emit_event(
        AuditEvent("http.server.request", "DELETE", "failure", bob, page, here, None, OTHER_TRACE, SPAN, denied)
    )
    hostile = otel_audit.Actor(HOSTILE, "user", name=HOSTILE)
    target, said = otel_audit.Target(HOSTILE, HOSTILE), {"db.query.summary": HOSTILE, "error.type": HOSTILE}
    source = Source(HOSTILE, "hostname")
    for event in (HOSTILE, "http.server.request"):
        audit.emit_event(
            AuditEvent(event, HOSTILE.upper(), "success", hostile, target, source, None, HOSTILE_TRACE, SPAN, said)
        )
    otel_audit.shutdown()
    yield state
    otel_audit.shutdown()
