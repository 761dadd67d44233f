"""How many rows left: streams, COPY in both directions, server-side cursors."""

from __future__ import annotations

import io
from typing import Any

import psycopg
import pytest
from psycopg.copy import FileWriter

from tests.instrumentations.postgresql.conftest import Shop, Since


def test_a_stream_is_one_event_with_the_rows_that_left(autocommit: Shop, since: Since) -> None:
    rows = list(autocommit.each(autocommit.cursor().stream("SELECT id FROM t WHERE id <= %s", (100,))))

    assert len(rows) == 100
    assert since.rows == [("SELECT t", None, 100)]


def test_a_stream_that_nobody_has_begun_to_read_is_no_event(autocommit: Shop, since: Since) -> None:
    """Psycopg sends nothing before the first row is asked for."""
    autocommit.cursor().stream("SELECT id FROM t")

    assert since.records == []


def test_a_stream_that_is_left_says_how_far_it_came(autocommit: Shop, since: Since) -> None:
    stream = autocommit.cursor().stream("SELECT id FROM t")
    rows = autocommit.each(stream)
    assert [next(rows) for _ in range(3)] == [(1,), (2,), (3,)]
    assert since.records == []

    autocommit.do(stream.aclose() if autocommit.is_async else stream.close())

    assert since.rows == [("SELECT t", None, 3)]
    assert since.codes == [("success", None, None)]
    assert autocommit.do(autocommit.execute("SELECT 1").fetchone()) == (1,)


def test_a_stream_that_fails_half_way_says_how_far_it_came(autocommit: Shop, since: Since) -> None:
    stream = autocommit.cursor().stream("SELECT 100 / (4 - id) FROM generate_series(1, 9) AS id")

    with pytest.raises(psycopg.errors.DivisionByZero):
        list(autocommit.each(stream))

    assert since.rows == [("SELECT", None, 3)]
    assert since.codes == [("failure", "psycopg.errors.DivisionByZero", "22012")]


def test_what_cannot_be_streamed_is_a_failure(autocommit: Shop, since: Since) -> None:
    with pytest.raises(psycopg.ProgrammingError):
        list(autocommit.each(autocommit.cursor().stream("CREATE TEMP TABLE u (id int)")))

    assert since.summaries == [("CREATE TABLE u", "failure")]


def _blocks(shop: Shop, copy: Any) -> list[bytes]:
    return [bytes(block) for block in shop.each(copy.__aiter__() if shop.is_async else copy)]


@pytest.mark.parametrize("options", ["", " (FORMAT binary)", " (FORMAT csv)"])
def test_a_copy_out_is_an_export_with_the_rows_that_left(options: str, autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.cursor().copy("COPY t TO STDOUT" + options)) as copy:
        assert len(_blocks(autocommit, copy)) >= 250
        assert since.records == []

    assert since.rows == [("COPY t", None, 250)]
    assert since.records[0]["action"] == "EXPORT"
    assert since.records[0]["target"] == {"id": "t", "type": "db.table"}


def test_the_rows_of_a_copy_out_are_counted_as_rows_too(autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.cursor().copy("COPY (SELECT id FROM t) TO STDOUT")) as copy:
        copy.set_types(["int4"])
        assert sum(id_ for (id_,) in autocommit.each(copy.rows())) == 250 * 251 // 2

    assert since.rows == [("COPY t", None, 250)]


def test_a_copy_out_that_is_broken_off_says_how_far_it_came(autocommit: Shop, since: Since) -> None:
    def read_two() -> None:
        with autocommit.inside(autocommit.cursor().copy("COPY t TO STDOUT")) as copy:
            autocommit.do(copy.read())
            autocommit.do(copy.read_row())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        read_two()

    assert since.rows == [("COPY t", None, 2)]
    assert since.codes == [("failure", "ZeroDivisionError", None)]


def test_a_copy_in_is_an_import_with_the_rows_that_came(autocommit: Shop, since: Since) -> None:
    cursor = autocommit.cursor()
    with autocommit.inside(cursor.copy("COPY t (id) FROM STDIN")) as copy:
        autocommit.do(copy.write_row((1000,)))
        autocommit.do(copy.write("1001\n1002\n"))
        assert since.records == []

    assert cursor.rowcount == 3
    assert since.rows == [("COPY t", 3, None)]
    assert since.records[0]["action"] == "IMPORT"


def test_a_copy_in_that_the_server_refuses_is_a_failure(autocommit: Shop, since: Since) -> None:
    with (
        pytest.raises(psycopg.errors.UniqueViolation),
        autocommit.inside(autocommit.cursor().copy("COPY t (id) FROM STDIN")) as copy,
    ):
        autocommit.do(copy.write_row((1,)))

    assert since.codes == [("failure", "psycopg.errors.UniqueViolation", "23505")]
    assert since.rows == [("COPY t", None, None)]


def test_a_copy_in_that_the_application_breaks_off_is_a_failure(autocommit: Shop, since: Since) -> None:
    def write_one() -> None:
        with autocommit.inside(autocommit.cursor().copy("COPY t (id) FROM STDIN")) as copy:
            autocommit.do(copy.write_row((1000,)))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_one()

    assert since.codes == [("failure", "ZeroDivisionError", None)]
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (250,)


