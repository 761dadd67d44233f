"""What is recorded of psycopg: the real module, a real PostgreSQL, a real stream in memory."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from otel_audit.testing import AuditLog, Record
from otel_audit_psycopg import PsycopgAuditInstrumentor
from tests.postgresql_cluster import Cluster

OPERATIONS = [
    case
    for case in json.loads(Path(__file__).with_name("sql_operations.json").read_text())
    if "postgresql" in case["databases"] and case.get("runs", True)
]
SCHEMA = """
    DROP TABLE IF EXISTS customers, notes, orders, copied CASCADE;
    DROP ROLE IF EXISTS bob, admin;
    CREATE TABLE customers (id integer PRIMARY KEY, name text);
    CREATE TABLE notes (id serial PRIMARY KEY, customer_id integer, text text);
    INSERT INTO customers VALUES (1, 'alice'), (2, 'bob');
    INSERT INTO notes (customer_id, text) VALUES (1, 'private');
"""


@pytest.fixture(autouse=True)
def _audited(audit_log: AuditLog) -> Iterator[None]:
    del audit_log
    instrumentor = PsycopgAuditInstrumentor()
    instrumentor.instrument()
    yield
    instrumentor.uninstrument()


@pytest.fixture(scope="module")
def shop_dsn(postgresql: Cluster) -> str:
    """Of a database of its own, with two customers and a note."""
    with psycopg.connect(postgresql.tcp_dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    dsn = postgresql.tcp_dsn.replace("dbname=postgres", "dbname=shop")
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA)
    return dsn


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
def shop(shop_dsn: str) -> Iterator[psycopg.Connection]:
    """A connection whose transaction has begun, and is rolled back."""
    connection = psycopg.connect(shop_dsn)
    connection.execute("BEGIN")
    yield connection
    connection.close()


@pytest.fixture
def since(shop: psycopg.Connection, audit_log: AuditLog) -> Since:
    return Since(audit_log)


PLAN = "the lines of a plan"
"""How many there are is the server's version's own affair."""


def _expected(case: dict[str, Any]) -> list[object]:
    target = case["target"] or ["shop", "db.namespace"]
    rows = case.get("postgresql", {})
    affected = rows.get("affected_rows", case.get("affected_rows"))
    expected = (
        (case["action"], "success", {"id": target[0], "type": target[1]}, case["summary"]),
        (affected, rows.get("returned_rows")),
    )
    return [expected] if case["operation"] else []


def _recorded(records: list[Record]) -> list[object]:
    recorded: list[object] = []
    for record in records:
        context = record["context"]
        returned = PLAN if context["db.operation.name"] == "EXPLAIN" else context.get("db.response.returned_rows")
        recorded.append(
            (
                (record["action"], record["outcome"], record["target"], context["db.query.summary"]),
                (context.get("db.response.affected_rows"), returned),
            )
        )
    return recorded


def _prepare(case: dict[str, Any], shop: psycopg.Connection) -> None:
    for statement in case.get("before", []):
        shop.execute(statement)
    if case.get("is_alone"):
        shop.rollback()
        shop.autocommit = True


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case["sql"][:60])
def test_an_operation_is_one_event(case: dict[str, Any], shop: psycopg.Connection, audit_log: AuditLog) -> None:
    _prepare(case, shop)
    since = Since(audit_log)

    if "STDOUT" in case["sql"] or "STDIN" in case["sql"]:
        with shop.cursor().copy(case["sql"]) as copy:
            list(copy) if "STDOUT" in case["sql"] else copy.write_row((7, "x"))
    else:
        shop.execute(case["sql"])

    assert _recorded(since.records) == _expected(case)
