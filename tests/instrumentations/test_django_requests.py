"""Which event a Django request makes: one, whatever happens to it, whichever door it comes through."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import django
import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import AsyncClient, Client, override_settings
from werkzeug.test import create_environ, run_wsgi_app

from otel_audit.testing import AuditLog
from tests.instrumentations.asgi_exchange import Exchange, exchange
from tests.instrumentations.django_project.errors import Teapot
from tests.instrumentations.request_table import TABLE, Expected, check

pytestmark = pytest.mark.usefixtures("django_audited")

Ask: TypeAlias = Callable[[str, str], tuple[int, bytes]]
"""Method and path with query, answered by status and body."""


def _by_client(method: str, path: str) -> tuple[int, bytes]:
    return _drained(Client(raise_request_exception=False).generic(method, path))


def _by_async_client(method: str, path: str) -> tuple[int, bytes]:
    async def ask() -> tuple[int, bytes]:
        response: Any = await AsyncClient(raise_request_exception=False).generic(method, path)
        if response.streaming and response.is_async:
            return response.status_code, b"".join([piece async for piece in response.streaming_content])
        return _drained(response)

    return asyncio.run(ask())


def _by_wsgi(method: str, path: str) -> tuple[int, bytes]:
    environ = _environ(path, method=method)
    body, status, _ = run_wsgi_app(WSGIHandler(), environ, buffered=True)
    return int(status[:3]), b"" if method == "HEAD" else b"".join(body)


def _by_asgi(method: str, path: str) -> tuple[int, bytes]:
    found = asyncio.run(exchange(ASGIHandler(), method, path))
    return found.status or 0, b"" if method == "HEAD" else found.body


def _drained(response: Any) -> tuple[int, bytes]:
    if response.streaming and response.is_async:

        async def pieces() -> list[bytes]:
            return [piece async for piece in response.streaming_content]

        return response.status_code, b"".join(asyncio.run(pieces()))
    body = b"".join(response.streaming_content) if response.streaming else response.content
    return response.status_code, body


DOORS: list[Ask] = [_by_client, _by_async_client, _by_wsgi, _by_asgi]


HEARS_DISCONNECTS = pytest.mark.skipif(django.VERSION < (5, 0), reason="Django 4.2 does not hear of disconnects")


@pytest.fixture(params=DOORS, ids=lambda door: door.__name__.removeprefix("_by_"))
def ask(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Ask:
    door: Ask = request.param
    return door


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.parametrize("expected", TABLE, ids=str)
def test_a_request_is_one_event(ask: Ask, audit_log: AuditLog, expected: Expected) -> None:
    status, body = ask(expected.method, expected.path)

    assert status == expected.status
    check(expected, audit_log, len(body))


# path, status, route, error type or reason
OF_DJANGO = [
    ("/missing", 404, "/missing", None),
    ("/suspicious", 400, "/suspicious", "django.core.exceptions.SuspiciousOperation"),
    ("/by-middleware", 403, None, "denied"),
    ("/bug-in-middleware", 500, None, "Teapot"),
    ("/async", 200, "/async", None),
    ("/async-bug", 500, "/async-bug", "Teapot"),
    ("/file", 200, "/file", None),
    ("/people/7", 200, "/^people/(?P<who>[^/]+)$", None),
    ("/private", 302, "/private", "denied"),
    ("/own-private", 302, "/own-private", "denied"),
]


@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
@pytest.mark.parametrize("expected", OF_DJANGO, ids=lambda expected: expected[0])
def test_what_django_alone_has_is_one_event_too(
    ask: Ask, audit_log: AuditLog, expected: tuple[str, int, str | None, str | None]
) -> None:
    path, status, route, said = expected
    assert ask("GET", path)[0] == status

    (record,) = audit_log.find(event="http.server.request")
    context = record["context"]
    found = context.get("error.type") or context.get("audit.reason")
    assert (context["http.response.status_code"], context.get("http.route")) == (status, route)
    assert found == (f"{Teapot.__module__}.Teapot" if said == "Teapot" else said)
    assert record["outcome"] == ("failure" if status >= 400 or said else "success")
    assert "secret" not in str(audit_log.bodies)


def test_a_host_that_is_not_ours_is_refused_by_name(audit_log: AuditLog) -> None:
    Client(raise_request_exception=False).get("/old", headers={"host": "evil.example"})

    (record,) = audit_log.records
    assert record["context"]["http.response.status_code"] == 400
    assert record["context"]["error.type"] == "django.core.exceptions.DisallowedHost"


def test_a_forged_form_is_denied(audit_log: AuditLog) -> None:
    response = Client(enforce_csrf_checks=True).post("/form", {"name": "x"})

    (record,) = audit_log.records
    assert response.status_code == 403
    assert (record["outcome"], record["context"]["audit.reason"]) == ("failure", "denied")


@pytest.mark.parametrize("path", ["/stream", "/async-stream"])
@pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume")
def test_what_a_stream_does_belongs_to_its_request(ask: Ask, audit_log: AuditLog, path: str) -> None:
    assert ask("GET", path) == (200, b"abcde")

    *inside, record = audit_log.records
    assert record["context"]["http.response.body.size"] == 5
    assert {event["trace_id"] for event in inside} <= {record["trace_id"]}
    assert {event["actor"]["id"] for event in inside} <= {"anonymous"}


def test_an_exception_in_a_stream_is_a_failure_and_goes_on(audit_log: AuditLog) -> None:
    environ = _environ("/broken-stream")
    body = iter(WSGIHandler()(environ, _ignore))
    assert next(body) == b"abc"
    with pytest.raises(Teapot):
        next(body)

    (record,) = audit_log.records
    assert record["outcome"] == "failure"
    assert record["context"]["error.type"].endswith("Teapot")


def test_the_record_stands_before_the_last_byte_leaves(audit_log: AuditLog) -> None:
    environ = _environ("/stream")
    body = iter(WSGIHandler()(environ, _ignore))
    next(body)
    assert audit_log.find(event="http.server.request") == []

    list(body)

    assert len(audit_log.find(event="http.server.request")) == 1


def test_a_servers_file_wrapper_is_left_as_it_is(audit_log: AuditLog) -> None:
    """gunicorn sends a file with sendfile(2) only if it gets its own object back."""

    class FileWrapper:
        def __init__(self, file: Any, size: int) -> None:
            self.file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.file)

        def close(self) -> None:
            self.file.close()

    environ = _environ("/file")
    environ["wsgi.file_wrapper"] = FileWrapper
    body: Any = WSGIHandler()(environ, _ignore)

    assert type(body) is FileWrapper
    assert audit_log.records[0]["context"]["http.response.body.size"] == 6
    body.close()


@HEARS_DISCONNECTS
def test_a_client_that_leaves_a_stream_is_cut_off(audit_log: AuditLog) -> None:
    found = asyncio.run(exchange(ASGIHandler(), "GET", "/endless", hang_up_after=_has_some))

    assert not found.is_complete
    (record,) = audit_log.records
    assert record["context"]["audit.reason"] == "cut-off"
    assert record["context"]["http.route"] == "/endless"
    assert record["outcome"] == "success"


@HEARS_DISCONNECTS
def test_a_client_that_leaves_before_the_answer_is_cut_off(audit_log: AuditLog) -> None:
    """Django cancels the view; whether its work was done nobody can say."""
    from tests.instrumentations.django_project.views import waiting

    waiting.clear()
    found = asyncio.run(exchange(ASGIHandler(), "GET", "/patient", hang_up_after=lambda found: bool(waiting)))

    assert found.status is None
    (record,) = audit_log.records
    assert (record["outcome"], record["context"]["audit.reason"]) == ("unknown", "cut-off")
    assert record["context"]["http.route"] == "/patient"
    assert "error.type" not in record["context"]


def test_an_exception_that_django_lets_through_is_recorded_and_goes_on(audit_log: AuditLog) -> None:
    with override_settings(DEBUG_PROPAGATE_EXCEPTIONS=True), pytest.raises(Teapot):
        run_wsgi_app(WSGIHandler(), _environ("/bug"))

    (record,) = audit_log.records
    assert record["context"]["error.type"].endswith("Teapot")
    assert record["context"]["http.response.status_code"] == 500


def test_a_request_made_inside_a_request_is_an_event_of_its_own(audit_log: AuditLog) -> None:
    run_wsgi_app(WSGIHandler(), _environ("/nested"), buffered=True)

    assert [record["target"]["id"] for record in audit_log.records] == ["/old", "/nested"]


def test_a_project_under_a_prefix_has_it_in_its_route(audit_log: AuditLog) -> None:
    environ = _environ("/customers/7", base_url="http://testserver/shop")
    run_wsgi_app(WSGIHandler(), environ, buffered=True)

    (record,) = audit_log.records
    assert record["target"]["id"] == "/shop/customers/7"
    assert record["context"]["http.route"] == "/shop/customers/<int:number>"


def test_without_a_pipeline_a_request_is_only_served(ask: Ask) -> None:
    assert ask("GET", "/customers/42") == (200, b'{"id": 42}')


def _environ(path: str, **arguments: Any) -> dict[str, Any]:
    """What a server makes of a request from this machine."""
    return {**create_environ(path, **{"base_url": "http://testserver", **arguments}), "REMOTE_ADDR": "127.0.0.1"}


def _has_some(found: Exchange) -> bool:
    return len(found.body) > 3


def _ignore(*_: object) -> Any:
    return None
