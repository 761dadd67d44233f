"""Whether the attributes beside a record say what its body says: the table "OTLP projection".

The body is the evidence; a backend's index may lack or rename attributes, and cut long ones. One that says
something else would mislead whoever searches by it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import orjson

from otel_audit.evidence.projection import (
    CANONICALIZATION,
    INTEGRITY_CANONICALIZATION,
    MEMBERS,
    NOT_PROJECTED,
    RECORD_ID,
    SEQUENCE_END,
)

_TABLE = MEMBERS.keys() | {SEQUENCE_END}


def expected_attributes(m: Mapping[str, Any]) -> dict[str, object]:
    """Return the attributes that the record with members *m* is projected to."""
    expected: dict[str, object] = {
        RECORD_ID: f"{m['stream']}-{m['seq']}",
        INTEGRITY_CANONICALIZATION: CANONICALIZATION,
    }
    for name, path in MEMBERS.items():
        value: Any = m
        for member in path:
            value = value.get(member)
            if value is None:
                break
        if value is not None:
            expected[name] = value
    if m["event"] == "audit.stream.close":
        expected[SEQUENCE_END] = True
    for name, value in m.get("context", {}).items():
        if name not in NOT_PROJECTED:
            expected.setdefault(name, value)
    return expected


def compare(m: Mapping[str, Any], attributes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield (`index-mismatch` or `index-cut`, message) for each attribute that differs from the body.

    Compared are names of the table and their `_` form; what is absent or unknown is ignored.
    """
    expected = expected_attributes(m)
    for name in _TABLE - expected.keys():
        for spelling in {name, name.replace(".", "_")}:
            # Some backends give a column its default where there was no attribute.
            if attributes.get(spelling) not in (None, "", False, "false"):
                yield "index-mismatch", f"attribute {spelling} is not in the record"
    for name, value in expected.items():
        for spelling in {name, name.replace(".", "_")}:
            if spelling not in attributes:
                continue
            given = attributes[spelling]
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            if _is_same(given, value) or (isinstance(given, str) and given == text):
                continue
            if isinstance(given, str) and text.startswith(given):
                yield "index-cut", f"attribute {spelling} is cut short"
            else:
                yield "index-mismatch", f"attribute {spelling} is not what the record says"


def _is_same(given: object, value: object) -> bool:
    """Equal, and of the same type: to Python, True is 1."""
    if isinstance(value, list):
        if not isinstance(given, list | tuple):
            return False
        ours, theirs = cast("list[object]", value), cast("Sequence[object]", given)
        return [(v.__class__, v) for v in theirs] == [(v.__class__, v) for v in ours]
    return given.__class__ is value.__class__ and given == value
