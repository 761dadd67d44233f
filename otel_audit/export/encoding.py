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
from otel_audit.export.protobuf import ATTRIBUTE, attribute, count_attribute, delimited, string_attribute, varint

_CACHE_LIMIT = 4096
"""Encoded attributes kept at most; actions, types, routes and statements repeat, ids do not."""
_CACHED_BYTES = 512
_KEPT_VALUES = 256
"""Of one attribute, as what repeats has few: a path or an id would fill the processor's caches, 0.8 µs a record."""

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

_PLAIN = frozenset((str, int))
"""Types of values that are remembered; to a dictionary True is 1, and 1.0 too."""

_pack_time = struct.Struct("<Q").pack


class NotARecord(ValueError):  # noqa: N818 - what it is, not a fault of ours
    """These bytes are no record of the evidence format: nothing of OTLP can be made of them."""


class Encoder:
    """Makes log records of records; one a thread, because it remembers what repeats.

    *attributes* `core` leaves the members of `context` to the body.
    """

    def __init__(self, attributes: Literal["all", "core"] = "all") -> None:
        self._has_context = attributes == "all"
        self._cache: dict[tuple[str | int | None, ...], bytes] = {}
        self._heads: dict[tuple[str, ...], tuple[bytes, bytes]] = {}
        self._met: dict[str, int] = {}
        """How many values of an attribute are remembered."""
        self._lengths: dict[int, bytes] = {}
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

    def _log_record(self, body: bytes, members: Mapping[str, Any]) -> bytes:  # noqa: PLR0912, PLR0915 - see below
        """One function and not several: at this rate it is the calls that cost."""
        time, observed = members["time"], members["observed"]
        time_nano = self._nanos(time)
        observed_nano = time_nano if observed == time else self._nanos(observed)
        size = len(body)
        cached = self._cache.get
        actor, stream, event = members["actor"], members["stream"], members["event"]
        # what changes little from record to record is kept as one piece
        head = (stream, members["schema"], event, members["action"], members["outcome"])
        begin, end = self._heads.get(head) or self._remember_head(head)
        who = (actor["id"], actor["type"], actor.get("auth"), actor.get("name"))
        parts = [
            b"\x09" + _pack_time(time_nano) if time_nano else b"",  # proto3: a zero is not written
            self._lengths.get(size) or self._remember_length(size),
            body,
            self._place(stream, members["seq"]),
            begin,
            cached(who) or self._keep(_ACTOR, who),
        ]
        if "on_behalf_of" in actor:
            parts.append(string_attribute(_BEHALF, actor["on_behalf_of"]["id"]))
        if "target" in members:
            one = members["target"]
            kind = (_TARGET_TYPE, one["type"])
            parts += string_attribute(_TARGET, one["id"]), cached(kind) or self._keep(kind[:1], kind[1:], kind)
        if "source" in members:
            one = members["source"]
            where = (_SOURCE, one["id"], one["type"])
            parts.append(cached(where) or self._keep((_SOURCE, _SOURCE_TYPE), where[1:], where))
        if "prev" in members:
            prev = members["prev"]
            data = prev.encode()
            parts.append(_HASH + data if len(data) == 64 else string_attribute(_PREVIOUS, prev))
        if "sig" in members:
            parts.append(string_attribute(_SIGNATURE, members["sig"]) + _CANONICAL)
        if event == "audit.stream.close":
            parts.append(attribute(SEQUENCE_END, True))
        if self._has_context and "context" in members:
            context = members["context"]
            if not _SPECIAL.isdisjoint(context):
                context = {name: context[name] for name in context if not _is_left_out(members, name)}
            if _PLAIN.issuperset(map(type, context.values())):
                items = [*context.items()]
                pieces = [*map(cached, items)]
                while None in pieces:
                    at = pieces.index(None)
                    pieces[at] = self._attribute(items[at])
                parts += cast("list[bytes]", pieces)
            else:
                parts += [attribute(*item) for item in context.items()]
        if "trace_id" in members:
            data = bytes.fromhex(members["trace_id"])
            parts.append(b"\x4a\x10" + data if len(data) == 16 else delimited(b"\x4a", data))
        if "span_id" in members:
            data = bytes.fromhex(members["span_id"])
            parts.append(b"\x52\x08" + data if len(data) == 8 else delimited(b"\x52", data))
        if observed_nano:
            parts.append(b"\x59" + _pack_time(observed_nano))
        parts.append(end)
        made = b"".join(parts)
        return _LOG_RECORD + varint(len(made)) + made

    def _place(self, stream: str, seq: int) -> bytes:
        """The record's id and number; all but their digits is the same for as long as they are as many."""
        known_stream, first, behind, of_id, of_number = self._places
        if stream != known_stream or type(seq) is not int or not first <= seq < behind:
            if type(seq) is not int or seq < 1:
                raise TypeError("seq")
            digits, number = b"%d" % seq, varint(seq)
            first = max(10 ** (len(digits) - 1), 1 << 7 * (len(number) - 1))
            behind = min(10 ** len(digits), 1 << 7 * len(number))
            of_id = string_attribute(RECORD_ID, f"{stream}-{seq}").removesuffix(digits)
            of_number = count_attribute(_NUMBER, seq, ATTRIBUTE).removesuffix(number)
            self._places = (stream, first, behind, of_id, of_number)
        return b"%b%d%b%b" % (of_id, seq, of_number, varint(seq))

    def _remember_head(self, head: tuple[str, ...]) -> tuple[bytes, bytes]:
        """The attributes of *head*, and the event's name as it stands at the end."""
        begin = b"".join(map(string_attribute, _HEAD, head))
        made = begin, delimited(b"\x62", head[2].encode())
        if len(self._heads) >= _CACHE_LIMIT:
            self._heads.clear()
        self._heads[head] = made
        return made

    def _remember_length(self, size: int) -> bytes:
        """What stands before a body of *size* bytes: its field, an AnyValue, a string."""
        length = varint(size)
        if len(self._lengths) >= _CACHE_LIMIT:
            self._lengths.clear()
        self._lengths[size] = made = b"\x2a" + varint(1 + len(length) + size) + b"\x0a" + length
        return made

    def _attribute(self, item: tuple[str, str | int]) -> bytes:
        """An attribute, remembered where it is short and may well repeat."""
        name = item[0]
        made = attribute(*item)
        met = self._met.get(name, 0)
        if met >= _KEPT_VALUES or len(made) > _CACHED_BYTES:
            return made
        self._met[name] = met + 1
        return self._remember(item, made)

    def _keep(
        self, names: tuple[str, ...], values: tuple[str | None, ...], key: tuple[str | None, ...] = ()
    ) -> bytes:
        """Several attributes of strings as one piece, without those that are None."""
        made = b"".join(
            string_attribute(name, value) for name, value in zip(names, values, strict=True) if value is not None
        )
        return self._remember(key or values, made)

    def _remember(self, key: tuple[str | int | None, ...], made: bytes) -> bytes:
        if len(self._cache) >= _CACHE_LIMIT:
            self._cache.clear()
            self._met.clear()
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


_HASH = string_attribute(_PREVIOUS, "0" * 64)[:-64]
_CANONICAL = string_attribute(INTEGRITY_CANONICALIZATION, CANONICALIZATION)


def resource_head(resource: Mapping[str, object], scope_name: str, scope_version: str) -> tuple[bytes, bytes]:
    """What stands before the records of one stream: a ResourceLogs' resource, and a ScopeLogs' scope.

    Raises:
        NotARecord: an attribute of a type that a record does not have.
    """
    try:
        attributes = b"".join(attribute(name, value, b"\x0a") for name, value in resource.items())
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
