"""Which event a request makes: one, whatever happens to it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import flask
import pytest
from flask.sessions import SecureCookieSessionInterface
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.test import create_environ, run_wsgi_app

from otel_audit.testing import AuditLog
from tests.instrumentations.request_table import TABLE, Expected, check

pytestmark = pytest.mark.usefixtures("flask_audited")

Environ = dict[str, Any]


class Teapot(Exception):  # noqa: N818 - an application's own
    pass


@pytest.fixture
def app(tmp_path: Path) -> flask.Flask:
    static = tmp_path / "static"
    static.mkdir()
    (static / "style.css").write_text("body{}", encoding="utf-8")
    app = flask.Flask("shop", static_folder=str(static))

    @app.get("/customers/<int:number>")
    def customer(number: int) -> dict[str, int]:
        return {"id": number}

    @app.post("/customers")
    def create() -> tuple[str, int]:
        return "made", 201

    @app.route("/customers/<int:number>", methods=["PUT", "PATCH", "DELETE"])
    def change(number: int) -> tuple[str, int]:
        return "", 204

    @app.get("/old")
    def old() -> Any:
        return flask.redirect("/customers/1")

    @app.get("/denied/<int:status>")
    def denied(status: int) -> NoReturn:
        flask.abort(status)

    @app.get("/bug")
    def bug() -> NoReturn:
        raise Teapot("a secret in a message")

    @app.get("/handled")
    def handled() -> NoReturn:
        raise LookupError("handled by the application")

    @app.errorhandler(LookupError)
    def on_lookup_error(error: LookupError) -> tuple[str, int]:
        return "no such thing", 410

    @app.get("/unavailable")
    def unavailable() -> tuple[str, int]:
        return "later", 503

    @app.get("/stream")
    def stream() -> Iterator[str]:
        yield "abc"
        yield "de"

    @app.get("/reset/<token>")
    def reset(token: str) -> str:
        return "ok"

    return app


@pytest.mark.parametrize("expected", TABLE, ids=str)
def test_a_request_is_one_event(app: flask.Flask, audit_log: AuditLog, expected: Expected) -> None:
    response = app.test_client().open(expected.path, method=expected.method)

    check(expected, audit_log, len(response.get_data()))


def test_a_handler_sees_the_request_that_it_serves_and_nothing_after(app: flask.Flask, audit_log: AuditLog) -> None:
    from otel_audit.capture.request import current_request

    seen: list[str] = []

    @app.get("/seen")
    def see() -> Iterator[str]:
        scope = current_request.get()
        assert scope is not None
        seen.append(scope.trace_id)

        def body() -> Iterator[str]:
            inside = current_request.get()
            assert inside is not None
            seen.append(inside.trace_id)
            yield "x"

        return body()

    app.test_client().get("/seen").get_data()

    assert seen == [audit_log.records[0]["trace_id"]] * 2
    assert current_request.get() is None


def test_a_stream_is_recorded_when_it_has_ended_and_not_before(app: flask.Flask, audit_log: AuditLog) -> None:
    """Laziness is the application's: nothing is pulled that the server has not asked for."""
    pulled: list[int] = []

    @app.get("/lazy")
    def lazy() -> Iterator[str]:
        for number in range(3):
            pulled.append(number)
            yield "x"

    body = iter(app(create_environ("/lazy"), _ignore))
    assert (pulled, audit_log.records) == ([], [])
    assert [next(body), next(body)] == [b"x", b"x"]
    assert (pulled, audit_log.records) == ([0, 1], [])
    assert list(body) == [b"x"]

    (record,) = audit_log.records
    assert record["context"]["http.response.body.size"] == 3


def test_the_record_stands_before_the_last_byte_leaves(app: flask.Flask, audit_log: AuditLog) -> None:
    body = iter(app(create_environ("/customers/42"), _ignore))
    assert audit_log.records == []

    next(body)

    assert len(audit_log.records) == 1


def test_a_client_that_hangs_up_leaves_what_it_was_given(app: flask.Flask, audit_log: AuditLog) -> None:
    closed: list[bool] = []

    @app.get("/long")
    def long() -> Any:
        response = flask.Response(iter(["abc", "def"]))
        response.call_on_close(lambda: closed.append(True))
        return response

    body = app(create_environ("/long"), _ignore)
    next(iter(body))
    body.close()  # type: ignore[attr-defined]
    body.close()  # type: ignore[attr-defined]

    (record,) = audit_log.records
    assert record["context"]["http.response.body.size"] == 3
    assert record["context"]["audit.reason"] == "cut-off"
    assert record["outcome"] == "success"
    assert closed[0]


def test_an_exception_in_a_stream_is_a_failure_and_goes_on(app: flask.Flask, audit_log: AuditLog) -> None:
    @app.get("/broken")
    def broken() -> Iterator[str]:
        yield "abc"
        raise Teapot

    body = iter(app(create_environ("/broken"), _ignore))
    next(body)
    with pytest.raises(Teapot):
        next(body)

    (record,) = audit_log.records
    assert record["outcome"] == "failure"
    assert record["context"]["error.type"].endswith("Teapot")
    assert record["context"]["http.response.status_code"] == 200


