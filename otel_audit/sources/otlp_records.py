"""Record bodies and the attributes beside them, out of one OTLP-JSON export request.

A request may hold other telemetry too. A log record is ours if its `audit.schema.version` or its body says so;
the rest is not looked at. A record of ours that was made to look like another's is missing from its chain.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import orjson

from otel_audit.evidence.canonical import MAX_RECORD_BYTES
from otel_audit.sources.otlp_documents import Document
from otel_audit.sources.otlp_values import is_ours, log_records_of, member_of, value_of
from otel_audit.sources.source import Attributes


def records_of(document: Document) -> Iterator[tuple[bytes, Attributes | None]]:
    """Yield body and attributes of our log records; what stands where a document should be, as a body that is none.

    An attribute that no record can have is given a value that equals nothing.
    """
    if document.records is not None:
        yield from document.records
        return
    if document.members is None:
        yield document.beginning, None
        return
    for log_records in log_records_of(document.members):
        for record in log_records:
            if not isinstance(record, dict):
                continue
            members = cast("dict[str, object]", record)
            body = member_of(members.get("body"), "stringValue")
            attributes = _attributes(members.get("attributes"))
            if is_ours(body, attributes):
                # One that was made into something else is no record
                text = body.encode() if isinstance(body, str) else orjson.dumps(members.get("body"))
                yield text[: MAX_RECORD_BYTES + 1], attributes


def _attributes(given: object) -> Attributes:
    attributes: dict[str, object] = {}
    pairs = cast("list[Any]", given)
    if not isinstance(given, list):
        return attributes
    for pair in pairs:
        if pair.__class__ is not dict or (key := pair.get("key")).__class__ is not str:
            continue
        said = value_of(pair.get("value"))
        if key in attributes and (attributes[key] != said or attributes[key].__class__ is not said.__class__):
            # Which of the two a backend shows is its own choice; only the same twice is no lie
            said = {"other": "given twice, with two values"}
        attributes[key] = said
    return attributes
