"""From a record's bytes to OTLP's: a protobuf encoder for the one shape that we send.

Export stage, no I/O. Equal, byte for byte, to what the classes generated from opentelemetry-proto 1.x serialise
(a property test), at a sixth of their cost: 49 µs a record of 16 attributes with those, 8 µs with this.
Field numbers are those of opentelemetry/proto/{logs,common,resource}/v1 and collector/logs/v1.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from otel_audit.evidence.projection import (
    CANONICALIZATION,
    INTEGRITY_CANONICALIZATION,
    MEMBERS,
    NOT_PROJECTED,
    RECORD_ID,
    SEQUENCE_END,
)
from otel_audit.evidence.rfc3339 import unix_nanos

_CACHE_LIMIT = 4096
"""Encoded attributes kept at most; actions, types, routes and statements repeat, ids do not."""
_CACHED_CHARACTERS = 256

_ATTRIBUTE = b"\x32"  # LogRecord.attributes = 6
_LOG_RECORD = b"\x12"  # ScopeLogs.log_records = 2
_BEHALF = "audit.actor.on_behalf_of.id"
_PER_RECORD = frozenset(("audit.sequence.number", "audit.sequence.previous_hash", "audit.integrity.value"))
_REPEATING = tuple((name, *path) for name, path in MEMBERS.items() if len(path) == 1 and name not in _PER_RECORD)
_NEW = tuple((name, *path) for name, path in MEMBERS.items() if name in _PER_RECORD)
_OF_OBJECTS = tuple((name, *path) for name, path in MEMBERS.items() if len(path) == 2)
_SPECIAL = NOT_PROJECTED | {*MEMBERS, RECORD_ID, INTEGRITY_CANONICALIZATION, SEQUENCE_END}

_LATEST_NANO = 2**64 - 1
"""OTLP has no time before 1970 nor after July 2554; the body says what was meant."""

_pack_time = struct.Struct("<Q").pack


class NotARecord(ValueError):  # noqa: N818 - what it is, not a fault of ours
    """These bytes are no record of the evidence format: nothing of OTLP can be made of them."""


def varint(value: int) -> bytes:
    """A non-negative integer in protobuf's base 128."""
    if value < 0x80:
        return _BYTES[value]
    if value < 0x4000:
        return bytes((value & 0x7F | 0x80, value >> 7))
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_BYTES = tuple(bytes((value,)) for value in range(0x80))


def delimited(tag: bytes, data: bytes) -> bytes:
    """A field of wire type LEN."""
    return tag + varint(len(data)) + data


class Encoder:
    """Makes log records of records; one a thread, because it remembers what repeats.

    *attributes* `core` leaves the members of `context` to the body.
    """

    def __init__(self, attributes: Literal["all", "core"] = "all") -> None:
        self._has_context = attributes == "all"
        self._cache: dict[tuple[str, str], bytes] = {}
        self._seconds: tuple[str, int] = ("", 0)

    def log_record(self, body: bytes, members: Mapping[str, Any]) -> bytes:
        """One `log_records` field of a ScopeLogs, its tag and length included.

        *members* are those of *body*, as JSON has them.

        Raises:
            NotARecord: a member is missing, or not of its form.
        """
        try:
            return self._log_record(body, members)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise NotARecord(f"not a record: {error!r}") from error

    def _log_record(self, body: bytes, members: Mapping[str, Any]) -> bytes:
        parts: list[bytes] = []
        time_nano = self._nanos(members["time"])
        if time_nano:  # proto3: a zero is not written
            parts += (b"\x09", _pack_time(time_nano))
        size = len(body)
        parts += (b"\x2a", varint(size + 1 + len(varint(size))), b"\x0a", varint(size), body)
        self._attributes(members, parts)
        if "trace_id" in members:
            parts.append(delimited(b"\x4a", bytes.fromhex(members["trace_id"])))
        if "span_id" in members:
            parts.append(delimited(b"\x52", bytes.fromhex(members["span_id"])))
        observed_nano = self._nanos(members["observed"])
        if observed_nano:
            parts += (b"\x59", _pack_time(observed_nano))
        parts.append(delimited(b"\x62", members["event"].encode()))
        return delimited(_LOG_RECORD, b"".join(parts))

    def _attributes(self, members: Mapping[str, Any], parts: list[bytes]) -> None:
        cached, cache = self._cached, self._cache
        seq = members["seq"]
        if type(seq) is not int:
            raise TypeError("seq")
        parts.append(_string(RECORD_ID, f"{members['stream']}-{seq}"))
        for name, member in _REPEATING:
            value = members[member]
            parts.append(cache.get((name, value)) or cached(name, value))
        for name, member in _NEW:
            if member in members:
                parts.append(_attribute(name, members[member]))
        for name, member, inner in _OF_OBJECTS:
            object_ = members.get(member)
            if object_ is not None and inner in object_:
                value = object_[inner]
                parts.append(cache.get((name, value)) or cached(name, value))
        if "on_behalf_of" in members["actor"]:
            parts.append(cached(_BEHALF, members["actor"]["on_behalf_of"]["id"]))
        if "sig" in members:
            parts.append(cached(INTEGRITY_CANONICALIZATION, CANONICALIZATION))
        if members["event"] == "audit.stream.close":
            parts.append(_attribute(SEQUENCE_END, True))
        if self._has_context and "context" in members:
            self._context(members, parts)

    def _context(self, members: Mapping[str, Any], parts: list[bytes]) -> None:
        cached, cache = self._cached, self._cache
        context = members["context"]
        if not _SPECIAL.isdisjoint(context):
            context = {name: context[name] for name in context if not _is_left_out(members, name)}
        for name, value in context.items():
            known = cache.get((name, value)) if type(value) is str else None
            parts.append(known or cached(name, value))

    def _cached(self, name: str, value: object) -> bytes:
        """The attribute, remembered where it is a short string: True is not 1, so only strings are keys."""
        if type(value) is not str or len(value) > _CACHED_CHARACTERS:
            return _attribute(name, value)
        made = _string(name, value)
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[name, value] = made
        return made

    def _nanos(self, text: str) -> int:
        second, start_nano = self._seconds
        if text[:19] != second:
            second = text[:19]
            start_nano = unix_nanos(f"{second}.000000000Z")
            self._seconds = (second, start_nano)
        return min(max(0, start_nano + int(text[20:29])), _LATEST_NANO)


