"""A shop in a real PostgreSQL, and both of psycopg's faces before it, so that one test holds for the two."""

from __future__ import annotations

import asyncio
import inspect
import os
import socket
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from otel_audit.testing import AuditLog, Record
from otel_audit_psycopg import PsycopgAuditInstrumentor
from tests.postgresql_cluster import Cluster

SCHEMA = """
    CREATE TABLE customers (id integer PRIMARY KEY, name text);
    CREATE TABLE notes (id serial PRIMARY KEY, customer_id integer, text text);
    INSERT INTO customers VALUES (1, 'alice'), (2, 'bob');
    INSERT INTO notes (customer_id, text) VALUES (1, 'private');
"""


class Shop:
    """A connection to the shop, with or without asyncio: what is awaited there is awaited here."""

    def __init__(self, dsn: str, *, is_async: bool, **arguments: Any) -> None:
        self.dsn = dsn
        self.is_async = is_async
        self.runner = asyncio.Runner() if is_async else None
        connect: Any = psycopg.AsyncConnection.connect if is_async else psycopg.connect
        self.connection: Any = self.do(connect(dsn, **arguments))

    def do(self, result: Any) -> Any:
        """What a call returned, awaited where it is to be."""
        if self.runner is None or not inspect.isawaitable(result):
            return result

        async def wait() -> Any:
            return await result

        return self.runner.run(wait())

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        return self.do(self.connection.execute(*args, **kwargs))

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        return self.connection.cursor(*args, **kwargs)

    def each(self, rows: Any) -> Iterator[Any]:
        """Iterate, asynchronously where it must be."""
        if self.runner is None:
            yield from rows
            return
        while True:
            try:
                yield self.do(anext(rows))
            except StopAsyncIteration:
                return

    @contextmanager
    def inside(self, context: Any) -> Generator[Any]:
        """Enter and leave *context*, likewise."""
        if self.runner is None:
            with context as entered:
                yield entered
            return
        entered = self.do(context.__aenter__())
        try:
            yield entered
        except BaseException as error:
            if not self.do(context.__aexit__(type(error), error, error.__traceback__)):
                raise
        else:
            self.do(context.__aexit__(None, None, None))

    def close(self) -> None:
        self.do(self.connection.close())
        if self.runner is not None:
            self.runner.close()


def shut(descriptor: int) -> None:
    """End a connection on this side of it, as a broken network would."""
    with socket.socket(fileno=os.dup(descriptor)) as wire:
        wire.shutdown(socket.SHUT_RDWR)


class Since:
    """The records made after it was made, of what is over by then."""

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._before = len(log.records)

    @property
    def records(self) -> list[Record]:
        return [record for record in self._log.records[self._before :] if not _is_under_way(record)]

    @property
    def under_way(self) -> list[Record]:
        """The others: how many there are of what is short depends on how busy the machine is."""
        return [record for record in self._log.records[self._before :] if _is_under_way(record)]

    @property
    def summaries(self) -> list[tuple[str, str]]:
        return [(record["context"]["db.query.summary"], record["outcome"]) for record in self.records]

    @property
    def rows(self) -> list[tuple[str, int | None, int | None]]:
        """Of each: its summary, how many rows it changed, how many left."""
        contexts = [record["context"] for record in self.records]
        return [
            (
                context["db.query.summary"],
                context.get("db.response.affected_rows"),
                context.get("db.response.returned_rows"),
            )
            for context in contexts
        ]

    @property
    def codes(self) -> list[tuple[str, str | None, str | None]]:
        """Of each: its outcome, what its error is called, its SQLSTATE."""
        return [
            (
                record["outcome"],
                record["context"].get("error.type"),
                record["context"].get("db.response.status_code"),
            )
            for record in self.records
        ]


def _is_under_way(record: Record) -> bool:
    return bool(record["context"].get("audit.reason") == "under-way")


@pytest.fixture(scope="session")
def shop_dsn(postgresql: Cluster) -> str:
    """Of a database of its own, with two customers and a note."""
    with psycopg.connect(postgresql.tcp_dsn, autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop")
    dsn = postgresql.tcp_dsn.replace("dbname=postgres", "dbname=shop")
    with psycopg.connect(dsn) as connection:
        connection.execute(SCHEMA)
    return dsn


@pytest.fixture
def audited() -> Iterator[PsycopgAuditInstrumentor]:
    """Psycopg audited, for one test."""
    instrumentor = PsycopgAuditInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    if instrumentor.is_instrumented_by_opentelemetry:
        instrumentor.uninstrument()


@pytest.fixture(params=["sync", "asyncio"])
def is_async(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "asyncio")


@pytest.fixture
def shop(shop_dsn: str, is_async: bool, audited: PsycopgAuditInstrumentor) -> Iterator[Shop]:
    """A connection whose transaction has begun, and is rolled back."""
    del audited
    shop = Shop(shop_dsn, is_async=is_async)
    shop.execute("BEGIN")
    yield shop
    shop.close()


@pytest.fixture
def autocommit(shop_dsn: str, is_async: bool, audited: PsycopgAuditInstrumentor) -> Iterator[Shop]:
    """A connection that commits each statement, with a table of its own: `t (id)`, 1 to 250."""
    del audited
    shop = Shop(shop_dsn, is_async=is_async, autocommit=True)
    shop.execute("CREATE TEMP TABLE t AS SELECT generate_series(1, 250) AS id")
    shop.execute("CREATE UNIQUE INDEX ON t (id)")
    yield shop
    shop.close()


@pytest.fixture
def since(audit_log: AuditLog, request: pytest.FixtureRequest) -> Since:
    """From here on; ask for it after the connection."""
    for name in ("shop", "autocommit"):
        if name in request.fixturenames:
            request.getfixturevalue(name)
    return Since(audit_log)
