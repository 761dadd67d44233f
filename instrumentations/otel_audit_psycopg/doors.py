"""Which methods of psycopg are doors, and what takes their place.

Psycopg's own tests hold that `conn.cursor_factory` is the class that was given, and that a cursor's type is that
very class: a factory of ours in its place would be seen. So methods are replaced, and classes stay what they are.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import Any, TypeAlias

import psycopg

from otel_audit.capture.doors import leads_to
from otel_audit.capture.sql import Statement
from otel_audit_psycopg import copies, cursors, pipelines, server_cursors, transactions
from otel_audit_psycopg.recording import COMMIT, ROLLBACK, Switch

_log = logging.getLogger("otel_audit")

_Make: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
_Door: TypeAlias = tuple[type[Any], str, _Make]


def _of(make: Callable[..., Any], *statements: Statement) -> _Make:
    """The door that *make* makes for *statements*."""
    return functools.partial(make, *statements)


_DOORS: tuple[_Door, ...] = (
    (psycopg.Cursor, "execute", cursors.executing),
    (psycopg.Cursor, "executemany", cursors.executing_many),
    (psycopg.Cursor, "stream", cursors.streaming),
    (psycopg.Cursor, "copy", copies.copying),
    (psycopg.ServerCursor, "execute", server_cursors.declaring),
    (psycopg.ServerCursor, "scroll", server_cursors.scrolling),
    (psycopg.ServerCursor, "close", server_cursors.closing),
    (psycopg.Connection, "commit", _of(transactions.ending, COMMIT)),
    (psycopg.Connection, "rollback", _of(transactions.ending, ROLLBACK)),
    (psycopg.Connection, "close", transactions.closing),
    (psycopg.Connection, "transaction", transactions.in_transaction),
    (psycopg.Connection, "notifies", transactions.listening),
    (
        psycopg.Connection,
        "tpc_prepare",
        _of(transactions.ending_two_phase, transactions.PREPARE_TRANSACTION, transactions.PREPARE_TRANSACTION),
    ),
    (psycopg.Connection, "tpc_commit", _of(transactions.ending_two_phase, transactions.COMMIT_PREPARED, COMMIT)),
    (
        psycopg.Connection,
        "tpc_rollback",
        _of(transactions.ending_two_phase, transactions.ROLLBACK_PREPARED, ROLLBACK),
    ),
    (psycopg.Transaction, "__exit__", transactions.leaving_transaction),
    (psycopg.Pipeline, "__exit__", pipelines.leaving_pipeline),
    (psycopg.AsyncCursor, "execute", cursors.executing_async),
    (psycopg.AsyncCursor, "executemany", cursors.executing_many_async),
    (psycopg.AsyncCursor, "stream", cursors.streaming_async),
    (psycopg.AsyncCursor, "copy", copies.copying_async),
    (psycopg.AsyncServerCursor, "execute", server_cursors.declaring_async),
    (psycopg.AsyncServerCursor, "scroll", server_cursors.scrolling_async),
    (psycopg.AsyncServerCursor, "close", server_cursors.closing_async),
    (psycopg.AsyncConnection, "commit", _of(transactions.ending_async, COMMIT)),
    (psycopg.AsyncConnection, "rollback", _of(transactions.ending_async, ROLLBACK)),
    (psycopg.AsyncConnection, "close", transactions.closing_async),
    (psycopg.AsyncConnection, "transaction", transactions.in_transaction_async),
    (psycopg.AsyncConnection, "notifies", transactions.listening_async),
    (
        psycopg.AsyncConnection,
        "tpc_prepare",
        _of(
            transactions.ending_two_phase_async, transactions.PREPARE_TRANSACTION, transactions.PREPARE_TRANSACTION
        ),
    ),
    (
        psycopg.AsyncConnection,
        "tpc_commit",
        _of(transactions.ending_two_phase_async, transactions.COMMIT_PREPARED, COMMIT),
    ),
    (
        psycopg.AsyncConnection,
        "tpc_rollback",
        _of(transactions.ending_two_phase_async, transactions.ROLLBACK_PREPARED, ROLLBACK),
    ),
    (psycopg.AsyncTransaction, "__aexit__", transactions.leaving_transaction),
    (psycopg.AsyncPipeline, "__aexit__", pipelines.leaving_pipeline_async),
)

_opened: list[tuple[type[Any], str, Callable[..., Any], Callable[..., Any]]] = []
"""Class, name, psycopg's own method, ours."""


def open_doors() -> None:
    """Put our methods in the place of psycopg's, and record; a second call changes nothing."""
    if not _opened:
        try:
            for holder, name, make in _DOORS:
                _replace(holder, name, make)
        except BaseException:
            close_doors()  # half of them would record half of what is done
            raise
        base = psycopg.Pipeline.__mro__[1]
        if "_process_results" in vars(base):
            _replace(base, "_process_results", pipelines.processing_results)
        else:
            _log.warning(
                "otel-audit: psycopg %s does not say when a pipelined statement is answered: its outcome is "
                "recorded as unknown",
                psycopg.__version__,
            )
    Switch.is_on = True


def close_doors() -> None:
    """Give psycopg its methods back; where somebody has wrapped ours since, it stays, and records nothing."""
    Switch.is_on = False
    for holder, name, beneath, ours in _opened:
        if vars(holder).get(name) is ours:
            setattr(holder, name, beneath)
    _opened.clear()


def replaced_doors() -> tuple[str, ...]:
    """Methods that somebody has replaced since ours took their place, and that do not lead to it."""
    return tuple(
        f"psycopg.{holder.__name__}.{name}"
        for holder, name, _, ours in _opened
        if not leads_to(vars(holder).get(name), ours)
    )


def _replace(holder: type[Any], name: str, make: _Make) -> None:
    beneath: Callable[..., Any] = vars(holder)[name]
    ours = make(beneath)
    setattr(holder, name, ours)
    _opened.append((holder, name, beneath, ours))
