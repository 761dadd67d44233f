"""An application that shuts its log down and serves on: in fail mode `closed` it does no work that nobody sees."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from pathlib import Path

import flask
import pytest

import otel_audit
from otel_audit.logger import install
from otel_audit.settings import Settings
from tests.instrumentations.asgi_exchange import exchange

Ask = Callable[[], int]


@pytest.fixture(params=["flask", "django by WSGI", "django by ASGI", "django by its client"])
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ask]:
    """Ask an audited application; it answers with a status."""
    if request.param == "flask":
        request.getfixturevalue("flask_audited")
        app = flask.Flask("shop")
        app.add_url_rule("/plain", view_func=lambda: "a secret")
        asking: Ask = lambda: app.test_client().get("/plain").status_code  # noqa: E731 - one of four
    else:
        request.getfixturevalue("django_audited")
        asking = _django(request.param)
    previous = install(None)
    yield asking
    otel_audit.shutdown()
    install(previous)


def _django(door: str) -> Ask:
    from django.core.handlers.asgi import ASGIHandler
    from django.core.handlers.wsgi import WSGIHandler
    from django.test import Client
    from werkzeug.test import create_environ, run_wsgi_app

    def by_wsgi() -> int:
        return int(
            run_wsgi_app(WSGIHandler(), create_environ("/cookie", base_url="http://testserver"))[1].split()[0]
        )

    def by_asgi() -> int:
        return asyncio.run(exchange(ASGIHandler(), "GET", "/cookie")).status or 0

    def by_client() -> int:
        return int(Client().get("/cookie").status_code)

    return {"django by WSGI": by_wsgi, "django by ASGI": by_asgi}.get(door, by_client)


def configure(tmp_path: Path, fail_mode: str) -> None:
    """Make this process audit."""
    state = {"OTEL_SERVICE_NAME": "shop", "OTEL_AUDIT_DIR": str(tmp_path / "state")}
    otel_audit.configure(
        Settings.from_environ({**state, "OTEL_AUDIT_SPOOL_RESERVE": "1MiB", "OTEL_AUDIT_FAIL_MODE": fail_mode})
    )


def test_in_fail_mode_closed_requests_are_refused_after_shutdown_until_it_is_configured_again(
    ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure(tmp_path, "closed")
    assert ask() == 200

    otel_audit.shutdown()
    otel_audit.shutdown()

    assert [ask(), ask()] == [503, 503]
    assert caplog.text.count("requests still come: they are refused") == 1

    configure(tmp_path, "closed")
    assert ask() == 200


def test_in_fail_mode_open_requests_go_on_after_shutdown_and_the_log_says_so_once(
    ask: Ask, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    configure(tmp_path, "open")

    with caplog.at_level(logging.ERROR, "otel_audit"):
        otel_audit.shutdown()
        assert [ask(), ask()] == [200, 200]

    assert caplog.text.count("requests still come: they are NOT AUDITED") == 1


def test_where_nothing_was_ever_configured_requests_pass_and_nothing_is_said(
    ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    assert ask() == 200
    assert "otel-audit" not in caplog.text
