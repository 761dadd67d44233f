"""Who a request is: whom somebody has verified, and never whom somebody claims to be."""

from __future__ import annotations

import base64
import importlib
from collections.abc import Iterator
from typing import Any

import flask
import pytest

import otel_audit
from otel_audit import Actor
from otel_audit.capture.redaction import keyed_hash
from otel_audit.testing import AuditLog, recording

# without type information, or with too little of it
flask_httpauth: Any = importlib.import_module("flask_httpauth")
flask_jwt_extended: Any = importlib.import_module("flask_jwt_extended")
flask_login: Any = importlib.import_module("flask_login")

pytestmark = pytest.mark.usefixtures("flask_audited")

BASIC_ALICE = "Basic " + base64.b64encode(b"alice:right").decode()
BASIC_MALLORY = "Basic " + base64.b64encode(b"mallory:wrong").decode()


class _User:
    """A flask-login user whose attributes, when they are asked for, would query."""

    is_anonymous = False
    is_active = True

    def __init__(self, user_id: str, loads: list[str]) -> None:
        self._id = user_id
        self._loads = loads

    @property
    def is_authenticated(self) -> bool:
        return True

    def get_id(self) -> str:
        self._loads.append("get_id")
        return self._id


class LoginApp:
    """An application with flask-login, and what it was made to load."""

    def __init__(self) -> None:
        self.loads: list[str] = []
        self.app = app = flask.Flask("login")
        app.secret_key = "k" * 32
        manager = flask_login.LoginManager(app)
        manager.login_view = "/sign-in"

        def load(user_id: str) -> _User:
            self.loads.append(user_id)
            return _User(user_id, self.loads)

        def load_by_key(request: flask.Request) -> _User | None:
            key = request.headers.get("X-Api-Key")
            return _User("robot", self.loads) if key == "right" else None

        manager.user_loader(load)
        manager.request_loader(load_by_key)

        @app.post("/login/<name>")
        def login(name: str) -> str:
            remember = bool(flask.request.args.get("remember"))
            flask_login.login_user(_User(name, self.loads), remember=remember)
            return "in"

        @app.get("/logout")
        def logout() -> str:
            flask_login.logout_user()
            return "out"

        @app.get("/confirm")
        def confirm() -> str:
            flask_login.confirm_login()
            return "confirmed"

        @app.get("/public")
        def public() -> str:
            return "public"

        @app.get("/emits")
        def emits() -> str:
            otel_audit.get_audit_logger("shop").emit("shop.looked", action="READ")
            return "emitted"

        app.add_url_rule("/private", "private", flask_login.login_required(emits))


@pytest.fixture
def login_app() -> LoginApp:
    return LoginApp()


def _actors(log: AuditLog) -> list[tuple[str, str, str | None]]:
    return [(record["event"], record["actor"]["id"], record["actor"].get("auth")) for record in log.records]


def test_a_sign_in_names_the_user_from_that_moment_on(login_app: LoginApp, audit_log: AuditLog) -> None:
    client = login_app.app.test_client()
    client.get("/emits")
    client.post("/login/alice")
    client.get("/private")

    assert _actors(audit_log) == [
        ("shop.looked", "anonymous", "none"),
        ("http.server.request", "anonymous", "none"),
        ("user.login", "alice", "session"),
        ("http.server.request", "alice", "session"),
        ("shop.looked", "alice", "session"),
        ("http.server.request", "alice", "session"),
    ]
    assert [record["action"] for record in audit_log.records][2] == "LOGIN"


def test_the_session_names_the_user_whom_nobody_has_loaded(login_app: LoginApp, audit_log: AuditLog) -> None:
    """Nothing is loaded on our account; the session is signed by the application, so its word is good."""
    client = login_app.app.test_client()
    client.post("/login/alice")
    login_app.loads.clear()

    client.get("/public")

    assert login_app.loads == []
    assert _actors(audit_log)[-1] == ("http.server.request", "alice", "session")


def test_looking_at_the_session_does_not_touch_it(plain_app: flask.Flask, audit_log: AuditLog) -> None:
    """A session that was accessed adds `Vary: Cookie` to the response, which caches heed."""
    plain_app.secret_key = "k" * 32
    vars(plain_app)["login_manager"] = object()  # flask-login's own after_request does touch the session

    @plain_app.get("/emits")
    def emits() -> str:
        otel_audit.get_audit_logger("shop").emit("shop.looked", action="READ")
        return "emitted"

    client = plain_app.test_client()
    with client.session_transaction() as session:
        session["_user_id"] = "alice"

    response = client.get("/emits")

    assert "Vary" not in response.headers
    assert _actors(audit_log) == [
        ("shop.looked", "alice", "session"),
        ("http.server.request", "alice", "session"),
    ]


