"""Which routes has a Flask application, and what becomes of their requests?"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, cast

from flask.app import Flask  # not `flask.Flask`, which contrib's instrumentation replaces by its subclass

from otel_audit.capture.policy_reach import ANY, ONE
from otel_audit.cli.coverage.found import RouteRow
from otel_audit.cli.coverage.surveyor import Surveyor
from otel_audit.cli.coverage.views import closure, guards, layers

_PARAMETER = re.compile(r"<(?:(?P<converter>\w+)(?:\((?:[^()]|\([^()]*\))*\))?:)?\w+>")
_MAX_OBJECTS = 500


def flask_applications(application: object) -> Iterator[tuple[str, Flask]]:
    """Every Flask application that *application* is, wraps or has mounted, with the path that it is mounted at."""
    waiting: list[tuple[str, object]] = [("", application)]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_OBJECTS:
        prefix, thing = waiting.pop(0)
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        members: dict[str, object] = getattr(thing, "__dict__", {})
        if isinstance(thing, Flask):
            yield prefix, thing
            waiting.append((prefix, members.get("wsgi_app")))  # a middleware, if the application has put one there
            continue
        owner: object = getattr(thing, "__self__", None)
        held_things = (owner, *members.values(), *closure(thing).values())
        waiting += [(prefix, held) for held in held_things if callable(held)]
        mounts = members.get("mounts")
        if isinstance(mounts, dict):
            # werkzeug.middleware.dispatcher.DispatcherMiddleware
            waiting += [(prefix + str(at), held) for at, held in cast("dict[object, object]", mounts).items()]


def survey_flask(app: Flask, prefix: str, surveyor: Surveyor) -> Iterator[RouteRow]:
    """The rows of every route of *app*, mounted at *prefix*."""
    possible = list(_extensions(app))
    is_open = all(_is_own_door(app, name) for name in ("__call__", "wsgi_app"))
    for rule in app.url_map.iter_rules():
        view = app.view_functions.get(rule.endpoint)
        found = [guard for function in (*_before(app, rule.endpoint), view) for guard in guards(function)]
        path = prefix + _path(app, rule.rule)
        host = rule.host or rule.subdomain
        yield from surveyor.routes(
            "flask" if is_open else f"flask ({type(app).__qualname__}, whose door is its own)",
            (f"//{host}" if host else "") + prefix + rule.rule,
            [path],
            rule.methods or (),
            rule.endpoint,
            surveyor.who(found, possible),
        )


def _is_own_door(app: Flask, name: str) -> bool:
    """Whether the method of Flask is reached that is audited, where a subclass has one of its own by that name."""
    return any(function is vars(Flask)[name] for function in layers(getattr(type(app), name))) or _calls_super(
        getattr(type(app), name)
    )


def _calls_super(function: Any) -> bool:
    code = getattr(function, "__code__", None)
    return code is not None and "super" in code.co_names


def _extensions(app: Flask) -> Iterator[str]:
    if hasattr(app, "login_manager"):
        yield "flask-login"
    if "flask-jwt-extended" in app.extensions:
        yield "flask-jwt-extended"


def _before(app: Flask, endpoint: str) -> Iterator[Any]:
    """What is called before the views of an endpoint: the application's, and its blueprints' own."""
    blueprints = endpoint.split(".")[:-1]
    for scope in (None, *(".".join(blueprints[: at + 1]) for at in range(len(blueprints)))):
        yield from app.before_request_funcs.get(scope, ())


def _path(app: Flask, rule: str) -> str:
    def parameter(match: re.Match[str]) -> str:
        converter = app.url_map.converters.get(match["converter"] or "default")
        return ONE if converter is not None and converter.part_isolating else ANY

    return _PARAMETER.sub(parameter, rule)
