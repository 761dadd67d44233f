"""Puts the audit's doors into Django: every handler of the process, without a line in the settings."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from types import ModuleType
from typing import Any

from otel_audit.capture.hooking import hook_when_imported
from otel_audit.capture.instrumentor import AuditInstrumentor
from otel_audit_django.hooks import hook, replaced_hooks, unhook
from otel_audit_django.patches import Patches


class DjangoAuditInstrumentor(AuditInstrumentor):
    """Audits every Django handler of the process, WSGI and ASGI, made before or after.

    Imports nothing of Django: the doors are put in place when Django is imported, because
    `opentelemetry-instrument` comes before the settings are known. Without a configured pipeline a request
    costs a few tests more than it did.
    """

    _patches: Patches | None = None
    """BaseInstrumentor has one instance a class."""

    def instrumentation_dependencies(self) -> Collection[str]:
        """The Django versions whose doors these are."""
        return ("django >= 4.2",)

    def replaced(self) -> tuple[str, ...]:
        """The doors that somebody has replaced since, so that what goes through them is not recorded."""
        return (*(() if self._patches is None else self._patches.replaced()), *replaced_hooks())

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - a BaseInstrumentor's shape
        patches = Patches()
        self._patches = patches
        for module, put in _DOORS.items():
            hook_when_imported(module, functools.partial(self._while_instrumented, patches, put))
        hook()

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - likewise
        if self._patches is not None:
            self._patches.remove()
            self._patches = None
        unhook()

    def _while_instrumented(
        self, patches: Patches, put: Callable[[Patches, ModuleType], None], module: ModuleType
    ) -> None:
        if self._patches is patches:
            put(patches, module)


def _open_base(patches: Patches, module: ModuleType) -> None:
    from otel_audit_django.doors import async_handler_door, handler_door

    patches.wrap(module.BaseHandler, "get_response", handler_door)
    patches.wrap(module.BaseHandler, "get_response_async", async_handler_door)


def _open_wsgi(patches: Patches, module: ModuleType) -> None:
    from otel_audit_django.doors import wsgi_door

    patches.wrap(module.WSGIHandler, "__call__", wsgi_door)


def _open_asgi(patches: Patches, module: ModuleType) -> None:
    from otel_audit_django.doors import asgi_door

    patches.wrap(module.ASGIHandler, "__call__", asgi_door)


_DOORS: dict[str, Callable[[Patches, ModuleType], None]] = {
    "django.core.handlers.base": _open_base,
    "django.core.handlers.wsgi": _open_wsgi,
    "django.core.handlers.asgi": _open_asgi,
}
