"""What a record must contain: the tables "Record" and "Stream" of the evidence format, as one check.

`canonical.decode` says whether bytes are the one text of their members, `problem` whether those members are
a record. Cheap, because a verifier asks it of every record: what repeats (shapes, actors, names,
minutes) is judged once and remembered, in tables that are emptied before they grow.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeVar, cast

import orjson

from otel_audit.evidence.canonical import SCHEMA
from otel_audit.evidence.rfc3339 import is_minute

OPEN: Final = "audit.stream.open"
POLICY: Final = "audit.policy"
SEAL: Final = "audit.seal"
CLOSE: Final = "audit.stream.close"
LINKED: Final = "audit.stream.linked"
RECOVERED: Final = "audit.stream.recovered"
GAP: Final = "audit.gap"
RETIRED: Final = "audit.retired"

MAX_PREDECESSORS = 200
MAX_RETIRED_STREAMS = 1_000
MAX_INTEGER = 2**53 - 1

_MAX_NAMES = 32
_MAX_REMEMBERED = 512
"""Names in a context, characters or bytes of anything else, beyond which it is judged each time it comes."""
_T = TypeVar("_T")
_REMEMBERED = 4_096
"""Entries a table may hold before it is emptied: more than honest logs need, little memory for a hostile one."""

_REQUIRED = frozenset(("schema", "stream", "seq", "time", "observed", "event", "actor", "action", "outcome"))
_OPTIONAL = frozenset(("prev", "target", "source", "trace_id", "span_id", "context", "sig"))
_OUTCOMES = frozenset(("success", "failure", "unknown"))
_ACTOR_TYPES = frozenset(("user", "service", "system"))
_AUTHS = frozenset(("session", "basic", "bearer", "mtls", "api-key", "proxy-header", "explicit", "none"))
_SOURCE_TYPES = frozenset(("ipv4", "ipv6", "hostname"))
_MAX_ON_BEHALF_OF = 3

_STREAM = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{64}")
_SPAN = re.compile(r"[0-9a-f]{16}")
_SIG = re.compile(r"[A-Za-z0-9_-]{86}")
_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_SECOND = re.compile(r"[0-5][0-9]\.[0-9]{9}Z")
_LOWER_CASE = re.compile(r"[a-z]")
REFERENCE = re.compile(r"([0-9a-f]{32}):([1-9][0-9]{0,15}):([0-9a-f]{64})")

_is_second = _SECOND.fullmatch
_is_digest = _STREAM.fullmatch
_is_span = _SPAN.fullmatch
_NO_TRACE = "0" * 32
_NO_SPAN = "0" * 16
_ID_AND_TYPE = ("id", "type")
_SCALARS = frozenset((str, int, bool))

_shapes: set[tuple[str, ...]] = set()
_streams: set[str] = set()
_minutes: set[str] = set()
_actions: set[str] = set()
_events: set[str] = set()
_sources: set[bytes] = set()
_dumps = orjson.dumps
_actors: set[bytes] = set()
_context_names: set[tuple[str, ...]] = set()


def _remember(table: set[_T], entry: _T) -> None:
    if len(table) >= _REMEMBERED:
        table.clear()
    table.add(entry)


def problem(m: dict[str, Any], known_prev: str | None = None) -> str | None:  # noqa: PLR0912 - calls cost more than tests
    """Say why the members *m* of a parsed body are no record; None when they are one.

    Also refuses members that are not in canonical order, at any depth, so that a caller who has compared
    the bytes with unsorted output need not sort. *known_prev* is a `prev` that need not be looked at.
    """
    shape = tuple(m)
    if shape not in _shapes:
        names = frozenset(shape)
        if not names >= _REQUIRED or not names <= _REQUIRED | _OPTIONAL or list(shape) != sorted(shape):
            return "a member is missing, or one that records do not have"
        _remember(_shapes, shape)
    stream = m["stream"]
    event = m["event"]
    action = m["action"]
    outcome = m["outcome"]
    if m["schema"] != SCHEMA:
        return "not of schema otel-audit/1"
    try:
        is_remembered = stream in _streams and event in _events and action in _actions and outcome in _OUTCOMES
    except TypeError:
        return "stream, event, action, outcome: expected strings"
    if not is_remembered:
        if not _matches(stream, _STREAM):
            return "stream: expected 32 lower-case hex digits"
        if event.__class__ is not str or not event:
            return "event: expected a string that is not empty"
        if action.__class__ is not str or not action or _LOWER_CASE.search(action):
            return "action: expected an upper-case verb"
        if outcome.__class__ is not str or outcome not in _OUTCOMES:
            return "outcome: expected success, failure or unknown"
        if len(event) + len(action) <= _MAX_REMEMBERED:
            _remember(_streams, stream)
            _remember(_events, event)
            _remember(_actions, action)
    seq = m["seq"]
    if seq.__class__ is not int or seq < 1:
        return "seq: expected a positive integer"
    if "prev" not in m:
        if seq != 1:
            return "prev: missing"
    elif seq == 1 or ((m["prev"] != known_prev or known_prev is None) and not _matches(m["prev"], _HASH)):
        return "prev: expected 64 lower-case hex digits, from record 2 on"
    observed = m["observed"]
    time = m["time"]
    if (
        observed.__class__ is not str
        or time.__class__ is not str
        or _is_second(observed, 17) is None
        or (observed[:17] not in _minutes and not _is_new_minute(observed[:17]))
        or (
            time != observed
            and (
                time > observed
                or _is_second(time, 17) is None
                or (time[:17] not in _minutes and not _is_new_minute(time[:17]))
            )
        )
    ):
        return "time, observed: expected RFC 3339 in UTC with nine digits, observed not before time"
    actor = _dumps(m["actor"])
    if actor not in _actors:
        if not _is_actor(m["actor"], 0):
            return "actor: not as the format has it"
        if len(actor) <= _MAX_REMEMBERED:
            _remember(_actors, actor)
    if "target" in m and not _is_object(m["target"], None):
        return "target: expected id and type"
    if "source" in m:
        source = _dumps(m["source"])
        if source not in _sources:
            if not _is_object(m["source"], _SOURCE_TYPES):
                return "source: expected id, and type ipv4, ipv6 or hostname"
            if len(source) <= _MAX_REMEMBERED:
                _remember(_sources, source)
    if "trace_id" in m and not _is_w3c_id(m["trace_id"], _is_digest, _NO_TRACE):
        return "trace_id: expected 32 lower-case hex digits, not all zero"
    if "span_id" in m and not _is_w3c_id(m["span_id"], _is_span, _NO_SPAN):
        return "span_id: expected 16 lower-case hex digits, not all zero"
    if "context" in m:
        reason = context_problem(m["context"])
        if reason is not None:
            return reason
    if "sig" in m and not _matches(m["sig"], _SIG):
        return "sig: expected 86 characters of base64url"
    if event in _LIFECYCLE:
        return _lifecycle_problem(m, event)
    return None


def context_problem(context: Any) -> str | None:
    """Say why a `context` is none, order of its names included; None when it is one."""
    if context.__class__ is not dict:
        return "context: expected an object"
    names: tuple[str, ...] = tuple(context)
    if names not in _context_names:
        reason = _names_problem(names)
        if reason is not None:
            return reason
        if len(names) <= _MAX_NAMES:
            _remember(_context_names, names)
    for value in context.values():
        kind = value.__class__
        if kind is str or kind is int or kind is bool or (kind is list and _is_array_of_one(value)):
            continue
        return "context: expected strings, booleans, integers, or arrays of one of these"
    return None


def is_lifecycle(event: str) -> bool:
    """Whether *event* is one of those by which a log speaks of itself."""
    return event in _LIFECYCLE


def is_time(value: object) -> bool:
    """Whether *value* is a time as records write it; no leap seconds, which no clock that we read gives."""
    return isinstance(value, str) and _is_second(value, 17) is not None and _is_new_minute(value[:17])


def _is_new_minute(minute: str) -> bool:
    """Whether *minute* is valid up to its colon; remembered, because many records follow in the same one."""
    if minute not in _minutes:
        if not is_minute(minute):
            return False
        _remember(_minutes, minute)
    return True


def _matches(value: object, pattern: re.Pattern[str]) -> bool:
    return isinstance(value, str) and pattern.fullmatch(value) is not None


def _is_w3c_id(value: Any, is_hex: Callable[[str], object], nothing: str) -> bool:
    return value.__class__ is str and value != nothing and is_hex(value) is not None


def _is_object(value: Any, types: frozenset[str] | None) -> bool:
    """Whether *value* has `id` and `type` and nothing else, the type one of *types* where given."""
    if value.__class__ is not dict or tuple(value) != _ID_AND_TYPE:
        return False
    name, kind = value.values()
    return (
        name.__class__ is kind.__class__ is str and name != "" and kind != "" and (types is None or kind in types)
    )


def _is_actor(actor: object, depth: int) -> bool:
    if not isinstance(actor, dict) or depth > _MAX_ON_BEHALF_OF:
        return False
    members = cast("dict[str, Any]", actor)
    for name, value in members.items():
        if name == "on_behalf_of":
            if not _is_actor(value, depth + 1):
                return False
        elif name not in ("id", "type", "auth", "name") or not isinstance(value, str) or not value:
            return False
    return (
        "id" in members
        and members.get("type") in _ACTOR_TYPES
        and ("auth" not in members or members["auth"] in _AUTHS)
        and list(members) == sorted(members)
    )


def _names_problem(names: tuple[str, ...]) -> str | None:
    for name in names:
        if _NAME.fullmatch(name) is None:
            return "context: a name of other than 1 to 256 characters of 0x21-0x7E"
        if name.startswith("audit.") and name not in _AUDIT_NAMES:
            return "context: a name beginning with audit. that the format does not have"
    return None if list(names) == sorted(names) else "context: its members are not in order"


def _is_array_of_one(array: list[Any]) -> bool:
    kinds = {item.__class__ for item in array}
    return not kinds or (len(kinds) == 1 and kinds <= _SCALARS)


# Lifecycle records -----------------------------------------------------------------------------------------


def _is_str(value: object) -> bool:
    return isinstance(value, str)


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_seq(value: object) -> bool:
    return _is_count(value) and value != 0


def _is_bool(value: object) -> bool:
    return isinstance(value, bool)


def _is_stream(value: object) -> bool:
    return _matches(value, _STREAM)


def _is_hash(value: object) -> bool:
    return _matches(value, _HASH)


def _is_named(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _one_of(*accepted: str) -> Callable[[object], bool]:
    return lambda value: isinstance(value, str) and value in accepted


def _array(accepts: Callable[[object], bool], limit: int) -> Callable[[object], bool]:
    def is_array(value: object) -> bool:
        if not isinstance(value, list):
            return False
        items = cast("list[object]", value)
        return len(items) <= limit and all(accepts(item) for item in items)

    return is_array


def _is_reference(value: object) -> bool:
    if not isinstance(value, str):
        return False
    match = REFERENCE.fullmatch(value)
    return match is not None and int(match[2]) <= MAX_INTEGER


_Table = Mapping[str, Callable[[object], bool]]
_SEALED: _Table = {
    "audit.seal.size": _is_count,
    "audit.seal.root": _is_hash,
    "audit.seal.dropped": _is_count,
    "audit.seal.skipped": _is_count,
}
_LIFECYCLE: Mapping[str, _Table] = {
    OPEN: {
        "audit.certificate": _array(_is_str, MAX_INTEGER),
        "audit.predecessors": _array(_is_reference, MAX_PREDECESSORS),
        "audit.sign": _one_of("seal", "record"),
        "audit.seal.interval_ms": _is_integer,
        "audit.heartbeat.interval_ms": _is_integer,
        "audit.seal.next_by": is_time,
        "audit.policy.digest": _is_hash,
        "audit.fail_mode": _is_str,
        "audit.durability": _one_of("disk", "memory"),
        "service.name": _is_named,
    },
    POLICY: {"audit.policy.text": _is_str, "audit.policy.digest": _is_hash},
    SEAL: {**_SEALED, "audit.seal.next_by": is_time},
    CLOSE: {**_SEALED, "audit.reason": _one_of("shutdown", "rotation", "clock")},
    LINKED: {"audit.predecessors": _array(_is_reference, MAX_PREDECESSORS)},
    RECOVERED: {
        "audit.recovered.stream": _is_stream,
        "audit.recovered.seq": _is_seq,
        "audit.recovered.hash": _is_hash,
        "audit.recovered.sealed": _is_count,
        "audit.recovered.torn_bytes": _is_count,
    },
    GAP: {
        "audit.gap.count": _is_count,
        "audit.gap.from": _is_str,
        "audit.gap.to": _is_str,
        "audit.reason": _is_str,
    },
    RETIRED: {
        "audit.retired.place": _is_str,
        "audit.retired.streams": _array(_is_stream, MAX_RETIRED_STREAMS),
        "audit.retired.records": _is_count,
        "audit.retired.ended": is_time,
        "audit.retired.delivered": _is_bool,
        "audit.policy.digest": _is_hash,
    },
}
_CONDITIONAL: Mapping[str, _Table] = {
    OPEN: {"audit.coverage.digest": _is_str},
    CLOSE: {"audit.successor": _is_stream},
}
_NONE: _Table = {}
_AUDIT_NAMES = frozenset(
    (
        *(name for table in (*_LIFECYCLE.values(), *_CONDITIONAL.values()) for name in table),
        "audit.actor.claimed",
        "audit.truncated",
    )
)
_LIFECYCLE_ACTOR = {"id": "otel-audit", "type": "system"}


def _lifecycle_problem(m: dict[str, Any], event: str) -> str | None:
    if m["actor"] != _LIFECYCLE_ACTOR or m["action"] != "EXECUTE" or m["outcome"] != "success":
        return f"{event}: not in the name of otel-audit"
    context: dict[str, Any] = m.get("context", {})
    required, conditional = _LIFECYCLE[event], _CONDITIONAL.get(event, _NONE)
    for name, accepts in required.items():
        if name not in context or not accepts(context[name]):
            return f"{event}: {name} is missing or not of its form"
    for name, value in context.items():
        if name.startswith("audit.") and name not in required:
            accepts_value = conditional.get(name)
            if accepts_value is None or not accepts_value(value):
                return f"{event}: {name} does not belong there or is not of its form"
    if event == CLOSE and (context["audit.reason"] == "rotation") != ("audit.successor" in context):
        return f"{event}: audit.successor stands there exactly on rotation"
    if event == POLICY:
        text: str = context["audit.policy.text"]
        if hashlib.sha256(text.encode()).hexdigest() != context["audit.policy.digest"]:
            return f"{event}: audit.policy.digest is not that of the text"
    return None
