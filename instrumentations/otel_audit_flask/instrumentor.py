"""Puts the audit's door around Flask: around every application, or around one.

Two doors of `flask.Flask` are used. `__call__` is where a server enters, outside of every middleware that
the application puts around `wsgi_app`, so that the peer's address is the connection's and answers that a
middleware gives are recorded too. `wsgi_app` is where Flask itself begins, and the entrance of servers that
were given `app.wsgi_app`. Set on the class, they hold for applications made before and after, subclasses,
and contrib's own subclass, whichever came first.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, Any, cast

from flask.app import Flask  # not `flask.Flask`, which contrib's instrumentation replaces by its subclass

from otel_audit.capture.doors import leads_to
from otel_audit.capture.instrumentor import AuditInstrumentor
from otel_audit.serving.wsgi import KEY, serve
from otel_audit_flask.scope import FlaskScope, dispatch
from otel_audit_flask.signins import hook_extensions, unhook_extensions

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_log = logging.getLogger("otel_audit")
_apps = 0
"""Applications audited one by one; while there are any, the extensions stay hooked."""


class FlaskAuditInstrumentor(AuditInstrumentor):
    """Audits Flask: `instrument()` every application of the process, `instrument_app(app)` one.

    Without a configured pipeline a request costs one test more than it did.
    """

    _doors: tuple[_Door, ...] = ()

    def instrumentation_dependencies(self) -> Collection[str]:
        """The Flask versions whose doors these are."""
        return ("flask >= 3.0",)

    def _instrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - a BaseInstrumentor's shape
        hook_extensions()
        self._doors = (_Door("__call__", _outer_door), _Door("wsgi_app", _inner_door))

    def _uninstrument(self, **kwargs: Any) -> None:  # noqa: ARG002 - likewise
        for door in self._doors:
            door.remove()
        self._doors = ()
        if not _apps:
            unhook_extensions()

    def replaced(self) -> tuple[str, ...]:
        """The doors that somebody has replaced since, so that what goes through them is not recorded."""
        return tuple(f"flask.Flask.{door.name}" for door in self._doors if not door.is_ours)

    @staticmethod
    def instrument_app(app: Flask) -> None:
        """Audit *app* alone, by a middleware around its `wsgi_app`; a second call changes nothing.

        A middleware put around it later is outside of the audit's door: what that answers by itself is not
        recorded. `werkzeug.middleware.proxy_fix.ProxyFix` is understood.
        """
        global _apps  # noqa: PLW0603 - extensions are hooked once, for all applications
        if isinstance(app.wsgi_app, AuditedApp):
            return
        app.wsgi_app = AuditedApp(app, app.wsgi_app)  # type: ignore[method-assign]
        _apps += 1
        hook_extensions()

    @staticmethod
    def uninstrument_app(app: Flask) -> None:
        """Undo `instrument_app`; where a middleware was put around it since, the door stays, and lets all pass."""
        global _apps  # noqa: PLW0603 - likewise
        audited: Any = app.wsgi_app
        while audited is not None and not isinstance(audited, AuditedApp):
            audited = getattr(audited, "app", None) or getattr(audited, "wsgi_app", None)
        if audited is None or not audited.is_open:
            return
        audited.is_open = False
        if app.wsgi_app is audited:
            app.wsgi_app = audited.wsgi_app  # type: ignore[method-assign]
        _apps -= 1
        if not _apps and not FlaskAuditInstrumentor().is_instrumented_by_opentelemetry:
            unhook_extensions()


class AuditedApp:
    """The WSGI middleware that audits one application."""

    def __init__(self, app: Flask, wsgi_app: Callable[..., Any]) -> None:
        self.app = app
        self.wsgi_app = wsgi_app
        self.is_open = True

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        """Serve one request, recorded unless it is already being."""
        if not self.is_open:
            return cast("Iterable[bytes]", self.wsgi_app(environ, start_response))
        if KEY in environ:
            return self._inside(self.app, environ, start_response)
        return serve(FlaskScope, self._inside, self.app, environ, start_response)

    def _inside(self, app: Flask, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        def call(_: Flask, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            return cast("Iterable[bytes]", self.wsgi_app(environ, start_response))

        return cast("Iterable[bytes]", dispatch(call, app, environ, start_response))


class _Door:
    """One method of Flask, replaced by an audited one of the same name and signature."""

    def __init__(self, name: str, audited: Callable[[Callable[..., Any]], Callable[..., Any]]) -> None:
        self.name = name
        self._original: Callable[..., Any] = Flask.__dict__[name]
        self._ours = audited(self._original)
        setattr(Flask, name, self._ours)

    @property
    def is_ours(self) -> bool:
        """Whether ours is still in its place, or beneath what is."""
        return leads_to(Flask.__dict__[self.name], self._ours)

    def remove(self) -> None:
        """Put the original back, unless somebody has wrapped ours since: theirs then stays, around ours."""
        if Flask.__dict__[self.name] is self._ours:
            setattr(Flask, self.name, self._original)
        else:
            _log.warning(
                "otel-audit: Flask.%s was wrapped again after it was audited; auditing goes on until shutdown()",
                self.name,
            )


def _outer_door(call: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(call)
    def __call__(self: Flask, environ: WSGIEnvironment, start_response: StartResponse) -> Any:  # noqa: N807 - its name in a traceback
        return serve(FlaskScope, call, self, environ, start_response)

    return __call__


def _inner_door(wsgi_app: Callable[..., Any]) -> Callable[..., Any]:
    inside = functools.partial(dispatch, wsgi_app)

    @functools.wraps(wsgi_app)
    def audited_wsgi_app(self: Flask, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
        if KEY in environ:
            return inside(self, environ, start_response)
        return serve(FlaskScope, inside, self, environ, start_response)

    return audited_wsgi_app
