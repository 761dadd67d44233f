"""Django's own queries on psycopg: one event each, whichever of its cursors it takes."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

PROGRAM = """
import json, sys
import django
from django.conf import settings
from otel_audit.testing import recording
from otel_audit_psycopg import PsycopgAuditInstrumentor

PsycopgAuditInstrumentor().instrument()
parameters = json.loads(sys.argv[1])
settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", **parameters}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
    DEBUG=bool(parameters.get("DEBUG")),
    USE_TZ=True,
)
django.setup()
from django.contrib.auth.models import Group
from django.core.management import call_command
from django.db import connection, transaction

call_command("migrate", verbosity=0)
asked = []

def ask(execute, sql, params, many, context):
    asked.append(sql.split()[0])
    return execute(sql, params, many, context)

with recording() as log, connection.execute_wrapper(ask):
    Group.objects.create(name="hunter2")
    Group.objects.bulk_create([Group(name="a"), Group(name="b")])
    assert Group.objects.filter(name__startswith="hunter").count() == 1
    with transaction.atomic():
        Group.objects.filter(name="a").update(name="c")
        with transaction.atomic():
            list(Group.objects.iterator(chunk_size=1))
    with connection.cursor() as cursor:
        cursor.execute("SELECT name FROM auth_group WHERE id = %s", [1])
        cursor.executemany("UPDATE auth_group SET name = name WHERE id = %s", [[1], [2]])
    Group.objects.all().delete()
    connection.close()
    assert not any(b"hunter2" in body for body in log.bodies)
    names = [
        (record["context"]["db.operation.name"].removeprefix("BATCH "), record["outcome"]) for record in log.records
    ]
print(json.dumps([asked, names]))
"""
OPTIONS: dict[str, dict[str, Any]] = {
    "client-side binding": {},
    "server-side binding": {"OPTIONS": {"server_side_binding": True}},
    "pool": {"OPTIONS": {"pool": True}},
    "debugging": {"DEBUG": True},
}


@pytest.mark.parametrize("name", OPTIONS)
def test_a_query_of_djangos_is_one_event(name: str, shop_dsn: str) -> None:
    pytest.importorskip("django")
    info = conninfo_to_dict(shop_dsn)
    with psycopg.connect(shop_dsn, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS django")
        connection.execute("CREATE DATABASE django")
    place = {"HOST": info["host"], "PORT": info["port"], "USER": info["user"], "NAME": "django"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps({**place, **OPTIONS[name]})],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    asked, recorded = json.loads(done.stdout)
    assert len(asked) > 10
    assert [name for name, _ in recorded if name not in OF_PSYCOPG] == asked
    assert {outcome for _, outcome in recorded} == {"success"}
    assert recorded.count(["COMMIT", "success"]) == 3  # bulk_create, atomic, delete


OF_PSYCOPG = {"COMMIT", "FETCH"}
"""What it sends of its own: Django commits by a method, and reads from server-side cursors by others."""
