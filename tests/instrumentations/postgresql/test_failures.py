"""What goes wrong half-way: timeouts, lost connections, Ctrl-C, cancelled tasks."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

import psycopg
import pytest

from otel_audit.testing import AuditLog
from tests.instrumentations.postgresql.conftest import Shop, Since, shut


def _wait_for(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(0.01)


@contextmanager
def _once_it_sleeps(dsn: str, pid: int, act: Callable[[psycopg.Connection], object]) -> Generator[None]:
    """Do *act*, from a thread, once the session *pid* is in pg_sleep."""

    def run() -> None:
        with psycopg.connect(dsn, autocommit=True) as watcher:
            query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
            _wait_for(lambda: watcher.execute(query, (pid,)).fetchone() is not None)
            act(watcher)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def _of_sleep(since: Since) -> list[tuple[str, str | None, str | None]]:
    return [
        code
        for record, code in zip(since.records, since.codes, strict=True)
        if "pg_sleep" in record["context"].get("db.query.text", "")
    ]


def test_a_statement_timeout_is_a_failure(autocommit: Shop, since: Since) -> None:
    autocommit.execute("SET statement_timeout = 50")
    with pytest.raises(psycopg.errors.QueryCanceled):
        autocommit.execute("SELECT pg_sleep(60)")

    assert _of_sleep(since) == [("failure", "psycopg.errors.QueryCanceled", "57014")]


def test_a_cancelled_statement_is_a_failure(autocommit: Shop, shop_dsn: str, since: Since) -> None:
    pid = autocommit.connection.info.backend_pid
    with (
        _once_it_sleeps(shop_dsn, pid, lambda _: autocommit.connection.cancel()),
        pytest.raises(psycopg.errors.QueryCanceled),
    ):
        autocommit.execute("SELECT pg_sleep(60)")

    assert _of_sleep(since) == [("failure", "psycopg.errors.QueryCanceled", "57014")]


def test_a_session_that_the_server_ends_is_a_failure_that_it_says_itself(
    autocommit: Shop, shop_dsn: str, since: Since
) -> None:
    pid = autocommit.connection.info.backend_pid
    with (
        _once_it_sleeps(shop_dsn, pid, lambda watcher: watcher.execute("SELECT pg_terminate_backend(%s)", (pid,))),
        pytest.raises(psycopg.errors.AdminShutdown),
    ):
        autocommit.execute("SELECT pg_sleep(60)")

    assert _of_sleep(since) == [("failure", "psycopg.errors.AdminShutdown", "57P01")]


def test_a_lost_connection_leaves_the_statement_unknown_and_later_ones_failed(
    autocommit: Shop, shop_dsn: str, since: Since
) -> None:
    """The statement may have been done; what is tried afterwards never leaves this machine."""
    connection = autocommit.connection
    descriptor = connection.fileno()
    with (
        _once_it_sleeps(shop_dsn, connection.info.backend_pid, lambda _: shut(descriptor)),
        pytest.raises(psycopg.OperationalError),
    ):
        autocommit.execute("SELECT pg_sleep(60)")
    with pytest.raises(psycopg.OperationalError):
        autocommit.do(connection.cursor_factory(connection).execute("DELETE FROM t"))

    assert _of_sleep(since) == [("unknown", "psycopg.OperationalError", None)]
    assert since.codes[-1] == ("failure", "psycopg.OperationalError", None)


@pytest.mark.parametrize("is_async", [False], ids=["sync"], indirect=True)
def test_an_interrupt_leaves_the_statement_unknown_and_is_raised_unchanged(
    autocommit: Shop, shop_dsn: str, since: Since
) -> None:
    main = threading.main_thread().ident
    assert main is not None
    pid = autocommit.connection.info.backend_pid
    with (
        _once_it_sleeps(shop_dsn, pid, lambda _: signal.pthread_kill(main, signal.SIGINT)),
        pytest.raises(KeyboardInterrupt),
    ):
        autocommit.execute("SELECT pg_sleep(60)")

    assert _of_sleep(since) == [("unknown", "KeyboardInterrupt", None)]
    assert autocommit.execute("SELECT 1").fetchone() == (1,)


def test_a_cancelled_task_leaves_the_statement_unknown(shop_dsn: str, audited: object, audit_log: AuditLog) -> None:
    async def main() -> None:
        connection = await psycopg.AsyncConnection.connect(shop_dsn, autocommit=True)
        task = asyncio.create_task(connection.execute("SELECT pg_sleep(60)"))
        watcher = await psycopg.AsyncConnection.connect(shop_dsn, autocommit=True)
        query = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'"
        while await (await watcher.execute(query, (connection.info.backend_pid,))).fetchone() is None:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await connection.close()
        await watcher.close()

    since = Since(audit_log)
    asyncio.run(main())

    assert _of_sleep(since) == [("unknown", "asyncio.exceptions.CancelledError", None)]


def test_what_is_tried_on_a_closed_connection_or_cursor_is_a_failure(autocommit: Shop, since: Since) -> None:
    cursor = autocommit.cursor()
    autocommit.do(cursor.close())
    with pytest.raises(psycopg.InterfaceError):
        autocommit.do(cursor.execute("DELETE FROM t"))
    cursor = autocommit.cursor()
    autocommit.do(autocommit.connection.close())
    with pytest.raises(psycopg.OperationalError):
        autocommit.do(cursor.execute("DELETE FROM t"))

    assert since.codes == [
        ("failure", "psycopg.InterfaceError", None),
        ("failure", "psycopg.OperationalError", None),
    ]
