"""The admin: what was added, changed, deleted or acted upon through it, beside the rows that this changed."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from typing import Any, cast

import orjson

from otel_audit.capture.http import error_type
from otel_audit.capture.rows import MAX_IDS
from otel_audit.event import AuditEvent, ContextValue, Outcome, Target
from otel_audit_django.recording import emit
from otel_audit_django.transactions import emit_when_committed

# django.contrib.admin.models: ADDITION, CHANGE, DELETION
_EVENTS = {1: ("admin.add", "CREATE"), 2: ("admin.change", "UPDATE"), 3: ("admin.delete", "DELETE")}


def is_log_entry(model: Any) -> bool:
    """Whether *model* is the admin's own log."""
    module = sys.modules.get("django.contrib.admin.models")
    return module is not None and model is getattr(module, "LogEntry", None)


def emit_entry(entry: Any, using: str) -> None:
    """What the admin has written into its log: the object, never how it is shown, which is the row's text."""
    event, action = _EVENTS.get(entry.action_flag, ("admin.change", "UPDATE"))
    context: dict[str, ContextValue] = {}
    fields = _fields(entry.change_message)
    if fields:
        context["db.row.fields"] = fields
    label = _label(entry.content_type_id, using)
    target = Target(f"{label}/{entry.object_id}", "db.row")
    emit_when_committed(AuditEvent(event, action, "success", target=target, context=context), using)


def on_action(response_action: Callable[..., Any]) -> Callable[..., Any]:
    """`ModelAdmin.response_action`: an action on rows that were ticked."""

    @functools.wraps(response_action)
    def wrapped(self: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            response = response_action(self, request, *args, **kwargs)
        except Exception as error:
            _emit_action(self, request, error_type(error))
            raise
        if response is not None:
            _emit_action(self, request, None)
        return response

    return wrapped


def _emit_action(model_admin: Any, request: Any, failure: str | None) -> None:
    name = str(request.POST.get("action") or "")
    if name not in model_admin.get_actions(request):
        return  # nothing was chosen, or nothing that there is: the client's text
    keys = [str(key) for key in request.POST.getlist("_selected_action")]
    context: dict[str, ContextValue] = {"code.function.name": name}
    if request.POST.get("select_across") == "1":
        context["db.row.ids"] = ("*",)
    else:
        context["db.row.ids"] = tuple(keys[:MAX_IDS])
        context["db.response.affected_rows"] = len(keys)
    if failure is not None:
        context["error.type"] = failure
    target = Target(model_admin.model._meta.label, "db.model")  # noqa: SLF001 - Django's public `_meta` API
    outcome: Outcome = "success" if failure is None else "failure"
    emit(AuditEvent("admin.action", "EXECUTE", outcome, target=target, context=context))


def _label(content_type_id: int | None, using: str) -> str:
    """The model's label, from the content types that are loaded already; the admin has just used it."""
    from django.contrib.contenttypes.models import ContentType

    known: dict[Any, Any] = getattr(ContentType.objects, "_cache", {}).get(using, {})
    content_type = known.get(content_type_id)
    model = None if content_type is None else content_type.model_class()
    return f"content-type-{content_type_id}" if model is None else str(model._meta.label)  # noqa: SLF001 - likewise


def _fields(message: str) -> tuple[str, ...]:
    """Names of the fields that a message of the admin's own form lists; another's text is not repeated."""
    try:
        parts: object = orjson.loads(message)
    except orjson.JSONDecodeError:
        return ()
    found: list[str] = []
    for part in _list(parts):
        found += map(str, _list(_member(_member(part, "changed"), "fields")))
    return tuple(found)


def _list(thing: object) -> list[object]:
    return cast("list[object]", thing) if isinstance(thing, list) else []


def _member(thing: object, name: str) -> object:
    return cast("dict[str, object]", thing).get(name) if isinstance(thing, dict) else None
