"""Django REST framework: which of its authentication classes has verified whom, and whom it turned away."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from otel_audit.capture.actor import auth_of_scheme, claimed_identity
from otel_audit.errors import RecordingFailed
from otel_audit.event import AuditEvent, Auth, ContextValue
from otel_audit.serving.faults import complain
from otel_audit_django.identity import held
from otel_audit_django.recording import current_facts, current_scope, emit
from otel_audit_django.request import DjangoFacts


def note_authentication(authenticate: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`Request._authenticate`, watched; its result and exceptions are untouched."""

    @functools.wraps(authenticate)
    def watched(self: Any) -> Any:
        facts = current_facts()
        if facts is None:
            return authenticate(self)
        failed_before = facts.failed_sign_ins
        try:
            result = authenticate(self)
        except Exception as error:
            from rest_framework.exceptions import AuthenticationFailed

            if facts.failed_sign_ins == failed_before and isinstance(error, AuthenticationFailed):
                _note_failure(facts)
            raise
        _note_success(facts, self)
        return result

    return watched


def _note_success(facts: DjangoFacts, request: Any) -> None:
    try:
        members = held(request)
        authenticator = members.get("_authenticator")
        if authenticator is not None:
            scope = current_scope()
            facts.verified_user = members.get("_user")
            facts.verified_by = _auth(authenticator, None if scope is None else scope.authorization)
    except RecordingFailed:
        raise
    except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request
        complain(error)


def _note_failure(facts: DjangoFacts) -> None:
    scope = current_scope()
    facts.failed_sign_ins += 1
    context: dict[str, ContextValue] = {"audit.reason": "denied"}
    claimed = None if scope is None else claimed_identity(scope.authorization)
    if claimed is not None:
        context["audit.actor.claimed"] = claimed
    emit(AuditEvent("user.login_failed", "LOGIN", "failure", context=context))


def _auth(authenticator: object, authorization: str | None) -> Auth | None:
    from rest_framework import authentication as own

    if isinstance(authenticator, own.BasicAuthentication):
        return "basic"
    if isinstance(authenticator, own.SessionAuthentication):
        return "session"
    if isinstance(authenticator, own.TokenAuthentication):
        return "bearer"
    if isinstance(authenticator, own.RemoteUserAuthentication):
        return "proxy-header"
    # another package's (simplejwt, knox …): by the scheme that the client used
    return auth_of_scheme(authorization)
