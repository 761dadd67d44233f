"""What OTLP-JSON says: where a request's log records are, which are ours, and what an attribute's value is."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import cast

_SCHEMA_ATTRIBUTES = ("audit.schema.version", "audit_schema_version")
_OURS = "otel-audit/"
_MEMBER = f'"schema":"{_OURS}'
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_OTHER = {"other": "a map, bytes, a float, a number of more than 64 bits, or nothing"}

DENSE_BYTES = 1 << 20
_BYTES_A_VALUE = 5
"""A longer line with more values than one in so many bytes is no request: `[],[],…` of 40 MiB took 1.4 GB to
parse, and the densest that can be honest, arrays of digits as attributes, has one in 5.7."""
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)


def log_records_of(document: object) -> Iterator[Sequence[object]]:
    """Yield each list of log records in an export request."""
    for resource_logs in members_of(document, "resourceLogs"):
        for scope_logs in members_of(resource_logs, "scopeLogs"):
            yield members_of(scope_logs, "logRecords")


def is_ours(body: object, attributes: Mapping[str, object]) -> bool:
    """Whether a log record is one of this project: its body or its attributes say so."""
    if isinstance(body, str) and body[:1] == "{" and _MEMBER in body:
        return True
    return any(str(attributes.get(name, "")).startswith(_OURS) for name in _SCHEMA_ATTRIBUTES)


def member_of(value: object, name: str) -> object:
    """The member of an object; None of what is none."""
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None


def members_of(value: object, name: str) -> Sequence[object]:
    """The elements of a member that is an array; none of what is none."""
    member = member_of(value, name)
    return cast("list[object]", member) if isinstance(member, list) else ()


def value_of(value: object) -> object:
    """What an AnyValue says; of what no record can say, only that, so that nothing deep is handed on."""
    if not isinstance(value, dict):
        return _OTHER
    members = cast("dict[str, object]", value)
    if len(members) > 1:
        return _OTHER  # which of them is said is each reader's own choice
    said = members.get("stringValue")
    if isinstance(said, str):
        return said
    said = members.get("intValue")
    if isinstance(said, str) and _INTEGER.fullmatch(said):  # OTLP-JSON: 64 bits are a string
        said = int(said)
    if isinstance(said, int) and not isinstance(said, bool):
        return said if -(2**63) <= said < 2**63 else _OTHER
    said = members.get("boolValue")
    if isinstance(said, bool):
        return said
    said = members.get("arrayValue")
    if isinstance(said, dict):
        elements = members_of(cast("object", said), "values")
        return [
            _OTHER if member_of(element, "arrayValue") is not None else value_of(element) for element in elements
        ]
    return _OTHER


def is_dense(text: bytes) -> bool:
    """Whether JSON holds more values than an honest request of its length would."""
    return _has_many(text, len(text)) and _has_many(_STRING.sub(b"", text), len(text))


def _has_many(text: bytes, size: int) -> bool:
    return sum(map(text.count, (b"{", b"[", b","))) * _BYTES_A_VALUE > size