def _is_left_out(members: Mapping[str, Any], name: str) -> bool:
    """Whether a member of `context` is no attribute: too long for one, or the table gives the record that name."""
    if name in NOT_PROJECTED or name == RECORD_ID:
        return True
    if name == SEQUENCE_END:
        return bool(members["event"] == "audit.stream.close")
    if name == INTEGRITY_CANONICALIZATION:
        return "sig" in members
    if name not in MEMBERS:
        return False
    value: Any = members
    for member in MEMBERS[name]:
        value = value.get(member)
        if value is None:
            return False
    return True


def _attribute(name: str, value: object, tag: bytes = _ATTRIBUTE) -> bytes:
    if type(value) is str:
        return _string(name, value, tag)
    return delimited(tag, delimited(b"\x0a", name.encode()) + delimited(b"\x12", _any_value(value)))


def _string(name: str, text: str, tag: bytes = _ATTRIBUTE) -> bytes:
    """`KeyValue{key, AnyValue{string_value}}`."""
    key, data = name.encode(), text.encode()
    size = len(data)
    total = len(key) + size + 6
    if total < 0x80:  # every length is one byte
        return b"%b%c\x0a%c%b\x12%c\x0a%c%b" % (tag, total, len(key), key, size + 2, size, data)
    return delimited(tag, delimited(b"\x0a", key) + delimited(b"\x12", delimited(b"\x0a", data)))


def _any_value(value: object) -> bytes:
    kind = type(value)
    if kind is str:
        return delimited(b"\x0a", cast("str", value).encode())
    if kind is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if kind is int:
        return b"\x18" + varint(cast("int", value) & 0xFFFF_FFFF_FFFF_FFFF)
    if kind is list:
        values = [delimited(b"\x0a", _any_value(item)) for item in cast("list[object]", value)]
        return delimited(b"\x2a", b"".join(values))
    raise TypeError(f"a context value of type {kind.__name__}")


def resource_head(resource: Mapping[str, object], scope_name: str, scope_version: str) -> tuple[bytes, bytes]:
    """What stands before the records of one stream: a ResourceLogs' resource, and a ScopeLogs' scope.

    Raises:
        NotARecord: an attribute of a type that a record does not have.
    """
    try:
        attributes = b"".join(_attribute(name, value, b"\x0a") for name, value in resource.items())
    except (TypeError, ValueError) as error:
        raise NotARecord(f"not a resource: {error!r}") from error
    scope = delimited(b"\x0a", scope_name.encode()) + delimited(b"\x12", scope_version.encode())
    return delimited(b"\x0a", attributes), delimited(b"\x0a", scope)


def resource_logs(head: tuple[bytes, bytes], log_records: Sequence[bytes]) -> bytes:
    """One `resource_logs` field of an ExportLogsServiceRequest; several of them, joined, are a request."""
    resource, scope = head
    size = len(scope) + sum(map(len, log_records))
    length = varint(size)
    outer = varint(len(resource) + 1 + len(length) + size)
    return b"".join((b"\x0a", outer, resource, b"\x12", length, scope, *log_records))
