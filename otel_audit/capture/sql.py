"""What a database query is, for every driver: statement in, `db.query` event out.

Capture stage. A driver's instrumentation keeps one `StatementReader` for its dialect and one `Database` for each
connection, and asks `query_event` for the event; literals and parameters are in neither. Attribute names are
those of the OpenTelemetry semantic conventions for databases, but for two that these do not have:
`db.collection.names` (every table, where a statement names several) and `db.response.affected_rows`.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from otel_audit.capture.request import current_request
from otel_audit.capture.sql_config import sql_config
from otel_audit.capture.sql_parse import read
from otel_audit.capture.sql_text import Dialect, sanitize, split, strip
from otel_audit.event import AuditEvent, ContextValue, Outcome, Target

MAX_TEXT_CHARS = 4096
"""A longer statement is cut in `db.query.text`, and ends in an ellipsis."""
_MAX_KEPT = 1000
"""Entries of each cache; at 4 KiB each, 4 MiB at most."""


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One statement, understood: the part of its event that is the same each time."""

    operation: str
    action: str
    tables: tuple[str, ...]
    """Every table it names, the one it writes to (else the first it reads) first."""
    target: Target | None
    """None: no table, the event is about the database."""
    summary: str
    text: str
    """Without literals and comments, whatever the configuration."""
    has_named_parameters: bool = False
    attributes: Mapping[str, ContextValue] = field(default_factory=dict[str, ContextValue])
    """What of it goes into the event's context."""

    @property
    def kind(self) -> object:
        """What it shares with others of a script that are one event with it: operation, target and tables."""
        return self.operation, self.target, self.tables


class Database:
    """One database as its events name it; made once for a connection."""

    __slots__ = ("attributes", "target")

    def __init__(
        self, system: str, namespace: str | None, attributes: Mapping[str, ContextValue] | None = None
    ) -> None:
        self.attributes: dict[str, ContextValue] = {"db.system.name": system, **(attributes or {})}
        self.target: Target | None = None
        """Of what concerns no table: `COMMIT`, `VACUUM`, `PRAGMA` …"""
        if namespace:
            self.attributes["db.namespace"] = namespace
            self.target = Target(namespace, "db.namespace")


@dataclass(frozen=True, slots=True)
class Failure:
    """How an operation failed; never the message, which quotes values."""

    error_type: str
    """The exception's class: `sqlite3.IntegrityError`."""
    status_code: str | None = None
    """The database's own code: an SQLSTATE, SQLite's `SQLITE_CONSTRAINT_UNIQUE`."""
    outcome: Outcome = "failure"
    """`unknown` where part of the work may have been done."""


