"""When the SQL parser is loaded: before the first request rather than in it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sqlite3, sys
import otel_audit
from otel_audit.capture.request import RequestScope, current_request
from otel_audit_sqlite3 import SQLite3AuditInstrumentor
SQLite3AuditInstrumentor().instrument()
if sys.argv[1] == "inside":
    scope = RequestScope(trace_id="1" * 32, span_id="2" * 16, source=None, path="/", method="GET",
                         resolve_actor=lambda: otel_audit.ANONYMOUS)
    current_request.set(scope)
assert "sqlglot" not in sys.modules
sqlite3.connect(":memory:")
print("sqlglot" in sys.modules)
"""


@pytest.mark.parametrize(("where", "is_loaded"), [("outside", "True"), ("inside", "False")])
def test_a_connection_outside_of_a_request_loads_the_parser(where: str, is_loaded: str) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, where], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == is_loaded
