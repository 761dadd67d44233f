"""`@audited`: record that a function was called, and how it ended.

Capture stage, for the application's own functions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from otel_audit.errors import InvalidEvent
from otel_audit.event import AuditEvent, Context, Target
from otel_audit.evidence.acceptance import accepted
from otel_audit.logger import get_audit_logger

P = ParamSpec("P")
R = TypeVar("R")


def audited(
    event: str,
    *,
    action: str,
    target: Target | Callable[..., Target] | None = None,
    logger: str = "otel_audit.audited",
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Record each call of the decorated function or coroutine function as *event*, when it has ended.

    *target* may be a function of the same arguments: `target=lambda invoice_id: Target(f"invoice/{invoice_id}",
    "invoice")`; it is called first, so that when it raises, or gives no target, nothing has happened yet. An
    exception is a failure, with its class in `error.type` and never its message, and goes on to the caller. In
    fail mode `closed` room is reserved before the function is entered. With `OTEL_AUDIT_FSYNC=always` a coroutine
    function waits for the disk without blocking the event loop.

    The decorated function raises, before it is entered, `NotConfigured` without a pipeline and `NoRoom` in fail
    mode `closed`; and after it was done, `RecordingFailed` in fail mode `closed`.

    Raises:
        InvalidEvent: at decoration, when *event*, *action* or *target* is not of its form, or a generator is
            decorated.
    """
    accepted(AuditEvent(event, action, "success", target=None if callable(target) else target))
    audit = get_audit_logger(logger)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidEvent(f"audited({event!r}): a generator ends when its reader likes; emit the event in it")

        def begin(args: Any, kwargs: Any) -> tuple[Target | None, Callable[[], None]]:
            found = target(*args, **kwargs) if callable(target) else target
            accepted(AuditEvent(event, action, "success", target=found))
            return found, audit.admit_or_raise() or _nothing

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                found, release = begin(args, kwargs)
                try:
                    result = await function(*args, **kwargs)
                except BaseException as error:
                    failed: Context = {"error.type": type(error).__name__}
                    await audit.emit_async(event, action=action, outcome="failure", target=found, context=failed)
                    raise
                else:
                    await audit.emit_async(event, action=action, target=found)
                finally:
                    release()
                return result

            return cast("Callable[P, R]", awaited)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            found, release = begin(args, kwargs)
            try:
                result = function(*args, **kwargs)
            except BaseException as error:
                failed: Context = {"error.type": type(error).__name__}
                audit.emit(event, action=action, outcome="failure", target=found, context=failed)
                raise
            else:
                audit.emit(event, action=action, target=found)
            finally:
                release()
            return result

        return called

    return decorate


def _nothing() -> None:
    """Gives back what was not reserved."""
