"""Canonical bytes: the one JSON text that a set of members has, and back.

First step of evidence. On the profile of "Record" in the evidence format (names of 0x21-0x7E, integers
within 53 bits, no floats, no lone surrogates) sorted `orjson` output is RFC 8785; a property test holds
it against `rfc8785`. What a record must contain is `record.py`; here is only how it is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import orjson

SCHEMA = "otel-audit/1"
MAX_RECORD_BYTES = 65_536
_OPTIONS = orjson.OPT_SORT_KEYS | orjson.OPT_STRICT_INTEGER


def encode(members: Mapping[str, Any]) -> bytes:
    """Return the canonical bytes of *members*, which must be within the profile.

    The caller answers for types: a float or a null would be written as it stands.

    Raises:
        TypeError: an integer beyond 2^53-1, a lone surrogate, or a type that JSON does not have.
    """
    return orjson.dumps(members, option=_OPTIONS)


def decode(body: bytes) -> dict[str, Any] | None:
    """Return the members of *body* if it is the canonical text of one object, else None.

    Refuses, by writing it again and comparing: duplicate and unsorted members, white space, `1e0`, `-0`,
    needless escapes. `orjson` refuses lone surrogates, invalid UTF-8, a byte order mark, NaN and nesting
    that would exhaust the stack. Floats, nulls and depth are left to `record.check`, which sees every value.
    """
    if len(body) > MAX_RECORD_BYTES:
        return None
    try:
        members: dict[str, Any] = orjson.loads(body)
        if type(members) is dict and orjson.dumps(members, option=_OPTIONS) == body:
            return members
    except (orjson.JSONDecodeError, TypeError):
        # TypeError: an integer of more than 53 bits, or nesting beyond 254 levels.
        return None
    return None


def record_hash(body: bytes) -> str:
    """Lower-case hex SHA-256 of a record's bytes, `sig` included."""
    return hashlib.sha256(body).hexdigest()
