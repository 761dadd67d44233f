"""Connections that record: what they execute, how their transactions end, and what goes in and out as a whole."""

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Callable, Generator, Iterable
from types import TracebackType
from typing import Any, Literal, TypeVar, cast

from otel_audit.capture.sql import Statement, operation
from otel_audit.event import Target
from otel_audit_sqlite3.cursor import (
    AuditedCursor,
    Parameters,
    PlainCursor,
    audited_cursor,
    derived,
    execute,
    executemany,
    executescript,
)
from otel_audit_sqlite3.recording import (
    READER,
    Access,
    Beneath,
    access_of,
    as_caller,
    failure_of,
    namespace_of,
    record,
    run_recorded,
    stands_for,
)

PlainConnection = sqlite3.Connection
"""CPython's own, whatever `sqlite3.Connection` names later."""

_SLOTS = ("_otel_audit",)
_F = TypeVar("_F")


def _recorded_attribute(name: str) -> Any:
    plain = PlainConnection.__dict__[name]

    def set_recorded(connection: sqlite3.Connection, value: object) -> None:
        _end(connection, functools.partial(plain.__set__, connection, value), _COMMIT)

    return property(plain.__get__, set_recorded, plain.__delete__, plain.__doc__)


class ConnectionMethods(PlainConnection):
    """What an audited connection does more; its one attribute is a slot of the classes made from it."""

    __slots__ = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        database = args[0] if args else kwargs.get("database")
        if not _is_ours(self):
            as_caller(PlainConnection.__init__, (self, *args), kwargs, depth=1)
            return
        self._otel_audit = Access(namespace_of(database))
        as_caller(super().__init__, args, kwargs, depth=1)

    @stands_for(PlainConnection.cursor)
    def cursor(self, factory: Any = AuditedCursor) -> Any:
        """A cursor that records, of the application's own class where it gives one."""
        return _beneath(self).cursor(audited_cursor(factory))

    # CPython's own makes a plain cursor in C, and calls neither `cursor()` nor the cursor's methods.

    @stands_for(PlainConnection.execute)
    def execute(self, sql: str, parameters: Parameters = (), /) -> sqlite3.Cursor:
        """One event."""
        cursor = _new_cursor(self, sql)
        return execute(cursor, functools.partial(PlainCursor.execute, cursor), sql, parameters)

    @stands_for(PlainConnection.executemany)
    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> sqlite3.Cursor:
        """One event, however many sets of parameters."""
        cursor = _new_cursor(self, sql)
        return executemany(cursor, functools.partial(PlainCursor.executemany, cursor), sql, parameters)

    @stands_for(PlainConnection.executescript)
    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """One event for each kind of statement."""
        cursor = _new_cursor(self, sql_script)
        return executescript(cursor, functools.partial(PlainCursor.executescript, cursor), sql_script)

    # How a transaction ends

    @stands_for(PlainConnection.commit)
    def commit(self) -> None:
        """One event where a transaction was open."""
        _end(self, _beneath(self).commit, _COMMIT)

    @stands_for(PlainConnection.rollback)
    def rollback(self) -> None:
        """Likewise."""
        _end(self, _beneath(self).rollback, _ROLLBACK)

    @stands_for(PlainConnection.__exit__)
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None, /
    ) -> Literal[False]:
        leave = functools.partial(_beneath(self).__exit__, kind, error, traceback)
        _end(self, leave, _COMMIT if kind is None else _ROLLBACK)
        return False

    @stands_for(PlainConnection.close)
    def close(self) -> None:
        """A ROLLBACK where a transaction was open: SQLite drops what was not committed."""
        was_open = _is_in_transaction(self, otherwise=False)
        _beneath(self).close()
        if was_open:
            record((_ROLLBACK,), access_of(self))

    # Setting either may commit.
    isolation_level: Any = _recorded_attribute("isolation_level")

    if hasattr(PlainConnection, "autocommit"):  # Python 3.12
        autocommit: Any = _recorded_attribute("autocommit")

    # What goes in and out as a whole

    @stands_for(PlainConnection.iterdump)
    def iterdump(self, *args: Any, **kwargs: Any) -> Generator[str, None, None]:
        """One EXPORT; its own queries are left out."""
        return _dumped(access_of(self), _beneath(self).iterdump(*args, **kwargs))

    @stands_for(PlainConnection.backup)
    def backup(self, *args: Any, **kwargs: Any) -> None:
        """An EXPORT of this database and an IMPORT into the other."""
        target = args[0] if args else kwargs.get("target")
        run = functools.partial(_beneath(self).backup, *args, **kwargs)
        if isinstance(target, PlainConnection):
            run = functools.partial(run_recorded, _RESTORE, access_of(target), run)
        run_recorded(_BACKUP, access_of(self), run)

    @stands_for(PlainConnection.blobopen)
    def blobopen(self, *args: Any, **kwargs: Any) -> sqlite3.Blob:
        """One event when it is opened: READ where it is read-only, else UPDATE, for nothing more is asked later."""
        table = f"{kwargs['name']}.{args[0]}" if args and "name" in kwargs else str(args[0]) if args else ""
        opened = operation(
            "BLOBOPEN",
            "READ" if kwargs.get("readonly") else "UPDATE",
            target=Target(table, "db.table") if table else None,
        )
        run: Callable[[], sqlite3.Blob] = functools.partial(_beneath(self).blobopen, *args, **kwargs)
        return run_recorded(opened, access_of(self), run)

    if hasattr(PlainConnection, "serialize"):

        @stands_for(PlainConnection.serialize)
        def serialize(self, *args: Any, **kwargs: Any) -> bytes:
            """One EXPORT."""
            run: Callable[[], bytes] = functools.partial(_beneath(self).serialize, *args, **kwargs)
            return run_recorded(_SERIALIZE, access_of(self), run)

        @stands_for(PlainConnection.deserialize)
        def deserialize(self, *args: Any, **kwargs: Any) -> None:
            """One IMPORT."""
            run_recorded(
                _DESERIALIZE, access_of(self), functools.partial(_beneath(self).deserialize, *args, **kwargs)
            )

    if hasattr(PlainConnection, "load_extension"):

        @stands_for(PlainConnection.enable_load_extension)
        def enable_load_extension(self, enable: bool, /) -> None:
            """One EXECUTE, for switching off too."""
            run_recorded(_ENABLE, access_of(self), functools.partial(_beneath(self).enable_load_extension, enable))

        @stands_for(PlainConnection.load_extension)
        def load_extension(self, *args: Any, **kwargs: Any) -> None:
            """One EXECUTE on the file."""
            name = args[0] if args else None
            target = Target(name, "file") if isinstance(name, str) and name else None
            loaded = operation("LOAD_EXTENSION", "EXECUTE", target=target)
            run_recorded(loaded, access_of(self), functools.partial(_beneath(self).load_extension, *args, **kwargs))


