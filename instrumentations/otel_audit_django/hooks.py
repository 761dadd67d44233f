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

from otel_audit.capture.hooking import hook_when_imported
from otel_audit_django.patches import Patches

_patches = Patches()
_many_to_many: list[Any] = []
"""Tables that have a receiver of ours."""
_is_hooked = False
_UID = "otel_audit_django"


def hook() -> None:
    """Hear of all of it from now on; a second call changes nothing."""
    global _is_hooked  # noqa: PLW0603 - Django's signals and classes are the process's own
    if _is_hooked:
        return
    _is_hooked = True
    for module, put in _HOOKS.items():
        hook_when_imported(module, functools.partial(_while_hooked, put))


def unhook() -> None:
    """Hear of nothing any more; what was replaced is as it was."""
    global _is_hooked  # noqa: PLW0603 - likewise
    _is_hooked = False
    _patches.remove()
    _forget_models()
    for module_name, name, receiver in _RECEIVERS:
        module = sys.modules.get(module_name)
        if module is not None:
            getattr(module, name).disconnect(receiver, dispatch_uid=_UID)


def replaced_hooks() -> tuple[str, ...]:
    """What was replaced again since; see `Patches.replaced`."""
    return _patches.replaced()


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
        from otel_audit_django.recording import current_facts

        facts = current_facts()
        if facts is not None:
            facts.adopt_contrib_span()
        return result

    return adopting


def _hook_rest_framework(module: ModuleType) -> None:
    from otel_audit_django.rest_framework import note_authentication

    _patches.wrap(module.Request, "_authenticate", note_authentication)


def _hook_models(module: ModuleType) -> None:
    from django.db.models import deletion, query

    from otel_audit_django import changes

    _patches.wrap(module.Model, "from_db", changes.on_from_db)
    _patches.wrap(module.Model, "refresh_from_db", changes.on_refresh)
    _patches.wrap(module.Model, "_save_table", changes.on_save_table)
    _patches.wrap(module.Model, "save_base", changes.on_save)
    _patches.wrap(query.QuerySet, "bulk_create", changes.on_bulk_create)
    _patches.wrap(query.QuerySet, "bulk_update", changes.on_bulk_update)
    _patches.wrap(query.QuerySet, "update", changes.on_update)
    _patches.wrap(deletion.Collector, "delete", changes.on_collected_delete)


def _hook_connections(module: ModuleType) -> None:
    from otel_audit_django.transactions import watch_transactions

    watch_transactions(_patches, module.BaseDatabaseWrapper)


def _hook_apps(module: ModuleType) -> None:
    """Many-to-many tables are known once all models are; only those that are watched get a receiver.

    One makes Django ask which rows are there before it adds some: a query more.
    """
    apps: Any = module.apps

    def populate_around(populate: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(populate)
        def populating(self: Any, *args: Any, **kwargs: Any) -> Any:
            was_ready = self.ready
            result = populate(self, *args, **kwargs)
            if self is apps and self.ready and not was_ready:
                _watch_many_to_many(apps)
            return result

        return populating

    _patches.wrap(module.Apps, "populate", populate_around)
    if apps.ready:
        _watch_many_to_many(apps)


def _watch_many_to_many(apps: Any) -> None:
    from django.db.models.signals import m2m_changed

    from otel_audit_django import accounts, changes

    accounts.forget()
    for model in apps.get_models(include_auto_created=True):
        for field in model._meta.local_many_to_many:  # noqa: SLF001 - Django's public `_meta` API
            through = field.remote_field.through
            if (
                accounts.is_membership(through)
                or changes.is_watched(model)
                or changes.is_watched(field.related_model)
            ):
                m2m_changed.connect(
                    changes.on_many_to_many, sender=through, weak=False, dispatch_uid=(_UID, through)
                )
                _many_to_many.append(through)


def _forget_models() -> None:
    signals = sys.modules.get("django.db.models.signals")
    if signals is None:
        return
    from otel_audit_django import changes

    while _many_to_many:
        through = _many_to_many.pop()
        signals.m2m_changed.disconnect(changes.on_many_to_many, sender=through, dispatch_uid=(_UID, through))


def _hook_admin(module: ModuleType) -> None:
    from otel_audit_django.admin import on_action

    _patches.wrap(module.ModelAdmin, "response_action", on_action)


def _hook_commands(module: ModuleType) -> None:
    from otel_audit_django.commands import on_command

    _patches.wrap(module.BaseCommand, "run_from_argv", on_command)


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
    "django.db.models": _hook_models,
    "django.db.backends.base.base": _hook_connections,
    "django.apps.registry": _hook_apps,
    "django.contrib.admin.options": _hook_admin,
    "django.core.management.base": _hook_commands,
    "rest_framework.request": _hook_rest_framework,
    "opentelemetry.instrumentation.django.middleware.otel_middleware": _hook_contrib,
}
