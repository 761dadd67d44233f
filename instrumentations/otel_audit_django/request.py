"""What Django knows of a request: the route that matched, whose it is, the ids of contrib's span.

One `DjangoFacts` a request, kept by whichever door the request came through; signals and hooks find it with
`recording.current_facts`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from opentelemetry.trace import Span, get_current_span

from otel_audit.capture.actor import auth_of_scheme
from otel_audit.capture.redaction import mask_path, names_a_secret
from otel_audit.capture.trace_context import ids_of_span
from otel_audit.capture.turned_away import is_turned_away
from otel_audit.event import ANONYMOUS, UNKNOWN, Actor, Auth
from otel_audit.serving.faults import complain
from otel_audit.serving.request import ServedRequest
from otel_audit_django.identity import (
    SESSION_KEY,
    has_unread_session,
    impersonated,
    is_anonymous,
    loaded_user,
    session_actor,
    session_data,
    user_actor,
)

if TYPE_CHECKING:
    from django.http import HttpRequest
    from django.http.response import HttpResponseBase

# opentelemetry-instrumentation-django 0.66b1, _DjangoMiddleware._environ_span_key; unchanged since 0.20
_CONTRIB_SPAN = "opentelemetry-instrumentor-django.span_key"
_MAX_ROUTES = 4096
_routes: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {}


class DjangoFacts:
    """One request of a Django project, as its middleware and views have left it by now."""

    __slots__ = (
        "_actor",
        "_scope",
        "failed_sign_ins",
        "login_actor",
        "request",
        "signed_out_actor",
        "verified_by",
        "verified_user",
    )

    def __init__(self, scope: ServedRequest) -> None:
        self._scope = scope
        self._actor: Actor | None = None
        """Who it was when the response was made; asked no more after that."""
        self.request: HttpRequest | None = None
        """None until Django has made it of what the server said."""
        self.login_actor: Actor | None = None
        """Who signed in during this request."""
        self.signed_out_actor: Actor | None = None
        """Who signed out in this request, which is still theirs."""
        self.verified_user: object = None
        self.verified_by: Auth | None = None
        """How an extension (Django REST framework) has verified `verified_user`."""
        self.failed_sign_ins = 0

    def enter(self, request: HttpRequest) -> None:
        """Django takes over, inside of the server and its middleware: a span that is current now is theirs."""
        self.request = request
        self._scope.adopt_ids(ids_of_span(get_current_span()))

    def leave(self) -> None:
        """Take what the request knows by now: its response is made."""
        request = self.request
        assert request is not None
        try:
            self._take_route(request)
        except Exception as error:  # noqa: BLE001 - an audit fault never breaks a request
            complain(error)
        self._actor = self.resolve_actor()

    def note_response(self, response: HttpResponseBase) -> None:
        """See whether the *response* turns the request away, which has been left."""
        try:
            location: str | None = response.headers.get("Location")
            if is_turned_away(response.status_code, location, self._scope.path, self._actor or UNKNOWN):
                self._scope.is_denied = True
        except Exception as error:  # noqa: BLE001 - likewise
            complain(error)

    def adopt_contrib_span(self) -> None:
        """Take the ids of the span that contrib's middleware has just made."""
        if self.request is not None:
            self._scope.adopt_ids(ids_of_span(cast("Span | None", self.request.META.get(_CONTRIB_SPAN))))

    def resolve_actor(self) -> Actor:
        """Who it is by now; `UNKNOWN` where that cannot be read, or is known only to a session nobody opened."""
        if self._actor is not None:
            return self._actor
        try:
            return self._identify()
        except Exception as error:  # noqa: BLE001 - likewise
            complain(error)
            return UNKNOWN

    def _identify(self) -> Actor:
        request = self.request
        if request is None:
            return self._scope.vouched_actor() or ANONYMOUS
        user = loaded_user(request)
        if user is not None:
            if not is_anonymous(user):
                return self._of_user(request, user)
            actor = self.signed_out_actor or self.login_actor
            return actor or self._scope.vouched_actor() or ANONYMOUS
        data = session_data(request)
        actor = None if data is None else session_actor(data)
        if actor is None:
            actor = self.login_actor or self.signed_out_actor or self._scope.vouched_actor()
        if actor is None:
            return UNKNOWN if data is None and has_unread_session(request) else ANONYMOUS
        return actor

    def _of_user(self, request: HttpRequest, user: object) -> Actor:
        if user is self.verified_user and self.verified_by != "session":
            return user_actor(user, self.verified_by)
        actor = user_actor(user, "session")
        data = session_data(request)
        named = None if data is None else data.get(SESSION_KEY)
        if data is not None and named is not None and str(named) == actor.id:
            return impersonated(actor, data)
        # set by a middleware of the application's own, which has verified it somehow
        return user_actor(user, auth_of_scheme(self._scope.authorization))

    def _take_route(self, request: HttpRequest) -> None:
        scope = self._scope
        scope.method = request.method or scope.method
        match = request.resolver_match
        if match is None:
            return
        template = match.route
        # Semantic conventions, http.route: with the application root, where there is one
        root = request.META.get("SCRIPT_NAME")
        scope.route = f"{mask_path(root)}/{template}" if root else "/" + template
        scope.literals, secret_names = _routes.get(template) or _route(template, match.kwargs)
        if secret_names:
            kwargs = match.kwargs
            scope.secrets = tuple(str(kwargs[name]) for name in secret_names if kwargs.get(name))


def _route(template: str, parameters: dict[str, object]) -> tuple[frozenset[str], tuple[str, ...]]:
    """The segments that *template* spells out, and its parameters that are named as secrets; kept by template."""
    literals = frozenset(
        segment.strip("^$") for segment in template.split("/") if segment and not set(segment) & set("<(\\[")
    )
    if len(_routes) >= _MAX_ROUTES:
        _routes.clear()
    found = literals, tuple(name for name in parameters if names_a_secret(name))
    _routes[template] = found
    return found
