"""Secrets planted wherever a Django request can carry one are found in no record and in no line of our log."""

from __future__ import annotations

import base64
import logging
from typing import Any, TypeAlias

import pytest
from django.test import Client

from otel_audit.testing import AuditLog

pytestmark = pytest.mark.usefixtures("django_audited", "alice")

SECRET = "hunter2-Tr0ub4dor"
TOKEN = "Zk3TqW9xLr8mVb2NcY7pHs5d"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJzZWNyZXQtc3ViamVjdCJ9.c2lnbmF0dXJlLXNlY3JldA"
EMAIL = "carol.secret@example.org"
BASIC = "Basic " + base64.b64encode(f"{SECRET}:{SECRET}".encode()).decode()

# method, path, headers, arguments of the test client
Planted: TypeAlias = tuple[str, str, dict[str, str], dict[str, Any]]
REQUESTS: list[Planted] = [
    ("GET", f"/people/7?password={SECRET}&{SECRET}", {}, {}),
    ("GET", "/whoami", {"cookie": f"sessionid={TOKEN}; other={SECRET}", "x-api-key": SECRET}, {}),
    ("GET", "/session-only", {"cookie": f"sessionid={TOKEN}", "referer": f"/?{SECRET}"}, {}),
    ("GET", "/people/7", {"authorization": BASIC}, {}),
    ("GET", "/people/7", {"authorization": f"Bearer {JWT}"}, {}),
    ("GET", "/people/7", {"authorization": SECRET, "host": f"{SECRET}/@{SECRET}"}, {}),
    ("GET", "/people/7", {"traceparent": SECRET, "x-forwarded-for": SECRET, "forwarded": SECRET}, {}),
    ("GET", "/api", {"authorization": BASIC}, {}),
    ("GET", "/api", {"authorization": f"Token {TOKEN}"}, {}),
    ("POST", "/form", {}, {"data": {"name": SECRET, "password": SECRET}}),
    ("POST", "/sign-in", {}, {"data": {"username": SECRET, "password": SECRET}}),
    ("POST", "/sign-in", {}, {"data": {"username": "alice", "password": SECRET}}),
    ("POST", "/admin/login/", {}, {"data": {"username": EMAIL, "password": SECRET}}),
    ("POST", "/customers", {}, {"data": {"password": SECRET}, "content_type": "application/json"}),
    ("GET", f"/reset/{SECRET}", {}, {}),
    ("GET", f"/reset/{TOKEN}", {}, {}),
    ("GET", f"/reset/{JWT}", {}, {}),
    ("GET", f"/people/{EMAIL}", {}, {}),
    ("GET", f"/people/{TOKEN}", {}, {}),
    ("GET", f"/people/{JWT}", {}, {}),
    ("GET", f"/nothing/{JWT}/{TOKEN}/{EMAIL}", {}, {}),
    ("GET", f"/raise/{SECRET}", {}, {}),
    (SECRET.upper(), "/people/7", {}, {}),
]


@pytest.mark.parametrize("planted", REQUESTS)
def test_a_planted_secret_is_nowhere(
    audit_log: AuditLog, caplog: pytest.LogCaptureFixture, planted: Planted
) -> None:
    method, path, headers, arguments = planted
    client = Client(raise_request_exception=False, headers=headers)
    with caplog.at_level(logging.DEBUG, "otel_audit"):
        if arguments:
            client.post(path, **arguments)
        else:
            client.generic(method, path)

    assert audit_log.find(event="http.server.request")
    said = b"\n".join(audit_log.bodies).decode()
    said += "\n".join(record.getMessage() for record in caplog.records if record.name.startswith("otel_audit"))
    if path.startswith("/raise/"):
        # a path is not a secret unless it looks like one, or its parameter says so: the message is
        said = said.replace(path, "")
    for secret in (SECRET, TOKEN, JWT, EMAIL, "secret-subject", BASIC.split()[1], JWT.split(".")[1]):
        assert secret.lower() not in said.lower()