def test_a_sign_out_is_still_the_users_request(login_app: LoginApp, audit_log: AuditLog) -> None:
    client = login_app.app.test_client()
    client.post("/login/alice")
    client.get("/logout")
    client.get("/public")

    assert _actors(audit_log)[2:] == [
        ("user.logout", "alice", "session"),
        ("http.server.request", "alice", "session"),
        ("http.server.request", "anonymous", "none"),
    ]
    assert audit_log.records[2]["action"] == "LOGOUT"


def test_signing_out_when_nobody_is_signed_in_is_no_event(login_app: LoginApp, audit_log: AuditLog) -> None:
    login_app.app.test_client().get("/logout")

    assert _actors(audit_log) == [("http.server.request", "anonymous", "none")]


def test_a_redirect_to_the_sign_in_page_is_an_access_denied(login_app: LoginApp, audit_log: AuditLog) -> None:
    response = login_app.app.test_client().get("/private")

    (record,) = audit_log.records
    assert response.status_code == 302
    assert (record["outcome"], record["context"]["audit.reason"]) == ("failure", "denied")


def test_who_is_sent_elsewhere_to_come_back_was_turned_away(login_app: LoginApp, audit_log: AuditLog) -> None:
    login_app.app.add_url_rule("/mine", "mine", lambda: flask.redirect("/enter?next=/mine"))
    login_app.app.test_client().get("/mine")

    (record,) = audit_log.records
    assert (record["outcome"], record["context"]["audit.reason"]) == ("failure", "denied")


def test_a_user_who_is_sent_elsewhere_to_come_back_was_let_in(login_app: LoginApp, audit_log: AuditLog) -> None:
    login_app.app.add_url_rule("/mine", "mine", lambda: flask.redirect("/confirm-password?next=/mine"))
    client = login_app.app.test_client()
    client.post("/login/alice")
    client.get("/mine")

    assert [record["outcome"] for record in audit_log.find(event="http.server.request")] == ["success", "success"]


def test_a_remember_me_cookie_signs_in_and_says_so(login_app: LoginApp, audit_log: AuditLog) -> None:
    client = login_app.app.test_client()
    client.post("/login/alice?remember=1")
    client.delete_cookie("session")
    client.get("/private")

    event = audit_log.find(event="user.login")[-1]
    assert (event["actor"]["id"], event["context"]["audit.reason"]) == ("alice", "remembered")
    assert _actors(audit_log)[-1] == ("http.server.request", "alice", "session")


def test_a_confirmed_sign_in_is_a_sign_in(login_app: LoginApp, audit_log: AuditLog) -> None:
    client = login_app.app.test_client()
    client.post("/login/alice")
    client.get("/confirm")

    event = audit_log.find(event="user.login")[-1]
    assert (event["actor"]["id"], event["context"]["audit.reason"]) == ("alice", "confirmed")


def test_a_user_found_by_a_request_loader_is_named(login_app: LoginApp, audit_log: AuditLog) -> None:
    login_app.app.test_client().get("/private", headers={"X-Api-Key": "right"})

    assert _actors(audit_log) == [("shop.looked", "robot", None), ("http.server.request", "robot", None)]


def test_another_context_inside_the_request_does_not_hide_the_user(
    login_app: LoginApp, audit_log: AuditLog
) -> None:
    app = login_app.app

    def nested() -> str:
        with app.test_request_context("/elsewhere"):
            otel_audit.get_audit_logger("shop").emit("shop.looked", action="READ")
        return "nested"

    app.add_url_rule("/nested", "nested", flask_login.login_required(nested))
    client = app.test_client()
    client.post("/login/alice")
    client.get("/nested")

    assert _actors(audit_log)[-2:] == [
        ("shop.looked", "alice", "session"),
        ("http.server.request", "alice", "session"),
    ]


def test_the_applications_word_outranks_the_session(login_app: LoginApp, audit_log: AuditLog) -> None:
    @login_app.app.get("/as")
    def impersonate() -> str:
        support = Actor("support-7", on_behalf_of=Actor("alice"))
        with otel_audit.acting_as(support):
            return "as"

    client = login_app.app.test_client()
    client.post("/login/alice")
    client.get("/as")

    actor = audit_log.records[-1]["actor"]
    assert (actor["id"], actor["auth"], actor["on_behalf_of"]["id"]) == ("support-7", "explicit", "alice")


def test_an_extension_that_left_something_unreadable_makes_the_actor_unknown(
    login_app: LoginApp, audit_log: AuditLog
) -> None:
    class Hostile:
        @property
        def is_anonymous(self) -> bool:
            raise RuntimeError("detached")

    @login_app.app.get("/hostile")
    def hostile() -> str:
        flask.g._login_user = Hostile()
        return "served"

    assert login_app.app.test_client().get("/hostile").text == "served"
    assert _actors(audit_log) == [("http.server.request", "unknown", None)]


