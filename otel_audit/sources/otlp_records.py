"""Record bodies and the attributes beside them, out of one OTLP-JSON export request.

A request may hold other telemetry too. A log record is ours if its `audit.schema.version` or its body says so;
the rest is not looked at. A record of ours that was made to look like another's is missing from its chain.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, cast

import orjson

from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.sources.otlp_documents import Document
from otel_audit.sources.source import Attributes

_SCHEMA_ATTRIBUTES = ("audit.schema.version", "audit_schema_version")
_OURS = "otel-audit/"
_MEMBER = f'"schema":"{_OURS}'
_INTEGER = re.compile(r"-?[0-9]{1,19}")
_OTHER = {"other": "a map, bytes, a float, or nothing"}


def records_of(document: Document) -> Iterator[tuple[bytes, Attributes | None]]:
    """Yield body and attributes of our log records; what stands where a document should be, as a body that is none.

    An attribute that no record can have is given a value that equals nothing.
    """
    if document.members is None:
        yield document.beginning, None
        return
    for resource_logs in _members_of(document.members, "resourceLogs"):
        for scope_logs in _members_of(resource_logs, "scopeLogs"):
            for record in _members_of(scope_logs, "logRecords"):
                if not isinstance(record, dict):
                    continue
                members = cast("dict[str, object]", record)
                body = _member(members.get("body"), "stringValue")
                attributes = _attributes(members.get("attributes"))
                if isinstance(body, str):
                    if _is_ours(attributes) or (body[:1] == "{" and _MEMBER in body):
                        yield body.encode()[: MAX_RECORD_BYTES + 1], attributes
                elif _is_ours(attributes):
                    # Whatever it was made into: no record
                    yield orjson.dumps(members.get("body"))[: MAX_RECORD_BYTES + 1], attributes


def _is_ours(attributes: Attributes) -> bool:
    return any(str(attributes.get(name, "")).startswith(_OURS) for name in _SCHEMA_ATTRIBUTES)


def _member(value: object, name: str) -> object:
    return cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None


def _members_of(value: object, name: str) -> Sequence[object]:
    member = _member(value, name)
    return cast("list[object]", member) if isinstance(member, list) else ()


def _attributes(given: object) -> Attributes:
    attributes: dict[str, object] = {}
    pairs = cast("list[Any]", given)
    if not isinstance(given, list):
        return attributes
    for pair in pairs:
        if pair.__class__ is not dict or (key := pair.get("key")).__class__ is not str:
            continue
        value = pair.get("value")
        # Most are strings, and reading is mostly this loop: no call for them
        if value.__class__ is dict and len(value) == 1 and value.get("stringValue").__class__ is str:
            said: object = value["stringValue"]
        else:
            said = _value(value)
        if key in attributes and (attributes[key] != said or attributes[key].__class__ is not said.__class__):
            # Which of the two a backend shows is its own choice; only the same twice is no lie
            said = {"other": "given twice, with two values"}
        attributes[key] = said
    return attributes


def _value(value: object) -> object:
    """What an AnyValue says; of what no record can say, only that, so that nothing deep is handed on."""
    members = cast("dict[str, object]", value) if isinstance(value, dict) else None
    if members is not None and len(members) > 1:
        return _OTHER  # which of them is said is each reader's own choice
    return _one_value(members)


def _one_value(value: object) -> object:
    said = _member(value, "stringValue")
    if isinstance(said, str):
        return said
    said = _member(value, "intValue")
    if isinstance(said, str) and _INTEGER.fullmatch(said):  # OTLP-JSON: 64 bits are a string
        return int(said)
    if isinstance(said, int) and not isinstance(said, bool):
        return said
    said = _member(value, "boolValue")
    if isinstance(said, bool):
        return said
    said = _member(value, "arrayValue")
    if isinstance(said, dict):
        elements = _members_of(cast("object", said), "values")
        return [_OTHER if _member(element, "arrayValue") is not None else _value(element) for element in elements]
    return _OTHER
