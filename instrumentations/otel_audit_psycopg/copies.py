"""The doors of `copy`: one event when a COPY is over, with the rows that went in or out.

Of a long COPY … TO there are others before, see `capture.leaving`. A COPY … FROM whose process is killed has none,
and has changed nothing: the server takes back what it was sent.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from psycopg import pq

from otel_audit_psycopg.cursors import Method
from otel_audit_psycopg.execution import HandingOut
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
        with (
            _Copying(self, args, kwargs, "statement") as run,
            beneath(self, *run.args, **run.kwargs) as copied,
        ):
            if _is_out(self):
                copied.read, copied.read_row = _counted(run, copied.read), _counted(run, copied.read_row)
            yield copied

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
        with _Copying(self, args, kwargs, "statement") as run:
            async with beneath(self, *run.args, **run.kwargs) as copied:
                if _is_out(self):
                    copied.read = _counted_async(run, copied.read)
                    copied.read_row = _counted_async(run, copied.read_row)
                yield copied

    return copy


class _Copying(HandingOut):
    """A COPY; left when it is over."""

    __slots__ = ()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        rows: int = self.cursor.rowcount
        if error is not None:
            self.broke(error, returned_rows=self.leaving.rows)
        elif _is_out(self.cursor):
            # known exactly when the application has read to the end; else what it has read
            self.ended(returned_rows=rows if rows >= 0 else self.leaving.rows)
        else:
            self.ended(affected_rows=rows if rows >= 0 else None)


def _is_out(cursor: Any) -> bool:
    result = cursor.pgresult
    return result is not None and result.status == _COPY_OUT


def _counted(run: HandingOut, read: Method) -> Method:
    """*read*, counted: psycopg hands out a row at a time, or a row's text."""

    def counted() -> Any:
        row = read()
        # the end: an empty buffer, or None
        if row is not None and len(row):
            run.leaves()
        return row

    return counted


def _counted_async(run: HandingOut, read: Method) -> Method:
    """The same for a coroutine function."""

    async def counted() -> Any:
        row = await read()
        if row is not None and len(row):
            run.leaves()
        return row

    return counted