@pytest.fixture
def http_auth_app() -> flask.Flask:
    app = flask.Flask("httpauth")
    basic = flask_httpauth.HTTPBasicAuth()
    token = flask_httpauth.HTTPTokenAuth(header="X-Token")
    bearer = flask_httpauth.HTTPTokenAuth()

    def verify(name: str, password: str) -> object:
        return password == "right" and name

    def roles(name: str) -> list[str]:
        return ["clerk"]

    def verify_token(value: str) -> object:
        return {"sub": "robot"} if value == "right" else None

    basic.verify_password(verify)
    basic.get_user_roles(roles)
    token.verify_token(verify_token)
    bearer.verify_token(verify_token)
    app.add_url_rule("/basic", "basic", basic.login_required(lambda: "basic"))
    app.add_url_rule("/admin", "admin", basic.login_required(role="admin")(lambda: "admin"))
    app.add_url_rule("/optional", "optional", basic.login_required(optional=True)(lambda: "optional"))
    app.add_url_rule("/token", "token", token.login_required(lambda: "token"))
    app.add_url_rule("/bearer", "bearer", bearer.login_required(lambda: "bearer"))
    app.add_url_rule("/open", "open", lambda: "open")
    return app


# path, headers, the events that follow: event, actor, auth
HTTP_AUTH: list[tuple[str, dict[str, str], list[tuple[str, str, str | None]]]] = [
    ("/basic", {"Authorization": BASIC_ALICE}, [("http.server.request", "alice", "basic")]),
    ("/basic", {}, [("http.server.request", "anonymous", "none")]),
    (
        "/basic",
        {"Authorization": BASIC_MALLORY},
        [("user.login_failed", "anonymous", "none"), ("http.server.request", "anonymous", "none")],
    ),
    ("/admin", {"Authorization": BASIC_ALICE}, [("http.server.request", "alice", "basic")]),
    ("/optional", {"Authorization": BASIC_ALICE}, [("http.server.request", "alice", "basic")]),
    ("/optional", {}, [("http.server.request", "anonymous", "none")]),
    (
        "/optional",
        {"Authorization": BASIC_MALLORY},
        [("user.login_failed", "anonymous", "none"), ("http.server.request", "anonymous", "none")],
    ),
    ("/token", {"X-Token": "right"}, [("http.server.request", "robot", "api-key")]),
    (
        "/token",
        {"X-Token": "wrong"},
        [("user.login_failed", "anonymous", "none"), ("http.server.request", "anonymous", "none")],
    ),
    ("/bearer", {"Authorization": "Bearer right"}, [("http.server.request", "robot", "bearer")]),
    ("/open", {"Authorization": BASIC_ALICE}, [("http.server.request", "anonymous", "none")]),
]


@pytest.mark.parametrize(("path", "headers", "expected"), HTTP_AUTH, ids=lambda value: str(value)[:40])
def test_flask_httpauth_decides_who_it_is(
    http_auth_app: flask.Flask,
    audit_log: AuditLog,
    path: str,
    headers: dict[str, str],
    expected: list[tuple[str, str, str | None]],
) -> None:
    http_auth_app.test_client().get(path, headers=headers)

    assert _actors(audit_log) == expected


def test_who_is_known_but_not_allowed_is_denied_by_name(http_auth_app: flask.Flask, audit_log: AuditLog) -> None:
    response = http_auth_app.test_client().get("/admin", headers={"Authorization": BASIC_ALICE})

    (record,) = audit_log.records
    assert response.status_code == 403
    assert (record["actor"]["id"], record["context"]["audit.reason"]) == ("alice", "denied")


def test_a_name_that_was_tried_is_hashed(http_auth_app: flask.Flask, audit_log: AuditLog) -> None:
    http_auth_app.test_client().get("/basic", headers={"Authorization": BASIC_MALLORY})

    failed, request = audit_log.records
    assert failed["context"] == {"audit.reason": "denied", "audit.actor.claimed": keyed_hash("mallory")}
    assert (failed["action"], failed["outcome"]) == ("LOGIN", "failure")
    assert request["context"]["audit.actor.claimed"] == keyed_hash("mallory")
    assert failed["trace_id"] == request["trace_id"]


def test_flask_httpauth_is_itself_again_afterwards(flask_audited: Any) -> None:
    audited = flask_httpauth.HTTPBasicAuth.authenticate
    flask_audited.uninstrument()

    assert flask_httpauth.HTTPBasicAuth.authenticate is audited.__wrapped__


