"""Sign-ins: what django.contrib.auth and django-hijack say about who came, left, was refused or taken over."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, cast

from otel_audit.capture.redaction import keyed_hash
from otel_audit.event import Actor, AuditEvent, ContextValue
from otel_audit_django.identity import impersonated, is_anonymous, session_data, user_actor
from otel_audit_django.recording import current_facts, emit

if TYPE_CHECKING:
    from django.http import HttpRequest

_MAX_CLAIM = 1024


def on_logged_in(sender: object, user: Any = None, request: HttpRequest | None = None, **_: object) -> None:  # noqa: ARG001 - a signal's shape
    """Somebody signed in, by whatever backend."""
    if user is None or is_anonymous(user) or _takes_over(request):
        return  # django-hijack signs its own change of user in as well; it says itself what that was
    actor = user_actor(user, "session")
    facts = current_facts()
    if facts is not None:
        facts.login_actor = actor
        facts.signed_out_actor = None
    emit(AuditEvent("user.login", "LOGIN", "success", actor))


def on_logged_out(sender: object, user: Any = None, request: HttpRequest | None = None, **_: object) -> None:  # noqa: ARG001 - likewise
    """Somebody signed out; the session still stands."""
    if user is None or is_anonymous(user):
        return  # nobody was signed in
    actor = user_actor(user, "session")
    data = None if request is None else session_data(request)
    if data is not None:
        actor = impersonated(actor, data)
    facts = current_facts()
    if facts is not None:
        facts.login_actor = None
        facts.signed_out_actor = actor
    emit(AuditEvent("user.logout", "LOGOUT", "success", actor))


def on_login_failed(sender: object, credentials: dict[str, Any] | None = None, **_: object) -> None:  # noqa: ARG001 - likewise
    """No backend found the credentials good."""
    facts = current_facts()
    if facts is not None:
        facts.failed_sign_ins += 1
    context: dict[str, ContextValue] = {"audit.reason": "denied"}
    name = _name_tried(credentials or {})
    if name:
        context["audit.actor.claimed"] = keyed_hash(name[:_MAX_CLAIM])
    emit(AuditEvent("user.login_failed", "LOGIN", "failure", context=context))


def on_hijack_started(
    sender: object,  # noqa: ARG001 - likewise
    hijacker: Any = None,
    hijacked: Any = None,
    request: HttpRequest | None = None,
    **_: object,
) -> None:
    """django-hijack: *hijacker* acts as *hijacked* from now on."""
    emit(_takeover("LOGIN", "user.login", hijacker, hijacked, request))


def on_hijack_ended(
    sender: object,  # noqa: ARG001 - likewise
    hijacker: Any = None,
    hijacked: Any = None,
    request: HttpRequest | None = None,
    **_: object,
) -> None:
    """django-hijack: *hijacker* is themselves again."""
    emit(_takeover("LOGOUT", "user.logout", hijacker, hijacked, request))


def _takeover(action: str, name: str, hijacker: Any, hijacked: Any, request: HttpRequest | None) -> AuditEvent:
    taken = user_actor(hijacked, None)
    data = None if request is None else session_data(request)
    actor = user_actor(hijacker, "session")
    actor = Actor(actor.id, "user", "session", actor.name, taken)
    if data is not None:
        actor = impersonated(actor, data) if action == "LOGOUT" else actor
    return AuditEvent(name, action, "success", actor, context={"audit.reason": "impersonation"})


def _takes_over(request: HttpRequest | None) -> bool:
    """Whether a view of django-hijack is at work, which changes the session's user without a credential."""
    views = sys.modules.get("hijack.views")
    match = None if request is None else request.resolver_match
    if views is None or match is None:
        return False
    view = getattr(match.func, "view_class", None)
    kinds = cast("tuple[type, ...]", (views.AcquireUserView, views.ReleaseUserView))
    return isinstance(view, type) and issubclass(view, kinds)


def _name_tried(credentials: dict[str, Any]) -> str | None:
    from django.contrib.auth import get_user_model

    kind: Any = get_user_model()
    for key in (kind.USERNAME_FIELD, "username"):
        name = credentials.get(key)
        if isinstance(name, str) and name:
            return name
    return None
