"""What a sanitised statement does, and to which tables, by its keywords alone.

Capture stage, behind `capture.sql_parse`. For definitions, grants and commands this is all there is; for queries
it takes over where sqlglot does not understand. When in doubt it names a table too many rather than one too few.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

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


_NAME = r"""(?:"(?:[^"]|"")*+"?|`[^`]*+`?|\[[^\]]*+\]?|[^\W\d][\w$]*+)"""
_WORD = re.compile(rf"{_NAME}(?:\s*+\.\s*+{_NAME})*+|[(),;]|[^\s\w]|\w+")
_PART = re.compile(_NAME)

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
_KEYWORDS = keywords(
    "SELECT FROM WHERE SET VALUES AS ON USING JOIN LEFT RIGHT INNER OUTER CROSS FULL NATURAL LATERAL ONLY TABLE "
    "INTO ORDER GROUP BY HAVING LIMIT UNION ALL EXCEPT INTERSECT DEFAULT RETURNING WITH CASE WHEN THEN ELSE END "
    "AND OR NOT NULL IS IN EXISTS IF OF CASCADE RESTRICT DISTINCT FOR DO NOTHING BEGIN INSTEAD BEFORE AFTER EACH "
    "ROW"
)
_MODIFIERS = keywords(
    "OR REPLACE TEMP TEMPORARY GLOBAL LOCAL UNIQUE UNLOGGED VIRTUAL MATERIALIZED RECURSIVE CONCURRENTLY FOREIGN IF "
    "NOT EXISTS ONLY CONSTRAINT EVENT DEFAULT"
)
_ENDS_FROM = keywords("WHERE GROUP ORDER LIMIT SET SELECT HAVING UNION VALUES RETURNING")
_OBJECT_TYPES = {"USER": "db.role", "GROUP": "db.role", "ROLE": "db.role", "DOMAIN": "db.type"}


def words_of(text: str) -> list[str]:
    """Names (qualified and quoted ones whole), keywords and punctuation of *text*; its first 32,768 characters."""
    return _WORD.findall(text[:32_768])


def first_operation(words: list[str]) -> str:
    """The first keyword, upper case; `UNKNOWN` where the text begins with something else."""
    first = next((word.upper() for word in words if word != "("), "")
    return first if first.isidentifier() else "UNKNOWN"


def _unquoted(name: str) -> str:
    parts: list[str] = []
    for part in _PART.findall(name):
        quote = part[0]
        if quote in '"`':
            part = part[1:].removesuffix(quote).replace(quote * 2, quote)  # noqa: PLW2901 - the same name, unquoted
        elif quote == "[":
            part = part[1:].removesuffix("]")  # noqa: PLW2901 - likewise
        parts.append(part)
    return ".".join(parts)[:255]


def _is_name(word: str) -> bool:
    return _PART.match(word) is not None and word.upper() not in _KEYWORDS


def by_keywords(words: list[str], operation: str) -> Reading:
    """Read a statement given as *words*, whose first one that counts is *operation*."""
    rest = words[1:]
    object_name, object_type, action, kind = "", "", ACTIONS.get(operation, "EXECUTE"), ""
    placed = list(_tables(words))
    tables = [name for _, name in placed]
    if operation in {"CREATE", "ALTER", "DROP"}:
        kind, object_name = _object(rest)
        object_type = _OBJECT_TYPES.get(kind, f"db.{kind.lower() or 'object'}")
        names = _listed(rest, kind) if operation == "DROP" else (object_name,)
        if object_type == "db.table":
            tables = [*(name for name in names if name), *tables]
    elif operation in {"GRANT", "REVOKE"}:
        object_name, object_type = _granted(rest)
        tables = [object_name] if object_type == "db.table" and object_name else []
    elif operation == "COPY":
        action = "IMPORT" if _copies_in(rest) else "EXPORT"
        tables = [_unquoted(rest[0])] if rest and _is_name(rest[0]) else tables
    elif operation == "TRUNCATE":
        tables = [*_listed(rest, "TABLE"), *tables]
    elif operation == "EXPLAIN" and any(word.upper() == "ANALYZE" for word in rest[:4]):
        action = ACTIONS.get(_inner_query(rest), "EXECUTE")
    elif operation == "VACUUM":
        action = "EXPORT" if any(word.upper() == "INTO" for word in rest) else action
        tables = []
    elif operation in QUERIES:
        # After WITH the outermost FROM mostly names a WITH query; the first name is a table at least.
        is_outermost_main = operation != "WITH"
        operation, action, written = _query(words)
        shallowest = min((depth for depth, _ in placed), default=0)
        main = written or next((name for depth, name in placed if depth == shallowest or not is_outermost_main), "")
        tables = [main, *tables] if main else tables
    else:
        object_name, object_type = _other_object(operation, rest)
    found = tuple(dict.fromkeys(tables))
    if not object_name and found:
        object_name, object_type = found[0], "db.table"
    summary = " ".join(
        part for part in (operation, kind, object_name, *(t for t in found if t != object_name)) if part
    )
    return Reading(operation, action, found, object_name, object_type, summary[:255])


