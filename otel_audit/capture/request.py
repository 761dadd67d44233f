"""The request that is being served: what its events and the queries inside it have in common.

Capture stage. A framework's instrumentation enters a `RequestScope`; whatever emits an event inside it
(a query, the application's own call) inherits actor, source and trace from here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from otel_audit.event import Actor, Source


class RequestScope:
    """One request as its instrumentation knows it; mutable, because identity is learnt on the way.

    *resolve_actor* is asked whenever a record is made, so that an event after authentication names the
    user and one before it does not. It must not raise, query, or load anything on our own account.
    """

    __slots__ = ("acting_as", "method", "path", "resolve_actor", "source", "span_id", "trace_id")

    def __init__(
        self,
        *,
        trace_id: str,
        span_id: str,
        source: Source | None,
        path: str,
        method: str,
        resolve_actor: Callable[[], Actor],
    ) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.source = source
        self.path = path
        self.method = method
        self.resolve_actor = resolve_actor
        self.acting_as: Actor | None = None
        """What the application said last inside this request; it outranks *resolve_actor*, also at its end."""


current_request: ContextVar[RequestScope | None] = ContextVar("otel_audit_request", default=None)
_acting: ContextVar[Actor | None] = ContextVar("otel_audit_acting_as", default=None)


@contextmanager
def acting_as(actor: Actor) -> Iterator[Actor]:
    """Make *actor* the one who acts, for every event inside the block.

    The word of the application: it outranks what the framework knows. Inside a request it also names
    the actor of the request's own record, which is made after the block has ended.
    """
    if actor.auth is None:
        actor = Actor(actor.id, actor.type, "explicit", actor.name, actor.on_behalf_of)
    request = current_request.get()
    if request is not None:
        request.acting_as = actor
    token = _acting.set(actor)
    try:
        yield actor
    finally:
        _acting.reset(token)


def current_actor() -> Actor | None:
    """Who acts now: the application's word, else the request's identity; None outside of both."""
    actor = _acting.get()
    if actor is not None:
        return actor
    request = current_request.get()
    if request is None:
        return None
    return request.acting_as or request.resolve_actor()
