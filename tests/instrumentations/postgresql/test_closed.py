"""Fail mode `closed`: nothing is done that cannot be recorded, and what was not recorded is not handed out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
import pytest

from otel_audit.errors import NoRoom, RecordingFailed
from tests.instrumentations.faulty_pipeline import FaultyPipeline, every_event
from tests.instrumentations.postgresql.conftest import Shop


def _execute(shop: Shop) -> None:
    shop.execute("DELETE FROM t")


def _executemany(shop: Shop) -> None:
    shop.do(shop.cursor().executemany("DELETE FROM t WHERE id = %s", [(1,), (2,)]))


def _stream(shop: Shop) -> None:
    list(shop.each(shop.cursor().stream("DELETE FROM t RETURNING id")))


def _copy(shop: Shop) -> None:
    with shop.inside(shop.cursor().copy("COPY t (id) FROM STDIN")) as copy:
        shop.do(copy.write_row((1000,)))


def _declare(shop: Shop) -> None:
    shop.do(shop.connection.cursor("named", withhold=True).execute("SELECT * FROM t"))


def _pipeline(shop: Shop) -> None:
    with shop.inside(shop.connection.pipeline()):
        shop.execute("DELETE FROM t")


WAYS = [_execute, _executemany, _stream, _copy, _declare, _pipeline]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_without_room_nothing_is_done(
    way: Callable[[Shop], None], autocommit: Shop, pipeline: FaultyPipeline
) -> None:
    pipeline.has_room = False

    with pytest.raises(NoRoom):
        way(autocommit)

    pipeline.has_room = True
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (250,)
    assert [event.context for event in pipeline.events if event.action != "READ"] == []


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_what_could_not_be_recorded_is_raised_and_its_room_given_back(
    way: Callable[[Shop], None], autocommit: Shop, pipeline: FaultyPipeline
) -> None:
    pipeline.failing = every_event

    with pytest.raises(RecordingFailed):
        way(autocommit)

    assert pipeline.reserved == 0
    pipeline.failing = lambda event: False
    assert autocommit.do(autocommit.execute("SELECT 1").fetchone()) == (1,)


def test_rows_whose_reading_is_not_on_record_are_not_there(autocommit: Shop, pipeline: FaultyPipeline) -> None:
    pipeline.failing = every_event
    cursor = autocommit.cursor()

    with pytest.raises(RecordingFailed):
        autocommit.do(cursor.execute("SELECT * FROM t"))

    with pytest.raises(psycopg.ProgrammingError):
        autocommit.do(cursor.fetchone())
    assert not cursor.nextset()


def test_nor_are_those_of_a_server_side_cursor(autocommit: Shop, pipeline: FaultyPipeline) -> None:
    pipeline.failing = every_event
    cursor = autocommit.connection.cursor("named", withhold=True)

    with pytest.raises(RecordingFailed):
        autocommit.do(cursor.execute("SELECT * FROM t"))

    with pytest.raises(psycopg.InterfaceError):
        autocommit.do(cursor.fetchone())


def test_nor_are_those_of_a_pipeline(autocommit: Shop, pipeline: FaultyPipeline) -> None:
    cursor = autocommit.cursor()
    seen: list[Any] = []

    def read() -> None:
        with autocommit.inside(autocommit.connection.pipeline()) as running:
            pipeline.failing = every_event
            autocommit.do(cursor.execute("SELECT * FROM t"))
            autocommit.do(running.sync())
            seen.append(autocommit.do(cursor.fetchone()))

    with pytest.raises(RecordingFailed) as raised:
        read()
    assert isinstance(raised.value.__context__, psycopg.ProgrammingError)
    assert seen == []


def test_no_commit_without_room(autocommit: Shop, pipeline: FaultyPipeline) -> None:
    connection = autocommit.connection
    autocommit.execute("BEGIN")
    autocommit.execute("DELETE FROM t")
    pipeline.has_room = False

    with pytest.raises(NoRoom):
        autocommit.do(connection.commit())

    pipeline.has_room = True
    autocommit.do(connection.rollback())
    assert autocommit.do(autocommit.execute("SELECT count(*) FROM t").fetchone()) == (250,)


def test_no_transaction_begins_without_room(autocommit: Shop, pipeline: FaultyPipeline) -> None:
    pipeline.has_room = False

    with pytest.raises(NoRoom), autocommit.inside(autocommit.connection.transaction()):
        pass

    assert autocommit.connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE


@pytest.mark.parametrize("is_copy", [False, True], ids=["stream", "copy"])
def test_no_more_rows_leave_than_may_leave_unrecorded(
    is_copy: bool, autocommit: Shop, pipeline: FaultyPipeline
) -> None:
    pipeline.failing = every_event
    left: list[Any] = []

    def leave() -> None:
        if not is_copy:
            left.extend(autocommit.each(autocommit.cursor().stream("SELECT * FROM t")))
        else:
            with autocommit.inside(autocommit.cursor().copy("COPY t TO STDOUT")) as copy:
                left.extend(autocommit.each(aiter(copy) if autocommit.is_async else copy))

    with pytest.raises(RecordingFailed):
        leave()

    assert len(left) <= 100
    assert pipeline.reserved == 0
    pipeline.failing = lambda event: False
    assert autocommit.do(autocommit.execute("SELECT 1").fetchone()) == (1,)
