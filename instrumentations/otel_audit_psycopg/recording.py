"""From a call of psycopg to its `db.query` event: what every door shares, with and without asyncio.

When a record is made: once the server has answered, and before the call returns. An access that happened is on
record before its first row can be fetched.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakKeyDictionary

import psycopg
from psycopg import pq
from psycopg.sql import Composable

from otel_audit.capture.leaving import under_way
from otel_audit.capture.request import current_request
from otel_audit.capture.sql import (
    Database,
    Failure,
    Statement,
    StatementReader,
    error_type,
    operation,
    query_event,
)
from otel_audit.capture.sql_text import POSTGRESQL, POSTGRESQL_BACKSLASHES
from otel_audit.errors import RecordingFailed
from otel_audit.event import Outcome
from otel_audit.logger import get_audit_logger

if TYPE_CHECKING:
    from otel_audit_psycopg.pipelines import Pending
    from otel_audit_psycopg.server_cursors import Fetched

AnyConnection: TypeAlias = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
AnyCursor: TypeAlias = psycopg.Cursor[Any] | psycopg.AsyncCursor[Any]

_READER = StatementReader(POSTGRESQL)
_BACKSLASH_READER = StatementReader(POSTGRESQL_BACKSLASHES)
_audit = get_audit_logger("otel_audit_psycopg")

_UNREADABLE = (operation("UNKNOWN", "EXECUTE"),)
"""What is no SQL text, or cannot be made one: psycopg refuses it too."""
COMMIT = operation("COMMIT", "EXECUTE")
ROLLBACK = operation("ROLLBACK", "EXECUTE")
_LOST = frozenset({"40003"})
"""SQLSTATE statement_completion_unknown; class 08 (connection exceptions) says the same."""


class Switch:
    """Whether the doors record; off again after `uninstrument()`."""

    is_on = False


class Access:
    """What the events of one connection have in common; kept on the connection itself."""

    __slots__ = ("database", "fetched", "is_implicit", "is_lost", "pending", "refusal")

    def __init__(self, database: Database) -> None:
        self.database = database
        self.is_lost = False
        """An event has said that the connection broke: what is tried later never reaches the server."""
        self.pending: deque[Pending] = deque()
        """What a pipeline has sent and not yet heard of, in order."""
        self.is_implicit = False
        """No transaction was begun before these: the server takes all that is sent at once for one."""
        self.refusal: RecordingFailed | None = None
        """Of a pipelined statement: raised by the next door, for psycopg's own loop must not be broken."""
        self.fetched: WeakKeyDictionary[AnyCursor, Fetched] = WeakKeyDictionary()


def access_of(connection: AnyConnection) -> Access:
    """The access that *connection* carries; made when it is first asked for."""
    holder: Any = connection
    try:
        access: Access = holder._otel_audit  # noqa: SLF001 - ours
    except AttributeError:
        access = Access(_database(connection))
        if not connection.closed:
            holder._otel_audit = access  # noqa: SLF001 - likewise
            _READER.load()
    return access


def _database(connection: AnyConnection) -> Database:
    try:
        info = connection.info
        host, port = info.host, info.port
        attributes: dict[str, str | int] = {}
        if host.startswith("/"):  # libpq: the directory of the server's socket
            attributes["server.address"] = f"{host}/.s.PGSQL.{port}"
        elif host:
            attributes["server.address"] = host
            attributes["server.port"] = port
        if info.user:
            attributes["db.user"] = info.user
        return Database("postgresql", info.dbname, attributes)
    except psycopg.Error:  # closed already: libpq does not say any more
        return Database("postgresql", None)


def text_of(query: object, cursor: AnyCursor) -> str | None:
    """*query* as SQL text, parameters left out; None where psycopg will refuse it."""
    if isinstance(query, str):
        return query if type(query) is str else str.__str__(query)
    try:
        if isinstance(query, bytes):
            return query.decode(cursor.connection.info.encoding, "replace")
        if isinstance(query, Composable):
            return query.as_string(cursor)
        return _text_of_template(query)
    except Exception:  # noqa: BLE001 - an adapter of the application's; psycopg meets it again, and raises it
        return None


