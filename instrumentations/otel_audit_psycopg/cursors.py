"""The doors of `psycopg.Cursor` and of server-side cursors, and of their twins with asyncio.

Each is given psycopg's own method and returns the one that takes its place. They stand on psycopg's public
classes themselves: a subclass, an application's own `cursor_factory`, a client-side or a raw cursor all come
through them, and whatever its class was, it still is.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing, closing
from typing import Any, TypeAlias, cast

from otel_audit_psycopg.execution import HandingOut, Run
from otel_audit_psycopg.pipelines import all_sent
from otel_audit_psycopg.recording import AnyCursor, Switch, counts_of, results_of, sum_of

Method: TypeAlias = Callable[..., Any]


def executing(beneath: Method, run_of: Callable[..., Run] = Run) -> Method:
    """`execute`: one event for a statement."""

    @functools.wraps(beneath)
    def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return beneath(self, *args, **kwargs)
        run = run_of(self, args, kwargs)
        try:
            result = beneath(self, *run.args, **run.kwargs)
        except BaseException as error:
            run.failed(error)
            raise
        run.succeeded()
        return result

    return execute


def executing_async(beneath: Method, run_of: Callable[..., Run] = Run) -> Method:
    """The same for `AsyncCursor`."""

    @functools.wraps(beneath)
    async def execute(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            return await beneath(self, *args, **kwargs)
        run = run_of(self, args, kwargs)
        try:
            result = await beneath(self, *run.args, **run.kwargs)
        except BaseException as error:
            run.failed(error)
            raise
        run.succeeded()
        return result

    return execute


def executing_many(beneath: Method) -> Method:
    """`executemany`: one event, however many sets of parameters."""
    return executing(beneath, _Batch)


def executing_many_async(beneath: Method) -> Method:
    """The same for `AsyncCursor`."""
    return executing_async(beneath, _Batch)


class _Batch(Run):
    """An `executemany`: counts the sets of parameters as psycopg takes them."""

    __slots__ = ("_count",)

    def __init__(self, cursor: AnyCursor, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._count = 0
        if len(args) > 1:
            args = (args[0], self._counted(args[1]), *args[2:])
        elif "params_seq" in kwargs:
            kwargs = {**kwargs, "params_seq": self._counted(kwargs["params_seq"])}
        super().__init__(cursor, args, kwargs, is_batch=True)
        if self.pending is not None:
            self.pending.expected = None

    def _counted(self, parameters: object) -> object:
        if isinstance(parameters, list | tuple):
            self._count = len(cast("list[object]", parameters))
            return cast("object", parameters)
        return (
            _Counted(self, cast("Iterable[object]", parameters)) if isinstance(parameters, Iterable) else parameters
        )

    def took_one(self) -> None:
        """One more set of parameters."""
        self._count += 1

    def sets(self) -> int:
        """See `Run.sets`."""
        return self._count

    def succeeded(self) -> None:
        """See `Run.succeeded`."""
        if self.pending is not None:
            all_sent(self.pending, self.access, self._count)
            super().succeeded()
            return
        changed = self.cursor.rowcount
        counts = [counts_of(result) for result in results_of(self.cursor)]
        self.ended(
            affected_rows=sum_of(affected for affected, _ in counts) if counts else max(changed, 0),
            returned_rows=sum_of(returned for _, returned in counts),
            batch_size=self._count,
        )


class _Counted:
    """Parameters, counted one by one."""

    __slots__ = ("_batch", "_parameters")

    def __init__(self, batch: _Batch, parameters: Iterable[object]) -> None:
        self._batch = batch
        self._parameters = parameters

    def __iter__(self) -> Iterator[object]:
        for one in self._parameters:
            self._batch.took_one()
            yield one


def streaming(beneath: Method) -> Method:
    """`stream`: one event when it is over, with the rows that left; of a long one others before, see `Leaving`."""

    @functools.wraps(beneath)
    def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            yield from beneath(self, *args, **kwargs)
            return
        with _Stream(self, args, kwargs) as run, closing(beneath(self, *run.args, **run.kwargs)) as rows:
            for row in rows:
                run.leaves()
                yield row

    return stream


def streaming_async(beneath: Method) -> Method:
    """The same for `AsyncCursor`."""

    @functools.wraps(beneath)
    async def stream(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not Switch.is_on:
            async with aclosing(beneath(self, *args, **kwargs)) as rows:
                async for row in rows:
                    yield row
            return
        with _Stream(self, args, kwargs) as run:
            async with aclosing(beneath(self, *run.args, **run.kwargs)) as rows:
                async for row in rows:
                    run.leaves()
                    yield row

    return stream


class _Stream(HandingOut):
    """Rows of a stream; left when no more will be handed out."""

    __slots__ = ()

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if error is None or isinstance(error, GeneratorExit):  # or the application has had enough
            self.ended(returned_rows=self.leaving.rows)
        else:
            self.broke(error, returned_rows=self.leaving.rows)
