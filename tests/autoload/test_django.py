"""A Django project, unmodified, under `opentelemetry-instrument` and real servers."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.autoload.servers import Spool, Start

PROJECT = """
import os

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.http import HttpResponse
from django.urls import path

SECRET_KEY = "k" * 50
ALLOWED_HOSTS = ["127.0.0.1"]
ROOT_URLCONF = "app"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}}
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]


def item(request, item):
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s", [item])
    return HttpResponse(str(os.getpid()))


async def later(request, item):
    return HttpResponse(str(os.getpid()))


urlpatterns = [path("items/<int:item>", item), path("later/<int:item>", later)]
"""
SITE = """
import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "app")
from django.core.{kind} import get_{kind}_application

application = get_{kind}_application()
"""
MANAGE = """
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "app")
from django.core.management import execute_from_command_line

execute_from_command_line(sys.argv)
"""
GUNICORN = ("gunicorn", "--bind", "127.0.0.1:0", "--workers", "2", "wsgi:application")
UVICORN = ("uvicorn", "--port", "0", "--workers", "2", "--lifespan", "off", "asgi:application")


@pytest.fixture
def project(instrument: Start, tmp_path: Path) -> Start:
    """Start programs in the folder of a project."""
    folder = tmp_path / "folder"
    (folder / "app.py").write_text(PROJECT)
    (folder / "manage.py").write_text(MANAGE)
    for kind in ("wsgi", "asgi"):
        (folder / f"{kind}.py").write_text(SITE.format(kind=kind))
    return instrument


@pytest.mark.parametrize("server", [GUNICORN, UVICORN], ids=["gunicorn", "uvicorn"])
@pytest.mark.parametrize("traced", [True, False], ids=["with-contrib", "without-contrib"])
def test_every_request_and_query_is_recorded_in_its_own_trace(
    project: Start, spool: Spool, server: Sequence[str], traced: bool
) -> None:
    """Contrib's instrumentation of Django needs DJANGO_SETTINGS_MODULE from outside; ours does not."""
    variables = (
        {"DJANGO_SETTINGS_MODULE": "app"} if traced else {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": "logging,django"}
    )
    program = project(*server, **variables)
    for number in range(8):
        program.get(f"/items/{number}")
        program.get(f"/later/{number}")
    assert program.stop(signal.SIGTERM) in (0, -signal.SIGTERM)

    kinds = ("items", "later")
    assert spool.paths() == sorted(f"/{kind}/{number}" for kind in kinds for number in range(8))
    requests = {record["trace_id"]: record for record in spool.records("http.server.request")}
    queries = [record for record in spool.records("db.query") if record["trace_id"] in requests]
    assert len(requests) == 16
    assert sorted(requests[query["trace_id"]]["target"]["id"] for query in queries if _is_ours(query)) == sorted(
        f"/items/{number}" for number in range(8)
    )
    assert {record["context"]["http.route"] for record in requests.values()} == {
        "/items/<int:item>",
        "/later/<int:item>",
    }
    assert {record["actor"]["id"] for record in requests.values()} == {"anonymous"}
    spool.assert_verified()


def test_the_development_server_is_audited_without_a_setting(project: Start, spool: Spool) -> None:
    program = project(
        "python",
        "manage.py",
        "runserver",
        "--noreload",
        "0",
        OTEL_PYTHON_DISABLED_INSTRUMENTATIONS="logging,django",
    )
    assert program.status_and_body("/items/1")[0] == 200
    assert program.stop(signal.SIGINT) == 0

    assert spool.paths() == ["/items/1"]
    spool.assert_verified()


def _is_ours(query: dict[str, Any]) -> bool:
    return bool(query["context"].get("db.query.text") == "SELECT ?")
