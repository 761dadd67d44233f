"""Pipeline mode: a statement is sent by one call, and answered in another.

Its event is made when its result arrives, which psycopg tells nobody in public: `BasePipeline._process_results`
is called once for each, with the cursor that sent it (psycopg 3.2 and 3.3). Where a later psycopg has no such
method, pipelined statements are recorded when the pipeline ends, with outcome `unknown`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import psycopg
from psycopg import pq

from otel_audit.capture.sql import Failure, Statement
from otel_audit.errors import RecordingFailed
from otel_audit_psycopg.recording import (
    ROLLBACK,
    Access,
    AnyConnection,
    AnyCursor,
    Switch,
    access_of,
    counts_of,
    failure_of,
    record,
    withhold,
)

Method: TypeAlias = Callable[..., Any]

_OFF = pq.PipelineStatus.OFF
_NOT_AWAITED = Failure("psycopg.errors.PipelineAborted", None, "unknown")


def is_pipelined(connection: AnyConnection) -> bool:
    """Say whether *connection* is in pipeline mode."""
    return connection.pgconn.pipeline_status != _OFF


class Pending:
    """A statement that a pipeline has sent, once or many times, and whose results are to come."""

    __slots__ = ("affected", "arrived", "batch_size", "cursor", "expected", "failure", "returned", "statement")

    def __init__(self, cursor: AnyCursor, statement: Statement, expected: int | None = 1) -> None:
        self.cursor = cursor
        self.statement = statement
        self.expected = expected
        """How many results are to come; None while `executemany` is still sending."""
        self.arrived = 0
        self.batch_size: int | None = None
        self.failure: Failure | None = None
        self.affected: int | None = None
        self.returned: int | None = None

    @property
    def is_complete(self) -> bool:
        """Nothing is to come any more."""
        return self.expected is not None and self.arrived >= self.expected

    def take(self, result: pq.abc.PGresult | None, failure: Failure | None) -> None:
        """One result, or how it failed."""
        self.arrived += 1
        self.failure = self.failure or failure
        affected, returned = counts_of(result)
        if affected is not None:
            self.affected = (self.affected or 0) + affected
        if returned is not None:
            self.returned = (self.returned or 0) + returned


def send(cursor: AnyCursor, statement: Statement, access: Access) -> Pending:
    """Note that *cursor* is about to send *statement*."""
    if not access.pending:
        connection = cursor.connection
        status = connection.pgconn.transaction_status
        if status != pq.TransactionStatus.ACTIVE:  # else no Sync since the last one: whatever it was, it still is
            access.is_implicit = connection.autocommit and status == pq.TransactionStatus.IDLE
    pending = Pending(cursor, statement)
    access.pending.append(pending)
    return pending


def processing_results(beneath: Method) -> Method:
    """`BasePipeline._process_results`: one result has come."""

    @functools.wraps(beneath)
    def _process_results(self: Any, queued: Any, results: Any) -> None:
        if queued is None or not Switch.is_on:
            beneath(self, queued, results)
            return
        cursor: AnyCursor = queued[0]
        access = access_of(cursor.connection)
        pending = next((one for one in access.pending if one.cursor is cursor and not one.is_complete), None)
        try:
            beneath(self, queued, results)
        except psycopg.Error as error:
            if pending is not None:
                pending.take(None, failure_of(error, cursor.connection, access))
                _settle(pending, access)
            if access.is_implicit and not isinstance(error, psycopg.errors.PipelineAborted):
                _record_later(ROLLBACK, access)  # of what went before, and was recorded as done
            raise
        if pending is not None:
            pending.take(results[0] if results else None, None)
            _settle(pending, access)

    return _process_results


def all_sent(pending: Pending, access: Access, count: int) -> None:
    """`executemany` has sent its last statement, *count* in all."""
    pending.expected = pending.batch_size = count
    _settle(pending, access)


def was_sent(pending: Pending, access: Access, batch_size: int | None) -> bool:
    """Psycopg has raised: say whether anything of *pending* was sent before that; nothing more of it will be."""
    pipeline: Any = getattr(pending.cursor.connection, "_pipeline", None)
    queue: Iterable[Any] = getattr(pipeline, "result_queue", ())
    queued = sum(1 for entry in queue if entry is not None and entry[0] is pending.cursor)
    earlier = sum(
        (other.expected or 0) - other.arrived
        for other in access.pending
        if other.cursor is pending.cursor and other is not pending
    )
    sent = pending.arrived + max(0, queued - earlier)
    if sent == 0:
        if pending in access.pending:
            access.pending.remove(pending)
        return False
    pending.expected = sent
    pending.batch_size = batch_size
    _settle(pending, access)
    return True


def _settle(pending: Pending, access: Access) -> None:
    """Record *pending* if nothing is to come any more."""
    if not pending.is_complete or pending not in access.pending:
        return
    access.pending.remove(pending)
    is_recorded = _record_later(
        pending.statement,
        access,
        failure=pending.failure,
        affected_rows=pending.affected,
        returned_rows=pending.returned,
        batch_size=pending.batch_size,
    )
    if not is_recorded:
        withhold(pending.cursor)


def _record_later(statement: Statement, access: Access, **members: Any) -> bool:
    """Record; what cannot be is raised by the next door.

    Psycopg is taking results from the wire: an exception here would leave the rest of them there.
    """
    try:
        record(statement, access, **members)
    except RecordingFailed as error:
        access.refusal = error
        return False
    return True


def pipeline_ended(connection: AnyConnection, error: BaseException | None) -> None:
    """Record what was never answered: the connection is gone, or the wait was interrupted.

    Raises:
        RecordingFailed: in fail mode `closed`, for any statement of the pipeline.
    """
    access = access_of(connection)
    while access.pending:
        pending = access.pending.popleft()
        failure = _NOT_AWAITED if error is None else failure_of(error, connection, access)
        record(pending.statement, access, failure=Failure(failure.error_type, failure.status_code, "unknown"))
    refusal = access.refusal
    if refusal is not None:
        access.refusal = None
        raise refusal


def leaving_pipeline(beneath: Method) -> Method:
    """`Pipeline.__exit__`."""

    @functools.wraps(beneath)
    def __exit__(self: Any, *args: Any) -> Any:  # noqa: N807 - it stands for one
        failed: BaseException | None = args[1] if len(args) > 1 else None
        try:
            return beneath(self, *args)
        except BaseException as error:
            failed = error
            raise
        finally:
            if self.level == 0 and Switch.is_on:
                pipeline_ended(self._conn, failed)

    return __exit__


def leaving_pipeline_async(beneath: Method) -> Method:
    """`AsyncPipeline.__aexit__`."""

    @functools.wraps(beneath)
    async def __aexit__(self: Any, *args: Any) -> Any:  # noqa: N807 - it stands for one
        failed: BaseException | None = args[1] if len(args) > 1 else None
        try:
            return await beneath(self, *args)
        except BaseException as error:
            failed = error
            raise
        finally:
            if self.level == 0 and Switch.is_on:
                pipeline_ended(self._conn, failed)

    return __aexit__
