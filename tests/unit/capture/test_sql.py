"""Statement in, event out: the same table of operations that every driver's own tests run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit.capture.sql import (
    Database,
    Failure,
    StatementReader,
    error_type,
    operation,
    query_event,
)
from otel_audit.capture.sql_config import QueryText, SqlCaptureConfig, configure_sql
from otel_audit.capture.sql_parse import MAX_PARSED_CHARS
from otel_audit.capture.sql_text import POSTGRESQL, SQLITE
from otel_audit.event import Target

OPERATIONS = Path(__file__).parents[2] / "instrumentations" / "sql_operations.json"
DIALECTS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}
CASES: list[Any] = [
    pytest.param(case, database, id=f"{database}-{case['sql'][:60]}")
    for case in json.loads(OPERATIONS.read_text())
    for database in case["databases"]
    if case["operation"]
]
SHOP = Database("sqlite", "/srv/shop.db")


@pytest.fixture
def reader() -> StatementReader:
    return StatementReader(SQLITE)


@pytest.fixture(autouse=True)
def _default_configuration() -> Iterator[None]:
    yield
    configure_sql(SqlCaptureConfig())


@pytest.mark.parametrize(("case", "database"), CASES)
def test_an_operation_says_what_it_does_and_to_what(case: dict[str, Any], database: str) -> None:
    (statement,) = StatementReader(DIALECTS[database]).statements(case["sql"])

    assert statement.operation == case["operation"]
    assert statement.action == case["action"]
    assert statement.target == (Target(*case["target"]) if case["target"] else None)
    assert list(statement.tables) == case["tables"]
    assert statement.summary == case["summary"]


@pytest.mark.parametrize(("case", "database"), CASES)
def test_keywords_alone_find_the_same_action_and_every_table(case: dict[str, Any], database: str) -> None:
    """What is too long for the parser, or not understood by it, is not allowed to hide a table or a deletion."""
    padded = case["sql"] + " AND" * MAX_PARSED_CHARS

    (statement,) = StatementReader(DIALECTS[database]).statements(padded)

    assert statement.action == case["action"]
    assert set(case["tables"]) <= set(statement.tables)
    assert statement.target == Target(*case["target"]) if case["target"] else case["tables"] == []


def test_a_comment_alone_is_no_statement(reader: StatementReader) -> None:
    assert reader.statements("-- nothing\n /* at all */ ;; ") == ()


def test_one_event_carries_the_semantic_conventions(reader: StatementReader) -> None:
    (statement,) = reader.statements("UPDATE customers SET name = 'alice' WHERE id = 42")

    event = query_event(statement, SHOP, affected_rows=1)

    assert event.event == "db.query"
    assert (event.action, event.outcome, event.target) == ("UPDATE", "success", Target("customers", "db.table"))
    assert event.context == {
        "db.system.name": "sqlite",
        "db.namespace": "/srv/shop.db",
        "db.operation.name": "UPDATE",
        "db.collection.name": "customers",
        "db.query.summary": "UPDATE customers",
        "db.query.text": "UPDATE customers SET name = ? WHERE id = ?",
        "db.response.affected_rows": 1,
    }


def test_several_tables_stand_in_a_list_and_not_in_the_attribute_for_one(reader: StatementReader) -> None:
    (statement,) = reader.statements("SELECT * FROM customers JOIN notes USING (id)")

    context = query_event(statement, SHOP).context or {}

    assert context["db.collection.names"] == ("customers", "notes")
    assert "db.collection.name" not in context


def test_what_concerns_no_table_is_about_the_database(reader: StatementReader) -> None:
    (statement,) = reader.statements("VACUUM")

    assert query_event(statement, SHOP).target == Target("/srv/shop.db", "db.namespace")


def test_a_failure_says_its_class_and_code_and_no_more(reader: StatementReader) -> None:
    (statement,) = reader.statements("DELETE FROM customers")

    event = query_event(statement, SHOP, failure=Failure("sqlite3.IntegrityError", "SQLITE_CONSTRAINT"))

    assert event.outcome == "failure"
    assert event.context is not None
    assert event.context["error.type"] == "sqlite3.IntegrityError"
    assert event.context["db.response.status_code"] == "SQLITE_CONSTRAINT"


def test_a_class_is_named_in_full_but_for_builtins() -> None:
    assert error_type(ValueError("secret")) == "ValueError"
    assert error_type(json.JSONDecodeError("secret", "", 0)) == "json.decoder.JSONDecodeError"


@pytest.mark.parametrize(
    ("level", "present", "absent"),
    [
        ("none", [], ["db.query.summary", "db.query.text"]),
        ("summary", ["db.query.summary"], ["db.query.text"]),
        ("sanitized", ["db.query.summary", "db.query.text"], []),
    ],
)
def test_the_setting_decides_how_much_of_the_statement_is_recorded(
    reader: StatementReader, level: QueryText, present: list[str], absent: list[str]
) -> None:
    """Also for a statement that was read, and an operation that was made, before it was set."""
    (before,) = reader.statements("SELECT * FROM customers")
    commit = operation("COMMIT", "EXECUTE")
    configure_sql(SqlCaptureConfig(query_text=level))

    context = query_event(before, SHOP, batch_size=2).context or {}

    assert all(name in context for name in present)
    assert not any(name in context for name in absent)
    assert ("db.query.summary" in (query_event(commit, SHOP).context or {})) == ("db.query.summary" in present)
    assert context["db.collection.name"] == "customers"


def test_two_runs_are_a_batch_and_one_is_not(reader: StatementReader) -> None:
    (statement,) = reader.statements("INSERT INTO notes VALUES (?)")

    one, two = (query_event(statement, SHOP, batch_size=size).context or {} for size in (1, 2))

    assert "db.operation.batch.size" not in one
    assert two["db.operation.batch.size"] == 2
    assert two["db.operation.name"] == "BATCH INSERT"
    assert two["db.query.summary"] == "BATCH INSERT notes"


def test_changing_literals_layout_and_list_lengths_are_one_statement(reader: StatementReader) -> None:
    texts = [
        "SELECT * FROM t WHERE a IN (1, 2) AND b = 'x'",
        "SELECT *\n  FROM t /* why */ WHERE a IN (?) AND b = 'it''s'",
        "SELECT * FROM t WHERE a IN (:a, :b, :c) AND b = 0x1F -- end",
    ]

    assert len({id(reader.statements(text)[0]) for text in texts}) == 1


def test_neither_cache_holds_a_literal_or_grows_without_bound(reader: StatementReader) -> None:
    for number in range(1200):
        reader.statements(f"SELECT c{number} FROM t WHERE a = 'secret' AND b = \"secret\"")
        reader.statements(f"PRAGMA key = secret{number}")

    kept = repr((reader._by_text, reader._by_statement))  # pyright: ignore[reportPrivateUsage]

    assert "secret" not in kept
    assert len(reader._by_statement) == 1000  # pyright: ignore[reportPrivateUsage]


def test_the_statements_of_a_script_are_taken_apart_but_for_a_trigger_body(reader: StatementReader) -> None:
    script = """
        CREATE TABLE a (x); -- one; comment
        CREATE TRIGGER t AFTER INSERT ON a BEGIN
            SELECT CASE WHEN 1 THEN 2 END;
            DELETE FROM b WHERE x = 'a;b';
        END;
        DELETE FROM a;
    """

    assert [statement.summary for statement in reader.statements(script)] == [
        "CREATE TABLE a",
        "CREATE TRIGGER t a b",
        "DELETE a",
    ]


def test_a_parser_that_gives_up_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """sqlglot's own warnings quote the statement, and would end in the application's log."""
    caplog.set_level(logging.DEBUG)

    for text in ("SELECT ((( FROM customers", "REPLACE INTO customers VALUES (1)", "WITH x AS SELECT"):
        StatementReader(SQLITE).statements(text)

    assert not [record for record in caplog.records if record.name == "sqlglot"]
    assert "customers" not in caplog.text


def test_a_very_long_statement_is_cut_in_the_event_only(reader: StatementReader) -> None:
    columns = ", ".join(f"column{number}" for number in range(5000))

    (statement,) = reader.statements(f"SELECT {columns} FROM customers")

    text = (query_event(statement, SHOP).context or {})["db.query.text"]
    assert isinstance(text, str)
    assert len(text) == 4096
    assert text.endswith("…")


def test_a_literal_in_the_place_of_a_table_is_a_known_limit(reader: StatementReader) -> None:
    """SQLite takes FROM 'customers' for a name; a string is never let through, so the table stays unnamed."""
    (statement,) = reader.statements("DELETE FROM 'customers'")

    assert (statement.action, statement.tables, statement.text) == ("DELETE", (), "DELETE FROM ?")


def test_a_delete_without_from_is_understood_like_one_with_it() -> None:
    """SQLite refuses it, but an event is made of what was tried; sqlglot has no table where it should be."""
    statement = StatementReader(SQLITE).statements("DELETE customers WHERE id IN (SELECT id FROM gone)")[0]

    assert (statement.operation, statement.tables) == ("DELETE", ("customers", "gone"))
