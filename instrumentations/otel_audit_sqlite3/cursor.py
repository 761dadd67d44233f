"""Cursors that record: `execute`, `executemany`, `executescript`, each with its rule for what is one event."""

from __future__ import annotations

import functools
import logging
import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Self, TypeAlias, TypeVar, cast

from otel_audit.capture.sql import Statement, operation
from otel_audit.errors import RecordingFailed
from otel_audit.event import Outcome
from otel_audit_sqlite3.recording import (
    READER,
    Access,
    Beneath,
    Switch,
    access_of_cursor,
    admit,
    as_caller,
    failure_of,
    record,
    stands_for,
)

Parameters: TypeAlias = Any
"""A sequence or mapping of whatever has an adapter; sqlite3 decides."""
_C = TypeVar("_C", bound=sqlite3.Cursor)
_F = TypeVar("_F")

PlainCursor = sqlite3.Cursor
"""CPython's own, whatever `sqlite3.Cursor` names later."""

_log = logging.getLogger("otel_audit")
_NEEDS_NO_ADAPTER = frozenset({int, float, str, bytes, bool, type(None)})


class CursorMethods(PlainCursor):
    """What an audited cursor does more; stateless, so that it mixes with any class of cursors."""

    __slots__ = ()

    @stands_for(PlainCursor.execute)
    def execute(self, sql: str, parameters: Parameters = (), /) -> Self:
        """One event."""
        return execute(self, _beneath(self).execute, sql, parameters)

    @stands_for(PlainCursor.executemany)
    def executemany(self, sql: str, parameters: Iterable[Parameters], /) -> Self:
        """One event, however many sets of parameters."""
        return executemany(self, _beneath(self).executemany, sql, parameters)

    @stands_for(PlainCursor.executescript)
    def executescript(self, sql_script: str, /) -> sqlite3.Cursor:
        """One event for each kind of statement."""
        return executescript(self, _beneath(self).executescript, sql_script)


def _beneath(cursor: sqlite3.Cursor) -> Any:
    """What an override of ours would reach by `super()`, for any *cursor*."""
    if isinstance(cursor, CursorMethods):
        return super(CursorMethods, cursor)
    return Beneath(PlainCursor, cursor)


class AuditedCursor(CursorMethods):
    """What `sqlite3.Cursor` names while auditing is on."""

    __slots__ = ()


AuditedCursor.__module__, AuditedCursor.__name__, AuditedCursor.__qualname__ = "sqlite3", "Cursor", "Cursor"
AuditedCursor.__doc__ = PlainCursor.__doc__


def audited_cursor(factory: _F) -> _F:
    """*factory*, or where it is a class of plain cursors, one like it whose cursors record."""
    return cast("_F", _audited_class(cast("type[Any]", factory))) if isinstance(factory, type) else factory


def _audited_class(factory: type[Any]) -> type[Any]:
    if factory is PlainCursor:
        return AuditedCursor
    if issubclass(factory, CursorMethods) or not issubclass(factory, PlainCursor):
        return factory
    return derived(factory, CursorMethods, ())


@functools.lru_cache(maxsize=256)
def derived(factory: type[Any], methods: type[Any], slots: tuple[str, ...]) -> type[Any]:
    """A subclass of *factory* with *methods* between it and sqlite3's own class.

    So the application's overrides run first, and what they hand to sqlite3 is what is recorded.
    """
    members = {
        "__slots__": slots,
        "__module__": factory.__module__,
        "__qualname__": factory.__qualname__,
        "__doc__": factory.__doc__,
    }
    try:
        metaclass = cast("Callable[..., type[Any]]", type(factory))
        return metaclass(factory.__name__, (factory, methods), members)
    except TypeError:
        _log.exception(
            "otel-audit: %s.%s cannot be subclassed; what its objects do is not recorded. Define it after "
            "SQLite3AuditInstrumentor().instrument()",
            factory.__module__,
            factory.__qualname__,
        )
        return factory


