"""SQL text as an application may send it, and an attacker may make it send: understood without its literals."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from otel_audit.capture.sql import StatementReader
from otel_audit.capture.sql_comment import has_comment, with_comment
from otel_audit.capture.sql_text import POSTGRESQL, SQLITE, split, strip

REGRESSIONS: tuple[bytes, ...] = ()
_OPERATIONS = Path(__file__).parents[1] / "instrumentations" / "sql_operations.json"
_SECRET = "'zq7secret'"


def seeds() -> Iterator[bytes]:
    for word in _texts(json.loads(_OPERATIONS.read_text())):
        if " " in word:
            yield b"s" + word.encode()
            yield b"p" + word.encode()
    for odd in ("$a$ x $a$ y", "/* /* */ */ 1", "e'\\'' x", "'a''b' \"c\"\"d\"", "[a]] b", "1e+5 .5 $1 :a @b ?1"):
        yield b"s" + odd.encode()
        yield b"p" + odd.encode()


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in cast("dict[str, Any]", value).values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in cast("list[object]", value):
            yield from _texts(inner)


def target(data: bytes) -> None:
    dialect = POSTGRESQL if data[:1] == b"p" else SQLITE
    text = data[1:].decode("utf-8", "surrogateescape")
    has_comment(text, dialect)
    assert "/*c*/" in with_comment(text, "/*c*/") or not text.replace(";", "").strip()
    stripped = strip(text, dialect)
    assert len(stripped) <= len(text) + 1
    assert sum(map(len, split(stripped))) <= len(stripped)
    for statement in StatementReader(dialect).statements(text):
        assert statement.action.isupper()
        assert statement.operation
    assert _SECRET[1:-1] not in strip(f"SELECT {_SECRET} {text}", dialect)
