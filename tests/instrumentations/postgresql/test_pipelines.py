"""Pipeline mode: sent by one call, answered in another, on record with the outcome that it had."""

from __future__ import annotations

import contextlib

import psycopg
import pytest

from tests.instrumentations.postgresql.conftest import Shop, Since, shut


def test_a_pipelined_statement_is_recorded_with_its_own_result(autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.connection.pipeline()):
        autocommit.execute("DELETE FROM t WHERE id <= 3")
        cursor = autocommit.cursor()
        autocommit.do(cursor.execute("SELECT * FROM t WHERE id < 10"))
        autocommit.do(cursor.execute("UPDATE t SET id = id + 1000 WHERE id < 6"))
        autocommit.do(autocommit.cursor().executemany("INSERT INTO t VALUES (%s)", [(3000,), (3001,)]))

    assert since.rows == [
        ("DELETE t", 3, None),
        ("SELECT t", None, 6),
        ("UPDATE t", 2, None),
        ("BATCH INSERT t", 2, None),
    ]


def test_a_read_is_on_record_before_its_rows_can_be_fetched(autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.connection.pipeline()):
        cursor = autocommit.execute("SELECT * FROM t")
        assert len(autocommit.do(cursor.fetchall())) == 250
        assert since.rows == [("SELECT t", None, 250)]


def _fail_in_pipeline(shop: Shop, *statements: str) -> None:
    def run() -> None:
        with shop.inside(shop.connection.pipeline()):
            for statement in statements:
                shop.execute(statement)

    with pytest.raises(psycopg.errors.UniqueViolation):
        run()


def test_each_statement_of_a_failed_pipeline_has_its_own_outcome(autocommit: Shop, since: Since) -> None:
    _fail_in_pipeline(autocommit, "DELETE FROM t WHERE id = 250", "INSERT INTO t VALUES (1)", "DELETE FROM t")

    assert since.summaries == [
        ("DELETE t", "success"),
        ("INSERT t", "failure"),
        ("ROLLBACK", "success"),
        ("DELETE t", "failure"),
    ]
    assert [code for _, _, code in since.codes] == [None, "23505", None, None]
    assert since.codes[3][1] == "psycopg.errors.PipelineAborted"
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (250,)


def test_after_a_sync_a_pipeline_goes_on(autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.connection.pipeline()) as pipeline:
        autocommit.execute("INSERT INTO t VALUES (1)")
        with pytest.raises(psycopg.errors.UniqueViolation):
            autocommit.do(pipeline.sync())
        autocommit.execute("INSERT INTO t VALUES (1000)")

    assert since.summaries == [("INSERT t", "failure"), ("ROLLBACK", "success"), ("INSERT t", "success")]


def test_a_statement_that_is_never_sent_fails_by_itself(autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.connection.pipeline()):
        autocommit.execute("SELECT 1")
        with pytest.raises(psycopg.ProgrammingError, match="placeholders"):
            autocommit.execute("SELECT %s", (1, 2))
        autocommit.execute("SELECT * FROM t")

    assert sorted(since.summaries) == [("SELECT", "failure"), ("SELECT", "success"), ("SELECT t", "success")]


def test_in_a_transaction_it_is_the_transaction_that_is_rolled_back(autocommit: Shop, since: Since) -> None:
    def fail() -> None:
        with (
            autocommit.inside(autocommit.connection.pipeline()),
            autocommit.inside(autocommit.connection.transaction()),
        ):
            autocommit.execute("DELETE FROM t WHERE id = 250")
            autocommit.execute("INSERT INTO t VALUES (1)")

    with pytest.raises(psycopg.errors.UniqueViolation):
        fail()

    assert since.summaries == [("DELETE t", "success"), ("INSERT t", "failure"), ("ROLLBACK", "success")]


def test_a_transaction_in_a_pipeline_commits_on_record(autocommit: Shop, since: Since) -> None:
    with (
        autocommit.inside(autocommit.connection.pipeline()),
        autocommit.inside(autocommit.connection.transaction()),
    ):
        autocommit.execute("DELETE FROM t WHERE id = 250")

    assert since.summaries == [("DELETE t", "success"), ("COMMIT", "success")]


def test_commit_in_a_pipeline_is_on_record(shop: Shop, since: Since) -> None:
    with shop.inside(shop.connection.pipeline()):
        shop.execute("UPDATE customers SET name = name")
        shop.do(shop.connection.commit())

    assert since.summaries == [("UPDATE customers", "success"), ("COMMIT", "success")]


def test_executemany_that_fails_in_a_pipeline_is_one_failure(autocommit: Shop, since: Since) -> None:
    with pytest.raises(psycopg.errors.UniqueViolation), autocommit.inside(autocommit.connection.pipeline()):
        autocommit.do(autocommit.cursor().executemany("INSERT INTO t VALUES (%s)", [(1000,), (1,), (1001,)]))

    assert since.summaries == [("ROLLBACK", "success"), ("BATCH INSERT t", "failure")]


def test_what_a_broken_pipeline_never_heard_of_is_unknown(autocommit: Shop, since: Since) -> None:
    with contextlib.suppress(psycopg.Error), autocommit.inside(autocommit.connection.pipeline()):
        autocommit.execute("DELETE FROM t WHERE pg_sleep(60) IS NOT NULL")
        autocommit.execute("DELETE FROM t")
        shut(autocommit.connection.fileno())

    assert autocommit.connection.closed
    assert since.summaries == [("DELETE t", "unknown"), ("DELETE t", "unknown")]


def test_executemany_that_fails_while_it_is_still_sending_is_one_failure(autocommit: Shop, since: Since) -> None:
    """Psycopg raises as soon as it hears of the mistake, with statements on their way."""
    names = ((number % 1000 + 1,) for number in range(50_000))
    with pytest.raises(psycopg.errors.UniqueViolation), autocommit.inside(autocommit.connection.pipeline()):
        autocommit.do(autocommit.cursor().executemany("INSERT INTO t VALUES (%s)", names))

    assert since.summaries == [("ROLLBACK", "success"), ("BATCH INSERT t", "failure")]
    assert since.codes[1] == ("failure", "psycopg.errors.UniqueViolation", "23505")


def test_where_psycopg_has_begun_a_transaction_nothing_is_taken_back_yet(shop: Shop, since: Since) -> None:
    shop.do(shop.connection.rollback())
    before = len(since.records)

    with pytest.raises(psycopg.errors.DivisionByZero), shop.inside(shop.connection.pipeline()):
        shop.execute("SELECT 1 / 0")

    assert since.summaries[before:] == [("SELECT", "failure")]
