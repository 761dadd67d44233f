"""What an event says of rows and accounts, in a few words: which fields, from what to what, which rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from otel_audit.cli.printed import shortened

_OLD, _NEW = "db.row.old.", "db.row.new."
SHOWN_FIELDS = 6
SHOWN_KEYS = 3
SHOWN_CHARACTERS = 40
"""Of a value, which may be a page long."""


def row_facts(context: Mapping[str, Any]) -> list[str]:
    """Roles and groups given or taken, fields with the values that the policy lets stand in the log, rows."""
    facts = [", ".join(_texts(context, name)) for name in ("user.roles", "user.granted")]
    valued = [name[len(_OLD) :] for name in context if name.startswith((_OLD, _NEW))]
    fields = list(dict.fromkeys([*sorted(valued), *_texts(context, "db.row.fields")]))
    facts.append(_listed([_field(name, context) for name in fields], SHOWN_FIELDS))
    keys = _texts(context, "db.row.ids")
    if keys:
        facts.append(f"({_listed(keys, SHOWN_KEYS)})")
    return [fact for fact in facts if fact]


def _field(name: str, context: Mapping[str, Any]) -> str:
    old, new = context.get(_OLD + name), context.get(_NEW + name)
    if old is None and new is None:
        return name
    if old is not None and new is not None and str(old).startswith("hash:") and str(new).startswith("hash:"):
        return f"{name}: another hash" if old != new else f"{name}: the same hash"
    return f"{name}: {' → '.join(_value(value) for value in (old, new) if value is not None)}"


def _value(value: object) -> str:
    text = str(value)
    return "a hash" if text.startswith("hash:") else f'"{shortened(text, SHOWN_CHARACTERS)}"'


def _listed(words: list[str], most: int) -> str:
    more = len(words) - most
    return ", ".join(words[:most]) + (f" and {more} more" if more > 0 else "")


def _texts(context: Mapping[str, Any], name: str) -> list[str]:
    return list(_strings(context.get(name)))


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, list):
        yield from (text for text in cast("list[object]", value) if isinstance(text, str))
