"""sqlite3's doors: what the application makes of the module behaves as before, and is recorded."""

from __future__ import annotations

import abc
import contextlib
import sqlite3
import sqlite3.dbapi2
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import pytest
from opentelemetry.instrumentation.sqlite3 import SQLite3Instrumentor

from otel_audit import logger
from otel_audit.errors import NoRoom, RecordingFailed
from otel_audit.event import AuditEvent
from otel_audit.receipt import Receipt
from otel_audit.testing import AuditLog
from otel_audit_sqlite3 import SQLite3AuditInstrumentor

PLAIN = (sqlite3.connect, sqlite3.Connection, sqlite3.Cursor)


class EarlyConnection(sqlite3.Connection):
    """Defined before auditing is on: derived from CPython's own class."""

    __slots__ = ("label",)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        return super().execute(*args)


class EarlyCursor(sqlite3.Cursor):
    def execute(self, sql: str, parameters: Any = (), /) -> Any:
        return super().execute(sql.replace("%s", "?"), parameters)


class Explicit(sqlite3.Connection):
    """Calls its base by the name in the module, whatever that is by then."""

    def __init__(self, path: str) -> None:
        sqlite3.Connection.__init__(self, path)

    def execute(self, *args: Any) -> sqlite3.Cursor:
        return sqlite3.Connection.execute(self, *args)

    def close(self) -> None:
        sqlite3.Connection.close(self)


class ExplicitCursor(sqlite3.Cursor):
    def execute(self, *args: Any) -> Any:
        return sqlite3.Cursor.execute(self, *args)


@pytest.fixture
def instrumentor(audit_log: AuditLog) -> Iterator[SQLite3AuditInstrumentor]:
    instrumentor = SQLite3AuditInstrumentor()
    instrumentor.instrument()
    yield instrumentor
    instrumentor.uninstrument()


def _summaries(log: AuditLog) -> list[str]:
    return [record["context"]["db.query.summary"] for record in log.records]


@pytest.mark.usefixtures("instrumentor")
def test_the_classes_look_as_before() -> None:
    connection = sqlite3.connect(":memory:")

    assert type(connection) is sqlite3.Connection
    assert type(connection.cursor()) is sqlite3.Cursor
    assert isinstance(connection, PLAIN[1])
    assert repr(connection).startswith("<sqlite3.Connection object at ")
    assert sqlite3.dbapi2.connect is sqlite3.connect
    assert sqlite3.connect.__doc__ == PLAIN[0].__doc__
    with pytest.raises(AttributeError):
        connection.unknown = 1  # type: ignore[attr-defined] # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(TypeError):
        weakref.ref(connection)
    assert weakref.ref(connection.cursor())


@pytest.mark.usefixtures("instrumentor")
@pytest.mark.parametrize("door", ["connect", "factory", "positional", "Connection", "dbapi2"])
def test_a_connection_records_whichever_door_it_came_by(door: str, audit_log: AuditLog) -> None:
    doors: dict[str, Callable[[], sqlite3.Connection]] = {
        "connect": lambda: sqlite3.connect(":memory:"),
        "factory": lambda: sqlite3.connect(":memory:", factory=sqlite3.Connection),
        "positional": lambda: sqlite3.connect(":memory:", 5.0, 0, None, True, PLAIN[1]),
        "Connection": lambda: sqlite3.Connection(":memory:"),
        "dbapi2": lambda: sqlite3.dbapi2.connect(":memory:"),
    }

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        doors[door]().execute("SELECT 1")

    assert _summaries(audit_log) == ["SELECT"]


@pytest.mark.usefixtures("instrumentor")
def test_the_applications_own_classes_stay_theirs_and_record_once(audit_log: AuditLog) -> None:
    class Late(sqlite3.Connection):
        def execute(self, *args: Any) -> sqlite3.Cursor:
            return super().execute(*args)

    def make_cursor(connection: sqlite3.Connection) -> sqlite3.Cursor:
        return sqlite3.Cursor(connection)

    for factory in (EarlyConnection, Late):
        connection = sqlite3.connect(":memory:", factory=factory)
        assert isinstance(connection, factory)
        assert type(connection).__name__ == factory.__name__
        connection.execute("SELECT 1")
        connection.cursor(EarlyCursor).execute("SELECT %s", (1,))
        connection.cursor(factory=EarlyCursor).execute("SELECT %s", (1,))
        connection.cursor(make_cursor).execute("SELECT 1")

    assert _summaries(audit_log) == ["SELECT"] * 8


@pytest.mark.usefixtures("instrumentor")
def test_an_early_class_that_calls_its_base_by_name_goes_on_working(audit_log: AuditLog) -> None:
    with contextlib.closing(Explicit(":memory:")) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert ExplicitCursor(connection).execute("SELECT 2").fetchone() == (2,)

    assert _summaries(audit_log) == ["SELECT", "SELECT"]


@pytest.mark.usefixtures("instrumentor")
def test_a_class_may_have_a_metaclass_slots_or_a_protocol() -> None:
    class Named(Protocol):
        name: str

    class Abstract(sqlite3.Connection, abc.ABC):
        pass

    class Implementing(sqlite3.Connection, Named):
        name = "shop"

    for factory in (Abstract, Implementing, EarlyConnection):
        assert sqlite3.connect(":memory:", factory=factory).execute("SELECT 1").fetchone() == (1,)


@pytest.mark.usefixtures("instrumentor")
def test_row_factories_and_contexts_work_as_before() -> None:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row

    with connection as entered:
        assert entered is connection
        assert connection.execute("SELECT 1 AS one").fetchone()["one"] == 1
        assert [row["n"] for row in connection.cursor().execute("SELECT 2 AS n")] == [2]


