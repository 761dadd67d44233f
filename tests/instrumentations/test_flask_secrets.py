"""Secrets planted wherever a request can carry one are found in no record and in no line of our log."""

from __future__ import annotations

import base64
import importlib
import logging
from typing import Any, NoReturn, TypeAlias

import flask
import pytest

from otel_audit.testing import AuditLog

flask_httpauth: Any = importlib.import_module("flask_httpauth")  # without type information

pytestmark = pytest.mark.usefixtures("flask_audited")

SECRET = "hunter2-Tr0ub4dor"
TOKEN = "Zk3TqW9xLr8mVb2NcY7pHs5d"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQtc3ViamVjdCJ9.c2lnbmF0dXJlLXNlY3JldA"
EMAIL = "carol.secret@example.org"
BASIC = "Basic " + base64.b64encode(f"{SECRET}:{SECRET}".encode()).decode()


@pytest.fixture
def app() -> flask.Flask:
    app = flask.Flask("shop")
    app.secret_key = SECRET
    auth = flask_httpauth.HTTPBasicAuth()

    def refuse(name: str, password: str) -> None:
        return None

    auth.verify_password(refuse)

    @app.route("/form", methods=["POST"])
    def form() -> str:
        assert flask.request.form["password"] == SECRET
        return SECRET

    @app.post("/json")
    def json() -> Any:
        return flask.request.get_json()

    @app.get("/reset/<token>")
    def reset(token: str) -> str:
        return "ok"

    @app.get("/people/<who>")
    def people(who: str) -> str:
        return "ok"

    @app.get("/bug")
    def bug() -> NoReturn:
        raise ValueError(SECRET)

    @app.get("/session")
    def session() -> str:
        flask.session["password"] = SECRET
        return "ok"

    app.add_url_rule("/basic", "basic", auth.login_required(lambda: "basic"))
    return app


# method, path, headers, arguments of the test client
Planted: TypeAlias = tuple[str, str, dict[str, str], dict[str, Any]]
REQUESTS: list[Planted] = [
    ("GET", f"/people/7?password={SECRET}&{SECRET}", {}, {}),
    ("GET", "/people/7", {"Cookie": f"session={SECRET}", "X-Api-Key": SECRET, "Referer": f"/?{SECRET}"}, {}),
    ("GET", "/people/7", {"Authorization": BASIC}, {}),
    ("GET", "/people/7", {"Authorization": f"Bearer {JWT}"}, {}),
    ("GET", "/people/7", {"Authorization": SECRET, "Host": f"{SECRET}/@{SECRET}"}, {}),
    ("GET", "/people/7", {"traceparent": SECRET, "X-Forwarded-For": SECRET, "Forwarded": SECRET}, {}),
    ("GET", "/basic", {"Authorization": BASIC}, {}),
    ("POST", "/form", {}, {"data": {"password": SECRET}}),
    ("POST", "/json", {}, {"json": {"password": SECRET}}),
    ("GET", f"/reset/{SECRET}", {}, {}),
    ("GET", f"/reset/{TOKEN}", {}, {}),
    ("GET", f"/reset/{JWT}", {}, {}),
    ("GET", f"/people/{EMAIL}", {}, {}),
    ("GET", f"/people/{TOKEN}", {}, {}),
    ("GET", f"/people/{JWT}", {}, {}),
    ("GET", f"/nothing/{JWT}/{TOKEN}/{EMAIL}", {}, {}),
    ("GET", "/bug", {}, {}),
    ("GET", "/session", {}, {}),
    (SECRET.upper(), "/people/7", {}, {}),
]


@pytest.mark.parametrize("planted", REQUESTS)
def test_a_planted_secret_is_nowhere(
    app: flask.Flask, audit_log: AuditLog, caplog: pytest.LogCaptureFixture, planted: Planted
) -> None:
    method, path, headers, arguments = planted
    with caplog.at_level(logging.DEBUG, "otel_audit"):
        app.test_client().open(path, method=method, headers=headers, **arguments).get_data()

    assert audit_log.find(event="http.server.request")
    said = b"\n".join(audit_log.bodies).decode()
    said += "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("otel_audit"))
    for secret in (SECRET, TOKEN, JWT, EMAIL, "secret-subject", BASIC.split()[1], JWT.split(".")[1]):
        assert secret.lower() not in said.lower()
