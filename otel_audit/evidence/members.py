"""From an event to the members of its record: defaults, times, and what to do with values that do not fit.

Evidence stage, before canonical bytes. The event's values come from applications and requests, so anything
may stand in them; what leaves here is within the profile of "Record" in the evidence format.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from time import gmtime, strftime
from typing import Any, cast

from otel_audit.errors import InvalidEvent
from otel_audit.event import Actor, AuditEvent, Context, Source
from otel_audit.evidence.canonical import MAX_RECORD_BYTES, SCHEMA, encode

Members = dict[str, Any]

MAX_INTEGER = 2**53 - 1
MAX_ON_BEHALF_OF = 3
"""How many identities deep an impersonation is recorded, the actor's own not counted."""

_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_AUDIT_NAMES = frozenset(("audit.reason", "audit.actor.claimed"))
"""Names of `audit.*` that an event may bring; the others of "Record" are the log's own."""

_PLAIN = frozenset((str, bool, int))

_checked_names: set[str] = set()
_CHECKED_NAMES_LIMIT = 10_000
"""Names come from code, not from requests, so this is a bound against mistakes only."""


_second: tuple[int, str] = (0, "1970-01-01T00:00:00.")
"""The second that was asked for last, in nanoseconds, and its text: events of one moment share it."""


def timestamp(time_unix_nano: int) -> str:
    """RFC 3339, UTC, nine fractional digits, `Z`."""
    start, prefix = _second
    nano = time_unix_nano - start
    if not 0 <= nano < 1_000_000_000:
        start, prefix = _begin_second(time_unix_nano)
        nano = time_unix_nano - start
    return f"{prefix}{nano:09d}Z"


def _begin_second(time_unix_nano: int) -> tuple[int, str]:
    global _second  # noqa: PLW0603 - one a process; threads at once replace it as a whole
    second = time_unix_nano // 1_000_000_000
    moment = gmtime(second)
    # glibc's %Y does not pad
    _second = made = second * 1_000_000_000, f"{moment.tm_year:04d}{strftime('-%m-%dT%H:%M:%S', moment)}."
    return made


def event_members(
    event: AuditEvent, *, actor: Actor, source: Source | None, trace_id: str | None, span_id: str | None
) -> Members:
    """Members of the event's record but its times and those that its stream gives.

    *actor* and so on are what the event takes from its surroundings, or brings itself. Its context may be part
    of what is returned.

    Raises:
        InvalidEvent: a context value of a type that a record cannot carry.
    """
    name, action, outcome, _, target, _, _, _, _, context = event
    members: Members = {
        "schema": SCHEMA,
        "event": name,
        "action": action,
        "outcome": outcome,
        "actor": actor_members(actor),
    }
    if target is not None:
        members["target"] = {"id": target.id or "unknown", "type": target.type}
    if source is not None:
        members["source"] = {"id": source.id, "type": source.type}
    if trace_id is not None:
        members["trace_id"] = trace_id
        if span_id is not None:
            members["span_id"] = span_id
    if context:
        if not _is_plain(context):
            context = context_members(context)
        if context:
            members["context"] = context
    return members


def _is_plain(context: Context) -> bool:
    """Whether *context* can be written as it stands, but for the range of its integers: `encode` refuses those."""
    kinds = map(type, context.values())
    return type(context) is dict and _checked_names.issuperset(context) and _PLAIN.issuperset(kinds)  # pyright: ignore[reportUnknownArgumentType] - narrowed to dict[Unknown, Unknown]


def actor_members(actor: Actor, depth: int = 0) -> Members:
    """Members of an actor; an impersonation deeper than three is cut there, as the format has it."""
    members: Members = {"id": actor.id or "unknown", "type": actor.type}
    if actor.auth is not None:
        members["auth"] = actor.auth
    if actor.name:
        members["name"] = actor.name
    if actor.on_behalf_of is not None and depth < MAX_ON_BEHALF_OF:
        members["on_behalf_of"] = actor_members(actor.on_behalf_of, depth + 1)
    return members


def context_members(context: Context) -> Members:
    """*context* with floats and large integers as strings, and without what is None.

    Raises:
        InvalidEvent: a name outside of 0x21-0x7E, of more than 256 characters or of the log's own, or a value
            of another type.
    """
    members: Members = {}
    for name, value in context.items():
        if name not in _checked_names:
            _check_name(name)
        kind = type(value)  # not __class__: a proxy (werkzeug's, Django's) gives that of what it stands for
        if kind is str or kind is bool or (kind is int and -MAX_INTEGER <= value <= MAX_INTEGER):  # type: ignore[operator]
            members[name] = value
        elif value is not None:
            members[name] = _fitted(name, value)
    return members


