"""Audit events of Flask applications: every request, every sign-in."""

from otel_audit_flask.instrumentor import FlaskAuditInstrumentor

__all__ = ["FlaskAuditInstrumentor"]
