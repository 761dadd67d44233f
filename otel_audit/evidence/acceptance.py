"""What a caller may hand in: the checks of an event at the door, before anything is made of it.

Evidence stage, at its entrance. The application's own calls pass here (`AuditLogger.emit`, `acting_as`), because
it may give anything, whatever the annotations say; an instrumentation vouches for its events. Context values
are judged where they are converted, in `members`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from otel_audit.errors import InvalidEvent
from otel_audit.event import Actor, ActorType, AuditEvent, Auth, Outcome, Source, SourceType, Target
from otel_audit.evidence.members import MAX_ON_BEHALF_OF, plain_text, shown

_OUTCOMES = frozenset(get_args(Outcome))
_ACTOR_TYPES = frozenset(get_args(ActorType))
_AUTHS = frozenset(get_args(Auth))
_SOURCE_TYPES = frozenset(get_args(SourceType))

EARLIEST_UNIX_NANO = -62_135_596_800_000_000_000
"""0001-01-01T00:00:00Z; RFC 3339 has years of four digits."""


def accepted(event: AuditEvent) -> AuditEvent:
    """*event* as a record can carry it; the same object, unless it has subclasses of `str`.

    Raises:
        InvalidEvent: a field is missing or not of its form; the message names it and what is expected.
    """
    name, action, outcome = plain_text(event.event), plain_text(event.action), plain_text(event.outcome)
    if not name or name.startswith("audit."):
        raise InvalidEvent(
            f"event={shown(event.event)}: expected a name such as 'invoice.approve', not of 'audit.*'"
        )
    if not action or action != action.upper():
        raise InvalidEvent(f"action={shown(event.action)}: expected an upper-case verb such as 'APPROVE'")
    if outcome not in _OUTCOMES:
        raise InvalidEvent(f"outcome={shown(event.outcome)}: expected one of success, failure, unknown")
    actor = None if event.actor is None else accepted_actor(event.actor)
    target = None if event.target is None else _accepted_target(event.target)
    source = None if event.source is None else _accepted_source(event.source)
    _check_time(event.time_unix_nano)
    _check_context(event.context)
    if (
        name is event.event
        and action is event.action
        and outcome is event.outcome
        and actor is event.actor
        and target is event.target
        and source is event.source
    ):
        return event
    return AuditEvent(
        name,
        action,
        outcome,  # type: ignore[arg-type]  # one of _OUTCOMES
        actor,
        target,
        source,
        event.time_unix_nano,
        event.trace_id,
        event.span_id,
        event.context,
    )


def accepted_actor(actor: Actor, depth: int = 0) -> Actor:
    """*actor* as a record can carry it; the same object, unless it has subclasses of `str`.

    Raises:
        InvalidEvent: it has no id, or a member that is not of its form.
    """
    if not isinstance(actor, Actor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidEvent(f"actor={shown(actor)}: expected an Actor")
    name, kind = plain_text(actor.id), plain_text(actor.type)
    auth = None if actor.auth is None else plain_text(actor.auth)
    full_name = None if actor.name is None else plain_text(actor.name)
    if not name:
        raise InvalidEvent(f"actor: id={shown(actor.id)}: expected a string that is not empty")
    if kind not in _ACTOR_TYPES:
        raise InvalidEvent(f"actor: type={shown(actor.type)}: expected one of {', '.join(get_args(ActorType))}")
    if auth is not None and auth not in _AUTHS:
        raise InvalidEvent(f"actor: auth={shown(actor.auth)}: expected one of {', '.join(get_args(Auth))}")
    if full_name == "" and actor.name != "":
        raise InvalidEvent(f"actor: name={shown(actor.name)}: expected a string")
    behalf = actor.on_behalf_of
    if behalf is not None and depth < MAX_ON_BEHALF_OF:
        behalf = accepted_actor(behalf, depth + 1)
    if (
        name is actor.id
        and kind is actor.type
        and auth is actor.auth
        and full_name is actor.name
        and behalf is actor.on_behalf_of
    ):
        return actor
    return Actor(name, kind, auth, full_name, behalf)  # type: ignore[arg-type]  # checked above


def _accepted_target(target: Target) -> Target:
    if not isinstance(target, Target):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidEvent(f"target={shown(target)}: expected a Target")
    name, kind = plain_text(target.id), plain_text(target.type)
    if not name or not kind:
        raise InvalidEvent(
            f"target: id={shown(target.id)}, type={shown(target.type)}: expected strings that are not empty"
        )
    return target if name is target.id and kind is target.type else Target(name, kind)


def _accepted_source(source: Source) -> Source:
    if not isinstance(source, Source):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise InvalidEvent(f"source={shown(source)}: expected a Source")
    name, kind = plain_text(source.id), plain_text(source.type)
    if not name or kind not in _SOURCE_TYPES:
        raise InvalidEvent(
            f"source: id={shown(source.id)}, type={shown(source.type)}: expected an address, and one of "
            f"{', '.join(get_args(SourceType))}"
        )
    if name is source.id and kind is source.type:
        return source
    return Source(name, kind)  # type: ignore[arg-type]  # one of _SOURCE_TYPES


def _check_time(time_unix_nano: object) -> None:
    if time_unix_nano is None:
        return
    # a bool is an int; a float has lost nanoseconds, and is most likely seconds
    if type(time_unix_nano) is not int or time_unix_nano < EARLIEST_UNIX_NANO:
        raise InvalidEvent(
            f"time_unix_nano={shown(time_unix_nano)}: expected whole nanoseconds since 1970, as of time.time_ns()"
        )


def _check_context(context: object) -> None:
    if context is not None and type(context) is not dict and not isinstance(context, Mapping):
        raise InvalidEvent(f"context={shown(context)}: expected a mapping of names to values")
