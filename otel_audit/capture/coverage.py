"""The manifest of what is audited: which routes, models and drivers, as `otel-audit coverage` has found them.

Capture stage. It is one JSON object in RFC 8785 form, so that two machines with the same application make the
same bytes; its SHA-256 stands in the open record of every stream (`audit.coverage.digest`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import orjson

from otel_audit.evidence.canonical import encode

SCHEMA = "otel-audit-coverage/1"
MOST_MANIFEST_BYTES = 64 << 20
"""A hundred thousand routes."""


def manifest_bytes(found: Mapping[str, Any]) -> bytes:
    """The canonical bytes of a manifest with the members *found*, without a line's end.

    Lone surrogates, which a path or a name can hold and UTF-8 cannot, become U+FFFD.
    """
    return encode({**cast("dict[str, Any]", _conformed(found)), "schema": SCHEMA})


def is_manifest(text: bytes) -> bool:
    """Whether *text* is what `manifest_bytes` makes."""
    try:
        members: object = orjson.loads(text)
        if not isinstance(members, dict):
            return False
        found = cast("dict[str, Any]", members)
        return found.get("schema") == SCHEMA and encode(found) == text
    except (orjson.JSONDecodeError, TypeError):
        # TypeError: an integer of more than 53 bits, or nesting beyond 254 levels
        return False


def _conformed(value: object) -> object:
    if isinstance(value, str):
        return value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    if isinstance(value, Mapping):
        members = cast("Mapping[str, object]", value)
        return {str(_conformed(name)): _conformed(member) for name, member in members.items()}
    if isinstance(value, list | tuple):
        return [_conformed(member) for member in cast("list[object]", value)]
    return value