@pytest.mark.parametrize("where", ["view", "before_request", "teardown_request", "after_request", "open_session"])
@pytest.mark.parametrize("propagates", [True, False])
def test_an_exception_anywhere_is_recorded_and_behaves_as_without_audit(
    flask_audited: Any, audit_log: AuditLog, where: str, propagates: bool
) -> None:
    app = flask.Flask("broken")
    app.config["PROPAGATE_EXCEPTIONS"] = propagates

    def fail(*_: object) -> Any:
        raise Teapot

    app.add_url_rule("/", "view", fail if where == "view" else lambda: "fine")
    if where == "open_session":
        app.session_interface = SecureCookieSessionInterface()
        app.session_interface.open_session = fail  # type: ignore[method-assign, assignment]
    elif where != "view":
        getattr(app, where)(fail)
    audited = _status_or_error(app)
    flask_audited.uninstrument()

    assert audited == _status_or_error(app)
    (record,) = audit_log.records
    assert record["outcome"] == "failure"
    assert record["context"]["error.type"].endswith("Teapot")
    assert record["context"]["http.response.status_code"] == 500


def test_even_an_exit_in_a_handler_is_recorded(app: flask.Flask, audit_log: AuditLog) -> None:
    """gunicorn ends a worker that takes too long by raising SystemExit wherever it is."""

    @app.get("/exit")
    def leave() -> NoReturn:
        raise SystemExit(1)

    with pytest.raises(SystemExit):
        app.test_client().get("/exit")

    (record,) = audit_log.records
    assert (record["outcome"], record["context"]["error.type"]) == ("failure", "SystemExit")
    assert record["actor"]["id"] == "unknown"  # its context is gone before anybody can look into it


def test_a_servers_file_wrapper_is_left_as_it_is(app: flask.Flask, audit_log: AuditLog, tmp_path: Path) -> None:
    """gunicorn sends a file with sendfile(2) only if it gets its own object back."""

    class FileWrapper:
        def __init__(self, file: Any, size: int) -> None:
            self.file = file

        def __iter__(self) -> Iterator[bytes]:
            return iter(self.file)

        def close(self) -> None:
            self.file.close()

    environ = create_environ("/static/style.css")
    environ["wsgi.file_wrapper"] = FileWrapper
    body = app(environ, _ignore)

    assert type(body) is FileWrapper
    (record,) = audit_log.records
    assert record["context"]["http.response.body.size"] == 6
    body.close()


def test_a_file_wrapper_that_is_a_function_is_left_as_it_is(app: flask.Flask, audit_log: AuditLog) -> None:
    """uWSGI's answers with the file itself."""
    environ = create_environ("/static/style.css")

    def wrap(file: Any, size: int) -> Any:
        return file

    environ["wsgi.file_wrapper"] = wrap
    body: Any = app(environ, _ignore)

    assert body.read() == b"body{}"
    assert len(audit_log.records) == 1
    body.close()


def test_mounted_applications_make_one_event_with_the_inner_route(app: flask.Flask, audit_log: AuditLog) -> None:
    inner = flask.Flask("inner")

    @inner.get("/things/<int:number>")
    def thing(number: int) -> str:
        return "thing"

    app.wsgi_app = DispatcherMiddleware(app.wsgi_app, {"/api": inner})  # type: ignore[method-assign]

    app.test_client().get("/api/things/7")

    (record,) = audit_log.records
    assert record["target"]["id"] == "/api/things/7"
    assert record["context"]["http.route"] == "/api/things/<int:number>"


def test_a_request_made_inside_a_request_is_an_event_of_its_own(app: flask.Flask, audit_log: AuditLog) -> None:
    @app.get("/outer")
    def outer() -> str:
        return app.test_client().get("/customers/1").get_data(as_text=True)

    app.test_client().get("/outer")

    assert [record["target"]["id"] for record in audit_log.records] == ["/customers/1", "/outer"]


def test_a_middleware_that_answers_by_itself_is_recorded(app: flask.Flask, audit_log: AuditLog) -> None:
    def refuse(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        start_response("403 FORBIDDEN", [])
        return [b"no"]

    app.wsgi_app = refuse  # type: ignore[method-assign]
    app.test_client().get("/customers/1")

    (record,) = audit_log.records
    assert (record["outcome"], record["context"]["audit.reason"]) == ("failure", "denied")
    assert record["context"]["http.response.body.size"] == 2


def test_a_method_that_a_middleware_overrides_is_the_one_that_counts(app: flask.Flask, audit_log: AuditLog) -> None:
    wsgi_app = app.wsgi_app

    def override(environ: Environ, start_response: Any) -> Iterable[bytes]:
        environ["REQUEST_METHOD"] = "DELETE"
        return wsgi_app(environ, start_response)

    app.wsgi_app = override  # type: ignore[method-assign]
    app.test_client().post("/customers/1")

    assert audit_log.records[0]["action"] == "DELETE"


def test_what_is_written_by_hand_is_counted(app: flask.Flask, audit_log: AuditLog) -> None:
    def writing(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        write = start_response("200 OK", [])
        write(b"abc")
        return [b"de"]

    app.wsgi_app = writing  # type: ignore[method-assign]
    sent: list[bytes] = []

    def start_response(*_: object) -> Callable[[bytes], None]:
        return sent.append

    app(create_environ("/"), start_response)

    assert sent == [b"abc"]
    assert audit_log.records[0]["context"]["http.response.body.size"] == 5


def test_without_a_pipeline_a_request_is_only_served(app: flask.Flask) -> None:
    from otel_audit.logger import installed

    assert installed() is None

    assert app.test_client().get("/customers/42").json == {"id": 42}


def _ignore(*_: object) -> Any:
    return None


def _status_or_error(app: flask.Flask) -> object:
    try:
        body, status, _ = run_wsgi_app(app, create_environ("/"), buffered=True)
    except Teapot as error:
        return type(error)
    return status, b"".join(body)