def plain_text(value: object) -> str:
    """*value* as a string of no subclass (as `Markup` or an enumeration's member are); empty when it is none."""
    if type(value) is str:
        return value
    return str.__str__(cast("str", value)) if issubclass(type(value), str) else ""


def shown(value: object) -> str:
    """*value* as a message shows it: a short text as it is, of anything else only the type."""
    if value is None or type(value) is str:
        return repr(value) if value is None or len(value) <= 100 else f"{value[:100]!r}…"
    return f"({type(value).__name__})"


def _check_name(name: object) -> None:
    text = plain_text(name)
    if _NAME.fullmatch(text) is None:
        raise InvalidEvent(f"context name {shown(name)}: expected 1 to 256 characters of ASCII without spaces")
    if text.startswith("audit.") and text not in _AUDIT_NAMES:
        raise InvalidEvent(f"context name {shown(name)}: names of 'audit.*' belong to the evidence format")
    if len(_checked_names) < _CHECKED_NAMES_LIMIT:
        _checked_names.add(text)


def _fitted(name: str, value: object) -> object:
    if isinstance(value, list | tuple):
        return _fitted_items(name, cast("Sequence[object]", value))
    return _fitted_scalar(name, value)


def _fitted_items(name: str, values: Sequence[object]) -> list[object]:
    items: list[object] = [_fitted_scalar(name, value) for value in values]
    kinds = {type(item) for item in items}
    return items if len(kinds) <= 1 else [item if isinstance(item, str) else _text(item) for item in items]


def _fitted_scalar(name: str, value: object) -> str | bool | int:
    kind = type(value)
    if issubclass(kind, str):
        return plain_text(value)
    if kind is bool:
        return value is True
    if issubclass(kind, int):
        return _fitted_integer(name, int.__index__(value))  # type: ignore[arg-type]
    if issubclass(kind, float):
        return float.__repr__(cast("float", value))
    raise InvalidEvent(
        f"context {name!r}: a value of type {kind.__name__} cannot be recorded; "
        "expected a string, boolean, integer, float, or a sequence of one of these"
    )


def _fitted_integer(name: str, value: int) -> int | str:
    if -MAX_INTEGER <= value <= MAX_INTEGER:
        return value
    try:
        return str(value)
    except ValueError as error:  # more digits than sys.get_int_max_str_digits()
        raise InvalidEvent(f"context {name!r}: an integer of {value.bit_length()} bits is too long") from error


def _text(item: object) -> str:
    return encode({"": item})[4:-1].decode()


def conformed(members: Members) -> Members:
    """*members* whose text or integers `encode` has refused, as a record can carry them.

    Raises:
        InvalidEvent: an integer too long for a string.
    """
    context = members.get("context")
    if context is not None:
        members = {**members, "context": context_members(context)}
    return without_surrogates(members)  # type: ignore[no-any-return]  # a dict of a dict


def without_surrogates(value: Any) -> Any:
    """*value* as UTF-8 can carry it: U+FFFD for every lone surrogate, and names that are plain strings."""
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, dict):
        members = cast("dict[str, Any]", value)
        return {plain_text(name): without_surrogates(item) for name, item in members.items()}
    if isinstance(value, list):
        return [without_surrogates(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    return value


def fit(members: Members, overhead_bytes: int = 0) -> Members | None:
    """*members* as they are when their bytes fit a record, shortened when they do not; None when nothing helps.

    The longest strings of `context` are cut first, each to what is needed, and listed in `audit.truncated`.
    *overhead_bytes* are those that will still be added.
    """
    excess = len(encode(members)) + overhead_bytes - MAX_RECORD_BYTES
    if excess <= 0:
        return members
    context: Members = dict(members.get("context", {}))
    sizes = {name: _size(value) for name, value in context.items() if isinstance(value, str)}
    excess += len(',"audit.truncated":[]')
    cut: list[str] = []
    for name in sorted(sizes, key=lambda name: (-sizes[name], name)):
        listing = len(name.replace("\\", "\\\\").replace('"', '\\"')) + 3  # with quotes and a comma
        if excess <= 0 or sizes[name] <= listing:
            break
        context[name] = _prefix(context[name], sizes[name] - excess - listing)
        excess += listing - (sizes[name] - _size(context[name]))
        cut.append(name)
    if excess > 0:
        return None
    context["audit.truncated"] = sorted(cut)
    return {**members, "context": context}


def _size(text: str) -> int:
    """Bytes of *text* as a record writes it, without its quotes."""
    return len(encode({"": text})) - len('{"":""}')


def _prefix(text: str, size_bytes: int) -> str:
    """The longest beginning of *text* that a record writes in *size_bytes*; bisected, because escapes vary."""
    low, high = 0, min(len(text), max(0, size_bytes))
    while low < high:
        middle = (low + high + 1) // 2
        if _size(text[:middle]) <= size_bytes:
            low = middle
        else:
            high = middle - 1
    return text[:low]
