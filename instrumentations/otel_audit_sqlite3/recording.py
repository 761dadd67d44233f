"""From a driver's call to its `db.query` event: what every door of sqlite3 shares.

When a record is made: after SQLite has run the statement and before the call returns. An access that happened is
on record before its first row can be fetched; how many rows will be fetched is not known then, and left out.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import sys
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import Any, TypeVar, cast
from urllib.parse import parse_qs, unquote, urlsplit

from otel_audit.capture.request import current_request
from otel_audit.capture.sql import Database, Failure, Statement, StatementReader, error_type, query_event
from otel_audit.capture.sql_text import SQLITE
from otel_audit.event import Outcome
from otel_audit.logger import get_audit_logger

READER = StatementReader(SQLITE)
_audit = get_audit_logger("otel_audit_sqlite3")
_R = TypeVar("_R")
_F = TypeVar("_F", bound=Callable[..., Any])


def stands_for(original: object) -> Callable[[_F], _F]:
    """Give a method the name, the documentation and the signature of sqlite3's *original*."""

    def mark(method: _F) -> _F:
        functools.update_wrapper(method, cast("_F", original))
        return method

    return mark


class Beneath:
    """The methods of sqlite3's own *kind*, but for `__init__`, bound to an object that is none of ours.

    A class that the application derived from CPython's own, before auditing was on, may well call
    `sqlite3.Connection.execute(self, …)` afterwards: a method of ours, with a *self* that `super()` refuses.
    """

    __slots__ = ("_kind", "_object")

    def __init__(self, kind: type[Any], thing: object) -> None:
        self._kind = kind
        self._object = thing

    def __getattr__(self, name: str) -> Any:
        return getattr(self._kind, name).__get__(self._object)


class Switch:
    """Whether audited connections record; off again after `uninstrument()`, which cannot take them back."""

    is_on = False


class Access:
    """What the events of one connection have in common."""

    __slots__ = ("database", "is_quiet")

    def __init__(self, namespace: str | None) -> None:
        self.database = Database("sqlite", namespace)
        self.is_quiet = False
        """True while a larger operation, which has an event of its own, runs its statements."""


_UNKNOWN = Access(None)
"""Of a connection that was made past our doors, and is used through them."""


def access_of(connection: sqlite3.Connection) -> Access:
    """The access that *connection* carries."""
    try:
        holder: Any = connection
        access: Access = holder._otel_audit  # noqa: SLF001 - ours
    except AttributeError:
        return _UNKNOWN
    return access


def access_of_cursor(cursor: sqlite3.Cursor) -> Access:
    """That of the connection of *cursor*; also where `Cursor.__init__` was never called."""
    try:
        holder: Any = cursor.connection
        access: Access = holder._otel_audit  # noqa: SLF001 - ours
    except AttributeError:
        return _UNKNOWN
    return access


def namespace_of(database: object) -> str | None:
    """`db.namespace`: the absolute path of the file, `:memory:`, or None for a temporary one.

    Of a URI the path alone: its parameters may hold a key.
    """
    if not isinstance(database, str | bytes | os.PathLike):
        return None
    path = os.fsdecode(database)  # pyright: ignore[reportUnknownArgumentType]
    if path.startswith("file:"):
        parts = urlsplit(path)
        if "memory" in parse_qs(parts.query).get("mode", ()):
            return ":memory:"
        path = unquote(parts.path)
    if path == ":memory:" or not path:
        return path or None
    return os.path.abspath(path)  # noqa: PTH100 - of text; Path would normalise it too


def failure_of(error: BaseException, outcome: Outcome = "failure") -> Failure:
    """What *error* says that is no value: its class, and SQLite's name for it."""
    return Failure(error_type(error), getattr(error, "sqlite_errorname", None), outcome)


def record(
    statements: Iterable[Statement],
    access: Access,
    *,
    failure: Failure | None = None,
    affected_rows: int | None = None,
    batch_size: int | None = None,
) -> None:
    """Emit one event for each of *statements*.

    Raises:
        RecordingFailed: in fail mode `closed`. It is no `sqlite3.Error` on purpose: code that retries, or goes
            on, after a database error must not take it for one. What was run has been run.
    """
    if access.is_quiet or not Switch.is_on:
        return
    for statement in statements:
        _audit.emit_event(
            query_event(
                statement,
                access.database,
                failure=failure,
                affected_rows=affected_rows,
                batch_size=batch_size,
            )
        )


def admit() -> Callable[[], None] | None:
    """Outside of a request, which has reserved its room, reserve some; returns what gives it back.

    Raises:
        NoRoom: in fail mode `closed`, before anything was run.
    """
    return _audit.admit() if Switch.is_on and current_request.get() is None else None


def run_recorded(statement: Statement, access: Access, run: Callable[[], _R]) -> _R:
    """Run an operation that is no SQL text, and record how it ended.

    Raises:
        NoRoom: in fail mode `closed`, before it was run.
        RecordingFailed: in fail mode `closed`, after it was run.
    """
    release = admit()
    try:
        try:
            result = run()
        except BaseException as error:
            record((statement,), access, failure=failure_of(error))
            raise
        record((statement,), access)
        return result
    finally:
        if release is not None:
            release()


def _run(function: Callable[..., _R], args: tuple[Any, ...], kwargs: dict[str, Any]) -> _R: return function(*args, **kwargs)  # noqa: E501 # fmt: skip # one line, so that its line is its first line


_RUN = _run.__code__


def as_caller(function: Callable[..., _R], args: tuple[Any, ...], kwargs: dict[str, Any], *, depth: int) -> _R:
    """Call *function* from a frame that has the file, line and globals of the application's, *depth* frames up.

    sqlite3 warns on the line of the Python frame that it was called from (positional arguments of `connect`,
    named placeholders bound to a sequence, the adapters of dates), and Python shows or hides a warning by that
    line's module. With our frame there, the application's deprecation warnings would vanish. Costs 2 to 3 µs.
    """
    # Documented, and CPython's own, as sqlite3 is.
    caller = sys._getframe(depth + 1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage]
    code = _RUN.replace(co_filename=caller.f_code.co_filename, co_firstlineno=caller.f_lineno or 1)
    run: Callable[..., _R] = FunctionType(code, caller.f_globals)
    return run(function, args, kwargs)
