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
from otel_audit_psycopg.transactions import COMMIT_PREPARED, PREPARE_TRANSACTION, ROLLBACK_PREPARED

_log = logging.getLogger("otel_audit")

_Make: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]


def _ending(statement: Statement) -> tuple[_Make, _Make]:
    """The doors of what ends a transaction by *statement*."""
    return (
        functools.partial(transactions.ending, statement),
        functools.partial(transactions.ending_async, statement),
    )


def _ending_two_phase(prepared: Statement, unprepared: Statement) -> tuple[_Make, _Make]:
    """The doors of what ends one that was prepared, or was not yet."""
    return (
        functools.partial(transactions.ending_two_phase, prepared, unprepared),
        functools.partial(transactions.ending_two_phase_async, prepared, unprepared),
    )


_DOORS: tuple[tuple[str, str, _Make, _Make], ...] = (
    ("Cursor", "execute", cursors.executing, cursors.executing_async),
    ("Cursor", "executemany", cursors.executing_many, cursors.executing_many_async),
    ("Cursor", "stream", cursors.streaming, cursors.streaming_async),
    ("Cursor", "copy", copies.copying, copies.copying_async),
    ("ServerCursor", "execute", server_cursors.declaring, server_cursors.declaring_async),
    ("ServerCursor", "scroll", server_cursors.scrolling, server_cursors.scrolling_async),
    ("ServerCursor", "close", server_cursors.closing, server_cursors.closing_async),
    ("Connection", "commit", *_ending(COMMIT)),
    ("Connection", "rollback", *_ending(ROLLBACK)),
    ("Connection", "close", transactions.closing, transactions.closing_async),
    ("Connection", "transaction", transactions.in_transaction, transactions.in_transaction_async),
    ("Connection", "notifies", transactions.listening, transactions.listening_async),
    ("Connection", "tpc_prepare", *_ending_two_phase(PREPARE_TRANSACTION, PREPARE_TRANSACTION)),
    ("Connection", "tpc_commit", *_ending_two_phase(COMMIT_PREPARED, COMMIT)),
    ("Connection", "tpc_rollback", *_ending_two_phase(ROLLBACK_PREPARED, ROLLBACK)),
    ("Transaction", "__exit__", transactions.leaving_transaction, transactions.leaving_transaction),
    ("Pipeline", "__exit__", pipelines.leaving_pipeline, pipelines.leaving_pipeline_async),
)
"""Class, method, what makes the door from it, and from the same method of its twin with asyncio."""

_opened: list[tuple[type[Any], str, Callable[..., Any], Callable[..., Any]]] = []
"""Class, name, psycopg's own method, ours."""


def open_doors() -> None:
    """Put our methods in the place of psycopg's, and record; a second call changes nothing."""
    if not _opened:
        try:
            for kind, name, make, make_async in _DOORS:
                _replace(getattr(psycopg, kind), name, make)
                _replace(getattr(psycopg, f"Async{kind}"), name.replace("__exit__", "__aexit__"), make_async)
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