def _tables(words: list[str]) -> Iterator[tuple[int, str]]:
    """Names where tables stand, each with the number of parentheses around it; those of WITH queries among them.

    Whether a name means a WITH query or a table needs a parser; here both are named.
    """
    first = words[0].upper() if words else ""
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
                or (previous == "ON" and first == "CREATE" and upper not in {"DELETE", "UPDATE", "CONFLICT"})
                or (previous == "USING" and first in {"MERGE", "DELETE", "WITH"})
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
        elif is_place and _is_name(word):
            is_function = previous in {"FROM", "JOIN", ","} and words[place + 1 : place + 2] == ["("]
            if not is_function:
                yield depth, _unquoted(word)
        older, previous = previous, upper


def _object(words: list[str]) -> tuple[str, str]:
    """Kind and name of what CREATE, ALTER or DROP is about."""
    kind = ""
    for word in words:
        upper = word.upper()
        if upper in _MODIFIERS:
            continue
        if not kind:
            kind = upper
            continue
        return kind, _unquoted(word) if _is_name(word) else ""
    return kind, ""


def _listed(words: list[str], kind: str) -> tuple[str, ...]:
    """The names of `DROP TABLE a, b` or `TRUNCATE a, b`."""
    names: list[str] = []
    wants_name = True
    for word in words:
        upper = word.upper()
        if upper in _MODIFIERS or upper == kind:
            continue
        if word == ",":
            wants_name = True
        elif wants_name and _is_name(word):
            names.append(_unquoted(word))
            wants_name = False
        elif word != "*":
            break
    return tuple(names)


def _granted(words: list[str]) -> tuple[str, str]:
    upper = [word.upper() for word in words]
    if "ON" not in upper:
        return (_unquoted(words[0]), "db.role") if words and _is_name(words[0]) else ("", "")
    at = upper.index("ON") + 1
    kind = "TABLE"
    for word in words[at:]:
        if word.upper() in {"ALL", "IN", "TABLES", "SEQUENCES", "FUNCTIONS", "LARGE"}:
            kind = "SCHEMA" if word.upper() in {"TABLES", "SEQUENCES", "FUNCTIONS"} else kind
        elif word.upper() in {"TABLE", "SCHEMA", "DATABASE", "SEQUENCE", "FUNCTION", "PROCEDURE", "TYPE", "OBJECT"}:
            kind = word.upper()
        elif _is_name(word):
            return _unquoted(word), f"db.{kind.lower()}"
        else:
            break
    return "", ""


def _copies_in(words: list[str]) -> bool:
    depth = 0
    for word in words:
        depth += (word == "(") - (word == ")")
        if depth == 0 and word.upper() in {"FROM", "TO"}:
            return word.upper() == "FROM"
    return False


def _inner_query(words: list[str]) -> str:
    return next((word.upper() for word in words if word.upper() in QUERIES - {"VALUES"}), "")


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
        if _is_name(table):
            yield upper, _unquoted(table)


def _query(words: list[str]) -> tuple[str, str, str]:
    """Operation, action and written table of a query: those of the gravest thing it does."""
    verb, table = min(_written(words), key=lambda write: GRAVITY.index(write[0]), default=("", ""))
    upper = [word.upper() for word in words]
    if not verb:
        is_select_into = "INTO" in upper
        return (
            "VALUES" if upper[0] == "VALUES" else "SELECT",
            "CREATE" if is_select_into else "READ",
            _unquoted(words[upper.index("INTO") + 1]) if is_select_into and upper[-1] != "INTO" else "",
        )
    text = " ".join(upper)
    overwrites = verb == "INSERT" and any(sign in text for sign in ("OR REPLACE", "DO UPDATE", "ON DUPLICATE"))
    return verb, "UPDATE" if overwrites else ACTIONS[verb], table


def _other_object(operation: str, words: list[str]) -> tuple[str, str]:
    """What PRAGMA, CALL, ATTACH and their like are about."""
    upper = [word.upper() for word in words]
    if operation == "ATTACH":
        return (_unquoted(words[upper.index("AS") + 1]), "db.database") if "AS" in upper[:-1] else ("", "")
    kinds = {
        "PRAGMA": "db.pragma",
        "CALL": "db.procedure",
        "EXEC": "db.procedure",
        "EXECUTE": "db.statement",
        "DETACH": "db.database",
        "REFRESH": "db.view",
        "SAVEPOINT": "db.savepoint",
        "RELEASE": "db.savepoint",
        "REINDEX": "db.object",
        "ANALYZE": "db.object",
        "CLUSTER": "db.table",
        "LOCK": "db.table",
        "SET": "db.setting",
        "RESET": "db.setting",
        "SHOW": "db.setting",
    }
    if operation not in kinds:
        return "", ""
    noise = {
        "DATABASE",
        "MATERIALIZED",
        "VIEW",
        "CONCURRENTLY",
        "SAVEPOINT",
        "TABLE",
        "ONLY",
        "VERBOSE",
        "SESSION",
        "LOCAL",
    }
    name = next((word for word in words if word.upper() not in noise), "")
    return (_unquoted(name), kinds[operation]) if _is_name(name) else ("", "")
