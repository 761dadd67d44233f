"""Requests and expected events: what every framework's instrumentation makes of the same application."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from otel_audit.testing import AuditLog


@dataclass(frozen=True)
class Expected:
    """One request, and the members of its event."""

    method: str
    path: str
    action: str
    outcome: str
    target: str
    status: int
    route: str | None
    said: str | None = None
    """`error.type`, else `audit.reason`; `Teapot` for the application's own exception."""
    unmatched_route: bool = False
    """Whether a framework may answer before it has matched a route (405)."""

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


CUSTOMER = "/customers/<int:number>"
DENIED = "/denied/<int:status>"
TABLE = [
    Expected("GET", "/customers/42", "READ", "success", "/customers/42", 200, CUSTOMER),
    Expected("HEAD", "/customers/42", "READ", "success", "/customers/42", 200, CUSTOMER),
    Expected("OPTIONS", "/customers/42", "READ", "success", "/customers/42", 200, CUSTOMER),
    Expected("POST", "/customers", "CREATE", "success", "/customers", 201, "/customers"),
    Expected("PUT", "/customers/42", "UPDATE", "success", "/customers/42", 204, CUSTOMER),
    Expected("PATCH", "/customers/42", "UPDATE", "success", "/customers/42", 204, CUSTOMER),
    Expected("DELETE", "/customers/42", "DELETE", "success", "/customers/42", 204, CUSTOMER),
    Expected("GET", "/customers/42?q=secret", "READ", "success", "/customers/42", 200, CUSTOMER),
    Expected("GET", "/old", "READ", "success", "/old", 302, "/old"),
    Expected("GET", "/nothing", "READ", "failure", "/nothing", 404, None),
    Expected("POST", "/old", "CREATE", "failure", "/old", 405, "/old", unmatched_route=True),
    Expected("BREW", "/old", "EXECUTE", "failure", "/old", 405, "/old", unmatched_route=True),
    Expected("GET", "/denied/401", "READ", "failure", "/denied/401", 401, DENIED, "denied"),
    Expected("GET", "/denied/403", "READ", "failure", "/denied/403", 403, DENIED, "denied"),
    Expected("GET", "/bug", "READ", "failure", "/bug", 500, "/bug", "Teapot"),
    Expected("GET", "/handled", "READ", "failure", "/handled", 410, "/handled"),
    Expected("GET", "/unavailable", "READ", "failure", "/unavailable", 503, "/unavailable", "503"),
    Expected("GET", "/stream", "READ", "success", "/stream", 200, "/stream"),
    Expected("HEAD", "/stream", "READ", "success", "/stream", 200, "/stream"),
    Expected("GET", "/static/style.css", "READ", "success", "/static/style.css", 200, "/static/<path:filename>"),
]


def check(expected: Expected, log: AuditLog, size: int) -> None:
    """Assert that *log* holds the event of *expected* alone, whose response had a body of *size* bytes."""
    (record,) = log.find(event="http.server.request")
    context: dict[str, Any] = record["context"]
    said: str | None = context.get("error.type") or context.get("audit.reason")
    route = context.get("http.route")
    if expected.unmatched_route and route is None:
        route = expected.route
    assert (
        record["action"],
        record["outcome"],
        record["target"],
        context["http.response.status_code"],
        route,
        said.rpartition(".")[2] if said else None,
        context["http.response.body.size"],
    ) == (
        expected.action,
        expected.outcome,
        {"id": expected.target, "type": "http.endpoint"},
        expected.status,
        expected.route,
        expected.said,
        size,
    )
    assert record["actor"] == {"id": "anonymous", "type": "user", "auth": "none"}
    assert record["source"] == {"id": "127.0.0.1", "type": "ipv4"}
    assert context["http.request.method"] == (expected.method if expected.method != "BREW" else "_OTHER")
    assert context["http.server.request.duration_us"] >= 0
    assert len(record["trace_id"]) == 32
    assert "secret" not in str(record)
