"""When auditing itself fails: what the application's log says, and what the client is told."""

from __future__ import annotations

import logging
import time
import traceback
from types import TracebackType
from typing import TYPE_CHECKING, TypeAlias

from otel_audit.capture.http import error_type
from otel_audit.errors import AuditError

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

Headers: TypeAlias = list[tuple[str, str]]
ExcInfo: TypeAlias = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

RETRY_AFTER_S = 10
REFUSAL = b"The service cannot record this access, and so does not serve it. Try again later.\n"
REFUSAL_HEADERS: Headers = [
    ("Content-Type", "text/plain; charset=utf-8"),
    ("Content-Length", str(len(REFUSAL))),
    ("Retry-After", str(RETRY_AFTER_S)),
    ("Cache-Control", "no-store"),
]
_COMPLAINT_INTERVAL_S = 60.0

_log = logging.getLogger("otel_audit")
_next_complaint = 0.0


def refusal(start_response: StartResponse, exc_info: ExcInfo | None = None) -> bytes:
    """Answer 503 with `Retry-After`; returns the body."""
    headers = list(REFUSAL_HEADERS)
    if exc_info is None:
        start_response("503 SERVICE UNAVAILABLE", headers)
    else:
        start_response("503 SERVICE UNAVAILABLE", headers, exc_info)
    return REFUSAL


def complain(error: BaseException) -> None:
    """Say in the application's log that auditing failed, once a minute at most.

    Of a foreign exception only the class and the place: its message may carry the request's data.
    """
    global _next_complaint  # noqa: PLW0603 - one rate for the process
    now = time.monotonic()
    if now < _next_complaint:
        return
    _next_complaint = now + _COMPLAINT_INTERVAL_S
    if isinstance(error, AuditError):
        _log.error("otel-audit: %s", error)
        return
    frames = traceback.extract_tb(error.__traceback__)
    place = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else "an unknown place"
    _log.error("otel-audit: a fault in auditing a request: %s at %s", error_type(error), place)
