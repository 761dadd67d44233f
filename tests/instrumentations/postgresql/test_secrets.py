"""A password in a statement never leaves, wherever PostgreSQL lets one stand."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from otel_audit.testing import AuditLog
from tests.instrumentations.postgresql.conftest import Shop

SECRET = "zq7hunter2zq"
STATEMENTS = [
    f"CREATE ROLE mallory LOGIN PASSWORD '{SECRET}'",
    f"ALTER ROLE postgres ENCRYPTED PASSWORD $x${SECRET}$x$",
    f"ALTER ROLE postgres PASSWORD {SECRET}",
    f'ALTER ROLE postgres PASSWORD "{SECRET}"',
    f"CREATE USER MAPPING FOR postgres SERVER far OPTIONS (user 'x', password '{SECRET}')",
    f"ALTER USER MAPPING FOR postgres SERVER far OPTIONS (SET password '{SECRET}')",
    f"CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw OPTIONS (password {SECRET})",
    f"CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 password={SECRET}' PUBLICATION p",
    f"CREATE SUBSCRIPTION s CONNECTION host=h password={SECRET} PUBLICATION p",
    f"SELECT dblink_connect('password={SECRET}')",
    f"COPY t FROM PROGRAM 'curl -u user:{SECRET} http://127.0.0.1:1/'",
    f"SET app.token = {SECRET}",
    f"SET LOCAL app.token TO {SECRET}",
    f"SET SESSION \"app\".token = '{SECRET}'",
    f"ALTER ROLE postgres SET app.token = {SECRET}",
    f"SELECT set_config('app.token', '{SECRET}', false)",
    f"NOTIFY news, '{SECRET}'",
    f"DO $$ BEGIN PERFORM '{SECRET}'; END $$",
    f"COMMENT ON TABLE t IS '{SECRET}'",
    f"INSERT INTO t VALUES ('{SECRET}')",
    f"SELECT E'a' \n -- and\n 'b\\' {SECRET}'",
    f"SELECT U&'\\0041' '{SECRET}'",
    f"SELECT '{{\"password\": \"{SECRET}\"}}'::jsonb ? '{SECRET}'",
    f"SELECT ARRAY['{SECRET}']::text[] @> '{{{SECRET}}}'",
    f"SELECT 1 /* outer /* inner */ {SECRET} */",
    f"SELECT $a$ $b$ {SECRET} $a$",
    f"PREPARE TRANSACTION '{SECRET}'",
    f"EXECUTE nothing ('{SECRET}')",
    f"SELECT '{SECRET}",
    f"SELECT E'\\' {SECRET}",
    f"SELECT $q$ {SECRET}",
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_no_secret_of_a_statement_is_in_the_log(statement: Any, autocommit: Shop, audit_log: AuditLog) -> None:
    for query in (statement, statement.encode(), sql.SQL(statement)):
        with contextlib.suppress(psycopg.Error):
            autocommit.execute(query)

    assert any(record["context"]["db.query.text"] for record in audit_log.records[-3:])
    assert not any(SECRET.encode() in body for body in audit_log.bodies)


def test_no_parameter_is_in_the_log(autocommit: Shop, audit_log: AuditLog) -> None:
    copy: Any
    with contextlib.suppress(psycopg.Error):
        autocommit.execute("INSERT INTO t VALUES (%s)", (SECRET,))
    autocommit.execute("SELECT %(a)s", {"a": SECRET})
    autocommit.do(autocommit.cursor().executemany("SELECT %s", [(SECRET,), (SECRET,)]))
    list(autocommit.each(autocommit.cursor().stream("SELECT %s", (SECRET,))))
    autocommit.execute("CREATE TEMP TABLE u (name text)")
    with autocommit.inside(autocommit.cursor().copy("COPY u FROM STDIN")) as copy:
        autocommit.do(copy.write_row((SECRET,)))
    autocommit.connection.cursor_factory = (
        psycopg.AsyncClientCursor if autocommit.is_async else psycopg.ClientCursor
    )
    autocommit.execute("SELECT %s", (SECRET,))

    assert not any(SECRET.encode() in body for body in audit_log.bodies)


_values = st.text(alphabet="ab'\"\\$;-/*\n\té%\N{SNOWMAN}", max_size=12)


@pytest.mark.parametrize("is_async", [False], ids=["sync"], indirect=True)
@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(before=_values, after=_values, quoting=st.sampled_from(["literal", "escaped", "dollar", "client"]))
def test_what_postgresql_takes_for_a_string_is_none_of_the_logs(
    before: str, after: str, quoting: str, autocommit: Shop, audit_log: AuditLog
) -> None:
    """The server is the judge of where a string ends: it returns the very value, and the log has none of it."""
    value = before + SECRET + after
    cursor: Any = autocommit.cursor()
    if quoting == "client":
        cursor = psycopg.ClientCursor(autocommit.connection).execute("SELECT %s", (value,))
    else:
        cursor.execute(_quoted(value, quoting, autocommit.connection).encode())

    assert cursor.fetchone() == (value,)
    assert b'"outcome":"success"' in audit_log.bodies[-1]
    assert SECRET.encode() not in audit_log.bodies[-1]


def _quoted(value: str, quoting: str, connection: psycopg.Connection) -> str:
    if quoting == "dollar":
        return f"SELECT $tag${value}$tag$"
    if quoting == "escaped":
        escaped = value.replace("\\", "\\\\").replace("'", "\\'")
        return f"SELECT E'{escaped}'"
    return "SELECT " + sql.Literal(value).as_string(connection)
