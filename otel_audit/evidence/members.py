"""From an event to the members of its record: defaults, times, and what to do with values that do not fit.

Evidence stage, before canonical bytes. The event's values come from applications and requests, so anything
may stand in them; what leaves here is within the profile of "Record" in the evidence format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from time import gmtime, strftime
from typing import Any, NamedTuple, cast

from otel_audit.errors import InvalidEvent
from otel_audit.event import Actor, AuditEvent, Context, Source
from otel_audit.evidence.canonical import MAX_RECORD_BYTES, SCHEMA, encode

Members = dict[str, Any]

MAX_INTEGER = 2**53 - 1
_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_checked_names: set[str] = set()
_CHECKED_NAMES_LIMIT = 10_000
"""Names come from code, not from requests, so this is a bound against mistakes only."""


def timestamp(time_unix_nano: int) -> str:
    """RFC 3339, UTC, nine fractional digits, `Z`."""
    seconds, nano = divmod(time_unix_nano, 1_000_000_000)
    return f"{_to_the_second(seconds)}.{nano:09d}Z"


@lru_cache(maxsize=8)
def _to_the_second(seconds: int) -> str:
    return strftime("%Y-%m-%dT%H:%M:%S", gmtime(seconds))


class Attribution(NamedTuple):
    """What an event takes from its surroundings: who, from where, in which trace."""

    actor: Actor
    source: Source | None
    trace_id: str | None
    span_id: str | None


def event_members(event: AuditEvent, attribution: Attribution) -> Members:
    """Members of the event's record but its times and those that its stream gives.

    Raises:
        InvalidEvent: a context value of a type that a record cannot carry.
    """
    actor, source, trace_id, span_id = attribution
    members: Members = {
        "schema": SCHEMA,
        "event": event.event,
        "action": event.action,
        "outcome": event.outcome,
        "actor": actor_members(actor),
    }
    target = event.target
    if target is not None:
        members["target"] = {"id": target.id or "unknown", "type": target.type}
    if source is not None:
        members["source"] = {"id": source.id, "type": source.type}
    if trace_id is not None:
        members["trace_id"] = trace_id
        if span_id is not None:
            members["span_id"] = span_id
    if event.context:
        context = context_members(event.context)
        if context:
            members["context"] = context
    return members


def actor_members(actor: Actor, depth: int = 0) -> Members:
    """Members of an actor; an impersonation deeper than three is cut there, as the format has it."""
    members: Members = {"id": actor.id or "unknown", "type": actor.type}
    if actor.auth is not None:
        members["auth"] = actor.auth
    if actor.name:
        members["name"] = actor.name
    if actor.on_behalf_of is not None and depth < 3:
        members["on_behalf_of"] = actor_members(actor.on_behalf_of, depth + 1)
    return members


def context_members(context: Context) -> Members:
    """*context* with floats and large integers as strings, and without what is None.

    Raises:
        InvalidEvent: a name outside of 0x21-0x7E or of more than 256 characters, or a value of another type.
    """
    members: Members = {}
    for name, value in context.items():
        if name not in _checked_names:
            _check_name(name)
        kind = value.__class__
        if kind is str or kind is bool or (kind is int and -MAX_INTEGER <= value <= MAX_INTEGER):  # type: ignore[operator]
            members[name] = value
        elif value is not None:
            members[name] = _fitted(name, value)
    return members


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise InvalidEvent(f"context name {name!r}: expected 1 to 256 characters of ASCII without spaces")
    if len(_checked_names) < _CHECKED_NAMES_LIMIT:
        _checked_names.add(name)


def _fitted(name: str, value: object) -> object:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return bool(value)
    if isinstance(value, int):
        return int(value) if -MAX_INTEGER <= value <= MAX_INTEGER else str(int(value))
    if isinstance(value, float):
        return repr(float(value))
    if isinstance(value, list | tuple):
        items = [_fitted(name, item) for item in cast("Sequence[object]", value)]
        if any(isinstance(item, list) for item in items):
            raise InvalidEvent(f"context {name!r}: an array in an array cannot be recorded")
        kinds = {type(item) for item in items}
        return items if len(kinds) <= 1 else [item if isinstance(item, str) else _text(item) for item in items]
    raise InvalidEvent(
        f"context {name!r}: a value of type {type(value).__name__} cannot be recorded; "
        "expected a string, boolean, integer, float, or a sequence of one of these"
    )


def _text(item: object) -> str:
    return encode({"": item})[4:-1].decode()


def without_surrogates(value: Any) -> Any:
    """*value* with every lone surrogate replaced by U+FFFD, which UTF-8 can carry."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        return {name: without_surrogates(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def shortened(members: Mapping[str, Any], excess_bytes: int) -> Members | None:
    """*members* made smaller by about *excess_bytes*: the longest strings of `context` first.

    What was shortened is listed in `audit.truncated`. None when there is not enough in `context` to cut.
    """
    context: Members = dict(members.get("context", {}))
    cut: list[str] = []
    names = sorted(
        (n for n, v in context.items() if isinstance(v, str)), key=lambda n: -len(encode({"": context[n]}))
    )
    room = 64  # what naming the member in audit.truncated adds, and a rounding reserve
    for name in names:
        if excess_bytes <= 0:
            break
        value: str = context[name]
        size = len(encode({"": value}))
        keep = max(0, size - excess_bytes - room - len(name))
        # by characters: escapes and multi-byte characters make the written text at least as long
        context[name] = value[: min(keep * len(value) // size, len(value))]
        excess_bytes -= size - len(encode({"": context[name]})) - len(name) - 4
        cut.append(name)
    if excess_bytes > 0 or not cut:
        return None
    context["audit.truncated"] = sorted(cut)
    return {**members, "context": context}


def fit(members: Members, overhead_bytes: int = 0) -> Members | None:
    """*members* as they are when their bytes fit a record, shortened when they do not; None when nothing helps."""
    for _ in range(4):
        size = len(encode(members)) + overhead_bytes
        if size <= MAX_RECORD_BYTES:
            return members
        smaller = shortened(members, size - MAX_RECORD_BYTES)
        if smaller is None:
            return None
        members = smaller
    return None
