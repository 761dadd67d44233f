"""The doors of `psycopg.Connection` by which a transaction ends, and of `AsyncConnection`.

What psycopg sends on its own account (`COMMIT`, `ROLLBACK`, `SAVEPOINT` …) is an event where it does something;
the `BEGIN` that it puts before the first statement is none.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Self

from psycopg import pq

from otel_audit.capture.sql import Failure, Statement, operation
from otel_audit.event import Target
from otel_audit_psycopg.cursors import Method
from otel_audit_psycopg.execution import raise_refusal
from otel_audit_psycopg.recording import (
    COMMIT,
    IN_FAILED_TRANSACTION,
    ROLLBACK,
    AnyConnection,
    Switch,
    access_of,
    admit,
    failure_of,
    record,
)

_IDLE = pq.TransactionStatus.IDLE
_UNKNOWN = pq.TransactionStatus.UNKNOWN
_FAILED = pq.TransactionStatus.INERROR
_ALIVE = pq.ConnStatus.OK

PREPARE_TRANSACTION = operation("PREPARE TRANSACTION", "EXECUTE")
COMMIT_PREPARED = operation("COMMIT PREPARED", "EXECUTE")
ROLLBACK_PREPARED = operation("ROLLBACK PREPARED", "EXECUTE")
_NOTIFIES = operation("NOTIFIES", "READ")


class _End:
    """The end of a transaction: made before it, left when psycopg has done it, or has raised."""

    __slots__ = ("_connection", "_is_open", "_release", "_statement", "_will_fail")

    def __init__(self, connection: AnyConnection, statement: Statement, *, is_always: bool = False) -> None:
        self._connection = connection
        self._statement = statement
        status = connection.pgconn.transaction_status
        self._is_open = is_always or status not in {_IDLE, _UNKNOWN}
        self._will_fail = status == _FAILED and statement in {COMMIT, PREPARE_TRANSACTION}
        self._release = admit() if self._is_open else None

    def __enter__(self) -> None: ...

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            access = access_of(self._connection)
            if self._is_open:
                failure = IN_FAILED_TRANSACTION if self._will_fail else None
                if error is not None:
                    failure = failure_of(error, self._connection, access)
                record(self._statement, access, failure=failure)
            if error is None:
                raise_refusal(access)
        finally:
            if self._release is not None:
                self._release()


def ending(statement: Statement, beneath: Method) -> Method:
    """`commit`, `rollback`: one event where a transaction is open."""
    return _ending(lambda connection: _End(connection, statement), beneath)


def ending_async(statement: Statement, beneath: Method) -> Method:
    """The same for `AsyncConnection`."""
    return _ending_async(lambda connection: _End(connection, statement), beneath)


def ending_two_phase(prepared: Statement, unprepared: Statement, beneath: Method) -> Method:
    """`tpc_prepare`, `tpc_commit`, `tpc_rollback`: *unprepared* where the transaction is still this session's."""
    return _ending(functools.partial(_end_two_phase, prepared, unprepared), beneath)


def ending_two_phase_async(prepared: Statement, unprepared: Statement, beneath: Method) -> Method:
    """The same for `AsyncConnection`."""
    return _ending_async(functools.partial(_end_two_phase, prepared, unprepared), beneath)


def _end_two_phase(prepared: Statement, unprepared: Statement, connection: AnyConnection) -> _End:
    is_ours = connection.pgconn.transaction_status != _IDLE
    return _End(connection, unprepared if is_ours else prepared, is_always=True)


def _ending(end_of: Callable[[AnyConnection], _End], beneath: Method) -> Method:
    @functools.wraps(beneath)
    def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return beneath(self, *args, **kwargs)
        with end_of(self):
            return beneath(self, *args, **kwargs)

    return end


def _ending_async(end_of: Callable[[AnyConnection], _End], beneath: Method) -> Method:
    @functools.wraps(beneath)
    async def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return await beneath(self, *args, **kwargs)
        with end_of(self):
            return await beneath(self, *args, **kwargs)

    return end


def closing(beneath: Method) -> Method:
    """`Connection.close`: a ROLLBACK where a transaction was open, for the server drops what is not committed."""

    @functools.wraps(beneath)
    def close(self: Any) -> None:
        was_open = _is_in_transaction(self)
        if was_open:
            access_of(self)  # which a closed connection cannot tell any more
        beneath(self)
        if was_open and self.closed:
            record(ROLLBACK, access_of(self))

    return close


def closing_async(beneath: Method) -> Method:
    """`AsyncConnection.close`."""

    @functools.wraps(beneath)
    async def close(self: Any) -> None:
        was_open = _is_in_transaction(self)
        if was_open:
            access_of(self)
        await beneath(self)
        if was_open and self.closed:
            record(ROLLBACK, access_of(self))

    return close


def _is_in_transaction(connection: AnyConnection) -> bool:
    return Switch.is_on and connection.pgconn.transaction_status not in {_IDLE, _UNKNOWN}


