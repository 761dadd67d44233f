"""Auditing for sqlite3."""

from otel_audit_sqlite3.instrumentor import SQLite3AuditInstrumentor

__all__ = ["SQLite3AuditInstrumentor"]
