"""Real servers and the WSGI contract (PEP 3333), with the audit's door in between."""

from __future__ import annotations

import socket
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from wsgiref.validate import validator

import flask
import pytest
from werkzeug.serving import make_server
from werkzeug.test import create_environ, run_wsgi_app

from otel_audit.testing import AuditLog, recording

pytestmark = pytest.mark.usefixtures("flask_audited")


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask("shop")

    @app.get("/plain")
    def plain() -> str:
        return "plain"

    @app.get("/empty")
    def empty() -> flask.Response:
        response = flask.Response(status=204)
        response.headers.clear()  # Flask's own Content-Type is one too many for the validator
        return response

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "abc"
        yield "def"

    @app.get("/endless")
    def endless() -> Iterator[bytes]:
        while True:
            yield b"x" * 65_536

    @app.get("/in-context")
    def in_context() -> Any:
        def body() -> Iterator[str]:
            yield flask.request.path

        return flask.stream_with_context(body())

    return app


@contextmanager
def _served(app: flask.Flask) -> Generator[int]:
    """*app* behind werkzeug's server on loopback; left when every request has been served to its end."""
    server = make_server("127.0.0.1", 0, app)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _get(port: int, path: str, method: str = "GET") -> tuple[int, bytes]:
    connection = HTTPConnection("127.0.0.1", port)
    connection.request(method, path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, body


@pytest.mark.parametrize("mode", ["open", "closed"])
@pytest.mark.parametrize("path", ["/plain", "/empty", "/stream", "/in-context", "/nothing"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_what_the_server_sees_is_wsgi(app: flask.Flask, mode: str, path: str, method: str) -> None:
    with recording(OTEL_AUDIT_FAIL_MODE=mode) as log:
        environ = create_environ(path, method=method)
        body, _, _ = run_wsgi_app(validator(app), environ, buffered=True)
        size = len(b"".join(body))

    (record,) = log.records
    assert record["context"]["http.response.body.size"] == size
    assert "audit.reason" not in record["context"]


@pytest.mark.parametrize("mode", ["open", "closed"])
def test_a_real_server_serves_and_records(app: flask.Flask, mode: str) -> None:
    with recording(OTEL_AUDIT_FAIL_MODE=mode) as log, _served(app) as port:
        answers = [_get(port, path) for path in ("/plain", "/empty", "/stream", "/in-context")]
        head = _get(port, "/plain", "HEAD")

    assert answers == [(200, b"plain"), (204, b""), (200, b"abcdef"), (200, b"/in-context")]
    assert head == (200, b"")
    assert [record["context"]["http.response.body.size"] for record in log.records] == [5, 0, 6, 11, 0]


def test_a_client_that_hangs_up_is_recorded(app: flask.Flask, audit_log: AuditLog) -> None:
    with _served(app) as port:
        client = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"GET /endless HTTP/1.1\r\nHost: shop\r\n\r\n")
        assert client.recv(16)
        client.close()

    (record,) = audit_log.records
    assert record["target"]["id"] == "/endless"
    assert record["context"]["audit.reason"] == "cut-off"
    assert record["context"]["http.response.body.size"] > 0
    assert record["outcome"] == "success"