@pytest.fixture
def jwt_app() -> flask.Flask:
    app = flask.Flask("jwt")
    app.config["JWT_SECRET_KEY"] = "k" * 32
    flask_jwt_extended.JWTManager(app)
    app.add_url_rule("/private", "private", flask_jwt_extended.jwt_required()(lambda: "private"))
    app.add_url_rule("/open", "open", lambda: "open")
    return app


def test_a_token_that_was_verified_names_its_subject(jwt_app: flask.Flask, audit_log: AuditLog) -> None:
    with jwt_app.app_context():
        token = flask_jwt_extended.create_access_token("alice")
    headers = {"Authorization": f"Bearer {token}"}
    jwt_app.test_client().get("/private", headers=headers)

    (record,) = audit_log.records
    assert record["actor"] == {"id": "alice", "type": "user", "auth": "bearer"}
    assert "audit.actor.claimed" not in record["context"]


def test_a_token_that_nobody_verified_is_a_claim(jwt_app: flask.Flask, audit_log: AuditLog) -> None:
    with jwt_app.app_context():
        token = flask_jwt_extended.create_access_token("alice")
    client = jwt_app.test_client()
    client.get("/open", headers={"Authorization": f"Bearer {token}"})
    client.get("/private", headers={"Authorization": f"Bearer {token[:-4]}AAAA"})

    for record in audit_log.records:
        assert record["actor"]["id"] == "anonymous"
        assert record["context"]["audit.actor.claimed"] == keyed_hash("alice")


@pytest.fixture
def plain_app() -> flask.Flask:
    app = flask.Flask("plain")
    app.add_url_rule("/", "index", lambda: "index")
    return app


def test_a_verified_client_certificate_names_its_subject(plain_app: flask.Flask, audit_log: AuditLog) -> None:
    environ = {"SSL_CLIENT_VERIFY": "SUCCESS", "SSL_CLIENT_S_DN": "CN=alice,O=Example"}
    plain_app.test_client().get("/", environ_overrides=environ)

    assert audit_log.records[0]["actor"] == {
        "id": "CN=alice,O=Example",
        "type": "user",
        "auth": "mtls",
        "name": "alice",
    }


@pytest.mark.parametrize(
    "forged",
    [
        {"HTTP_SSL_CLIENT_VERIFY": "SUCCESS", "HTTP_SSL_CLIENT_S_DN": "CN=alice"},
        {"SSL_CLIENT_VERIFY": "NONE", "SSL_CLIENT_S_DN": "CN=alice"},
        {"SSL_CLIENT_VERIFY": "FAILED:expired", "SSL_CLIENT_S_DN": "CN=alice"},
        {"REMOTE_USER": "alice"},
        {"HTTP_X_FORWARDED_USER": "alice"},
    ],
)
def test_what_no_server_has_verified_names_nobody(
    plain_app: flask.Flask, audit_log: AuditLog, forged: dict[str, str]
) -> None:
    plain_app.test_client().get("/", environ_overrides=forged)

    assert audit_log.records[0]["actor"]["id"] == "anonymous"


@pytest.fixture
def behind_a_proxy() -> Iterator[AuditLog]:
    with recording(OTEL_AUDIT_TRUSTED_PROXIES="10.0.0.0/8", OTEL_AUDIT_ACTOR_HEADER="X-Forwarded-User") as log:
        yield log


@pytest.mark.parametrize(
    ("peer", "header", "expected"),
    [
        ("10.0.0.1", "alice", ("alice", "proxy-header")),
        ("192.0.2.9", "alice", ("anonymous", "none")),
        ("10.0.0.1", "mallory,alice", ("unknown", None)),
        ("10.0.0.1", "", ("anonymous", "none")),
    ],
)
def test_only_a_trusted_proxy_names_the_user(
    plain_app: flask.Flask,
    behind_a_proxy: AuditLog,
    peer: str,
    header: str,
    expected: tuple[str, str | None],
) -> None:
    environ = {"REMOTE_ADDR": peer, "HTTP_X_FORWARDED_USER": header}
    plain_app.test_client().get("/", environ_overrides=environ)

    actor = behind_a_proxy.records[0]["actor"]
    assert (actor["id"], actor.get("auth")) == expected


def test_the_address_comes_through_a_trusted_proxy_and_no_further(
    plain_app: flask.Flask, behind_a_proxy: AuditLog
) -> None:
    headers = {"X-Forwarded-For": "203.0.113.66, 198.51.100.7"}
    plain_app.test_client().get("/", headers=headers, environ_overrides={"REMOTE_ADDR": "10.0.0.1"})

    (record,) = behind_a_proxy.records
    assert record["source"] == {"id": "198.51.100.7", "type": "ipv4"}
    assert record["context"]["network.peer.address"] == "10.0.0.1"
