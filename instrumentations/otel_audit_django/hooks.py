"""What is heard of inside a request: exceptions, refusals, sign-ins, contrib's span.

Every hook is put in place when Django, or an extension of it, is imported: a process that never serves a
request imports neither for the log's sake.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import wrapt

from otel_audit_django.patches import Patches

_patches = Patches()
_is_hooked = False
_UID = "otel_audit_django"


def hook() -> None:
    """Hear of all of it from now on; a second call changes nothing."""
    global _is_hooked  # noqa: PLW0603 - Django's signals and classes are the process's own
    if _is_hooked:
        return
    _is_hooked = True
    for module, put in _HOOKS.items():
        wrapt.register_post_import_hook(functools.partial(_while_hooked, put), module)


def unhook() -> None:
    """Hear of nothing any more; what was replaced is as it was."""
    global _is_hooked  # noqa: PLW0603 - likewise
    _is_hooked = False
    _patches.remove()
    for module_name, name, receiver in _RECEIVERS:
        module = sys.modules.get(module_name)
        if module is not None:
            getattr(module, name).disconnect(receiver, dispatch_uid=_UID)


def _while_hooked(put: Callable[[ModuleType], None], module: ModuleType) -> None:
    if _is_hooked:
        put(module)


def _hook_signals(module: ModuleType) -> None:
    for module_name, name, receiver in _RECEIVERS:
        if module.__name__ == module_name:
            # strong: a receiver of ours lives as long as the process
            getattr(module, name).connect(receiver, weak=False, dispatch_uid=_UID)


def _hook_exceptions(module: ModuleType) -> None:
    from otel_audit_django.refusals import note_suspicious

    _patches.wrap(module, "response_for_exception", note_suspicious)


def _hook_redirects(module: ModuleType) -> None:
    from otel_audit_django.refusals import note_redirect_to_login

    _patches.wrap(module, "redirect_to_login", note_redirect_to_login)
    for name in ("django.contrib.auth.mixins", "django.contrib.auth.middleware"):
        # imported before auditing was put in place, with a name of their own for it
        importer = sys.modules.get(name)
        if importer is not None:
            _patches.wrap(importer, "redirect_to_login", note_redirect_to_login)


def _hook_contrib(module: ModuleType) -> None:
    """Contrib's middleware takes its span away again: its ids are read as soon as it has made it."""
    middleware: Any = getattr(module, "_DjangoMiddleware", None)
    if middleware is not None:
        _patches.wrap(middleware, "process_request", _with_span_adopted)


def _with_span_adopted(process_request: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(process_request)
    def adopting(self: Any, request: Any) -> Any:
        result = process_request(self, request)
        from otel_audit_django.request import current_facts

        facts = current_facts()
        if facts is not None:
            facts.adopt_contrib_span()
        return result

    return adopting


def _hook_rest_framework(module: ModuleType) -> None:
    from otel_audit_django.rest_framework import note_authentication

    _patches.wrap(module.Request, "_authenticate", note_authentication)


def _lazily(module: str, name: str) -> Callable[..., None]:
    """A signal's receiver that is imported with its first signal."""

    def receiver(sender: object, **arguments: Any) -> None:
        from importlib import import_module

        getattr(import_module(module), name)(sender, **arguments)

    return receiver


_SIGNINS = "otel_audit_django.signins"
_RECEIVERS: tuple[tuple[str, str, Callable[..., None]], ...] = (
    ("django.core.signals", "got_request_exception", _lazily("otel_audit_django.refusals", "on_exception")),
    ("django.contrib.auth.signals", "user_logged_in", _lazily(_SIGNINS, "on_logged_in")),
    ("django.contrib.auth.signals", "user_logged_out", _lazily(_SIGNINS, "on_logged_out")),
    ("django.contrib.auth.signals", "user_login_failed", _lazily(_SIGNINS, "on_login_failed")),
    ("hijack.signals", "hijack_started", _lazily(_SIGNINS, "on_hijack_started")),
    ("hijack.signals", "hijack_ended", _lazily(_SIGNINS, "on_hijack_ended")),
)
"""Module, signal, and what is done when it is sent."""

_HOOKS: dict[str, Callable[[ModuleType], None]] = {
    "django.core.signals": _hook_signals,
    "django.contrib.auth.signals": _hook_signals,
    "hijack.signals": _hook_signals,
    "django.core.handlers.exception": _hook_exceptions,
    "django.contrib.auth.views": _hook_redirects,
    "rest_framework.request": _hook_rest_framework,
    "opentelemetry.instrumentation.django.middleware.otel_middleware": _hook_contrib,
}
