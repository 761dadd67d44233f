"""Sign-ins: what flask-login and Flask-HTTPAuth say about who came, left, or was turned away.

Neither is a dependency: each is hooked when the application imports it, by its signals, or, where it has
none, by the one method that decides.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from flask import got_request_exception

from otel_audit.capture.actor import actor_of, auth_of_scheme, claimed_identity
from otel_audit.capture.hooking import hook_when_imported
from otel_audit.capture.http import error_type
from otel_audit.capture.redaction import keyed_hash
from otel_audit.errors import RecordingFailed
from otel_audit.event import Actor, AuditEvent, Auth, ContextValue
from otel_audit.serving.faults import complain
from otel_audit_flask.scope import FlaskScope, current_scope

if TYPE_CHECKING:
    from blinker import Signal
    from flask import Flask

Authenticate: TypeAlias = Callable[[Any, Any, Any], Any]

_HTTP_AUTH_CLASSES = ("HTTPBasicAuth", "HTTPDigestAuth", "HTTPTokenAuth")
_originals: dict[type, tuple[Authenticate, Authenticate]] = {}
"""By class of Flask-HTTPAuth: its own `authenticate`, and ours around it."""

_is_hooked = False


def hook_extensions() -> None:
    """Hear of sign-ins and unhandled exceptions from now on; of an extension's as soon as it is imported."""
    global _is_hooked  # noqa: PLW0603 - the extensions' modules are the process's own
    if _is_hooked:
        return
    _is_hooked = True
    got_request_exception.connect(_on_exception)
    hook_when_imported("flask_login", _hook_flask_login)
    hook_when_imported("flask_httpauth", _hook_flask_httpauth)


def unhook_extensions() -> None:
    """Hear of nothing any more; what was wrapped is as it was, unless somebody has wrapped it again."""
    global _is_hooked  # noqa: PLW0603 - likewise
    _is_hooked = False
    got_request_exception.disconnect(_on_exception)
    flask_login = sys.modules.get("flask_login")
    if flask_login is not None:
        for name, receiver in _LOGIN_RECEIVERS.items():
            _signal(flask_login, name).disconnect(receiver)
    for kind, (original, ours) in _originals.items():
        if kind.__dict__.get("authenticate") is ours:
            kind.authenticate = original  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    _originals.clear()


def _hook_flask_login(module: ModuleType) -> None:
    if _is_hooked:
        for name, receiver in _LOGIN_RECEIVERS.items():
            _signal(module, name).connect(receiver)


def _signal(module: ModuleType, name: str) -> Signal:
    return cast("Signal", getattr(sys.modules[f"{module.__name__}.signals"], name))


def _on_exception(sender: Flask, exception: BaseException, **_: object) -> None:  # noqa: ARG001 - a signal's shape
    """An exception that no handler of the application took: Flask answers 500, or lets it go on."""
    scope = current_scope()
    if scope is not None:
        scope.error_type = error_type(exception)
        scope.capture()


def _on_accessed(sender: Flask, **_: object) -> None:  # noqa: ARG001 - likewise
    """flask-login is about to load the user: the session's word, before a sign-out can remove it."""
    scope = current_scope()
    if scope is not None:
        scope.login_actor = scope.session_actor()


def _on_loaded_from_request(sender: Flask, user: object, **_: object) -> None:
    """A `request_loader` has found *user* by a credential in the request."""
    scope = current_scope()
    if scope is not None:
        scope.login_actor = _fresh_user(sender, user, auth_of_scheme(scope.authorization))


def _on_loaded_from_cookie(sender: Flask, user: object, **_: object) -> None:
    """A "remember me" cookie has begun a new session: a sign-in without a password."""
    _signed_in(sender, user, {"audit.reason": "remembered"})


def _on_logged_in(sender: Flask, user: object, **_: object) -> None:
    _signed_in(sender, user, None)


def _on_confirmed(sender: Flask, **_: object) -> None:  # noqa: ARG001 - likewise
    """A session that had grown stale has been confirmed by signing in again."""
    scope = current_scope()
    if scope is not None:
        context = {"audit.reason": "confirmed"}
        scope.emit(AuditEvent("user.login", "LOGIN", "success", scope.resolve_actor(), context=context))


