"""`OTEL_AUDIT_SQL_COMMENT`: the trace in the statement, as the database's own log has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import sql

from otel_audit.capture.request import RequestScope, current_request
from otel_audit.capture.sql_config import SqlCaptureConfig, configure_sql
from otel_audit.event import ANONYMOUS
from otel_audit.testing import AuditLog
from tests.instrumentations.postgresql.conftest import Shop, Since
from tests.postgresql_cluster import Cluster

COMMENT = f"/*traceparent='00-{'1' * 32}-{'2' * 16}-00'*/"


@pytest.fixture
def _commenting(audit_log: AuditLog) -> Iterator[None]:
    del audit_log  # which sets everything to its default
    configure_sql(SqlCaptureConfig(is_commenting=True))
    yield
    configure_sql(SqlCaptureConfig())


@pytest.fixture
def _request() -> Iterator[None]:
    scope = RequestScope(
        trace_id="1" * 32, span_id="2" * 16, source=None, path="/", method="GET", resolve_actor=lambda: ANONYMOUS
    )
    token = current_request.set(scope)
    yield
    current_request.reset(token)


def _sent(shop: Shop) -> str:
    """The statement as the server has it."""
    query = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    (text,) = shop.do(shop.execute(query).fetchone())
    assert isinstance(text, str)
    return text.removeprefix(query)


@pytest.mark.usefixtures("_commenting", "_request")
def test_a_statement_carries_its_trace(autocommit: Shop, since: Since) -> None:
    assert _sent(autocommit) == f" {COMMENT}"

    assert (since.records[0]["trace_id"], since.records[0]["span_id"]) == ("1" * 32, "2" * 16)
    assert "traceparent" not in since.records[0]["context"]["db.query.text"]


@pytest.mark.usefixtures("_commenting", "_request")
@pytest.mark.parametrize(
    "query",
    [
        "SELECT current_query(), %s;",
        b"SELECT current_query(), %s;",
        sql.SQL("SELECT current_query(), {}").format(sql.Placeholder()),
    ],
    ids=["text", "bytes", "composed"],
)
def test_text_bytes_and_composed_sql_carry_it(query: Any, autocommit: Shop) -> None:
    (text, one) = autocommit.do(autocommit.execute(query, (1,)).fetchone())

    assert text.startswith(f"SELECT current_query(), $1 {COMMENT}")
    assert one == 1


@pytest.mark.usefixtures("_commenting", "_request")
def test_it_does_not_come_into_the_data_of_a_copy(autocommit: Shop, since: Since, postgresql: Cluster) -> None:
    with autocommit.inside(autocommit.cursor().copy("COPY t (id) FROM STDIN")) as copy:
        autocommit.do(copy.write_row((1000,)))

    assert since.rows == [("COPY t", 1, None)]
    assert f"COPY t (id) FROM STDIN {COMMENT}" in postgresql.log.read_text()


@pytest.mark.usefixtures("_commenting", "_request")
def test_streams_and_server_side_cursors_carry_it(shop: Shop, postgresql: Cluster) -> None:
    list(shop.each(shop.cursor().stream("SELECT 'a stream'")))
    cursor = shop.cursor("named")
    shop.do(cursor.execute("SELECT 'a cursor'"))
    shop.do(cursor.close())

    log = postgresql.log.read_text()
    assert f"SELECT 'a stream' {COMMENT}" in log
    assert f"FOR SELECT 'a cursor' {COMMENT}" in log


@pytest.mark.usefixtures("_commenting", "_request")
@pytest.mark.parametrize("comment", [" -- mine", " /* mine */"])
def test_a_statement_with_a_comment_is_left_alone(comment: str, autocommit: Shop) -> None:
    """By the convention: "we must not mutate that statement"."""
    (text,) = autocommit.do(autocommit.execute(f"SELECT current_query(){comment}").fetchone())

    assert text == f"SELECT current_query(){comment}"


@pytest.mark.usefixtures("_commenting", "_request")
def test_what_looks_like_a_comment_in_a_string_is_none(autocommit: Shop) -> None:
    (text, _) = autocommit.do(autocommit.execute("SELECT current_query(), '-- /*'").fetchone())

    assert text.endswith(COMMENT)


@pytest.mark.usefixtures("_commenting", "_request")
def test_what_is_to_be_prepared_is_left_alone(autocommit: Shop) -> None:
    (text,) = autocommit.do(autocommit.execute("SELECT current_query()", prepare=True).fetchone())
    autocommit.do(autocommit.cursor().executemany("DELETE FROM t WHERE id = %s", [(1,), (2,)]))

    assert text == "SELECT current_query()"
    prepared = autocommit.do(autocommit.execute("SELECT statement FROM pg_prepared_statements").fetchall())
    assert sorted(statement for (statement,) in prepared) == [
        "DELETE FROM t WHERE id = $1",
        "SELECT current_query()",
    ]


@pytest.mark.usefixtures("_commenting")
def test_outside_of_a_trace_there_is_none(autocommit: Shop) -> None:
    assert _sent(autocommit) == ""


@pytest.mark.usefixtures("_request")
def test_by_default_there_is_none(autocommit: Shop, audit_log: AuditLog) -> None:
    del audit_log
    assert _sent(autocommit) == ""
