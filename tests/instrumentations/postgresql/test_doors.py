"""The doors stand on psycopg's own classes, and leave all else as it was."""

from __future__ import annotations

import asyncio
import inspect
import pickle
import subprocess
import sys
from typing import Any

import psycopg
import psycopg_pool
import pytest
from opentelemetry.instrumentation.psycopg import PsycopgInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from otel_audit.testing import AuditLog
from otel_audit_psycopg import PsycopgAuditInstrumentor
from tests.instrumentations.postgresql.conftest import Shop, Since

COUNT = "SELECT count(*) FROM customers"


def test_classes_names_and_factories_are_what_they_were(shop: Shop) -> None:
    connection = shop.connection
    plain: Any = psycopg.AsyncCursor if shop.is_async else psycopg.Cursor
    named: Any = psycopg.AsyncServerCursor if shop.is_async else psycopg.ServerCursor

    assert type(connection) is (psycopg.AsyncConnection if shop.is_async else psycopg.Connection)
    assert connection.cursor_factory is plain
    assert connection.server_cursor_factory is named
    assert type(shop.cursor()) is plain
    assert repr(shop.cursor()).startswith(f"<psycopg.{plain.__name__} [no result]")
    assert plain.execute.__qualname__ == f"{plain.__name__}.execute"
    assert list(inspect.signature(plain.execute).parameters) == ["self", "query", "params", "prepare", "binary"]
    assert inspect.iscoroutinefunction(plain.execute) == shop.is_async
    assert inspect.isasyncgenfunction(plain.stream) == shop.is_async
    assert pickle.loads(pickle.dumps(plain.execute)) is plain.execute


def test_row_factories_and_adapters_work_as_ever(shop: Shop, since: Since) -> None:
    shop.connection.row_factory = dict_row
    cursor = shop.execute("SELECT %s AS document, name FROM customers WHERE id = 1", (Jsonb({"a": 1}),))

    assert shop.do(cursor.fetchall()) == [{"document": {"a": 1}, "name": "alice"}]
    assert since.rows == [("SELECT customers", None, 1)]


def test_a_subclass_that_overrides_execute_is_one_event(shop: Shop, since: Since) -> None:
    plain: Any = psycopg.AsyncCursor if shop.is_async else psycopg.Cursor

    class Shouting(plain):  # type: ignore[misc] # a class chosen by the test
        def execute(self, query: str, *args: Any, **kwargs: Any) -> Any:
            beneath: Any = super()
            return beneath.execute(query.upper(), *args, **kwargs)

    shop.connection.cursor_factory = Shouting
    shop.execute("select * from customers")

    assert since.summaries == [("SELECT CUSTOMERS", "success")]


@pytest.mark.parametrize("is_async", [False], ids=["sync"], indirect=True)
def test_a_pool_is_on_record(shop_dsn: str, is_async: bool, audited: object, audit_log: AuditLog) -> None:
    del is_async
    with psycopg_pool.ConnectionPool(
        shop_dsn, min_size=1, max_size=2, check=psycopg_pool.ConnectionPool.check_connection
    ) as pool:
        with pool.connection() as connection:
            connection.execute(COUNT)
        connection = pool.getconn()
        connection.execute(COUNT)
        pool.putconn(connection)  # which rolls back

    names = [record["context"]["db.operation.name"] for record in audit_log.records]
    assert names == ["SELECT", "COMMIT", "SELECT", "ROLLBACK"]


def test_a_pool_with_asyncio_is_on_record(shop_dsn: str, audited: object, audit_log: AuditLog) -> None:
    async def main() -> None:
        async with (
            psycopg_pool.AsyncConnectionPool(shop_dsn, min_size=1, open=False) as pool,
            pool.connection() as connection,
        ):
            await connection.execute(COUNT)

    asyncio.run(main())

    assert [record["context"]["db.operation.name"] for record in audit_log.records] == ["SELECT", "COMMIT"]


def test_connections_made_before_are_recorded_too(shop_dsn: str, audit_log: AuditLog) -> None:
    with psycopg.connect(shop_dsn) as connection:
        cursor = connection.cursor()
        cursor.execute(COUNT)
        instrumentor = PsycopgAuditInstrumentor()
        instrumentor.instrument()
        cursor.execute(COUNT)
        instrumentor.uninstrument()
        cursor.execute(COUNT)

    assert len(audit_log.records) == 1


def test_uninstrument_leaves_psycopg_as_it_was() -> None:
    before = {name: vars(psycopg.Cursor)[name] for name in ("execute", "executemany", "stream", "copy")}
    instrumentor = PsycopgAuditInstrumentor()
    instrumentor.instrument()
    changed = [name for name, method in before.items() if vars(psycopg.Cursor)[name] is not method]
    instrumentor.uninstrument()

    assert changed == list(before)
    assert {name: vars(psycopg.Cursor)[name] for name in before} == before


@pytest.mark.parametrize("is_contribs_first", [True, False], ids=["contrib first", "contrib last"])
def test_beside_contribs_instrumentation_a_statement_is_one_event(
    is_contribs_first: bool, shop_dsn: str, audit_log: AuditLog
) -> None:
    both: list[Any] = [PsycopgInstrumentor(), PsycopgAuditInstrumentor()]
    for instrumentor in both if is_contribs_first else reversed(both):
        instrumentor.instrument()
    try:
        with psycopg.connect(shop_dsn) as connection:
            connection.execute(COUNT)
            connection.cursor().executemany("DELETE FROM notes WHERE id = %s", [(-1,)])
    finally:
        for instrumentor in both:
            instrumentor.uninstrument()

    names = [record["context"]["db.operation.name"] for record in audit_log.records]
    assert names == ["SELECT", "DELETE", "COMMIT"]


@pytest.mark.parametrize("is_contribs_first", [True, False], ids=["contrib first", "contrib last"])
def test_a_statement_has_the_ids_of_contribs_span(
    is_contribs_first: bool, shop_dsn: str, is_async: bool, audit_log: AuditLog
) -> None:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    contrib, ours = PsycopgInstrumentor(), PsycopgAuditInstrumentor()
    if not is_contribs_first:
        ours.instrument()
    contrib.instrument(tracer_provider=provider)
    ours.instrument()
    try:
        with provider.get_tracer("shop").start_as_current_span("request"):
            shop = Shop(shop_dsn, is_async=is_async)
            shop.do(shop.cursor().execute(COUNT))
            shop.close()
    finally:
        contrib.uninstrument()
        ours.uninstrument()

    statement = next(span for span in spans.get_finished_spans() if span.name == "SELECT").get_span_context()
    assert statement is not None
    (record, rollback) = audit_log.records
    assert (record["trace_id"], record["span_id"]) == (f"{statement.trace_id:032x}", f"{statement.span_id:016x}")
    assert rollback["trace_id"] == record["trace_id"]


def test_without_a_pipeline_nothing_is_recorded_and_all_works(shop_dsn: str, audited: object) -> None:
    with psycopg.connect(shop_dsn) as connection:
        assert connection.execute(COUNT).fetchone() == (2,)


PROGRAM = """
import sys
from otel_audit_psycopg import PsycopgAuditInstrumentor
PsycopgAuditInstrumentor().instrument()
assert "psycopg" not in sys.modules
from psycopg import Cursor
print(hasattr(Cursor.execute, "__wrapped__"))
PsycopgAuditInstrumentor().uninstrument()
print(hasattr(Cursor.execute, "__wrapped__"))
"""


def test_psycopg_is_imported_by_the_application_alone() -> None:
    """It takes 0.15 s, and most processes under `opentelemetry-instrument` never use it."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["True", "False"]