def _text_of_template(query: object) -> str | None:
    """Text of a template string (Python 3.14): its values are parameters, or composed SQL, or names."""
    if not hasattr(query, "interpolations"):
        return None
    template: Any = query  # a string.templatelib.Template, which Python 3.11 has not
    parts: list[str] = []
    for part in template:
        if isinstance(part, str):
            parts.append(part)
            continue
        value: object = part.value
        form: str = part.format_spec
        nested = _text_of_template(value)
        if nested is not None:
            parts.append(nested)
        elif isinstance(value, Composable):
            parts.append(value.as_string())
        elif form == "i":
            parts.append('"' + str(value).replace('"', '""') + '"')
        else:
            parts.append("%s")
    return "".join(parts)


def statements_of(text: str | None, connection: AnyConnection) -> tuple[Statement, ...]:
    """The statements in *text*; none where it holds but comments."""
    if text is None:
        return _UNREADABLE
    # what a backslash means inside a string is the session's own affair
    if "\\" in text and connection.pgconn.parameter_status(b"standard_conforming_strings") == b"off":
        return _BACKSLASH_READER.statements(text)
    return _READER.statements(text)


def failure_of(error: BaseException, connection: AnyConnection, access: Access) -> Failure:
    """What *error* says that is no value: its class and SQLSTATE; and whether the work may be done all the same.

    Where the server has answered, what it refused is undone. Where the answer was not awaited (an interrupt, a
    cancelled task, a lost connection), nobody knows.
    """
    code = getattr(error, "sqlstate", None)
    outcome: Outcome = "failure"
    if not isinstance(error, Exception) or (code is not None and (code[:2] == "08" or code in _LOST)):
        outcome = "unknown"
    elif code is None and isinstance(error, psycopg.OperationalError) and connection.broken:
        outcome = "failure" if access.is_lost else "unknown"
        access.is_lost = True
    return Failure(error_type(error), code, outcome)


IN_FAILED_TRANSACTION = Failure("psycopg.errors.InFailedSqlTransaction", "25P02")
"""Of a COMMIT that the server answers with ROLLBACK, and calls a success."""


def counts_of(result: pq.abc.PGresult | None) -> tuple[int | None, int | None]:
    """Rows affected and rows returned, as far as *result* says."""
    if result is None:
        return None, None
    status = result.status
    if status == pq.ExecStatus.TUPLES_OK:
        tag = result.command_status
        writes = tag is not None and tag[:6] in {b"INSERT", b"UPDATE", b"DELETE", b"MERGE "}
        return result.command_tuples if writes else None, result.ntuples
    if status == pq.ExecStatus.COMMAND_OK and (result.command_status or b"")[:4] != b"MOVE":
        return result.command_tuples, None
    return None, None


def record(
    statement: Statement,
    access: Access,
    *,
    failure: Failure | None = None,
    affected_rows: int | None = None,
    returned_rows: int | None = None,
    batch_size: int | None = None,
) -> None:
    """Emit one event.

    Raises:
        RecordingFailed: in fail mode `closed`. It is no `psycopg.Error` on purpose: code that retries, or goes
            on, after a database error must not take it for one. What was run has been run.
    """
    if Switch.is_on:
        _audit.emit_event(
            query_event(
                statement,
                access.database,
                failure=failure,
                affected_rows=affected_rows,
                returned_rows=returned_rows,
                batch_size=batch_size,
            )
        )


def record_under_way(statement: Statement, access: Access, rows: int) -> None:
    """Emit an event of what is not over yet, after that many *rows* have left.

    Raises:
        RecordingFailed: as `record`; the next row stays here.
    """
    if Switch.is_on:
        _audit.emit_event(under_way(query_event(statement, access.database, returned_rows=rows)))


def results_of(cursor: AnyCursor) -> list[pq.abc.PGresult]:
    """All that the last call was answered; in public, psycopg shows one by one, and moves the cursor."""
    results: list[pq.abc.PGresult] = getattr(cursor, "_results", [])
    return results


def sum_of(counts: Iterable[int | None]) -> int | None:
    """Their sum, as far as they are known."""
    known = [count for count in counts if count is not None]
    return sum(known) if known else None


def withhold(cursor: AnyCursor) -> None:
    """Take away what *cursor* has read: rows whose reading is not on record must not be there for the caller."""
    cursor.pgresult = None
    results_of(cursor).clear()


def admit() -> Callable[[], None] | None:
    """Outside of a request, which has reserved its room, reserve some; returns what gives it back.

    Raises:
        NoRoom: in fail mode `closed`, before anything was run.
    """
    return _audit.admit() if Switch.is_on and current_request.get() is None else None
