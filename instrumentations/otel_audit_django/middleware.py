"""The explicit door: a middleware for projects that would rather name it than have it put in place."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import (  # Django marks its own so; inspect's knows the marks of Python 3.12 alone
    iscoroutinefunction,
    markcoroutinefunction,
)
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from otel_audit_django.doors import async_handler_door, handler_door
from otel_audit_django.hooks import hook


class AuditMiddleware:
    """Put it first in `MIDDLEWARE`: `"otel_audit_django.middleware.AuditMiddleware"`.

    What a middleware before it answers is not recorded. Where the doors of Django are audited too, it
    changes nothing: a request is one event.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[HttpRequest], Any]) -> None:
        """Made once, when Django loads its middleware."""
        hook()
        self._is_async = iscoroutinefunction(get_response)  # pyright: ignore[reportDeprecated] # from 3.14 on, where Django still marks by it
        if self._is_async:
            markcoroutinefunction(self)
        self._handle = async_handler_door(get_response) if self._is_async else handler_door(get_response)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        """Serve *request*, recorded unless it is already being."""
        answer: HttpResponseBase | Awaitable[HttpResponseBase] = self._handle(request)
        return answer