def test_what_copy_refuses_is_a_failure(autocommit: Shop, since: Since) -> None:
    for statement, error in (
        ("SELECT 1", psycopg.ProgrammingError),
        ("COPY u TO STDOUT", psycopg.errors.UndefinedTable),
    ):
        with pytest.raises(error), autocommit.inside(autocommit.cursor().copy(statement)):
            pass

    assert since.summaries == [("SELECT", "failure"), ("COPY u", "failure")]


def test_a_copy_takes_parameters_as_ever(autocommit: Shop, since: Since) -> None:
    statement = "COPY (SELECT id FROM t WHERE id <= %s) TO STDOUT"
    with autocommit.inside(autocommit.cursor().copy(statement, (7,))) as copy:
        assert len(_blocks(autocommit, copy)) == 7

    assert since.rows == [("COPY t", None, 7)]
    assert since.records[0]["context"]["db.query.text"] == statement


def test_a_copy_of_the_servers_own_files_is_an_export_too(autocommit: Shop, since: Since) -> None:
    autocommit.execute("COPY t TO PROGRAM 'cat > /dev/null'")

    assert since.rows == [("COPY t", None, 250)]
    assert since.records[0]["action"] == "EXPORT"


@pytest.mark.parametrize("is_async", [False], ids=["sync"], indirect=True)
def test_a_copy_to_a_writer_of_ones_own_is_on_record(autocommit: Shop, since: Since) -> None:
    file = io.BytesIO()
    cursor = autocommit.cursor()
    with cursor.copy("COPY t (id) FROM STDIN", writer=FileWriter(file)) as copy:
        copy.write_row((1000,))
    autocommit.connection.close()

    assert file.getvalue() == b"1000\n"
    assert [summary for summary, _ in since.summaries] == ["COPY t", "ROLLBACK"]


def test_a_server_side_cursor_is_on_record_before_its_first_row(shop: Shop, since: Since) -> None:
    cursor = shop.cursor("named")
    shop.do(cursor.execute("SELECT * FROM customers"))

    assert since.rows == [("SELECT customers", None, None)]
    shop.do(cursor.close())
    assert since.summaries == [("SELECT customers", "success")]


def test_what_a_server_side_cursor_gave_is_an_event_when_it_is_closed(autocommit: Shop, since: Since) -> None:
    with autocommit.inside(autocommit.connection.transaction()):
        cursor = autocommit.cursor("named", scrollable=True)
        autocommit.do(cursor.execute("SELECT * FROM t"))
        autocommit.do(cursor.fetchone())
        autocommit.do(cursor.fetchmany(9))
        autocommit.do(cursor.scroll(-5))
        autocommit.do(cursor.fetchmany(5))
        rows = autocommit.each(aiter(cursor) if autocommit.is_async else cursor)
        next(rows)
        autocommit.do(cursor.close())

    assert since.rows == [("SELECT t", None, None), ("FETCH t", None, 16), ("COMMIT", None, None)]


def test_a_server_side_cursor_that_is_used_again_is_counted_anew(shop: Shop, since: Since) -> None:
    cursor = shop.cursor("named")
    shop.do(cursor.execute("SELECT * FROM customers"))
    shop.do(cursor.fetchall())
    shop.do(cursor.execute("SELECT * FROM notes"))
    shop.do(cursor.fetchall())
    shop.do(cursor.close())

    assert since.rows == [
        ("SELECT customers", None, None),
        ("FETCH customers", None, 2),
        ("SELECT notes", None, None),
        ("FETCH notes", None, 1),
    ]


def test_a_cursor_that_another_has_declared_is_on_record(shop: Shop, since: Since) -> None:
    shop.execute("DECLARE theirs CURSOR FOR SELECT * FROM customers")
    cursor = shop.cursor("theirs")
    shop.do(cursor.fetchall())
    shop.do(cursor.close())

    assert since.rows == [("DECLARE customers", None, None), ("FETCH", None, 2)]


def test_a_server_side_cursor_that_cannot_be_declared_is_a_failure(shop: Shop, since: Since) -> None:
    cursor = shop.cursor("named")
    with pytest.raises(psycopg.errors.UndefinedTable):
        shop.do(cursor.execute("SELECT * FROM nowhere"))
    shop.do(cursor.close())

    assert since.summaries == [("SELECT nowhere", "failure")]


def test_notifications_that_came_are_counted_when_nobody_listens_any_more(autocommit: Shop, since: Since) -> None:
    autocommit.execute("LISTEN news")
    autocommit.execute("NOTIFY news, 'hunter2'")
    autocommit.execute("NOTIFY news, 'more'")

    heard = list(autocommit.each(autocommit.connection.notifies(timeout=30, stop_after=2)))

    assert [notification.payload for notification in heard] == ["hunter2", "more"]
    assert since.rows == [
        ("LISTEN news", None, None),
        ("NOTIFY news", None, None),
        ("NOTIFY news", None, None),
        ("NOTIFIES", None, 2),
    ]
    assert since.records[0]["target"] == {"id": "news", "type": "db.channel"}
