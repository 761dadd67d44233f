"""What is recorded of statements: execute and executemany, through every kind of cursor."""

from __future__ import annotations

import contextlib
from typing import Any

import psycopg
import pytest
from psycopg import sql

from otel_audit.testing import AuditLog
from tests.instrumentations.postgresql.conftest import Shop, Since
from tests.postgresql_cluster import Cluster


def test_an_event_says_which_database_on_which_server_and_who(
    shop: Shop, since: Since, postgresql: Cluster
) -> None:
    shop.execute("SELECT 1")

    context = since.records[0]["context"]
    assert {name: context[name] for name in context if not name.startswith(("db.query", "db.resp"))} == {
        "db.system.name": "postgresql",
        "db.namespace": "shop",
        "db.user": "postgres",
        "db.operation.name": "SELECT",
        "server.address": "127.0.0.1",
        "server.port": postgresql.port,
    }
    assert since.records[0]["target"] == {"id": "shop", "type": "db.namespace"}


def test_a_socket_is_named_by_its_file(postgresql: Cluster, audited: object, audit_log: AuditLog) -> None:
    with psycopg.connect(postgresql.dsn, autocommit=True) as connection:
        connection.execute("SELECT 1")

    context = audit_log.records[-1]["context"]
    assert context["server.address"] == f"{postgresql.directory}/.s.PGSQL.{postgresql.port}"
    assert "server.port" not in context


def _composed(_: Shop) -> object:
    return sql.SQL("SELECT {}, name FROM {} WHERE id = {}").format(
        sql.Literal("hunter2"), sql.Identifier("customers"), sql.Placeholder()
    )


@pytest.mark.parametrize(
    "query",
    ["SELECT 'hunter2', name FROM customers WHERE id = %s", b"SELECT 'hunter2', name FROM customers WHERE id = %s"],
    ids=["text", "bytes"],
)
def test_text_and_bytes_are_understood(query: Any, shop: Shop, since: Since, audit_log: AuditLog) -> None:
    assert shop.do(shop.execute(query, (1,)).fetchall()) == [("hunter2", "alice")]

    assert since.rows == [("SELECT customers", None, 1)]
    assert not any(b"hunter2" in body for body in audit_log.bodies)


def test_composed_sql_is_understood(shop: Shop, since: Since, audit_log: AuditLog) -> None:
    assert shop.do(shop.execute(_composed(shop), (1,)).fetchall()) == [("hunter2", "alice")]

    assert since.rows == [("SELECT customers", None, 1)]
    assert not any(b"hunter2" in body for body in audit_log.bodies)


def test_what_is_no_sql_fails_on_record(shop: Shop, since: Since) -> None:
    with pytest.raises(TypeError):
        shop.execute(42)
    with pytest.raises(psycopg.ProgrammingError):
        shop.execute(sql.Literal(object()))

    assert since.summaries == [("UNKNOWN", "failure"), ("UNKNOWN", "failure")]


@pytest.mark.parametrize("kind", ["", "Client", "Raw"])
@pytest.mark.parametrize("is_own", [False, True], ids=["psycopg's", "own"])
def test_every_kind_of_cursor_is_one_event_and_no_more(kind: str, is_own: bool, shop: Shop, since: Since) -> None:
    plain: Any = getattr(psycopg, f"{'Async' if shop.is_async else ''}{kind}Cursor")

    class Own(plain):  # type: ignore[misc] # a class chosen by the test
        pass

    shop.connection.cursor_factory = factory = Own if is_own else plain
    cursor = shop.cursor()

    assert shop.do(cursor.execute("SELECT name FROM customers WHERE id = 1")) is cursor
    assert type(cursor) is factory
    assert shop.do(cursor.fetchall()) == [("alice",)]
    assert since.rows == [("SELECT customers", None, 1)]


def test_keyword_arguments_are_understood(shop: Shop, since: Since) -> None:
    shop.do(shop.cursor().execute(query="SELECT 1", params=(), prepare=False, binary=True))

    assert since.rows == [("SELECT", None, 1)]


def test_wrong_arguments_are_refused_as_ever(shop: Shop, since: Since) -> None:
    with pytest.raises(TypeError, match="'query'"):
        shop.do(shop.cursor().execute())

    assert since.summaries == [("UNKNOWN", "failure")]


def test_a_prepared_statement_is_one_event_each_time(shop: Shop, since: Since) -> None:
    for _ in range(8):  # psycopg prepares it at the sixth
        shop.execute("SELECT name FROM customers WHERE id = %s", (1,))
    shop.execute("DELETE FROM notes WHERE id = %s", (1,), prepare=True)

    assert since.rows == [*[("SELECT customers", None, 1)] * 8, ("DELETE notes", 1, None)]


