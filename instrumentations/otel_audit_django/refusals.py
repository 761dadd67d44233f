"""Exceptions that no view took, and requests that Django turned away."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any

from django.core.exceptions import SuspiciousOperation

from otel_audit.capture.http import error_type
from otel_audit_django.recording import current_scope


def on_exception(sender: object, **_: object) -> None:  # noqa: ARG001 - a signal's shape
    """An exception that nobody handled, on its way to be answered by 500, or to the server."""
    scope = current_scope()
    error = sys.exc_info()[1]
    if scope is not None and error is not None:
        scope.error_type = error_type(error)


def note_suspicious(response_for_exception: Callable[..., Any]) -> Callable[..., Any]:
    """`django.core.handlers.exception.response_for_exception`, which alone knows what became a 400."""

    @functools.wraps(response_for_exception)
    def noting(request: Any, exc: Exception, *args: Any, **kwargs: Any) -> Any:
        scope = current_scope()
        if scope is not None and isinstance(exc, SuspiciousOperation):
            scope.error_type = error_type(exc)
        return response_for_exception(request, exc, *args, **kwargs)

    return noting


def note_redirect_to_login(redirect_to_login: Callable[..., Any]) -> Callable[..., Any]:
    """`redirect_to_login`: how Django's decorators, mixins, middleware and admin turn a request away."""

    @functools.wraps(redirect_to_login)
    def noting(*args: Any, **kwargs: Any) -> Any:
        scope = current_scope()
        if scope is not None:
            scope.is_denied = True
        return redirect_to_login(*args, **kwargs)

    return noting