@pytest.mark.usefixtures("instrumentor")
def test_a_warning_stands_on_the_applications_line() -> None:
    """Else Python would hide it: it shows deprecations by the module that they stand in."""

    class Old:
        def __conform__(self, protocol: object) -> str:
            warnings.warn("an old adapter", DeprecationWarning, stacklevel=2)
            return "x"

    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a)")

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        connection.execute("SELECT ?", (Old(),))
        connection.cursor().execute("SELECT :a", {"a": Old()})
        connection.executemany("DELETE FROM t WHERE a = ?", [(Old(),)])

    first = caught[0].lineno
    assert [(w.filename, w.lineno) for w in caught] == [
        (__file__, first),
        (__file__, first + 1),
        (__file__, first + 2),
    ]


def test_what_was_taken_before_is_not_recorded(audit_log: AuditLog) -> None:
    """A known limit: instrument before the application imports, as opentelemetry-instrument does."""
    taken = sqlite3.connect
    instrumentor = SQLite3AuditInstrumentor()
    instrumentor.instrument()
    try:
        taken(":memory:").execute("SELECT 1")
    finally:
        instrumentor.uninstrument()

    assert audit_log.records == []


def test_uninstrumenting_puts_everything_back_and_silences_what_is_open(audit_log: AuditLog) -> None:
    instrumentor = SQLite3AuditInstrumentor()
    instrumentor.instrument()
    connection = sqlite3.connect(":memory:")

    instrumentor.uninstrument()
    connection.execute("SELECT 1")
    connection.close()

    assert (sqlite3.connect, sqlite3.Connection, sqlite3.Cursor) == PLAIN
    assert sqlite3.dbapi2.connect is PLAIN[0]
    assert audit_log.records == []


@pytest.mark.parametrize("first", ["contrib", "audit"])
def test_beside_contribs_instrumentation_each_statement_is_one_event(first: str, audit_log: AuditLog) -> None:
    pair: dict[str, Any] = {"contrib": SQLite3Instrumentor(), "audit": SQLite3AuditInstrumentor()}
    order = [pair.pop(first), *pair.values()]
    for instrumentor in order:
        instrumentor.instrument()
    try:
        connection = sqlite3.connect(":memory:")
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE t (a)")
        cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)])
        connection.commit()
        assert connection.execute("SELECT count(*) FROM t").fetchone() == (2,)
        assert isinstance(connection, sqlite3.Connection)
        connection.close()
    finally:
        for instrumentor in reversed(order):
            instrumentor.uninstrument()

    assert _summaries(audit_log) == ["CREATE TABLE t", "BATCH INSERT t", "COMMIT", "SELECT t"]
    sqlite3.connect(":memory:").execute("SELECT 1").close()
    assert len(audit_log.records) == 4


def test_going_on_and_off_leaves_one_door(audit_log: AuditLog) -> None:
    for _ in range(3):
        for instrumentor in (SQLite3AuditInstrumentor(), SQLite3Instrumentor()):
            instrumentor.instrument()
        for instrumentor in (SQLite3AuditInstrumentor(), SQLite3Instrumentor()):
            instrumentor.uninstrument()

    SQLite3AuditInstrumentor().instrument()
    SQLite3AuditInstrumentor().uninstrument()

    assert sqlite3.connect is PLAIN[0]
    assert audit_log.records == []


def test_it_depends_on_nothing_and_so_is_always_loaded() -> None:
    assert list(SQLite3AuditInstrumentor().instrumentation_dependencies()) == []


class Refusing:
    """A pipeline in fail mode `closed` whose disk is full: there is room for *admitted* pieces of work."""

    def __init__(self, *, admitted: int) -> None:
        self.admitted = admitted
        self.released = 0

    def record(self, event: AuditEvent) -> Receipt:
        raise RecordingFailed(event.event)

    async def record_async(self, event: AuditEvent) -> Receipt:
        return self.record(event)

    def admit(self) -> Callable[[], None]:
        if not self.admitted:
            raise NoRoom("full")
        self.admitted -= 1
        return self._release

    def _release(self) -> None:
        self.released += 1


@pytest.fixture
def full(instrumentor: SQLite3AuditInstrumentor) -> Iterator[Callable[[int], Refusing]]:
    """Fill the disk, for so many pieces of work more."""
    previous = logger.installed()

    def fill(admitted: int) -> Refusing:
        pipeline = Refusing(admitted=admitted)
        logger.install(pipeline)
        return pipeline

    yield fill
    logger.install(previous)


def test_without_room_nothing_is_run(full: Callable[[int], Refusing]) -> None:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    connection.execute("CREATE TABLE t (a)")
    full(0)

    with pytest.raises(NoRoom):
        connection.execute("INSERT INTO t VALUES (1)")

    assert connection.total_changes == 0


def test_rows_whose_reading_is_not_on_record_are_withheld(full: Callable[[int], Refusing]) -> None:
    cursor = sqlite3.connect(":memory:").cursor()
    pipeline = full(1)

    with pytest.raises(RecordingFailed):
        cursor.execute("SELECT 'private'")

    assert cursor.fetchall() == []
    assert pipeline.released == 1


def test_a_write_that_is_not_on_record_stops_the_caller_who_may_roll_back(full: Callable[[int], Refusing]) -> None:
    """The error is no sqlite3.Error: nobody shall retry the write for it."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE t (a)")
    full(3)

    with pytest.raises(RecordingFailed) as refused:
        connection.execute("INSERT INTO t VALUES (1)")
    assert not isinstance(refused.value, sqlite3.Error)
    with pytest.raises(RecordingFailed):
        connection.rollback()

    assert not connection.in_transaction
