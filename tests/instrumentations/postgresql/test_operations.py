"""The table of operations, which sqlite3 and psycopg share, against a real PostgreSQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from otel_audit.testing import AuditLog, Record
from tests.instrumentations.postgresql.conftest import Shop, Since

OPERATIONS = [
    case
    for case in json.loads((Path(__file__).parents[1] / "sql_operations.json").read_text())
    if "postgresql" in case["databases"] and case.get("runs", True)
]
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


def _prepare(case: dict[str, Any], shop: Shop) -> None:
    for statement in case.get("before", []):
        shop.execute(statement)
    if case.get("is_alone"):
        shop.do(shop.connection.rollback())
        shop.do(shop.connection.set_autocommit(True))


@pytest.mark.parametrize("case", OPERATIONS, ids=lambda case: case["sql"][:60])
def test_an_operation_is_one_event(case: dict[str, Any], shop: Shop, audit_log: AuditLog) -> None:
    _prepare(case, shop)
    since = Since(audit_log)

    if "STDOUT" in case["sql"] or "STDIN" in case["sql"]:
        with shop.inside(shop.cursor().copy(case["sql"])) as copy:
            if "STDIN" in case["sql"]:
                shop.do(copy.write_row((7, "x")))
            else:
                assert len(list(shop.each(copy.__aiter__() if shop.is_async else copy))) == 2
    else:
        shop.execute(case["sql"])

    assert _recorded(since.records) == _expected(case)