def _on_logged_out(sender: Flask, user: object, **_: object) -> None:  # noqa: ARG001 - likewise
    scope = current_scope()
    if scope is None or getattr(user, "is_anonymous", None) is True:
        return  # nobody was signed in
    actor = scope.login_actor or actor_of(user, "session")
    scope.login_actor = None
    scope.signed_out_actor = actor
    scope.emit(AuditEvent("user.logout", "LOGOUT", "success", actor))


def _on_unauthorized(sender: Flask, **_: object) -> None:  # noqa: ARG001 - likewise
    """flask-login turns the request away, mostly by a redirect to the sign-in page."""
    scope = current_scope()
    if scope is not None:
        scope.is_denied = True


# flask-login 0.6 has no `user_loaded_from_header` without a deprecation warning; its own name has none
_LOGIN_RECEIVERS: dict[str, Callable[..., None]] = {
    "user_accessed": _on_accessed,
    "user_loaded_from_cookie": _on_loaded_from_cookie,
    "user_loaded_from_request": _on_loaded_from_request,
    "user_logged_in": _on_logged_in,
    "user_login_confirmed": _on_confirmed,
    "user_logged_out": _on_logged_out,
    "user_unauthorized": _on_unauthorized,
    "user_needs_refresh": _on_unauthorized,
}


def _signed_in(app: Flask, user: object, context: dict[str, ContextValue] | None) -> None:
    scope = current_scope()
    if scope is not None:
        actor = scope.session_actor() or _fresh_user(app, user, None)
        scope.login_actor = actor
        scope.emit(AuditEvent("user.login", "LOGIN", "success", actor, context=context))


def _fresh_user(app: Flask, user: object, auth: Auth | None) -> Actor:
    """The actor of a user object that was loaded this moment, by the method that flask-login itself asks."""
    try:
        manager = app.login_manager  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]
        return actor_of(getattr(user, manager.id_attribute)(), auth)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    except Exception as error:  # noqa: BLE001 - the application's method; its fault must not become the sign-in's
        complain(error)
        return actor_of(user, auth)


def _hook_flask_httpauth(module: ModuleType) -> None:
    if not _is_hooked:
        return
    for name in _HTTP_AUTH_CLASSES:
        kind: type | None = getattr(module, name, None)
        if kind is not None and kind not in _originals:
            original = cast("Authenticate", kind.__dict__["authenticate"])
            ours = _watched(original)
            _originals[kind] = (original, ours)
            kind.authenticate = ours  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]


def _watched(original: Authenticate) -> Authenticate:
    """Flask-HTTPAuth's decision on a credential, noted; arguments, result and exceptions are untouched."""

    @functools.wraps(original)
    def authenticate(self: Any, auth: Any, stored_password: Any) -> Any:
        user = original(self, auth, stored_password)
        scope = current_scope()
        if scope is not None:
            try:
                _note_http_auth(scope, self, auth, user)
            except RecordingFailed:
                raise
            except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request
                complain(error)
        return user

    return authenticate


def _note_http_auth(scope: FlaskScope, extension: Any, auth: Any, user: Any) -> None:
    name: object = getattr(auth, "username", None) or None
    scheme: str = extension.scheme
    is_refused = user is None or user is False
    if is_refused:
        if auth is None:
            return  # no credential was presented: an access denied, not a sign-in that failed
        claimed = keyed_hash(name) if isinstance(name, str) else claimed_identity(scope.authorization)
        context: dict[str, ContextValue] = {"audit.reason": "denied", "audit.actor.claimed": claimed}
        scope.emit(AuditEvent("user.login_failed", "LOGIN", "failure", context=context))
    elif auth is not None:
        header: str | None = extension.header
        is_own_header = header is not None and header.lower() != "authorization"
        how = "api-key" if is_own_header else auth_of_scheme(scheme)
        # the name that was checked with the password is the identity; a token's is what the callback returned
        scope.http_auth_actor = actor_of(name if name is not None else None if user is True else user, how)
    elif user is not True:
        scope.http_auth_actor = actor_of(user, None)  # a callback that lets requests in without a credential
