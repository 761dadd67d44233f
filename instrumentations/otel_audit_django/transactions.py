"""Events that wait for their transaction: recorded when it commits, as a failure when it is rolled back.

Django keeps `on_commit` callbacks in the same way, but drops them on a rollback without a word, and lets
one that raises keep those after it from running. So what waits here is kept beside them, on the connection,
with the savepoints that were open when it happened.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from time import time_ns
from typing import Any

from otel_audit.capture.request import current_actor, current_request
from otel_audit.errors import RecordingFailed
from otel_audit.event import AuditEvent
from otel_audit.serving.faults import complain
from otel_audit_django.patches import Patches
from otel_audit_django.recording import emit

_WAITING = "_otel_audit_waiting"


def emit_when_committed(event: AuditEvent, alias: str) -> None:
    """Record *event*, which has happened on that database: now, or when its transaction ends.

    Who, from where, when and in which trace is what holds now.

    Raises:
        RecordingFailed: in fail mode `closed`, where there is no transaction to wait for.
    """
    from django.db import connections  # by now; this module is loaded while Django's are

    connection = connections[alias]
    if not connection.in_atomic_block and connection.get_autocommit():
        emit(event)
        return
    request = current_request.get()
    event = event._replace(actor=event.actor or current_actor(), time_unix_nano=time_ns())
    if request is not None:
        event = event._replace(
            source=event.source or request.source, trace_id=request.trace_id, span_id=request.span_id
        )
    waiting: list[tuple[frozenset[str], AuditEvent]] = connection.__dict__.setdefault(_WAITING, [])
    waiting.append((frozenset(sid for sid in connection.savepoint_ids if sid), event))


def watch_transactions(patches: Patches, wrapper: Any) -> None:
    """Hear of every end of a transaction from now on; *wrapper* is Django's `BaseDatabaseWrapper`."""
    patches.wrap(wrapper, "commit", _on_commit)
    patches.wrap(wrapper, "rollback", _on_rollback)
    patches.wrap(wrapper, "savepoint_rollback", _on_savepoint_rollback)
    patches.wrap(wrapper, "close", _on_rollback)  # of a connection inside a transaction


def _on_commit(commit: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(commit)
    def committing(self: Any) -> None:
        commit(self)
        for _, event in _taken(self):
            _emit_late(event)

    return committing


def _on_rollback(rollback: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(rollback)
    def rolling_back(self: Any) -> None:
        try:
            rollback(self)
        finally:
            for _, event in _taken(self):
                _emit_late(_undone(event))

    return rolling_back


def _on_savepoint_rollback(rollback: Callable[[Any, str], None]) -> Callable[[Any, str], None]:
    @functools.wraps(rollback)
    def rolling_back(self: Any, sid: str) -> None:
        rollback(self, sid)
        waiting = _taken(self)
        if waiting:
            self.__dict__[_WAITING] = [(sids, event) for sids, event in waiting if sid not in sids]
            for sids, event in waiting:
                if sid in sids:
                    _emit_late(_undone(event))

    return rolling_back


def _taken(connection: Any) -> list[tuple[frozenset[str], AuditEvent]]:
    waiting: list[tuple[frozenset[str], AuditEvent]] = connection.__dict__.pop(_WAITING, [])
    return waiting


def _undone(event: AuditEvent) -> AuditEvent:
    return event._replace(outcome="failure", context={**(event.context or {}), "audit.reason": "rolled-back"})


def _emit_late(event: AuditEvent) -> None:
    """Record what the transaction has decided; inside a request a failure refuses the response at its end."""
    try:
        emit(event)
    except RecordingFailed as error:
        complain(error)
