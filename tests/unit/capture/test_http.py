"""What a web access is, whatever framework serves it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from otel_audit.capture.http import HttpCaptureConfig, HttpScope, action_of, configure_http, error_type, outcome_of
from otel_audit.capture.redaction import keyed_hash
from otel_audit.event import ANONYMOUS, Actor, AuditEvent

VARIABLES = {
    "REQUEST_METHOD": "GET",
    "REMOTE_ADDR": "192.0.2.1",
    "HTTP_HOST": "Shop.example:8443",
    "HTTP_USER_AGENT": "test/1",
    "wsgi.url_scheme": "https",
}


@pytest.fixture(autouse=True)
def plain() -> Iterator[None]:
    yield
    configure_http(HttpCaptureConfig())


def _event(path: str = "/customers/42", actor: Actor = ANONYMOUS, **members: Any) -> AuditEvent:
    variables = VARIABLES | members.pop("variables", {})
    scope = HttpScope(variables.get, path=path)
    scope.status = 200
    for name, value in members.items():
        setattr(scope, name, value)
    return scope.event(actor)


def _context(event: AuditEvent) -> dict[str, Any]:
    assert event.context is not None
    return {name: value for name, value in event.context.items() if name != "http.server.request.duration_us"}


def test_a_request_is_told_in_the_words_of_the_semantic_conventions() -> None:
    event = _event(route="/customers/<id>", size=10)

    assert _context(event) == {
        "http.request.method": "GET",
        "url.path": "/customers/42",
        "http.route": "/customers/<id>",
        "url.scheme": "https",
        "http.response.status_code": 200,
        "http.response.body.size": 10,
        "user_agent.original": "test/1",
        "client.address": "192.0.2.1",
        "server.address": "shop.example",
    }
    assert (event.event, event.action, event.outcome) == ("http.server.request", "READ", "success")


@pytest.mark.parametrize(
    ("method", "action"),
    [
        ("GET", "READ"),
        ("HEAD", "READ"),
        ("OPTIONS", "READ"),
        ("TRACE", "READ"),
        ("POST", "CREATE"),
        ("PUT", "UPDATE"),
        ("PATCH", "UPDATE"),
        ("DELETE", "DELETE"),
        ("PROPFIND", "READ"),
        ("CONNECT", "EXECUTE"),
        ("BREW", "EXECUTE"),
        ("get", "EXECUTE"),
        ("", "EXECUTE"),
    ],
)
def test_a_method_says_what_is_done(method: str, action: str) -> None:
    assert action_of(method) == action
    assert _event(variables={"REQUEST_METHOD": method}).action == action


@pytest.mark.parametrize(
    ("status", "outcome", "reason", "error"),
    [
        (101, "success", None, None),
        (200, "success", None, None),
        (304, "success", None, None),
        (400, "failure", None, None),
        (401, "failure", "denied", None),
        (403, "failure", "denied", None),
        (404, "failure", None, None),
        (429, "failure", None, None),
        (500, "failure", None, "500"),
        (503, "failure", None, "503"),
    ],
)
def test_a_status_says_how_it_ended(status: int, outcome: str, reason: str | None, error: str | None) -> None:
    event = _event(status=status)
    context = _context(event)

    assert (event.outcome, context.get("audit.reason"), context.get("error.type")) == (outcome, reason, error)
    assert outcome_of(status) == outcome


def test_a_response_that_never_began_has_an_unknown_outcome() -> None:
    assert _event(status=None).outcome == "unknown"


def test_an_error_is_its_class_and_never_its_message() -> None:
    class Local(Exception):  # noqa: N818 - a foreign application's
        pass

    assert error_type(ValueError("secret")) == "ValueError"
    assert error_type(Local("secret")).endswith("test_an_error_is_its_class_and_never_its_message.<locals>.Local")


def test_a_parameter_that_is_named_as_a_secret_is_hashed_whatever_it_looks_like() -> None:
    event = _event("/reset/1234/confirm", secrets=("1234",), literals=frozenset({"reset", "confirm"}))

    assert event.target is not None
    assert event.target.id == _context(event)["url.path"] == f"/reset/{keyed_hash('1234')}/confirm"


def test_a_secret_that_stands_otherwise_in_the_path_hides_the_path() -> None:
    """A converter may have changed it: what stands for it is not known, so the route must do."""
    event = _event("/reset/ABCD", secrets=("abcd",), route="/reset/<token>")

    assert event.target is not None
    assert event.target.id == "/reset/<token>"


def test_hostile_lengths_are_bounded() -> None:
    event = _event("/a" * 50_000, variables={"HTTP_USER_AGENT": "u" * 50_000})

    assert event.target is not None
    assert len(event.target.id) <= 2048
    assert len(_context(event)["user_agent.original"]) == 512


def test_a_claim_stands_beside_an_actor_that_was_verified_otherwise() -> None:
    variables = {"HTTP_AUTHORIZATION": "Basic YWxpY2U6eA=="}

    for actor in (ANONYMOUS, Actor("bob", "user", "session")):
        claimed = _context(_event(actor=actor, variables=variables))["audit.actor.claimed"]
        assert claimed == keyed_hash("alice")
    assert "audit.actor.claimed" not in _context(_event(actor=Actor("alice", auth="basic"), variables=variables))


def test_configuration_holds_for_requests_that_begin_after_it() -> None:
    import ipaddress

    configure_http(HttpCaptureConfig((ipaddress.ip_network("192.0.2.0/24"),)))

    event = _event(variables={"HTTP_X_FORWARDED_FOR": "198.51.100.7"})

    assert event.source is not None
    assert event.source.id == _context(event)["client.address"] == "198.51.100.7"
    assert _context(event)["network.peer.address"] == "192.0.2.1"


def test_ids_come_from_the_caller_the_span_or_nowhere_and_do_not_change() -> None:
    scope = HttpScope(
        (VARIABLES | {"HTTP_TRACEPARENT": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}).get, path="/"
    )
    first = scope.trace_id, scope.span_id
    assert first == (scope.trace_id, scope.span_id)
    assert first[0] == "0af7651916cd43dd8448eb211c80319c"

    scope.adopt_ids(("1" * 32, "2" * 16))

    event = scope.event(ANONYMOUS)
    assert (event.trace_id, event.span_id) == (scope.trace_id, scope.span_id) == ("1" * 32, "2" * 16)
