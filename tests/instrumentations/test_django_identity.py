"""Who a Django request is: whom somebody has verified, read without a query and without touching the session."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest
from django.db import connection
from django.test import AsyncClient, Client, override_settings
from django.test.utils import CaptureQueriesContext

from otel_audit.capture.redaction import keyed_hash
from otel_audit.testing import AuditLog, recording

pytestmark = pytest.mark.usefixtures("django_audited")

PLAIN = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
ANONYMOUS = {"id": "anonymous", "type": "user", "auth": "none"}


def _basic(name: str, password: str) -> dict[str, str]:
    return {"authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


@pytest.fixture
def client(alice: Any) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(alice)
    return client


@pytest.fixture
def log(client: Client) -> Any:
    """A log that begins when all is prepared."""
    with recording() as log:
        yield log


def _of(user: Any, auth: str = "session") -> dict[str, str]:
    return {"id": str(user.pk), "type": "user", "auth": auth, "name": user.username}


def _request(log: AuditLog) -> Any:
    return log.find(event="http.server.request")[-1]


def test_a_signed_in_user_is_the_actor(client: Client, log: AuditLog, alice: Any) -> None:
    assert client.get("/whoami").content == b"alice"

    assert _request(log)["actor"] == _of(alice)


def test_an_asynchronous_view_has_the_same_actor(log: AuditLog, alice: Any) -> None:
    async def ask(client: AsyncClient) -> bytes:
        response: Any = await client.get("/async-whoami")
        content: bytes = response.content
        return content

    client = AsyncClient()
    client.force_login(alice)
    assert asyncio.run(ask(client)) == b"alice"
    assert _request(log)["actor"] == _of(alice)


@override_settings(MIDDLEWARE=PLAIN)
def test_a_user_that_nobody_loaded_is_the_sessions_and_costs_no_query(
    client: Client, log: AuditLog, alice: Any, django_audited: Any
) -> None:
    with CaptureQueriesContext(connection) as queries:
        client.get("/session-only")
    django_audited.uninstrument()
    with CaptureQueriesContext(connection) as queries_without:
        client.get("/session-only")

    assert len(queries) == len(queries_without)
    assert len(queries) == 1  # the session's
    assert _request(log)["actor"] == {"id": str(alice.pk), "type": "user", "auth": "session"}


def test_a_session_that_nobody_opened_stays_shut_and_its_user_unknown(client: Client, log: AuditLog) -> None:
    with CaptureQueriesContext(connection) as queries:
        response = client.get("/public")

    assert len(queries) == 0
    assert "Vary" not in response.headers or "Cookie" not in response.headers["Vary"]
    assert _request(log)["actor"] == {"id": "unknown", "type": "user"}


def test_without_a_session_a_request_is_anonymous(log: AuditLog) -> None:
    for path in ("/public", "/whoami", "/session-only"):
        Client().get(path)
        assert _request(log)["actor"] == ANONYMOUS


def test_responses_are_the_same_with_and_without_audit(client: Client, log: AuditLog, django_audited: Any) -> None:
    def headers() -> list[Any]:
        return [
            sorted(client.get(path).headers.items())
            for path in ("/public", "/session-only", "/whoami", "/private", "/api")
        ]

    audited = headers()
    django_audited.uninstrument()

    assert headers() == audited


def test_the_application_s_word_outranks_the_session(client: Client, log: AuditLog) -> None:
    client.get("/acting")

    assert _request(log)["actor"] == {"id": "robot", "type": "service", "auth": "explicit"}


def test_a_sign_in_is_an_event_and_its_request_the_user_s(log: AuditLog, alice: Any) -> None:
    Client().post("/sign-in", {"username": "alice", "password": "right"})

    login = log.assert_audited(event="user.login", action="LOGIN", outcome="success", count=1)
    assert login["actor"] == _request(log)["actor"] == _of(alice)
    assert login["trace_id"] == _request(log)["trace_id"]
    assert login["source"] == {"id": "127.0.0.1", "type": "ipv4"}


def test_a_sign_out_is_an_event_and_its_request_still_the_user_s(client: Client, log: AuditLog, alice: Any) -> None:
    client.get("/sign-out")

    logout = log.assert_audited(event="user.logout", action="LOGOUT", outcome="success", count=1)
    assert logout["actor"] == _request(log)["actor"] == _of(alice)


def test_a_failed_sign_in_names_nobody_and_hashes_what_was_tried(log: AuditLog) -> None:
    Client().post("/sign-in", {"username": "hunter2", "password": "hunter2"})

    failed = log.assert_audited(event="user.login_failed", action="LOGIN", outcome="failure", count=1)
    assert failed["actor"] == ANONYMOUS
    assert failed["context"] == {"audit.reason": "denied", "audit.actor.claimed": keyed_hash("hunter2")}
    assert "hunter2" not in str(log.bodies)


def test_the_admin_s_own_sign_in_is_an_event(log: AuditLog, alice: Any) -> None:
    alice.is_staff = True
    alice.save()
    response = Client().post("/admin/login/?next=/admin/", {"username": "alice", "password": "right"})

    assert response.status_code == 302
    log.assert_audited(event="user.login", actor=str(alice.pk), count=1)


def test_a_page_that_asks_to_sign_in_has_denied_the_request(log: AuditLog) -> None:
    for path in ("/private", "/admin/"):
        assert Client().get(path).status_code == 302
        record = _request(log)
        assert (record["outcome"], record["context"]["audit.reason"]) == ("failure", "denied")


def test_basic_authentication_of_rest_framework_is_basic(log: AuditLog, alice: Any) -> None:
    assert Client().get("/api", headers=_basic("alice", "right")).status_code == 200

    record = _request(log)
    assert record["actor"] == _of(alice, "basic")
    assert "audit.actor.claimed" not in record["context"]


def test_a_token_of_rest_framework_is_bearer(log: AuditLog, alice: Any) -> None:
    from rest_framework.authtoken.models import Token

    token: Any = Token.objects.create(user=alice)
    assert Client().get("/api", headers={"authorization": f"Token {token.key}"}).status_code == 200

    assert _request(log)["actor"] == _of(alice, "bearer")
    assert token.key not in str(log.bodies)


def test_a_session_of_rest_framework_is_a_session(client: Client, log: AuditLog, alice: Any) -> None:
    assert client.get("/api").status_code == 200

    assert _request(log)["actor"] == _of(alice)


@pytest.mark.parametrize("headers", [_basic("alice", "hunter2"), {"authorization": "Token 0123456789hunter2"}])
def test_a_refused_credential_is_one_failed_sign_in(log: AuditLog, headers: dict[str, str]) -> None:
    assert Client().get("/api", headers=headers).status_code == 401

    log.assert_audited(event="user.login_failed", outcome="failure", count=1)
    assert _request(log)["actor"] == ANONYMOUS
    assert _request(log)["context"]["audit.reason"] == "denied"
    assert "hunter2" not in str(log.bodies)


def test_no_credential_is_a_denial_and_no_failed_sign_in(log: AuditLog) -> None:
    assert Client().get("/api").status_code == 401

    log.assert_audited(event="user.login_failed", count=0)


def test_an_impersonator_keeps_both_identities(log: AuditLog, alice: Any, root: Any) -> None:
    """django-hijack: the session becomes the other's, and nobody else's word says whose it was."""
    client = Client()
    client.force_login(root)
    assert client.post("/hijack/acquire/", {"user_pk": alice.pk}).status_code == 302
    began = _request(log)
    assert client.get("/whoami").content == b"alice"
    during = _request(log)
    client.get("/session-only")
    untouched = _request(log)
    assert client.post("/hijack/release/").status_code == 302
    client.get("/whoami")

    for record in (began, during, untouched):
        assert record["actor"]["id"] == str(root.pk)
        assert record["actor"]["on_behalf_of"]["id"] == str(alice.pk)
    _, login = log.find(event="user.login", actor=str(root.pk))
    assert login["actor"]["on_behalf_of"] == {"id": str(alice.pk), "type": "user", "name": "alice"}
    assert login["context"] == {"audit.reason": "impersonation"}
    assert log.find(event="user.login", actor=str(alice.pk)) == []
    log.assert_audited(event="user.logout", actor=str(root.pk), count=1)
    assert _request(log)["actor"] == _of(root)


def test_a_header_s_name_is_believed_from_a_trusted_proxy_alone(client: Client) -> None:
    with recording(OTEL_AUDIT_ACTOR_HEADER="X-User", OTEL_AUDIT_TRUSTED_PROXIES="127.0.0.1/32") as log:
        Client().get("/public", headers={"x-user": "carol"})
        Client(REMOTE_ADDR="203.0.113.9").get("/public", headers={"x-user": "carol"})

    assert [record["actor"]["id"] for record in log.records] == ["carol", "anonymous"]
    assert log.records[0]["actor"]["auth"] == "proxy-header"


def test_queries_before_the_user_is_known_do_not_name_anybody(client: Client, log: AuditLog) -> None:
    from otel_audit_sqlite3 import SQLite3AuditInstrumentor

    instrumentor = SQLite3AuditInstrumentor()
    connection.close()
    instrumentor.instrument()
    try:
        client.get("/whoami")
    finally:
        instrumentor.uninstrument()
        connection.close()

    queries = [record for record in log.find(event="db.query") if "django_session" in record["target"]["id"]]
    assert queries[0]["actor"]["id"] == "unknown"
    assert {record["trace_id"] for record in log.records} == {_request(log)["trace_id"]}


@override_settings(SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies")
def test_a_signed_cookie_s_user_is_known_once_it_was_opened(alice: Any) -> None:
    client = Client()
    client.force_login(alice)
    with recording() as log:
        client.get("/session-only")

    assert _request(log)["actor"]["id"] == str(alice.pk)