class _Block:
    """A `transaction()` block: made before it begins, left when all that its end does is done."""

    __slots__ = (
        "_connection",
        "_is_committing",
        "_is_entered",
        "_is_outermost",
        "_release",
        "_savepoint",
        "_will_fail",
    )

    def __init__(self, connection: AnyConnection) -> None:
        self._connection = connection
        self._release = admit()
        self._is_outermost = connection.pgconn.transaction_status == _IDLE
        self._is_entered = False
        self._savepoint: str | None = None
        self._is_committing = False
        self._will_fail = False

    def __enter__(self) -> Self:
        return self

    def entered(self, transaction: Any) -> None:
        """BEGIN was sent, SAVEPOINT, or both."""
        transaction._otel_audit = self  # noqa: SLF001 - ours
        self._is_entered = True
        self._savepoint = transaction.savepoint_name or None
        if self._savepoint:
            record(_named("SAVEPOINT", self._savepoint), access_of(self._connection))

    def leaving(self, transaction: Any, error: BaseException | None) -> None:
        """Psycopg is about to send COMMIT, or where there is an *error*, of a pipeline's too, ROLLBACK."""
        pgconn = self._connection.pgconn
        self._is_committing = error is None and not transaction.force_rollback and pgconn.status == _ALIVE
        self._will_fail = pgconn.transaction_status == _FAILED

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        try:
            if self._is_entered:
                self._left(error)
        finally:
            if self._release is not None:
                self._release()

    def _left(self, error: BaseException | None) -> None:
        """COMMIT was sent, ROLLBACK, RELEASE or ROLLBACK TO; *error* is what came out of the whole."""
        access = access_of(self._connection)
        is_committing = self._is_committing
        failure: Failure | None = None
        if error is not None and (is_committing or self._connection.closed):
            failure = failure_of(error, self._connection, access)
        elif is_committing and self._will_fail:
            failure = IN_FAILED_TRANSACTION
        if self._is_outermost:
            record(COMMIT if is_committing else ROLLBACK, access, failure=failure)
        elif self._savepoint:
            name = "RELEASE" if is_committing else "ROLLBACK TO"
            record(_named(name, self._savepoint), access, failure=failure)
        raise_refusal(access)


def _named(name: str, savepoint: str) -> Statement:
    return operation(name, "EXECUTE", target=Target(savepoint[:255], "db.savepoint"))


def in_transaction(beneath: Method) -> Method:
    """`Connection.transaction`: an event for how it ends, and for a savepoint's beginning."""

    @functools.wraps(beneath)
    @contextmanager
    def transaction(self: Any, *args: Any, **kwargs: Any) -> Generator[Any]:
        if not Switch.is_on:
            with beneath(self, *args, **kwargs) as entered:
                yield entered
            return
        with _Block(self) as block, beneath(self, *args, **kwargs) as entered:
            block.entered(entered)
            yield entered

    return transaction


def in_transaction_async(beneath: Method) -> Method:
    """`AsyncConnection.transaction`."""

    @functools.wraps(beneath)
    @asynccontextmanager
    async def transaction(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        if not Switch.is_on:
            async with beneath(self, *args, **kwargs) as entered:
                yield entered
            return
        with _Block(self) as block:
            async with beneath(self, *args, **kwargs) as entered:
                block.entered(entered)
                yield entered

    return transaction


def leaving_transaction(beneath: Method) -> Method:
    """`Transaction.__exit__` and `__aexit__`, where psycopg decides whether it commits.

    A block in a pipeline may fail between its own end and this one: its COMMIT is then never sent. Psycopg 3.3
    says so afterwards (`Transaction.status`), 3.2 does not.
    """

    @functools.wraps(beneath)
    def leave(self: Any, kind: Any, error: BaseException | None, traceback: Any) -> Any:
        block: _Block | None = getattr(self, "_otel_audit", None)
        if block is not None:
            block.leaving(self, error)
        return beneath(self, kind, error, traceback)

    return leave


def listening(beneath: Method) -> Method:
    """`Connection.notifies`: one event when the application stops listening, with how much it heard."""

    @functools.wraps(beneath)
    def notifies(self: Any, *args: Any, **kwargs: Any) -> Generator[Any]:
        heard = 0
        notifications = beneath(self, *args, **kwargs)
        try:
            for notification in notifications:
                heard += 1
                yield notification
        finally:
            notifications.close()
            if heard:
                record(_NOTIFIES, access_of(self), returned_rows=heard)

    return notifies


def listening_async(beneath: Method) -> Method:
    """`AsyncConnection.notifies`."""

    @functools.wraps(beneath)
    async def notifies(self: Any, *args: Any, **kwargs: Any) -> AsyncGenerator[Any]:
        heard = 0
        notifications = beneath(self, *args, **kwargs)
        try:
            async for notification in notifications:
                heard += 1
                yield notification
        finally:
            await notifications.aclose()
            if heard:
                record(_NOTIFIES, access_of(self), returned_rows=heard)

    return notifies
