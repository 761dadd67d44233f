"""Which event a Django request makes: one, whatever happens to it."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client

from otel_audit.testing import AuditLog
from tests.instrumentations.request_table import TABLE, Expected, check

pytestmark = pytest.mark.usefixtures("django_audited")


@pytest.fixture
def client() -> Client:
    return Client(raise_request_exception=False)


def _body(response: Any) -> bytes:
    return b"".join(response.streaming_content) if response.streaming else response.content


@pytest.mark.parametrize("expected", TABLE, ids=str)
def test_a_request_is_one_event(client: Client, audit_log: AuditLog, expected: Expected) -> None:
    response = client.generic(expected.method, expected.path)

    check(expected, audit_log, len(_body(response)))
