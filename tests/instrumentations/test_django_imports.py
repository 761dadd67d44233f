"""Whatever of Django a process imports first, the audit's hooks find it whole, and stand in nobody's way."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from otel_audit_django import DjangoAuditInstrumentor

DjangoAuditInstrumentor().instrument()
assert not any(name.split(".")[0] == "django" for name in sys.modules), "Django was imported for the log's sake"
import {module}
from django.conf import settings

settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "django.contrib.admin", "rest_framework"],
    DATABASES={{"default": {{"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}}},
)
import django

django.setup()
import rest_framework.views
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.base import BaseHandler
from django.core.handlers.wsgi import WSGIHandler
from django.core.management.base import BaseCommand
from django.contrib.admin import ModelAdmin
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model, QuerySet

for kind, name in (
    (ASGIHandler, "__call__"), (WSGIHandler, "__call__"), (BaseHandler, "get_response"), (Model, "save_base"),
    (QuerySet, "update"), (BaseDatabaseWrapper, "commit"), (BaseCommand, "run_from_argv"),
    (ModelAdmin, "response_action"), (rest_framework.request.Request, "_authenticate"),
):
    function = kind.__dict__[name]
    assert function.__code__.co_filename.find("otel_audit_django") > 0, (kind, name)
"""


@pytest.mark.parametrize(
    "module",
    [
        "django.apps",
        "django.contrib.auth",
        "django.contrib.auth.signals",
        "django.core.asgi",
        "django.core.handlers.base",
        "django.core.management",
        "django.core.serializers",
        "django.core.signals",
        "django.core.wsgi",
        "django.db.backends.base.base",
        "django.db.models",
        "django.http",
        "django.test",
        "django.urls",
    ],
)
def test_it_does_not_matter_what_is_imported_first(module: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(module=module)],
        capture_output=True,
        text=True,
        check=False,
        env={"PYTHONPATH": f"{ROOT}:{ROOT / 'instrumentations'}"},
    )

    assert (ran.returncode, ran.stderr) == (0, "")
