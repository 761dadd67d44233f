"""From anybody's log record to an audit event: which attribute is which member, and what is kept aside.

Export stage, at its mouth; no I/O. The table for users stands in docs/logging.md. Nothing is dropped: what is no
member of a record goes into its context.
"""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args
from urllib.parse import quote

import orjson
from opentelemetry.sdk._logs import ReadWriteLogRecord

from otel_audit.capture.redaction import keyed_hash
from otel_audit.event import Actor, ActorType, AuditEvent, Auth, ContextValue, Outcome, Source, SourceType, Target
from otel_audit.evidence.members import without_surrogates

UNKNOWN_ACTION = "UNKNOWN"
_ASIDE = "log."
"""Prefix of names that may not stand in a record as they are: `audit.*` belongs to the evidence format."""

_OUTCOMES = frozenset(get_args(Outcome))
_ACTOR_TYPES = frozenset(get_args(ActorType))
_AUTHS = frozenset(get_args(Auth))
_SOURCE_TYPES = frozenset(get_args(SourceType))
_NAME = re.compile(r"[\x21-\x7e]{1,256}")
_LONGEST_NAME = 256
_DEEPEST = 32


def event_of(record: ReadWriteLogRecord) -> AuditEvent:
    """The event that a log record tells of, whatever it lacks; raises for nothing that stands in it."""
    log = record.log_record
    attributes = dict(log.attributes or {})
    scope = record.instrumentation_scope
    logger = scope.name if scope is not None else ""
    trace_id, span_id = _bounded(log.trace_id, 128), _bounded(log.span_id, 64)
    context: dict[str, ContextValue] = {}
    actor = _actor(attributes)
    target = _target(attributes)
    source = _source(attributes)
    action = _taken(attributes, "audit.action").upper() or UNKNOWN_ACTION
    outcome = _one_of(attributes, "audit.outcome", _OUTCOMES)
    claimed = _taken(attributes, "audit.actor.claimed")
    reason = _taken(attributes, "audit.reason")
    for name, value in attributes.items():
        if value is not None:
            context[_name(str(name))] = _value(value)
    if claimed:
        context["audit.actor.claimed"] = claimed if claimed.startswith("hash:") else keyed_hash(claimed)
    if reason:
        context["audit.reason"] = reason
    if logger:
        context["otel.scope.name"] = logger
    if log.body is not None:
        context["log.body"] = log.body if isinstance(log.body, str) else _text(log.body)
    if log.severity_number is not None:
        context["log.severity_number"] = log.severity_number.value
    if log.severity_text:
        context["log.severity_text"] = log.severity_text
    if record.dropped_attributes:
        context["log.dropped_attributes"] = record.dropped_attributes
    return AuditEvent(
        _event(log.event_name if isinstance(log.event_name, str) else "", logger),
        action,
        cast("Outcome", outcome or "unknown"),
        actor,
        target,
        source,
        _bounded(log.timestamp, 63),
        None if trace_id is None else f"{trace_id:032x}",
        None if trace_id is None or span_id is None else f"{span_id:016x}",
        context,
    )


def _event(name: str, logger: str) -> str:
    """A name that no record about the log itself has: whoever logs must not be able to speak as the log."""
    name = name or logger or "unknown"
    return f"{_ASIDE}{name}" if name.startswith("audit.") else name


def _bounded(value: object, bits: int) -> int | None:
    """A positive integer of at most so many bits; None for anything else that a record may be given."""
    return value if isinstance(value, int) and 0 < value < 1 << bits else None


def _actor(attributes: dict[str, Any]) -> Actor | None:
    """Whom the record names: the application's word, as `acting_as` is; None: whoever the request acts as."""
    if not _is_text(attributes.get("audit.actor.id")):
        return None
    identity = _taken(attributes, "audit.actor.id")
    kind = _one_of(attributes, "audit.actor.type", _ACTOR_TYPES) or "user"
    auth = _one_of(attributes, "audit.actor.auth", _AUTHS) or "explicit"
    behalf = _taken(attributes, "audit.actor.on_behalf_of.id")
    return Actor(
        identity,
        cast("ActorType", kind),
        cast("Auth", auth),
        _taken(attributes, "audit.actor.name") or None,
        Actor(behalf) if behalf else None,
    )


def _target(attributes: dict[str, Any]) -> Target | None:
    if not _is_text(attributes.get("audit.target.id")):
        return None
    return Target(_taken(attributes, "audit.target.id"), _taken(attributes, "audit.target.type") or "unknown")


def _source(attributes: dict[str, Any]) -> Source | None:
    if not _is_text(attributes.get("audit.source.id")):
        return None
    address = _taken(attributes, "audit.source.id")
    kind = _one_of(attributes, "audit.source.type", _SOURCE_TYPES) or _kind_of(address)
    return Source(address, cast("SourceType", kind))


def _kind_of(address: str) -> str:
    try:
        return f"ipv{ipaddress.ip_address(address).version}"
    except ValueError:
        return "hostname"


def _is_text(value: object) -> bool:
    """Whether *value* can be a member: a string, or a number as user ids are, and not empty."""
    return (isinstance(value, str | int) and not isinstance(value, bool)) and str(value) != ""


def _taken(attributes: dict[str, Any], name: str) -> str:
    """The attribute, which is then no longer among the others; empty where it is none that a member can be."""
    return str(attributes.pop(name)) if _is_text(attributes.get(name)) else ""


def _one_of(attributes: dict[str, Any], name: str, accepted: frozenset[str]) -> str:
    """Likewise, of an attribute that must be one of some words; another one stays with the others."""
    value = attributes.get(name)
    return _taken(attributes, name) if isinstance(value, str) and value in accepted else ""


def _name(name: str) -> str:
    """A name that a context has: printable ASCII, percent-encoded where it was not, not of `audit.*`."""
    if name.startswith("audit."):
        name = _ASIDE + name
    if _NAME.fullmatch(name) is not None:
        return name
    return quote(name.encode("utf-8", "replace"), safe="")[:_LONGEST_NAME] or "unnamed"


def _value(value: object) -> ContextValue:
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Sequence):
        items = cast("Sequence[object]", value)
        if all(isinstance(item, str | bool | int | float) for item in items):
            return cast("ContextValue", list(items))
    return _text(value)  # pyright: ignore[reportUnknownArgumentType]


def _text(value: object) -> str:
    """JSON of what has no other form in a record; what JSON has no form for is named by its type."""
    if _is_deep(value, 0):
        return f"<{type(value).__name__}>"
    try:
        return orjson.dumps(without_surrogates(value), _described, orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # an integer beyond 64 bits, a key of no form
        return f"<{type(value).__name__}>"


def _described(value: object) -> object:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    if isinstance(value, Sequence):
        return list(value)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return f"<{type(value).__name__}>"


def _is_deep(value: object, depth: int) -> bool:
    if isinstance(value, str | bytes) or not isinstance(value, Mapping | Sequence):
        return False
    items = cast("Sequence[object]", value.values() if isinstance(value, Mapping) else value)
    return depth >= _DEEPEST or any(_is_deep(item, depth + 1) for item in items)
