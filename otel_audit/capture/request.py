"""The request that is being served: what its events and the queries inside it have in common.

Capture stage. A framework's instrumentation enters a `RequestScope`; whatever emits an event inside it
(a query, the application's own call) inherits actor, source and trace from here.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar

from otel_audit.capture.trace_context import Ids
from otel_audit.event import UNKNOWN, Actor, Source
from otel_audit.evidence.acceptance import accepted_actor


class RequestScope:
    """One request as its instrumentation knows it; mutable, because identity is learnt on the way.

    *resolve_actor* is asked whenever a record is made, so that an event after authentication names the
    user and one before it does not. It must not raise, query, or load anything on our own account.
    """

    __slots__ = ("_given_ids", "_resolve", "acting_as", "method", "path", "source")

    def __init__(
        self,
        *,
        trace_id: str,
        span_id: str,
        source: Source | None,
        path: str,
        method: str,
        resolve_actor: Callable[[], Actor] | None = None,
    ) -> None:
        self._given_ids = trace_id, span_id
        self._resolve = resolve_actor
        self.source = source
        self.path = path
        """As it was asked for, secrets included: policy matches it, no record may carry it."""
        self.method = method
        self.acting_as: Actor | None = None
        """What the application said last inside this request; it outranks *resolve_actor*, also at its end."""

    @property
    def ids(self) -> Ids:
        """Of its trace and of its own span; an instrumentation may learn them on the way, so ask at each record."""
        return self._given_ids

    @property
    def trace_id(self) -> str:
        """32 lower-case hex digits; see `ids`."""
        return self.ids[0]

    @property
    def span_id(self) -> str:
        """16 lower-case hex digits; see `ids`."""
        return self.ids[1]

    def resolve_actor(self) -> Actor:
        """Whom the framework knows this request to be by now; `UNKNOWN` where nobody can say."""
        return UNKNOWN if self._resolve is None else self._resolve()


current_request: ContextVar[RequestScope | None] = ContextVar("otel_audit_request", default=None)
_acting: ContextVar[Actor | None] = ContextVar("otel_audit_acting_as", default=None)


@contextmanager
def acting_as(actor: Actor) -> Generator[Actor]:
    """Make *actor* the one who acts, for every event inside the block.

    The word of the application: it outranks what the framework knows. Inside a request it also names
    the actor of the request's own record, which is made after the block has ended. Tasks inherit the actor,
    threads do not: run them in a copy of the context (`contextvars.copy_context().run`).

    Raises:
        InvalidEvent: *actor* has no id, or a member that is not of its form.
    """
    actor = accepted_actor(actor)
    if actor.auth is None:
        actor = Actor(actor.id, actor.type, "explicit", actor.name, actor.on_behalf_of)
    request = current_request.get()
    if request is not None:
        request.acting_as = actor
    with acting(actor):
        yield actor


@contextmanager
def acting(actor: Actor) -> Generator[None]:
    """For instrumentations: *actor*, as it stands, is the one who acts inside the block."""
    token = _acting.set(actor)
    try:
        yield
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
