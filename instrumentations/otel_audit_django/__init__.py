"""Audit events of Django projects: every request, every sign-in."""

from otel_audit_django.instrumentor import DjangoAuditInstrumentor

__all__ = ["DjangoAuditInstrumentor"]
