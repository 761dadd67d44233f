"""What is recorded of sqlite3: the real module, real databases, a real stream in memory."""

from __future__ import annotations

import contextlib
import json
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from otel_audit.testing import AuditLog, Record
from otel_audit_sqlite3 import SQLite3AuditInstrumentor

OPERATIONS = [
    case
    for case in json.loads(Path(__file__).with_name("sql_operations.json").read_text())
    if "sqlite" in case["databases"]
]
SCHEMA = """
    CREATE TABLE customers (id integer PRIMARY KEY, name text);
    CREATE TABLE notes (id integer PRIMARY KEY, customer_id integer, text text);
    INSERT INTO customers VALUES (1, 'alice'), (2, 'bob');
    INSERT INTO notes VALUES (1, 1, 'private');
"""


@pytest.fixture(autouse=True)
def _audited(audit_log: AuditLog) -> Iterator[None]:
    instrumentor = SQLite3AuditInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


@pytest.fixture
def shop(audit_log: AuditLog) -> Iterator[sqlite3.Connection]:
    """Two customers and a note, in memory; autocommit, so that a statement is all that happens."""
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.executescript(SCHEMA)
    yield connection
    connection.close()


class Since:
    """The records made after it was made."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._before = len(log.records)

    @property
    def records(self) -> list[Record]:
        return self._log.records[self._before :]

    @property
    def summaries(self) -> list[tuple[str, str]]:
        return [(record["context"]["db.query.summary"], record["outcome"]) for record in self.records]


@pytest.fixture
def since(shop: sqlite3.Connection, audit_log: AuditLog) -> Since:
    return Since(audit_log)


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case["sql"][:60])
def test_an_operation_is_one_event(case: dict[str, Any], shop: sqlite3.Connection, since: Since) -> None:
    shop.execute(case["sql"])

    recorded = [
        (r["action"], r["outcome"], r["target"], r["context"].get("db.response.affected_rows"))
        for r in since.records
    ]
    target = case["target"] or [":memory:", "db.namespace"]
    expected = (case["action"], "success", {"id": target[0], "type": target[1]}, case.get("affected_rows"))
    assert recorded == ([expected] if case["operation"] else [])


@pytest.mark.parametrize("through", ["connection", "cursor", "own cursor", "cursor's class"])
def test_every_way_to_execute_is_one_event_and_no_more(
    through: str, shop: sqlite3.Connection, since: Since
) -> None:
    class Own(sqlite3.Cursor):
        pass

    doors: dict[str, Any] = {
        "connection": lambda: shop,
        "cursor": shop.cursor,
        "own cursor": lambda: shop.cursor(Own),
        "cursor's class": lambda: sqlite3.Cursor(shop),
    }
    cursor = doors[through]()

    rows = cursor.execute("SELECT name FROM customers WHERE id = ?", (1,)).fetchall()

    assert rows == [("alice",)]
    assert since.summaries == [("SELECT customers", "success")]


def test_the_cursor_that_a_connection_returns_records_too(shop: sqlite3.Connection, since: Since) -> None:
    shop.execute("SELECT 1").execute("DELETE FROM notes")

    assert since.summaries == [("SELECT", "success"), ("DELETE notes", "success")]


def test_a_read_is_on_record_before_its_first_row_can_be_fetched(shop: sqlite3.Connection, since: Since) -> None:
    cursor = shop.execute("SELECT name FROM customers")

    assert since.summaries == [("SELECT customers", "success")]
    assert "db.response.returned_rows" not in since.records[0]["context"]
    assert len(cursor.fetchall()) == 2
    assert len(since.records) == 1


def test_a_failure_names_class_and_code_and_quotes_nothing(
    shop: sqlite3.Connection, since: Since, audit_log: AuditLog
) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        shop.execute("INSERT INTO customers VALUES (1, 'hunter2')")
    with pytest.raises(sqlite3.OperationalError, match="hunter2"):
        shop.execute("ATTACH '/nowhere/hunter2.db' AS other")

    first, second = since.records
    assert (first["outcome"], first["action"], first["target"]["id"]) == ("failure", "CREATE", "customers")
    assert first["context"]["error.type"] == "sqlite3.IntegrityError"
    assert first["context"]["db.response.status_code"] == "SQLITE_CONSTRAINT_PRIMARYKEY"
    assert second["context"]["error.type"] == "sqlite3.OperationalError"
    assert not any("hunter2" in body.decode() for body in audit_log.bodies)


def test_what_never_reaches_the_database_fails_on_record(shop: sqlite3.Connection, since: Since) -> None:
    closed = sqlite3.connect(":memory:")
    closed.close()

    with pytest.raises(sqlite3.ProgrammingError):
        closed.execute("DELETE FROM customers")
    with pytest.raises(sqlite3.ProgrammingError):
        shop.execute("DELETE FROM customers; DELETE FROM notes")

    assert since.summaries == [
        ("DELETE customers", "failure"),
        ("DELETE customers", "failure"),
        ("DELETE notes", "failure"),
    ]


def test_another_thread_is_refused_and_its_attempt_recorded(shop: sqlite3.Connection, since: Since) -> None:
    refused: list[BaseException] = []

    def steal() -> None:
        try:
            shop.execute("SELECT * FROM customers")
        except sqlite3.ProgrammingError as error:
            refused.append(error)

    thread = threading.Thread(target=steal)
    thread.start()
    thread.join()

    assert len(refused) == 1
    assert since.summaries == [("SELECT customers", "failure")]


def test_executemany_is_one_event_with_its_size(shop: sqlite3.Connection, since: Since) -> None:
    shop.executemany("INSERT INTO notes (text) VALUES (?)", [("a",), ("b",), ("c",)])

    (record,) = since.records
    assert record["context"]["db.operation.batch.size"] == 3
    assert record["context"]["db.response.affected_rows"] == 3
    assert record["context"]["db.query.summary"] == "BATCH INSERT notes"


def test_executemany_that_fails_half_way_is_unknown(shop: sqlite3.Connection, since: Since) -> None:
    """Its first rows are there; `failure` would say that nothing happened."""
    with pytest.raises(sqlite3.IntegrityError):
        shop.executemany("INSERT INTO customers VALUES (?, 'x')", iter([(7,), (1,)]))
    with pytest.raises(sqlite3.IntegrityError):
        shop.executemany("INSERT INTO customers VALUES (?, 'x')", [(1,), (8,)])

    assert [record["outcome"] for record in since.records] == ["unknown", "failure"]


def test_a_script_is_one_event_for_each_kind_of_statement(shop: sqlite3.Connection, since: Since) -> None:
    shop.executescript(
        "INSERT INTO notes (text) VALUES ('a'); INSERT INTO notes (text) VALUES ('b'); DELETE FROM customers;"
    )

    assert since.summaries == [("BATCH INSERT notes", "success"), ("DELETE customers", "success")]


def test_where_a_script_failed_is_not_known(shop: sqlite3.Connection, since: Since) -> None:
    with pytest.raises(sqlite3.OperationalError):
        shop.executescript("DELETE FROM customers; DELETE FROM nowhere;")
    with pytest.raises(sqlite3.OperationalError):
        shop.executescript("DELETE FROM nowhere;")

    assert since.summaries == [
        ("DELETE customers", "unknown"),
        ("DELETE nowhere", "unknown"),
        ("DELETE nowhere", "failure"),
    ]


def _open(**arguments: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = sqlite3.connect(":memory:", **arguments)
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    return connection


def _ends(log: AuditLog) -> list[str]:
    names = [record["context"]["db.operation.name"] for record in log.records]
    return [name for name in names if name in {"COMMIT", "ROLLBACK"}]


def test_commit_and_rollback_are_events_where_there_is_a_transaction(audit_log: AuditLog) -> None:
    connection = _open()

    connection.commit()
    connection.execute("INSERT INTO t VALUES (1)")
    connection.commit()
    connection.execute("INSERT INTO t VALUES (1)")
    connection.rollback()
    connection.rollback()

    assert _ends(audit_log) == ["COMMIT", "ROLLBACK"]


def test_leaving_a_with_block_ends_the_transaction_on_record(audit_log: AuditLog) -> None:
    connection = _open()

    with connection:
        connection.execute("INSERT INTO t VALUES (1)")
    with pytest.raises(sqlite3.OperationalError), connection:
        connection.executemany("INSERT INTO t VALUES (?)", [(2,)]).execute("SELECT nothing")
    with connection:
        pass

    assert _ends(audit_log) == ["COMMIT", "ROLLBACK"]
    assert connection.execute("SELECT count(*) FROM t").fetchone() == (1,)


def test_what_commits_without_saying_so_is_recorded(audit_log: AuditLog) -> None:
    connection = _open()

    connection.execute("INSERT INTO t VALUES (1)")
    connection.executescript("SELECT 1")
    connection.execute("INSERT INTO t VALUES (1)")
    connection.isolation_level = None

    assert _ends(audit_log) == ["COMMIT", "COMMIT"]
    assert connection.isolation_level is None


def test_closing_with_an_open_transaction_is_a_rollback(audit_log: AuditLog) -> None:
    connection = _open()
    connection.execute("INSERT INTO t VALUES (1)")

    connection.close()
    connection.close()

    assert _ends(audit_log) == ["ROLLBACK"]


def test_a_commit_that_cannot_be_is_a_failure(tmp_path: Path, audit_log: AuditLog) -> None:
    path = tmp_path / "shop.db"
    writer, reader = (sqlite3.connect(path, timeout=0) for _ in range(2))
    writer.execute("CREATE TABLE t (a)")
    reader.execute("SELECT * FROM t").fetchall()
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM t").fetchall()
    writer.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(sqlite3.OperationalError, match="locked"):
        writer.commit()

    last = audit_log.records[-1]
    assert (last["context"]["db.operation.name"], last["outcome"]) == ("COMMIT", "failure")
    assert last["context"]["db.response.status_code"] == "SQLITE_BUSY"
    reader.close()
    writer.close()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="Connection.autocommit came with Python 3.12")
def test_the_autocommit_attribute_commits_on_record(audit_log: AuditLog) -> None:
    arguments: dict[str, Any] = {"autocommit": False}
    connection: Any = _open(**arguments)
    before = len(_ends(audit_log))

    connection.execute("INSERT INTO t VALUES (1)")
    connection.autocommit = True

    assert _ends(audit_log)[before:] == ["COMMIT"]
    assert connection.autocommit is True


def test_a_dump_is_one_export_before_its_first_line(shop: sqlite3.Connection, since: Since) -> None:
    lines = shop.iterdump()
    assert since.records == []

    assert next(lines) == "BEGIN TRANSACTION;"
    assert [(record["action"], record["context"]["db.operation.name"]) for record in since.records] == [
        ("EXPORT", "ITERDUMP")
    ]
    shop.execute("SELECT 1")
    assert sum("INSERT" in line for line in lines) == 3
    assert since.summaries == [("ITERDUMP", "success"), ("SELECT", "success")]


def test_a_backup_is_an_export_of_one_and_an_import_into_the_other(
    tmp_path: Path, shop: sqlite3.Connection, since: Since
) -> None:
    other = sqlite3.connect(tmp_path / "copy.db")

    shop.backup(other)

    assert {(record["action"], record["target"]["id"]) for record in since.records} == {
        ("EXPORT", ":memory:"),
        ("IMPORT", str(tmp_path / "copy.db")),
    }
    other.close()


def test_opening_a_blob_is_a_read_or_an_update(shop: sqlite3.Connection, since: Since) -> None:
    with shop.blobopen("notes", "text", 1, readonly=True) as blob:
        blob.read()
    with shop.blobopen("notes", "text", 1) as blob:
        blob.write(b"PRIVATE")

    assert [(r["action"], r["target"]["id"]) for r in since.records] == [("READ", "notes"), ("UPDATE", "notes")]


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "serialize"), reason="built without serialize")
def test_a_whole_database_in_and_out_is_an_export_and_an_import(shop: sqlite3.Connection, since: Since) -> None:
    shop.deserialize(shop.serialize())

    assert [record["action"] for record in since.records] == ["EXPORT", "IMPORT"]


@pytest.mark.skipif(not hasattr(sqlite3.Connection, "load_extension"), reason="built without extensions")
def test_an_extension_is_recorded_with_its_file(shop: sqlite3.Connection, since: Since) -> None:
    shop.enable_load_extension(True)
    with pytest.raises(sqlite3.OperationalError):
        shop.load_extension("/nowhere/spy.so")

    assert [(r["action"], r["outcome"], r["target"]["id"]) for r in since.records] == [
        ("EXECUTE", "success", ":memory:"),
        ("EXECUTE", "failure", "/nowhere/spy.so"),
    ]


@pytest.mark.parametrize(
    ("database", "uri", "namespace"),
    [
        (":memory:", False, ":memory:"),
        ("shop.db", False, "{cwd}/shop.db"),
        (Path("shop.db"), False, "{cwd}/shop.db"),
        (b"shop.db", False, "{cwd}/shop.db"),
        ("file:shop%20two.db?mode=rwc&key=hunter2", True, "{cwd}/shop two.db"),
        ("file:shared?mode=memory&cache=shared", True, ":memory:"),
        ("", False, None),
    ],
)
def test_the_namespace_is_the_path_without_the_parameters_of_a_uri(
    database: Any, uri: bool, namespace: str | None, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    audit_log: AuditLog = request.getfixturevalue("audit_log")
    with contextlib.chdir(tmp_path):
        sqlite3.connect(database, uri=uri).execute("SELECT 1")

    expected = namespace.format(cwd=tmp_path) if namespace else None
    assert audit_log.records[-1]["context"].get("db.namespace") == expected


def test_no_literal_parameter_password_or_message_is_in_the_log(
    shop: sqlite3.Connection, audit_log: AuditLog
) -> None:
    secret = "hunter2"
    statements = [
        f"SELECT '{secret}', x'68756e74657232', \"{secret}\" -- {secret}",
        f"SELECT * FROM customers WHERE name = '{secret}' /* {secret} */",
        f"PRAGMA key = {secret}",
        f"PRAGMA key = '{secret}'",
        f"ATTACH ':memory:' AS other KEY '{secret}'",
        f"INSERT INTO customers VALUES ('{secret}', 1)",
        f"SELECT '{secret}",
    ]
    for statement in statements:
        try:
            shop.execute(statement)
        except sqlite3.Error:
            continue
    shop.execute("SELECT * FROM customers WHERE name = ?", (secret,))
    shop.execute("SELECT * FROM customers WHERE name = :name", {"name": secret})
    shop.executemany("INSERT INTO notes (text) VALUES (?)", [(secret,)])

    assert len(audit_log.records) > len(statements)
    assert secret not in "".join(body.decode() for body in audit_log.bodies)
