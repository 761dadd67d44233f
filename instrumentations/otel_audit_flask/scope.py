"""What Flask knows of a request: the route that matched, and whom its extensions have authenticated.

Everything is read from where Flask and its extensions have put it; nothing is asked that would load, query
or touch the session (touching it adds `Vary: Cookie` to the response).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from flask import Flask, Request, g
from flask.globals import request_ctx
from opentelemetry.trace import Span, get_current_span

from otel_audit.capture.actor import actor_of, auth_of_scheme
from otel_audit.capture.redaction import mask_path, names_a_secret
from otel_audit.capture.request import current_request
from otel_audit.capture.trace_context import Ids, ids_of_span
from otel_audit.capture.turned_away import is_turned_away
from otel_audit.event import ANONYMOUS, UNKNOWN, Actor
from otel_audit.serving.faults import complain
from otel_audit.serving.wsgi import KEY, WsgiScope

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from flask.ctx import RequestContext

# opentelemetry-instrumentation-flask 0.66b1, _ENVIRON_SPAN_KEY; unchanged since 0.7. Without it (another
# name one day) the ids still come from the current span where that was started outside of Flask.
_CONTRIB_SPAN = "opentelemetry-flask.span_key"
_MAX_ROUTES = 4096
_NOTHING: Mapping[str, object] = {}

# werkzeug.local's documented way to what a proxy stands for: a tenth of the cost of going through it
_request_context = cast("Callable[[], RequestContext]", cast("Any", request_ctx)._get_current_object)  # noqa: SLF001
_current_globals = cast("Callable[[], object]", cast("Any", g)._get_current_object)  # noqa: SLF001
_plain_get = cast("Callable[[object, str], object]", dict.get)  # pyright: ignore[reportUnknownMemberType] # past overrides that note the access
_routes: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {}


class FlaskScope(WsgiScope):
    """One request of a Flask application."""

    __slots__ = ("_actor", "_is_entered", "http_auth_actor", "login_actor", "signed_out_actor")

    def __init__(
        self, environ: WSGIEnvironment, start_response: StartResponse, release: Callable[[], None] | None
    ) -> None:
        super().__init__(environ, start_response, release)
        self._actor: Actor | None = None
        """Who it was when the response was made; asked no more after that, the context is gone."""
        self._is_entered = False
        self.login_actor: Actor | None = None
        """Whom flask-login loaded or signed in."""
        self.signed_out_actor: Actor | None = None
        """Whom flask-login signed out in this request, which is still theirs."""
        self.http_auth_actor: Actor | None = None
        """Whose credentials Flask-HTTPAuth found good, authorised or not."""

    def enter(self) -> None:
        """Flask takes over, inside of every middleware: a span that is current now is the server's."""
        self._is_entered = True
        self.adopt_ids(ids_of_span(get_current_span()))

    def server_span_ids(self) -> Ids | None:
        """The ids of contrib's span, which it makes in `before_request`."""
        span: Span | None = self.environ.get(_CONTRIB_SPAN)
        return None if span is None else ids_of_span(span)

    def capture(self) -> None:
        """Take what the request context knows, while there is one: the response is about to start.

        Called again where a mounted application's response goes through an outer one; the outer counts.
        """
        try:
            context = _current_context()
            if context is not None:
                self._take_route(context.request)
        except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request
            complain(error)
        self._actor = None
        self._actor = self.resolve_actor()

    def resolve_actor(self) -> Actor:
        """Who it is by now; `UNKNOWN` where something that an extension left behind cannot be read."""
        if self._actor is not None:
            return self._actor
        try:
            return self._identify(_current_context())
        except Exception as error:  # noqa: BLE001 - likewise
            complain(error)
            return UNKNOWN

    def _take_route(self, request: Request) -> None:
        self.method = request.method
        rule = request.url_rule
        if rule is None:
            return
        template = rule.rule
        # Semantic conventions, http.route: with the application root, where there is one
        root = request.environ.get("SCRIPT_NAME")
        self.route = mask_path(root) + template if root else template
        self.literals, secret_names = _routes.get(template) or _route(template)
        if secret_names:
            arguments = request.view_args or {}
            self.secrets = tuple(str(arguments[name]) for name in secret_names if arguments.get(name))

    def _identify(self, context: RequestContext | None) -> Actor:
        if context is not None:
            holder: object = context.request.environ.get(KEY)
            if holder is self:
                found = self._by_framework(context)
                if found is not None:
                    return found
            elif self.login_actor is not None:
                return self.login_actor  # inside another context that the application has pushed
        actor = self.vouched_actor()
        if actor is not None:
            return actor
        # an exit (SystemExit) took the context away before anybody could look into it
        return UNKNOWN if context is None and self._is_entered else ANONYMOUS

    def _by_framework(self, context: RequestContext) -> Actor | None:
        """Whom an extension has verified: flask-login, Flask-HTTPAuth, flask-jwt-extended, in this order."""
        left: Mapping[str, object] = getattr(_current_globals(), "__dict__", _NOTHING)
        user = left.get("_login_user")
        if user is not None:
            if getattr(user, "is_anonymous", None) is not True:
                return self.login_actor or _session_actor(context) or actor_of(user, None)
            if self.signed_out_actor is not None:
                return self.signed_out_actor
        elif "login_manager" in vars(context.app):
            # flask-login has not been asked yet, and is not asked by us: the signed session's word
            actor = _session_actor(context)
            if actor is not None:
                return actor
        if self.http_auth_actor is not None:
            return self.http_auth_actor
        user = left.get("flask_httpauth_user")
        if user:
            return actor_of(user, auth_of_scheme(self.authorization))
        claims = cast("Mapping[str, object] | None", left.get("_jwt_extended_jwt"))
        if claims:
            settings = cast("Mapping[str, str]", context.app.config)
            return actor_of(claims.get(settings.get("JWT_IDENTITY_CLAIM", "sub")), "bearer")
        return None

    def session_actor(self) -> Actor | None:
        """Whom the signed session names for flask-login."""
        context = _current_context()
        return None if context is None else _session_actor(context)