def execute(cursor: _C, run: Callable[[str, Parameters], Any], sql: str, parameters: Parameters) -> _C:
    """Run one statement by *run*, record it; called by the method that the application called."""
    access = access_of_cursor(cursor)
    if access.is_quiet or not Switch.is_on or not isinstance(sql, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        run(sql, parameters)
        return cursor
    statements = READER.statements(sql if type(sql) is str else str.__str__(sql))
    release = admit()
    try:
        try:
            if parameters and _may_warn(statements, parameters):
                as_caller(run, (sql, parameters), {}, depth=2)
            else:
                run(sql, parameters)
        except BaseException as error:
            record(statements, access, failure=failure_of(error))
            raise
        # -1: no row was, or could be, changed. With RETURNING it counts only as rows are fetched.
        changed = cursor.rowcount
        _record_or_withhold(
            cursor, statements, access, changed if changed >= 0 and cursor.description is None else None
        )
    finally:
        if release is not None:
            release()
    return cursor


def _may_warn(statements: tuple[Statement, ...], parameters: Parameters) -> bool:
    """Say whether binding *parameters* may run an adapter, or bind a sequence to named placeholders."""
    kind: type[object] = type(parameters)  # pyright: ignore[reportUnknownVariableType]
    if kind is dict:
        return not _NEEDS_NO_ADAPTER.issuperset(map(type, parameters.values()))
    if kind is not tuple and kind is not list:
        return True
    if not _NEEDS_NO_ADAPTER.issuperset(map(type, parameters)):
        return True
    for statement in statements:  # noqa: SIM110 - a generator in any() costs 0.3 µs a query
        if statement.has_named_parameters:
            return True
    return False


def _record_or_withhold(
    cursor: sqlite3.Cursor, statements: tuple[Statement, ...], access: Access, changed: int | None
) -> None:
    try:
        record(statements, access, affected_rows=changed)
    except RecordingFailed:
        # Rows whose reading is not on record must not be there for whoever catches this: an empty statement
        # ends the one that is waiting to be fetched from.
        PlainCursor.execute(cursor, "")
        raise


def executemany(
    cursor: _C, run: Callable[[str, Iterable[Parameters]], Any], sql: str, parameters: Iterable[Parameters]
) -> _C:
    """Run one statement many times by *run*, record it as one event.

    Where it fails after rows were changed, the outcome is `unknown`: they are there until a rollback.
    """
    access = access_of_cursor(cursor)
    if access.is_quiet or not Switch.is_on or not isinstance(sql, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        run(sql, parameters)
        return cursor
    statements = READER.statements(sql if type(sql) is str else str.__str__(sql))
    release = admit()
    try:
        before = _total_changes(cursor)
        try:
            as_caller(run, (sql, parameters), {}, depth=2)
        except BaseException as error:
            outcome: Outcome = "failure" if _total_changes(cursor) == before else "unknown"
            record(statements, access, failure=failure_of(error, outcome))
            raise
        changed = cursor.rowcount
        record(
            statements,
            access,
            affected_rows=changed if changed >= 0 else None,
            batch_size=len(cast("list[Any]", parameters)) if isinstance(parameters, list | tuple) else None,
        )
    finally:
        if release is not None:
            release()
    return cursor


def _total_changes(cursor: sqlite3.Cursor) -> int:
    try:
        return cursor.connection.total_changes
    except (sqlite3.ProgrammingError, AttributeError):
        return 0


def executescript(cursor: _C, run: Callable[[str], Any], script: str) -> _C:
    """Run a script by *run*, record one event for each kind of statement in it (operation, tables, target).

    SQLite does not say at which statement a script failed: where there are several, all are `unknown`, for
    those before it have taken effect. A transaction that was open is committed first, which is an event too.
    """
    access = access_of_cursor(cursor)
    if access.is_quiet or not Switch.is_on or not isinstance(script, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        run(script)
        return cursor
    kinds: dict[object, list[Statement]] = {}
    for statement in READER.statements(script):
        kinds.setdefault(statement.kind, []).append(statement)
    if _commits_first(cursor):
        commit = operation("COMMIT", "EXECUTE")
        kinds = {commit: [commit], **kinds}
    release = admit()
    try:
        failure = None
        try:
            as_caller(run, (script,), {}, depth=2)
        except BaseException as error:
            certain = isinstance(error, sqlite3.ProgrammingError | ValueError | TypeError)
            failure = failure_of(error, "failure" if certain or len(kinds) < 2 else "unknown")
            raise
        finally:
            for same in kinds.values():
                record(same[:1], access, failure=failure, batch_size=len(same))
    finally:
        if release is not None:
            release()
    return cursor


def _commits_first(cursor: sqlite3.Cursor) -> bool:
    """Say whether `executescript` will commit: a transaction is open, and Python manages it the old way."""
    try:
        connection = cursor.connection
        return connection.in_transaction and getattr(connection, "autocommit", -1) == -1
    except (sqlite3.ProgrammingError, AttributeError):
        return False
