"""Every way into a Flask application is audited once, and each can be closed again."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import flask
import pytest
from flask.sessions import SecureCookieSessionInterface
from opentelemetry import trace
from opentelemetry.instrumentation.wsgi import OpenTelemetryMiddleware
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from werkzeug.middleware.proxy_fix import ProxyFix
from werkzeug.test import create_environ, run_wsgi_app

import otel_audit
from otel_audit.testing import AuditLog
from otel_audit_flask import FlaskAuditInstrumentor

FlaskInstrumentor: Any = importlib.import_module("opentelemetry.instrumentation.flask").FlaskInstrumentor  # untyped

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class _Shop(flask.Flask):
    def wsgi_app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return super().wsgi_app(environ, start_response)

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return super().__call__(environ, start_response)


def _shop(kind: type[flask.Flask] = flask.Flask) -> flask.Flask:
    app = kind("shop")
    app.add_url_rule("/", "index", lambda: "index")

    @app.get("/emits")
    def emits() -> str:
        otel_audit.get_audit_logger("shop").emit("shop.looked", action="READ")
        span = trace.get_current_span().get_span_context()
        return f"{span.trace_id:032x} {span.span_id:016x}"

    return app


def test_an_application_made_before_instrument_is_audited(audit_log: AuditLog) -> None:
    app = _shop()
    instrumentor = FlaskAuditInstrumentor()
    instrumentor.instrument()
    try:
        app.test_client().get("/")
    finally:
        instrumentor.uninstrument()
    app.test_client().get("/")

    assert len(audit_log.records) == 1


def test_a_subclass_that_overrides_both_doors_makes_one_event(flask_audited: Any, audit_log: AuditLog) -> None:
    _shop(_Shop).test_client().get("/")

    assert len(audit_log.records) == 1


def test_a_server_that_was_given_wsgi_app_is_audited(flask_audited: Any, audit_log: AuditLog) -> None:
    app = _shop()
    run_wsgi_app(app.wsgi_app, create_environ("/"), buffered=True)

    assert audit_log.records[0]["context"]["http.route"] == "/"


def test_the_peer_is_the_connections_whatever_proxyfix_makes_of_it(flask_audited: Any, audit_log: AuditLog) -> None:
    """ProxyFix believes headers of anybody; `OTEL_AUDIT_TRUSTED_PROXIES` is about who sent them."""
    app = _shop()
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    app.test_client().get("/", headers={"X-Forwarded-For": "203.0.113.66"})

    assert audit_log.records[0]["source"]["id"] == "127.0.0.1"


def test_one_application_can_be_audited_alone(audit_log: AuditLog) -> None:
    audited, other = _shop(), _shop()
    FlaskAuditInstrumentor.instrument_app(audited)
    FlaskAuditInstrumentor.instrument_app(audited)
    audited.test_client().get("/")
    other.test_client().get("/")
    FlaskAuditInstrumentor.uninstrument_app(audited)
    audited.test_client().get("/")

    (record,) = audit_log.records
    assert record["context"]["http.route"] == "/"


def test_an_audited_application_inside_proxyfix_knows_the_connections_peer(audit_log: AuditLog) -> None:
    app = _shop()
    FlaskAuditInstrumentor.instrument_app(app)
    app.wsgi_app = ProxyFix(app.wsgi_app)  # type: ignore[method-assign]
    app.test_client().get("/", headers={"X-Forwarded-For": "203.0.113.66"})
    FlaskAuditInstrumentor.uninstrument_app(app)
    app.test_client().get("/")

    (record,) = audit_log.records
    assert record["source"]["id"] == "127.0.0.1"


def test_one_application_and_all_of_them_make_one_event(flask_audited: Any, audit_log: AuditLog) -> None:
    app = _shop()
    FlaskAuditInstrumentor.instrument_app(app)
    app.test_client().get("/")

    assert len(audit_log.records) == 1
    FlaskAuditInstrumentor.uninstrument_app(app)


def test_flask_is_itself_again_after_uninstrument() -> None:
    doors = (flask.Flask.__call__, flask.Flask.wsgi_app)
    instrumentor = FlaskAuditInstrumentor()
    instrumentor.instrument()
    assert (flask.Flask.__call__, flask.Flask.wsgi_app) != doors
    instrumentor.uninstrument()

    assert (flask.Flask.__call__, flask.Flask.wsgi_app) == doors


def test_without_tracing_the_ids_are_the_callers(flask_audited: Any, audit_log: AuditLog) -> None:
    _shop().test_client().get("/emits", headers={"traceparent": TRACEPARENT})

    inside, request = audit_log.records
    assert request["trace_id"] == inside["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert request["span_id"] == inside["span_id"] != "b7ad6b7169203331"


def test_without_tracing_and_caller_the_ids_are_new_and_shared(flask_audited: Any, audit_log: AuditLog) -> None:
    client = _shop().test_client()
    client.get("/emits")
    client.get("/emits")

    first, second, third, fourth = [(record["trace_id"], record["span_id"]) for record in audit_log.records]
    assert first == second != third == fourth


@pytest.fixture(params=[ALWAYS_ON, ALWAYS_OFF], ids=["always_on", "always_off"])
def provider(request: pytest.FixtureRequest) -> TracerProvider:
    sampler: Sampler = request.param
    return TracerProvider(sampler=sampler)


@pytest.fixture(params=["ours first", "contrib first"])
def both_instrumented(request: pytest.FixtureRequest, provider: TracerProvider) -> Iterator[FlaskAuditInstrumentor]:
    ours, contrib = FlaskAuditInstrumentor(), FlaskInstrumentor()
    if request.param == "ours first":
        ours.instrument()
        contrib.instrument(tracer_provider=provider)
    else:
        contrib.instrument(tracer_provider=provider)
        ours.instrument()
    yield ours
    contrib.uninstrument()
    ours.uninstrument()


@pytest.mark.parametrize("headers", [{}, {"traceparent": TRACEPARENT}], ids=["new", "continued"])
def test_trace_ids_are_contribs_whichever_came_first(
    both_instrumented: FlaskAuditInstrumentor, audit_log: AuditLog, headers: dict[str, str]
) -> None:
    answered = _shop(flask.Flask).test_client().get("/emits", headers=headers).text

    inside, request = audit_log.records
    assert f"{request['trace_id']} {request['span_id']}" == answered
    assert f"{inside['trace_id']} {inside['span_id']}" == answered


def test_a_span_around_the_application_gives_the_ids(
    flask_audited: Any, audit_log: AuditLog, provider: TracerProvider
) -> None:
    app = _shop()
    app.wsgi_app = OpenTelemetryMiddleware(  # type: ignore[method-assign]
        app.wsgi_app, tracer_provider=provider
    )
    answered = app.test_client().get("/emits").text

    assert [f"{record['trace_id']} {record['span_id']}" for record in audit_log.records] == [answered] * 2


def test_what_comes_before_contribs_span_has_other_ids(
    both_instrumented: FlaskAuditInstrumentor, audit_log: AuditLog
) -> None:
    """A known limit: contrib makes its span in `before_request`, after the session was opened."""
    app = _shop(flask.Flask)

    class Sessions(SecureCookieSessionInterface):
        def open_session(self, app: flask.Flask, request: flask.Request) -> Any:
            otel_audit.get_audit_logger("shop").emit("session.opened", action="READ")
            return super().open_session(app, request)

    app.session_interface = Sessions()
    app.test_client().get("/")

    before, request = audit_log.records
    assert request["context"]["http.route"] == "/"
    assert before["trace_id"] != request["trace_id"]
