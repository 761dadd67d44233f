"""Auditing for psycopg 3."""

from otel_audit_psycopg.instrumentor import PsycopgAuditInstrumentor

__all__ = ["PsycopgAuditInstrumentor"]
