"""The doors of `copy`: one event when a COPY is over, with the rows that went in or out."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import pq

from otel_audit_psycopg.cursors import Method
from otel_audit_psycopg.execution import Run
from otel_audit_psycopg.recording import Switch

_COPY_OUT = pq.ExecStatus.COPY_OUT


def copying(beneath: Method) -> Method:
    """`Cursor.copy`."""

    @functools.wraps(beneath)
    @contextmanager
    def copy(self: Any, *args: Any, **kwargs: Any) -> Generator[Any]:
        if not Switch.is_on:
            with beneath(self, *args, **kwargs) as copied:
                yield copied
            return
        run = Run(self, args, kwargs, name="statement")
        counter = _Counter()
        try:
            with beneath(self, *run.args, **run.kwargs) as copied:
                if _is_out(self):
                    copied.read, copied.read_row = counter.count(copied.read), counter.count(copied.read_row)
                yield copied
        except BaseException as error:
            run.broke(error, returned_rows=counter.rows)
            raise
        _ended(run, counter)

    return copy


def copying_async(beneath: Method) -> Method:
    """`AsyncCursor.copy`."""

    @functools.wraps(beneath)
    @asynccontextmanager
    async def copy(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        if not Switch.is_on:
            async with beneath(self, *args, **kwargs) as copied:
                yield copied
            return
        run = Run(self, args, kwargs, name="statement")
        counter = _Counter()
        try:
            async with beneath(self, *run.args, **run.kwargs) as copied:
                if _is_out(self):
                    copied.read = counter.count_async(copied.read)
                    copied.read_row = counter.count_async(copied.read_row)
                yield copied
        except BaseException as error:
            run.broke(error, returned_rows=counter.rows)
            raise
        _ended(run, counter)

    return copy


def _is_out(cursor: Any) -> bool:
    result = cursor.pgresult
    return result is not None and result.status == _COPY_OUT


def _ended(run: Run, counter: _Counter) -> None:
    rows: int = run.cursor.rowcount
    if _is_out(run.cursor):
        # known exactly when the application has read to the end; else what it has read
        run.ended(returned_rows=rows if rows >= 0 else counter.rows)
    else:
        run.ended(affected_rows=rows if rows >= 0 else None)


class _Counter:
    """Counts what is read of a COPY … TO: psycopg hands out a row at a time, or a row's text."""

    __slots__ = ("rows",)

    def __init__(self) -> None:
        self.rows = 0

    def count(self, read: Method) -> Method:
        """*read*, counted."""

        def counted() -> Any:
            row = read()
            # the end: an empty buffer, or None
            if row is not None and len(row):
                self.rows += 1
            return row

        return counted

    def count_async(self, read: Method) -> Method:
        """The same for a coroutine function."""

        async def counted() -> Any:
            row = await read()
            if row is not None and len(row):
                self.rows += 1
            return row

        return counted
