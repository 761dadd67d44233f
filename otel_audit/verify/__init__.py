"""The verifier: records in, verdict out; no I/O of its own, no exception for data."""

from otel_audit.verify.reference import Reference
from otel_audit.verify.verdict import Finding, Issuer, StreamVerdict, Verdict
from otel_audit.verify.verifier import verify

__all__ = ["Finding", "Issuer", "Reference", "StreamVerdict", "Verdict", "verify"]
