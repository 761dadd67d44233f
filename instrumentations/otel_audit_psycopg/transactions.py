"""The doors of `psycopg.Connection` by which a transaction ends, and of `AsyncConnection`.

What psycopg sends on its own account (`COMMIT`, `ROLLBACK`, `SAVEPOINT` …) is an event where it does something;
the `BEGIN` that it puts before the first statement is none.
"""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

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

PREPARE_TRANSACTION = operation("PREPARE TRANSACTION", "EXECUTE")
COMMIT_PREPARED = operation("COMMIT PREPARED", "EXECUTE")
ROLLBACK_PREPARED = operation("ROLLBACK PREPARED", "EXECUTE")
_NOTIFIES = operation("NOTIFIES", "READ")


class _End:
    """The end of a transaction: made before it, told how it went."""

    __slots__ = ("_connection", "_is_open", "_release", "_statement", "_will_fail")

    def __init__(self, connection: AnyConnection, statement: Statement, *, is_always: bool = False) -> None:
        self._connection = connection
        self._statement = statement
        status = connection.pgconn.transaction_status
        self._is_open = is_always or status not in {_IDLE, _UNKNOWN}
        self._will_fail = status == _FAILED and statement in {COMMIT, PREPARE_TRANSACTION}
        self._release = admit() if self._is_open else None

    def failed(self, error: BaseException) -> None:
        """*error* came out of psycopg."""
        try:
            if self._is_open:
                access = access_of(self._connection)
                record(self._statement, access, failure=failure_of(error, self._connection, access))
        finally:
            self._free()

    def succeeded(self) -> None:
        """The server has done what it was asked for; a failed transaction it has rolled back instead."""
        try:
            access = access_of(self._connection)
            if self._is_open:
                record(self._statement, access, failure=IN_FAILED_TRANSACTION if self._will_fail else None)
            raise_refusal(access)
        finally:
            self._free()

    def _free(self) -> None:
        if self._release is not None:
            self._release()


def ending(statement: Statement, beneath: Method) -> Method:
    """`commit`, `rollback`: one event where a transaction is open."""

    @functools.wraps(beneath)
    def end(self: Any) -> Any:
        if not Switch.is_on:
            return beneath(self)
        ending = _End(self, statement)
        try:
            result = beneath(self)
        except BaseException as error:
            ending.failed(error)
            raise
        ending.succeeded()
        return result

    return end


def ending_async(statement: Statement, beneath: Method) -> Method:
    """The same for `AsyncConnection`."""

    @functools.wraps(beneath)
    async def end(self: Any) -> Any:
        if not Switch.is_on:
            return await beneath(self)
        ending = _End(self, statement)
        try:
            result = await beneath(self)
        except BaseException as error:
            ending.failed(error)
            raise
        ending.succeeded()
        return result

    return end


def ending_two_phase(prepared: Statement, unprepared: Statement, beneath: Method) -> Method:
    """`tpc_prepare`, `tpc_commit`, `tpc_rollback`: *unprepared* where the transaction is still this session's."""

    @functools.wraps(beneath)
    def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return beneath(self, *args, **kwargs)
        is_ours = self.pgconn.transaction_status != _IDLE
        ending = _End(self, unprepared if is_ours else prepared, is_always=True)
        try:
            result = beneath(self, *args, **kwargs)
        except BaseException as error:
            ending.failed(error)
            raise
        ending.succeeded()
        return result

    return end


def ending_two_phase_async(prepared: Statement, unprepared: Statement, beneath: Method) -> Method:
    """The same for `AsyncConnection`."""

    @functools.wraps(beneath)
    async def end(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return await beneath(self, *args, **kwargs)
        is_ours = self.pgconn.transaction_status != _IDLE
        ending = _End(self, unprepared if is_ours else prepared, is_always=True)
        try:
            result = await beneath(self, *args, **kwargs)
        except BaseException as error:
            ending.failed(error)
            raise
        ending.succeeded()
        return result

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
    """A `transaction()` block: what its beginning and its end do."""

    __slots__ = (
        "_connection",
        "_is_committing",
        "_is_outermost",
        "_release",
        "_savepoint",
        "_transaction",
        "_will_fail",
    )

    def __init__(self, connection: AnyConnection) -> None:
        self._connection = connection
        self._release = admit()
        self._is_outermost = True
        self._savepoint: str | None = None
        self._will_fail = False
        self._is_committing = False
        self._transaction: Any = None

    def entered(self, transaction: Any, *, is_outermost: bool) -> None:
        """BEGIN was sent, SAVEPOINT, or both."""
        self._is_outermost = is_outermost
        self._savepoint = transaction.savepoint_name or None
        if self._savepoint:
            record(_named("SAVEPOINT", self._savepoint), access_of(self._connection))

    def leaving(self, transaction: Any, error: BaseException | None) -> None:
        """The block has ended, with *error* or without, and what it did is about to."""
        self._transaction = transaction
        self._is_committing = error is None and not transaction.force_rollback
        self._will_fail = self._connection.pgconn.transaction_status == _FAILED

    def left(self, error: BaseException | None) -> None:
        """COMMIT was sent, ROLLBACK, RELEASE or ROLLBACK TO; *error* is what came out of the whole."""
        access = access_of(self._connection)
        # psycopg 3.2 does not say; in its pipelines a COMMIT that was never sent is then one that failed
        status = getattr(self._transaction, "status", None)
        is_committing = self._is_committing if status is None else status.value == "committed"
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

    def free(self) -> None:
        """Give back the room that was reserved."""
        if self._release is not None:
            self._release()


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
        block = _Block(self)
        try:
            is_outermost = self.pgconn.transaction_status == _IDLE
            entered = None
            try:
                with beneath(self, *args, **kwargs) as entered:
                    block.entered(entered, is_outermost=is_outermost)
                    try:
                        yield entered
                    except BaseException as error:
                        block.leaving(entered, error)
                        raise
                    block.leaving(entered, None)
            except BaseException as error:
                if entered is not None:
                    block.left(error)
                raise
            block.left(None)
        finally:
            block.free()

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
        block = _Block(self)
        try:
            is_outermost = self.pgconn.transaction_status == _IDLE
            entered = None
            try:
                async with beneath(self, *args, **kwargs) as entered:
                    block.entered(entered, is_outermost=is_outermost)
                    try:
                        yield entered
                    except BaseException as error:
                        block.leaving(entered, error)
                        raise
                    block.leaving(entered, None)
            except BaseException as error:
                if entered is not None:
                    block.left(error)
                raise
            block.left(None)
        finally:
            block.free()

    return transaction


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
