"""How transactions end, on record: commit, rollback, blocks, savepoints, two phases."""

from __future__ import annotations

import uuid
from typing import Any

import psycopg
import pytest

from otel_audit.testing import AuditLog
from otel_audit_psycopg import PsycopgAuditInstrumentor
from tests.instrumentations.postgresql.conftest import Shop, Since


@pytest.fixture
def shop(shop_dsn: str, is_async: bool, audited: PsycopgAuditInstrumentor) -> Any:
    """Not in a transaction yet."""
    del audited
    shop = Shop(shop_dsn, is_async=is_async)
    yield shop
    shop.close()


def _ends(since: Since) -> list[tuple[str, str]]:
    return [(name, outcome) for name, outcome in since.summaries if not name.startswith(("SELECT", "BAD"))]


def test_commit_and_rollback_are_events_where_there_is_a_transaction(shop: Shop, since: Since) -> None:
    shop.do(shop.connection.commit())
    shop.execute("SELECT 1")
    shop.do(shop.connection.commit())
    shop.execute("SELECT 1")
    shop.do(shop.connection.rollback())
    shop.do(shop.connection.rollback())

    assert _ends(since) == [("COMMIT", "success"), ("ROLLBACK", "success")]


def test_a_commit_that_the_server_answers_with_a_rollback_is_a_failure(shop: Shop, since: Since) -> None:
    """PostgreSQL calls it a success, and psycopg raises nothing."""
    with pytest.raises(psycopg.errors.SyntaxError):
        shop.execute("bad")
    shop.do(shop.connection.commit())
    with pytest.raises(psycopg.errors.SyntaxError):
        shop.execute("bad")
    shop.execute("COMMIT")

    assert _ends(since) == [("COMMIT", "failure"), ("COMMIT", "failure")]
    assert since.codes[1] == ("failure", "psycopg.errors.InFailedSqlTransaction", "25P02")


def test_a_commit_that_a_deferred_constraint_refuses_is_a_failure(shop: Shop, since: Since) -> None:
    shop.execute("CREATE TEMP TABLE d (id int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
    shop.execute("INSERT INTO d VALUES (1), (1)")
    with pytest.raises(psycopg.errors.UniqueViolation):
        shop.do(shop.connection.commit())

    assert since.codes[-1] == ("failure", "psycopg.errors.UniqueViolation", "23505")
    assert since.summaries[-1] == ("COMMIT", "failure")


def test_leaving_a_with_block_ends_the_transaction_on_record(
    shop_dsn: str, is_async: bool, audited: object, audit_log: AuditLog
) -> None:
    since = Since(audit_log)
    for is_good in (True, False):
        shop = Shop(shop_dsn, is_async=is_async)
        try:
            with shop.inside(shop.connection):
                shop.execute("SELECT 1")
                assert is_good
        except AssertionError:
            pass
        shop.close()

    assert _ends(since) == [("COMMIT", "success"), ("ROLLBACK", "success")]


def test_closing_with_an_open_transaction_is_a_rollback(shop: Shop, since: Since) -> None:
    shop.execute("SELECT 1")

    shop.do(shop.connection.close())
    shop.do(shop.connection.close())

    assert _ends(since) == [("ROLLBACK", "success")]


def test_a_block_ends_on_record(shop: Shop, since: Since) -> None:
    with shop.inside(shop.connection.transaction()):
        shop.execute("SELECT 1")
    with pytest.raises(ZeroDivisionError), shop.inside(shop.connection.transaction()):
        raise ZeroDivisionError
    with shop.inside(shop.connection.transaction()):
        raise psycopg.Rollback
    with shop.inside(shop.connection.transaction(force_rollback=True)):
        pass

    assert _ends(since) == [
        ("COMMIT", "success"),
        ("ROLLBACK", "success"),
        ("ROLLBACK", "success"),
        ("ROLLBACK", "success"),
    ]


def test_a_block_inside_another_is_a_savepoint(shop: Shop, since: Since) -> None:
    with shop.inside(shop.connection.transaction()):
        with shop.inside(shop.connection.transaction("one")):
            shop.execute("SELECT 1")
        with shop.inside(shop.connection.transaction("two")):
            raise psycopg.Rollback

    assert [
        (record["context"]["db.operation.name"], record["target"]["id"], record["outcome"])
        for record in since.records
    ] == [
        ("SAVEPOINT", "one", "success"),
        ("SELECT", "shop", "success"),
        ("RELEASE", "one", "success"),
        ("SAVEPOINT", "two", "success"),
        ("ROLLBACK TO", "two", "success"),
        ("COMMIT", "shop", "success"),
    ]


def test_a_block_that_swallowed_a_failure_does_not_commit(shop: Shop, since: Since) -> None:
    with shop.inside(shop.connection.transaction()), pytest.raises(psycopg.errors.SyntaxError):
        shop.execute("bad")

    assert _ends(since) == [("COMMIT", "failure")]


def test_a_block_whose_commit_is_refused_is_a_failure(shop: Shop, since: Since) -> None:
    create = "CREATE TEMP TABLE d (id int UNIQUE DEFERRABLE INITIALLY DEFERRED); INSERT INTO d VALUES (1), (1)"
    with pytest.raises(psycopg.errors.UniqueViolation), shop.inside(shop.connection.transaction()):
        shop.execute(create)

    assert since.summaries[-1] == ("COMMIT", "failure")


def test_a_block_that_cannot_begin_is_no_event(shop: Shop, since: Since) -> None:
    shop.do(shop.connection.close())
    before = len(since.records)

    with pytest.raises(psycopg.OperationalError), shop.inside(shop.connection.transaction()):
        pass

    assert since.records[before:] == []


def test_two_phases_are_two_events(shop: Shop, since: Since) -> None:
    for end in ("tpc_commit", "tpc_rollback"):
        shop.do(shop.connection.tpc_begin(shop.connection.xid(1, uuid.uuid4().hex, "x")))
        shop.execute("SELECT 1")
        shop.do(shop.connection.tpc_prepare())
        shop.do(getattr(shop.connection, end)())

    assert _ends(since) == [
        ("PREPARE TRANSACTION", "success"),
        ("COMMIT PREPARED", "success"),
        ("PREPARE TRANSACTION", "success"),
        ("ROLLBACK PREPARED", "success"),
    ]


def test_a_single_phase_of_two_is_a_plain_end(shop: Shop, since: Since) -> None:
    shop.do(shop.connection.tpc_begin(shop.connection.xid(1, uuid.uuid4().hex, "x")))
    shop.do(shop.connection.tpc_commit())

    assert _ends(since) == [("COMMIT", "success")]


def test_the_end_of_anothers_prepared_transaction_is_on_record(shop: Shop, shop_dsn: str, since: Since) -> None:
    name = uuid.uuid4().hex
    shop.do(shop.connection.tpc_begin(name))
    shop.execute("SELECT 1")
    shop.do(shop.connection.tpc_prepare())
    other = psycopg.connect(shop_dsn)
    with pytest.raises(psycopg.errors.UndefinedObject):
        other.tpc_commit(name + "x")
    other.tpc_rollback(name)
    other.close()

    assert _ends(since) == [
        ("PREPARE TRANSACTION", "success"),
        ("COMMIT PREPARED", "failure"),
        ("ROLLBACK PREPARED", "success"),
    ]
