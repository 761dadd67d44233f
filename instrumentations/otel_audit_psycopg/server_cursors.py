"""The doors of server-side cursors: one event when such a cursor is declared, one for the rows that it gave.

The first is made before a row can be fetched. The second, a FETCH with the number of rows that were handed to
the application, when the cursor is closed or used again; a cursor that is dropped without has none.
"""

from __future__ import annotations

import functools
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from otel_audit.capture.sql import Statement, operation
from otel_audit.errors import RecordingFailed
from otel_audit_psycopg.cursors import Method
from otel_audit_psycopg.execution import Run
from otel_audit_psycopg.recording import AnyCursor, Switch, access_of, admit, record

_FETCH = operation("FETCH", "READ")


class Fetched:
    """The rows that a server-side cursor has handed out since it was declared.

    `rownumber` says where the cursor stands; only `scroll` moves it otherwise than by handing rows out.
    """

    __slots__ = ("_base", "_rows", "statement")

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self._rows = 0
        self._base = 0

    def rows(self, cursor: AnyCursor) -> int:
        """How many there were by now."""
        return self._rows + max(0, (cursor.rownumber or 0) - self._base)

    def leave(self, cursor: AnyCursor) -> None:
        """The cursor is about to be moved."""
        self._rows = self.rows(cursor)
        self._base = cursor.rownumber or 0

    def arrive(self, cursor: AnyCursor) -> None:
        """It has been moved."""
        self._base = cursor.rownumber or 0


def _fetch_of(run: Run) -> Statement:
    """The FETCH of what *run* has declared: on the same tables."""
    if len(run.statements) != 1:
        return _FETCH
    (declared,) = run.statements
    return operation("FETCH", "READ", target=declared.target, tables=declared.tables)


def _begin(cursor: Any, run: Run) -> None:
    access_of(cursor.connection).fetched[cursor] = Fetched(_fetch_of(run))


def _rows_of(cursor: Any) -> tuple[Statement, int]:
    """What was fetched through *cursor*, declared by it or stolen from elsewhere; it is forgotten."""
    fetched = access_of(cursor.connection).fetched.pop(cursor, None)
    if fetched is None:
        return _FETCH, cursor.rownumber or 0
    return fetched.statement, fetched.rows(cursor)


def _record_fetched(cursor: Any, fetched: tuple[Statement, int]) -> None:
    statement, rows = fetched
    if rows:
        record(statement, access_of(cursor.connection), returned_rows=rows)


def declaring(beneath: Method) -> Method:
    """`ServerCursor.execute`."""

    @functools.wraps(beneath)
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return beneath(self, *args, **kwargs)
        with _declared(self, args, kwargs) as run:
            result = beneath(self, *run.args, **run.kwargs)
        try:
            run.succeeded()
        except RecordingFailed:
            self.close()  # its rows could be fetched, else
            raise
        _begin(self, run)
        return result

    return execute


def declaring_async(beneath: Method) -> Method:
    """`AsyncServerCursor.execute`."""

    @functools.wraps(beneath)
    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return await beneath(self, *args, **kwargs)
        with _declared(self, args, kwargs) as run:
            result = await beneath(self, *run.args, **run.kwargs)
        try:
            run.succeeded()
        except RecordingFailed:
            await self.close()
            raise
        _begin(self, run)
        return result

    return execute


@contextmanager
def _declared(cursor: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Generator[Run]:
    """While *cursor* is declared: what it gave before is recorded afterwards, and how it failed."""
    before = _rows_of(cursor)
    run = Run(cursor, args, kwargs)
    try:
        yield run
    except BaseException as error:
        run.failed(error)
        raise
    finally:
        _record_fetched(cursor, before)


def scrolling(beneath: Method) -> Method:
    """`ServerCursor.scroll`."""

    @functools.wraps(beneath)
    def scroll(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _moved(self):
            return beneath(self, *args, **kwargs)

    return scroll


def scrolling_async(beneath: Method) -> Method:
    """`AsyncServerCursor.scroll`."""

    @functools.wraps(beneath)
    async def scroll(self: Any, *args: Any, **kwargs: Any) -> Any:
        with _moved(self):
            return await beneath(self, *args, **kwargs)

    return scroll


@contextmanager
def _moved(cursor: Any) -> Generator[None]:
    """While *cursor* is moved otherwise than by handing rows out."""
    fetched = access_of(cursor.connection).fetched.get(cursor)
    if fetched is not None:
        fetched.leave(cursor)
    try:
        yield
    finally:
        if fetched is not None:
            fetched.arrive(cursor)


def closing(beneath: Method) -> Method:
    """`ServerCursor.close`."""

    @functools.wraps(beneath)
    def close(self: Any) -> None:
        if self.closed or not Switch.is_on:
            beneath(self)
            return
        with _closed(self):
            beneath(self)

    return close


def closing_async(beneath: Method) -> Method:
    """`AsyncServerCursor.close`."""

    @functools.wraps(beneath)
    async def close(self: Any) -> None:
        if self.closed or not Switch.is_on:
            await beneath(self)
            return
        with _closed(self):
            await beneath(self)

    return close


@contextmanager
def _closed(cursor: Any) -> Generator[None]:
    """While *cursor* is closed: what it gave is recorded afterwards."""
    fetched = _rows_of(cursor)
    release = admit()
    try:
        try:
            yield
        finally:
            _record_fetched(cursor, fetched)
    finally:
        if release is not None:
            release()
