"""A guard against slow creep that no busy machine can upset: instructions are counted, not seconds.

What is guarded is what the budget promises, `emit` and a request. The counts are CPython 3.11's and hold for no
other version. Each bound is the count as it was found and 5 to 15 %: 617 an event, 936 an event of named parts,
1,842 a request, 2,926 a request with one query, 1,094 each further query. A change that goes past a bound costs
every request something: mend it, or argue for it beside a new figure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug.test import EnvironBuilder, run_wsgi_app

import otel_audit
from benchmarks.emit import CONTEXT, EVENT
from benchmarks.flask_request import application
from otel_audit.settings import Settings
from otel_audit_flask import FlaskAuditInstrumentor
from otel_audit_sqlite3 import SQLite3AuditInstrumentor
from tests.benchmarks.opcodes import executed

pytestmark = pytest.mark.skipif(
    sys.version_info[:2] != (3, 11) or sys.implementation.name != "cpython",
    reason="the counts are those of CPython 3.11: every version compiles to other instructions",
)

TIMES = 16
WARM = 16
"""Calls before counting begins: every cache has been filled, and not yet emptied again."""


@pytest.fixture
def _audited(tmp_path: Path) -> Iterator[None]:
    """This process records into a spool on disk, and every Flask application and sqlite3 connection is audited."""
    otel_audit.configure(
        Settings.from_environ({"OTEL_SERVICE_NAME": "bench", "OTEL_AUDIT_DIR": str(tmp_path / "state")})
    )
    instrumentors = (FlaskAuditInstrumentor(), SQLite3AuditInstrumentor())
    for instrumentor in instrumentors:
        instrumentor.instrument()
    yield
    for instrumentor in instrumentors:
        instrumentor.uninstrument()
    otel_audit.shutdown()


@pytest.mark.usefixtures("_audited")
def test_an_event_is_recorded_in_so_many_instructions() -> None:
    audit = otel_audit.get_audit_logger("bench")

    assert _executed_when_warm(lambda: audit.emit_event(EVENT)) <= 650


@pytest.mark.usefixtures("_audited")
def test_an_event_of_named_parts_is_recorded_in_so_many_instructions() -> None:
    audit = otel_audit.get_audit_logger("bench")

    def emit() -> None:
        audit.emit(
            EVENT.event, action="READ", outcome="success", actor=EVENT.actor, target=EVENT.target, context=CONTEXT
        )

    assert _executed_when_warm(emit) <= 1015


@pytest.mark.usefixtures("_audited")
@pytest.mark.parametrize(("queries", "most"), [(0, 2035), (1, 3365), (50, 62_000)])
def test_a_flask_request_is_recorded_in_so_many_instructions(queries: int, most: int) -> None:
    assert _executed_when_warm(_request(queries)) <= most


def _executed_when_warm(work: Callable[[], object]) -> float:
    for _ in range(WARM):
        work()
    return executed(work, TIMES)


def _request(queries: int) -> Callable[[], object]:
    """A call of a Flask application as a WSGI server makes it."""
    app = application(queries)
    environ = EnvironBuilder("/customers/42", headers=[("User-Agent", "Mozilla/5.0")]).get_environ()
    return lambda: run_wsgi_app(app.wsgi_app, dict(environ))
