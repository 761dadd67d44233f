"""What a sanitised statement does, and to which tables: queries by sqlglot, the rest by keywords.

Capture stage, behind `capture.sql`, which asks once for every statement text and keeps the answer. sqlglot is
imported when the first query comes (some 150 ms). What it cannot parse `capture.sql_words` reads.
"""

from __future__ import annotations

import logging
import re
import threading
from typing import TYPE_CHECKING

from otel_audit.capture.sql_names import first_operation, words_of
from otel_audit.capture.sql_text import Dialect, as_parsable
from otel_audit.capture.sql_words import ACTIONS, GRAVITY, QUERIES, Reading, by_keywords
from otel_audit.forks import importing

if TYPE_CHECKING:
    from sqlglot import exp

_log = logging.getLogger("otel_audit")

MAX_PARSED_CHARS = 4096
"""Beyond it keywords have to do: at this length sqlglot takes some 10 ms, at worst 100 ms (a chain of `<`)."""
_MAX_NESTING = 40
"""Open parentheses at once; sqlglot recurses, and tries some readings of each again."""
_PARENTHESIS = re.compile(r"[()]")


def read(text: str, dialect: Dialect) -> Reading:
    """Read one sanitised statement; never raises on what the text says."""
    words = words_of(text)
    operation = first_operation(words)
    if operation in QUERIES and len(text) <= MAX_PARSED_CHARS and _nesting(text) <= _MAX_NESTING:
        tree = _parse(as_parsable(text), dialect)
        if tree is not None:
            return _by_tree(tree, operation, dialect)
    return by_keywords(words, operation)


def _nesting(text: str) -> int:
    deepest = depth = 0
    for match in _PARENTHESIS.finditer(text):
        depth += 1 if match[0] == "(" else -1
        deepest = max(deepest, depth)
    return deepest


class _Silence(logging.Filter):
    """Drops what sqlglot says while this thread parses: its warnings quote the statement."""

    def __init__(self) -> None:
        super().__init__()
        self._thread = threading.get_ident()

    def filter(self, record: logging.LogRecord) -> bool:
        return record.thread != self._thread


def _parse(text: str, dialect: Dialect) -> exp.Expr | None:
    with importing:
        import sqlglot
        from sqlglot import exp

    logger = logging.getLogger("sqlglot")
    silence = _Silence()
    logger.addFilter(silence)
    try:
        tree = sqlglot.parse_one(text, dialect=dialect.name)
    except Exception as error:  # noqa: BLE001 - whatever a parser says of foreign text, keywords take over
        _log.debug("otel-audit: sqlglot did not parse a statement (%s); read by keywords", type(error).__name__)
        return None
    finally:
        logger.removeFilter(silence)
    # A Command is a statement that sqlglot carries as text: it has looked at the first word only.
    return None if isinstance(tree, exp.Command) else tree


def _by_tree(tree: exp.Expr, first: str, dialect: Dialect) -> Reading:
    from sqlglot import exp

    tables: list[str] = []
    summary: list[str] = []
    writes: list[tuple[str, str]] = []
    for node in tree.walk(bfs=False):
        if isinstance(node, exp.Table):
            name = _table_name(node)
            if name and not _is_common_table(node, dialect):
                tables.append(name)
                summary.append(name)
        elif isinstance(node, exp.Insert | exp.Update | exp.Delete | exp.Merge):
            if node.find_ancestor(exp.When):
                continue
            kind = "REPLACE" if node is tree and first == "REPLACE" else node.key.upper()
            # sqlglot 30 makes `this` False of a DELETE without FROM
            written = node.this.find(exp.Table) if isinstance(node.this, exp.Expr) else None
            writes.append((_effect(node, kind), _table_name(written) if written is not None else ""))
            summary.append(kind)
        elif isinstance(node, exp.Select):
            summary.append("SELECT")
            into = node.args.get("into")
            if into is not None and isinstance(into.this, exp.Table):
                writes.append(("CREATE", _table_name(into.this)))
    operation, written_table = min(writes, key=_gravity, default=("SELECT", ""))
    action = ACTIONS[operation]
    named = next((kind for kind in summary if kind in GRAVITY and ACTIONS[kind] == action), None)
    main = written_table or _first_read(tree, tables)
    found = dict.fromkeys([main, *tables] if main else tables)
    return Reading(
        operation=named or next((kind for kind in summary if kind in GRAVITY), first),
        action=action,
        tables=tuple(found),
        object_name=next(iter(found), ""),
        object_type="db.table",
        summary=" ".join(summary)[:255] or first,
    )


def _first_read(tree: exp.Expr, tables: list[str]) -> str:
    """The table after the outermost FROM, which a subquery among the columns would otherwise come before."""
    from sqlglot import exp

    clause = tree.args.get("from_") or tree.args.get("from")
    name = _table_name(clause.this) if clause is not None and isinstance(clause.this, exp.Table) else ""
    return name if name in tables else ""


def _gravity(write: tuple[str, str]) -> int:
    return GRAVITY.index(write[0]) if write[0] in GRAVITY else len(GRAVITY)


def _effect(node: exp.Expr, kind: str) -> str:
    """`REPLACE` for an insert that may overwrite: OR REPLACE, ON CONFLICT DO UPDATE, ON DUPLICATE KEY UPDATE."""
    if kind != "INSERT":
        return kind
    conflict = node.args.get("conflict")
    overwrites = conflict is not None and bool(conflict.args.get("expressions"))
    return "REPLACE" if overwrites or str(node.args.get("alternative") or "").upper() == "REPLACE" else kind


def _table_name(table: exp.Table) -> str:
    from sqlglot import exp

    if not isinstance(table.this, exp.Identifier):
        return ""
    return ".".join(part.name for part in table.parts)[:255]


def _is_common_table(table: exp.Table, dialect: Dialect) -> bool:
    """Tell a WITH query that is visible where *table* stands from a table of the database."""
    if table.db:
        return False
    name = table.name.lower()
    below: exp.Expr = table
    above = table.parent
    inside = -1
    while above is not None:
        clause = above.args.get("with_") or above.args.get("with")
        if clause is not None and below is not clause:
            aliases = [common.alias.lower() for common in clause.expressions]
            if name in aliases:
                return True
        elif clause is not None:
            aliases = [common.alias.lower() for common in clause.expressions]
            # SQLite sees every name of the clause everywhere in it, PostgreSQL without RECURSIVE only earlier ones
            if clause.args.get("recursive") or dialect.name == "sqlite":
                inside = len(aliases)
            if name in aliases[:inside]:
                return True
        inside = next((place for place, item in enumerate(_items(above)) if item is below), -1)
        below, above = above, above.parent
    return False


def _items(node: exp.Expr) -> list[exp.Expr]:
    from sqlglot import exp

    return node.expressions if isinstance(node, exp.With) else []
