"""Whether the attributes beside a record say what its body says: the table "OTLP projection".

The body is the evidence; a backend's index may lack or rename attributes, and cut long ones. One that says
something else would mislead whoever searches by it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, cast

import orjson

from otel_audit.evidence.projection import (
    CANONICALIZATION,
    INTEGRITY_CANONICALIZATION,
    MEMBERS,
    NOT_PROJECTED,
    RECORD_ID,
    SEQUENCE_END,
)

_TABLE = MEMBERS.keys() | {INTEGRITY_CANONICALIZATION, SEQUENCE_END}
"""Names that the table gives a meaning; those of them that a record lacks are not beside it either."""

_TOP = tuple((name, path[0]) for name, path in MEMBERS.items() if len(path) == 1)
_OBJECTS = tuple(
    (part, tuple((name, path[1]) for name, path in MEMBERS.items() if path[0] == part and len(path) == 2))
    for part in ("actor", "target", "source")
)
_BEHALF = "audit.actor.on_behalf_of.id"

_PLAIN = frozenset((str, int))
"""Types of which two values are equal only if their types are: to Python, True is 1."""


def expected_attributes(m: Mapping[str, Any]) -> dict[str, object]:
    """Return the attributes that the record with members *m* is projected to."""
    context = m.get("context", {})
    if NOT_PROJECTED.isdisjoint(context):
        expected: dict[str, object] = dict(context)
    else:
        expected = {name: value for name, value in context.items() if name not in NOT_PROJECTED}
    expected[RECORD_ID] = f"{m['stream']}-{m['seq']}"
    for name, member in _TOP:
        if member in m:
            expected[name] = m[member]
    for part, names in _OBJECTS:
        if part in m:
            held = m[part]
            for name, member in names:
                if member in held:
                    expected[name] = held[member]
    if "on_behalf_of" in m["actor"]:
        expected[_BEHALF] = m["actor"]["on_behalf_of"]["id"]
    if "sig" in m:
        expected[INTEGRITY_CANONICALIZATION] = CANONICALIZATION
    if m["event"] == "audit.stream.close":
        expected[SEQUENCE_END] = True
    return expected


def compare(m: Mapping[str, Any], attributes: Mapping[str, object]) -> Iterable[tuple[str, str]]:
    """Return (`index-mismatch` or `index-cut`, message) for each attribute that differs from the body.

    Compared are names of the table and their `_` form; what is absent or unknown is ignored. One that is a name
    of the table itself is not taken for the form of another.
    """
    expected = expected_attributes(m)
    if (
        attributes.items() <= expected.items()
        and _PLAIN.issuperset(map(type, attributes.values()))
        and _PLAIN.issuperset(map(type, expected.values()))
    ):
        return ()  # as nearly always
    return _differences(expected, attributes)


def differs(body: bytes, attributes: Mapping[str, object]) -> bool:
    """Whether `compare` finds anything; perhaps also where *body* is no record, of which it is not asked."""
    try:
        return any(True for _ in compare(orjson.loads(body), attributes))
    except (KeyError, TypeError, ValueError, AttributeError):
        return True


def _differences(expected: Mapping[str, object], attributes: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    forms: dict[str, list[str]] = {}
    for name, given in attributes.items():
        if name in expected or name in _TABLE:
            meant = [name]
        elif "." in name:
            continue
        else:
            forms = forms or _forms(expected)
            meant = forms.get(name, [])
        found = [_difference(given, expected.get(one)) for one in meant]
        if None in found or not found:
            continue
        if "cut" in found:
            yield "index-cut", f"attribute {name} is cut short"
        elif "absent" in found:
            yield "index-mismatch", f"attribute {name} is not in the record"
        else:
            yield "index-mismatch", f"attribute {name} is not what the record says"


def _forms(expected: Mapping[str, object]) -> dict[str, list[str]]:
    """The names that each `_` form may stand for."""
    forms: dict[str, list[str]] = {}
    for name in {*expected, *_TABLE}:
        forms.setdefault(name.replace(".", "_"), []).append(name)
    return forms


def _difference(given: object, value: object) -> Literal["cut", "absent", "other"] | None:
    """How *given* differs from *value*; None for a value that the record does not have."""
    if value is None:
        # Some backends give a column its default where there was no attribute.
        return None if given in (None, "", False, "false") else "absent"
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    if _is_same(given, value) or (isinstance(given, str) and given == text):
        return None
    if isinstance(value, list) and isinstance(given, str) and _is_same(_parsed(given), cast("object", value)):
        return None
    return "cut" if isinstance(given, str) and text.startswith(given) else "other"


def _parsed(text: str) -> object:
    r"""What JSON *text* says; None where it is none. How it is spelt is the backend's affair.

    Go's encoding/json writes `<`, `>` and `&` as `\u003c`, `\u003e` and `\u0026`, and so did the Collector's
    `Value.AsString`, in which Loki and the ClickHouse exporter store arrays, before
    open-telemetry/opentelemetry-collector#15108 (2026). Python's json writes spaces.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _is_same(given: object, value: object) -> bool:
    """Equal, and of the same type: to Python, True is 1."""
    if isinstance(value, list):
        if not isinstance(given, list | tuple):
            return False
        ours, theirs = cast("list[object]", value), cast("Sequence[object]", given)
        return [(v.__class__, v) for v in theirs] == [(v.__class__, v) for v in ours]
    return given.__class__ is value.__class__ and given == value
