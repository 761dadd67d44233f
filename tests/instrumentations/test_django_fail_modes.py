"""What happens to a Django request that cannot be recorded."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.test import Client
from werkzeug.test import create_environ, run_wsgi_app

from otel_audit.errors import RecordingFailed
from tests.instrumentations.asgi_exchange import exchange
from tests.instrumentations.faulty_pipeline import FaultyPipeline, every_event

pytestmark = pytest.mark.usefixtures("django_audited")


def _by_wsgi(path: str) -> tuple[int, bytes, dict[str, str]]:
    environ = create_environ(path, base_url="http://testserver")
    body, status, headers = run_wsgi_app(WSGIHandler(), environ, buffered=True)
    return int(status[:3]), b"".join(body), {name.lower(): value for name, value in headers}


def _by_asgi(path: str) -> tuple[int, bytes, dict[str, str]]:
    found = asyncio.run(exchange(ASGIHandler(), "GET", path))
    assert found.status is not None
    return found.status, found.body, found.headers


def _by_client(path: str) -> tuple[int, bytes, dict[str, str]]:
    response: Any = Client().get(path)
    return response.status_code, response.content, {name.lower(): value for name, value in response.headers.items()}


DOORS = pytest.mark.parametrize("ask", [_by_wsgi, _by_asgi, _by_client])


@DOORS
def test_without_room_the_application_is_not_called(pipeline: FaultyPipeline, ask: Any) -> None:
    pipeline.has_room = False

    status, _, headers = ask("/bug")  # which would raise

    assert status == 503
    assert int(headers["retry-after"]) > 0
    assert pipeline.reserved == 0


@DOORS
def test_an_unrecorded_response_is_replaced_and_gives_nothing_away(pipeline: FaultyPipeline, ask: Any) -> None:
    pipeline.failing = every_event

    status, body, headers = ask("/cookie")

    assert (status, "set-cookie" in headers) == (503, False)
    assert b"treasure" not in body
    assert pipeline.reserved == 0


def test_a_stream_that_has_begun_is_aborted(pipeline: FaultyPipeline) -> None:
    pipeline.failing = lambda event: event.event == "http.server.request"

    with pytest.raises(RecordingFailed):
        _by_asgi("/async-stream")
    assert pipeline.reserved == 0


def test_a_sign_in_that_cannot_be_recorded_does_not_happen(pipeline: FaultyPipeline, alice: Any) -> None:
    pipeline.failing = lambda event: event.event == "user.login"

    client = Client(raise_request_exception=False)
    response: Any = client.post("/sign-in", {"username": "alice", "password": "right"})

    assert response.status_code == 503
    pipeline.failing = lambda event: False
    assert client.get("/whoami").content == b"nobody"


@DOORS
def test_an_unforeseen_fault_refuses_in_closed_mode(pipeline: FaultyPipeline, ask: Any) -> None:
    pipeline.failing = every_event
    pipeline.error = ZeroDivisionError("with a secret")

    assert ask("/old")[0] == 503


@DOORS
@pytest.mark.parametrize("path", ["/old", "/denied/403", "/whoami", "/nothing"])
def test_recorded_requests_give_their_room_back(pipeline: FaultyPipeline, ask: Any, path: str) -> None:
    ask(path)

    assert pipeline.reserved == 0
    assert len([event for event in pipeline.events if event.event == "http.server.request"]) == 1


@DOORS
def test_a_fault_in_open_mode_is_said_once_a_minute_and_breaks_nothing(
    pipeline: FaultyPipeline, caplog: pytest.LogCaptureFixture, ask: Any
) -> None:
    pipeline.is_closed = False
    pipeline.failing = every_event
    pipeline.error = ZeroDivisionError("with a secret")
    with caplog.at_level(logging.ERROR, "otel_audit"):
        assert [ask("/cookie")[1] for _ in range(3)] == [b"treasure"] * 3

    ours = [record for record in caplog.records if record.name == "otel_audit"]
    assert len(ours) == 1
    assert "ZeroDivisionError" in caplog.text
    assert "secret" not in caplog.text
