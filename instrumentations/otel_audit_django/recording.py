"""From what is heard of Django to its records: the request it happened in, and how it is recorded there.

Imports nothing of Django: hooks need it while Django's own modules are still being imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, cast

from otel_audit.capture.request import current_request
from otel_audit.errors import RecordingFailed
from otel_audit.event import AuditEvent
from otel_audit.logger import get_audit_logger
from otel_audit.serving.faults import complain
from otel_audit.serving.request import ServedRequest

if TYPE_CHECKING:
    from otel_audit_django.request import DjangoFacts

_logger = get_audit_logger("otel_audit_django")


def emit(event: AuditEvent) -> None:
    """Record *event*, as the current request's where there is one; in fail mode `open` it does not raise.

    Raises:
        RecordingFailed: in fail mode `closed`; what was about to happen does not.
    """
    scope = current_scope()
    if scope is not None:
        scope.emit(event)
        return
    try:
        _logger.emit_event(event)
    except RecordingFailed:
        raise
    except Exception as error:  # noqa: BLE001 - an audit fault never breaks the application in fail mode open
        complain(error)


class _HasFacts(Protocol):
    @property
    def django(self) -> DjangoFacts: ...


def current_facts() -> DjangoFacts | None:
    """What is known of the Django request that is being served here, if it is audited."""
    scope: object = current_request.get()
    return cast("_HasFacts", scope).django if hasattr(scope, "django") else None


def current_scope() -> ServedRequest | None:
    """The scope of the Django request that is being served here, if it is audited."""
    scope = current_request.get()
    return scope if isinstance(scope, ServedRequest) and hasattr(scope, "django") else None
