"""Audit-ready access logs over OpenTelemetry."""
