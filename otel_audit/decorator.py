"""`@audited`: record that a function was called, and how it ended.

Capture stage, for the application's own functions.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from otel_audit.errors import InvalidEvent
from otel_audit.event import Target
from otel_audit.logger import AuditLogger, get_audit_logger

if TYPE_CHECKING:
    from collections.abc import Generator

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
    "invoice")`. An exception is a failure, with its class in `error.type` and never its message, and goes on to
    the caller. In fail mode `closed` room is reserved before the function is entered.

    Raises:
        InvalidEvent: at decoration, when *event* or *action* is not of its form, or a generator is decorated.
    """
    if not event or event.startswith("audit.") or not action or action != action.upper():
        raise InvalidEvent(f"audited({event!r}, action={action!r}): expected a name and an upper-case verb")
    audit = get_audit_logger(logger)

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise InvalidEvent(f"audited({event!r}): a generator ends when its reader likes; emit the event in it")

        def on(args: Any, kwargs: Any) -> Target | None:
            return target(*args, **kwargs) if callable(target) else target

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def awaited(*args: P.args, **kwargs: P.kwargs) -> Any:
                with _recording(audit, event, action, on(args, kwargs)):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", awaited)

        @functools.wraps(function)
        def called(*args: P.args, **kwargs: P.kwargs) -> R:
            with _recording(audit, event, action, on(args, kwargs)):
                return function(*args, **kwargs)

        return called

    return decorate


@contextmanager
def _recording(audit: AuditLogger, event: str, action: str, target: Target | None) -> Generator[None]:
    release = audit.admit()
    try:
        yield
    except BaseException as error:
        audit.emit(
            event, action=action, outcome="failure", target=target, context={"error.type": type(error).__name__}
        )
        raise
    else:
        audit.emit(event, action=action, target=target)
    finally:
        if release is not None:
            release()
