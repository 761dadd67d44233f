"""Every way into a Django project is audited once, its trace ids are contrib's, and each can be closed again."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client, override_settings
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler
from werkzeug.test import create_environ, run_wsgi_app

from otel_audit.testing import AuditLog
from otel_audit_django import DjangoAuditInstrumentor
from tests.instrumentations.asgi_exchange import exchange

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
AUDIT = "otel_audit_django.middleware.AuditMiddleware"


@pytest.fixture(params=[ALWAYS_ON, ALWAYS_OFF], ids=["sampled", "unsampled"])
def contrib(request: pytest.FixtureRequest, django_project: Any) -> Iterator[None]:
    """Contrib's Django instrumentation, with spans kept or thrown away."""
    sampler: Sampler = request.param
    instrumentor: Any = importlib.import_module("opentelemetry.instrumentation.django").DjangoInstrumentor()
    instrumentor.instrument(tracer_provider=TracerProvider(sampler=sampler))
    yield
    instrumentor.uninstrument()


def _wsgi(path: str, **headers: str) -> bytes:
    environ = create_environ(path, base_url="http://testserver", headers=list(headers.items()))
    return b"".join(run_wsgi_app(WSGIHandler(), environ, buffered=True)[0])


def test_a_handler_made_before_is_audited_and_after_uninstrument_is_not(
    django_project: Any, audit_log: AuditLog
) -> None:
    handler = WSGIHandler()
    instrumentor = DjangoAuditInstrumentor()
    originals = [BaseHandler.__dict__["get_response"], WSGIHandler.__dict__["__call__"]]
    for _ in range(2):
        instrumentor.instrument()
        run_wsgi_app(handler, create_environ("/old", base_url="http://testserver"))
        instrumentor.uninstrument()
        run_wsgi_app(handler, create_environ("/old", base_url="http://testserver"))

    assert len(audit_log.records) == 2
    assert [BaseHandler.__dict__["get_response"], WSGIHandler.__dict__["__call__"]] == originals


@pytest.mark.parametrize("is_instrumented", [True, False])
@pytest.mark.parametrize("path", ["/whoami", "/stream", "/bug", "/by-middleware", "/file"])
def test_the_explicit_middleware_makes_one_event(
    django_project: Any, audit_log: AuditLog, path: str, is_instrumented: bool
) -> None:
    from django.conf import settings

    instrumentor = DjangoAuditInstrumentor()
    if is_instrumented:
        instrumentor.instrument()
    try:
        with override_settings(MIDDLEWARE=[AUDIT, *settings.MIDDLEWARE]):
            _wsgi(path)
            asyncio.run(exchange(ASGIHandler(), "GET", path))
    finally:
        if is_instrumented:
            instrumentor.uninstrument()
        importlib.import_module("otel_audit_django.hooks").unhook()

    ours = audit_log.find(event="http.server.request")
    assert [record["target"]["id"] for record in ours] == [path, path]
    assert "audit.reason" not in ours[0]["context"] or path == "/by-middleware"
    assert ours[0]["context"].get("error.type") == ours[1]["context"].get("error.type")


@pytest.mark.usefixtures("contrib", "django_audited")
@pytest.mark.parametrize("path", ["/span", "/by-middleware", "/stream"])
def test_the_trace_ids_are_contribs(audit_log: AuditLog, path: str) -> None:
    seen = _wsgi(path, traceparent=TRACEPARENT)
    asynchronous = asyncio.run(exchange(ASGIHandler(), "GET", path, {"traceparent": TRACEPARENT}))

    first, second = audit_log.find(event="http.server.request")
    for record, body in ((first, seen), (second, asynchronous.body)):
        assert record["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
        if path == "/span":
            assert body.decode() == f"{record['trace_id']} {record['span_id']}"


@pytest.mark.usefixtures("contrib", "django_audited")
def test_without_a_traceparent_the_trace_ids_are_contribs_too(audit_log: AuditLog) -> None:
    body = _wsgi("/span")

    (record,) = audit_log.find(event="http.server.request")
    assert body.decode() == f"{record['trace_id']} {record['span_id']}"


@pytest.mark.usefixtures("django_audited")
def test_a_server_span_around_django_gives_its_ids(audit_log: AuditLog) -> None:
    tracer = TracerProvider().get_tracer("server")
    with tracer.start_as_current_span("server") as span:
        _wsgi("/old")

    ids = span.get_span_context()
    (record,) = audit_log.records
    assert (record["trace_id"], record["span_id"]) == (f"{ids.trace_id:032x}", f"{ids.span_id:016x}")
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.usefixtures("django_audited")
def test_the_test_client_sees_what_it_saw(audit_log: AuditLog) -> None:
    """Its responses are Django's own objects, with what its tests look at."""
    response: Any = Client().get("/customers/42")

    assert response.json() == {"id": 42}
    assert response.resolver_match.route == "customers/<int:number>"
    assert response.wsgi_request.path == "/customers/42"


@pytest.mark.usefixtures("django_audited")
def test_a_handler_s_response_is_still_django_s_own_object(audit_log: AuditLog) -> None:
    """Django's own tests ask what `WSGIHandler` returns for its `status_code`."""
    handler: Any = WSGIHandler()
    response = handler(create_environ("/old", base_url="http://testserver"), print)

    assert response.status_code == 302
    assert len(audit_log.records) == 1
