"""One body: what it is taken for, by the parser, the checks of a record, the schema, and those who show it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

import jsonschema
import orjson
import rfc8785
from rich.console import Console

from otel_audit.cli.event_line import columns_for, event_line
from otel_audit.cli.printed import escaped_json
from otel_audit.evidence import plain, record
from otel_audit.evidence.canonical import decode
from otel_audit.evidence.plain import read_plain
from otel_audit.evidence.schema import record_schema
from otel_audit.search.query import Query
from otel_audit.search.selection import Found
from otel_audit.sources.spill import key_of
from otel_audit.verify.index import compare, expected_attributes
from tests.vectors import make_vectors

REGRESSIONS: tuple[bytes, ...] = ()
_COLUMNS = columns_for(Console(width=120))
_QUERY = Query(actor="*a*", action="R?AD", target="*:*", trace="0000")


def seeds() -> Iterator[bytes]:
    """Every fifth line of the vectors."""
    lines = {
        line for path in sorted(make_vectors.ARCHIVES.rglob("*.jsonl")) for line in path.read_bytes().split(b"\n")
    }
    yield from sorted(lines)[::5]


def target(data: bytes) -> None:
    members = decode(data)
    if members is None:
        # Most mutations are no longer canonical; written again they reach further
        data = _canonical(data)
        members = decode(data)
    stream, seq = key_of(data)
    if members is None:
        return
    said = record.problem(members)
    _judge_quickly(data, members, is_record=said is None)
    _forget()
    assert record.problem(members) == said, "what was seen before makes a difference"
    if said is not None:
        return
    assert rfc8785.dumps(members) == data
    assert (stream, seq) == (members["stream"], members["seq"])
    _validator().validate(members)
    assert list(compare(members, expected_attributes(members))) == []
    found = Found(members["stream"], members["seq"], data, members)
    assert all(char.isprintable() for char in event_line(found, "sealed", _COLUMNS).plain)
    assert json.loads(escaped_json(data.decode())) == members
    _QUERY.is_by(members)
    _QUERY.matches(members)


def _judge_quickly(data: bytes, members: dict[str, Any], *, is_record: bool) -> None:
    prev, stream = (str(members.get(name)).encode("utf-8", "replace") for name in ("prev", "stream"))
    if re.fullmatch(rb"[0-9a-f]{64}", prev) and re.fullmatch(rb"[0-9a-f]{32}", stream):
        is_plain = is_record and "sig" not in members and not members["event"].startswith("audit.")
        assert (read_plain(data, prev, stream) is not None) == is_plain


def _canonical(data: bytes) -> bytes:
    try:
        return orjson.dumps(orjson.loads(data), option=orjson.OPT_SORT_KEYS)
    except (orjson.JSONDecodeError, TypeError):
        return b""


def _forget() -> None:
    """Empty every table of what was judged once."""
    for table in _TABLES:
        table.clear()


_TABLES: list[Any] = [
    value
    for name, value in (vars(record) | vars(plain)).items()
    if isinstance(value, set | dict) and name.islower() and not name.startswith("__")
]


@cache
def _validator() -> Any:
    return jsonschema.Draft202012Validator(record_schema())
