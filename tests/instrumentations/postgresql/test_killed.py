"""A process that is killed while rows leave has left a record of them, and says about how many there were."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.autoload.servers import Record, Spool, Start, starting
from tests.postgresql_cluster import Cluster

PREPARED = """
import asyncio, signal, sys
import otel_audit, psycopg
from otel_audit_psycopg import PsycopgAuditInstrumentor

otel_audit.configure()
PsycopgAuditInstrumentor().instrument()
ROWS = "SELECT generate_series(1, 100000000)"  # which PostgreSQL makes while they leave
EXPORT = f"COPY ({ROWS}) TO STDOUT"

def count(rows, enough):
    for number, _ in enumerate(rows, 1):
        if number == enough:
            print("enough", flush=True)
            signal.pause()

async def count_async(rows, enough):
    number = 0
    async for _ in rows:
        number += 1
        if number == enough:
            print("enough", flush=True)
            signal.pause()

async def main(use):
    async with await psycopg.AsyncConnection.connect(sys.argv[1]) as connection:
        await use(connection)

async def stream(connection):
    await count_async(connection.cursor().stream(ROWS), 150_000)

async def copy(connection):
    async with connection.cursor().copy(EXPORT) as copied:
        await count_async(copied, 150_000)

connection = psycopg.connect(sys.argv[1])
"""

WAYS = {
    "a stream": "count(connection.cursor().stream(ROWS), 150_000)",
    "a copy": "with connection.cursor().copy(EXPORT) as copied: count(copied, 150_000)",
    "a copy by rows": "with connection.cursor().copy(EXPORT) as copied: count(copied.rows(), 150_000)",
    "a stream with asyncio": "asyncio.run(main(stream))",
    "a copy with asyncio": "asyncio.run(main(copy))",
}


@pytest.fixture
def spool(tmp_path: Path) -> Spool:
    return Spool(tmp_path / "state")


@pytest.fixture
def start(tmp_path: Path, spool: Spool) -> Iterator[Start]:
    with starting(tmp_path / "folder", spool) as run:
        yield run


def _killed(start: Start, postgresql: Cluster, way: str) -> None:
    """A process that does it *way*, and is killed while it waits with what has left."""
    program = start(sys.executable, "-c", PREPARED + way, postgresql.tcp_dsn)
    program.wait_for_line("enough")
    program.kill()


def _rows(records: list[Record]) -> list[int]:
    return [record["context"]["db.response.returned_rows"] for record in records]


@pytest.mark.parametrize("way", WAYS)
def test_what_had_left_is_on_record(way: str, start: Start, spool: Spool, postgresql: Cluster) -> None:
    _killed(start, postgresql, WAYS[way])

    records = spool.records("db.query")
    rows = _rows(records)
    assert rows[0] <= 100
    assert rows == sorted(rows)
    assert 15_000 <= rows[-1] < 150_000
    assert {(record["outcome"], record["context"]["audit.reason"]) for record in records} == {
        ("unknown", "under-way")
    }
    assert {record["action"] for record in records} == {"EXPORT" if "copy" in way else "READ"}


def test_a_server_side_cursor_is_on_record_without_its_rows(
    start: Start, spool: Spool, postgresql: Cluster
) -> None:
    """Of `iterator()` of a Django query set too."""
    _killed(start, postgresql, "count(connection.cursor('named').execute(ROWS), 5_000)")

    (record,) = spool.records("db.query")
    assert (record["action"], record["outcome"]) == ("READ", "success")
    assert "db.response.returned_rows" not in record["context"]


def test_a_copy_into_the_database_is_undone_and_not_on_record(
    start: Start, spool: Spool, postgresql: Cluster
) -> None:
    _killed(
        start,
        postgresql,
        "connection.execute('CREATE TABLE killed (id int)'); connection.commit()\n"
        "with connection.cursor().copy('COPY killed FROM STDIN') as copied:\n"
        "    for id in range(10_000): copied.write_row((id,))\n"
        "    print('enough', flush=True); signal.pause()",
    )

    with psycopg.connect(postgresql.tcp_dsn) as connection:
        assert connection.execute("SELECT count(*) FROM killed").fetchone() == (0,)
        connection.execute("DROP TABLE killed")
    names = [record["context"]["db.operation.name"] for record in spool.records("db.query")]
    assert names == ["CREATE", "COMMIT"]
