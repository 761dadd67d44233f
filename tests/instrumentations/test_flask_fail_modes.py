"""What happens to a request that cannot be recorded."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from typing import Any

import flask
import pytest
from werkzeug.test import create_environ, run_wsgi_app

from otel_audit.errors import RecordingFailed
from tests.instrumentations.faulty_pipeline import FaultyPipeline, every_event

flask_login: Any = importlib.import_module("flask_login")  # without type information

pytestmark = pytest.mark.usefixtures("flask_audited")


class Shop:
    """An application that notes what it was made to do."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.app = app = flask.Flask("shop")
        app.secret_key = "k" * 32
        flask_login.LoginManager(app)

        @app.get("/plain")
        def plain() -> Any:
            self.done.append("plain")
            response = flask.Response("a secret")
            response.set_cookie("given", "away")
            response.call_on_close(lambda: self.done.append("closed"))
            return response

        @app.get("/stream")
        def stream() -> Iterator[str]:
            yield "abc"
            yield "def"

        @app.get("/empty")
        def empty() -> Iterator[str]:
            return iter(())

        @app.get("/login")
        def login() -> str:
            user = flask_login.UserMixin()
            user.id = "alice"
            flask_login.login_user(user)
            return "in"

        @app.get("/bug")
        def bug() -> str:
            raise LookupError

        @app.get("/none")
        def none() -> tuple[str, int]:
            return "", 204


@pytest.fixture
def shop() -> Shop:
    return Shop()


def test_without_room_the_application_is_not_called(pipeline: FaultyPipeline, shop: Shop) -> None:
    pipeline.has_room = False

    response = shop.app.test_client().get("/plain")

    assert (response.status_code, shop.done) == (503, [])
    assert int(response.headers["Retry-After"]) > 0


@pytest.mark.parametrize("path", ["/plain", "/none", "/empty"])
def test_an_unrecorded_response_is_replaced_and_gives_nothing_away(
    pipeline: FaultyPipeline, shop: Shop, path: str
) -> None:
    pipeline.failing = every_event

    response = shop.app.test_client().get(path)

    assert response.status_code == 503
    assert "secret" not in response.text
    assert "Set-Cookie" not in response.headers
    assert pipeline.reserved == 0


def test_a_replaced_response_is_closed_all_the_same(pipeline: FaultyPipeline, shop: Shop) -> None:
    pipeline.failing = every_event

    shop.app.test_client().get("/plain").close()

    assert shop.done == ["plain", "closed"]


def test_a_file_that_is_not_sent_is_closed(pipeline: FaultyPipeline, shop: Shop) -> None:
    class FileWrapper:
        """The server's own, as gunicorn has one."""

        closed = False

        def __init__(self, file: object, size: int) -> None:
            wrappers.append(self)

        def close(self) -> None:
            self.closed = True

    wrappers: list[FileWrapper] = []
    pipeline.failing = every_event
    shop.app.add_url_rule("/file", "file", lambda: flask.send_file(__file__))
    environ = create_environ("/file")
    environ["wsgi.file_wrapper"] = FileWrapper

    _, status, _ = run_wsgi_app(shop.app, environ, buffered=True)

    assert (status, [wrapper.closed for wrapper in wrappers]) == ("503 SERVICE UNAVAILABLE", [True])


def test_a_stream_that_has_begun_is_aborted(pipeline: FaultyPipeline, shop: Shop) -> None:
    pipeline.failing = every_event
    started: list[str] = []

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        if exc_info:
            raise exc_info[1]  # PEP 3333: the headers have been sent
        started.append(status)

    body = iter(shop.app(create_environ("/stream"), start))
    assert [next(body), next(body)] == [b"abc", b"def"]
    with pytest.raises(RecordingFailed):
        next(body)

    assert started == ["200 OK"]
    assert pipeline.reserved == 0


def test_headers_go_out_with_the_first_byte_and_not_before(pipeline: FaultyPipeline, shop: Shop) -> None:
    started: list[str] = []

    def start(status: str, headers: Any, exc_info: Any = None) -> Any:
        started.append(status)

    body = iter(shop.app(create_environ("/stream"), start))
    assert started == []
    next(body)
    assert started == ["200 OK"]


def test_a_sign_in_that_cannot_be_recorded_does_not_happen(pipeline: FaultyPipeline, shop: Shop) -> None:
    pipeline.failing = lambda event: event.event == "user.login"

    response = shop.app.test_client().get("/login")

    assert response.status_code == 503
    assert "Set-Cookie" not in response.headers


def test_an_unforeseen_fault_refuses_in_closed_mode(pipeline: FaultyPipeline, shop: Shop) -> None:
    pipeline.failing = every_event
    pipeline.error = ZeroDivisionError("with a secret")

    assert shop.app.test_client().get("/plain").status_code == 503


def test_an_exception_of_the_application_goes_on_though_it_is_not_recorded(
    pipeline: FaultyPipeline, shop: Shop
) -> None:
    pipeline.failing = every_event
    shop.app.testing = True

    with pytest.raises(LookupError):
        shop.app.test_client().get("/bug")

    assert pipeline.reserved == 0


@pytest.mark.parametrize("path", ["/plain", "/stream", "/empty", "/none", "/bug", "/login"])
def test_recorded_requests_give_their_room_back(pipeline: FaultyPipeline, shop: Shop, path: str) -> None:
    shop.app.test_client().get(path).get_data()

    assert pipeline.reserved == 0
    assert len([event for event in pipeline.events if event.event == "http.server.request"]) == 1


def test_a_fault_in_open_mode_is_said_once_a_minute_and_breaks_nothing(
    pipeline: FaultyPipeline, shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    pipeline.is_closed = False
    pipeline.failing = every_event
    pipeline.error = ZeroDivisionError("with a secret")
    with caplog.at_level(logging.ERROR, "otel_audit"):
        client = shop.app.test_client()
        assert [client.get("/plain").text for _ in range(3)] == ["a secret"] * 3
        assert client.get("/login").text == "in"

    assert len(caplog.records) == 1
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