def _is_ours(connection: object) -> bool:
    return isinstance(connection, ConnectionMethods)


def _beneath(connection: sqlite3.Connection) -> Any:
    """What an override of ours would reach by `super()`, for any *connection*."""
    if isinstance(connection, ConnectionMethods):
        return super(ConnectionMethods, connection)
    return Beneath(PlainConnection, connection)


def _new_cursor(connection: sqlite3.Connection, sql: object) -> AuditedCursor:
    try:
        cursor: AuditedCursor = _beneath(connection).cursor(AuditedCursor)
    except sqlite3.Error as error:  # closed, never opened, or of another thread
        if isinstance(sql, str):
            record(READER.statements(sql), access_of(connection), failure=failure_of(error))
        raise
    return cursor


class AuditedConnection(ConnectionMethods):
    """What `sqlite3.Connection` names while auditing is on."""

    __slots__ = _SLOTS


AuditedConnection.__module__ = "sqlite3"
AuditedConnection.__name__ = AuditedConnection.__qualname__ = "Connection"
AuditedConnection.__doc__ = PlainConnection.__doc__


def audited_connection(factory: _F) -> _F:
    """*factory*, or where it is a class of plain connections, one like it whose connections record."""
    return cast("_F", _audited_class(cast("type[Any]", factory))) if isinstance(factory, type) else factory


def _audited_class(factory: type[Any]) -> type[Any]:
    if factory is PlainConnection:
        return AuditedConnection
    if issubclass(factory, ConnectionMethods) or not issubclass(factory, PlainConnection):
        return factory
    # mypy does not take a class whose objects are unhashable for hashable itself
    hashable: Any = factory
    methods: Any = ConnectionMethods
    return derived(hashable, methods, _SLOTS)


_COMMIT = operation("COMMIT", "EXECUTE")
_ROLLBACK = operation("ROLLBACK", "EXECUTE")
_ITERDUMP = operation("ITERDUMP", "EXPORT")
_BACKUP = operation("BACKUP", "EXPORT")
_RESTORE = operation("BACKUP", "IMPORT")
_SERIALIZE = operation("SERIALIZE", "EXPORT")
_DESERIALIZE = operation("DESERIALIZE", "IMPORT")
_ENABLE = operation("ENABLE_LOAD_EXTENSION", "EXECUTE")


def _is_in_transaction(connection: sqlite3.Connection, *, otherwise: bool) -> bool:
    try:
        return connection.in_transaction
    except sqlite3.ProgrammingError:  # closed, or never opened
        return otherwise


def _end(connection: sqlite3.Connection, run: Callable[[], Any], statement: Statement) -> Any:
    """Do what may end a transaction; record it if one was open, and is not any more or has failed to end."""
    was_open = _is_in_transaction(connection, otherwise=True)
    access = access_of(connection)
    try:
        result = run()
    except BaseException as error:
        if was_open:
            record((statement,), access, failure=failure_of(error))
            if statement is _COMMIT and not _is_in_transaction(connection, otherwise=True):
                record((_ROLLBACK,), access)  # __exit__ rolls back what could not be committed
        raise
    # autocommit=False opens the next transaction at once
    if was_open and (getattr(connection, "autocommit", -1) is False or not connection.in_transaction):
        record((statement,), access)
    return result


def _dumped(access: Access, lines: Generator[str, None, None]) -> Generator[str, None, None]:
    """Hand over a dump; the record is made before its first line is, its own queries are left out."""
    is_recorded = False
    try:
        while True:
            access.is_quiet = True
            try:
                line = next(lines)
            except StopIteration:
                return
            except BaseException as error:
                access.is_quiet = False
                if not is_recorded:
                    record((_ITERDUMP,), access, failure=failure_of(error))
                raise
            finally:
                access.is_quiet = False
            if not is_recorded:
                record((_ITERDUMP,), access)
                is_recorded = True
            yield line
    finally:
        lines.close()
