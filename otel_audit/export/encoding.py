"""From a record's bytes to OTLP's: a protobuf encoder for the one shape that we send.

Export stage, no I/O. Equal, byte for byte, to what the classes generated from opentelemetry-proto 1.x serialise
(a property test), at less than half their cost (`benchmarks/export_backlog.py` measures both in one run).
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
_CACHED_BYTES = 512

_ATTRIBUTE = b"\x32"  # LogRecord.attributes = 6
_LOG_RECORD = b"\x12"  # ScopeLogs.log_records = 2
_NAMES = {path: name for name, path in MEMBERS.items()}
_NUMBER, _PREVIOUS, _SIGNATURE = _NAMES["seq",], _NAMES["prev",], _NAMES["sig",]
_BEHALF = _NAMES["actor", "on_behalf_of", "id"]
_HEAD = tuple(_NAMES[member,] for member in ("stream", "schema", "event", "action", "outcome"))
_ACTOR = tuple(_NAMES["actor", member] for member in ("id", "type", "auth", "name"))
_TARGET, _TARGET_TYPE = _NAMES["target", "id"], _NAMES["target", "type"]
_SOURCE, _SOURCE_TYPE = _NAMES["source", "id"], _NAMES["source", "type"]
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
        self._cache: dict[tuple[str | int | None, ...], bytes] = {}
        self._places = ("", 0, 0, b"", b"")
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

    def _log_record(self, body: bytes, members: Mapping[str, Any]) -> bytes:  # noqa: PLR0912 - see below
        """One function and not several: at this rate it is the calls that cost."""
        time, observed = members["time"], members["observed"]
        time_nano = self._nanos(time)
        observed_nano = time_nano if observed == time else self._nanos(observed)
        size = varint(len(body))
        cache = self._cache
        seq, event, actor = members["seq"], members["event"], members["actor"]
        # what changes little from record to record is kept as one piece
        head = (members["stream"], members["schema"], event, members["action"], members["outcome"])
        who = (actor["id"], actor["type"], actor.get("auth"), actor.get("name"))
        parts = [
            b"\x09" + _pack_time(time_nano) if time_nano else b"",  # proto3: a zero is not written
            b"\x2a" + varint(1 + len(size) + len(body)) + b"\x0a" + size,
            body,
            self._place(members["stream"], seq),
            cache.get(head) or self._keep(_HEAD, head),
            cache.get(who) or self._keep(_ACTOR, who),
        ]
        if "on_behalf_of" in actor:
            parts.append(_string(_BEHALF, actor["on_behalf_of"]["id"]))
        if "target" in members:
            end = members["target"]
            kind = (_TARGET_TYPE, end["type"])
            parts += _string(_TARGET, end["id"]), cache.get(kind) or self._keep(kind[:1], kind[1:], kind)
        if "source" in members:
            end = members["source"]
            where = (_SOURCE, end["id"], end["type"])
            parts.append(cache.get(where) or self._keep((_SOURCE, _SOURCE_TYPE), where[1:], where))
        if "prev" in members:
            prev = members["prev"]
            data = prev.encode()
            parts.append(_HASH + data if len(data) == 64 else _string(_PREVIOUS, prev))
        if "sig" in members:
            parts.append(_string(_SIGNATURE, members["sig"]) + _CANONICAL)
        if event == "audit.stream.close":
            parts.append(_attribute(SEQUENCE_END, True))
        if self._has_context and "context" in members:
            context = members["context"]
            if not _SPECIAL.isdisjoint(context):
                context = {name: context[name] for name in context if not _is_left_out(members, name)}
            for item in context.items():
                # strings and integers only: to a dictionary True is 1
                if type(item[1]) is str or type(item[1]) is int:
                    parts.append(cache.get(item) or self._cached(*item))
                else:
                    parts.append(_attribute(*item))
        trace_id, span_id = members.get("trace_id"), members.get("span_id")
        if trace_id is not None:
            data = bytes.fromhex(trace_id)
            parts.append(b"\x4a\x10" + data if len(data) == 16 else delimited(b"\x4a", data))
        if span_id is not None:
            data = bytes.fromhex(span_id)
            parts.append(b"\x52\x08" + data if len(data) == 8 else delimited(b"\x52", data))
        if observed_nano:
            parts.append(b"\x59" + _pack_time(observed_nano))
        named = (event,)
        parts.append(cache.get(named) or self._remember(named, delimited(b"\x62", event.encode())))
        made = b"".join(parts)
        return _LOG_RECORD + varint(len(made)) + made

    def _place(self, stream: str, seq: int) -> bytes:
        """The record's id and number; all but their digits is the same for as long as they are as many."""
        if type(seq) is not int or seq < 1:
            raise TypeError("seq")
        digits, number = b"%d" % seq, varint(seq)
        known_stream, digit_count, number_size, of_id, of_number = self._places
        if stream != known_stream or len(digits) != digit_count or len(number) != number_size:
            of_id = _string(RECORD_ID, f"{stream}-{seq}").removesuffix(digits)
            of_number = _count(_NUMBER, seq, _ATTRIBUTE).removesuffix(number)
            self._places = (stream, len(digits), len(number), of_id, of_number)
        return of_id + digits + of_number + number

    def _cached(self, name: str, value: str | int) -> bytes:
        """An attribute, remembered where it is short."""
        made = _attribute(name, value)
        return made if len(made) > _CACHED_BYTES else self._remember((name, value), made)

    def _keep(
        self, names: tuple[str, ...], values: tuple[str | None, ...], key: tuple[str | None, ...] = ()
    ) -> bytes:
        """Several attributes of strings as one piece, without those that are None."""
        made = b"".join(
            _string(name, value) for name, value in zip(names, values, strict=True) if value is not None
        )
        return self._remember(key or values, made)

    def _remember(self, key: tuple[str | int | None, ...], made: bytes) -> bytes:
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
        self._cache[key] = made
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
    if type(value) is int and value >= 0:
        return _count(name, value, tag)
    return delimited(tag, delimited(b"\x0a", name.encode()) + delimited(b"\x12", _any_value(value)))


def _string(name: str, text: str, tag: bytes = _ATTRIBUTE) -> bytes:
    """`KeyValue{key, AnyValue{string_value}}`."""
    key, data = name.encode(), text.encode()
    size, length = len(data), len(key)
    total = length + size + 6
    if total < 0x80:  # every length is one byte
        return b"%b%c\x0a%c%b\x12%c\x0a%c%b" % (tag, total, length, key, size + 2, size, data)
    return delimited(tag, delimited(b"\x0a", key) + delimited(b"\x12", delimited(b"\x0a", data)))


def _count(name: str, value: int, tag: bytes) -> bytes:
    """`KeyValue{key, AnyValue{int_value}}`, of one that is not negative."""
    key, data = name.encode(), varint(value)
    size, length = len(data), len(key)
    total = length + size + 5
    if total < 0x80:
        return b"%b%c\x0a%c%b\x12%c\x18%b" % (tag, total, length, key, size + 1, data)
    return delimited(tag, delimited(b"\x0a", key) + delimited(b"\x12", b"\x18" + data))


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


_HASH = _string(_PREVIOUS, "0" * 64)[:-64]
_CANONICAL = _string(INTEGRITY_CANONICALIZATION, CANONICALIZATION)


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
