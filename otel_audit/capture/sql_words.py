"""What a sanitised statement does, and to which tables, by its keywords alone.

Capture stage, behind `capture.sql_parse`. For definitions, grants and commands this is all there is; for queries
it takes over where sqlglot does not understand. When in doubt it names a table too many rather than one too few.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from otel_audit.capture.sql_commands import DEFINITIONS, Subject, commanded, defined, granted
from otel_audit.capture.sql_names import MODIFIERS, first_operation, is_name, listed_names, unquoted
from otel_audit.capture.sql_text import keywords


@dataclass(frozen=True, slots=True)
class Reading:
    """One statement as it was understood."""

    operation: str
    """Upper-case first keyword of what is done: `SELECT`, `INSERT`, `CREATE`, `PRAGMA` …; `UNKNOWN` for none."""
    action: str
    tables: tuple[str, ...]
    """Every table named, as written but without quotes, schema-qualified where the text is; the one that is
    written to first, common table expressions left out."""
    object_name: str
    """On what: the table written to or first read, else what is created, called, attached, set; may be empty."""
    object_type: str
    """`db.table`, `db.view`, `db.index`, `db.role`, `db.pragma` …"""
    summary: str
    """Operations and their objects in the order of the text, at most 255 characters."""


ACTIONS = {
    "SELECT": "READ",
    "VALUES": "READ",
    "TABLE": "READ",
    "FETCH": "READ",
    "DECLARE": "READ",
    "INSERT": "CREATE",
    "UPDATE": "UPDATE",
    "REPLACE": "UPDATE",
    "MERGE": "UPDATE",
    "UPSERT": "UPDATE",
    "DELETE": "DELETE",
    "TRUNCATE": "DELETE",
    "CREATE": "CREATE",
    "ALTER": "UPDATE",
    "COMMENT": "UPDATE",
    "DROP": "DELETE",
    "GRANT": "GRANT",
    "REVOKE": "REVOKE",
    "IMPORT": "IMPORT",
    "EXPORT": "EXPORT",
}
"""Any other operation is an EXECUTE. REPLACE, MERGE and upserts may overwrite what was there: an UPDATE."""
GRAVITY = ("DELETE", "UPDATE", "MERGE", "REPLACE", "INSERT", "SELECT")
QUERIES = frozenset({"SELECT", "WITH", "INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE", "VALUES"})
_EXPLAINED = QUERIES | {"CREATE", "EXECUTE", "DECLARE", "REFRESH"}
_PARTS_OF_OPERATIONS = frozenset({"TO", "PREPARED", "TRANSACTION"})
"""ROLLBACK TO, COMMIT PREPARED, PREPARE TRANSACTION do something else than their first word alone."""
_ENDS_FROM = keywords("WHERE GROUP ORDER LIMIT SET SELECT HAVING UNION VALUES RETURNING")


def by_keywords(words: list[str], operation: str) -> Reading:
    """Read a statement given as *words*, whose first one that counts is *operation*."""
    rest = words[1:]
    action = ACTIONS.get(operation, "EXECUTE")
    placed = list(_tables(words))
    tables = [name for _, name in placed]
    subject: Subject | None = None
    if operation in DEFINITIONS:
        subject = defined(operation, rest)
        if subject.tables:
            subject = replace(subject, tables=(*subject.tables, *tables))
    elif operation in {"GRANT", "REVOKE"}:
        subject = granted(rest)
    elif operation == "COPY":
        action = _copied(rest)
        tables = [unquoted(rest[0])] if rest and is_name(rest[0]) else tables
    elif operation == "TRUNCATE":
        tables = [*listed_names(rest, MODIFIERS | {"TABLE"}), *tables]
    elif operation == "EXPLAIN":
        action = _explained(rest)
    elif operation in QUERIES:
        # After WITH the outermost FROM mostly names a WITH query; the first name is a table at least.
        is_outermost_main = operation != "WITH"
        operation, action, written = _query(words)
        shallowest = min((depth for depth, _ in placed), default=0)
        main = written or next((name for depth, name in placed if depth == shallowest or not is_outermost_main), "")
        tables = [main, *tables] if main else tables
    else:
        subject = commanded(operation, rest)
    subject = subject or Subject()
    found = tuple(dict.fromkeys(tables if subject.tables is None else subject.tables))
    name, kind = subject.name, subject.kind
    if kind in _PARTS_OF_OPERATIONS:
        operation, kind = f"{operation} {kind}", ""
    object_type = subject.type
    if not name and found:
        name, object_type = found[0], "db.table"
    summary = " ".join(part for part in (operation, kind, name, *(t for t in found if t != name)) if part)
    return Reading(operation, subject.action or action, found, name, object_type, summary[:255])


def _tables(words: list[str]) -> Iterator[tuple[int, str]]:
    """Names where tables stand, each with the number of parentheses around it; those of WITH queries among them.

    Whether a name means a WITH query or a table needs a parser; here both are named.
    """
    first = words[0].upper() if words else ""
    # CREATE EVENT TRIGGER … ON an event, CREATE STATISTICS … ON columns
    on_table = first == "CREATE" and not {word.upper() for word in words[1:2]} & {"EVENT", "STATISTICS"}
    from_depths: set[int] = set()
    depth = 0
    previous = older = ""
    for place, word in enumerate(words):
        upper = word.upper()
        if previous == "FROM" and older != "DISTINCT":
            from_depths.add(depth)
            is_place = True
        else:
            is_place = (
                previous in {"JOIN", "INTO", "REFERENCES"}
                or (previous == "UPDATE" and older not in {"DO", "FOR", "ON", "KEY"})
                or (previous == "ON" and on_table and upper not in {"DELETE", "UPDATE", "CONFLICT"})
                or (previous == "USING" and first in {"MERGE", "DELETE", "WITH"})
                or (previous == "OF" and older == "PARTITION")
                or (previous == "," and depth in from_depths)
            )
        if upper in _ENDS_FROM:
            from_depths.discard(depth)
        if word == "(":
            depth += 1
        elif word == ")":
            from_depths.discard(depth)
            depth -= 1
        elif is_place and upper in {"ONLY", "LATERAL"}:
            continue
        elif is_place and is_name(word):
            is_function = previous in {"FROM", "JOIN", ","} and words[place + 1 : place + 2] == ["("]
            if not is_function:
                yield depth, unquoted(word)
        older, previous = previous, upper


def _copied(words: list[str]) -> str:
    """EXPORT or IMPORT; of COPY (DELETE … RETURNING …) TO, what it does to the tables."""
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if depth == 0 and word.upper() in {"FROM", "TO"}:
            if word.upper() == "FROM":
                return "IMPORT"
            break
    verb, _ = min(_written(words), key=lambda write: GRAVITY.index(write[0]), default=("", ""))
    return ACTIONS[verb] if verb and words[:1] == ["("] else "EXPORT"


def _explained(words: list[str]) -> str:
    """EXECUTE, unless EXPLAIN runs the statement: then what that does."""
    at = next((place for place, word in enumerate(words) if word.upper() in _EXPLAINED), len(words))
    options = [word.upper() for word in words[:at]]
    if "ANALYZE" not in options:
        return "EXECUTE"
    value = options[options.index("ANALYZE") + 1 :][:1]
    if value in (["FALSE"], ["OFF"]):
        return "EXECUTE"
    inner = words[at:]
    if not inner or inner[0].upper() not in QUERIES:
        return ACTIONS.get(first_operation(inner), "EXECUTE")
    return _query(inner)[1]


def _written(words: list[str]) -> Iterator[tuple[str, str]]:
    """Each writing verb of a query with its table, in the order of the text."""
    for place, word in enumerate(words):
        upper = word.upper()
        before = words[place - 1].upper() if place else ""
        if upper not in {"INSERT", "REPLACE", "UPDATE", "DELETE", "MERGE"} or before in {
            "OR",
            "DO",
            "FOR",
            "ON",
            "KEY",
        }:
            continue
        skipped = {"INTO", "FROM", "ONLY", "OR", "REPLACE", "IGNORE", "ABORT", "FAIL", "ROLLBACK"}
        table = next((name for name in words[place + 1 : place + 6] if name.upper() not in skipped), "")
        if is_name(table):
            yield upper, unquoted(table)


def _query(words: list[str]) -> tuple[str, str, str]:
    """Operation, action and written table of a query: those of the gravest thing it does."""
    verb, table = min(_written(words), key=lambda write: GRAVITY.index(write[0]), default=("", ""))
    upper = [word.upper() for word in words]
    if not verb:
        is_select_into = "INTO" in upper
        return (
            "VALUES" if upper[0] == "VALUES" else "SELECT",
            "CREATE" if is_select_into else "READ",
            unquoted(words[upper.index("INTO") + 1]) if is_select_into and upper[-1] != "INTO" else "",
        )
    text = " ".join(upper)
    overwrites = verb == "INSERT" and any(sign in text for sign in ("OR REPLACE", "DO UPDATE", "ON DUPLICATE"))
    return verb, "UPDATE" if overwrites else ACTIONS[verb], table