def test_a_comment_or_nothing_is_no_event(shop: Shop, since: Since) -> None:
    shop.execute("")
    shop.execute("-- nothing")

    assert since.records == []


def test_several_statements_are_one_event_for_each_kind(shop: Shop, since: Since) -> None:
    shop.execute(
        "INSERT INTO notes (text) VALUES ('a'); INSERT INTO notes (text) VALUES ('b'), ('c');"
        "SELECT * FROM customers; DELETE FROM notes"
    )

    assert since.rows == [("BATCH INSERT notes", 3, None), ("SELECT customers", None, 2), ("DELETE notes", 4, None)]
    assert since.records[0]["context"]["db.operation.batch.size"] == 2


def test_several_statements_fail_together(autocommit: Shop, since: Since) -> None:
    """One message is one transaction: what went before the mistake is undone."""
    with pytest.raises(psycopg.errors.UndefinedTable):
        autocommit.execute("DELETE FROM t; DELETE FROM nowhere")

    assert since.summaries == [("DELETE t", "failure"), ("DELETE nowhere", "failure")]
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (250,)


def test_where_a_script_commits_by_itself_a_failure_leaves_it_unknown(autocommit: Shop, since: Since) -> None:
    with pytest.raises(psycopg.errors.UndefinedTable):
        autocommit.execute("BEGIN; DELETE FROM t; COMMIT; DELETE FROM nowhere")

    assert since.summaries == [
        ("BEGIN", "unknown"),
        ("DELETE t", "unknown"),
        ("COMMIT", "unknown"),
        ("DELETE nowhere", "unknown"),
    ]
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (0,)


@pytest.mark.parametrize("is_generator", [False, True], ids=["list", "generator"])
def test_executemany_is_one_event_with_its_size(is_generator: bool, shop: Shop, since: Since) -> None:
    names = [("a",), ("b",), ("c",)]

    shop.do(
        shop.cursor().executemany(
            "INSERT INTO notes (text) VALUES (%s)", (name for name in names) if is_generator else names
        )
    )

    assert since.rows == [("BATCH INSERT notes", 3, None)]
    assert since.records[0]["context"]["db.operation.batch.size"] == 3


def test_executemany_that_returns_rows_counts_them_all(shop: Shop, since: Since) -> None:
    cursor = shop.cursor()
    shop.do(
        cursor.executemany("INSERT INTO notes (text) VALUES (%s) RETURNING id", [("a",), ("b",)], returning=True)
    )

    assert since.rows == [("BATCH INSERT notes", 2, 2)]


def test_executemany_fails_as_a_whole(autocommit: Shop, since: Since) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation):
        autocommit.do(autocommit.cursor().executemany("INSERT INTO t VALUES (%s)", [(1000,), (1,), (1001,)]))

    assert since.codes == [("failure", "psycopg.errors.UniqueViolation", "23505")]
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (250,)


def test_executemany_of_nothing_says_so(shop: Shop, since: Since) -> None:
    shop.do(shop.cursor().executemany("DELETE FROM notes WHERE id = %s", []))

    assert since.rows == [("DELETE notes", 0, None)]


def test_a_failure_names_class_and_code_and_quotes_nothing(
    autocommit: Shop, since: Since, audit_log: AuditLog
) -> None:
    for statement in (
        "INSERT INTO t VALUES ('hunter2')",
        "SELECT 'hunter2' FROM hunter2_is_no_table WHERE 'hunter2",
        "SELECT 1 / 0",
    ):
        with contextlib.suppress(psycopg.Error):
            autocommit.execute(statement)

    assert since.codes == [
        ("failure", "psycopg.errors.InvalidTextRepresentation", "22P02"),
        ("failure", "psycopg.errors.SyntaxError", "42601"),
        ("failure", "psycopg.errors.DivisionByZero", "22012"),
    ]
    assert not any(b"'hunter2" in body for body in audit_log.bodies)


def test_strings_are_read_as_the_session_reads_them(autocommit: Shop, audit_log: AuditLog) -> None:
    r"""With `standard_conforming_strings` off, \' does not end a string."""
    autocommit.execute("SET standard_conforming_strings = off")
    autocommit.execute("SET escape_string_warning = off")

    (text,) = autocommit.do(autocommit.execute(r"SELECT 'it\'s hunter2' FROM t LIMIT 1").fetchone())

    assert text == "it's hunter2"
    assert not any(b"hunter2" in body for body in audit_log.bodies)


def test_what_the_server_does_not_count_is_left_out(shop: Shop, since: Since) -> None:
    shop.execute("DO $$ BEGIN DELETE FROM notes; END $$")

    assert since.rows == [("DO", None, None)]
