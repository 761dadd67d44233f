"""Audit-ready access logs over OpenTelemetry: who did what to which record, and proof that nobody edited it.

import otel_audit
from otel_audit import Target

otel_audit.configure()                      # opentelemetry-instrument does it for you
audit = otel_audit.get_audit_logger("billing")
audit.emit("invoice.approve", action="APPROVE", target=Target("invoice/42", "invoice"))
"""

from typing import TYPE_CHECKING

from otel_audit.capture.request import acting_as
from otel_audit.configure import configure, shutdown
from otel_audit.decorator import audited
from otel_audit.errors import (
    AuditError,
    IdentityError,
    InvalidEvent,
    InvalidSetting,
    NoRoom,
    NotConfigured,
    RecordingFailed,
    SourceError,
)
from otel_audit.event import ANONYMOUS, UNKNOWN, Actor, Source, Target
from otel_audit.logger import AuditLogger, get_audit_logger, login_failed
from otel_audit.receipt import Receipt
from otel_audit.settings import Settings

if TYPE_CHECKING:
    from otel_audit.export.signing_processor import SigningLogRecordProcessor

__all__ = [
    "ANONYMOUS",
    "UNKNOWN",
    "Actor",
    "AuditError",
    "AuditLogger",
    "IdentityError",
    "InvalidEvent",
    "InvalidSetting",
    "NoRoom",
    "NotConfigured",
    "Receipt",
    "RecordingFailed",
    "Settings",
    "SigningLogRecordProcessor",
    "Source",
    "SourceError",
    "Target",
    "acting_as",
    "audited",
    "configure",
    "get_audit_logger",
    "login_failed",
    "shutdown",
]


def __getattr__(name: str) -> object:
    if name == "SigningLogRecordProcessor":  # brings the logs SDK along, which nobody else needs
        from otel_audit.export.signing_processor import SigningLogRecordProcessor

        return SigningLogRecordProcessor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
