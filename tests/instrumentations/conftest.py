"""What the tests of instrumentations share: the door open for one test, and closed again."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from otel_audit_flask import FlaskAuditInstrumentor


@pytest.fixture
def flask_audited() -> Iterator[FlaskAuditInstrumentor]:
    """Every Flask application of the process audited, for one test."""
    instrumentor = FlaskAuditInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()
