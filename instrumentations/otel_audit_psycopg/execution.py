"""One call that executes SQL, from the door to its events; the same for psycopg with and without asyncio."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

from otel_audit.capture.leaving import Leaving
from otel_audit.capture.sql import Failure, Statement
from otel_audit.capture.sql_comment import is_commenting
from otel_audit.errors import RecordingFailed
from otel_audit_psycopg.comment import commented
from otel_audit_psycopg.pipelines import Pending, is_pipelined, send, was_sent
from otel_audit_psycopg.recording import (
    IN_FAILED_TRANSACTION,
    Access,
    AnyCursor,
    access_of,
    admit,
    counts_of,
    failure_of,
    record,
    record_under_way,
    results_of,
    statements_of,
    sum_of,
    text_of,
    withhold,
)

_ENDS_TRANSACTION = frozenset({"COMMIT", "END", "PREPARE TRANSACTION"})
_TRANSACTION_CONTROL = frozenset({"BEGIN", "START", "COMMIT", "END", "ROLLBACK", "ABORT", "VACUUM"})


class Run:
    """What is being executed: made before, told how it ended, and by then the events are made.

    `args` and `kwargs` are what the door hands on to psycopg.
    """

    __slots__ = ("access", "args", "cursor", "kwargs", "pending", "release", "statements")

    def __init__(
        self,
        cursor: AnyCursor,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        name: str = "query",
        *,
        is_batch: bool = False,
    ) -> None:
        self.cursor = cursor
        connection = cursor.connection
        self.access = access = access_of(connection)
        query: object = args[0] if args else kwargs.get(name)
        text = text_of(query, cursor)
        self.statements = statements = statements_of(text, connection)
        self.args = args
        self.kwargs = kwargs
        if not is_batch and is_commenting():
            comment = commented(query, text or "", kwargs)
            if comment is not None:
                if args:
                    self.args = (comment, *args[1:])
                else:
                    self.kwargs = {**kwargs, name: comment}
        self.release: Callable[[], None] | None = admit()
        self.pending: Pending | None = None
        if statements and is_pipelined(connection):
            self.pending = send(cursor, statements[0], access)

    def sets(self) -> int | None:
        """How many sets of parameters were taken, of a batch."""
        return None

    def failed(self, error: BaseException) -> None:
        """*error* came out of psycopg, and goes on to the application."""
        batch_size = self.sets()
        try:
            if self.pending is not None and was_sent(self.pending, self.access, batch_size):
                return  # its own results will say what became of it
            if self.statements:
                failure = failure_of(error, self.cursor.connection, self.access)
                self._record_failure(failure, batch_size)
        finally:
            self.free()

    def succeeded(self) -> None:
        """The server has answered; in a pipeline, the statement is on its way.

        Raises:
            RecordingFailed: in fail mode `closed`; what was read cannot be fetched from the cursor.
        """
        try:
            if self.pending is not None:
                raise_refusal(self.access)
                return
            try:
                self._record_results()
            except RecordingFailed:
                withhold(self.cursor)
                raise
        finally:
            self.free()

    def ended(
        self,
        *,
        affected_rows: int | None = None,
        returned_rows: int | None = None,
        batch_size: int | None = None,
    ) -> None:
        """A stream, a copy or a batch is over, and these are its rows."""
        try:
            for statement in self.statements:
                record(
                    statement,
                    self.access,
                    affected_rows=affected_rows,
                    returned_rows=returned_rows,
                    batch_size=batch_size,
                )
        finally:
            self.free()

    def broke(self, error: BaseException, *, returned_rows: int | None = None) -> None:
        """A stream or a copy ended with *error*, after that many rows had left."""
        try:
            failure = failure_of(error, self.cursor.connection, self.access)
            for statement in self.statements:
                record(statement, self.access, failure=failure, returned_rows=returned_rows or None)
        finally:
            self.free()

    def free(self) -> None:
        """Give back the room that was reserved."""
        if self.release is not None:
            self.release()
            self.release = None

    def _record_results(self) -> None:
        if len(self.statements) == 1:
            (statement,) = self.statements
            result = self.cursor.pgresult
            affected, returned = counts_of(result)
            if statement.action == "EXPORT":  # COPY … TO a file of the server's
                affected, returned = None, affected
            failure = None
            if statement.operation in _ENDS_TRANSACTION and result is not None:
                failure = IN_FAILED_TRANSACTION if result.command_status == b"ROLLBACK" else None
            record(statement, self.access, failure=failure, affected_rows=affected, returned_rows=returned)
            return
        results = results_of(self.cursor)
        is_complete = len(results) == len(self.statements)
        kinds: dict[object, list[tuple[Statement, int | None, int | None]]] = {}
        for place, statement in enumerate(self.statements):
            affected, returned = counts_of(results[place]) if is_complete else (None, None)
            kinds.setdefault(statement.kind, []).append((statement, affected, returned))
        for same in kinds.values():
            record(
                same[0][0],
                self.access,
                affected_rows=sum_of(affected for _, affected, _ in same),
                returned_rows=sum_of(returned for _, _, returned in same),
                batch_size=len(same),
            )

    def _record_failure(self, failure: Failure, batch_size: int | None) -> None:
        # One message to the server is one transaction, unless it says otherwise itself.
        if len(self.statements) > 1 and any(one.operation in _TRANSACTION_CONTROL for one in self.statements):
            failure = Failure(failure.error_type, failure.status_code, "unknown")
        kinds: dict[object, list[Statement]] = {}
        for statement in self.statements:
            kinds.setdefault(statement.kind, []).append(statement)
        for same in kinds.values():
            record(same[0], self.access, failure=failure, batch_size=batch_size or len(same))


class HandingOut(Run):
    """A run whose rows are handed out one by one, while they arrive."""

    __slots__ = ("leaving",)

    def __init__(
        self, cursor: AnyCursor, args: tuple[Any, ...], kwargs: dict[str, Any], name: str = "query"
    ) -> None:
        super().__init__(cursor, args, kwargs, name)
        self.leaving = Leaving()

    def __enter__(self) -> Self:
        return self

    def leaves(self) -> None:
        """One more row is about to be handed out: count it, and record those before it where that is due.

        Raises:
            RecordingFailed: in fail mode `closed`; the row stays here.
        """
        leaving = self.leaving
        if leaving.is_due():
            for statement in self.statements:
                record_under_way(statement, self.access, leaving.rows)
        leaving.rows += 1


def raise_refusal(access: Access) -> None:
    """Raise what a pipelined statement could not raise when its result arrived.

    Raises:
        RecordingFailed: in fail mode `closed`.
    """
    refusal = access.refusal
    if refusal is not None:
        access.refusal = None
        raise refusal