def error_type(error: BaseException) -> str:
    """The full name of the class of *error*, as `error.type` wants it."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


class StatementReader:
    """Turns SQL text into statements, each distinct one parsed once. Thread-safe.

    Two bounded caches: by stripped text, so that unparametrised SQL with ever-changing literals hits it (the
    scan costs 1 to 4 µs; text without a literal is found without one, in 0.1 µs), and by sanitised statement, so
    that lists of another length, another layout, or the statements of a script need no new parse. Neither ever
    holds a literal; text whose secrets a scan alone does not find is kept out of the first.
    """

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._by_text: dict[str, tuple[Statement, ...]] = {}
        self._by_statement: dict[str, Statement] = {}
        self._lock = threading.Lock()
        self._is_loaded = False

    def statements(self, text: str) -> tuple[Statement, ...]:
        """The statements in *text*, in order; none where it holds but comments. Never raises on what it says."""
        found = self._by_text.get(text)
        if found is not None:
            return found
        stripped = strip(text, self._dialect)
        found = self._by_text.get(stripped)
        if found is not None:
            return found
        return self._read(stripped)

    def load(self) -> None:
        """Import the SQL parser and let it read once (150 ms), unless it has, or a request is waiting for it."""
        if not self._is_loaded and current_request.get() is None:
            self._is_loaded = True
            self.statements("SELECT a FROM b")

    def _read(self, stripped: str) -> tuple[Statement, ...]:
        statements: list[Statement] = []
        is_clean = len(stripped) <= MAX_TEXT_CHARS
        for piece in split(stripped):
            text, had_secret = sanitize(piece, self._dialect)
            is_clean = is_clean and not had_secret
            key = (
                text
                if len(text) <= MAX_TEXT_CHARS
                else hashlib.blake2b(text.encode("utf-8", "replace")).hexdigest()
            )
            statement = self._by_statement.get(key)
            if statement is None:
                statement = _understood(text, self._dialect)
                self._keep(self._by_statement, key, statement)
            statements.append(statement)
        found = tuple(statements)
        if is_clean:
            self._keep(self._by_text, stripped, found)
        return found

    def _keep(self, cache: dict[str, _T], key: str, value: _T) -> None:
        with self._lock:
            if len(cache) >= _MAX_KEPT:
                del cache[next(iter(cache))]
            cache[key] = value


_T = TypeVar("_T")
_NAMED_PARAMETER = re.compile(r"[:@$]\w|\?[0-9]")


def _understood(text: str, dialect: Dialect) -> Statement:
    reading = read(text, dialect)
    return Statement(
        reading.operation,
        reading.action,
        reading.tables,
        Target(reading.object_name, reading.object_type) if reading.object_name else None,
        reading.summary,
        text,
        _NAMED_PARAMETER.search(text) is not None,
        _attributes(reading.operation, reading.tables, reading.summary, text),
    )


def operation(
    name: str, action: str, *, target: Target | None = None, tables: tuple[str, ...] = (), text: str = ""
) -> Statement:
    """An operation that is no SQL text: a driver's `commit()`, `backup()`, `blobopen()`."""
    if not tables and target is not None and target.type == "db.table":
        tables = (target.id,)
    summary = " ".join((name, *tables))[:255]
    return Statement(name, action, tables, target, summary, text, False, _attributes(name, tables, summary, text))


def _attributes(name: str, tables: tuple[str, ...], summary: str, text: str) -> dict[str, ContextValue]:
    attributes: dict[str, ContextValue] = {"db.operation.name": name}
    # One table: db.collection.name; the conventions forbid it for a statement that names several.
    if len(tables) == 1:
        attributes["db.collection.name"] = tables[0]
    elif tables:
        attributes["db.collection.names"] = tables
    attributes["db.query.summary"] = summary
    if text:
        attributes["db.query.text"] = text if len(text) <= MAX_TEXT_CHARS else text[: MAX_TEXT_CHARS - 1] + "…"
    return attributes


def query_event(
    statement: Statement,
    database: Database,
    *,
    failure: Failure | None = None,
    affected_rows: int | None = None,
    returned_rows: int | None = None,
    batch_size: int | None = None,
) -> AuditEvent:
    """The `db.query` event of *statement*, run on *database*; costs about 1 µs.

    *affected_rows* and *returned_rows*: None where the driver does not know. *batch_size*: how often the
    statement was run with parameters of its own; the conventions count two and more as a batch.
    """
    context: dict[str, ContextValue] = {**database.attributes, **statement.attributes}
    if affected_rows is not None:
        context["db.response.affected_rows"] = affected_rows
    if returned_rows is not None:
        context["db.response.returned_rows"] = returned_rows
    if batch_size is not None and batch_size > 1:
        context["db.operation.batch.size"] = batch_size
        context["db.operation.name"] = f"BATCH {statement.operation}"
        context["db.query.summary"] = f"BATCH {statement.summary}"
    query_text = sql_config().query_text
    if query_text != "sanitized":
        context.pop("db.query.text", None)
        if query_text == "none":
            context.pop("db.query.summary", None)
    outcome: Outcome = "success"
    if failure is not None:
        outcome = failure.outcome
        context["error.type"] = failure.error_type
        if failure.status_code is not None:
            context["db.response.status_code"] = failure.status_code
    target = statement.target or database.target
    return AuditEvent("db.query", statement.action, outcome, None, target, None, None, None, None, context)