def current_scope() -> FlaskScope | None:
    """The Flask request that is being served here, if it is audited."""
    scope = current_request.get()
    return scope if isinstance(scope, FlaskScope) else None


def dispatch(call: Callable[..., Any], app: Flask, environ: WSGIEnvironment, start_response: StartResponse) -> Any:
    """Let Flask itself serve what *environ* asks for, watching the moment at which its response starts."""
    scope = environ.get(KEY)
    if not isinstance(scope, FlaskScope):
        return call(app, environ, start_response)
    scope.enter()

    def capturing(status: str, headers: list[tuple[str, str]], *exc_info: Any) -> Any:
        scope.capture()
        if status.startswith("30"):
            _note_redirect(scope, status, headers)
        return start_response(status, headers, *exc_info)

    return call(app, environ, capturing)


def _note_redirect(scope: FlaskScope, status: str, headers: list[tuple[str, str]]) -> None:
    location = next((value for name, value in headers if name.lower() == "location"), None)
    if is_turned_away(int(status[:3]), location, scope.path, scope.resolve_actor()):
        scope.is_denied = True


def _current_context() -> RequestContext | None:
    try:
        return _request_context()
    except RuntimeError:  # werkzeug.local: nothing is bound here
        return None


def _session_actor(context: RequestContext) -> Actor | None:
    """Whom the session names for flask-login, read past the session's own bookkeeping."""
    members = vars(context)
    # Flask 3.1.3 has `_session` behind a property that marks it as accessed; before, `session` is the member
    session: object = members.get("_session") or members.get("session")
    # a session that is no dict may load when it is read
    user_id = _plain_get(cast("object", session), "_user_id") if isinstance(session, dict) else None
    return None if user_id is None else actor_of(user_id, "session")


def _route(rule: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The segments that *rule* spells out, and its parameters that are named as secrets; kept by rule."""
    segments = rule.split("/")
    literals = frozenset(segment for segment in segments if segment and "<" not in segment)
    names = (segment.partition("<")[2].partition(">")[0].rpartition(":")[2] for segment in segments)
    if len(_routes) >= _MAX_ROUTES:
        _routes.clear()
    found = literals, tuple(name for name in names if name and names_a_secret(name))
    _routes[rule] = found
    return found
